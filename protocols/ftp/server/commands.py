"""Commands of the control connection: lines, in a stream that is Telnet's (RFC 959 5.3, RFC 854).

A command ends with CR LF and with nothing else: what takes a lone LF for an end lets a file name hold a
second command. Clients that abort a transfer put Telnet's "interrupt process" and "data mark" before ABOR,
the latter or a part of it as urgent data that systems deliver in the stream or outside of it; all of that is
taken out.
"""

from __future__ import annotations

from dataclasses import dataclass

from portable.framing import LineReader

__all__ = ["MAX_COMMAND", "Command", "CommandParser"]

# Bytes. A path that any system takes has at most 4,096, and room is left for what stands before it.
MAX_COMMAND = 4608
# Bytes. The longest verb of the registry (RFC 5797) has 4; a longer word is none.
MAX_VERB = 12
# Offers of Telnet options that are refused on one connection; what follows is ignored. A client that offers
# has a handful, and nobody may have us write without reading it.
MAX_REFUSALS = 32

_IAC = 255
_DONT, _DO, _WONT, _WILL = 254, 253, 252, 251
_SB, _SE = 250, 240
_DATA_MARK = b"\xf2"

# States of the Telnet filter.
_TEXT = 0
_AFTER_IAC = 1
_OPTION = 2  # after WILL, WONT, DO, DONT: one byte follows
_INSIDE_SB = 3  # sub-negotiation, until IAC SE
_IAC_IN_SB = 4


@dataclass(frozen=True, slots=True)
class Command:
    """One line.

    Attributes:
        verb: in upper case; "" if the line does not begin with a word of letters.
        argument: what follows the first space, as it was sent; None if there is no space.
    """

    verb: str
    argument: bytes | None


class TelnetFilter:
    """Takes Telnet's commands out of a stream. Refuses every option that comes up (RFC 1123 3.2.1)."""

    def __init__(self) -> None:
        self._state = _TEXT
        self._command = 0
        self._refused = 0
        self._refusals = b""

    def filter(self, data: bytes) -> bytes:
        """Return the text in `data`."""
        if self._state == _TEXT and _IAC not in data:
            return data
        text = bytearray()
        for byte in data:
            if self._state == _TEXT:
                if byte == _IAC:
                    self._state = _AFTER_IAC
                else:
                    text.append(byte)
            else:
                self._take(byte, text)
        return bytes(text)

    def _take(self, byte: int, text: bytearray) -> None:
        if self._state == _OPTION:
            self._state = _TEXT
            self._refuse(byte)
        elif self._state == _INSIDE_SB:
            if byte == _IAC:
                self._state = _IAC_IN_SB
        elif self._state == _IAC_IN_SB:
            self._state = _TEXT if byte == _SE else _INSIDE_SB
        elif byte in {_WILL, _WONT, _DO, _DONT}:
            self._command = byte
            self._state = _OPTION
        elif byte == _SB:
            self._state = _INSIDE_SB
        else:
            self._state = _TEXT
            # IAC IAC is the byte 255. A command that is none: its second byte was urgent, and is not here.
            if byte == _IAC or byte < _SE:
                text.append(byte)

    def _refuse(self, option: int) -> None:
        if self._command in {_WILL, _DO} and self._refused < MAX_REFUSALS:
            self._refused += 1
            self._refusals += bytes([_IAC, _DONT if self._command == _WILL else _WONT, option])

    def is_inside(self) -> bool:
        """Return whether a command of Telnet has begun, and not ended."""
        return self._state != _TEXT

    def take_refusals(self) -> bytes:
        """Return what is to be sent to the peer, once."""
        refusals, self._refusals = self._refusals, b""
        return refusals


class CommandParser:
    """Turns bytes into commands. Knows no transport and no state of the session."""

    def __init__(self) -> None:
        self._telnet = TelnetFilter()
        self._lines = LineReader(MAX_COMMAND)

    def __len__(self) -> int:
        """Return how many bytes wait to become commands; the beginning of one of Telnet's counts as one."""
        return len(self._lines) + self._telnet.is_inside()

    def receive_data(self, data: bytes) -> None:
        """Buffer `data`. Never raises: see `next_command`."""
        self._lines.receive_data(self._telnet.filter(data))

    def take_refusals(self) -> bytes:
        """Return the answer to Telnet options that came in the data, to be sent at once; mostly empty."""
        return self._telnet.take_refusals()

    def next_command(self) -> Command | None:
        """Return the next command, or None if more bytes are needed.

        Raises:
            RemoteProtocolError: a line exceeds MAX_COMMAND bytes, or has a CR or LF inside. The connection is
            of
                no use any more.
        """
        line = self._lines.next_line()
        if line is None:
            return None
        word, space, argument = line.lstrip(_DATA_MARK).partition(b" ")
        verb = word.decode("latin-1").upper() if word.isalpha() and len(word) <= MAX_VERB else ""
        return Command(verb, argument if space else None)
