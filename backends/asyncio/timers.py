"""Timers of ours on one timer of an asyncio loop."""

from __future__ import annotations

import math
import time
import typing

from portable.timers import HeapTimer, TimerHeap

if typing.TYPE_CHECKING:
    import asyncio

__all__ = ["LoopTimers"]

_NEVER = math.inf
# Seconds. Some loops take no more than 24 days; waking up in between costs nothing.
_LONGEST_WAIT = 24 * 3600.0


class LoopTimers(TimerHeap):
    """A heap whose first timer is always known to the loop.

    Args:
        loop: its `call_later` is used, its clock is not: some loops' clocks stand still during a turn.
        on_due: called from the loop when `run_due` may have something to do, and should call `run`.
    """

    __slots__ = ("_armed", "_handle", "_loop", "_on_due")

    def __init__(self, loop: asyncio.AbstractEventLoop, on_due: typing.Callable[[], object]) -> None:
        super().__init__(time.monotonic)
        self._loop = loop
        self._on_due = on_due
        self._handle: asyncio.TimerHandle | None = None
        # When the loop will call; nothing later needs to be told to it.
        self._armed = _NEVER

    def _push(self, timer: HeapTimer) -> None:
        super()._push(timer)
        if timer.when() < self._armed:
            self._arm(timer.when())

    def _arm(self, when: float) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self._armed = when
        # Whole milliseconds, as loops wait: rounded down they would wake just before the time.
        delay = min(max(0.0, when - time.monotonic()), _LONGEST_WAIT)
        self._handle = self._loop.call_later(math.ceil(delay * 1000) / 1000, self._on_due)

    def run(self) -> None:
        """Call what is due, and have the loop call again for the rest."""
        self._armed = -_NEVER  # nothing is told to the loop meanwhile
        try:
            self.run_due(time.monotonic())
        finally:
            self._armed = _NEVER
            self._handle = None
            following = self.next_time()
            if following is not None and not self._loop.is_closed():
                self._arm(following)

    def close(self) -> None:
        """Call no more."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        self._armed = -_NEVER
