"""What the options of the kind `web` do to the limits of its connections, on a clock that is moved by hand."""

from __future__ import annotations

import typing

from portable.options import check_values
from protocols.http.messages import Response
from protocols.servers.web import KIND, make_service
from tests.portable.listening import FakeReactor

if typing.TYPE_CHECKING:
    from portable.testing import MemoryTransport
    from protocols.http.request import Request
    from protocols.http.resource import Resource

BODY = b"x" * 20000


class Echo:
    """Answers with the body of the request, or with BODY."""

    def child(self, segment: str, request: Request) -> Resource | None:
        return self

    async def render(self, request: Request) -> Response:
        return Response(200, body=await request.body.read(len(BODY)) or BODY)


class Serving:
    """A server whose connections cost no sockets."""

    def __init__(self, **options: object) -> None:
        self.reactor = FakeReactor()
        given = {
            "class": f"{__name__}.Echo",
            **{name.replace("_", "-"): value for name, value in options.items()},
        }
        service = make_service(check_values(KIND.options, given))
        service.bind(self.reactor.as_reactor)
        service.start()

    def ask(self, request: bytes) -> MemoryTransport:
        transport = self.reactor.accept()
        transport.receive(request)
        return transport


def test_nobody_is_blamed_for_our_own_throttle() -> None:
    serving = Serving(throttle=100)
    download = serving.ask(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    upload = serving.ask(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 20000\r\n\r\n" + BODY)
    for _ in range(450):
        serving.reactor.advance(1)
    assert download.take().endswith(BODY)
    assert upload.take().endswith(BODY)


def test_the_longest_body_can_be_set() -> None:
    post = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n"
    assert Serving(max_body=9).ask(post % 9 + b"x" * 9).take().startswith(b"HTTP/1.1 200 ")
    assert Serving(max_body=9).ask(post % 10 + b"x" * 10).take().startswith(b"HTTP/1.1 413 ")


def test_how_long_a_connection_waits_can_be_set() -> None:
    serving = Serving(keep_alive=5)
    transport = serving.ask(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    serving.reactor.advance(4)
    assert not transport.lost
    serving.reactor.advance(2)
    assert transport.lost


def test_who_is_slower_than_our_throttle_is_to_blame() -> None:
    serving = Serving(throttle=100)
    upload = serving.ask(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 20000\r\n\r\n")
    for _ in range(100):
        upload.receive(b"x" * 10)
        serving.reactor.advance(1)
    assert upload.take().startswith(b"HTTP/1.1 408 ")
