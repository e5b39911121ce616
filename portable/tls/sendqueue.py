"""What a TLS connection cannot encrypt yet: writes before the end of the handshake, and files with what
follows.
"""

from __future__ import annotations

import collections
import typing

from portable.deferred import Deferred
from portable.errors import ConnectionLost, FileError
from portable.files import file_error

__all__ = ["FILE_PIECE", "SendQueue"]

# Bytes of a file that are read at once.
FILE_PIECE = 64 * 1024


class _File:
    """A `send_file` that waits, or is under way."""

    __slots__ = ("done", "file", "left", "offset", "sent")

    def __init__(self, file: typing.BinaryIO, offset: int, count: int) -> None:
        self.file = file
        self.offset = offset
        self.left = count
        self.sent = 0
        self.done: Deferred[int] = Deferred()


class SendQueue:
    """Bytes and files, in the order in which they are to be sent.

    Attributes:
        size: bytes that wait. Files count for nothing: they are not in memory.
    """

    def __init__(self) -> None:
        self.size = 0
        self._items: collections.deque[bytes | _File] = collections.deque()

    def __len__(self) -> int:
        """Return how many writes and files wait."""
        return len(self._items)

    @property
    def file_is_next(self) -> bool:
        """Whether `take` would read a file."""
        return bool(self._items) and isinstance(self._items[0], _File)

    def add(self, plain: bytes) -> None:
        """Append `plain`, which is not empty."""
        self._items.append(plain)
        self.size += len(plain)

    def add_file(self, file: typing.BinaryIO, offset: int, count: int) -> Deferred[int]:
        """Append `count` bytes of `file`; see `portable.transport.Transport.send_file`."""
        item = _File(file, offset, count)
        self._items.append(item)
        return item.done

    def take(self) -> bytes:
        """Return the next bytes to send. They may be none, when a file is done: its Deferred has fired then."""
        item = self._items[0]
        if isinstance(item, _File):
            return self._read(item)
        self._items.popleft()
        self.size -= len(item)
        return item

    def _read(self, item: _File) -> bytes:
        piece = b""
        if item.left > 0:
            try:
                item.file.seek(item.offset + item.sent)
                piece = item.file.read(min(item.left, FILE_PIECE))
            except Exception as exc:  # noqa: BLE001 - whatever a file object raises, the Deferred tells it
                self._items.popleft()
                item.done.errback(_read_error(exc))
                return b""
        if piece:
            item.sent += len(piece)
            item.left -= len(piece)
        else:
            self._items.popleft()
            item.done.callback(item.sent)
        return piece

    def clear(self, reason: Exception | None) -> None:
        """Forget everything; the files' Deferreds fail with `reason` if it is a ConnectionLost, else with a new
        one.
        """
        items, self._items = self._items, collections.deque()
        self.size = 0
        lost = reason if isinstance(reason, ConnectionLost) else ConnectionLost("the connection has ended")
        for item in items:
            if isinstance(item, _File):
                item.done.errback(lost)


def _read_error(exc: Exception) -> FileError:
    if isinstance(exc, FileError):
        return exc
    if isinstance(exc, OSError):
        return file_error(exc, "the file being sent")
    return FileError(f"cannot read the file being sent: {exc}", "EIO")
