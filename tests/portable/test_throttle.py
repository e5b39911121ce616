from __future__ import annotations

import io
import tracemalloc
import typing

import pytest

from portable.errors import ConnectionLost, ConnectionReset, FileError
from portable.flow import Pacer
from portable.testing import ManualClock, MemoryTransport
from portable.throttle import ThrottledTransport
from portable.transport import HIGH_WATER
from tests.portable.listening import Draining, Recorder

if typing.TYPE_CHECKING:
    from portable.transport import Transport

RATE = 1000
SLICE = 100


def throttled(above: Recorder, *, window: int | None = None) -> tuple[MemoryTransport, ThrottledTransport]:
    below = MemoryTransport(clock=ManualClock(), window=window)
    transport = ThrottledTransport(below, above, RATE, below.clock)
    below.connect(transport)
    assert above.events == ["made"]
    return below, transport


class HalfOpen(Recorder):
    def eof_received(self) -> bool | None:
        super().eof_received()
        return True


class BrokenFile(io.BytesIO):
    def read(self, size: int | None = -1) -> bytes:
        raise RuntimeError("scratched")


def test_an_unused_throttle_has_no_timer() -> None:
    below, transport = throttled(Recorder())
    assert below.clock.next_time() is None
    transport.write(b"x")
    below.receive(b"y")
    below.clock.advance(1)
    assert below.clock.next_time() is None


def test_a_rest_buys_no_burst() -> None:
    below, transport = throttled(Recorder())
    below.clock.advance(3600)
    transport.write(bytes(5000))
    assert len(below.written) <= 3 * SLICE


def test_what_waits_is_not_copied_for_each_slice() -> None:
    recorder = Recorder()
    below, transport = throttled(recorder)
    large = bytes(range(256)) * 8192
    transport.write(large)
    below.receive(large)
    tracemalloc.start()
    try:
        below.clock.advance(5)
        assert tracemalloc.get_traced_memory()[1] < len(large) // 8
    finally:
        tracemalloc.stop()
    assert len(below.written) >= 4 * SLICE
    assert below.written == large[: len(below.written)]
    assert recorder.received == large[: len(recorder.received)]
    assert type(recorder.received) is bytes


def test_close_flushes_at_the_rate() -> None:
    recorder = Recorder()
    below, transport = throttled(recorder)
    transport.write(bytes(1000))
    transport.close()
    transport.close()
    transport.write(b"too late")
    below.receive(b"ignored")
    assert transport.is_closing()
    below.clock.advance(0.5)
    assert not recorder.lost
    below.clock.advance(0.5)
    assert recorder.events == ["made", "lost"]
    assert len(below.written) == 1000


def test_abort_drops_what_waits() -> None:
    recorder = Recorder()
    below, transport = throttled(recorder)
    transport.write(bytes(1000))
    below.receive(bytes(1000))
    transport.abort()
    below.clock.advance(1)
    assert recorder.events[-1] == "lost"
    assert len(below.written) < 1000
    assert below.clock.next_time() is None


def test_write_eof_comes_after_the_last_byte() -> None:
    below, transport = throttled(Recorder())
    transport.write(bytes(500))
    transport.write_eof()
    transport.write_eof()
    transport.write(b"too late")
    assert (below.eof_written, len(below.written) < 500) == (False, True)
    below.clock.advance(1)
    assert (below.eof_written, len(below.written)) == (True, 500)


def test_the_end_of_the_input_comes_after_the_last_byte() -> None:
    recorder = HalfOpen()
    below, _ = throttled(recorder)
    below.receive(bytes(1000))
    below.receive_eof()
    below.clock.advance(0.4)
    assert "eof" not in recorder.events
    below.clock.advance(1)
    assert recorder.events[-1] == "eof"
    assert len(recorder.received) == 1000
    assert not below.lost


def test_a_protocol_that_keeps_nothing_open_is_closed_after_the_end_of_the_input() -> None:
    recorder = Recorder()
    below, _ = throttled(recorder)
    below.receive(bytes(1000))
    below.receive_eof()
    below.clock.advance(2)
    assert recorder.events[-2:] == ["eof", "lost"]


def test_the_end_of_an_empty_input_is_told_at_once() -> None:
    recorder = Recorder()
    below, _ = throttled(recorder)
    below.receive_eof()
    assert recorder.events == ["made", "eof", "lost"]


@pytest.mark.parametrize("closed_before", [True, False])
def test_what_was_written_is_sent_at_the_rate_after_the_end_of_the_input(closed_before: bool) -> None:
    recorder = Recorder()
    below, transport = throttled(recorder)
    transport.write(bytes(1000))
    if closed_before:
        transport.close()
    below.receive_eof()
    below.clock.advance(0.5)
    assert not recorder.lost
    below.clock.advance(0.5)
    assert len(below.written) == 1000
    assert recorder.events == (["made", "lost"] if closed_before else ["made", "eof", "lost"])


def test_a_connection_lost_between_a_write_and_its_pause_gets_no_pause() -> None:
    recorder = Recorder()
    below, transport = throttled(recorder)
    transport.write(bytes(100_000))
    transport.connection_lost(None)
    below.clock.advance(0)
    assert recorder.events == ["made", "lost"]


def test_a_protocol_that_closes_in_the_middle_gets_no_more() -> None:
    class Sated(Recorder):
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self.transport.close()

    recorder = Sated()
    below, transport = throttled(recorder, window=0)
    transport.write(b"slow goodbye")
    below.receive(bytes(1000))
    transport.data_received(b"late")
    below.clock.advance(5)
    assert len(recorder.received) == SLICE


def test_a_paused_protocol_gets_nothing() -> None:
    recorder = Recorder()
    below, transport = throttled(recorder)
    below.receive(bytes(1000))
    below.receive_eof()
    transport.pause_reading()
    before = len(recorder.received)
    assert not transport.is_reading()
    below.clock.advance(10)
    assert len(recorder.received) == before
    transport.resume_reading()
    transport.pause_reading()
    below.clock.advance(1)
    assert len(recorder.received) == before
    transport.resume_reading()
    transport.resume_reading()
    assert transport.is_reading()
    assert len(recorder.received) == before
    below.clock.advance(10)
    assert recorder.received == bytes(1000)
    assert recorder.events[-2:] == ["eof", "lost"]


def test_a_protocol_that_pauses_at_its_last_byte_gets_the_end_when_it_resumes() -> None:
    class Pausing(Recorder):
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if len(self.received) == 150:
                self.transport.pause_reading()

    recorder = Pausing()
    below, transport = throttled(recorder)
    below.receive(bytes(150))
    below.receive_eof()
    below.clock.advance(5)
    assert "eof" not in recorder.events
    transport.resume_reading()
    below.clock.advance(1)
    assert recorder.events[-2:] == ["eof", "lost"]


def test_what_waits_in_a_broken_connection_is_dropped() -> None:
    recorder = Recorder()
    below, transport = throttled(recorder)
    below.receive(bytes(1000))
    transport.write(bytes(100_000))
    below.lose(ConnectionReset("gone"))
    below.clock.advance(5)
    assert len(recorder.received) < 1000
    assert [str(exc) for exc in recorder.lost] == ["gone"]
    transport.resume_reading()
    assert below.clock.next_time() is None


def test_water_marks_tell_the_protocol_to_pause_and_resume() -> None:
    recorder = Recorder()
    below, transport = throttled(recorder)
    transport.set_write_buffer_limits(500)
    assert transport.get_write_buffer_limits() == (125, 500)
    transport.write(bytes(700))
    assert recorder.events == ["made"]
    below.clock.advance(0)
    assert recorder.events == ["made", "pause"]
    assert transport.get_write_buffer_size() == 700 - len(below.written)
    below.clock.advance(1)
    assert recorder.events == ["made", "pause", "resume"]
    transport.set_write_buffer_limits(low=100)
    assert transport.get_write_buffer_limits() == (100, 400)
    transport.set_write_buffer_limits()
    assert transport.get_write_buffer_limits() == (16384, 65536)
    with pytest.raises(ValueError, match="water marks"):
        transport.set_write_buffer_limits(1, 2)


def test_a_slow_peer_is_waited_for() -> None:
    recorder = Recorder()
    below, transport = throttled(recorder, window=0)
    transport.writelines([bytes(500), bytes(500)])
    below.clock.advance(5)
    assert transport.get_write_buffer_size() == 1000
    assert below.get_write_buffer_size() <= 3 * SLICE
    below.allow(None)
    below.clock.advance(2)
    assert len(below.written) == 1000


class Producing(Recorder):
    """Writes without end."""

    pacer: Pacer

    def connection_made(self, transport: Transport) -> None:
        super().connection_made(transport)
        self.clock = transport.get_extra_info("reactor")
        self.pacer = Pacer(transport, self.clock, self._produce)

    def _produce(self) -> bool:
        self.transport.write(bytes(10_000))
        return True

    def pause_writing(self) -> None:
        super().pause_writing()
        self.pacer.pause_writing()

    def resume_writing(self) -> None:
        super().resume_writing()
        self.pacer.resume_writing()


@pytest.mark.parametrize("window", [0, 30_000])
def test_a_producer_rests_while_a_slow_peer_is_waited_for(window: int) -> None:
    """What waits below counts: else it would look again in every turn of the loop."""
    recorder = Producing()
    below = MemoryTransport(clock=ManualClock(), window=window)
    below.connect(ThrottledTransport(below, recorder, 100_000_000, below.clock))
    recorder.pacer.wake()
    below.clock.advance(1)
    assert recorder.events == ["made", "pause"]
    assert below.clock.next_time() is None
    assert recorder.transport.get_write_buffer_size() <= HIGH_WATER + 10_000
    below.allow(200_000)
    below.clock.advance(1)
    assert recorder.events == ["made", "pause", "resume", "pause"]
    assert below.clock.next_time() is None


def test_only_bytes_are_written() -> None:
    _, transport = throttled(Recorder())
    with pytest.raises(TypeError, match="not str"):
        transport.write(typing.cast("bytes", "text"))


def test_files_are_sent_at_the_rate_and_in_order() -> None:
    below, transport = throttled(Recorder())
    sent: list[int] = []
    transport.write(b"<")
    transport.send_file(io.BytesIO(b"0123456789" * 50), 5, 450).add_callback(sent.append)
    transport.write(b">")
    transport.close()
    below.clock.advance(0.2)
    assert sent == []
    assert len(below.written) < 400
    below.clock.advance(1)
    assert sent == [450]
    assert bytes(below.written) == b"<" + (b"0123456789" * 50)[5:455] + b">"
    assert below.lost


def test_a_file_that_ends_early_gives_what_was_sent() -> None:
    below, transport = throttled(Recorder())
    sent: list[int] = []
    transport.send_file(io.BytesIO(bytes(150)), 0, 1000).add_callback(sent.append)
    below.clock.advance(1)
    assert sent == [150]


def test_a_file_that_cannot_be_read_fails_alone() -> None:
    below, transport = throttled(Recorder())
    errors: list[Exception] = []
    transport.send_file(BrokenFile(), 0, 10).add_errback(errors.append)
    transport.write(b"after")
    below.clock.advance(1)
    assert [type(error) for error in errors] == [FileError]
    assert bytes(below.written) == b"after"


@pytest.mark.parametrize("window", [None, 0])
@pytest.mark.parametrize("end", ["abort", "reset"])
def test_a_file_is_cut_off_with_its_connection(end: str, window: int | None) -> None:
    below, transport = throttled(Recorder(), window=window)
    errors: list[Exception] = []
    transport.send_file(io.BytesIO(bytes(1000)), 0, 1000).add_errback(errors.append)
    transport.send_file(io.BytesIO(bytes(1000)), 0, 1000).add_errback(errors.append)
    below.clock.advance(0.15)
    if end == "abort":
        transport.abort()
    else:
        below.lose()
    below.clock.advance(1)
    assert [isinstance(error, ConnectionLost) for error in errors] == [True, True]
    transport.send_file(io.BytesIO(b""), 0, 0).add_errback(errors.append)
    assert [type(error) for error in errors[2:]] == [ConnectionLost]


def test_a_part_that_was_sent_when_its_connection_was_aborted_changes_nothing() -> None:
    below, transport = throttled(Recorder())
    errors: list[Exception] = []
    transport.send_file(io.BytesIO(bytes(1000)), 0, 1000).add_errback(errors.append)
    transport.abort()
    below.clock.advance(1)
    assert [type(error) for error in errors] == [ConnectionLost]


@pytest.mark.parametrize("window", [None, 0])
def test_drain_is_passed_on(window: int | None) -> None:
    polite, plain = Draining(), Recorder()
    below, transport = throttled(polite, window=window)
    transport.drain()
    below.clock.advance(1)
    assert polite.events[1] == "drain"
    below, transport = throttled(plain, window=window)
    transport.drain()
    below.clock.advance(1)
    assert plain.events[-1] == "lost"


class Failing(Recorder):
    """Fails at its later pieces of data, and whenever its buffer is full."""

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if len(self.received) > 4 * SLICE:
            raise RuntimeError("cannot take it")

    def pause_writing(self) -> None:
        raise RuntimeError("cannot pause")


def test_a_protocol_that_fails_in_its_own_time_does_not_hang() -> None:
    recorder = Failing()
    below, _transport = throttled(recorder)
    below.clock.advance(1)
    below.receive(bytes(5 * SLICE))
    with pytest.raises(RuntimeError, match="cannot take it"):
        below.clock.advance(1)
    assert recorder.lost
    assert below.aborted


def test_a_protocol_that_cannot_pause_does_not_hang() -> None:
    recorder = Failing()
    below, transport = throttled(recorder)
    transport.write(bytes(100 * 1024))
    with pytest.raises(RuntimeError, match="cannot pause"):
        below.clock.advance(1)
    assert recorder.lost


def test_a_closed_protocol_hears_nothing_of_water_marks() -> None:
    recorder = Recorder()
    below, transport = throttled(recorder)
    transport.write(bytes(100 * 1024))
    transport.close()
    below.clock.advance(1)
    assert recorder.events == ["made"]


def test_nobody_waits_for_the_water_marks_of_a_connection_that_closes_below() -> None:
    recorder = Recorder()
    below = MemoryTransport(clock=ManualClock(), window=0)
    transport = ThrottledTransport(below, recorder, 100_000_000, below.clock)
    below.connect(transport)
    transport.write(bytes(2 * HIGH_WATER))
    below.close()
    below.clock.advance(1)
    assert recorder.events == ["made"]
    assert below.clock.next_time() is None
