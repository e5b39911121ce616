"""How the server sends bodies: streams, chunks, trailers, files."""

from __future__ import annotations

import io
import typing

import pytest

from portable.deferred import Deferred, succeed
from protocols.http.headers import Headers
from protocols.http.messages import FileBody, FilePiece, Response
from tests.protocols.http.bench import Bench, Counting, body_of

if typing.TYPE_CHECKING:
    from protocols.http.request import Request


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


@pytest.mark.parametrize("error", [ValueError, SystemExit])
def test_a_stream_that_fails_at_once_breaks_the_connection(
    error: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    class Failing(Counting):
        def next_chunk(self) -> bytes:
            raise error("on purpose")

    stream = Failing([])
    bench = Bench(lambda request: Response(200, body=stream))
    bench.get()
    assert bench.transport.aborted
    assert stream.closed == 1
    assert "broke off" in caplog.text


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
