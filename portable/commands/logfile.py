"""The log file of a running server: rotated, reopened, and no reason to stop when the disk is full."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import stat
import sys

from portable.commands.usage import CommandError

__all__ = ["KEPT", "ROTATE_AT", "FileLog", "StreamLog"]

ROTATE_AT = 1_000_000  # bytes
# Older files are removed: with the current one the log never takes more than 11 MB.
KEPT = 10

_log = logging.getLogger("twistd")

_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NOCTTY | os.O_NONBLOCK


class _Log(logging.Handler):
    """Writes each record with one system call; a record that cannot be written is counted, and dropped.

    Once writing works again, one line says how many were lost.
    """

    def __init__(self) -> None:
        super().__init__()
        self.lost = 0
        self._reason = ""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record. Never raises."""
        try:
            line = self.format(record) + "\n"
            if self.lost:
                note = f"{self.lost} log records before this one were lost: {self._reason}"
                lost = logging.LogRecord(_log.name, logging.WARNING, "", 0, note, None, None)
                line = f"{self.format(lost)}\n{line}"
            self._write(line.encode("utf-8", "backslashreplace"))
        except OSError as error:
            self.lost += 1
            self._reason = error.strerror or str(error)
        else:
            self.lost = 0

    def _write(self, data: bytes) -> None:
        raise NotImplementedError


class StreamLog(_Log):
    """The log on standard output."""

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(sys.stdout.fileno(), view) :]

    def reopen(self) -> None:
        """There is nothing to open."""

    def rotate(self) -> bool:
        """There is nothing to rotate."""
        return True


class FileLog(_Log):
    """The log in a file, `twistd.log`; older ones are `twistd.log.1` (the newest) to `twistd.log.10`.

    A rotation renames, from the oldest to the current one, and then opens a new file: whenever the process is
    killed, every file that is there is whole. A gap in the numbers that is left then does no harm.

    The folder is opened once, before privileges are dropped or the root folder changes: afterwards its path may
    lead nowhere.
    """

    def __init__(self, path: str, rotate_at: int = ROTATE_AT, kept: int = KEPT) -> None:
        """Open `path` with mode 0640 (less the umask) if it is made.

        Raises:
            CommandError: it cannot be opened, is a symbolic link, or is a folder or device.
        """
        super().__init__()
        self.path = path
        folder, self._name = os.path.split(os.path.abspath(path))
        self._folder = -1
        self._rotate_at = rotate_at
        self._kept = kept
        self._fd = -1
        self._size = 0
        self._complained = False
        try:
            self._folder = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            self._open()
        except OSError as error:
            reason = "it is a symbolic link" if error.errno == errno.ELOOP else error.strerror
            raise CommandError(
                f"cannot open the log file {path!r}: {reason}; choose another with -l"
            ) from error

    def _open(self) -> None:
        fd = os.open(self._name, _FLAGS, 0o640, dir_fd=self._folder)
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            os.close(fd)
            raise OSError(errno.EINVAL, "it is not a regular file", self.path)
        if self._fd >= 0:
            # Under the number that children and others may know.
            os.dup2(fd, self._fd, inheritable=False)
            os.close(fd)
        else:
            self._fd = fd
        self._size = status.st_size

    def give_to(self, uid: int, gid: int) -> None:
        """Make the file belong to the user that the process is about to become. As root."""
        os.fchown(self._fd, uid, gid)

    def _write(self, data: bytes) -> None:
        if self._size and self._size + len(data) > self._rotate_at:
            self._rotate()
        written = os.write(self._fd, data)
        if written < len(data):
            # The disk is full. Half a record would run into the next one.
            end = os.lseek(self._fd, 0, os.SEEK_END)
            os.ftruncate(self._fd, end - written)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self.path)
        self._size += written

    def reopen(self) -> None:
        """Open the path anew: somebody may have moved the file. If that fails, the old one stays in use."""
        self.acquire()
        try:
            self._open()
        except OSError as error:
            problem = error.strerror
        else:
            problem = ""
        finally:
            self.release()
        if problem:
            _log.error("cannot reopen the log: %s", problem)

    def rotate(self) -> bool:
        """Begin a new file now, unless the current one is empty.

        Returns:
            Whether that worked. If not, the log says why.
        """
        self.acquire()
        try:
            # Whoever asks is told, even if a rotation at the size has failed before.
            self._complained = False
            return not os.fstat(self._fd).st_size or self._rotate()
        finally:
            self.release()

    def _rotate(self) -> bool:
        try:
            for number in range(self._kept - 1, 0, -1):
                with contextlib.suppress(FileNotFoundError):
                    self._rename(f"{self._name}.{number}", f"{self._name}.{number + 1}")
            # If somebody has moved the current file away, that is as good as rotated.
            with contextlib.suppress(FileNotFoundError):
                self._rename(self._name, f"{self._name}.1")
            self._open()
        except OSError as error:
            self._cannot_rotate(error)
            return False
        self._complained = False
        return True

    def _rename(self, old: str, new: str) -> None:
        os.replace(old, new, src_dir_fd=self._folder, dst_dir_fd=self._folder)

    def _cannot_rotate(self, error: OSError) -> None:
        # The log grows on in the old file; one try for each further ROTATE_AT bytes is enough.
        self._size = 0
        if not self._complained:
            self._complained = True
            note = f"cannot rotate the log, it goes on in the same file: {error.strerror}"
            record = logging.LogRecord(_log.name, logging.WARNING, "", 0, note, None, None)
            # A disk that has no room for a new file may have none for this line.
            with contextlib.suppress(OSError):
                os.write(self._fd, f"{self.format(record)}\n".encode())

    def close(self) -> None:
        """Close the file. Idempotent."""
        for fd in (self._fd, self._folder):
            if fd >= 0:
                os.close(fd)
        self._fd = self._folder = -1
        super().close()
