"""Quote of the day (RFC 865).

Server side: `OneAnswer(Quotes(...).today, clock)`, over UDP `DatagramAnswers(Quotes(...).answer, guard)`.
"""

from __future__ import annotations

import time
import typing

from portable.errors import LocalProtocolError
from protocols.oneanswer import fetch

if typing.TYPE_CHECKING:
    from portable.deferred import Deferred
    from protocols.oneanswer import Network

__all__ = ["MAX_QUOTE", "PORT", "PROVERBS", "Quotes", "encode_quote", "fetch_quote"]

PORT = 17
# Bytes. RFC 865: "it should be less than 512 characters".
MAX_QUOTE = 511
# Bytes that a client accepts; servers are not all so strict.
MAX_ANSWER = 4096

PROVERBS = (
    "A stitch in time saves nine.",
    "Still waters run deep.",
    "Many hands make light work.",
    "Look before you leap.",
    "The pot calls the kettle black.",
    "Rome was not built in a day.",
    "Make haste slowly.",
)
_DAY = 86_400  # seconds


def encode_quote(text: str) -> bytes:
    r"""Return `text` as it is sent: lines ended by CR LF.

    Raises:
        LocalProtocolError: it is too long, or has anything but printing ASCII, spaces and line ends (RFC 865).
    """
    for character in text:
        if not " " <= character <= "~" and character not in "\r\n":
            raise LocalProtocolError(f"a quote must be printing ASCII, and {character!r} is not")
    quote = "\r\n".join([*text.splitlines(), ""]).encode("ascii")
    if len(quote) > MAX_QUOTE:
        raise LocalProtocolError(f"a quote must have at most {MAX_QUOTE} bytes, not {len(quote)}")
    return quote


class Quotes:
    """Server side: one quote for each day (of UTC), in turn.

    Args:
        quotes: at least one.
        time_of_day: returns the seconds since 1970-01-01 00:00 UTC.

    Raises:
        LocalProtocolError: as `encode_quote`, or there is no quote.
    """

    def __init__(
        self, quotes: typing.Sequence[str] = PROVERBS, time_of_day: typing.Callable[[], float] = time.time
    ) -> None:
        if not quotes:
            raise LocalProtocolError("there must be at least one quote")
        self._quotes = [encode_quote(quote) for quote in quotes]
        self._time_of_day = time_of_day

    def today(self) -> bytes:
        """Return the quote to send."""
        return self._quotes[int(self._time_of_day() // _DAY) % len(self._quotes)]

    def answer(self, data: bytes) -> bytes:
        """Return the answer to a datagram, whatever is in it."""
        return self.today()


def fetch_quote(reactor: Network, host: str, port: int = PORT, *, seconds: float = 30.0) -> Deferred[str]:
    """Ask a server for its quote, over TCP, within `seconds`.

    Returns:
        The text, its lines joined by LF. Fails as `fetch`.
    """

    def decode(answer: bytes) -> str:
        return "\n".join(answer.decode("latin-1").splitlines())

    return fetch(reactor, host, port, MAX_ANSWER, seconds).add_callback(decode)
