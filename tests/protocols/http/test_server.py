"""The server over a memory transport: order, keep-alive, bodies both ways, time limits, drain."""

from __future__ import annotations

import io
import logging
import re
import typing

import pytest

from portable.deferred import Deferred, succeed
from portable.errors import ConnectionLost, LocalProtocolError
from portable.testing import ManualClock, MemoryTransport
from protocols.http.headers import Headers
from protocols.http.limits import Limits
from protocols.http.messages import FileBody, FilePiece, Response
from protocols.http.resource import Page, Tree, redirect
from protocols.http.rules import RefusedRequest
from protocols.http.server import AccessRecord, Site

if typing.TYPE_CHECKING:
    from protocols.http.connection import HTTPServer
    from protocols.http.request import Request, RequestBody
    from protocols.http.resource import Rendered, Resource

ALL = ("GET", "POST", "PUT")
EPOCH = 784111777.0


class Bench:
    """One server connection, and what its resource and log have seen."""

    def __init__(
        self,
        answer: typing.Callable[[Request], Rendered] | Resource,
        *,
        window: int | None = None,
        **limits: float,
    ) -> None:
        self.clock = ManualClock()
        self.records: list[AccessRecord] = []
        resource: Resource = Page(answer, ALL) if callable(answer) else answer
        self.site = Site(
            resource,
            clock=self.clock,
            limits=Limits(**limits),  # type: ignore[arg-type]  # some are int
            access_log=self.records.append,
            wall_clock=lambda: EPOCH + self.clock.time(),
        )
        self.server: HTTPServer = self.site()
        self.transport = MemoryTransport(self.server, self.clock, window=window)

    def send(self, data: bytes) -> bytes:
        self.transport.receive(data)
        return self.transport.take()

    def get(self, path: str = "/", *fields: str, method: str = "GET", version: str = "1.1") -> bytes:
        lines = "".join(f"{field}\r\n" for field in fields)
        return self.send(f"{method} {path} HTTP/{version}\r\nHost: a\r\n{lines}\r\n".encode())

    def statuses(self) -> list[int]:
        return [record.status for record in self.records]


class Counting:
    """A BodyStream of `chunks`, that says what happened to it."""

    def __init__(
        self, chunks: typing.Iterable[bytes], length: int | None = None, *, later: bool = False
    ) -> None:
        self.chunks = list(chunks)
        self.length = length
        self.later = later
        self.asked = 0
        self.closed = 0
        self.pending: Deferred[bytes] | None = None

    def next_chunk(self) -> bytes | Deferred[bytes]:
        self.asked += 1
        assert not self.closed
        if self.later:
            self.pending = Deferred()
            return self.pending
        return self.chunks.pop(0) if self.chunks else b""

    def close(self) -> None:
        self.closed += 1


def hello(request: Request) -> Response:
    return Response(200, [("Content-Type", "text/plain")], f"{request.method} {request.target}".encode())


def dechunk(body: bytes) -> bytes:
    data = b""
    while True:
        size, _, body = body.partition(b"\r\n")
        count = int(size, 16)
        if not count:
            assert body == b"\r\n"
            return data
        data += body[:count]
        assert body[count : count + 2] == b"\r\n"
        body = body[count + 2 :]


def body_of(answer: bytes) -> bytes:
    head, _, body = answer.partition(b"\r\n\r\n")
    return dechunk(body) if b"Transfer-Encoding: chunked" in head else body


# Answers.


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


# Faults of resources.


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


# Request bodies.


async def echo(request: Request) -> Response:
    body = await request.body.read(100000)
    return Response(200, body=body)


def test_a_body_with_a_length() -> None:
    bench = Bench(echo)
    answer = bench.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhel")
    assert answer == b""
    assert bench.send(b"loGET /x HTTP/1.1\r\nHost: a\r\n\r\n").count(b"HTTP/1.1 ") == 2


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


# Response bodies.


def test_a_stream_of_unknown_length_is_chunked() -> None:
    bench = Bench(lambda request: Response(200, body=Counting([b"hello", b"x" * 16])))
    answer = bench.get()
    assert answer.endswith(b"5\r\nhello\r\n10\r\n" + b"x" * 16 + b"\r\n0\r\n\r\n")
    assert b"Content-Length" not in answer
    assert b"200 OK" in bench.get()


def test_a_stream_of_unknown_length_ends_with_the_connection_for_http_1_0() -> None:
    bench = Bench(lambda request: Response(200, body=Counting([b"hello"])))
    answer = bench.get("/", "Connection: keep-alive", version="1.0")
    assert answer.endswith(b"\r\n\r\nhello")
    assert b"Transfer-Encoding" not in answer
    assert bench.transport.lost


def test_trailers_follow_a_chunked_body() -> None:
    def answer(request: Request) -> Response:
        response = Response(200, body=Counting([b"x"]))
        response.trailers = Headers([("Digest", "q")])
        return response

    assert Bench(answer).get().endswith(b"1\r\nx\r\n0\r\nDigest: q\r\n\r\n")


def test_a_stream_of_known_length() -> None:
    bench = Bench(lambda request: Response(200, body=Counting([b"hel", b"lo"], 5)))
    answer = bench.get()
    assert b"Content-Length: 5\r\n" in answer
    assert answer.endswith(b"\r\n\r\nhello")
    assert bench.records[0].bytes_sent == 5


@pytest.mark.parametrize("chunks", [[b"hell"], [b"hello!"], ["text"]])
def test_a_stream_that_breaks_its_word_breaks_the_connection(
    chunks: list[typing.Any], caplog: pytest.LogCaptureFixture
) -> None:
    stream = Counting(chunks, 5)
    bench = Bench(lambda request: Response(200, body=stream))
    bench.get()
    assert bench.transport.aborted
    assert stream.closed == 1
    assert "broke off" in caplog.text
    assert len(bench.records) == 1


def test_a_stream_that_fails_later_breaks_the_connection() -> None:
    stream = Counting([], later=True)
    bench = Bench(lambda request: Response(200, body=stream))
    bench.get()
    assert stream.pending is not None
    stream.pending.errback(KeyError("x"))
    bench.transport.settle()
    assert bench.transport.aborted
    assert stream.closed == 1


def test_bad_trailers_break_the_connection() -> None:
    def answer(request: Request) -> Response:
        response = Response(200, body=Counting([b"x"]))
        response.trailers = Headers([("Digest", "q\r\n")])
        return response

    bench = Bench(answer)
    assert not bench.get().endswith(b"0\r\n\r\n")
    assert bench.transport.aborted


def test_a_slow_client_slows_the_stream() -> None:
    stream = Counting([b"x" * 10000] * 1000)
    bench = Bench(lambda request: Response(200, body=stream), window=0)
    bench.get()
    assert stream.asked < 20
    assert bench.transport.get_write_buffer_size() < 100000
    bench.transport.allow(1000000)
    assert 90 < stream.asked < 130
    bench.transport.allow(None)
    assert stream.closed == 1
    assert len(body_of(bench.transport.take())) == 10000000


def test_an_answer_that_begins_while_the_transport_is_full_waits() -> None:
    streams = [Counting([b"x" * 1000] * 200), Counting([b"y"])]
    answers: list[Deferred[Response]] = []

    def answer(request: Request) -> Deferred[Response]:
        answers.append(Deferred())
        return answers[-1]

    bench = Bench(answer, window=0)
    bench.get()
    bench.server.pause_writing()
    answers[0].callback(Response(200, body=streams[0]))
    assert streams[0].asked == 0
    bench.server.resume_writing()
    assert streams[0].asked > 0


def test_chunks_that_come_later() -> None:
    stream = Counting([], later=True)
    bench = Bench(lambda request: Response(200, body=stream))
    bench.get()
    for chunk in (b"one", b"two", b""):
        assert stream.pending is not None
        stream.pending.callback(chunk)
    assert bench.transport.take() == b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"
    assert stream.closed == 1


def test_ten_thousand_chunks_that_are_there_already_do_not_recurse() -> None:
    class Ready:
        length = None
        left = 10000

        def next_chunk(self) -> Deferred[bytes]:
            self.left -= 1
            return succeed(b"x" if self.left >= 0 else b"")

        def close(self) -> None:
            pass

    bench = Bench(lambda request: Response(200, body=Ready()))
    assert len(body_of(bench.get())) == 10000


def test_files_are_sent_by_the_transport_and_closed() -> None:
    file = io.BytesIO(b"0123456789")
    bench = Bench(
        lambda request: Response(206, body=FileBody([b"<", FilePiece(file, 2, 3), b"|", FilePiece(file, 0, 1)]))
    )
    answer = bench.get()
    assert b"Content-Length: 6\r\n" in answer
    assert answer.endswith(b"\r\n\r\n<234|0")
    assert file.closed
    assert bench.records[0].bytes_sent == 6
    assert not bench.transport.is_closing()


def test_a_file_cut_meanwhile_breaks_the_connection(caplog: pytest.LogCaptureFixture) -> None:
    file = io.BytesIO(b"01234")
    bench = Bench(lambda request: Response(200, body=FileBody([FilePiece(file, 0, 10)])))
    assert bench.get().endswith(b"01234")
    assert bench.transport.aborted
    assert file.closed
    assert "cut meanwhile" in caplog.text


# The client is gone.


def test_a_client_that_is_gone_cancels_the_rendering() -> None:
    cancelled: list[object] = []
    bench = Bench(lambda request: Deferred(cancelled.append))
    bench.get()
    bench.transport.lose()
    assert len(cancelled) == 1
    assert bench.statuses() == [499]


def test_a_client_that_is_gone_stops_a_coroutine_that_reads_the_body() -> None:
    ended: list[str] = []

    async def answer(request: Request) -> Response:
        try:
            body = await request.body.read(100)
        finally:
            ended.append("ended")
        return Response(200, body=body)

    bench = Bench(answer)
    bench.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhel")
    bench.transport.lose()
    assert ended == ["ended"]
    assert bench.statuses() == [499]


def test_a_client_that_is_gone_closes_the_stream() -> None:
    stream = Counting([], later=True)
    bench = Bench(lambda request: Response(200, body=stream))
    bench.get()
    bench.transport.lose()
    assert stream.closed == 1
    assert bench.statuses() == [200]


def test_a_client_that_is_gone_closes_the_file() -> None:
    file = io.BytesIO(b"x" * 100000)
    bench = Bench(lambda request: Response(200, body=FileBody([FilePiece(file, 0, 100000)])), window=10)
    bench.get()
    bench.transport.lose()
    assert file.closed


def test_an_answer_after_the_client_has_gone_is_closed(caplog: pytest.LogCaptureFixture) -> None:
    class Stubborn(Deferred[Response]):
        def cancel(self) -> None:
            pass

    late = [Stubborn(), Stubborn()]
    stream = Counting([])
    for number in range(2):
        bench = Bench(lambda request, number=number: late[number])  # type: ignore[misc]  # mypy has no defaults here
        bench.get()
        bench.transport.lose()
    late[0].callback(Response(200, body=stream))
    assert stream.closed == 1
    late[1].errback(KeyError("x"))
    assert "after its client had gone" in caplog.text


def test_a_half_closed_client_gets_its_answer() -> None:
    later: Deferred[Response] = Deferred()
    bench = Bench(lambda request: later)
    bench.get()
    bench.transport.receive_eof()
    assert not bench.transport.is_closing()
    later.callback(Response(200, body=b"here"))
    assert bench.transport.take().endswith(b"here")
    bench.transport.settle()
    assert bench.transport.lost


def test_a_half_closed_client_is_given_up_after_a_while() -> None:
    cancelled: list[object] = []
    bench = Bench(lambda request: Deferred(cancelled.append))
    bench.get()
    bench.transport.receive_eof()
    bench.clock.advance(11)
    assert cancelled
    assert bench.transport.lost


def test_the_end_of_the_stream_between_requests_closes() -> None:
    bench = Bench(hello)
    bench.get()
    bench.transport.receive_eof()
    assert bench.transport.lost
    assert bench.transport.take() == b""


def test_requests_that_came_before_the_end_of_the_stream_are_answered() -> None:
    bench = Bench(lambda request: Response(200, body=b"x" * 50000), window=0)
    bench.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 5)
    bench.transport.receive_eof()
    bench.transport.allow(None)
    assert bench.transport.take().count(b"200 OK") == 5
    assert bench.transport.lost


# Time.


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


# Lingering, drain, log.


def test_what_comes_after_the_last_answer_is_dropped_up_to_a_bound() -> None:
    bench = Bench(hello, linger_bytes=1000)
    bench.send(b"bad\r\n")
    bench.send(b"x" * 1000)
    assert not bench.transport.is_closing()
    bench.send(b"x")
    assert bench.transport.lost


def test_a_lingering_connection_closes_with_the_client() -> None:
    bench = Bench(hello)
    bench.send(b"bad\r\n")
    bench.transport.receive_eof()
    assert bench.transport.lost


def test_drain_closes_idle_connections_at_once() -> None:
    for data in (b"", b"GET / HT"):
        bench = Bench(hello)
        bench.send(data)
        bench.server.drain()
        bench.transport.settle()
        assert bench.transport.lost


def test_drain_completes_the_answer_under_way_and_takes_no_other_request() -> None:
    later: Deferred[Response] = Deferred()
    bench = Bench(lambda request: later)
    bench.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n")
    bench.server.drain()
    later.callback(Response(200, body=b"done"))
    answer = bench.transport.take()
    assert b"Connection: close" in answer
    assert answer.count(b"200 OK") == 1
    assert bench.transport.eof_written


def test_drain_completes_a_body_whose_head_is_sent() -> None:
    stream = Counting([], later=True)
    bench = Bench(lambda request: Response(200, body=stream))
    bench.get()
    bench.server.drain()
    for chunk in (b"x", b""):
        assert stream.pending is not None
        stream.pending.callback(chunk)
    bench.transport.settle()
    assert bench.transport.take().endswith(b"0\r\n\r\n")
    assert bench.transport.lost
    bench.server.drain()


def test_the_access_log_has_each_request_once() -> None:
    bench = Bench(hello)
    bench.get("/?a", "Referer: http://b/", "User-Agent: test")
    assert bench.records == [
        AccessRecord(
            bench.transport.get_extra_info("peername"),
            EPOCH,
            "GET",
            "/?a",
            "HTTP/1.1",
            200,
            7,
            "http://b/",
            "test",
            0.0,
        )
    ]
    bench.send(b"bad\r\n")
    assert len(bench.records) == 2
    assert bench.records[1].status == 400
    assert bench.records[1].method == ""


def test_the_duration_is_that_of_the_whole_answer() -> None:
    later: Deferred[Response] = Deferred()
    bench = Bench(lambda request: later)
    bench.get()
    bench.clock.advance(1.5)
    later.callback(Response(204))
    assert bench.records[0].duration == pytest.approx(1.5)


def test_a_site_without_a_server_field_or_a_log() -> None:
    clock = ManualClock()
    site = Site(Page(hello), clock=clock, server="")
    transport = MemoryTransport(site(), clock)
    transport.receive(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert b"Server" not in transport.take()
    transport.receive(b"bad\r\n")
    assert transport.take().startswith(b"HTTP/1.1 400 ")


def test_a_request_knows_its_connection() -> None:
    seen: list[Request] = []

    def answer(request: Request) -> Response:
        seen.append(request)
        return redirect("/x")

    bench = Bench(answer)
    bench.get("/?q")
    assert seen[0].peer == bench.transport.get_extra_info("peername")
    assert not seen[0].secure
    assert seen[0].clock is bench.clock
    assert repr(seen[0]) == "<Request GET /?q>"


def test_refusals_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    Bench(hello).send(b"GET / HTTP/1.1\n\n")
    assert "bare-lf" in caplog.text


# Corners.


def test_an_access_log_that_fails_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def fail(record: AccessRecord) -> None:
        raise ValueError("disk full")

    bench = Bench(hello)
    bench.site.access_log = fail
    assert b"200 OK" in bench.get()
    assert b"200 OK" in bench.get()
    assert "the access log failed" in caplog.text


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


def test_the_end_of_the_stream_while_an_answer_is_sent() -> None:
    stream = Counting([], later=True)
    bench = Bench(lambda request: Response(200, body=stream))
    bench.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhel")
    bench.transport.receive_eof()
    assert stream.pending is not None
    stream.pending.callback(b"")
    bench.transport.settle()
    assert bench.transport.take().endswith(b"0\r\n\r\n")
    assert bench.transport.lost


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


def test_a_transport_that_cannot_half_close_lingers_too() -> None:
    bench = Bench(hello)
    bench.transport.can_write_eof = lambda: False  # type: ignore[method-assign]  # as TLS has it
    assert bench.send(b"bad\r\n").startswith(b"HTTP/1.1 400 ")
    assert not bench.transport.is_closing()
    bench.clock.advance(3)
    assert bench.transport.lost


def test_unanswered_pipelined_input_is_bounded_too() -> None:
    bench = Bench(lambda request: Response(200, body=b"x" * 100000), window=0, max_pipelined=1000)
    bench.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 100)
    assert not bench.transport.is_reading()
    bench.transport.allow(None)
    assert bench.transport.take().count(b"200 OK") == 100
    assert bench.transport.is_reading()


def test_a_steady_reader_of_pipelined_answers_is_not_aborted() -> None:
    bench = Bench(lambda request: Response(200, body=b"x" * 100000), window=0)
    bench.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 5)
    for _ in range(300):
        bench.clock.advance(1)
        bench.transport.allow(1000)
    assert not bench.transport.aborted
    bench.clock.advance(120)
    assert bench.transport.aborted
