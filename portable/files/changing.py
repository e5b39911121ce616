"""Changes in a folder: made beneath a root, because the folder was opened by `open_beneath`.

Each takes an open folder and the name of one thing in it, and none follows a symbolic link with that name. For
threads: a disk may be slow.
"""

from __future__ import annotations

import contextlib
import os
import stat
import typing

from portable.files import system
from portable.files.beneath import check_segment, open_beneath
from portable.files.opened import FileStatus, OpenFile, status_of
from portable.files.system import file_error, refusal, write_all

if typing.TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "WritableFile",
    "make_folder",
    "open_if_there",
    "open_to_write",
    "remove_file",
    "remove_folder",
    "rename",
    "set_mode",
    "set_modified",
]

# A FIFO must not block us, nor a terminal become ours.
_WRITE = system.CREATE | system.NO_FOLLOW | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)


@contextlib.contextmanager
def _place(folder: OpenFile, name: str) -> Iterator[tuple[str, int | None]]:
    """Give what system calls take for `name` in `folder`: a path, and a descriptor that it is relative to."""
    check_segment(name, name)
    if not folder.status.is_dir:
        raise refusal(name, "ENOTDIR")
    try:
        if system.HAS_DIR_FD:
            yield name, folder.fileno()
        else:
            yield os.path.join(folder.path, name), None
    except OSError as exc:
        raise file_error(exc, name) from exc
    except ValueError as exc:
        # A name that the file system's encoding cannot express.
        raise refusal(name, "ENOENT") from exc


class WritableFile:
    """A regular file, open for writing. Close it. Its methods are for one thread at a time.

    Attributes:
        status: as it was when opened.
    """

    def __init__(self, fd: int, status: FileStatus, name: str) -> None:
        self.status = status
        self._fd = fd
        self._name = name

    def start_at(self, offset: int | None) -> None:
        """Have the next `write` go to `offset`, and drop what follows it; None for the end of the file.

        Raises:
            FileError: the system refused.
        """
        try:
            if offset is None:
                os.lseek(self._fd, 0, os.SEEK_END)
            else:
                os.ftruncate(self._fd, offset)
                os.lseek(self._fd, offset, os.SEEK_SET)
        except OSError as exc:
            raise file_error(exc, self._name) from exc

    def write(self, data: bytes) -> None:
        """Write the whole of `data`.

        Raises:
            FileError: ENOSPC, EIO...; a part may have been written.
        """
        try:
            write_all(self._fd, data)
        except OSError as exc:
            raise file_error(exc, self._name) from exc

    def sync(self) -> None:
        """Have what was written survive a power failure, when this returns.

        Raises:
            FileError: it has not arrived.
        """
        try:
            os.fsync(self._fd)
        except OSError as exc:
            raise file_error(exc, self._name) from exc

    def close(self) -> None:
        """Close it. Idempotent.

        Raises:
            FileError: what was written before has not arrived, as the system only says now.
        """
        fd, self._fd = self._fd, -1
        if fd >= 0:
            try:
                os.close(fd)
            except OSError as exc:
                raise file_error(exc, self._name) from exc


def open_to_write(folder: OpenFile, name: str, *, exclusive: bool = False) -> WritableFile:
    """Open the regular file `name`, making it if it is not there (with what the umask leaves of rw-rw-rw-).

    What it holds stays, see `WritableFile.start_at`.

    Args:
        exclusive: the file must not be there yet.

    Raises:
        FileError: EEXIST, ELOOP for a link, EISDIR, EINVAL for a device or a FIFO, which is not opened; or as
            the system says.
    """
    with _place(folder, name) as (path, dir_fd):
        created = not _is_there(path, dir_fd, name, exclusive)
        # Exclusive also where there was nothing: what has come since was not looked at.
        return _opened(path, dir_fd, name, _WRITE | (os.O_EXCL if created else 0))


def open_if_there(folder: OpenFile, name: str, *, exclusive: bool = False) -> WritableFile | None:
    """Open the regular file `name` as `open_to_write` does, but make none: return None where one could be made.

    Raises:
        FileError: as `open_to_write`; EACCES too where nothing can be made in the folder, if the system knows.
    """
    with _place(folder, name) as (path, dir_fd):
        if _is_there(path, dir_fd, name, exclusive):
            return _opened(path, dir_fd, name, _WRITE & ~os.O_CREAT)
        effective = os.access in os.supports_effective_ids
        where = folder.path if dir_fd is None else "."
        if not os.access(where, os.W_OK | os.X_OK, dir_fd=dir_fd, effective_ids=effective):
            raise refusal(name, "EACCES")
        return None


def _is_there(path: str, dir_fd: int | None, name: str, exclusive: bool) -> bool:
    """Return whether there is a regular file; refuse what else there may be, and one too if `exclusive`."""
    try:
        result = os.stat(path, dir_fd=dir_fd, follow_symlinks=False)
    except FileNotFoundError:
        return False
    if exclusive:
        raise refusal(name, "EEXIST")
    _refuse_irregular(result, name)
    return True


def _opened(path: str, dir_fd: int | None, name: str, flags: int) -> WritableFile:
    fd = os.open(path, flags, 0o666, dir_fd=dir_fd)
    result = os.fstat(fd)
    if not stat.S_ISREG(result.st_mode):
        os.close(fd)
        raise refusal(name, "EINVAL")
    return WritableFile(fd, status_of(result), name)


def _refuse_irregular(result: os.stat_result, name: str) -> None:
    if stat.S_ISLNK(result.st_mode) or system.is_reparse_point(result):
        raise refusal(name, "ELOOP")
    if stat.S_ISDIR(result.st_mode):
        raise refusal(name, "EISDIR")
    if not stat.S_ISREG(result.st_mode):
        raise refusal(name, "EINVAL")


def make_folder(folder: OpenFile, name: str) -> None:
    """Make the folder `name`, with what the umask leaves of rwxrwxrwx.

    Raises:
        FileError: EEXIST; or as the system says.
    """
    with _place(folder, name) as (path, dir_fd):
        os.mkdir(path, dir_fd=dir_fd)


def remove_file(folder: OpenFile, name: str) -> None:
    """Remove the file `name`; of a link, the link.

    Raises:
        FileError: EISDIR for a folder; or as the system says.
    """
    with _place(folder, name) as (path, dir_fd):
        # Some systems let root unlink folders, and others say EPERM.
        if stat.S_ISDIR(os.stat(path, dir_fd=dir_fd, follow_symlinks=False).st_mode):
            raise refusal(name, "EISDIR")
        os.unlink(path, dir_fd=dir_fd)


def remove_folder(folder: OpenFile, name: str) -> None:
    """Remove the empty folder `name`.

    Raises:
        FileError: ENOTEMPTY, ENOTDIR; or as the system says.
    """
    with _place(folder, name) as (path, dir_fd):
        os.rmdir(path, dir_fd=dir_fd)


def rename(folder: OpenFile, name: str, target: OpenFile, target_name: str, *, replace: bool = True) -> None:
    """Give the file or folder `name` another name, in the folder `target`.

    Args:
        replace: a file that has the new name goes; otherwise EEXIST, unless it comes in the very moment.

    Raises:
        FileError: as the system says.
    """
    with _place(target, target_name) as (new, new_fd), _place(folder, name) as (old, old_fd):
        if not replace:
            try:
                os.stat(new, dir_fd=new_fd, follow_symlinks=False)
            except FileNotFoundError:
                pass
            else:
                raise refusal(target_name, "EEXIST")
        os.replace(old, new, src_dir_fd=old_fd, dst_dir_fd=new_fd)


def set_modified(folder: OpenFile, name: str, mtime_ns: int) -> None:
    """Set when the content of `name` was changed last, in nanoseconds since 1970. The time of access stays.

    Raises:
        FileError: as the system says; EINVAL for a time that it cannot hold.
    """
    with _place(folder, name) as (path, dir_fd):
        before = os.stat(path, dir_fd=dir_fd, follow_symlinks=False)
        try:
            if os.utime in os.supports_follow_symlinks:
                times = (before.st_atime_ns, mtime_ns)
                os.utime(path, ns=times, dir_fd=dir_fd, follow_symlinks=False)
            else:
                os.utime(path, ns=(before.st_atime_ns, mtime_ns))
        except OverflowError as exc:
            raise refusal(name, "EINVAL") from exc


def set_mode(folder: OpenFile, name: str, mode: int) -> None:
    """Set the permission bits of the file or folder `name`, which must be readable to us.

    It is opened for that, because no system call changes them by name and is sure not to follow a link.

    Raises:
        FileError: ELOOP for a link; or as the system says.
    """
    check_segment(name, name)
    with open_beneath(folder, [name]) as opened:
        try:
            if not system.HAS_DIR_FD:
                os.chmod(opened.path, mode)
            elif opened.file is not None:
                os.fchmod(opened.file.fileno(), mode)
            else:
                fd = os.open(".", system.READ, dir_fd=opened.fileno())
                try:
                    os.fchmod(fd, mode)
                finally:
                    os.close(fd)
        except OSError as exc:
            raise file_error(exc, name) from exc
