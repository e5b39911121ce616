"""The server over a memory transport: answers, their order, keep-alive, and the faults of resources."""

from __future__ import annotations

import io
import re
import typing

import pytest

from portable.deferred import Deferred, succeed
from protocols.http.messages import FileBody, FilePiece, Response
from protocols.http.resource import Page, Tree
from protocols.http.rules import RefusedRequest
from tests.protocols.http.bench import Bench, Counting, body_of, hello

if typing.TYPE_CHECKING:
    from protocols.http.request import Request


def test_an_answer_byte_for_byte() -> None:
    bench = Bench(hello)
    assert bench.get("/?y") == (
        b"HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nServer: Portable\r\n"
        b"Content-Type: text/plain\r\nContent-Length: 7\r\n\r\nGET /?y"
    )


def test_keep_alive_goes_on_and_the_date_follows_the_clock() -> None:
    bench = Bench(hello)
    assert b"08:49:37" in bench.get()
    bench.clock.advance(2)
    assert b"08:49:39" in bench.get()
    assert not bench.transport.is_closing()


def test_pipelined_requests_are_answered_in_order() -> None:
    tree = Tree(Page(hello))
    for name in "abc":
        tree.put_child(name, Page(hello))
    bench = Bench(tree)
    answer = bench.send(b"".join(f"GET /{name} HTTP/1.1\r\nHost: a\r\n\r\n".encode() for name in "abc"))
    assert re.findall(rb"GET /([abc])", answer) == [b"a", b"b", b"c"]


def test_a_pipelined_request_is_not_rendered_before_the_answer_to_the_last_is_complete() -> None:
    waiting: list[Deferred[Response]] = []

    def answer(request: Request) -> Deferred[Response]:
        waiting.append(Deferred())
        return waiting[-1]

    bench = Bench(answer)
    assert bench.send(b"GET /?1 HTTP/1.1\r\nHost: a\r\n\r\nGET /?2 HTTP/1.1\r\nHost: a\r\n\r\n") == b""
    assert len(waiting) == 1
    waiting[0].callback(Response(200, body=b"one"))
    assert bench.transport.take().endswith(b"one")
    assert len(waiting) == 2
    waiting[1].callback(Response(200, body=b"two"))
    assert bench.transport.take().endswith(b"two")


def test_pipelined_input_is_bounded() -> None:
    bench = Bench(lambda request: Deferred(), max_pipelined=1000)
    bench.get()
    for _ in range(100):
        bench.transport.receive(b"GET /more HTTP/1.1\r\nHost: a\r\n\r\n")
    assert bench.transport.unread > 1000
    assert not bench.transport.is_reading()


def test_no_more_pipelined_requests_are_answered_than_the_client_reads() -> None:
    rendered: list[str] = []

    def answer(request: Request) -> Response:
        rendered.append(request.query)
        return Response(200, body=b"x" * 50000)

    bench = Bench(answer, window=0)
    bench.send(b"".join(f"GET /?{number} HTTP/1.1\r\nHost: a\r\n\r\n".encode() for number in range(50)))
    assert len(rendered) <= 3
    bench.transport.allow(200000)
    assert 3 <= len(rendered) <= 8
    bench.transport.allow(None)
    assert rendered == [str(number) for number in range(50)]


def test_a_coroutine_may_render() -> None:
    async def answer(request: Request) -> Response:
        text = await succeed(b"later")
        return Response(200, body=text)

    assert Bench(answer).get().endswith(b"later")


def test_head_has_the_fields_of_get_and_no_body() -> None:
    bench = Bench(lambda request: Response(200, body=b"12345"))
    answer = bench.get(method="HEAD")
    assert b"\r\nContent-Length: 5\r\n" in answer
    assert answer.endswith(b"\r\n\r\n")
    assert b"200 OK" in bench.get()


def test_head_closes_streams_and_files_unread() -> None:
    file = io.BytesIO(b"12345")
    stream = Counting([b"x"])
    bodies: list[typing.Any] = [FileBody([FilePiece(file, 0, 5)]), stream]
    bench = Bench(lambda request: Response(200, body=bodies.pop(0)))
    assert b"Content-Length: 5\r\n" in bench.get(method="HEAD")
    assert file.closed
    assert b"Transfer-Encoding: chunked" in bench.get(method="HEAD")
    assert (stream.asked, stream.closed) == (0, 1)


@pytest.mark.parametrize("status", [204, 304])
def test_statuses_without_a_body(status: int) -> None:
    bench = Bench(lambda request: Response(status))
    answer = bench.get()
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    assert b"Content-Length" not in answer
    assert answer.endswith(b"\r\n\r\n")


def test_options_asterisk_and_trace() -> None:
    bench = Bench(hello)
    assert b"\r\nAllow: DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT\r\n" in bench.get("*", method="OPTIONS")
    answer = bench.get("/", "Cookie: secret", method="TRACE")
    assert answer.startswith(b"HTTP/1.1 405 ")
    assert b"secret" not in answer


def test_http_1_0_closes_unless_asked_to_keep_alive() -> None:
    bench = Bench(hello)
    answer = bench.get("/", "Connection: Keep-Alive", version="1.0")
    assert b"\r\nConnection: keep-alive\r\n" in answer
    assert not bench.transport.is_closing()
    answer = bench.get("/", version="1.0")
    assert b"\r\nConnection: close\r\n" in answer
    assert bench.transport.lost


@pytest.mark.parametrize("field", ["Connection: close", "Connection: keep-alive, Close", "connection: CLOSE"])
def test_the_client_may_ask_to_close(field: str) -> None:
    bench = Bench(hello)
    assert b"\r\nConnection: close\r\n" in bench.get("/", field)
    assert bench.transport.lost


def test_the_resource_may_ask_to_close() -> None:
    bench = Bench(lambda request: Response(200, [("Connection", "close")], b"x"))
    assert bench.get().count(b"Connection") == 1
    assert bench.transport.lost


def test_an_exception_is_a_500_without_a_traceback(caplog: pytest.LogCaptureFixture) -> None:
    def answer(request: Request) -> Response:
        raise ZeroDivisionError("the secret of /etc")

    bench = Bench(answer)
    page = bench.get("/?x")
    assert page.startswith(b"HTTP/1.1 500 ")
    assert b"secret" not in page
    assert b"Traceback" not in page
    assert "GET /?x failed" in caplog.text
    assert "ZeroDivisionError" in caplog.text
    assert b"500" in bench.get()


def test_a_coroutine_that_fails_is_a_500() -> None:
    async def answer(request: Request) -> Response:
        raise KeyError("x")

    assert Bench(answer).get().startswith(b"HTTP/1.1 500 ")


def test_a_response_that_cannot_be_sent_is_a_500_and_is_closed() -> None:
    stream = Counting([b"x"])
    bench = Bench(lambda request: Response(200, [("X", "a\r\nSet-Cookie: b")], stream))
    answer = bench.get()
    assert answer.startswith(b"HTTP/1.1 500 ")
    assert b"Set-Cookie" not in answer
    assert stream.closed == 1
    assert bench.statuses() == [500]


def test_something_else_than_a_response_is_a_500() -> None:
    bench = Bench(lambda request: typing.cast("Response", "text"))
    assert bench.get().startswith(b"HTTP/1.1 500 ")


def test_a_resource_may_refuse_by_rule() -> None:
    def answer(request: Request) -> Response:
        raise RefusedRequest("body-too-large")

    bench = Bench(answer)
    assert bench.get().startswith(b"HTTP/1.1 413 ")
    assert not bench.transport.is_closing()


@pytest.mark.parametrize(
    ("path", "status"), [("/a/../b", 400), ("/%2e%2e/b", 400), ("/a//b", 404), ("/%ff", 400)]
)
def test_bad_paths(path: str, status: int) -> None:
    bench = Bench(Tree(Page(hello)))
    assert bench.get(path).startswith(f"HTTP/1.1 {status} ".encode())


def test_a_body_that_cannot_be_closed_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    class Stuck(Counting):
        def close(self) -> None:
            raise ValueError("stuck")

    bench = Bench(lambda request: Response(200, body=Stuck([b"x"])))
    assert body_of(bench.get()) == b"x"
    assert b"200 OK" in bench.get(method="HEAD")
    assert "could not be closed" in caplog.text


def test_a_coroutine_that_gives_no_response_is_a_500(caplog: pytest.LogCaptureFixture) -> None:
    async def answer(request: Request) -> Response:
        return typing.cast("Response", None)

    assert Bench(answer).get().startswith(b"HTTP/1.1 500 ")
    assert "gave no Response" in caplog.text


def test_our_own_error_does_not_leave_the_client_waiting(caplog: pytest.LogCaptureFixture) -> None:
    later: Deferred[Response] = Deferred()
    bench = Bench(lambda request: later)
    bench.get()
    bench.site.encoder = typing.cast("typing.Any", None)
    later.callback(Response())
    bench.transport.settle()
    assert bench.transport.aborted
    assert "failed" in caplog.text


def test_unanswered_pipelined_input_is_bounded_too() -> None:
    bench = Bench(lambda request: Response(200, body=b"x" * 100000), window=0, max_pipelined=1000)
    bench.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 100)
    assert not bench.transport.is_reading()
    bench.transport.allow(None)
    assert bench.transport.take().count(b"200 OK") == 100
    assert bench.transport.is_reading()
