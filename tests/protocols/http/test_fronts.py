"""The corpus through real proxies: what they let pass, we must read as they do, or refuse.

Each proxy refuses the path /smuggled by itself. So if our server ever sees that path, the two have read
different requests out of the same bytes.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import typing

import pytest

from portable.protocol import Protocol
from portable.testing import wait_until
from protocols.http.messages import Response
from protocols.http.resource import Page
from protocols.http.server import Site
from tests.protocols.http.corpus import CASES, SMUGGLED

if typing.TYPE_CHECKING:
    import pathlib
    from collections.abc import Iterator

    from portable.deferred import Deferred
    from portable.errors import TransportError
    from portable.reactor import Reactor
    from portable.transport import Address, Transport
    from protocols.http.request import Request
    from protocols.http.resource import Rendered

NGINX = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 1000; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    client_header_timeout 1s;
    client_body_timeout 1s;
    keepalive_timeout 1s;
    lingering_timeout 1s;
    upstream backend {{ server 127.0.0.1:{port}; keepalive 4; }}
    server {{
        listen unix:{folder}/front.socket;
        ignore_invalid_headers off;
        underscores_in_headers on;
        merge_slashes off;
        location = /smuggled {{ return 403; }}
        location / {{
            proxy_pass http://backend;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $http_host;
            proxy_request_buffering off;
            proxy_read_timeout 2s;
        }}
    }}
}}
"""

HAPROXY = """
global
    maxconn 1000
defaults
    mode http
    timeout connect 2s
    timeout client 1s
    timeout http-request 1s
    timeout http-keep-alive 1s
    timeout server 2s
    http-reuse always
    option accept-invalid-http-request
frontend front
    bind unix@{folder}/front.socket
    http-request deny if {{ path /smuggled }}
    default_backend ours
backend ours
    server ours 127.0.0.1:{port}
"""


class Sender(Protocol):
    """Sends `data`, keeps what comes back until the connection ends."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.answer = b""
        self.ended = False

    def connection_made(self, transport: Transport) -> None:
        self.transport = transport
        transport.write(self.data)

    def data_received(self, data: bytes) -> None:
        self.answer += data

    def connection_lost(self, exc: TransportError | None) -> None:
        self.ended = True


class Backend:
    """Our server, with one page under every path, and the requests it has seen."""

    def __init__(self, reactor: Reactor) -> None:
        self.seen: list[str] = []
        self._page = Page(self.answer, ("GET", "POST", "PUT", "PATCH", "DELETE"))
        site = Site(self, clock=reactor)
        self.listener = reactor.listen(site, "127.0.0.1", 0)
        self.port = typing.cast("Address", self.listener.address).port

    def child(self, segment: str, request: Request) -> Backend:
        return self

    def render(self, request: Request) -> Rendered:
        return self._page.render(request)

    async def answer(self, request: Request) -> Response:
        self.seen.append(request.path)
        body = await request.body.read(100000)
        return Response(200, [("X-Seen", request.target)], body)


@pytest.fixture(params=["nginx", "haproxy"])
def front(
    request: pytest.FixtureRequest, reactor: Reactor, tmp_path: pathlib.Path
) -> Iterator[tuple[str, Backend]]:
    """Our server behind a proxy; gives the path of the proxy's socket."""
    program = shutil.which(request.param, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
    if program is None:
        pytest.skip(f"{request.param} is not installed")
    backend = Backend(reactor)
    folder = str(tmp_path)
    if len(folder) > 80:
        pytest.skip("the path of the temporary folder is too long for a socket")
    config = tmp_path / "front.conf"
    config.write_text((NGINX if request.param == "nginx" else HAPROXY).format(folder=folder, port=backend.port))
    arguments = ["-c", str(config), "-p", folder] if request.param == "nginx" else ["-f", str(config)]
    with (tmp_path / "output").open("wb") as output:
        process = subprocess.Popen([program, *arguments], stdout=output, stderr=subprocess.STDOUT)
    try:
        path = f"{folder}/front.socket"
        wait_until(reactor, lambda: os.path.exists(path) or process.poll() is not None)
        assert process.poll() is None, (tmp_path / "output").read_text()
        yield path, backend
    finally:
        process.terminate()
        process.wait(10)
        backend.listener.close()


def exchange(reactor: Reactor, path: str, data: list[bytes]) -> list[Sender]:
    """Send each of `data` on a connection of its own, and wait until the proxy has closed all of them."""
    senders = [Sender(each) for each in data]

    def made(sender: Sender) -> typing.Callable[[], Sender]:
        return lambda: sender

    opened: list[Deferred[Sender]] = [reactor.connect_unix(made(sender), path) for sender in senders]
    wait_until(reactor, lambda: all(sender.ended for sender in senders), 15)
    assert all(each.called for each in opened)
    return senders


def test_no_request_is_smuggled_past_a_proxy(front: tuple[str, Backend], reactor: Reactor) -> None:
    path, backend = front
    senders = exchange(reactor, path, [case.data + SMUGGLED for case in CASES])
    assert backend.seen
    assert "/smuggled" not in backend.seen
    for case, sender in zip(CASES, senders, strict=True):
        assert b"X-Seen: /smuggled" not in sender.answer, case.name
        assert b"Traceback" not in sender.answer, case.name
    # The proxy keeps its connections to us: an answer left over on one would now reach somebody else.
    checks = [
        f"GET /?check={number} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode()
        for number in range(40)
    ]
    for number, sender in enumerate(exchange(reactor, path, checks)):
        assert sender.answer.startswith(b"HTTP/1.1 200 ")
        assert f"X-Seen: /?check={number}\r\n".encode().lower() in sender.answer.lower()


def test_a_proxy_reads_our_answers(front: tuple[str, Backend], reactor: Reactor) -> None:
    path, _ = front
    pipelined = (
        b"GET /?1 HTTP/1.1\r\nHost: a\r\n\r\n"
        b"POST /?2 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
        b"POST /?3 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nConnection: close\r\n\r\nworld"
    )
    (sender,) = exchange(reactor, path, [pipelined])
    assert sender.answer.count(b"HTTP/1.1 200 ") == 3
    assert sender.answer.index(b"/?1") < sender.answer.index(b"hello") < sender.answer.index(b"world")
