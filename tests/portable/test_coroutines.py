"""Coroutines that wait for Deferreds, and Deferreds made of coroutines."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import typing

import pytest

from portable.deferred import Deferred, ensure_deferred, fail, succeed
from portable.errors import Cancelled, LocalProtocolError
from tests.portable.outcomes import outcome, outcome_later

MANY = 100_000


class TestCoroutines:
    def test_await_gives_the_result(self) -> None:
        async def add(left: Deferred[int], right: Deferred[int]) -> int:
            first_number = await left
            second_number = await right
            return first_number + second_number

        left: Deferred[int] = Deferred()
        total = ensure_deferred(add(left, succeed(2)))
        assert not total.called
        assert "awaiting" in repr(total)
        left.callback(1)
        assert outcome(total) == 3

    def test_await_raises_the_error(self, caplog: pytest.LogCaptureFixture) -> None:
        async def catch(deferred: Deferred[int]) -> str:
            try:
                await deferred
            except ValueError as error:
                return str(error)
            return "no error"

        later: Deferred[int] = Deferred()
        waiting = ensure_deferred(catch(later))
        later.errback(ValueError("later"))
        assert outcome(waiting) == "later"
        assert outcome(ensure_deferred(catch(fail(ValueError("at once"))))) == "at once"
        del later
        gc.collect()
        assert not caplog.records

    def test_the_awaited_deferred_keeps_its_result(self) -> None:
        async def twice(deferred: Deferred[int]) -> int:
            return await deferred + await deferred

        deferred: Deferred[int] = Deferred()
        waiting = ensure_deferred(twice(deferred))
        deferred.callback(4)
        assert outcome(waiting) == 8
        assert outcome(deferred) == 4

    def test_what_it_raises_is_the_error(self) -> None:
        error = ValueError("no")

        async def broken() -> None:
            await succeed(1)
            raise error

        assert outcome(ensure_deferred(broken())) is error

    def test_a_deferred_that_it_returns_is_waited_for(self) -> None:
        inner: Deferred[int] = Deferred()

        async def pass_on(deferred: Deferred[int]) -> Deferred[int]:
            return deferred

        outer = ensure_deferred(pass_on(inner))
        seen = outcome_later(outer)
        inner.callback(1)
        assert seen == [1]
        assert outcome(ensure_deferred(pass_on(succeed(2)))) == 2

    def test_plain_values_and_deferreds(self) -> None:
        deferred: Deferred[int] = Deferred()
        assert ensure_deferred(deferred) is deferred
        assert outcome(ensure_deferred(5)) == 5

    def test_a_callback_may_return_a_coroutines_deferred(self) -> None:
        async def double(n: int) -> int:
            return n * 2

        assert outcome(succeed(2).add_callback(lambda n: ensure_deferred(double(n)))) == 4

    def test_awaiting_what_is_no_deferred_is_a_clear_error(self) -> None:
        class Foreign:
            def __await__(self) -> typing.Generator[object, None, None]:
                yield "something else"

        async def wrong() -> None:
            await Foreign()

        error = outcome(ensure_deferred(wrong()))
        assert isinstance(error, TypeError)
        assert "something else" in str(error)

    def test_an_asyncio_future_is_no_deferred(self) -> None:
        loop = asyncio.new_event_loop()
        try:
            future = loop.create_future()

            async def wrong() -> None:
                await future

            assert isinstance(outcome(ensure_deferred(wrong())), TypeError)
        finally:
            loop.close()

    def test_awaiting_its_own_deferred_is_an_error(self) -> None:
        start: Deferred[None] = Deferred()
        own: list[Deferred[object]] = []

        async def wait_for_itself() -> object:
            await start
            return await own[0]

        own.append(ensure_deferred(wait_for_itself()))
        start.callback(None)
        assert isinstance(outcome(own[0]), LocalProtocolError)

    def test_context_variables_follow_the_coroutine(self) -> None:
        who: contextvars.ContextVar[str] = contextvars.ContextVar("who", default="nobody")
        gate: Deferred[None] = Deferred()

        async def greet(name: str) -> tuple[str, str]:
            before = who.get()
            who.set(name)
            await gate
            return before, who.get()

        who.set("main")
        results = [ensure_deferred(greet(name)) for name in ("a", "b")]
        who.set("somebody else")
        gate.callback(None)
        assert [outcome(result) for result in results] == [("main", "a"), ("main", "b")]
        assert who.get() == "somebody else"

    def test_a_hundred_thousand_coroutines_each_awaiting_the_next(self) -> None:
        async def add_one(deferred: Deferred[int]) -> int:
            return await deferred + 1

        source: Deferred[int] = Deferred()
        last: Deferred[int] = source
        for _ in range(MANY):
            last = ensure_deferred(add_one(last))
        source.callback(0)
        assert outcome(last) == MANY

    def test_an_interrupt_passes_through(self) -> None:
        async def interrupted(gate: Deferred[None]) -> None:
            await gate
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            ensure_deferred(interrupted(succeed(None)))
        gate: Deferred[None] = Deferred()
        waiting = ensure_deferred(interrupted(gate))
        with pytest.raises(KeyboardInterrupt):
            gate.callback(None)
        assert isinstance(outcome(waiting), KeyboardInterrupt)
        assert outcome(gate) is None

    def test_cancelling_raises_cancelled_where_it_waits(self, caplog: pytest.LogCaptureFixture) -> None:
        seen: list[str] = []

        async def wait(deferred: Deferred[None]) -> None:
            try:
                await deferred
            except Cancelled:
                seen.append("cancelled")
                raise

        inner: Deferred[None] = Deferred()
        waiting = ensure_deferred(wait(inner))
        waiting.cancel()
        assert seen == ["cancelled"]
        assert inner.called
        assert isinstance(outcome(waiting), Cancelled)
        del inner, waiting
        gc.collect()
        assert not caplog.records

    def test_a_cancelled_coroutine_may_take_its_time(self) -> None:
        goodbye: Deferred[None] = Deferred()

        async def polite() -> str:
            try:
                await Deferred[None]()
            except Cancelled:
                await goodbye
            return "done"

        waiting = ensure_deferred(polite())
        waiting.cancel()
        assert not waiting.called
        goodbye.callback(None)
        assert outcome(waiting) == "done"

    def test_cancelling_reaches_through_coroutines_and_chains(self) -> None:
        async def wait(deferred: Deferred[int]) -> int:
            return await deferred

        inner: Deferred[int] = Deferred()
        middle = succeed(None).add_callback(lambda _: ensure_deferred(wait(inner)))
        outer = ensure_deferred(wait(middle))
        outer.cancel()
        assert inner.called
        assert isinstance(outcome(outer), Cancelled)

    def test_a_coroutine_that_cancels_itself_gets_it_at_the_next_wait(self) -> None:
        gate: Deferred[None] = Deferred()
        never: Deferred[None] = Deferred()
        own: list[Deferred[str]] = []

        async def give_up() -> str:
            await gate
            own[0].cancel()
            await succeed(None)
            try:
                await never
            except Cancelled:
                return "gave up"
            return "went on"

        own.append(ensure_deferred(give_up()))
        gate.callback(None)
        assert never.called
        assert outcome(own[0]) == "gave up"

    def test_cancelling_while_its_result_is_on_the_way(self) -> None:
        async def wait(deferred: Deferred[int]) -> int:
            return await deferred

        source: Deferred[int] = Deferred()
        own: list[Deferred[int]] = []

        def cancel(n: int) -> int:
            own[0].cancel()
            return n

        source.add_callback(cancel)
        own.append(ensure_deferred(wait(source)))
        source.callback(1)
        assert isinstance(outcome(own[0]), Cancelled)
        assert outcome(source) == 1
