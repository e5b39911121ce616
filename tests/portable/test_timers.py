"""The timer heap: order, cancelling, resetting, and what is logged."""

from __future__ import annotations

import typing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portable.errors import LocalProtocolError
from portable.timers import HeapTimer, TimerHeap

if typing.TYPE_CHECKING:
    from portable.clock import Timer


@pytest.fixture
def calls() -> list[object]:
    return []


@pytest.fixture
def clock() -> list[float]:
    return [0.0]


@pytest.fixture
def heap(clock: list[float]) -> TimerHeap:
    return TimerHeap(lambda: clock[0])


def test_timers_satisfy_the_interface_of_reactors(heap: TimerHeap) -> None:
    timer: Timer = heap.call_at(1.0, int, ())
    assert timer.active()
    assert timer.when() == 1.0


def test_calls_come_in_order_of_time_then_of_making(heap: TimerHeap, calls: list[object]) -> None:
    for when, name in ((2.0, "c"), (1.0, "a"), (2.0, "d"), (1.0, "b"), (3.0, "late")):
        heap.call_at(when, calls.append, (name,))
    assert heap.next_time() == 1.0
    assert heap.run_due(2.0) == 4
    assert calls == ["a", "b", "c", "d"]
    assert heap.pending == 1


def test_nothing_to_do_before_the_first_time(heap: TimerHeap, calls: list[object]) -> None:
    assert heap.next_time() is None
    assert heap.run_due(5.0) == 0
    heap.call_at(7.0, calls.append, (1,))
    assert heap.run_due(6.9) == 0
    assert calls == []


def test_a_called_timer_is_neither_active_nor_cancelled(heap: TimerHeap) -> None:
    timer = heap.call_at(1.0, int, ())
    heap.run_due(1.0)
    assert not timer.active()
    timer.cancel()
    assert not timer.cancelled()
    with pytest.raises(LocalProtocolError):
        timer.reset(1.0)


def test_a_cancelled_timer_is_never_called_and_lets_go_of_its_callback(
    heap: TimerHeap, calls: list[object]
) -> None:
    timer = heap.call_at(1.0, calls.append, (1,))
    timer.cancel()
    timer.cancel()
    assert timer.cancelled()
    assert not timer.active()
    assert timer._callback is None
    assert heap.pending == 0
    assert heap.next_time() is None
    assert heap.run_due(2.0) == 0
    with pytest.raises(LocalProtocolError):
        timer.reset(1.0)


def test_a_cancelled_timer_is_passed_over_when_it_is_due(heap: TimerHeap, calls: list[object]) -> None:
    heap.call_at(1.0, calls.append, (1,)).cancel()
    heap.call_at(2.0, calls.append, (2,))
    assert heap.run_due(2.0) == 1
    assert calls == [2]


def test_putting_off_leaves_the_heap_alone_until_the_old_time(
    heap: TimerHeap, clock: list[float], calls: list[object]
) -> None:
    timer = heap.call_at(1.0, calls.append, (1,))
    before = list(heap._entries)
    for now in (0.2, 0.4, 0.6, 0.8):
        clock[0] = now
        timer.reset(1.0)
    assert heap._entries == before
    assert timer.when() == 1.8
    assert heap.run_due(1.0) == 0
    assert heap.next_time() == 1.8
    assert heap.run_due(1.8) == 1
    assert calls == [1]


def test_a_timer_put_off_keeps_its_place_in_the_order(heap: TimerHeap, calls: list[object]) -> None:
    first = heap.call_at(1.0, calls.append, ("first",))
    heap.call_at(2.0, calls.append, ("second",))
    first.reset(2.0)
    assert heap.run_due(3.0) == 2
    assert calls == ["first", "second"]


def test_bringing_forward_calls_once_at_the_new_time(heap: TimerHeap, calls: list[object]) -> None:
    timer = heap.call_at(9.0, calls.append, (1,))
    timer.reset(1.0)
    assert heap.next_time() == 1.0
    assert heap.pending == 1
    assert heap.run_due(1.0) == 1
    assert heap.run_due(10.0) == 0
    assert calls == [1]


def test_forward_and_off_again_calls_once(heap: TimerHeap, calls: list[object]) -> None:
    timer = heap.call_at(9.0, calls.append, (1,))
    timer.reset(1.0)
    timer.reset(9.0)
    assert heap.run_due(1.0) == 0
    assert heap.pending == 1
    assert heap.run_due(9.0) == 1
    assert heap.run_due(20.0) == 0
    assert calls == [1]


def test_timers_made_by_a_call_wait_for_the_next_turn(heap: TimerHeap, calls: list[object]) -> None:
    def make() -> None:
        calls.append("made")
        heap.call_at(0.0, make, ())

    heap.call_at(1.0, make, ())
    heap.call_at(1.0, calls.append, ("other",))
    assert heap.run_due(1.0) == 2
    assert heap.run_due(1.0) == 1
    assert calls == ["made", "other", "made"]


def test_a_call_may_cancel_and_reset_others_that_are_due_too(heap: TimerHeap, calls: list[object]) -> None:
    def interfere() -> None:
        cancelled.cancel()
        put_off.reset(5.0)
        at_once.reset(-1.0)

    heap.call_at(1.0, interfere, ())
    cancelled = heap.call_at(1.0, calls.append, ("cancelled",))
    put_off = heap.call_at(1.0, calls.append, ("put off",))
    at_once = heap.call_at(1.0, calls.append, ("at once",))
    assert heap.run_due(1.0) == 1
    assert cancelled.cancelled()
    assert heap.pending == 2
    assert heap.run_due(1.0) == 1
    assert heap.run_due(5.0) == 1
    assert calls == ["at once", "put off"]


def test_an_exception_is_logged_and_the_others_are_called(
    heap: TimerHeap, calls: list[object], caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise ValueError("broken callback")

    heap.call_at(1.0, fail, ())
    heap.call_at(1.0, calls.append, (1,))
    assert heap.run_due(1.0) == 2
    assert calls == [1]
    [record] = caplog.records
    assert record.name == "portable.timers"
    assert "fail" in record.getMessage()
    assert record.exc_info is not None


def test_an_interrupt_passes_through_and_loses_no_timer(heap: TimerHeap, calls: list[object]) -> None:
    def interrupt() -> None:
        gone.cancel()
        raise KeyboardInterrupt

    heap.call_at(1.0, interrupt, ())
    gone = heap.call_at(1.0, calls.append, ("gone",))
    heap.call_at(1.0, calls.append, ("kept",))
    with pytest.raises(KeyboardInterrupt):
        heap.run_due(1.0)
    assert heap.pending == 1
    assert heap.run_due(1.0) == 1
    assert calls == ["kept"]


def test_dead_entries_do_not_pile_up(heap: TimerHeap) -> None:
    kept = [heap.call_at(1000.0 + number, int, ()) for number in range(100)]
    for number in range(10_000):
        heap.call_at(2000.0 + number, int, ()).cancel()
    for number in range(10_000):
        kept[0].reset(999.0 - number / 100)
    assert len(heap._entries) <= 2 * 100 + 2
    assert heap.pending == 100
    assert heap.next_time() == kept[0].when()
    assert heap.run_due(5000.0) == 100


def test_a_time_that_is_no_number_is_refused(heap: TimerHeap) -> None:
    with pytest.raises(LocalProtocolError):
        heap.call_at(float("nan"), int, ())
    timer = heap.call_at(1.0, int, ())
    with pytest.raises(LocalProtocolError):
        timer.reset(float("nan"))
    assert timer.when() == 1.0


STEPS = st.one_of(
    st.tuples(st.just("make"), st.integers(0, 20)),
    st.tuples(st.just("cancel"), st.integers(0, 200)),
    st.tuples(st.just("reset"), st.integers(0, 200)),
    st.tuples(st.just("advance"), st.integers(0, 5)),
)


@given(steps=st.lists(STEPS, max_size=200), delays=st.randoms(use_true_random=False))
def test_the_heap_agrees_with_a_list_that_is_sorted_each_time(
    steps: list[tuple[str, int]], delays: typing.Any
) -> None:
    now = 0.0
    heap = TimerHeap(lambda: now)
    model: dict[int, float] = {}
    timers: list[HeapTimer] = []
    calls: list[int] = []
    for verb, number in steps:
        if verb == "make":
            model[len(timers)] = now + number
            timers.append(heap.call_at(now + number, calls.append, (len(timers),)))
        elif verb == "advance":
            now += number
            expected = sorted((when, key) for key, when in model.items() if when <= now)
            calls.clear()
            assert heap.run_due(now) == len(expected)
            assert calls == [key for _, key in expected]
            for key in calls:
                del model[key]
        elif model:
            key = sorted(model)[number % len(model)]
            if verb == "cancel":
                del model[key]
                timers[key].cancel()
            else:
                delay = delays.randint(0, 20)
                model[key] = now + delay
                timers[key].reset(delay)
        assert heap.pending == len(model)
        soonest = heap.next_time()
        assert (soonest is None) == (not model)
        if soonest is not None:
            assert soonest <= min(model.values())
