"""Taking turns."""

from __future__ import annotations

from portable.testing import ManualClock
from protocols.servers.web.turns import MAX_WAITING, WAIT_SECONDS, NoTurn, Turns


def take(turns: Turns, seen: list[object], name: str) -> None:
    turns.take().add_callbacks(lambda _: seen.append(name), lambda error: seen.append(type(error)))


def test_turns_come_in_the_order_in_which_they_were_asked_for() -> None:
    turns = Turns(ManualClock(), 2)
    seen: list[object] = []
    for name in "abcd":
        take(turns, seen, name)
    assert seen == ["a", "b"]
    turns.give_back()
    assert seen == ["a", "b", "c"]
    turns.give_back()
    turns.give_back()
    turns.give_back()
    assert seen == ["a", "b", "c", "d"]
    assert turns.taken == 0


def test_whoever_waits_too_long_gets_none() -> None:
    clock = ManualClock()
    turns = Turns(clock, 1)
    seen: list[object] = []
    take(turns, seen, "a")
    take(turns, seen, "b")
    clock.advance(WAIT_SECONDS)
    assert seen == ["a", NoTurn]
    turns.give_back()
    assert (turns.taken, clock.next_time()) == (0, None)


def test_the_line_is_bounded() -> None:
    turns = Turns(ManualClock(), 1)
    seen: list[object] = []
    for _ in range(MAX_WAITING + 2):
        take(turns, seen, "a")
    assert seen == ["a", NoTurn]


def test_whoever_goes_is_out_of_the_line() -> None:
    clock = ManualClock()
    turns = Turns(clock, 1)
    seen: list[object] = []
    take(turns, seen, "a")
    gone = turns.take()
    gone.add_errback(lambda error: None)
    take(turns, seen, "c")
    gone.cancel()
    turns.give_back()
    assert seen == ["a", "c"]
    turns.give_back()
    assert (turns.taken, clock.next_time()) == (0, None)
