"""The boundary to the file system: what raises `OSError` here leaves as `portable.errors.FileError`.

Nothing in this module waits for a peer, but a disk may be slow. What is meant for the loop's own thread says
so; everything else belongs in start-up code or in `Threads.run_in_thread`.

`open_beneath` is the only way in which a server may turn a name that a client sent into an open file. It
walks from the root one component at a time, each opened relative to the folder before it and never through a
symbolic link (`openat` with `O_NOFOLLOW`), so that neither ".." nor a link anywhere on the way, nor one that
is swapped in while we walk, leads out of the root. Systems without `openat` (Windows) get checks of each
component and a comparison of what was opened with what was checked; there somebody who can write below the
root may still win a race.
"""

from __future__ import annotations

import errno
import io
import os
import secrets
import stat
import typing
from dataclasses import dataclass

from portable.errors import FileError

if typing.TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "MAX_LINKS",
    "AppendFile",
    "FileStatus",
    "FolderEntry",
    "OpenFile",
    "file_error",
    "file_status",
    "open_beneath",
    "open_file",
    "read_file",
    "write_atomically",
]

# Symbolic links followed in one `open_beneath`, as many as Linux follows itself.
MAX_LINKS = 40

_HAS_DIR_FD = os.open in os.supports_dir_fd and os.stat in os.supports_dir_fd and hasattr(os, "O_NOFOLLOW")
_WINDOWS = os.name == "nt"
# A FIFO must not block us, a terminal not become ours, a child not inherit it, Windows not change line ends.
_READ = (
    os.O_RDONLY
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_NOCTTY", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
)
_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)
# With O_PATH a folder that may be passed through but not read can be passed through.
_PASS = getattr(os, "O_PATH", os.O_RDONLY) | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0)
_WRITE = os.O_WRONLY | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
# A log that is a FIFO without a reader must not block us.
_APPEND = os.O_APPEND | getattr(os, "O_NOCTTY", 0) | getattr(os, "O_NONBLOCK", 0)
# Names that are devices in every folder of Windows, with any extension.
_DEVICES = frozenset(
    ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"]
    + [name + digit for name in ("COM", "LPT") for digit in "0123456789\u00b9\u00b2\u00b3"]
)


@dataclass(frozen=True, slots=True)
class FileStatus:
    """What the system knows about a regular file or a folder."""

    size: int  # bytes
    mtime_ns: int  # last change of the content, nanoseconds since 1970 UTC
    inode: int
    device: int
    is_dir: bool
    owner: int = -1  # user id; -1 where it is not known
    mode: int = 0  # permissions, as of chmod


class FolderEntry(typing.NamedTuple):
    """One name in a folder. `size` and `mtime_ns` as in FileStatus; for a link they are the link's own."""

    name: str
    is_dir: bool
    is_link: bool
    size: int
    mtime_ns: int


def file_error(exc: OSError, path: str) -> FileError:
    """Return the FileError for `exc`, with a message that names `path`."""
    code = errno.errorcode.get(exc.errno or 0, "EIO")
    return FileError(f"{path!r}: {exc.strerror or exc}", code)


def _refusal(path: str, code: str) -> FileError:
    return FileError(f"{path!r}: {os.strerror(getattr(errno, code))}", code)


def _status(result: os.stat_result) -> FileStatus:
    return FileStatus(
        result.st_size,
        result.st_mtime_ns,
        result.st_ino,
        result.st_dev,
        stat.S_ISDIR(result.st_mode),
        result.st_uid,
        stat.S_IMODE(result.st_mode),
    )


class OpenFile:
    """A regular file or a folder, open for reading. Close it: also a context manager.

    Attributes:
        status: as it was when opened.
        path: how it was named, for messages.
        file: the open regular file, for `Transport.send_file`; None for a folder.
    """

    def __init__(self, status: FileStatus, fd: int, path: str) -> None:
        self.status = status
        self.path = path
        # Folders keep the bare descriptor (-1 where the system cannot open folders).
        self._fd = fd if status.is_dir else -1
        self.file: io.FileIO | None = None if status.is_dir else io.FileIO(fd, "rb")

    def __enter__(self) -> typing.Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def fileno(self) -> int:
        """Return a folder's descriptor, good only for walking on from it; -1 for files or when closed."""
        return self._fd

    def close(self) -> None:
        """Close it. Idempotent."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
        if self.file is not None:
            self.file.close()

    def read(self, offset: int, count: int) -> bytes:
        """Return `count` bytes from `offset`, fewer only where the file ends. For small counts on the loop.

        Raises:
            FileError: the disk failed, this is a folder (EISDIR), or it was closed (EBADF).
        """
        if self.file is None:
            raise _refusal(self.path, "EISDIR")
        if self.file.closed:
            raise _refusal(self.path, "EBADF")
        try:
            self.file.seek(offset)
            parts: list[bytes] = []
            while count > 0:
                part = self.file.read(count)
                if not part:
                    break
                parts.append(part)
                count -= len(part)
        except OSError as exc:
            raise file_error(exc, self.path) from exc
        return b"".join(parts)

    def list_directory(self, limit: int) -> tuple[list[FolderEntry], bool]:
        """Return the names in this folder, sorted by code point, and whether there were more than `limit`.

        Regular files, folders and links only. Of a folder with more than `limit` names it is undefined which of
        them are returned. Takes about 5 microseconds for each name: call it in a thread.

        Raises:
            FileError: ENOTDIR if this is a file; or the system refused.
        """
        if not self.status.is_dir:
            raise _refusal(self.path, "ENOTDIR")
        entries: list[FolderEntry] = []
        complete = True
        try:
            # Our descriptor may only be good for passing through, and others may be listing with it.
            fd = os.open(".", _READ, dir_fd=self._fd) if _HAS_DIR_FD else -1
            try:
                with os.scandir(fd if fd >= 0 else self.path) as names:
                    for name in names:
                        if len(entries) >= limit:
                            complete = False
                            break
                        entry = _entry(name)
                        if entry is not None:
                            entries.append(entry)
            finally:
                if fd >= 0:
                    os.close(fd)
        except OSError as exc:
            raise file_error(exc, self.path) from exc
        entries.sort()
        return entries, not complete


def _entry(name: os.DirEntry[str]) -> FolderEntry | None:
    try:
        result = name.stat(follow_symlinks=False)
    except OSError:
        # Removed since its name was read.
        return None
    mode = result.st_mode
    is_link = stat.S_ISLNK(mode) or _is_reparse_point(result)
    if not is_link and not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
        return None
    return FolderEntry(
        name.name, stat.S_ISDIR(mode) and not is_link, is_link, result.st_size, result.st_mtime_ns
    )


def _is_reparse_point(result: os.stat_result) -> bool:
    # Windows: junctions and mount points lead elsewhere too, and are no symbolic links.
    return bool(getattr(result, "st_file_attributes", 0) & stat.FILE_ATTRIBUTE_REPARSE_POINT)


def _check_segment(segment: str, path: str) -> None:
    """Refuse what is not the name of one thing in one folder. Refusals are ENOENT: no such name can exist."""
    if segment in {"", ".", ".."} or "/" in segment or "\0" in segment:
        raise _refusal(path, "ENOENT")
    if _WINDOWS:
        # "\" separates, ":" begins a drive or a stream ("x.php::$DATA"), "~" could be a short (8.3) name of
        # something hidden, trailing dots and spaces are dropped by the system so that a check of the name
        # would be passed by.
        stem = segment.split(".", 1)[0].rstrip(" ").upper()
        if (
            any(char in '\\:*?"<>|~' or char < " " for char in segment)
            or segment[-1] in ". "
            or stem in _DEVICES
        ):
            raise _refusal(path, "ENOENT")


def open_beneath(root: str | OpenFile, segments: Sequence[str], *, follow_links: bool = False) -> OpenFile:
    """Open the file or folder that is reached from `root` by `segments`, for reading. Fast enough for the loop.

    Never leaves `root`, whatever `segments` hold and whoever changes the tree meanwhile; see the module's text.
    Devices, FIFOs and sockets are refused without being opened.

    Args:
        root: a folder: a path, itself trusted (it may be a symbolic link), or one that is open.
        segments: one name each. None: the root.
        follow_links: follow symbolic links whose target is a relative path that stays beneath `root` all along
            (".." in it never climbs above). Otherwise, and all others: ELOOP.

    Raises:
        FileError: ENOENT (also for names that cannot exist: "..", "a/b", names with NUL), ENOTDIR, EACCES,
            ELOOP (a link that is not followed), EINVAL (neither file nor folder), EMFILE, ENAMETOOLONG...
    """
    shown = "/".join(segments) or (root if isinstance(root, str) else ".")
    for segment in segments:
        _check_segment(segment, shown)
    try:
        if not _HAS_DIR_FD:
            return _open_by_path(root, segments, shown)
        return _open_by_descriptor(root, segments, shown, follow_links)
    except OSError as exc:
        raise file_error(exc, shown) from exc
    except ValueError as exc:
        # A name that the file system's encoding cannot express.
        raise _refusal(shown, "ENOENT") from exc


def _open_by_descriptor(
    root: str | OpenFile, segments: Sequence[str], shown: str, follow_links: bool
) -> OpenFile:
    # The folders from the root to where we are: ".." in a link goes back in this list, not in the file system.
    folders = [os.open(root, _PASS) if isinstance(root, str) else os.open(".", _PASS, dir_fd=root.fileno())]
    links = 0
    try:
        todo = list(reversed(segments))
        while todo:
            name = todo.pop()
            if name == "..":
                if len(folders) == 1:
                    raise _refusal(shown, "ELOOP")
                os.close(folders.pop())
                continue
            mode = os.stat(name, dir_fd=folders[-1], follow_symlinks=False).st_mode
            if stat.S_ISLNK(mode):
                links += 1
                target = os.readlink(name, dir_fd=folders[-1])
                if not follow_links or links > MAX_LINKS or target.startswith("/"):
                    raise _refusal(shown, "ELOOP")
                parts = [part for part in target.split("/") if part not in {"", "."}]
                todo.extend(reversed(parts))
            elif stat.S_ISDIR(mode):
                folders.append(os.open(name, _PASS | _NO_FOLLOW, dir_fd=folders[-1]))
            elif todo:
                raise _refusal(shown, "ENOTDIR")
            elif stat.S_ISREG(mode):
                return _verified(os.open(name, _READ | _NO_FOLLOW, dir_fd=folders[-1]), shown, shown)
            else:
                raise _refusal(shown, "EINVAL")
        return _verified(folders.pop(), shown, shown)
    finally:
        for fd in folders:
            os.close(fd)


def _verified(fd: int, path: str, shown: str, before: os.stat_result | None = None) -> OpenFile:
    """Return the open file, or close it and refuse it: since the check the name may have changed."""
    result = os.fstat(fd)
    wanted = stat.S_ISREG(result.st_mode) or stat.S_ISDIR(result.st_mode)
    if not wanted or (before is not None and not os.path.samestat(result, before)):
        os.close(fd)
        raise _refusal(shown, "EINVAL")
    return OpenFile(_status(result), fd, path)


def _open_by_path(root: str | OpenFile, segments: Sequence[str], shown: str) -> OpenFile:
    path = root if isinstance(root, str) else root.path
    before = os.stat(path)
    for segment in segments:
        if not stat.S_ISDIR(before.st_mode):
            raise _refusal(shown, "ENOTDIR")
        path = os.path.join(path, segment)
        before = os.lstat(path)
        if stat.S_ISLNK(before.st_mode) or _is_reparse_point(before):
            raise _refusal(shown, "ELOOP")
    if stat.S_ISDIR(before.st_mode):
        return OpenFile(_status(before), -1, path)
    if not stat.S_ISREG(before.st_mode):
        raise _refusal(shown, "EINVAL")
    return _verified(os.open(path, _READ), path, shown, before)


def open_file(path: str) -> OpenFile:
    """Open the regular file or folder `path`, a trusted path: links are followed. Fast enough for the loop.

    Raises:
        FileError: EINVAL if it is a device, FIFO or socket, which is not opened; or as the system says.
    """
    try:
        before = os.stat(path)
        if stat.S_ISDIR(before.st_mode):
            return OpenFile(_status(before), os.open(path, _PASS) if _HAS_DIR_FD else -1, path)
        # Asked before opening: opening alone can do something to a device.
        if not stat.S_ISREG(before.st_mode):
            raise _refusal(path, "EINVAL")
        return _verified(os.open(path, _READ), path, path)
    except OSError as exc:
        raise file_error(exc, path) from exc
    except ValueError as exc:
        raise _refusal(path, "ENOENT") from exc


def file_status(path: str) -> FileStatus:
    """Return the status of `path`, links followed. For trusted paths, such as those of options.

    Raises:
        FileError: as the system says; EINVAL for what is neither a regular file nor a folder.
    """
    try:
        result = os.stat(path)
    except OSError as exc:
        raise file_error(exc, path) from exc
    except ValueError as exc:
        raise _refusal(path, "ENOENT") from exc
    if not stat.S_ISREG(result.st_mode) and not stat.S_ISDIR(result.st_mode):
        raise _refusal(path, "EINVAL")
    return _status(result)


def read_file(path: str, limit: int) -> bytes:
    """Return the content of the regular file `path`, a trusted path; links are followed.

    Raises:
        FileError: EFBIG if it has more than `limit` bytes; EINVAL if it is a device or a FIFO, which is not
            read; or as the system says.
    """
    with open_file(path) as opened:
        data = opened.read(0, limit + 1)
    if len(data) > limit:
        raise _refusal(path, "EFBIG")
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
        fd = os.open(aside, _WRITE | os.O_EXCL | _NO_FOLLOW, mode)
        try:
            try:
                if hasattr(os, "fchmod"):
                    os.fchmod(fd, mode)
                _write_all(fd, data)
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
        raise _refusal(path, "ENOENT") from exc


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _sync_folder(folder: str) -> None:
    if _WINDOWS:
        return
    fd = os.open(folder, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


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
            fd = os.open(self.path, _WRITE | _APPEND, self._mode)
        except OSError as exc:
            raise file_error(exc, self.path) from exc
        except ValueError as exc:
            raise _refusal(self.path, "ENOENT") from exc
        return fd

    def write(self, data: bytes) -> None:
        """Append `data`, whole unless the disk is full.

        Raises:
            FileError: ENOSPC, EIO...; a part of `data` may have been written. EBADF after `close`.
        """
        if self._fd < 0:
            raise _refusal(self.path, "EBADF")
        try:
            _write_all(self._fd, data)
        except OSError as exc:
            raise file_error(exc, self.path) from exc

    def size(self) -> int:
        """Return the file's size in bytes.

        Raises:
            FileError: the system refused; EBADF after `close`.
        """
        if self._fd < 0:
            raise _refusal(self.path, "EBADF")
        try:
            return os.fstat(self._fd).st_size
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
