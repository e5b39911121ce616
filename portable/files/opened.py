"""Files and folders that are open for reading."""

from __future__ import annotations

import errno
import io
import os
import stat
import typing
from dataclasses import dataclass

from portable.files import system
from portable.files.system import file_error, refusal

__all__ = [
    "FileStatus",
    "FolderEntry",
    "FolderReader",
    "OpenFile",
    "file_status",
    "open_file",
    "socket_owner",
    "status_of",
    "verified",
]


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
    ctime_ns: int = 0  # last change of content, name or permissions; on Windows, when it was made


class FolderEntry(typing.NamedTuple):
    """One name in a folder. The numbers are as in FileStatus; for a link they are the link's own."""

    name: str
    is_dir: bool
    is_link: bool
    size: int
    mtime_ns: int
    mode: int = 0
    inode: int = 0
    device: int = 0


def status_of(result: os.stat_result) -> FileStatus:
    """Return our form of what the system tells."""
    return FileStatus(
        result.st_size,
        result.st_mtime_ns,
        result.st_ino,
        result.st_dev,
        stat.S_ISDIR(result.st_mode),
        result.st_uid,
        stat.S_IMODE(result.st_mode),
        result.st_ctime_ns,
    )


class OpenFile:
    """A regular file or a folder, open for reading. Close it: also a context manager.

    Attributes:
        status: as it was when opened.
        path: how it was named, for messages.
        file: the open regular file, for `Transport.send_file`; None for a folder.
        link_target: the name of the file that symbolic links led `open_beneath` to; "" if it followed none.
    """

    def __init__(self, status: FileStatus, fd: int, path: str) -> None:
        self.status = status
        self.path = path
        self.link_target = ""
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
            raise refusal(self.path, "EISDIR")
        if self.file.closed:
            raise refusal(self.path, "EBADF")
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
        except ValueError as exc:
            # Closed by the loop, while a thread was reading.
            raise refusal(self.path, "EBADF") from exc
        return b"".join(parts)

    def read_cached(self) -> bytes | None:
        """Return the whole content if the system has it in memory, without waiting for a disk; None if it has
        not, or cannot tell. For the loop.

        Raises:
            FileError: as `read`.
        """
        if self.file is None:
            raise refusal(self.path, "EISDIR")
        buffer = bytearray(self.status.size)
        try:
            count = os.preadv(self.file.fileno(), [buffer], 0, os.RWF_NOWAIT)
        except (AttributeError, BlockingIOError):
            return None
        except OSError as exc:
            if exc.errno in {errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS}:
                return None
            raise file_error(exc, self.path) from exc
        return bytes(buffer) if count == len(buffer) else None

    def list_directory(self, limit: int) -> tuple[list[FolderEntry], bool]:
        """Return the names in this folder, sorted by code point, and whether there were more than `limit`.

        Regular files, folders and links only. Of a folder with more than `limit` names it is undefined which of
        them are returned. Takes about 5 microseconds for each name: call it in a thread.

        Raises:
            FileError: ENOTDIR if this is a file; or the system refused.
        """
        with FolderReader(self) as reader:
            entries = reader.read(limit)
            truncated = bool(reader.read(1))
        entries.sort()
        return entries, truncated


class FolderReader:
    """Reads the names in a folder piece by piece, however many there are. Close it: also a context manager.

    Regular files, folders and links only, in the order of the file system. Takes about 5 microseconds for each
    name: use it in a thread (not always the same one).

    Raises:
        FileError: ENOTDIR if `folder` is a file; or the system refused.
    """

    def __init__(self, folder: OpenFile) -> None:
        if not folder.status.is_dir:
            raise refusal(folder.path, "ENOTDIR")
        self._path = folder.path
        self._fd = -1
        try:
            if system.HAS_DIR_FD:
                # The folder's descriptor may only be good for passing through, and others may list with it.
                self._fd = os.open(".", system.READ, dir_fd=folder.fileno())
            self._names = os.scandir(self._fd if self._fd >= 0 else folder.path)
        except OSError as exc:
            self._close_descriptor()
            raise file_error(exc, self._path) from exc

    def __enter__(self) -> typing.Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def read(self, count: int) -> list[FolderEntry]:
        """Return the next entries, `count` of them as long as there are so many.

        Raises:
            FileError: the system refused.
        """
        entries: list[FolderEntry] = []
        try:
            while len(entries) < count:
                name = next(self._names, None)
                if name is None:
                    break
                entry = _entry(name)
                if entry is not None:
                    entries.append(entry)
        except OSError as exc:
            raise file_error(exc, self._path) from exc
        return entries

    def close(self) -> None:
        """Close it. Idempotent."""
        self._names.close()
        self._close_descriptor()

    def _close_descriptor(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


def _entry(name: os.DirEntry[str]) -> FolderEntry | None:
    try:
        result = name.stat(follow_symlinks=False)
    except OSError:
        # Removed since its name was read.
        return None
    mode = result.st_mode
    is_link = stat.S_ISLNK(mode) or system.is_reparse_point(result)
    if not is_link and not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
        return None
    return FolderEntry(
        name.name,
        stat.S_ISDIR(mode) and not is_link,
        is_link,
        result.st_size,
        result.st_mtime_ns,
        stat.S_IMODE(mode),
        result.st_ino,
        result.st_dev,
    )


def verified(fd: int, path: str, shown: str, before: os.stat_result | None = None) -> OpenFile:
    """Return the open file, or close it and refuse it: since the check the name may have changed."""
    result = os.fstat(fd)
    wanted = stat.S_ISREG(result.st_mode) or stat.S_ISDIR(result.st_mode)
    if not wanted or (before is not None and not os.path.samestat(result, before)):
        os.close(fd)
        raise refusal(shown, "EINVAL")
    return OpenFile(status_of(result), fd, path)


def open_file(path: str) -> OpenFile:
    """Open the regular file or folder `path`, a trusted path: links are followed. Fast enough for the loop.

    Raises:
        FileError: EINVAL if it is a device, FIFO or socket, which is not opened; or as the system says.
    """
    try:
        before = os.stat(path)
        if stat.S_ISDIR(before.st_mode):
            return OpenFile(status_of(before), os.open(path, system.PASS) if system.HAS_DIR_FD else -1, path)
        # Asked before opening: opening alone can do something to a device.
        if not stat.S_ISREG(before.st_mode):
            raise refusal(path, "EINVAL")
        return verified(os.open(path, system.READ), path, path)
    except OSError as exc:
        raise file_error(exc, path) from exc
    except ValueError as exc:
        raise refusal(path, "ENOENT") from exc


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
        raise refusal(path, "ENOENT") from exc
    if not stat.S_ISREG(result.st_mode) and not stat.S_ISDIR(result.st_mode):
        raise refusal(path, "EINVAL")
    return status_of(result)


def socket_owner(path: str) -> int:
    """Return the user id of whoever made the Unix socket `path`, which is not followed if it is a link.

    Raises:
        FileError: ELOOP if it is a link, EINVAL if it is anything else; or as the system says.
    """
    try:
        result = os.lstat(path)
    except OSError as exc:
        raise file_error(exc, path) from exc
    except ValueError as exc:
        raise refusal(path, "ENOENT") from exc
    if not stat.S_ISSOCK(result.st_mode):
        raise refusal(path, "ELOOP" if stat.S_ISLNK(result.st_mode) else "EINVAL")
    return result.st_uid
