"""Back-pressure: what stops, what goes on, and what passes between two streams."""

from __future__ import annotations

import typing

import pytest

from portable.errors import ConnectionReset
from portable.flow import BURST, LINGER, Pacer, RelayEnd, join
from portable.framing import LineReader
from portable.protocol import Protocol
from portable.testing import ManualClock, MemoryTransport
from portable.transport import HIGH_WATER

if typing.TYPE_CHECKING:
    from portable.errors import TransportError
    from portable.transport import Transport


class Answerer(Protocol):
    """Answers each line with `size` bytes, paced."""

    _transport: Transport
    pacer: Pacer

    def __init__(self, clock: ManualClock, size: int = 1000) -> None:
        self.lines: list[bytes] = []
        self.size = size
        self.hold_at = b""
        self._clock = clock
        self._reader = LineReader(100)

    def connection_made(self, transport: Transport) -> None:
        self._transport = transport
        self.pacer = Pacer(transport, self._clock, self._step, gate_reading=True)

    def data_received(self, data: bytes) -> None:
        self._reader.receive_data(data)
        self.pacer.wake()

    def _step(self) -> bool:
        line = self._reader.next_line()
        if line is None:
            return False
        self.lines.append(line)
        if line == b"fail":
            raise RuntimeError("a bug in a step")
        if line == b"quit":
            self._transport.close()
        if line == b"hold":
            self.pacer.hold()
        if line == b"hold twice":
            self.pacer.hold()
            self.pacer.release()
        self._transport.write(b"x" * self.size)
        return True

    def pause_writing(self) -> None:
        self.pacer.pause_writing()

    def resume_writing(self) -> None:
        self.pacer.resume_writing()

    def connection_lost(self, exc: TransportError | None) -> None:
        self.pacer.stop()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def test_steps_stop_in_the_middle_of_the_buffer_when_the_peer_does_not_read(clock: ManualClock) -> None:
    protocol = Answerer(clock)
    transport = MemoryTransport(protocol, clock, window=0)
    transport.receive(b"line\r\n" * 200)
    assert len(protocol.lines) == HIGH_WATER // 1000 + 1
    assert not transport.is_reading()
    transport.receive(b"last\r\n")
    assert transport.unread == 6
    transport.allow(HIGH_WATER)
    assert HIGH_WATER // 1000 + 1 < len(protocol.lines) < 200
    transport.allow(None)
    assert protocol.lines == [b"line"] * 200 + [b"last"]
    assert transport.is_reading()
    assert len(transport.written) == 201_000


def test_steps_go_on_when_the_buffer_was_sent_without_a_pause(clock: ManualClock) -> None:
    protocol = Answerer(clock, size=HIGH_WATER + 1)
    transport = MemoryTransport(protocol, clock, window=0)
    protocol.data_received(b"a\r\nb\r\nc\r\n")  # no settle: the end of the turn has not come
    assert protocol.lines == [b"a"]
    transport.window = None
    transport.write(b"")
    transport.allow(None)
    assert protocol.lines == [b"a", b"b", b"c"]
    assert transport.is_reading()


def test_a_long_queue_is_worked_off_in_several_turns(clock: ManualClock) -> None:
    protocol = Answerer(clock, size=1)
    transport = MemoryTransport(protocol, clock)
    protocol.data_received(b"a\r\n" * (BURST + 10))
    assert len(protocol.lines) == BURST
    assert not transport.is_reading()
    protocol.pacer.wake()  # changes nothing: it is coming
    assert len(protocol.lines) == BURST
    transport.settle()
    assert len(protocol.lines) == BURST + 10
    assert transport.is_reading()


def test_hold_keeps_the_order_of_answers(clock: ManualClock) -> None:
    protocol = Answerer(clock, size=1)
    transport = MemoryTransport(protocol, clock)
    transport.receive(b"a\r\nhold\r\nb\r\n")
    assert protocol.lines == [b"a", b"hold"]
    assert protocol.pacer.held
    assert not transport.is_reading()
    protocol.pacer.wake()
    protocol.pacer.resume_writing()
    assert protocol.lines == [b"a", b"hold"]
    protocol.pacer.release()
    assert protocol.lines == [b"a", b"hold", b"b"]
    assert transport.is_reading()
    protocol.pacer.release()
    assert not protocol.pacer.held


def test_hold_before_a_turn_that_was_planned(clock: ManualClock) -> None:
    protocol = Answerer(clock, size=1)
    transport = MemoryTransport(protocol, clock)
    protocol.data_received(b"a\r\n" * (BURST + 1))
    protocol.pacer.hold()
    transport.settle()
    assert len(protocol.lines) == BURST
    protocol.pacer.release()
    assert len(protocol.lines) == BURST + 1


def test_release_during_the_step_that_holds(clock: ManualClock) -> None:
    protocol = Answerer(clock, size=1)
    MemoryTransport(protocol, clock).receive(b"hold twice\r\nb\r\n")
    assert protocol.lines == [b"hold twice", b"b"]


def test_work_that_a_step_announces_itself(clock: ManualClock) -> None:
    made: list[int] = []

    def step() -> bool:
        made.append(1)
        if len(made) < 3:
            pacer.wake()
        return False

    pacer = Pacer(MemoryTransport(Protocol(), clock), clock, step)
    pacer.wake()
    assert len(made) == 3


def test_a_last_step_that_holds_keeps_reading_paused(clock: ManualClock) -> None:
    def step() -> bool:
        pacer.hold()
        return False

    transport = MemoryTransport(Protocol(), clock)
    pacer = Pacer(transport, clock, step, gate_reading=True)
    pacer.wake()
    assert not transport.is_reading()


def test_no_step_after_close(clock: ManualClock) -> None:
    protocol = Answerer(clock)
    transport = MemoryTransport(protocol, clock)
    transport.receive(b"a\r\nquit\r\nb\r\n")
    assert protocol.lines == [b"a", b"quit"]
    assert transport.lost
    protocol.pacer.wake()
    assert protocol.lines == [b"a", b"quit"]


def test_the_turn_that_was_planned_does_not_come_after_the_end(clock: ManualClock) -> None:
    protocol = Answerer(clock, size=1)
    transport = MemoryTransport(protocol, clock)
    protocol.data_received(b"a\r\n" * (BURST + 1))
    transport.lose(ConnectionReset("gone"))
    assert len(protocol.lines) == BURST


def test_a_bug_in_a_later_turn_aborts_the_connection(clock: ManualClock) -> None:
    protocol = Answerer(clock, size=1)
    transport = MemoryTransport(protocol, clock)
    protocol.data_received(b"a\r\n" * BURST + b"fail\r\nb\r\n")
    with pytest.raises(RuntimeError, match="a bug in a step"):
        clock.advance(0)
    assert transport.aborted
    assert protocol.lines[-1] == b"fail"


def test_a_step_that_changes_the_transport(clock: ManualClock) -> None:
    """As STARTTLS does, when it came behind so much that reading was paused."""
    old = MemoryTransport(Protocol(), clock)
    new = MemoryTransport(Protocol(), clock)
    steps: list[int] = []

    def step() -> bool:
        steps.append(1)
        if len(steps) == BURST + 1:
            assert not old.is_reading()
            pacer.transport = new
        return len(steps) < BURST + 3

    pacer = Pacer(old, clock, step, gate_reading=True)
    pacer.wake()
    clock.advance(0)
    assert len(steps) == BURST + 3
    assert old.is_reading()
    assert new.is_reading()


def test_a_step_that_changes_the_transport_while_nothing_is_paused(clock: ManualClock) -> None:
    new = MemoryTransport(Protocol(), clock)

    def step() -> bool:
        pacer.transport = new
        return False

    pacer = Pacer(MemoryTransport(Protocol(), clock), clock, step, gate_reading=True)
    pacer.wake()
    assert new.is_reading()


def test_stop_is_final(clock: ManualClock) -> None:
    made: list[int] = []

    def step() -> bool:
        made.append(1)
        return False

    pacer = Pacer(MemoryTransport(Protocol(), clock), clock, step)
    pacer.stop()
    pacer.wake()
    assert not made


class Pair:
    """Two relay ends on memory transports."""

    def __init__(self, *, joined: bool = True) -> None:
        self.clock = ManualClock()
        self.one, self.other = RelayEnd(self.clock), RelayEnd(self.clock)
        self.a = MemoryTransport(self.one, self.clock)
        self.b = MemoryTransport(self.other, self.clock)
        if joined:
            join(self.one, self.other)


def test_relay_passes_both_ways() -> None:
    pair = Pair()
    pair.a.receive(b"question")
    pair.b.receive(b"answer")
    assert (pair.a.take(), pair.b.take()) == (b"answer", b"question")
    assert pair.one.partner is pair.other


def test_relay_keeps_early_data_within_bounds() -> None:
    pair = Pair(joined=False)
    pair.a.receive(b"a" * 1000)
    assert pair.a.is_reading()
    pair.a.receive(b"b" * HIGH_WATER)
    assert not pair.a.is_reading()
    pair.a.receive(b"c" * 1000)
    pair.a.receive_eof()
    assert pair.one.partner is None
    join(pair.one, pair.other)
    pair.clock.advance(0)
    assert pair.b.take() == b"a" * 1000 + b"b" * HIGH_WATER + b"c" * 1000
    assert pair.b.eof_written
    pair.b.receive(b"answer")
    assert pair.a.take() == b"answer"


def test_relay_passes_an_early_end_of_stream() -> None:
    pair = Pair(joined=False)
    pair.a.receive(b"all")
    pair.a.receive_eof()
    # Calls that come from nowhere in particular do nothing yet.
    pair.one.pause_writing()
    pair.one.resume_writing()
    join(pair.one, pair.other)
    assert pair.b.take() == b"all"
    assert pair.b.eof_written
    assert not pair.b.is_closing()


def test_relay_holds_off_the_faster_side() -> None:
    pair = Pair()
    pair.b.window = 0
    pair.a.receive(b"x" * (HIGH_WATER + 1))
    assert not pair.a.is_reading()
    pair.a.receive(b"y" * 10)
    assert pair.a.unread == 10
    pair.b.allow(HIGH_WATER)
    assert pair.a.is_reading()
    pair.b.allow(None)
    assert len(pair.b.written) == HIGH_WATER + 11


def test_relay_passes_half_closes_and_then_closes_the_pair() -> None:
    pair = Pair()
    pair.a.receive(b"request")
    pair.a.receive_eof()
    assert pair.b.eof_written
    pair.b.receive(b"response")
    assert not pair.a.is_closing()
    pair.b.receive_eof()
    assert pair.a.take() == b"response"
    assert pair.a.lost
    assert pair.b.lost


def test_relay_closes_what_cannot_half_close(monkeypatch: pytest.MonkeyPatch) -> None:
    pair = Pair()
    monkeypatch.setattr(pair.b, "can_write_eof", lambda: False)
    pair.a.receive(b"request")
    pair.a.receive_eof()
    assert pair.b.take() == b"request"
    assert pair.b.lost
    assert pair.a.lost


@pytest.mark.parametrize("broken", [True, False])
@pytest.mark.parametrize("size", [1, HIGH_WATER + 1])
def test_relay_ends_both_when_one_is_lost(broken: bool, size: int) -> None:
    pair = Pair()
    pair.b.window = 0
    pair.a.receive(b"x" * size)
    pair.b.receive(b"last words")
    if broken:
        pair.a.lose(ConnectionReset("gone"))
    else:
        pair.a.close()
    pair.clock.advance(0)
    assert pair.a.take() == b"last words"
    assert pair.b.get_write_buffer_size() == size
    pair.b.allow(None)
    assert pair.b.take() == b"x" * size
    assert pair.b.lost
    # Half a stream must not end like a whole one.
    assert pair.b.aborted is broken
    pair.clock.advance(LINGER)
    assert pair.clock.next_time() is None


def test_relay_sends_what_came_just_before_the_break() -> None:
    pair = Pair()
    pair.a.receive(b"half of it")
    pair.a.lose(ConnectionReset("gone"))
    pair.clock.advance(0)
    assert pair.b.take() == b"half of it"
    assert pair.b.aborted


def test_relay_closes_what_lacks_nothing() -> None:
    pair = Pair()
    pair.a.receive(b"all of it")
    pair.a.receive_eof()
    pair.a.lose(ConnectionReset("gone"))
    pair.clock.advance(0)
    assert pair.b.take() == b"all of it"
    assert pair.b.lost
    assert not pair.b.aborted


def test_relay_keeps_early_data_of_what_cannot_half_close(monkeypatch: pytest.MonkeyPatch) -> None:
    pair = Pair(joined=False)
    monkeypatch.setattr(pair.a, "can_write_eof", lambda: False)
    monkeypatch.setattr(pair.one, "eof_received", lambda: RelayEnd.eof_received(pair.one) and False)
    pair.a.receive(b"all of")
    pair.a.receive(b" it")
    pair.a.receive_eof()
    assert not pair.one.lost
    join(pair.one, pair.other)
    pair.clock.advance(0)
    assert pair.b.take() == b"all of it"
    assert pair.b.eof_written
    assert not pair.b.aborted


def test_joining_after_one_end_was_lost_closes_the_other() -> None:
    pair = Pair(joined=False)
    pair.a.receive(b"early")
    pair.a.lose()
    join(pair.one, pair.other)
    pair.clock.advance(0)
    assert pair.b.lost
    assert pair.b.take() == b""


def test_joining_what_is_not_connected_is_a_bug() -> None:
    with pytest.raises(AssertionError, match="not connected"):
        join(RelayEnd(ManualClock()), RelayEnd(ManualClock()))


def test_what_is_left_is_sent_as_long_as_its_peer_takes_some() -> None:
    pair = Pair()
    pair.b.window = 0
    pair.a.receive(b"x" * 100)
    pair.a.lose()
    pair.b.allow(10)
    pair.clock.advance(LINGER)
    pair.b.allow(10)
    pair.clock.advance(LINGER)
    assert len(pair.b.written) == 20
    pair.clock.advance(LINGER)
    assert pair.b.aborted
    assert pair.clock.next_time() is None
