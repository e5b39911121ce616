"""A piece of a file on its way into a socket, by sendfile where the system has it."""

from __future__ import annotations

import errno
import os
import typing

from backends.sockets.oserrors import error_code
from portable.deferred import Deferred
from portable.errors import FileError, describe

if typing.TYPE_CHECKING:
    from portable.errors import FrameworkError
    from portable.transport import Buffer

__all__ = ["FileRegion"]

# Bytes asked of one sendfile. The socket's buffer takes less in nearly every case.
_CHUNK = 4 * 1024 * 1024
# Bytes read at once where there is no sendfile.
_READ = 256 * 1024

# sendfile cannot work with this pair of descriptors; reading and writing can.
_NO_SENDFILE = frozenset({errno.EINVAL, errno.ENOSYS, errno.ENOTSOCK, errno.EOPNOTSUPP})
# What only the file's side of a sendfile can say.
_FILE_ERRORS = frozenset({errno.EIO, errno.EOVERFLOW, errno.EBADF, errno.EISDIR, errno.ESPIPE})


class FileRegion:
    """`left` bytes of `file` from `offset`, to be sent in order with the other chunks of a stream.

    Attributes:
        left: bytes still to send.
        begun: for the stream: whether it has begun to send.
        done: nothing more will be sent: all was, or the file ended or failed before.
        sent: the Deferred that `Transport.send_file` gives.
    """

    __slots__ = ("_count", "_error", "_fd", "_file", "_offset", "begun", "done", "left", "sent")

    def __init__(self, file: typing.BinaryIO, offset: int, count: int) -> None:
        self._file = file
        try:
            self._fd = file.fileno()
        except (AttributeError, OSError, ValueError):  # it has none (io.UnsupportedOperation), or is closed
            self._fd = -1
        self._offset = offset
        self._count = count
        self._error: FrameworkError | None = None
        self.left = count
        self.begun = False
        self.done = count == 0
        self.sent: Deferred[int] = Deferred()

    def read_small(self, limit: int) -> bytes | None:
        """Return the whole region if it is at most `limit` bytes long, else None and nothing has happened."""
        if self.left > limit:
            return None
        data = b""
        while self.left:
            chunk = self._read(self.left)
            if not chunk:
                break
            data += chunk
            self._advance(len(chunk))
        self.done = True
        return data

    def take(self, size: int) -> bytes:
        """Return the next bytes, at most `size`, for whoever sends them in another way than `send_to`; b"" when
        there are no more, with `done` set.
        """
        data = self._read(min(self.left, size)) if self.left else b""
        if data:
            self._advance(len(data))
        else:
            self.done = True
        return data

    def put_back(self, count: int) -> None:
        """Have the last `count` bytes that `take` gave be taken once more: they were not sent."""
        self._offset -= count
        self.left += count
        self.done = False

    def send_to(self, fd: int, send: typing.Callable[[Buffer], int]) -> int:
        """Send once what the stream with descriptor `fd` takes, and return how many bytes that were.

        Raises:
            OSError: the stream failed, or is full (BlockingIOError).
        """
        sent = self._sendfile(fd) if self._fd >= 0 and hasattr(os, "sendfile") else -1
        if sent < 0 and not self.done:
            data = self._read(min(self.left, _READ))
            sent = send(data) if data else 0
        if sent > 0:
            self._advance(sent)
        else:
            self.done = True  # the file is shorter than it was said to be
        return max(sent, 0)

    def _sendfile(self, fd: int) -> int:
        """Return the number of bytes sent, or -1 if sendfile cannot do it or `_error` says why it failed."""
        if self._file_closed():
            return -1  # `_read` says so
        try:
            return os.sendfile(fd, self._fd, self._offset, min(self.left, _CHUNK))
        except OSError as exc:
            if exc.errno in _NO_SENDFILE:
                return -1
            if exc.errno in _FILE_ERRORS:
                self._fail_reading(exc)
                return -1
            raise

    def _read(self, size: int) -> bytes:
        try:
            if self._file_closed():
                raise OSError(errno.EBADF, os.strerror(errno.EBADF))
            if self._fd >= 0 and hasattr(os, "pread"):
                return os.pread(self._fd, size, self._offset)
            self._file.seek(self._offset)
            return self._file.read(size)
        except OSError as exc:
            self._fail_reading(exc)
        except Exception as exc:  # whatever a file object that is none of the system's may raise
            self._fail_reading(OSError(errno.EIO, str(exc)))
        return b""

    def _file_closed(self) -> bool:
        """Return whether it was closed too early: its descriptor's number may be another file's by now."""
        return getattr(self._file, "closed", False)

    def _fail_reading(self, exc: OSError) -> None:
        code = error_code(exc)
        self._error = FileError(f"cannot read the file being sent: {describe(code)}", code)
        self.done = True

    def _advance(self, count: int) -> None:
        self._offset += count
        self.left -= count
        self.done = self.left == 0

    def finish(self, error: FrameworkError | None = None) -> None:
        """Tell whoever sent the file how it went; `error` if the connection ended before the region."""
        error = self._error or error
        if self.sent.called:  # cancelled: whoever sent it does not want to know
            return
        if error is not None:
            self.sent.errback(error)
        else:
            self.sent.callback(self._count - self.left)
