"""Files that records are appended to."""

from __future__ import annotations

import os
import stat

from portable.files import system
from portable.files.system import file_error, refusal, write_all

__all__ = ["AppendFile"]

# A log that is a FIFO without a reader must not block us.
_APPEND = os.O_APPEND | getattr(os, "O_NOCTTY", 0) | getattr(os, "O_NONBLOCK", 0)


class AppendFile:
    """A file to which whole records are appended, such as a log.

    Each `write` is one system call with O_APPEND, so records of several processes do not mix. Nothing is
    buffered: collect records and write many at once. The file may be renamed meanwhile (rotation): `reopen`
    then makes a new one.
    """

    def __init__(self, path: str, mode: int = 0o640) -> None:
        """Open `path`, made with the permissions `mode` (less the umask) if it does not exist.

        Raises:
            FileError: it cannot be opened; ENXIO for a FIFO that nobody reads.
        """
        self.path = path
        self._mode = mode
        self._fd = self._open()

    def _open(self) -> int:
        try:
            fd = os.open(self.path, system.CREATE | _APPEND, self._mode)
        except OSError as exc:
            raise file_error(exc, self.path) from exc
        except ValueError as exc:
            raise refusal(self.path, "ENOENT") from exc
        return fd

    def write(self, data: bytes) -> None:
        """Append `data`, whole unless the disk is full.

        Raises:
            FileError: ENOSPC, EIO...; a part of `data` may have been written. EBADF after `close`.
        """
        if self._fd < 0:
            raise refusal(self.path, "EBADF")
        try:
            write_all(self._fd, data)
        except OSError as exc:
            raise file_error(exc, self.path) from exc

    def size(self) -> int:
        """Return the file's size in bytes.

        Raises:
            FileError: the system refused; EBADF after `close`.
        """
        if self._fd < 0:
            raise refusal(self.path, "EBADF")
        try:
            return os.fstat(self._fd).st_size
        except OSError as exc:
            raise file_error(exc, self.path) from exc

    def give_to(self, uid: int, gid: int) -> None:
        """Make the file belong to that user and group. As root, which may be about to become them.

        Only a regular file with no other name, at the path itself: through a link somebody could have a file
        given to them that was never a log.

        Raises:
            FileError: the system refused.
        """
        try:
            status = os.fstat(self._fd)
            if (
                stat.S_ISREG(status.st_mode)
                and status.st_nlink == 1
                and os.path.samestat(status, os.lstat(self.path))
            ):
                os.fchown(self._fd, uid, gid)
        except OSError as exc:
            raise file_error(exc, self.path) from exc

    def reopen(self) -> None:
        """Open the path anew, making the file if it is gone; what was open before is closed.

        Raises:
            FileError: it cannot be opened; the old one then stays in use.
        """
        fd = self._open()
        self.close()
        self._fd = fd

    def close(self) -> None:
        """Close it. Idempotent."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
