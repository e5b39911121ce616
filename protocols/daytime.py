"""Daytime (RFC 867): the date and time, for people to read.

RFC 867 leaves the form open. Ours is the first that it names, always in UTC and in English:
"Tuesday, February 22, 1982 17:37:43-UTC". Server side: `OneAnswer(Daytime().now, clock)`, over UDP
`DatagramAnswers(Daytime().answer, guard)`.
"""

from __future__ import annotations

import time
import typing

from protocols.oneanswer import fetch

if typing.TYPE_CHECKING:
    from portable.deferred import Deferred
    from protocols.oneanswer import Network

__all__ = ["MAX_ANSWER", "PORT", "Daytime", "fetch_daytime", "format_daytime"]

PORT = 13
# Bytes that a client accepts. RFC 867 asks for one line and gives no limit.
MAX_ANSWER = 512

# Not strftime: that speaks the language of the locale.
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)


def format_daytime(seconds: float) -> bytes:
    """Return the line, with CR LF, for the time `seconds` after 1970-01-01 00:00 UTC."""
    moment = time.gmtime(seconds)
    day, month = _DAYS[moment.tm_wday], _MONTHS[moment.tm_mon - 1]
    clock = f"{moment.tm_hour:02d}:{moment.tm_min:02d}:{moment.tm_sec:02d}"
    return f"{day}, {month} {moment.tm_mday}, {moment.tm_year} {clock}-UTC\r\n".encode("ascii")


class Daytime:
    """Server side.

    Args:
        time_of_day: returns the seconds since 1970-01-01 00:00 UTC.
    """

    def __init__(self, time_of_day: typing.Callable[[], float] = time.time) -> None:
        self._time_of_day = time_of_day

    def now(self) -> bytes:
        """Return the line to send."""
        return format_daytime(self._time_of_day())

    def answer(self, data: bytes) -> bytes:
        """Return the answer to a datagram, whatever is in it."""
        return self.now()


def fetch_daytime(reactor: Network, host: str, port: int = PORT, *, seconds: float = 30.0) -> Deferred[str]:
    """Ask a server for the time of day, over TCP, within `seconds`.

    Returns:
        The text as the server spelled it, without white space around it. Fails as `fetch`.
    """

    def decode(answer: bytes) -> str:
        return answer.decode("latin-1").strip()

    return fetch(reactor, host, port, MAX_ANSWER, seconds).add_callback(decode)
