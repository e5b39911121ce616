"""A clock that stands still until it is told to go on."""

from __future__ import annotations

import collections
import typing

from portable.errors import LocalProtocolError
from portable.timers import TimerHeap

if typing.TYPE_CHECKING:
    from portable.clock import Timer

__all__ = ["ManualClock"]

# Calls that one `advance` may make. Two callbacks that call each other forever are a bug to report.
MOST_CALLS = 1_000_000
# Sums of seconds such as 0.1 + 0.2 are off by less than this; tests mean 0.3.
ROUNDING = 1e-9


class _SoonCall:
    """One entry of the queue of `call_soon`."""

    __slots__ = ("args", "callback")

    def __init__(self, callback: typing.Callable[..., object], args: tuple[object, ...]) -> None:
        self.callback: typing.Callable[..., object] | None = callback
        self.args = args

    def cancel(self) -> None:
        """See `portable.clock.Call.cancel`."""
        self.callback = None
        self.args = ()


class ManualClock:
    """The capability "time" of a reactor (`portable.clock.Clock`) for tests: time passes in `advance` only.

    An exception that leaves a callback does not stop the others; the first one is raised by `advance` when all
    are done, so that a test fails where the fault is. (A reactor would log it.)
    """

    def __init__(self, start: float = 0.0) -> None:
        self._now = start
        self._heap = TimerHeap(self.time)
        self._soon: collections.deque[_SoonCall] = collections.deque()
        self._advancing = False
        self._error: BaseException | None = None

    def time(self) -> float:
        """Return the seconds that `advance` has added up to, from `start`."""
        return self._now

    def call_soon(self, callback: typing.Callable[..., object], *args: object) -> _SoonCall:
        """See `portable.clock.Clock.call_soon`: the next `advance` makes the call, even `advance(0)`."""
        call = _SoonCall(callback, args)
        self._soon.append(call)
        return call

    def call_later(self, delay: float, callback: typing.Callable[..., object], *args: object) -> Timer:
        """See `portable.clock.Clock.call_later`."""
        return self.call_at(self._now + max(delay, 0.0), callback, *args)

    def call_at(self, when: float, callback: typing.Callable[..., object], *args: object) -> Timer:
        """See `portable.clock.Clock.call_at`."""
        return self._heap.call_at(when, self._guarded, (callback, args))

    def next_time(self) -> float | None:
        """Return when the next timer is due, or None if there is none: a test that leaves one has a leak."""
        return self._heap.next_time()

    @property
    def advancing(self) -> bool:
        """Whether `advance` is under way, so that we are being called from inside a callback."""
        return self._advancing

    def advance(self, seconds: float = 0.0) -> None:
        """Let `seconds` pass (0 or more): make every call that comes due, in the order of their times, each
        seeing its own time on the clock. What they ask for in turn is done too, if it is due by then.

        Raises:
            LocalProtocolError: called from inside a callback.
            AssertionError: a million calls were made and still there are more.
        """
        if self._advancing:
            raise LocalProtocolError("advance was called from inside a call that advance makes")
        end = round(self._now + seconds, 9)
        self._advancing = True
        try:
            self._run_until(end)
        finally:
            self._advancing = False
        error, self._error = self._error, None
        if error is not None:
            raise error

    def step(self, timeout: float | None = 0.0) -> None:
        """Let the time until the next timer pass, but at most `timeout` seconds (None: no bound).

        With this, `wait_for` and `wait_until` work on a manual clock as well: in no time.
        """
        upcoming = self.next_time()
        wait = float("inf") if timeout is None else timeout
        if self._soon:
            wait = 0.0
        elif upcoming is not None:
            wait = min(wait, max(upcoming - self._now, 0.0))
        self.advance(0.0 if wait == float("inf") else wait)

    def _run_until(self, end: float) -> None:
        calls = self._run_soon()
        when = self._heap.next_time()
        while when is not None and when <= end + ROUNDING:
            self._now = max(self._now, when)
            calls += self._heap.run_due(self._now) + self._run_soon()
            if calls > MOST_CALLS:
                raise AssertionError(f"{calls} calls were made and there is no end of them")
            when = self._heap.next_time()
        self._now = max(self._now, end)

    def _run_soon(self) -> int:
        calls = 0
        while self._soon:
            call = self._soon.popleft()
            calls += 1
            if call.callback is not None:
                self._guarded(call.callback, call.args)
            if calls > MOST_CALLS:
                raise AssertionError(f"{calls} calls were made and there is no end of them")
        return calls

    def _guarded(self, callback: typing.Callable[..., object], args: tuple[object, ...]) -> None:
        try:
            callback(*args)
        except Exception as exc:  # noqa: BLE001 - `advance` raises it when the other calls are made
            if self._error is None:
                self._error = exc
