"""Calls at a certain time, for reactors and for manual clocks.

One heap of (time, number of making, timer). Cancelling and putting off leave the heap alone: an entry whose
timer was cancelled is dropped when it surfaces, one whose timer was put off is put back with its new time. So
an idle time-out that is reset for every byte costs two assignments. When more than half of the entries are
dead, the heap is made anew without them.
"""

# ruff: noqa: SLF001  a heap and its timers are one thing in two classes.
from __future__ import annotations

import heapq
import logging
import math
import typing

from portable.errors import FAILURES, LocalProtocolError

__all__ = ["HeapTimer", "TimerHeap"]

logger = logging.getLogger("portable.timers")

# Below this many entries, making the heap anew costs more than it frees.
_WORTH_COMPACTING = 64

if typing.TYPE_CHECKING:
    Entry = tuple[float, int, "HeapTimer"]

# Stands for the entry of a timer that `run_due` has taken from the heap and is about to call.
_DUE: Entry = typing.cast("Entry", (0.0, -1, None))


class HeapTimer:
    """One call to come. Made by `TimerHeap.call_at`; satisfies `portable.clock.Timer`."""

    __slots__ = ("_args", "_callback", "_cancelled", "_entry", "_heap", "_number", "_when")

    def __init__(
        self,
        heap: TimerHeap,
        when: float,
        number: int,
        callback: typing.Callable[..., object],
        args: tuple[typing.Any, ...],
    ) -> None:
        self._heap = heap
        self._when = when
        self._number = number
        self._callback: typing.Callable[..., object] | None = callback
        self._args = args
        self._cancelled = False
        # The one entry of the heap that counts; others that name this timer are dead. None: not to be called.
        self._entry: Entry | None = None

    def cancel(self) -> None:
        """Do not call. Does nothing when it was called or cancelled already."""
        entry = self._entry
        if entry is None:
            return
        self._entry = None
        self._cancelled = True
        # What they hold must not live until the entry surfaces.
        self._callback = None
        self._args = ()
        self._heap._bury(entry)

    def cancelled(self) -> bool:
        """Return whether `cancel` was called before the time came."""
        return self._cancelled

    def when(self) -> float:
        """Return the time of the call, in seconds on the clock of the heap."""
        return self._when

    def active(self) -> bool:
        """Return whether the call is still to come."""
        return self._entry is not None

    def reset(self, delay: float) -> None:
        """Put the call off (or forward) to `delay` seconds from now.

        Raises:
            LocalProtocolError: the call was made, or cancelled, or `delay` is not a number.
        """
        entry = self._entry
        if entry is None:
            raise LocalProtocolError("a timer that was called or cancelled cannot be reset")
        heap = self._heap
        when = heap._time() + delay
        if math.isnan(when):
            raise LocalProtocolError("the time of a timer must be a number, not NaN")
        self._when = when
        if when < entry[0] or entry is _DUE:
            heap._push(self)
            heap._bury(entry)


class TimerHeap:
    """The timers of one clock. Not thread-safe."""

    __slots__ = ("_dead", "_entries", "_made", "_time")

    def __init__(self, clock_time: typing.Callable[[], float]) -> None:
        """Make a heap without timers; `clock_time` gives the present, in seconds."""
        self._time = clock_time
        self._entries: list[Entry] = []
        self._made = 0
        self._dead = 0  # entries that no timer calls its own

    @property
    def pending(self) -> int:
        """How many calls are to come."""
        return len(self._entries) - self._dead

    def call_at(
        self, when: float, callback: typing.Callable[..., object], args: tuple[typing.Any, ...]
    ) -> HeapTimer:
        """Have `run_due` call `callback(*args)` once, when it is told a time of at least `when`.

        Raises:
            LocalProtocolError: `when` is not a number.
        """
        if math.isnan(when):
            raise LocalProtocolError("the time of a timer must be a number, not NaN")
        number = self._made
        self._made = number + 1
        timer = HeapTimer(self, when, number, callback, args)
        self._push(timer)
        return timer

    def next_time(self) -> float | None:
        """Return the time before which `run_due` has nothing to do, None if there is no timer.

        It is earlier than that of the next call if that timer was put off; `run_due` then puts it in its place.
        """
        entries = self._entries
        while entries:
            entry = entries[0]
            if entry[2]._entry is entry:
                return entry[0]
            heapq.heappop(entries)
            self._dead -= 1
        return None

    def run_due(self, now: float) -> int:
        """Call what is due at `now`, in order of time, then of making. Return how many were called.

        Timers that these calls make or reset wait for the next time, even if they are due. An Exception is
        logged and the rest goes on; anything else passes through, and what was not called stays due.
        """
        entries = self._entries
        if not entries or entries[0][0] > now:
            return 0
        due: list[HeapTimer] = []
        while entries and entries[0][0] <= now:
            entry = heapq.heappop(entries)
            timer = entry[2]
            if timer._entry is not entry:
                self._dead -= 1
            elif timer._when > entry[0]:
                self._push(timer)
            else:
                timer._entry = _DUE
                due.append(timer)
        return self._call(due)

    def _call(self, due: list[HeapTimer]) -> int:
        called = 0
        position = 0
        try:
            for timer in due:
                position += 1
                callback = timer._callback
                if timer._entry is not _DUE or callback is None:
                    continue  # cancelled or reset by one of those before
                args = timer._args
                timer._entry = None
                timer._callback = None
                timer._args = ()
                called += 1
                try:
                    callback(*args)
                except FAILURES:
                    logger.exception("a timer's call of %r failed", callback)
        except BaseException:
            for timer in due[position:]:
                if timer._entry is _DUE:
                    self._push(timer)
            raise
        return called

    def _push(self, timer: HeapTimer) -> None:
        entry = (timer._when, timer._number, timer)
        timer._entry = entry
        heapq.heappush(self._entries, entry)

    def _bury(self, entry: Entry) -> None:
        """Count `entry` as dead, and make the heap anew if most of it is."""
        if entry is _DUE:
            return  # it has left the heap
        self._dead += 1
        entries = self._entries
        if self._dead * 2 > len(entries) > _WORTH_COMPACTING:
            entries[:] = [entry for entry in entries if entry[2]._entry is entry]
            heapq.heapify(entries)
            self._dead = 0
