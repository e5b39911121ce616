"""The time limits of a connection, on a clock that is moved by hand."""

from __future__ import annotations

import io
import typing

import pytest

from portable.deferred import Deferred, ensure_deferred
from protocols.http.messages import FileBody, FilePiece, Response
from tests.protocols.http.bench import Bench, Counting, echo, hello

if typing.TYPE_CHECKING:
    from protocols.http.request import Request, RequestBody


def test_an_idle_connection_is_closed_silently() -> None:
    for request in (b"", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"):
        bench = Bench(hello)
        bench.send(request)
        bench.clock.advance(59)
        assert not bench.transport.is_closing()
        bench.clock.advance(2)
        assert bench.transport.lost
        assert bench.transport.take() == b""


def test_every_request_puts_the_idle_time_off() -> None:
    bench = Bench(hello)
    for _ in range(5):
        bench.clock.advance(50)
        assert b"200 OK" in bench.get()


def test_a_slow_head_is_a_408() -> None:
    bench = Bench(hello)
    for byte in b"GET / HTTP/1.1\r\nHost: a\r\nX: ":
        bench.transport.receive(bytes([byte]))
        bench.clock.advance(1)
    assert bench.transport.take().startswith(b"HTTP/1.1 408 ")
    assert bench.statuses() == [408]
    bench.clock.advance(5)
    assert bench.transport.lost


def test_a_slow_body_is_a_408() -> None:
    bench = Bench(echo)
    bench.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n")
    for _ in range(30):
        bench.transport.receive(b"x")
        bench.clock.advance(1)
    assert bench.transport.take().startswith(b"HTTP/1.1 408 ")
    assert bench.transport.eof_written


@pytest.mark.parametrize("begun", [b"", b"x" * 100])
def test_a_body_that_never_comes_is_a_408_although_the_resource_waits_for_it_at_once(begun: bytes) -> None:
    def answer(request: Request) -> Deferred[Response]:
        return ensure_deferred(echo(request))

    bench = Bench(answer)
    bench.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n" + begun)
    bench.clock.advance(30)
    assert bench.transport.take().startswith(b"HTTP/1.1 408 ")
    assert bench.transport.eof_written


def test_a_body_at_the_least_rate_is_not_too_slow() -> None:
    bench = Bench(echo)
    bench.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n\r\n")
    for _ in range(50):
        bench.transport.receive(b"x" * 1200)
        bench.clock.advance(1)
    assert bench.transport.take().startswith(b"HTTP/1.1 200 ")


def test_a_resource_may_take_its_time() -> None:
    later: Deferred[Response] = Deferred()
    bench = Bench(lambda request: later)
    bench.get()
    bench.clock.advance(10000)
    later.callback(Response(200, body=b"at last"))
    assert bench.transport.take().endswith(b"at last")
    bench.clock.advance(59)
    assert not bench.transport.is_closing()
    bench.clock.advance(2)
    assert bench.transport.lost


@pytest.mark.parametrize("long", [True, False])
def test_a_client_that_does_not_read_is_aborted(long: bool) -> None:
    file = io.BytesIO(b"x" * 1000000)
    body = FileBody([FilePiece(file, 0, 1000000)]) if long else b"x" * 100000
    bench = Bench(lambda request: Response(200, body=body), window=100)
    bench.get()
    bench.clock.advance(150)
    assert bench.transport.aborted
    assert file.closed == long


def test_a_client_that_reads_steadily_is_not_aborted() -> None:
    file = io.BytesIO(b"x" * 100000)
    bench = Bench(lambda request: Response(200, body=FileBody([FilePiece(file, 0, 100000)])), window=100)
    bench.get()
    while not file.closed:
        bench.clock.advance(1)
        assert not bench.transport.aborted
        bench.transport.allow(500)
    assert bench.statuses() == [200]


def test_a_client_that_does_not_read_the_last_answer_is_aborted() -> None:
    bench = Bench(hello, window=0)
    bench.get("/", "Connection: close")
    bench.clock.advance(200)
    assert bench.transport.aborted


def test_a_stream_without_news_is_not_the_clients_fault() -> None:
    stream = Counting([], later=True)
    bench = Bench(lambda request: Response(200, body=stream))
    bench.get()
    bench.clock.advance(1000)
    assert not bench.transport.aborted
    assert stream.pending is not None
    stream.pending.callback(b"news")
    assert bench.transport.take() == b"4\r\nnews\r\n"


def test_a_stream_without_news_is_given_up_when_its_client_may_be_gone() -> None:
    stream = Counting([], later=True)
    bench = Bench(lambda request: Response(200, body=stream))
    bench.get()
    bench.transport.receive_eof()
    for _ in range(10):
        # It is still there: whoever is gone answers news with a reset.
        bench.clock.advance(25)
        assert stream.pending is not None
        stream.pending.callback(b"news")
        assert bench.transport.take() == b"4\r\nnews\r\n"
    bench.clock.advance(60)
    assert bench.transport.aborted
    assert stream.closed == 1


def test_a_streamed_echo_whose_client_stops_sending_ends() -> None:
    class Echo:
        length = None

        def __init__(self, body: RequestBody) -> None:
            self.next_chunk = body.next_chunk

        def close(self) -> None:
            pass

    bench = Bench(lambda request: Response(200, body=Echo(request.body)))
    bench.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello")
    bench.clock.advance(30)
    assert bench.transport.lost


def test_a_steady_reader_of_pipelined_answers_is_not_aborted() -> None:
    bench = Bench(lambda request: Response(200, body=b"x" * 100000), window=0)
    bench.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 5)
    for _ in range(300):
        bench.clock.advance(1)
        bench.transport.allow(1000)
    assert not bench.transport.aborted
    bench.clock.advance(120)
    assert bench.transport.aborted
