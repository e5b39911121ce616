"""Telling data from commands (RFC 854, RFC 855): bytes go in, events are pulled out.

    parser.receive_data(data)
    while (event := parser.next_event()) is not None: ...

How the network cut the stream shows in nothing but where one `Data` ends and the next begins.
"""

from __future__ import annotations

import typing
from dataclasses import dataclass

from portable.errors import RemoteProtocolError
from protocols.telnet.codes import DO, DONT, IAC, SB, SE, WILL, WONT

__all__ = [
    "MAX_SUBNEGOTIATION",
    "Command",
    "Data",
    "Negotiation",
    "Subnegotiation",
    "TelnetParser",
    "escape",
    "negotiation",
    "subnegotiation",
]

# Bytes between IAC SB and IAC SE, the option included; an IAC IAC inside counts as one. A terminal's name has
# 40, a list of character sets a few hundred. Without a limit a peer fills our memory without a single line.
MAX_SUBNEGOTIATION = 1024

_IAC = b"\xff"
_NEGOTIATIONS = frozenset([WILL, WONT, DO, DONT])


@dataclass(frozen=True, slots=True)
class Data:
    """Bytes of the stream itself, never empty; IAC IAC has become one byte 255."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Command:
    """IAC and a code that is neither a negotiation nor part of a sub-negotiation; known or not."""

    code: int


@dataclass(frozen=True, slots=True)
class Negotiation:
    """IAC WILL, WONT, DO or DONT (`verb`) and an option."""

    verb: int
    option: int


@dataclass(frozen=True, slots=True)
class Subnegotiation:
    """IAC SB, option, payload (IAC IAC has become one byte 255), IAC SE."""

    option: int
    payload: bytes


class TelnetParser:
    """Turns bytes into events. Knows no transport, no options in effect and no line ends.

    An error is final: what was received is dropped, and the same error comes again.
    """

    def __init__(self) -> None:
        self._buffer: bytes | bytearray = b""
        self._pos = 0
        # What came since IAC SB; None outside of a sub-negotiation.
        self._inside: bytearray | None = None
        self._error = ""

    def __len__(self) -> int:
        """Return the number of bytes received and not used yet."""
        return len(self._buffer) - self._pos

    def receive_data(self, data: bytes) -> None:
        """Buffer `data`. Never raises: see `next_event`."""
        if self._error:
            return
        if self._pos == len(self._buffer):
            self._buffer = data
        else:
            self._buffer = bytes(self._buffer[self._pos :]) + data
        self._pos = 0

    def next_event(self) -> Event | None:
        """Return the next event, or None if more bytes are needed.

        Raises:
            RemoteProtocolError: a sub-negotiation is longer than MAX_SUBNEGOTIATION, has no option, or has an
                IAC inside that is followed by neither IAC nor SE.
        """
        if self._error:
            raise RemoteProtocolError(self._error)
        while self._pos < len(self._buffer):
            if self._inside is not None:
                if not self._read_inside(self._inside):
                    return None
                return self._end_inside()
            elif self._buffer[self._pos] != IAC:
                return self._read_data()
            else:
                event = self._read_command()
                if event is not None or self._inside is None:
                    return event
        return None

    def _read_data(self) -> Data:
        end = self._buffer.find(_IAC, self._pos)
        if end < 0:
            end = len(self._buffer)
        data = bytes(self._buffer[self._pos : end])
        self._pos = end
        return Data(data)

    def _read_command(self) -> Event | None:
        """Read from an IAC; None if it is not all there, or if it begins a sub-negotiation."""
        if len(self) < 2:
            return None
        code = self._buffer[self._pos + 1]
        if code in _NEGOTIATIONS:
            if len(self) < 3:
                return None
            option = self._buffer[self._pos + 2]
            self._pos += 3
            return Negotiation(code, option)
        self._pos += 2
        if code == IAC:
            return Data(_IAC)
        if code == SB:
            self._inside = bytearray()
            return None
        return Command(code)

    def _read_inside(self, inside: bytearray) -> bool:
        """Read up to IAC SE; return whether it has come."""
        while self._pos < len(self._buffer):
            end = self._buffer.find(_IAC, self._pos)
            stop = len(self._buffer) if end < 0 else end
            # No more than decides whether it is too long: the rest of a flood is not even copied.
            inside += self._buffer[self._pos : min(stop, self._pos + MAX_SUBNEGOTIATION + 1)]
            self._pos = stop
            self._check_length(inside)
            if end < 0 or len(self) < 2:
                return False
            code = self._buffer[self._pos + 1]
            if code not in {IAC, SE}:
                raise self._fail(f"IAC {code} inside a sub-negotiation")
            self._pos += 2
            if code == SE:
                return True
            inside += _IAC
            self._check_length(inside)
        return False

    def _end_inside(self) -> Subnegotiation:
        inside, self._inside = self._inside, None
        if not inside:
            raise self._fail("a sub-negotiation without an option")
        return Subnegotiation(inside[0], bytes(inside[1:]))

    def _check_length(self, inside: bytearray) -> None:
        if len(inside) > MAX_SUBNEGOTIATION:
            raise self._fail(f"a sub-negotiation of more than {MAX_SUBNEGOTIATION} bytes")

    def _fail(self, reason: str) -> RemoteProtocolError:
        self._error = reason
        self._buffer = b""
        self._pos = 0
        self._inside = None
        return RemoteProtocolError(reason)


def escape(data: bytes) -> bytes:
    """Return `data` with each byte 255 doubled."""
    return data.replace(_IAC, b"\xff\xff")


def negotiation(verb: int, option: int) -> bytes:
    """Return the bytes of a `Negotiation`."""
    return bytes([IAC, verb, option])


def subnegotiation(option: int, payload: bytes) -> bytes:
    """Return the bytes of a `Subnegotiation`, its payload escaped."""
    return bytes([IAC, SB, option]) + escape(payload) + bytes([IAC, SE])


if typing.TYPE_CHECKING:
    Event = Data | Command | Negotiation | Subnegotiation
