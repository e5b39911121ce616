"""How a connection ends: a client that is gone, lingering, drain, and what the log says."""

from __future__ import annotations

import io
import logging
import typing

import pytest

from portable.deferred import Deferred
from portable.errors import RemoteProtocolError
from portable.testing import ManualClock, MemoryTransport
from protocols.http.messages import FileBody, FilePiece, Response
from protocols.http.resource import Page, redirect
from protocols.http.rules import RefusedRequest
from protocols.http.server import AccessRecord, Site
from tests.protocols.http.bench import EPOCH, Bench, Counting, hello

if typing.TYPE_CHECKING:
    from protocols.http.request import Request


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


def test_a_half_closed_client_is_given_up_in_every_request_it_sent() -> None:
    answers: list[Deferred[Response]] = [Deferred(), Deferred()]
    waiting = iter(answers)
    bench = Bench(lambda request: next(waiting))
    bench.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 2)
    bench.transport.receive_eof()
    answers[0].callback(Response(200, body=b"here"))
    bench.clock.advance(11)
    assert bench.transport.lost
    assert bench.statuses() == [200, 499]


def test_a_half_closed_client_is_given_up_when_its_body_was_cut() -> None:
    async def answer(request: Request) -> Response:
        try:
            await request.body.read(100)
        except RemoteProtocolError:
            await Deferred()
        return Response(204)

    bench = Bench(answer)
    bench.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc")
    bench.transport.receive_eof()
    bench.clock.advance(11)
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


def test_a_long_body_after_an_early_answer_is_dropped_so_that_the_answer_is_seen() -> None:
    """Many clients send all of it before they read. What they have not sent would be answered by a reset."""
    bench = Bench(hello, max_body=1000)
    size = 30_000_000
    head = f"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n"
    assert bench.send(head.encode()).startswith(b"HTTP/1.1 413 ")
    for _ in range(20):
        bench.send(b"x" * (size // 20))
        bench.clock.advance(1)
        assert not bench.transport.is_closing()
    assert bench.site.limits.linger_timeout < 20
    bench.clock.advance(bench.site.limits.linger_timeout)
    assert bench.transport.lost


def test_what_comes_after_the_last_answer_is_dropped_for_a_limited_time() -> None:
    for size, seconds in ((1, 2), (100_000, 10)):
        bench = Bench(hello, linger_time=10)
        bench.send(b"bad\r\n")
        for _ in range(seconds):
            assert not bench.transport.is_closing()
            bench.clock.advance(1)
            bench.send(b"x" * size)
        bench.clock.advance(0.5)
        bench.send(b"x")
        assert bench.transport.lost


def test_a_lingering_connection_closes_with_the_client() -> None:
    bench = Bench(hello)
    bench.send(b"bad\r\n")
    bench.transport.receive_eof()
    assert bench.transport.lost


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ("Content-Length: 1001", 413),
        ("Content-Length: x", 400),
        ("Transfer-Encoding: gzip, chunked", 501),
        ("Expect: something", 417),
    ],
)
def test_a_request_refused_for_what_its_head_says_is_logged_as_what_it_is(fields: str, status: int) -> None:
    bench = Bench(hello, max_body=1000)
    fields += "\r\nUser-Agent: agent"
    assert bench.send(f"POST /x?y HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n".encode()).count(b"HTTP/1.1 ") == 1
    [record] = bench.records
    assert (record.method, record.target, record.version) == ("POST", "/x?y", "HTTP/1.1")
    assert (record.status, record.user_agent) == (status, "agent")


def test_a_refused_head_request_gets_no_body() -> None:
    bench = Bench(hello)
    answer = bench.send(b"HEAD / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.endswith(b"\r\n\r\n")
    assert bench.records[0].bytes_sent == 0


def test_drain_closes_idle_connections_at_once() -> None:
    for data in (b"", b"GET / HT"):
        bench = Bench(hello)
        bench.send(data)
        bench.server.drain()
        bench.transport.settle()
        assert bench.transport.lost


def test_drain_does_not_reset_a_client_that_still_sends_a_body_nobody_reads() -> None:
    """Its answer could be lost."""
    bench = Bench(hello)
    assert bench.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc").startswith(
        b"HTTP/1.1 200"
    )
    bench.server.drain()
    bench.transport.settle()
    assert bench.transport.eof_written
    assert not bench.transport.is_closing()
    bench.send(b"defghij")
    bench.transport.receive_eof()
    assert bench.transport.lost


def test_drain_does_not_reset_a_client_whose_body_waits_until_it_has_read() -> None:
    bench = Bench(lambda request: Response(200, body=bytes(100_000)), window=0)
    bench.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc")
    bench.server.drain()
    bench.transport.allow(None)
    assert bench.transport.eof_written
    assert not bench.transport.is_closing()


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


def test_a_flood_of_refusals_does_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    def refuse(request: Request) -> Response:
        raise RefusedRequest("path-empty")

    caplog.set_level(logging.INFO)
    bench = Bench(refuse)
    for data in (b"bad\r\n", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n") * 50:
        bench.connect().receive(data)
    bench.clock.advance(1)
    bench.get("/?y")
    assert len(caplog.records) == 2
    assert "100 request(s) refused, the last one from " in caplog.records[1].message
    assert "GET /?y: path-empty" in caplog.records[1].message


def test_an_access_log_that_fails_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def fail(record: AccessRecord) -> None:
        raise ValueError("disk full")

    bench = Bench(hello)
    bench.site.access_log = fail
    assert b"200 OK" in bench.get()
    assert b"200 OK" in bench.get()
    assert "the access log failed" in caplog.text


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


def test_a_transport_that_cannot_half_close_lingers_too() -> None:
    bench = Bench(hello)
    bench.transport.can_write_eof = lambda: False  # type: ignore[method-assign]  # as TLS has it
    assert bench.send(b"bad\r\n").startswith(b"HTTP/1.1 400 ")
    assert not bench.transport.is_closing()
    bench.clock.advance(3)
    assert bench.transport.lost
