"""What the server does with the bodies of requests, read and unread."""

from __future__ import annotations

import typing

import pytest

from portable.deferred import Deferred
from portable.errors import ConnectionLost, LocalProtocolError
from protocols.http.headers import Headers
from protocols.http.messages import Response
from protocols.http.rules import RefusedRequest
from tests.protocols.http.bench import Bench, Counting, body_of, echo, hello

if typing.TYPE_CHECKING:
    from protocols.http.request import Request, RequestBody
    from protocols.http.resource import Rendered


def test_a_body_with_a_length() -> None:
    bench = Bench(echo)
    answer = bench.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhel")
    assert answer == b""
    assert bench.send(b"loGET /x HTTP/1.1\r\nHost: a\r\n\r\n").count(b"HTTP/1.1 ") == 2


@pytest.mark.parametrize("line", ["POST / HTTP/1.1", "PUT / HTTP/1.1", "POST / HTTP/1.0"])
def test_without_a_length_there_is_no_body(line: str) -> None:
    """RFC 9112 6.3, and what `curl -X POST` sends. What follows is the next request."""
    bench = Bench(echo)
    head = f"{line}\r\nHost: a\r\nConnection: keep-alive\r\n\r\n"
    answers = bench.send(head.encode() + b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx")
    first, _, second = answers.partition(b"\r\n\r\n")
    assert first.startswith(b"HTTP/1.1 200 ")
    assert b"Content-Length: 0" in first
    assert second.startswith(b"HTTP/1.1 200 ")
    assert body_of(second) == b"x"


def test_a_chunked_body_with_trailers() -> None:
    seen: list[Headers] = []

    async def answer(request: Request) -> Response:
        assert not request.body.trailers.items()
        body = await request.body.read(100)
        seen.append(request.body.trailers)
        return Response(200, body=body)

    bench = Bench(answer)
    head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n"
    reply = bench.send(head + b'3;x="y"\r\nabc\r\n00A\r\n0123456789\r\n0\r\nDigest: q\r\n\r\n')
    assert body_of(reply) == b"abc0123456789"
    assert seen == [Headers([("Digest", "q")])]


def test_a_body_is_received_only_as_fast_as_it_is_read() -> None:
    bodies: list[RequestBody] = []

    def answer(request: Request) -> Deferred[Response]:
        bodies.append(request.body)
        return Deferred()

    bench = Bench(answer, max_pipelined=1000)
    bench.send(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n")
    for _ in range(100):
        bench.transport.receive(b"x" * 1000)
    assert bench.transport.unread > 90000
    got = 0

    def take(chunk: bytes) -> None:
        nonlocal got
        got += len(chunk)
        if chunk:
            bodies[0].next_chunk().add_callback(take)

    bodies[0].next_chunk().add_callback(take)
    bench.transport.settle()
    assert got == 100000


def test_100_continue_is_sent_when_the_body_is_asked_for() -> None:
    bench = Bench(echo)
    head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-Continue\r\n\r\n"
    assert bench.send(head) == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert bench.send(b"hi").endswith(b"\r\n\r\nhi")
    assert not bench.transport.is_closing()


def test_without_100_continue_the_connection_closes_after_the_answer() -> None:
    bench = Bench(hello)
    head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
    answer = bench.send(head)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"Connection: close" in answer
    assert bench.transport.eof_written


def test_100_continue_is_not_sent_to_http_1_0() -> None:
    bench = Bench(echo)
    head = b"POST / HTTP/1.0\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
    assert bench.send(head) == b""
    assert bench.send(b"hi").endswith(b"hi")


def test_a_short_body_nobody_read_is_dropped() -> None:
    bench = Bench(hello)
    head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n"
    assert b"Connection" not in bench.send(head + b"x" * 500)
    assert bench.send(b"x" * 500 + b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").endswith(b"GET /")


def test_a_long_body_nobody_read_ends_the_connection() -> None:
    bench = Bench(hello, max_unread_body=1000)
    answer = bench.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\n\r\n")
    assert b"Connection: close" in answer
    assert bench.transport.eof_written
    bench.send(b"x" * 1001)
    assert not bench.transport.lost
    bench.clock.advance(3)
    assert bench.transport.lost


def test_a_long_chunked_body_nobody_read_ends_the_connection() -> None:
    bench = Bench(hello, max_unread_body=1000)
    bench.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
    bench.send(b"3e8\r\n" + b"x" * 1000 + b"\r\n")
    assert not bench.transport.eof_written
    bench.send(b"1\r\nx\r\n")
    assert bench.transport.eof_written


def test_a_broken_body_nobody_read_gets_no_second_answer() -> None:
    bench = Bench(hello)
    assert bench.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").count(b"200 OK") == 1
    assert bench.send(b"zzz\r\n") == b""
    assert bench.transport.eof_written


def test_an_unread_body_that_stops_ends_the_connection() -> None:
    bench = Bench(hello)
    bench.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nx")
    bench.clock.advance(25)
    assert bench.transport.lost
    other = Bench(hello)
    other.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nx")
    other.transport.receive_eof()
    assert other.transport.lost


def test_a_body_longer_than_the_resource_wants_is_a_413() -> None:
    async def answer(request: Request) -> Response:
        return Response(200, body=await request.body.read(4))

    bench = Bench(answer)
    assert bench.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello").startswith(
        b"HTTP/1.1 413 "
    )
    assert bench.send(
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    ).startswith(b"HTTP/1.1 413 ")


def test_a_streamed_echo_reads_while_it_writes() -> None:
    class Echo:
        length = None

        def __init__(self, body: RequestBody) -> None:
            self.next_chunk = body.next_chunk

        def close(self) -> None:
            pass

    bench = Bench(lambda request: Response(200, body=Echo(request.body)))
    bench.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello")
    assert bench.send(b"world") == b"5\r\nworld\r\n0\r\n\r\n"
    assert not bench.transport.is_closing()


def test_misuse_of_a_body() -> None:
    errors: list[Exception] = []
    bodies: list[RequestBody] = []
    answer_later: Deferred[Response] = Deferred()

    def answer(request: Request) -> Deferred[Response]:
        bodies.append(request.body)
        request.body.next_chunk().add_callback(bytes)
        request.body.next_chunk().add_errback(errors.append)
        return answer_later

    bench = Bench(answer)
    bench.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n")
    bench.send(b"hello")
    answer_later.callback(Response(204))
    bodies[0].next_chunk().add_errback(errors.append)
    bench.transport.lose()
    bodies[0].next_chunk().add_errback(errors.append)
    assert [type(error) for error in errors] == [LocalProtocolError, LocalProtocolError, ConnectionLost]


def test_a_broken_body_stays_broken_and_closes_even_if_the_resource_does_not_care() -> None:
    errors: list[Exception] = []

    def answer(request: Request) -> Response:
        request.body.next_chunk().add_errback(errors.append)
        request.body.next_chunk().add_errback(errors.append)
        return Response(200, body=b"fine")

    bench = Bench(answer)
    reply = bench.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzzz\r\n")
    assert b"Connection: close" in reply
    assert [str(error) for error in errors] == [str(RefusedRequest("chunk-size"))] * 2
    assert bench.transport.eof_written


def test_a_body_cut_by_the_end_of_the_stream_is_a_400() -> None:
    bench = Bench(echo)
    bench.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhel")
    bench.transport.receive_eof()
    assert bench.transport.take().startswith(b"HTTP/1.1 400 ")
    assert bench.transport.lost


def test_a_waiting_reader_of_the_body_is_told_that_the_client_is_gone() -> None:
    errors: list[Exception] = []

    def answer(request: Request) -> Deferred[Response]:
        request.body.next_chunk().add_errback(errors.append)
        return Deferred()

    for reason, kind in ((None, "ConnectionReset"), (ValueError(), "ConnectionLost")):
        bench = Bench(answer)
        bench.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n")
        bench.transport.lose(typing.cast("typing.Any", reason))
        assert type(errors.pop()).__name__ == kind


def test_a_cancelled_reader_of_the_body_may_read_again() -> None:
    got: list[bytes] = []
    bodies: list[RequestBody] = []

    def answer(request: Request) -> Deferred[Response]:
        bodies.append(request.body)
        first = request.body.next_chunk()
        first.add_errback(lambda error: b"")
        first.cancel()
        return Deferred()

    bench = Bench(answer)
    bench.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n")
    bodies[0].next_chunk().add_callback(got.append)
    bench.send(b"hello")
    assert got == [b"hello"]


def test_who_still_waits_for_the_body_when_the_answer_is_complete_is_told_so() -> None:
    """It would get the body of the next request."""
    got: list[object] = []

    def answer(request: Request) -> Rendered:
        if request.query:
            return echo(request)
        request.body.next_chunk().add_callbacks(got.append, got.append)
        return Response(200, body=b"early")

    bench = Bench(answer)
    post = b"POST /%s HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n"
    assert bench.send(post % b"").endswith(b"early")
    assert [type(each) for each in got] == [LocalProtocolError]
    assert bench.send(b"first") == b""
    bench.send(post % b"?echo")
    assert bench.send(b"other").endswith(b"other")
    assert len(got) == 1


def test_a_body_that_somebody_waited_for_to_the_end_of_the_answer_may_not_take_for_ever() -> None:
    def answer(request: Request) -> Response:
        request.body.next_chunk().add_errback(repr)
        return Response(200)

    bench = Bench(answer)
    bench.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n")
    bench.clock.advance(1000)
    assert bench.transport.lost


def test_a_body_asked_for_after_the_end_of_the_stream() -> None:
    gate: Deferred[None] = Deferred()

    async def answer(request: Request) -> Response:
        await gate
        return Response(200, body=await request.body.read(10))

    bench = Bench(answer)
    bench.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhel")
    bench.transport.receive_eof()
    gate.callback(None)
    assert bench.transport.take().startswith(b"HTTP/1.1 400 ")


def test_no_100_continue_after_the_head_of_the_answer() -> None:
    bodies: list[RequestBody] = []
    stream = Counting([], later=True)

    def answer(request: Request) -> Response:
        bodies.append(request.body)
        return Response(200, body=stream)

    bench = Bench(answer)
    bench.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
    got: list[bytes] = []
    bodies[0].next_chunk().add_callback(got.append)
    assert bench.transport.take() == b""
    bench.send(b"hi")
    assert got == [b"hi"]
