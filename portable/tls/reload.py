"""Certificates that change while the server runs."""

from __future__ import annotations

import typing

if typing.TYPE_CHECKING:
    from portable.clock import Clock, Timer
    from portable.tls.options import TLSOptions

__all__ = ["CertificateWatch"]

# Seconds.
INTERVAL = 30.0
DAY = 24 * 3600.0


class CertificateWatch:
    """Reloads certificates soon after their files have changed, and warns at once and then once a day of those
    near their end.

    Looks at the files' identity and time of change every `interval` seconds: that works on every system and
    file system, and sees a swapped link to a folder. Certificate and key need not change at the same moment: a
    pair that does not match is refused, and looked at again when another of the files has changed.

    Args:
        options: whose files are watched.
        clock: the reactor.
        interval: seconds between two looks, above 0.
    """

    def __init__(self, options: TLSOptions, clock: Clock, interval: float = INTERVAL) -> None:
        self._options = options
        self._clock = clock
        self._interval = interval
        self._next_warning = clock.time() + DAY
        self._timer: Timer | None = clock.call_later(interval, self._look)
        options.warn_of_expiry()

    def stop(self) -> None:
        """Look no more. Idempotent."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = self._clock.call_later(self._interval, self._look)
        if self._options.changed():
            self._options.reload()
        elif self._clock.time() >= self._next_warning:
            self._options.warn_of_expiry()
        else:
            return
        self._next_warning = self._clock.time() + DAY
