"""A result that is not there yet.

A `Deferred` is given its result once, by `callback` or `errback`, and passes it through the callbacks that were
added, each of which gets what the one before it gave. An error is an exception instance; nothing wraps it.

```
add_callbacks(f, g)    f gets a result, g an error; what either returns is a result, what it raises an error
```

A callback may return another Deferred: the callbacks after it wait for that one's result. Inside `async def`,
`await deferred` gives the result or raises the error; `ensure_deferred` runs such a coroutine.

Everything runs at once, in the calling thread, inside `callback`, `errback` or `add_...`: a Deferred knows no
reactor. Chains of any length are run by one loop, not by recursion. An error that nobody took is logged once,
when its Deferred is collected (a traceback holds frames, and they the Deferred: this may take a run of the
cycle collector), with the place where that Deferred was made; `Cancelled` is not, as somebody asked for it.
"""

# ruff: noqa: SLF001  Deferreds reach into each other: one loop, outside the class, runs a whole chain of them.
from __future__ import annotations

import contextvars
import logging
import sys
import typing
from collections.abc import Coroutine

from portable.errors import FAILURES, Cancelled, LocalProtocolError, TimedOut

if typing.TYPE_CHECKING:
    from types import CodeType, FrameType

    from portable.clock import Clock

__all__ = ["Deferred", "ensure_deferred", "fail", "first", "gather", "succeed"]

logger = logging.getLogger("portable.deferred")

T = typing.TypeVar("T")
U = typing.TypeVar("U")
V = typing.TypeVar("V")

# The states of a Deferred. In _WAITING and _AWAITING `_result` is the Deferred whose result will be ours.
_PENDING = 0  # nobody has called callback or errback
_DONE = 1  # `_result` is the result
_FAILED = 2  # `_result` is the error
_WAITING = 3  # called, but a callback returned a Deferred
_AWAITING = 4  # not called: the coroutine waits for a Deferred

# Stands in the place of a result's callback; the other half of the pair is the Deferred that waits for us.
_PASS_ON: typing.Any = object()
_GLOBALS = globals()


class _Unhandled:
    """Logs `error` when it is collected, unless it was disarmed before.

    Only a Deferred that failed has one, so that the many that do not fail need no `__del__`.
    """

    __slots__ = ("_error", "_place")

    def __init__(self, error: BaseException, place: str) -> None:
        self._error: BaseException | None = error
        self._place = place

    def disarm(self) -> None:
        self._error = None

    def __del__(self) -> None:
        error = self._error
        if error is not None:
            logger.error("nobody handled the error of the Deferred made at %s", self._place, exc_info=error)


_TAKEN = _Unhandled(LocalProtocolError("nobody has this error"), "")
_TAKEN.disarm()


class Deferred(typing.Generic[T]):
    """A result of type T that will be given later. Not thread-safe."""

    __slots__ = (
        "__weakref__",
        "_callbacks",
        "_canceller",
        "_code",
        "_late",
        "_line",
        "_next",
        "_result",
        "_running",
        "_state",
        "_unhandled",
    )

    def __init__(self, canceller: typing.Callable[[Deferred[T]], object] | None = None) -> None:
        """Make a Deferred that waits for `callback` or `errback`.

        Args:
            canceller: called by `cancel` with this Deferred. It stops what is under way, and may call
                `callback` or `errback`; if it does not, the Deferred fails with Cancelled. What it raises is
                logged.
        """
        self._state = _PENDING
        self._result: typing.Any = None
        self._callbacks: list[typing.Any] | None = None
        self._next = 0  # index of the next of _callbacks
        self._running = False
        self._late = False  # one call of callback or errback after a cancellation is to be ignored
        self._canceller = canceller
        self._unhandled: _Unhandled | None = None
        # Code object and line, not the frame: that would keep all of its variables alive.
        frame: FrameType | None = sys._getframe(1)
        while frame is not None and frame.f_globals is _GLOBALS:
            frame = frame.f_back
        self._code: CodeType | None = None if frame is None else frame.f_code
        self._line = 0 if frame is None else frame.f_lineno

    @property
    def called(self) -> bool:
        """Whether `callback` or `errback` was called, by a cancellation too."""
        return self._state in (_DONE, _FAILED, _WAITING)

    def callback(self, result: T) -> None:
        """Give the result.

        Raises:
            LocalProtocolError: it was given already, or `result` is a Deferred. After `cancel`, one call is
                ignored instead: the source may not have heard of the cancellation yet.
        """
        if isinstance(result, Deferred):
            raise LocalProtocolError("the result of a Deferred cannot be a Deferred; return it from a callback")
        if self._may_be_called():
            self._state = _DONE
            self._result = result
            if self._callbacks is not None:
                _run(self)

    def errback(self, error: BaseException) -> None:
        """Give the error.

        Raises:
            LocalProtocolError: as `callback`.
            TypeError: `error` is not an exception instance.
        """
        if not isinstance(error, BaseException):
            raise TypeError(f"the error of a Deferred must be an exception, not {error!r}")
        if self._may_be_called():
            self._state = _FAILED
            self._result = error
            _run(self)

    # Overloads, as type checkers do not find U in the union when the callback returns just a Deferred.
    @typing.overload
    def add_callbacks(
        self,
        on_result: typing.Callable[[T], Deferred[U]],
        on_error: typing.Callable[[Exception], Deferred[V]],
    ) -> Deferred[U | V]: ...

    @typing.overload
    def add_callbacks(
        self, on_result: typing.Callable[[T], Deferred[U]], on_error: typing.Callable[[Exception], V]
    ) -> Deferred[U | V]: ...

    @typing.overload
    def add_callbacks(
        self, on_result: typing.Callable[[T], U], on_error: typing.Callable[[Exception], Deferred[V]]
    ) -> Deferred[U | V]: ...

    @typing.overload
    def add_callbacks(
        self,
        on_result: typing.Callable[[T], U | Deferred[U]],
        on_error: typing.Callable[[Exception], V | Deferred[V]],
    ) -> Deferred[U | V]: ...

    def add_callbacks(
        self,
        on_result: typing.Callable[[T], typing.Any],
        on_error: typing.Callable[[Exception], typing.Any],
    ) -> Deferred[typing.Any]:
        """Call `on_result` with the result or `on_error` with the error, at once if it is there already.

        Returns:
            This same Deferred. Its result is from now on what the called one returns; a Deferred is waited
            for; what it raises is the error. What is none of `FAILURES` (KeyboardInterrupt) also goes through
            to whoever called `callback`, `errback` or this method.
        """
        return self._add(on_result, on_error)

    @typing.overload
    def add_callback(self, on_result: typing.Callable[[T], Deferred[U]]) -> Deferred[U]: ...

    @typing.overload
    def add_callback(self, on_result: typing.Callable[[T], U | Deferred[U]]) -> Deferred[U]: ...

    def add_callback(self, on_result: typing.Callable[[T], typing.Any]) -> Deferred[typing.Any]:
        """Call `on_result` with the result. An error goes past it. See `add_callbacks`."""
        return self._add(on_result, None)

    @typing.overload
    def add_errback(self, on_error: typing.Callable[[Exception], Deferred[V]]) -> Deferred[T | V]: ...

    @typing.overload
    def add_errback(self, on_error: typing.Callable[[Exception], V | Deferred[V]]) -> Deferred[T | V]: ...

    def add_errback(self, on_error: typing.Callable[[Exception], typing.Any]) -> Deferred[typing.Any]:
        """Call `on_error` with the error. A result goes past it. See `add_callbacks`."""
        return self._add(None, on_error)

    @typing.overload
    def add_both(self, function: typing.Callable[[typing.Any], Deferred[U]]) -> Deferred[U]: ...

    @typing.overload
    def add_both(self, function: typing.Callable[[typing.Any], U | Deferred[U]]) -> Deferred[U]: ...

    def add_both(self, function: typing.Callable[[typing.Any], typing.Any]) -> Deferred[typing.Any]:
        """Call `function` with the result or the error. See `add_callbacks`."""
        return self._add(function, function)

    def cancel(self) -> None:
        """Give the result up: fail with Cancelled, unless the canceller gives another end.

        A Deferred that waits for another, which a callback returned or its coroutine awaits, cancels that one
        and gets what comes of it. A coroutine may catch Cancelled and take its time to clean up. Of Deferreds
        that wait for each other, one is cancelled, and the others get what comes of it. Does nothing when the
        result is there.
        """
        coroutine: _Coroutine[typing.Any] | None = None
        target: Deferred[typing.Any] = self
        mark = target
        steps = 0
        while target._state in (_WAITING, _AWAITING):
            if isinstance(target, _Coroutine):
                coroutine = target
            target = target._result
            if target is mark:
                _stop_waiting(target)
                return
            steps += 1
            if steps & (steps - 1) == 0:
                # Moved on after 1, 2, 4, 8, ... steps, it comes to lie in whatever circle there is (Brent).
                mark = target
        if target._state == _PENDING:
            target._cancel_pending()
        elif coroutine is not None:
            # What it awaits has just got its result, and is on its way to pass it on.
            coroutine._must_cancel = True

    def timeout(self, seconds: float, clock: Clock) -> typing.Self:
        """Cancel this Deferred in `seconds`, and fail with TimedOut instead of Cancelled.

        It measures until the callbacks added before it have run; those added later see TimedOut.
        """
        timed_out = False

        def cancel() -> None:
            nonlocal timed_out
            timed_out = True
            self.cancel()

        timer = clock.call_later(seconds, cancel)

        def on_result(result: T) -> T:
            timer.cancel()
            return result

        def on_error(error: Exception) -> typing.NoReturn:
            timer.cancel()
            if timed_out and isinstance(error, Cancelled):
                raise TimedOut(f"no result in {seconds:g} seconds") from error
            raise error

        self._add(on_result, on_error)
        return self

    def __await__(self) -> typing.Generator[Deferred[T], None, T]:
        if not _has_result(self):
            yield self
        if self._state == _FAILED:
            _take_error(self)
            error = self._result
            try:
                raise error
            finally:
                # Or the error's traceback would hold this frame, which holds the error.
                del error, self
        return typing.cast("T", self._result)

    def __repr__(self) -> str:
        states = ("without a result", "with a result", "failed", "waiting", "awaiting")
        return f"<{type(self).__name__} made at {self._place()}, {states[self._state]}>"

    def _place(self) -> str:
        return "an unknown place" if self._code is None else f"{self._code.co_filename}:{self._line}"

    def _may_be_called(self) -> bool:
        if self._state == _PENDING:
            self._canceller = None
            return True
        if self._late:
            self._late = False
            return False
        raise LocalProtocolError(f"this Deferred got its result already (made at {self._place()})")

    def _add(self, on_result: typing.Any, on_error: typing.Any) -> Deferred[typing.Any]:
        if self._callbacks is None:
            self._callbacks = [(on_result, on_error)]
        else:
            self._callbacks.append((on_result, on_error))
        if self._state in (_DONE, _FAILED) and not self._running:
            _run(self)
        return self

    def _cancel_pending(self) -> None:
        canceller = self._canceller
        self._canceller = None
        if canceller is not None:
            try:
                canceller(self)
            except FAILURES:  # a canceller's bug must not keep the rest from being cancelled
                logger.exception("the canceller of the Deferred made at %s failed", self._place())
        if self._state == _PENDING:
            self._late = True
            self.errback(Cancelled("cancelled"))


class _Coroutine(Deferred[T]):
    """The Deferred that a coroutine's end calls, and what runs the coroutine."""

    __slots__ = ("_context", "_coroutine", "_must_cancel")

    def __init__(self, coroutine: typing.Coroutine[typing.Any, typing.Any, T]) -> None:
        super().__init__()
        self._coroutine = coroutine
        self._context = contextvars.copy_context()
        self._must_cancel = False

    def step(self) -> bool:
        """Run the coroutine up to its next wait. Return whether it has ended and given its result."""
        self._state = _PENDING
        self._result = None
        error: Exception | None = None
        if self._must_cancel:
            self._must_cancel = False
            error = Cancelled("cancelled")
        while True:
            try:
                if error is None:
                    awaited = self._context.run(self._coroutine.send, None)
                else:
                    awaited = self._context.run(self._coroutine.throw, error)
            except StopIteration as stop:
                _give(self, stop.value)
                return self._state in (_DONE, _FAILED)
            except BaseException as exc:
                self._state = _FAILED
                self._result = exc
                if isinstance(exc, FAILURES):
                    return True
                raise
            if not isinstance(awaited, Deferred):
                error = TypeError(
                    f"a coroutine run by ensure_deferred awaits Deferreds and coroutines, not {awaited!r}"
                )
            elif awaited is self:
                error = LocalProtocolError(f"a coroutine awaits its own Deferred (made at {self._place()})")
            else:
                self._state = _AWAITING
                self._result = awaited
                awaited._add(_PASS_ON, self)
                if self._must_cancel:
                    # The coroutine cancelled itself. This may run its next step before it returns.
                    self._must_cancel = False
                    self.cancel()
                return False

    def _cancel_pending(self) -> None:
        # Pending means that it runs just now: it was cancelled from inside.
        self._must_cancel = True


def _has_result(deferred: Deferred[typing.Any]) -> bool:
    """Return whether the result is there and every callback has run."""
    return deferred._state in (_DONE, _FAILED) and not deferred._running


def _take_error(deferred: Deferred[typing.Any]) -> None:
    """Note that somebody has the error of `deferred` now."""
    if deferred._unhandled is not None:
        deferred._unhandled.disarm()
    deferred._unhandled = _TAKEN


def _stop_waiting(deferred: Deferred[typing.Any]) -> None:
    """Have `deferred`, which waits for another, wait no more and fail with Cancelled."""
    callbacks = deferred._result._callbacks
    callbacks[callbacks.index((_PASS_ON, deferred))] = (None, None)
    if isinstance(deferred, _Coroutine):
        deferred._must_cancel = True
        if not deferred.step():
            return
    else:
        deferred._state = _FAILED
        deferred._result = Cancelled("cancelled")
    _run(deferred)


def _give(deferred: Deferred[typing.Any], result: object) -> None:
    """Make `result`, which a callback or a coroutine returned, the result of `deferred`."""
    if not isinstance(result, Deferred):
        deferred._state = _DONE
        deferred._result = result
    elif result is deferred:
        deferred._state = _FAILED
        deferred._result = LocalProtocolError(
            f"a callback returned its own Deferred, which would wait for itself (made at {deferred._place()})"
        )
    elif _has_result(result):
        _take_error(result)
        deferred._state = result._state
        deferred._result = result._result
    else:
        deferred._state = _WAITING
        deferred._result = result
        result._add(_PASS_ON, deferred)


def _run(first_one: Deferred[typing.Any]) -> None:
    """Run the callbacks of a Deferred that has its result, and those of all that wait for it."""
    current = first_one
    current._running = True
    behind: list[Deferred[typing.Any]] = []  # those whose other callbacks come when `current` is done
    try:
        while True:
            callbacks = current._callbacks
            if callbacks is None or current._next == len(callbacks):
                current._callbacks = None
                current._next = 0
                current._running = False
                if current._state == _FAILED and current._unhandled is None:
                    error = current._result
                    if not isinstance(error, Cancelled):
                        current._unhandled = _Unhandled(error, current._place())
            elif current._state == _WAITING:
                current._running = False
            else:
                index = current._next
                current._next = index + 1
                on_result, on_error = callbacks[index]
                callbacks[index] = None
                if on_result is not _PASS_ON:
                    function = on_result if current._state == _DONE else on_error
                    if function is not None:
                        _call(current, function)
                elif _pass_on(current, on_error):
                    behind.append(current)
                    current = on_error
                    current._running = True
                continue
            if not behind:
                return
            current = behind.pop()
    except BaseException:
        current._running = False
        for deferred in behind:
            deferred._running = False
        raise


def _call(deferred: Deferred[typing.Any], function: typing.Callable[[typing.Any], object]) -> None:
    """Call one callback and make what comes of it the result."""
    if deferred._unhandled is not None:
        deferred._unhandled.disarm()
        deferred._unhandled = None
    try:
        result = function(deferred._result)
    except BaseException as exc:
        deferred._state = _FAILED
        deferred._result = exc
        if not isinstance(exc, FAILURES):
            raise
    else:
        _give(deferred, result)


def _pass_on(source: Deferred[typing.Any], target: Deferred[typing.Any]) -> bool:
    """Hand the result of `source` to `target`, which waits. Return whether `target` has its result now."""
    if target._state == _AWAITING:
        # Its coroutine takes the result, or the error, in __await__.
        return typing.cast("_Coroutine[typing.Any]", target).step()
    target._state = source._state
    target._result = source._result
    if source._state == _FAILED:
        _take_error(source)
    return True


def succeed(result: T) -> Deferred[T]:
    """Return a Deferred that has the result already."""
    deferred: Deferred[T] = Deferred()
    deferred.callback(result)
    return deferred


def fail(error: BaseException) -> Deferred[typing.Any]:
    """Return a Deferred that has failed already."""
    deferred: Deferred[typing.Any] = Deferred()
    deferred.errback(error)
    return deferred


@typing.overload
def ensure_deferred(source: Deferred[T]) -> Deferred[T]: ...


@typing.overload
def ensure_deferred(source: typing.Coroutine[typing.Any, typing.Any, T]) -> Deferred[T]: ...


@typing.overload
def ensure_deferred(source: T) -> Deferred[T]: ...


def ensure_deferred(source: typing.Any) -> Deferred[typing.Any]:
    """Return a Deferred for what may be one, a coroutine, or a plain value.

    A coroutine starts at once and runs until it first has to wait, in a copy of the current context. It may
    await Deferreds and other coroutines. Cancelling its Deferred cancels what it awaits, so that Cancelled is
    raised in it.
    """
    if isinstance(source, Deferred):
        return source
    if isinstance(source, Coroutine):
        task: _Coroutine[typing.Any] = _Coroutine(source)
        if task.step():
            _run(task)
        return task
    return succeed(source)


def gather(
    sources: typing.Iterable[Deferred[T] | typing.Coroutine[typing.Any, typing.Any, T]],
) -> Deferred[list[T]]:
    """Give the results of all, in the order of `sources`, which keep them.

    The first error is the error of the whole, and cancels the others; so does cancelling the whole.
    """
    branches = _branches(sources)
    whole: Deferred[list[T]] = Deferred(lambda _: _cancel_all(branches))
    results: list[typing.Any] = [None] * len(branches)
    missing = len(branches)

    def watch(index: int) -> None:
        def on_result(result: object) -> None:
            nonlocal missing
            results[index] = result
            missing -= 1
            if not missing and not whole.called:
                whole.callback(results)

        branches[index].add_callbacks(on_result, lambda error: _lose(whole, error, branches))

    for index in range(len(branches)):
        watch(index)
    if not branches:
        whole.callback([])
    return whole


def first(
    sources: typing.Iterable[Deferred[T] | typing.Coroutine[typing.Any, typing.Any, T]],
) -> Deferred[tuple[int, T]]:
    """Give the index and the result of the first of `sources` to have one; the others are cancelled.

    If the first thing to come is an error, it is the error of the whole. Cancelling the whole cancels all.

    Raises:
        LocalProtocolError: `sources` is empty.
    """
    branches = _branches(sources)
    if not branches:
        raise LocalProtocolError("first() of nothing would never have a result")
    whole: Deferred[tuple[int, T]] = Deferred(lambda _: _cancel_all(branches))

    def watch(index: int) -> None:
        def on_result(result: T) -> None:
            if not whole.called:
                whole.callback((index, result))
                _cancel_all(branches)

        branches[index].add_callbacks(on_result, lambda error: _lose(whole, error, branches))

    for index in range(len(branches)):
        watch(index)
    return whole


def _branches(
    sources: typing.Iterable[Deferred[T] | typing.Coroutine[typing.Any, typing.Any, T]],
) -> list[Deferred[T]]:
    """Return for each source a Deferred of our own that waits for it, so that the source keeps its result."""
    deferreds = [ensure_deferred(source) for source in sources]
    branches: list[Deferred[T]] = []
    for deferred in deferreds:
        branch: Deferred[T] = Deferred()
        _give(branch, deferred)
        branches.append(branch)
    return branches


def _cancel_all(deferreds: list[Deferred[T]]) -> None:
    for deferred in deferreds:
        deferred.cancel()


def _lose(whole: Deferred[U], error: Exception, branches: list[Deferred[T]]) -> None:
    """Fail `whole`, and cancel what is left of it. A later error is raised again, to be logged."""
    if not whole.called:
        whole.errback(error)
        _cancel_all(branches)
    elif not isinstance(error, Cancelled):
        raise error
