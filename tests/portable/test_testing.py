"""The memory transport, the pump and the manual clock are themselves held to the contract."""

from __future__ import annotations

import io
import typing
from typing import Any

import pytest
import trustme

from portable.deferred import Deferred
from portable.errors import ConnectionAborted, ConnectionLost, ConnectionReset, FileError, LocalProtocolError
from portable.protocol import DatagramProtocol, Protocol
from portable.testing import (
    ManualClock,
    MemoryDatagramTransport,
    MemoryTransport,
    connect_in_memory,
    wait_for,
    wait_until,
)
from portable.tls import client_options, server_options
from portable.transport import Address, DatagramTransport, Transport

if typing.TYPE_CHECKING:
    import pathlib


class Recorder(Protocol):
    """Writes down every call; what it does in reply is set from outside."""

    def __init__(self, *, keep_open: bool = False) -> None:
        self.calls: list[Any] = []
        self.data = b""
        self.keep_open = keep_open
        self.transport: Transport

    def connection_made(self, transport: Transport) -> None:
        self.transport = transport
        self.calls.append("made")

    def data_received(self, data: bytes) -> None:
        self.data += data
        self.calls.append(data)

    def eof_received(self) -> bool | None:
        self.calls.append("eof")
        return self.keep_open

    def connection_lost(self, exc: Exception | None) -> None:
        self.calls.append(("lost", exc))

    def pause_writing(self) -> None:
        self.calls.append("pause")

    def resume_writing(self) -> None:
        self.calls.append("resume")


class Echo(Recorder):
    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self.transport.write(data)


class TestManualClock:
    def test_calls_come_in_the_order_of_their_times(self) -> None:
        clock = ManualClock(start=100.0)
        seen: list[tuple[str, float]] = []
        note = lambda name: seen.append((name, clock.time()))  # noqa: E731 - one line says it
        clock.call_later(2, note, "late")
        clock.call_later(1, note, "early")
        clock.call_soon(note, "soon")
        clock.advance(1.5)
        assert seen == [("soon", 100.0), ("early", 101.0)]
        clock.advance(1)
        assert seen[2:] == [("late", 102.0)]
        assert clock.time() == 102.5
        assert clock.next_time() is None

    def test_what_a_call_asks_for_is_done_if_it_is_due(self) -> None:
        clock = ManualClock()
        seen: list[float] = []
        clock.call_later(1, lambda: clock.call_later(1, lambda: seen.append(clock.time())))
        clock.advance(2)
        assert seen == [2.0]

    def test_sums_of_tenths_reach_their_second(self) -> None:
        clock = ManualClock()
        seen: list[int] = []
        clock.call_later(1, seen.append, 1)
        for _ in range(10):
            clock.advance(0.1)
        assert seen == [1]

    def test_cancelled_and_reset_calls(self) -> None:
        clock = ManualClock()
        seen: list[str] = []
        clock.call_soon(seen.append, "soon").cancel()
        clock.call_later(1, seen.append, "cancelled").cancel()
        timer = clock.call_later(1, seen.append, "reset")
        clock.advance(0.5)
        timer.reset(1)
        clock.advance(0.75)
        assert seen == []
        clock.advance(0.25)
        assert seen == ["reset"]

    def test_an_exception_comes_out_when_the_other_calls_are_made(self) -> None:
        clock = ManualClock()
        seen: list[str] = []
        clock.call_soon(int, "x")
        clock.call_later(0, int, "y")
        clock.call_later(0, seen.append, "after")
        with pytest.raises(ValueError, match="'x'"):
            clock.advance()
        assert seen == ["after"]
        clock.advance()

    def test_advance_inside_a_call_is_refused(self) -> None:
        clock = ManualClock()
        clock.call_soon(clock.advance, 1)
        with pytest.raises(LocalProtocolError):
            clock.advance()

    def test_endless_calls_are_told(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("portable.testing.clock.MOST_CALLS", 100)
        clock = ManualClock()

        def again() -> None:
            clock.call_soon(again)

        def later() -> None:
            clock.call_later(0, later)

        again()
        with pytest.raises(AssertionError, match="no end"):
            clock.advance()
        clock = ManualClock()
        later()
        with pytest.raises(AssertionError, match="no end"):
            clock.advance()

    def test_step_goes_to_the_next_timer(self) -> None:
        clock = ManualClock()
        clock.call_later(3, int)
        clock.step(1)
        assert clock.time() == 1
        clock.step(None)
        assert clock.time() == 3
        clock.step(None)
        assert clock.time() == 3
        clock.call_soon(int)
        clock.step(5)
        assert clock.time() == 3


class TestMemoryTransport:
    def test_order_of_a_regular_life(self) -> None:
        protocol = Recorder()
        transport = MemoryTransport(protocol)
        transport.receive(b"one")
        transport.receive(b"")
        transport.receive_eof()
        transport.receive(b"too late")
        assert protocol.calls == ["made", b"one", "eof", ("lost", None)]
        assert transport.lost
        assert transport.eof_written

    def test_nothing_is_called_inside_close_or_abort_or_write(self) -> None:
        protocol = Recorder()
        transport = MemoryTransport(protocol, window=0)
        transport.set_write_buffer_limits(0)
        transport.write(b"x")
        assert protocol.calls == ["made"]
        transport.settle()
        assert protocol.calls == ["made", "pause"]
        transport.abort()
        transport.abort()
        assert protocol.calls == ["made", "pause"]
        transport.settle()
        assert protocol.calls == ["made", "pause", ("lost", None)]
        assert transport.take() == b""
        assert transport.aborted

    def test_close_flushes_to_a_slow_peer_first(self) -> None:
        protocol = Recorder()
        transport = MemoryTransport(protocol, window=2)
        transport.write(bytearray(b"he"))
        transport.writelines([b"l", memoryview(b"lo")])
        transport.close()
        transport.close()
        transport.write(b"ignored")
        transport.settle()
        assert transport.is_closing()
        assert protocol.calls == ["made"]
        assert transport.take() == b"he"
        assert transport.waiting == transport.get_write_buffer_size() == 3
        transport.allow(2)
        assert protocol.calls == ["made"]
        transport.allow(None)
        assert transport.take() == b"llo"
        assert transport.lost
        assert transport.get_extra_info("bytes_sent") == 5

    def test_write_wants_bytes(self) -> None:
        transport = MemoryTransport(Recorder())
        with pytest.raises(TypeError):
            transport.write("text")  # type: ignore[arg-type] # what the test is about
        with pytest.raises(TypeError):
            transport.writelines(["text"])  # type: ignore[list-item] # likewise

    def test_water_marks(self) -> None:
        protocol = Recorder()
        transport = MemoryTransport(protocol, window=0)
        transport.set_write_buffer_limits(high=4, low=2)
        assert transport.get_write_buffer_limits() == (2, 4)
        transport.write(b"1234")
        transport.settle()
        assert transport.pauses == 0
        transport.write(b"5")
        transport.settle()
        assert protocol.calls == ["made", "pause"]
        transport.allow(2)
        assert protocol.calls == ["made", "pause"]
        transport.allow(1)
        assert protocol.calls == ["made", "pause", "resume"]

    @pytest.mark.parametrize(
        ("given", "expected"),
        [((None, None), (16384, 65536)), ((8, None), (2, 8)), ((None, 8), (8, 32)), ((0, 0), (0, 0))],
    )
    def test_limits(self, given: tuple[int | None, int | None], expected: tuple[int, int]) -> None:
        transport = MemoryTransport(Recorder())
        transport.set_write_buffer_limits(*given)
        assert transport.get_write_buffer_limits() == expected

    @pytest.mark.parametrize(("high", "low"), [(1, 2), (1, -1)])
    def test_wrong_limits(self, high: int, low: int) -> None:
        with pytest.raises(ValueError, match="water marks"):
            MemoryTransport(Recorder()).set_write_buffer_limits(high, low)

    def test_paused_reading_delays_data_and_eof(self) -> None:
        protocol = Recorder()
        transport = MemoryTransport(protocol)
        transport.pause_reading()
        assert not transport.is_reading()
        transport.receive(b"one")
        transport.receive_eof()
        assert transport.unread == 3
        assert protocol.calls == ["made"]
        transport.resume_reading()
        transport.resume_reading()
        assert protocol.calls == ["made"]
        transport.settle()
        assert protocol.calls == ["made", b"one", "eof", ("lost", None)]

    def test_half_close_both_ways(self) -> None:
        protocol = Recorder(keep_open=True)
        transport = MemoryTransport(protocol)
        transport.receive_eof()
        assert not transport.is_closing()
        transport.write(b"answer")
        assert transport.can_write_eof()
        transport.write_eof()
        transport.write_eof()
        transport.write(b"ignored")
        transport.settle()
        assert transport.take() == b"answer"
        assert transport.eof_written
        assert not transport.lost
        transport.close()
        transport.write_eof()
        transport.settle()
        assert transport.lost

    def test_a_reset_is_told_once(self) -> None:
        protocol = Recorder()
        transport = MemoryTransport(protocol)
        transport.lose()
        transport.lose(ConnectionLost("again"))
        assert [type(call[1]) for call in protocol.calls[1:]] == [ConnectionReset]
        assert isinstance(transport.lost_reason, ConnectionReset)

    def test_an_exception_aborts_and_comes_out(self) -> None:
        class Broken(Recorder):
            def data_received(self, data: bytes) -> None:
                raise ZeroDivisionError

        protocol = Broken()
        transport = MemoryTransport(protocol)
        with pytest.raises(ZeroDivisionError):
            transport.receive(b"x")
        assert protocol.calls[0] == "made"
        assert isinstance(protocol.calls[1][1], ConnectionAborted)
        assert transport.aborted

    def test_send_file_keeps_its_place_between_writes(self) -> None:
        transport = MemoryTransport(Recorder(), window=0)
        transport.write(b"<")
        done = transport.send_file(io.BytesIO(b"0123456789"), 2, 5)
        short = transport.send_file(io.BytesIO(b"ab"), 1, 9)
        empty = transport.send_file(io.BytesIO(b"ab"), 0, 0)
        transport.write(b">")
        transport.close()
        transport.allow(3)
        assert transport.take() == b"<23"
        transport.allow(None)
        assert transport.take() == b"456b>"
        assert [wait_for(transport.clock, d) for d in (done, short, empty)] == [5, 1, 0]
        assert transport.lost

    def test_send_file_fails_with_the_connection(self) -> None:
        transport = MemoryTransport(Recorder(), window=0)
        first = transport.send_file(io.BytesIO(b"0123456789"), 0, 5)
        second = transport.send_file(io.BytesIO(b"0123456789"), 0, 5)
        transport.lose()
        for deferred in (first, second, transport.send_file(io.BytesIO(b"x"), 0, 1)):
            with pytest.raises(ConnectionLost):
                wait_for(transport.clock, deferred)

    def test_send_file_of_an_unreadable_file(self) -> None:
        transport = MemoryTransport(Recorder())
        file = io.BytesIO(b"x")
        file.close()
        with pytest.raises(FileError):
            wait_for(transport.clock, transport.send_file(file, 0, 1))

    def test_extra_info(self) -> None:
        transport = MemoryTransport(Recorder(), extra={"peername": Address("::1", 9)})
        transport.receive(b"abc")
        assert transport.get_extra_info("peername") == Address("::1", 9)
        assert transport.get_extra_info("sockname").port == 80
        assert transport.get_extra_info("reactor") is transport.clock
        assert transport.get_extra_info("bytes_received") == 3
        assert transport.get_extra_info("nonsense", 7) == 7

    def test_set_protocol_changes_who_is_called(self) -> None:
        first, second = Recorder(), Recorder()
        transport = MemoryTransport()
        with pytest.raises(LocalProtocolError):
            transport.get_protocol()
        transport.connect(first)
        transport.set_protocol(second)
        assert transport.get_protocol() is second
        transport.receive(b"x")
        assert (first.calls, second.calls) == (["made"], [b"x"])


class TestLink:
    def test_two_ends_talk_until_both_are_silent(self) -> None:
        client, server = Recorder(), Echo()
        link = connect_in_memory(client, server)
        link.a.write(b"hello")
        link.flush(chunk=2)
        assert server.calls == ["made", b"he", b"ll", b"o"]
        assert client.data == b"hello"
        link.a.close()
        link.flush()
        assert server.calls[-2:] == ["eof", ("lost", None)]
        assert client.calls[-1] == ("lost", None)
        assert link.b.get_extra_info("peername") == link.a.get_extra_info("sockname")

    def test_chunk_sizes_are_used_in_turn(self) -> None:
        server = Recorder()
        link = connect_in_memory(Recorder(), server)
        link.a.write(b"abcdef")
        link.flush(chunk=[1, 2])
        assert server.calls == ["made", b"a", b"bc", b"d", b"ef"]

    def test_endless_talk_is_told(self) -> None:
        link = connect_in_memory(Echo(), Echo())
        link.a.write(b"x")
        with pytest.raises(AssertionError, match="still talk"):
            link.flush(turns=100)

    def test_short_writes(self) -> None:
        server = Recorder()
        link = connect_in_memory(Recorder(), server)
        link.short_writes(3)
        link.a.write(b"abcde")
        assert link.flush_once()
        assert link.a.get_write_buffer_size() == 2
        link.short_writes(None)
        link.flush()
        assert server.calls == ["made", b"abc", b"de"]
        assert not link.flush_once()

    def test_reset_now_and_while_nothing_is_said(self) -> None:
        client, server = Recorder(), Recorder()
        link = connect_in_memory(client, server)
        link.reset_after(link.a, 0)
        link.flush()
        for protocol in (client, server):
            assert isinstance(protocol.calls[-1][1], ConnectionReset)

    def test_the_clock_may_be_shared(self) -> None:
        clock = ManualClock()
        link = connect_in_memory(Recorder(), Recorder(), clock)
        assert link.clock is clock is link.a.clock is link.b.clock

    def test_tls_between_the_two(self, tmp_path: pathlib.Path) -> None:
        ca = trustme.CA()
        ca.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "server.pem"))
        ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
        client, server = Recorder(), Recorder()
        link = connect_in_memory(client, server)
        link.b.start_tls(server_options(str(tmp_path / "server.pem")), 0)
        link.a.start_tls(client_options("localhost", ca=str(tmp_path / "ca.pem")), 0).write(b"secret")
        link.flush(chunk=7)
        assert server.data == b"secret"
        assert link.b.get_extra_info("bytes_received") > 100

    @pytest.mark.parametrize("count", range(6))
    def test_reset_at_every_offset(self, count: int) -> None:
        client, server = Recorder(), Recorder()
        link = connect_in_memory(client, server)
        link.reset_after(link.b, count)
        link.a.write(b"hello")
        link.flush()
        assert server.data == b"hello"[:count]
        for protocol in (client, server):
            assert isinstance(protocol.calls[-1][1], ConnectionReset)

    def test_a_stalled_peer_pauses_the_writer(self) -> None:
        client, server = Recorder(), Recorder()
        link = connect_in_memory(client, server)
        link.stall(link.b)
        link.a.write(bytes(100_000))
        link.b.write(b"still said")
        link.flush()
        assert client.calls == ["made", "pause", b"still said"]
        assert server.data == b""
        link.a.close()
        link.flush()
        link.unstall(link.b)
        link.flush()
        assert len(server.data) == 100_000
        assert server.calls[-1] == ("lost", None)

    def test_a_stalled_peer_does_not_see_the_end(self) -> None:
        server = Recorder()
        link = connect_in_memory(Recorder(), server)
        link.stall(link.b)
        link.a.close()
        link.flush()
        assert server.calls == ["made"]
        link.unstall(link.b)
        link.flush()
        assert server.calls == ["made", "eof", ("lost", None)]

    def test_a_peer_that_pauses_reading_pauses_the_writer(self) -> None:
        client, server = Recorder(), Recorder()
        link = connect_in_memory(client, server)
        link.b.pause_reading()
        link.a.write(bytes(200_000))
        link.flush()
        assert client.calls == ["made", "pause"]
        link.b.resume_reading()
        link.flush()
        assert client.calls == ["made", "pause", "resume"]
        assert len(server.data) == 200_000

    def test_abort_resets_the_peer(self) -> None:
        client, server = Recorder(), Recorder()
        link = connect_in_memory(client, server)
        link.a.abort()
        link.flush()
        assert client.calls == ["made", ("lost", None)]
        assert isinstance(server.calls[-1][1], ConnectionReset)

    def test_writing_to_a_peer_that_closed_is_a_reset(self) -> None:
        client, server = Recorder(), Recorder(keep_open=True)
        link = connect_in_memory(client, server)
        link.a.close()
        link.flush()
        assert server.calls == ["made", "eof"]
        link.b.write(b"anybody there?")
        link.flush()
        assert isinstance(server.calls[-1][1], ConnectionReset)

    def test_a_file_shorter_than_said_leaves_no_room_behind(self) -> None:
        server = Recorder()
        link = connect_in_memory(Recorder(), server)
        done = link.a.send_file(io.BytesIO(b"abc"), 0, 100)
        link.flush()
        assert wait_for(link.clock, done) == 3
        link.a.write(b"defg")
        assert link.a.get_write_buffer_size() == 4
        link.flush(chunk=1)
        assert server.data == b"abcdefg"

    def test_only_the_ends_can_be_named(self) -> None:
        link = connect_in_memory(Recorder(), Recorder())
        with pytest.raises(ValueError, match="neither end"):
            link.stall(MemoryTransport())


class Datagrams(DatagramProtocol):
    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.transport: DatagramTransport

    def connection_made(self, transport: DatagramTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Address) -> None:
        self.calls.append((data, addr))
        self.transport.sendto(data, addr)

    def error_received(self, exc: Exception) -> None:
        self.calls.append(exc)

    def connection_lost(self, exc: Exception | None) -> None:
        self.calls.append("lost")


class TestMemoryDatagramTransport:
    def test_datagrams_both_ways(self) -> None:
        protocol = Datagrams()
        transport = MemoryDatagramTransport(protocol)
        transport.receive(b"")
        transport.receive(b"x", Address("::1", 7))
        assert transport.sent[1] == (b"x", Address("::1", 7))
        assert transport.take() == [b"", b"x"]
        assert transport.sent == []
        error = ConnectionReset("no")
        transport.fail(error)
        transport.close()
        transport.abort()
        assert transport.is_closing()
        transport.sendto(b"ignored", Address("::1", 7))
        transport.receive(b"dropped")
        transport.fail(error)
        assert protocol.calls[2:] == [error, "lost"]
        assert transport.lost

    def test_what_sendto_refuses(self) -> None:
        transport = MemoryDatagramTransport(Datagrams())
        with pytest.raises(TypeError):
            transport.sendto("text", Address("::1", 7))  # type: ignore[arg-type] # what the test is about
        with pytest.raises(ValueError, match="address"):
            transport.sendto(b"x")

    def test_a_connected_socket(self) -> None:
        transport = MemoryDatagramTransport(Datagrams(), peer=Address("::1", 7), extra={"name": "x"})
        transport.sendto(b"x")
        assert transport.sent == [(b"x", Address("::1", 7))]
        assert transport.get_extra_info("peername") == Address("::1", 7)
        assert transport.get_extra_info("name") == "x"
        assert transport.get_extra_info("sockname").port == 53

    def test_nothing_is_called_from_inside_another_call(self) -> None:
        clock = ManualClock()
        protocol = Datagrams()
        transport = MemoryDatagramTransport(protocol, clock)

        def receive() -> None:
            transport.receive(b"x")
            protocol.calls.append("returned")

        clock.call_soon(receive)
        clock.advance()
        assert protocol.calls[0] == "returned"


class TestWaiting:
    def test_wait_for_gives_the_result(self) -> None:
        clock = ManualClock()
        deferred: Deferred[int] = Deferred()
        clock.call_later(3, deferred.callback, 7)
        assert wait_for(clock, deferred) == 7
        assert clock.time() == 3

    def test_wait_for_raises_the_error(self) -> None:
        clock = ManualClock()
        deferred: Deferred[int] = Deferred()
        clock.call_later(3, deferred.errback, ConnectionReset("no"))
        with pytest.raises(ConnectionReset):
            wait_for(clock, deferred)

    def test_wait_for_gives_up(self) -> None:
        cancelled: list[object] = []
        deferred: Deferred[int] = Deferred(cancelled.append)
        with pytest.raises(AssertionError, match="in vain"):
            wait_for(ManualClock(), deferred, seconds=5)
        assert cancelled

    def test_wait_until(self) -> None:
        clock = ManualClock()
        seen: list[int] = []
        clock.call_later(3, seen.append, 1)
        wait_until(clock, lambda: seen)
        with pytest.raises(AssertionError, match="test_testing"):
            wait_until(clock, lambda: len(seen) == 2, seconds=1)
        with pytest.raises(AssertionError, match="the moon"):
            wait_until(clock, lambda: False, seconds=1, what="the moon")
        with pytest.raises(AssertionError, match="method clear"):
            wait_until(clock, [].clear, seconds=1)
