"""What a server says on the control connection (RFC 959 4.2), read by a client."""

from __future__ import annotations

import re
import typing
from dataclasses import dataclass

from portable.errors import FrameworkError, RemoteProtocolError
from portable.framing import LineReader

__all__ = ["MAX_LINE", "MAX_REPLY", "CommandRefused", "Reply", "ReplyParser", "expect", "quoted_path"]

# Bytes. The longest line that makes sense is that of MLST: a path of 4,096 bytes, and facts.
MAX_LINE = 16 * 1024
# Bytes of all lines of one reply. STAT lists a folder in its reply; whoever has more should use MLSD.
MAX_REPLY = 512 * 1024
# 6yz are replies to the security mechanisms of RFC 2228 that encode the control connection; we know none.
_FIRST_LINE = re.compile(rb"([1-5][0-9][0-9])(?:([ -])(.*))?", re.DOTALL)
# Telnet's escape (RFC 854). In a name it is doubled (RFC 2640 3.1), and nothing else is to be expected.
_IAC = b"\xff"
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f]")


@dataclass(frozen=True, slots=True)
class Reply:
    """One reply.

    Attributes:
        code: 100 to 599.
        lines: the text of each line, without the code where it stood.
    """

    code: int
    lines: tuple[bytes, ...]

    @property
    def preliminary(self) -> bool:
        """Whether another reply to the same command will follow (1yz)."""
        return self.code < 200

    @property
    def refusal(self) -> bool:
        """Whether the command was refused, for now (4yz) or for good (5yz)."""
        return self.code >= 400

    @property
    def text(self) -> str:
        """The lines for people and logs: what is not UTF-8, or would steer a terminal, has become U+FFFD."""
        lines = (line.decode("utf-8", "replace") for line in self.lines)
        return "\n".join(_CONTROLS.sub("\ufffd", line) for line in lines)


class CommandRefused(FrameworkError):
    """The server answered a command with a reply that is not the wanted one.

    Attributes:
        verb: the command, without its argument, which may be a password.
        reply: what the server said.
    """

    def __init__(self, verb: str, reply: Reply) -> None:
        super().__init__(f"{verb}: {reply.code} {reply.text}")
        self.verb = verb
        self.reply = reply

    @property
    def code(self) -> int:
        """The reply's code."""
        return self.reply.code

    @property
    def temporary(self) -> bool:
        """Whether the same command may succeed later (4yz)."""
        return 400 <= self.reply.code < 500


class ReplyParser:
    """Turns bytes into replies. Knows no transport, clock or file.

    Lines end with CR LF and nothing else: with a name that has an LF in it, whoever may write files on a server
    could otherwise forge replies. `len(parser)` is the number of bytes received and not returned as a reply
    yet.
    """

    def __init__(self) -> None:
        self._reader = LineReader(MAX_LINE)
        self._lines: list[bytes] = []
        self._code = b""
        self._size = 0  # bytes of _lines on the wire

    def __len__(self) -> int:
        return len(self._reader) + self._size

    def receive_data(self, data: bytes) -> None:
        """Buffer `data`. Never raises: see `next_reply`."""
        self._reader.receive_data(data)

    def next_reply(self) -> Reply | None:
        """Return the next reply, or None if more bytes are needed.

        Raises:
            RemoteProtocolError: this is no reply, or one beyond MAX_LINE or MAX_REPLY. The stream cannot be
                understood any more.
        """
        while True:
            line = self._reader.next_line()
            if line is None:
                return None
            if self._add(line):
                reply = Reply(int(self._code), tuple(self._lines))
                self._lines = []
                self._code = b""
                self._size = 0
                return reply

    def _add(self, line: bytes) -> bool:
        """Take one line; return whether it was the last of its reply."""
        self._size += len(line) + 2
        if self._size > MAX_REPLY:
            raise RemoteProtocolError(f"a reply of more than {MAX_REPLY} bytes")
        line = _without_telnet(line)
        match = _FIRST_LINE.fullmatch(line)
        if not self._code:
            if match is None:
                raise RemoteProtocolError("a line that does not begin with the code of a reply")
            self._code = match.group(1)
        elif match is None or match.group(1) != self._code:
            # Between the first line and the last anything may stand.
            self._lines.append(line)
            return False
        self._lines.append(match.group(3) or b"")
        return match.group(2) != b"-"


def _without_telnet(line: bytes) -> bytes:
    if _IAC not in line:
        return line
    parts = line.split(_IAC + _IAC)
    if any(_IAC in part for part in parts):
        raise RemoteProtocolError("a Telnet command in a reply")
    return _IAC.join(parts)


def quoted_path(line: bytes) -> bytes | None:
    """Return the path in the text of a reply 257: between double quotes, those inside doubled (RFC 959,
    appendix II); None if there is none.
    """
    start = line.find(b'"')
    if start < 0:
        return None
    pieces: list[bytes] = []
    at = start + 1
    while True:
        end = line.find(b'"', at)
        if end < 0:
            return None
        pieces.append(line[at:end])
        if line[end + 1 : end + 2] != b'"':
            return b"".join(pieces)
        pieces.append(b'"')
        at = end + 2


def expect(verb: str, reply: Reply, codes: typing.Container[int]) -> Reply:
    """Return `reply` if its code is among `codes`.

    Raises:
        CommandRefused: it is not.
    """
    if reply.code not in codes:
        raise CommandRefused(verb, reply)
    return reply
