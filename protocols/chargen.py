"""Character generator (RFC 864), server side.

Lines of 72 characters and CR LF, each beginning one character later in the ring of the 95 printing characters
of ASCII. Over UDP it is `DatagramAnswers(DatagramCharacters().answer, guard)`.
"""

from __future__ import annotations

import random
import typing

from portable.flow import Pacer
from portable.protocol import Protocol

if typing.TYPE_CHECKING:
    from portable.clock import Clock
    from portable.errors import TransportError
    from portable.transport import Transport

__all__ = ["LINE", "MAX_DATAGRAM", "RING", "Chargen", "DatagramCharacters", "line"]

RING = bytes(range(32, 127))
LINE = 72  # characters, without CR LF
MAX_DATAGRAM = 512  # characters, RFC 864 "UDP Based Character Generator Service"


def line(number: int) -> bytes:
    """Return line `number` of the pattern, from 0, with its CR LF."""
    start = number % len(RING)
    return (RING + RING)[start : start + LINE] + b"\r\n"


# All the lines there are. After the last one comes the first.
_PATTERN = b"".join([line(number) for number in range(len(RING))])


class Chargen(Protocol):
    """Sends the pattern for as long as the peer reads. What the peer sends is thrown away.

    The end of the peer's stream does not end ours: RFC 864 has the pattern go on until the connection is
    gone, and a client with nothing on its standard input ends its stream at once.
    """

    _transport: Transport
    _pacer: Pacer

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def connection_made(self, transport: Transport) -> None:
        """Begin to send."""
        self._transport = transport
        self._pacer = Pacer(transport, self._clock, self._send_pattern)
        self._pacer.wake()

    def eof_received(self) -> bool | None:
        """Go on sending."""
        return True

    def pause_writing(self) -> None:
        """See `Protocol.pause_writing`."""
        self._pacer.pause_writing()

    def resume_writing(self) -> None:
        """See `Protocol.resume_writing`."""
        self._pacer.resume_writing()

    def connection_lost(self, exc: TransportError | None) -> None:
        """Stop."""
        self._pacer.stop()

    def _send_pattern(self) -> bool:
        self._transport.write(_PATTERN)
        return True


class DatagramCharacters:
    """Answers datagrams with a random number of characters of the pattern, 0 to MAX_DATAGRAM.

    Args:
        below: returns a random number from 0 to its argument less one.
    """

    def __init__(self, below: typing.Callable[[int], int] | None = None) -> None:
        # A length is no secret.
        self._below = random.Random().randrange if below is None else below  # noqa: S311 -- see above

    def answer(self, data: bytes) -> bytes:
        """Return the answer to a datagram, whatever is in it."""
        return _PATTERN[: self._below(MAX_DATAGRAM + 1)]
