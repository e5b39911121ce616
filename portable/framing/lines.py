"""Lines.

What ends a line is the root of every smuggling attack: two programs that read one stream cut it at different
places. So it is declared, once, by `LineEnding`, and a refusal says which byte was wrong.
"""

from __future__ import annotations

import enum

from portable.errors import LocalProtocolError, RemoteProtocolError
from portable.framing.reader import Reader

__all__ = ["LineEnding", "LineReader", "encode_line"]

_CR = 13
# Below this many lines in a chunk, cutting it at once costs more than it saves.
_MANY_LINES = 3


class LineEnding(enum.Enum):
    """What ends a line."""

    # CR LF and nothing else. A CR or an LF that stands alone is an error (RFC 5321 2.3.8, RFC 9112 2.2).
    CRLF = "crlf"
    # LF, with or without one CR before it. Any other CR belongs to the line, and whoever passes lines on to
    # somebody stricter must look for it.
    LENIENT = "lenient"


class LineReader(Reader):
    """Cuts a stream into lines, and gives raw bytes when asked.

    Args:
        max_length: bytes a line may have, its ending not counted. A longer one is refused as soon as that is
            certain, so at most `max_length` bytes and one chunk are ever held for a reader that is emptied
            after each `receive_data`.
        ending: what ends a line.
    """

    def __init__(self, max_length: int, ending: LineEnding = LineEnding.CRLF) -> None:
        super().__init__()
        if max_length < 0:
            raise ValueError(f"max_length must not be negative: {max_length}")
        self._max_length = max_length
        self._strict = ending is LineEnding.CRLF
        # Lines cut ahead, the next one last, all whole and allowed; a cache of what begins at _pos.
        self._ready: list[bytes] = []
        self._ready_ending = 0  # the length of the ending of each of them
        self._fresh = False  # whether _data has not been tried for cutting ahead yet

    def next_line(self) -> bytes | None:
        """Return the next line without its ending, or None until it is complete.

        Raises:
            RemoteProtocolError: the line is too long or, where CRLF is demanded, has a bare CR or LF. An
                earlier error, again.
        """
        if self._ready:
            line = self._ready.pop()
            self._pos = self._scan = self._pos + len(line) + self._ready_ending
            return line
        if self._fresh:
            self._fresh = False
            if self._cut_ahead():
                return self.next_line()
        self._check()
        end = self._data.find(b"\n", self._scan)
        if end < 0:
            self._judge_unfinished()
            return None
        start = self._pos
        stop = end
        if end > start and self._data[end - 1] == _CR:
            stop -= 1
        line = bytes(self._data[start:stop])
        if self._strict:
            # The order of the tests is the order of the bytes, so that the error is the same for any split.
            bare = line.find(b"\r")
            if 0 <= bare <= self._max_length:
                raise self._fail("a CR without LF in a line that must end with CR LF")
            if len(line) > self._max_length:
                raise self._too_long()
            if stop == end:
                raise self._fail("an LF without CR before it in a line that must end with CR LF")
        elif len(line) > self._max_length:
            raise self._too_long()
        self._pos = self._scan = end + 1
        return line

    def _judge_unfinished(self) -> None:
        """Judge a line whose LF has not come yet; everything before _scan was judged before."""
        data = self._data
        limit = self._pos + self._max_length
        size = len(data)
        if self._strict:
            # The CR that is the last byte may be half of an ending.
            bare = data.find(b"\r", self._scan, size - 1)
            if 0 <= bare <= limit:
                raise self._fail("a CR without LF in a line that must end with CR LF")
        if size > limit + 1 or (size == limit + 1 and data[limit] != _CR):
            raise self._too_long()
        # One byte is looked at again, in case it is a CR.
        self._scan = max(self._pos, size - 1)

    def _too_long(self) -> RemoteProtocolError:
        return self._fail(f"a line of more than {self._max_length} bytes")

    def _cut_ahead(self) -> bool:
        """Cut all of _data at once if every line in it is plain and allowed: pipelining is then cheap."""
        data = self._data
        count = data.count(b"\n")
        if count < _MANY_LINES or self._pos or not isinstance(data, bytes):
            return False
        returns = data.count(b"\r")
        if returns == count and data.count(b"\r\n") == count:
            ending = b"\r\n"
        elif not returns and not self._strict:
            ending = b"\n"
        else:
            return False
        lines = data.split(ending)
        lines.pop()  # what follows the last ending
        if max(map(len, lines)) > self._max_length:
            return False
        lines.reverse()
        self._ready = lines
        self._ready_ending = len(ending)
        return True

    def _take(self, count: int) -> bytes:
        if self._ready:
            self._ready = []
        return super()._take(count)

    def _replace(self, data: bytes) -> None:
        super()._replace(data)
        # With lines cut ahead there is nothing to cut: the new bytes are cut when those are used up.
        self._fresh = not self._ready

    def _fail(self, reason: str) -> RemoteProtocolError:
        self._ready = []
        return super()._fail(reason)


def encode_line(line: bytes) -> bytes:
    r"""Return `line` with CR LF after it.

    Raises:
        LocalProtocolError: `line` has a CR or LF inside, which would let its content forge a second line.
    """
    if b"\r" in line or b"\n" in line:
        raise LocalProtocolError("a line to send must not have CR or LF inside")
    return line + b"\r\n"
