"""When a broker takes what its peer sends, and when not."""

from __future__ import annotations

import pytest

from portable.flow import BURST
from portable.protocol import Protocol
from portable.testing import MemoryTransport
from protocols.pb.intake import ANSWER_TIMEOUT, MAX_ANSWERS, Intake


class Work:
    """Counts steps; the last of them is told by `left`."""

    def __init__(self, left: int = 1_000_000) -> None:
        self.steps = 0
        self.left = left
        self.transport = MemoryTransport(Protocol(), window=0)
        self.clock = self.transport.clock
        self.intake = Intake(self.transport, self.clock, self.step)

    def step(self) -> bool:
        self.steps += 1
        return self.steps < self.left


def test_a_peer_that_sent_much_at_once_does_not_keep_others_waiting() -> None:
    work = Work(BURST * 2 + 5)
    work.intake.wake()
    assert work.steps == BURST
    assert not work.transport.is_reading()
    work.intake.wake()
    assert work.steps == BURST * 2
    work.clock.advance()
    assert work.steps == BURST * 2 + 5
    assert work.transport.is_reading()


def test_the_end_comes_between_two_turns() -> None:
    work = Work()
    work.intake.wake()
    work.intake.stop()
    work.clock.advance()
    work.intake.wake()
    assert work.steps == BURST


def test_only_answers_count() -> None:
    work = Work(1)
    work.intake.write(b"x" * MAX_ANSWERS * 2, answer=False)
    work.intake.write(b"x" * MAX_ANSWERS, answer=True)
    work.intake.wake()
    assert work.steps == 1
    work.intake.write(b"x", answer=True)
    work.intake.pause_writing()
    work.intake.wake()
    assert work.steps == 1
    assert not work.transport.is_reading()
    work.transport.allow(MAX_ANSWERS * 3)
    work.intake.resume_writing()
    assert work.steps == 2


def test_a_peer_that_does_not_take_the_end_of_a_long_answer_keeps_nobody_busy() -> None:
    work = Work(1)
    work.intake.write(b"x" * MAX_ANSWERS * 3, answer=True)
    work.transport.allow(MAX_ANSWERS * 3 - 10)
    work.intake.wake()
    assert work.steps == 1
    assert work.clock.next_time() == ANSWER_TIMEOUT
    work.clock.advance(ANSWER_TIMEOUT)
    assert work.clock.next_time() is None
    assert not work.transport.is_closing()


def test_a_peer_that_takes_nothing_of_long_answers_is_not_kept() -> None:
    work = Work(1)
    work.intake.write(b"x" * MAX_ANSWERS, answer=True)
    work.intake.write(b"x" * MAX_ANSWERS, answer=False)
    assert work.clock.next_time() is None
    work.intake.write(b"x" * MAX_ANSWERS, answer=True)
    for _ in range(3):
        work.transport.allow(1)
        work.clock.advance(ANSWER_TIMEOUT)
        assert not work.transport.is_closing()
    work.clock.advance(ANSWER_TIMEOUT)
    assert work.transport.aborted


def test_a_peer_that_takes_its_answers_late_is_kept_and_not_watched_any_more() -> None:
    work = Work(1)
    for _ in range(2):
        work.intake.write(b"x" * MAX_ANSWERS * 2, answer=True)
        work.transport.allow(MAX_ANSWERS)
        work.clock.advance(ANSWER_TIMEOUT)
        work.transport.allow(MAX_ANSWERS)
        assert work.clock.next_time() is None
    assert not work.transport.is_closing()
    work.intake.write(b"x" * MAX_ANSWERS * 2, answer=True)
    work.intake.stop()
    assert work.clock.next_time() is None


def test_an_error_in_a_later_turn_ends_the_connection() -> None:
    work = Work(BURST + 5)

    def fail() -> bool:
        raise ZeroDivisionError

    work.intake.wake()
    work.intake._step = fail
    with pytest.raises(ZeroDivisionError):
        work.clock.advance()
    assert work.transport.aborted
