"""What a clock is: the present, and calls at a later time.

Every reactor is one, and so is `portable.testing.ManualClock`, whose time only tests move. It stands apart from
the rest of `portable.reactor` because most of what needs a clock needs nothing else of a reactor.
"""

from __future__ import annotations

import typing

__all__ = ["Call", "Clock", "Timer"]


class Call(typing.Protocol):
    """A call that has been asked for and may be taken back."""

    def cancel(self) -> None:
        """Do not call. Does nothing when it was called or cancelled already."""


class Timer(Call, typing.Protocol):
    """A call at a certain time."""

    def cancelled(self) -> bool:
        """Return whether `cancel` was called before the time came."""

    def when(self) -> float:
        """Return the time of the call, on the clock of `Clock.time`."""

    def active(self) -> bool:
        """Return whether the call is still to come."""

    def reset(self, delay: float) -> None:
        """Put the call off (or forward) to `delay` seconds from now.

        Putting off costs a few instructions, whatever the number of timers: an idle time-out may be reset for
        every byte received.

        Raises:
            LocalProtocolError: the call was made, or cancelled.
        """


class Clock(typing.Protocol):
    """Capability "time"."""

    def time(self) -> float:
        """Return the seconds on a clock that never goes back; its zero has no meaning."""

    def call_soon(self, callback: typing.Callable[..., object], *args: object) -> Call:
        """Call `callback(*args)` in the next turn of the loop, after what was asked for before."""

    def call_later(self, delay: float, callback: typing.Callable[..., object], *args: object) -> Timer:
        """Call `callback(*args)` once, `delay` seconds from now; at once if `delay` is not above 0, but never
        before this method has returned.
        """

    def call_at(self, when: float, callback: typing.Callable[..., object], *args: object) -> Timer:
        """Call `callback(*args)` once when `time()` has reached `when`."""
