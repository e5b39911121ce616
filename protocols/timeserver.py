"""Time (RFC 868): the time as 32 bits, for machines to read.

The number counts seconds since 1900-01-01 00:00 UTC, unsigned and most significant byte first. It wraps round
on 2036-02-07; whoever decodes it must know the time to within 68 years. Server side:
`OneAnswer(TimeServer().now, clock)`, over UDP `DatagramAnswers(TimeServer().answer, guard)`.
"""

from __future__ import annotations

import math
import struct
import time
import typing

from portable.errors import RemoteProtocolError
from protocols.oneanswer import fetch

if typing.TYPE_CHECKING:
    from portable.deferred import Deferred
    from protocols.oneanswer import Network

__all__ = ["EPOCH_1900", "PORT", "TimeServer", "decode_time", "encode_time", "fetch_time"]

PORT = 37
# Seconds from 1900-01-01 to 1970-01-01, both 00:00 UTC (RFC 868).
EPOCH_1900 = 2_208_988_800
_WRAP = 1 << 32
_NUMBER = struct.Struct(">I")


def encode_time(seconds: float) -> bytes:
    """Return the 4 bytes for the time `seconds` after 1970-01-01 00:00 UTC (before it, if negative)."""
    return _NUMBER.pack((math.floor(seconds) + EPOCH_1900) % _WRAP)


def decode_time(data: bytes, near: float) -> int:
    """Return the seconds since 1970-01-01 00:00 UTC that `data` means.

    Args:
        near: a time, in the same seconds, that is less than 68 years off.

    Raises:
        RemoteProtocolError: `data` is not 4 bytes long.
    """
    if len(data) != _NUMBER.size:
        raise RemoteProtocolError(f"a time is 4 bytes long, not {len(data)}")
    seconds = int(_NUMBER.unpack(data)[0]) - EPOCH_1900
    wraps = math.floor((near - seconds) / _WRAP + 0.5)
    return seconds + wraps * _WRAP


class TimeServer:
    """Server side.

    Args:
        time_of_day: returns the seconds since 1970-01-01 00:00 UTC.
    """

    def __init__(self, time_of_day: typing.Callable[[], float] = time.time) -> None:
        self._time_of_day = time_of_day

    def now(self) -> bytes:
        """Return the 4 bytes to send."""
        return encode_time(self._time_of_day())

    def answer(self, data: bytes) -> bytes:
        """Return the answer to a datagram, whatever is in it."""
        return self.now()


def fetch_time(
    reactor: Network,
    host: str,
    port: int = PORT,
    *,
    seconds: float = 30.0,
    time_of_day: typing.Callable[[], float] = time.time,
) -> Deferred[int]:
    """Ask a server for the time, over TCP, within `seconds`.

    Args:
        time_of_day: our own idea of it, for telling which turn of the 32 bits it is.

    Returns:
        Seconds since 1970-01-01 00:00 UTC. Fails as `fetch`, and with RemoteProtocolError if the answer is not
        4 bytes long.
    """

    def decode(answer: bytes) -> int:
        return decode_time(answer, time_of_day())

    return fetch(reactor, host, port, _NUMBER.size, seconds).add_callback(decode)
