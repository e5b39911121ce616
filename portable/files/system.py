"""What this system can do with files, how it is asked, and how its errors leave as ours."""

from __future__ import annotations

import errno
import os
import stat

from portable.errors import FileError

__all__ = [
    "CREATE",
    "HAS_DIR_FD",
    "NO_FOLLOW",
    "PASS",
    "READ",
    "WINDOWS",
    "file_error",
    "is_reparse_point",
    "refusal",
    "write_all",
]

HAS_DIR_FD = os.open in os.supports_dir_fd and os.stat in os.supports_dir_fd and hasattr(os, "O_NOFOLLOW")
WINDOWS = os.name == "nt"
# A FIFO must not block us, a terminal not become ours, a child not inherit it, Windows not change line ends.
READ = (
    os.O_RDONLY
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_NOCTTY", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
)
NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)
# With O_PATH a folder that may be passed through but not read can be passed through.
PASS = getattr(os, "O_PATH", os.O_RDONLY) | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0)
CREATE = os.O_WRONLY | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


def file_error(exc: OSError, path: str) -> FileError:
    """Return the FileError for `exc`, with a message that names `path`."""
    code = errno.errorcode.get(exc.errno or 0, "EIO")
    return FileError(f"{path!r}: {exc.strerror or exc}", code)


def refusal(path: str, code: str) -> FileError:
    """Return the FileError that the system would give for `path` with the errno name `code`."""
    return FileError(f"{path!r}: {os.strerror(getattr(errno, code))}", code)


def is_reparse_point(result: os.stat_result) -> bool:
    """Return whether it is one of Windows' junctions and mount points: they lead elsewhere and are no symbolic
    links.
    """
    return bool(getattr(result, "st_file_attributes", 0) & stat.FILE_ATTRIBUTE_REPARSE_POINT)


def write_all(fd: int, data: bytes) -> None:
    """Write the whole of `data`, in as many calls as the system wants.

    Raises:
        OSError: the system refused; a part may have been written.
    """
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
