"""Files that are read or written whole, by paths that are trusted."""

from __future__ import annotations

import os
import secrets

from portable.files import system
from portable.files.opened import open_file
from portable.files.system import file_error, refusal, write_all

__all__ = ["read_file", "write_atomically"]


def read_file(path: str, limit: int) -> bytes:
    """Return the content of the regular file `path`, a trusted path; links are followed.

    Raises:
        FileError: EFBIG if it has more than `limit` bytes; EINVAL if it is a device or a FIFO, which is not
            read; or as the system says.
    """
    with open_file(path) as opened:
        data = opened.read(0, limit + 1)
    if len(data) > limit:
        raise refusal(path, "EFBIG")
    return data


def write_atomically(path: str, data: bytes, mode: int = 0o600) -> None:
    """Make `data` the content of `path`; a crash at any moment leaves the old content or the new, whole.

    The data is written aside in the same folder under a name of its own, forced to the disk, and renamed;
    what a crash leaves behind is named `.NAME.<random>.tmp` and is never taken for anything. A link at `path`
    is replaced, not followed. When this returns, the new content survives a power failure.

    Args:
        mode: the file's permissions, exactly (no umask).

    Raises:
        FileError: nothing has changed then, unless only the last step failed, forcing the folder to the disk.
    """
    folder, name = os.path.split(path)
    aside = os.path.join(folder, f".{name}.{secrets.token_hex(8)}.tmp")
    try:
        fd = os.open(aside, system.CREATE | os.O_EXCL | system.NO_FOLLOW, mode)
        try:
            try:
                if hasattr(os, "fchmod"):
                    os.fchmod(fd, mode)
                write_all(fd, data)
                os.fsync(fd)
            finally:
                os.close(fd)
            os.replace(aside, path)
        except BaseException:
            os.unlink(aside)
            raise
        _sync_folder(folder or ".")
    except OSError as exc:
        raise file_error(exc, path) from exc
    except ValueError as exc:
        raise refusal(path, "ENOENT") from exc


def _sync_folder(folder: str) -> None:
    if system.WINDOWS:
        return
    fd = os.open(folder, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
