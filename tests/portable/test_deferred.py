"""Deferreds: callbacks, chains, cancelling, time-outs, several at once, and what is logged."""

from __future__ import annotations

import gc
import itertools
import logging
import typing

import pytest

from portable.deferred import Deferred, ensure_deferred, fail, first, gather, succeed
from portable.errors import Cancelled, LocalProtocolError, TimedOut
from portable.timers import HeapTimer, TimerHeap

if typing.TYPE_CHECKING:
    from portable.clock import Clock
from tests.portable.outcomes import outcome, outcome_later

MANY = 100_000

T = typing.TypeVar("T")


class StandingClock:
    """As much of a clock as `Deferred.timeout` uses."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timers = TimerHeap(self.time)

    def time(self) -> float:
        return self.now

    def call_later(self, delay: float, callback: typing.Callable[..., object], *args: object) -> HeapTimer:
        return self.timers.call_at(self.now + delay, callback, args)

    def advance(self, seconds: float) -> None:
        self.now += seconds
        self.timers.run_due(self.now)


@pytest.fixture
def clock() -> StandingClock:
    return StandingClock()


def as_clock(clock: StandingClock) -> Clock:
    return typing.cast("Clock", clock)


def raising(error: BaseException) -> typing.Callable[[object], typing.NoReturn]:
    def throw(_: object) -> typing.NoReturn:
        raise error

    return throw


def returning(deferred: Deferred[T]) -> typing.Callable[[object], Deferred[T]]:
    return lambda _: deferred


class TestCallbacks:
    def test_each_callback_gets_what_the_one_before_gave(self) -> None:
        deferred: Deferred[int] = Deferred()
        chained = deferred.add_callback(lambda n: n + 1).add_callback(str)
        deferred.callback(1)
        assert deferred.called
        assert outcome(chained) == "2"

    def test_callbacks_added_later_run_at_once(self) -> None:
        assert outcome(succeed(1).add_callback(lambda n: n + 1)) == 2

    def test_an_error_goes_past_callbacks_to_the_next_errback(self) -> None:
        error = ValueError("no")
        deferred: Deferred[int] = fail(error)
        chained = (
            deferred.add_callback(lambda n: n + 1)
            .add_errback(lambda e: [e])
            .add_errback(lambda _: "not reached")
        )
        assert outcome(chained) == [error]

    def test_add_callbacks_calls_one_of_the_two(self) -> None:
        assert outcome(succeed(1).add_callbacks(lambda _: "good", lambda _: "bad")) == "good"
        assert outcome(fail(ValueError()).add_callbacks(lambda _: "good", lambda _: "bad")) == "bad"

    def test_what_a_callback_raises_is_the_error(self) -> None:
        error = ValueError("no")
        assert outcome(succeed(1).add_callback(raising(error))) is error
        assert outcome(fail(KeyError()).add_errback(raising(error))) is error

    def test_a_result_twice_is_the_callers_mistake(self) -> None:
        deferred = succeed(1)
        with pytest.raises(LocalProtocolError, match=r"test_deferred\.py"):
            deferred.callback(2)
        with pytest.raises(LocalProtocolError):
            deferred.errback(ValueError())
        assert outcome(deferred) == 1

    def test_a_deferred_is_no_result(self) -> None:
        deferred: Deferred[object] = Deferred()
        with pytest.raises(LocalProtocolError):
            deferred.callback(succeed(1))
        assert not deferred.called

    def test_an_error_must_be_an_exception(self) -> None:
        deferred: Deferred[int] = Deferred()
        with pytest.raises(TypeError):
            deferred.errback(typing.cast("Exception", "no"))  # as untyped code may
        assert not deferred.called

    def test_callbacks_added_by_a_callback_run_in_order(self) -> None:
        order: list[str] = []
        deferred: Deferred[int] = Deferred()

        def add_another(n: int) -> int:
            deferred.add_callback(lambda _: order.append("third"))
            order.append("first")
            return n

        deferred.add_callback(add_another)
        deferred.add_callback(lambda _: order.append("second"))
        deferred.callback(1)
        assert order == ["first", "second", "third"]

    def test_an_interrupt_passes_through_and_is_the_error_too(self) -> None:
        interrupt = KeyboardInterrupt()
        deferred: Deferred[int] = Deferred()
        deferred.add_callback(raising(interrupt))
        with pytest.raises(KeyboardInterrupt):
            deferred.callback(1)
        assert outcome(deferred) is interrupt

    def test_a_callback_that_would_exit_only_fails(self) -> None:
        leaving = SystemExit(3)
        deferred: Deferred[int] = Deferred()
        deferred.add_callback(raising(leaving))
        deferred.callback(1)
        assert outcome(deferred) is leaving

    def test_an_interrupt_in_a_chain_leaves_every_link_usable(self) -> None:
        inner: Deferred[int] = Deferred()
        outer = succeed(None).add_callback(lambda _: inner)
        outer.add_callback(raising(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            inner.callback(1)
        assert outcome(inner) == 1
        assert isinstance(outcome(outer), KeyboardInterrupt)

    def test_it_says_where_it_was_made_and_how_it_stands(self) -> None:
        deferred: Deferred[int] = Deferred()
        assert "test_deferred.py:" in repr(deferred)
        assert "without a result" in repr(deferred)
        deferred.callback(1)
        assert "with a result" in repr(deferred)


class TestChains:
    def test_callbacks_wait_for_a_deferred_that_one_returned(self) -> None:
        inner: Deferred[int] = Deferred()
        outer = succeed(None).add_callback(lambda _: inner).add_callback(lambda n: n + 1)
        assert outer.called
        assert outcome_later(outer) == []
        inner.callback(1)
        assert outcome(inner) == 1

    def test_a_result_that_is_there_is_taken_at_once(self) -> None:
        assert outcome(succeed(None).add_callback(lambda _: succeed(5))) == 5

    def test_an_error_of_the_inner_one_is_the_outer_ones(self, caplog: pytest.LogCaptureFixture) -> None:
        error = ValueError("no")
        inner: Deferred[int] = Deferred()
        outer = succeed(None).add_callback(lambda _: inner)
        inner.errback(error)
        assert outcome(outer) is error
        assert outcome(succeed(None).add_callback(lambda _: fail(error))) is error
        inner = outer = Deferred()
        gc.collect()
        assert not caplog.records

    def test_the_inner_ones_other_callbacks_run_after_the_outer_ones(self) -> None:
        order: list[str] = []
        inner: Deferred[int] = Deferred()
        outer = succeed(None).add_callback(lambda _: inner)
        inner.add_callback(lambda _: order.append("inner"))
        outer.add_callback(lambda _: order.append("outer"))
        inner.callback(1)
        assert order == ["outer", "inner"]

    def test_returning_itself_is_an_error(self) -> None:
        deferred: Deferred[int] = Deferred()
        deferred.add_callback(lambda _: deferred)
        deferred.callback(1)
        assert isinstance(outcome(deferred), LocalProtocolError)

    def test_a_deferred_whose_callbacks_run_just_now_is_waited_for(self) -> None:
        inner: Deferred[int] = Deferred()
        outer: Deferred[None] = Deferred()
        waiting = outer.add_callback(lambda _: inner)

        def start_outer(n: int) -> int:
            outer.callback(None)
            return n + 1

        inner.add_callback(start_outer).add_callback(lambda n: n * 10)
        inner.callback(1)
        assert outcome(waiting) == 20

    def test_a_hundred_thousand_callbacks(self) -> None:
        deferred: Deferred[int] = Deferred()
        for _ in range(MANY):
            deferred.add_callback(lambda n: n + 1)
        deferred.callback(0)
        assert outcome(deferred) == MANY

    @pytest.mark.parametrize("last_first", [False, True])
    def test_a_hundred_thousand_deferreds_each_returning_the_next(self, last_first: bool) -> None:
        chain: list[Deferred[int]] = [Deferred() for _ in range(MANY)]
        for deferred, following in itertools.pairwise(chain):
            deferred.add_callback(returning(following))
        for deferred in reversed(chain) if last_first else chain:
            deferred.callback(id(deferred))
        assert outcome(chain[0]) == id(chain[-1])

    def test_cancelling_the_first_of_a_hundred_thousand(self) -> None:
        chain: list[Deferred[int]] = [Deferred() for _ in range(MANY)]
        for deferred, following in itertools.pairwise(chain):
            deferred.add_callback(returning(following))
        for deferred in chain[:-1]:
            deferred.callback(0)
        chain[0].cancel()
        assert chain[-1].called
        assert isinstance(outcome(chain[0]), Cancelled)


LATE_CALLS: list[typing.Callable[[Deferred[int]], None]] = [
    lambda deferred: deferred.callback(1),
    lambda deferred: deferred.errback(ValueError()),
]


class TestCancelling:
    def test_it_fails_with_cancelled(self) -> None:
        deferred: Deferred[int] = Deferred()
        deferred.cancel()
        assert isinstance(outcome(deferred), Cancelled)

    def test_one_late_result_is_ignored_a_second_is_not(self) -> None:
        for late in LATE_CALLS:
            deferred: Deferred[int] = Deferred()
            deferred.cancel()
            late(deferred)
            with pytest.raises(LocalProtocolError):
                late(deferred)

    def test_the_canceller_is_called_once_with_the_deferred(self) -> None:
        seen: list[object] = []
        deferred: Deferred[int] = Deferred(seen.append)
        deferred.cancel()
        deferred.cancel()
        assert seen == [deferred]
        assert isinstance(outcome(deferred), Cancelled)

    def test_the_canceller_may_give_another_end(self) -> None:
        deferred: Deferred[int] = Deferred(lambda d: d.callback(5))
        deferred.cancel()
        assert outcome(deferred) == 5
        with pytest.raises(LocalProtocolError):
            deferred.callback(6)

    def test_a_canceller_is_not_called_when_the_result_is_there(self) -> None:
        seen: list[object] = []
        deferred: Deferred[int] = Deferred(seen.append)
        deferred.callback(1)
        deferred.cancel()
        assert seen == []
        assert outcome(deferred) == 1

    def test_a_failing_canceller_is_logged_and_cancelling_goes_on(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        deferred: Deferred[int] = Deferred(raising(ValueError("bad canceller")))
        deferred.cancel()
        assert isinstance(outcome(deferred), Cancelled)
        [record] = caplog.records
        assert "test_deferred.py" in record.getMessage()

    def test_a_canceller_that_cancels_again_does_not_loop(self) -> None:
        deferred: Deferred[int] = Deferred(lambda d: d.cancel())
        deferred.cancel()
        assert isinstance(outcome(deferred), Cancelled)

    def test_it_reaches_the_inner_deferred(self) -> None:
        seen: list[object] = []
        inner: Deferred[int] = Deferred(seen.append)
        outer = succeed(None).add_callback(lambda _: inner)
        outer.cancel()
        assert seen == [inner]
        assert isinstance(outcome(outer), Cancelled)

    def test_one_of_a_circle_of_coroutines_is_cancelled(self) -> None:
        begin: Deferred[None] = Deferred()
        tasks: list[Deferred[None]] = []

        async def one() -> None:
            await tasks[0]

        async def other() -> None:
            await begin
            await tasks[1]

        tasks.append(ensure_deferred(other()))
        tasks.append(ensure_deferred(one()))
        # Outside the circle, and waiting for it.
        waiting = succeed(None).add_callback(lambda _: tasks[1])
        begin.callback(None)
        waiting.cancel()
        for deferred in (waiting, *tasks):
            assert deferred.called
        assert isinstance(outcome(waiting), Cancelled)

    @pytest.mark.parametrize("length", [2, 3, 5, 1000])
    def test_one_of_a_circle_of_chains_is_cancelled(self, length: int) -> None:
        circle: list[Deferred[None]] = [Deferred() for _ in range(length)]
        for index, deferred in enumerate(circle):
            deferred.add_callback(returning(circle[(index + 1) % length]))
        for deferred in circle:
            deferred.callback(None)
        assert not any(outcome_later(deferred) for deferred in circle)
        circle[0].cancel()
        for deferred in circle:
            assert isinstance(outcome(deferred), Cancelled)

    def test_a_coroutine_in_a_circle_may_catch_what_comes_of_it(self) -> None:
        begin: Deferred[None] = Deferred()
        tasks: list[Deferred[str]] = []

        async def catching() -> str:
            await begin
            try:
                return await tasks[1]
            except Cancelled:
                return "caught"

        async def other() -> str:
            return await tasks[0]

        tasks.append(ensure_deferred(catching()))
        tasks.append(ensure_deferred(other()))
        begin.callback(None)
        tasks[1].cancel()
        assert outcome(tasks[0]) == "caught"
        assert isinstance(outcome(tasks[1]), Cancelled)

    def test_cancelled_is_not_logged(self, caplog: pytest.LogCaptureFixture) -> None:
        inner: Deferred[int] = Deferred()
        outer = succeed(None).add_callback(lambda _: inner)
        outer.cancel()
        inner = outer = Deferred()
        gc.collect()
        assert not caplog.records


class TestTimeout:
    def test_it_cancels_and_says_timed_out(self, clock: StandingClock) -> None:
        seen: list[object] = []
        deferred: Deferred[int] = Deferred(seen.append)
        assert deferred.timeout(2.5, as_clock(clock)) is deferred
        clock.advance(2.4)
        assert not deferred.called
        clock.advance(0.1)
        assert seen == [deferred]
        error = outcome(deferred)
        assert isinstance(error, TimedOut)
        assert "2.5 seconds" in str(error)

    def test_a_result_in_time_ends_the_timer(self, clock: StandingClock) -> None:
        deferred: Deferred[int] = Deferred()
        deferred.timeout(2, as_clock(clock))
        deferred.callback(1)
        assert clock.timers.pending == 0
        assert outcome(deferred) == 1

    def test_an_error_in_time_stays_what_it_is(self, clock: StandingClock) -> None:
        for error in (ValueError(), Cancelled()):
            deferred: Deferred[int] = Deferred()
            deferred.timeout(2, as_clock(clock))
            deferred.errback(error)
            assert clock.timers.pending == 0
            assert outcome(deferred) is error

    def test_a_result_that_the_canceller_gives_counts(self, clock: StandingClock) -> None:
        deferred: Deferred[int] = Deferred(lambda d: d.callback(3))
        deferred.timeout(2, as_clock(clock))
        clock.advance(2)
        assert outcome(deferred) == 3

    def test_it_includes_what_callbacks_before_it_wait_for(self, clock: StandingClock) -> None:
        inner: Deferred[int] = Deferred()
        deferred = succeed(1).add_callback(lambda _: inner).timeout(2, as_clock(clock))
        clock.advance(2)
        assert isinstance(outcome(deferred), TimedOut)


class TestUnhandledErrors:
    def messages(self, caplog: pytest.LogCaptureFixture) -> list[str]:
        gc.collect()
        return [record.getMessage() for record in caplog.records if record.name == "portable.deferred"]

    def test_it_is_logged_once_with_the_place(self, caplog: pytest.LogCaptureFixture) -> None:
        def lose_an_error() -> int:
            deferred: Deferred[int] = Deferred()
            deferred.add_callback(raising(ValueError("lost")))
            deferred.callback(1)
            gc.collect()
            assert not caplog.records
            return deferred._line

        line = lose_an_error()
        [message] = self.messages(caplog)
        assert f"test_deferred.py:{line}" in message
        [record] = caplog.records
        assert record.levelno == logging.ERROR
        assert record.exc_info is not None
        assert record.exc_info[0] is ValueError
        assert len(self.messages(caplog)) == 1

    def test_without_a_traceback_it_is_logged_at_once(self, caplog: pytest.LogCaptureFixture) -> None:
        gc.disable()
        try:
            fail(ValueError("lost"))
            assert len(caplog.records) == 1
        finally:
            gc.enable()

    def test_the_place_is_the_callers_not_this_module(self, caplog: pytest.LogCaptureFixture) -> None:
        fail(ValueError())
        assert "test_deferred.py" in self.messages(caplog)[0]

    def test_a_handled_one_is_not_logged(self, caplog: pytest.LogCaptureFixture) -> None:
        deferred: Deferred[int] = fail(ValueError())
        deferred.add_errback(lambda _: None)
        del deferred
        assert self.messages(caplog) == []

    def test_one_replaced_by_another_is_logged_as_the_other_only(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        deferred: Deferred[int] = fail(ValueError("first"))
        deferred.add_errback(raising(KeyError("second")))
        del deferred
        assert len(self.messages(caplog)) == 1
        assert caplog.records[0].exc_info is not None
        assert caplog.records[0].exc_info[0] is KeyError

    def test_one_that_went_past_a_callback_is_logged_once(self, caplog: pytest.LogCaptureFixture) -> None:
        deferred: Deferred[int] = fail(ValueError())
        deferred.add_callback(lambda n: n + 1)
        del deferred
        assert len(self.messages(caplog)) == 1

    def test_an_error_of_a_coroutine_is_logged_with_where_it_was_started(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def broken() -> None:
            raise ValueError("lost")

        ensure_deferred(broken())
        assert "test_deferred.py" in self.messages(caplog)[0]


class TestGather:
    def test_results_in_the_order_given(self) -> None:
        async def three() -> int:
            return 3

        one: Deferred[int] = Deferred()
        two: Deferred[int] = Deferred()
        sources: list[Deferred[int] | typing.Coroutine[object, object, int]] = [one, two, three()]
        everything = gather(sources)
        two.callback(2)
        assert not everything.called
        one.callback(1)
        assert outcome(everything) == [1, 2, 3]
        assert outcome(one) == 1

    def test_of_nothing(self) -> None:
        nothing: list[Deferred[int]] = []
        assert outcome(gather(nothing)) == []

    def test_the_first_error_cancels_the_others(self, caplog: pytest.LogCaptureFixture) -> None:
        error = ValueError("no")
        one: Deferred[int] = Deferred()
        two: Deferred[int] = Deferred()
        everything = gather([one, two])
        two.errback(error)
        assert one.called
        assert outcome(everything) is error
        del one, two, everything
        gc.collect()
        assert not caplog.records

    def test_an_error_that_was_there_before(self) -> None:
        error = ValueError("no")
        one: Deferred[int] = Deferred()
        assert outcome(gather([fail(error), one])) is error
        assert one.called

    def test_cancelling_cancels_all(self) -> None:
        one: Deferred[int] = Deferred()
        two: Deferred[int] = Deferred()
        everything = gather([one, two])
        everything.cancel()
        assert one.called
        assert two.called
        assert isinstance(outcome(everything), Cancelled)

    def test_a_second_error_is_logged_not_lost(self, caplog: pytest.LogCaptureFixture) -> None:
        one: Deferred[int] = Deferred()
        two: Deferred[int] = Deferred(lambda d: d.errback(KeyError("while cancelled")))
        everything = gather([one, two])
        one.errback(ValueError())
        assert isinstance(outcome(everything), ValueError)
        del one, two, everything
        gc.collect()
        assert len(caplog.records) == 1

    def test_a_result_after_the_error_changes_nothing(self) -> None:
        one: Deferred[int] = Deferred()
        two: Deferred[int] = Deferred(lambda d: d.callback(2))
        everything = gather([one, two])
        one.errback(ValueError())
        assert isinstance(outcome(everything), ValueError)

    def test_cancelled_sources_that_give_results_all_the_same(self) -> None:
        stubborn: list[Deferred[int]] = [Deferred(lambda d: d.callback(1)) for _ in range(2)]
        everything = gather(stubborn)
        everything.cancel()
        assert outcome(everything) == [1, 1]


class TestFirst:
    def test_the_first_result_cancels_the_others(self) -> None:
        one: Deferred[str] = Deferred()
        two: Deferred[str] = Deferred()
        winner = first([one, two])
        two.callback("two")
        assert one.called
        assert outcome(winner) == (1, "two")

    def test_the_first_error_is_the_error(self) -> None:
        error = ValueError("no")
        one: Deferred[str] = Deferred()
        two: Deferred[str] = Deferred()
        winner = first([one, two])
        one.errback(error)
        assert two.called
        assert outcome(winner) is error

    def test_of_two_that_are_there_the_earlier_wins(self) -> None:
        assert outcome(first([succeed("a"), succeed("b")])) == (0, "a")

    def test_cancelling_cancels_all(self) -> None:
        one: Deferred[str] = Deferred()
        winner = first([one])
        winner.cancel()
        assert one.called
        assert isinstance(outcome(winner), Cancelled)

    def test_of_nothing_is_refused(self) -> None:
        nothing: list[Deferred[int]] = []
        with pytest.raises(LocalProtocolError):
            first(nothing)
