"""A real folder as the file system of FTP accounts.

Every operation walks from the root as `portable.files.open_beneath` does, and follows no symbolic link: links
are not shown and lead nowhere, but one that stands where a file is removed or replaced goes itself. All but the
opening of files happens in threads.
"""

from __future__ import annotations

import functools
import typing

from portable.deferred import fail, succeed
from portable.errors import FileError
from portable.files import FolderReader, changing, open_beneath
from protocols.ftp.server.filesystem import SMALL, Item

if typing.TYPE_CHECKING:
    from collections.abc import Callable

    from portable.deferred import Deferred
    from portable.files import FileStatus, OpenFile
    from portable.reactor import Threads
    from protocols.ftp.server.filesystem import OpenFolder, Readable, Writable
    from protocols.ftp.server.paths import Path

__all__ = ["RealFolder"]


def _item(name: str, status: FileStatus) -> Item:
    return Item(
        name,
        status.is_dir,
        status.size,
        status.mtime_ns / 1e9,
        status.mode & 0o777,
        f"{status.device:x}g{status.inode:x}",
    )


class _Readable:
    """An open file. See `protocols.ftp.server.filesystem.Readable`."""

    def __init__(self, threads: Threads, opened: OpenFile, content: bytes | None) -> None:
        self._threads = threads
        self._opened = opened
        self.content = content
        self.size = opened.status.size if content is None else len(content)
        self.file = typing.cast("typing.BinaryIO | None", opened.file)

    def read(self, offset: int, count: int) -> Deferred[bytes]:
        """See `Readable.read`."""
        if self.content is not None:
            return succeed(self.content[offset : offset + count])
        return self._threads.run_in_thread(self._opened.read, offset, count)

    def close(self) -> None:
        """See `Readable.close`."""
        self._opened.close()


class _Writable:
    """A file that is being written. See `protocols.ftp.server.filesystem.Writable`."""

    def __init__(
        self,
        threads: Threads,
        file: changing.WritableFile | None,
        make: Callable[[], changing.WritableFile],
    ) -> None:
        self._threads = threads
        self._file = file
        self._make = make
        self._begin: tuple[int | None] | None = None
        self.size = 0 if file is None else file.status.size

    def start_at(self, offset: int | None) -> None:
        """See `Writable.start_at`."""
        self._begin = (offset,)

    def write(self, data: bytes) -> Deferred[None]:
        """See `Writable.write`."""
        return self._threads.run_in_thread(self._write, data)

    def close(self) -> Deferred[None]:
        """See `Writable.close`."""
        return self._threads.run_in_thread(self._close)

    def _write(self, data: bytes) -> None:
        begin, self._begin = self._begin, None
        if self._file is None:
            self._file = self._make()
        if begin is not None:
            self._file.start_at(begin[0])
        self._file.write(data)

    def _close(self) -> None:
        try:
            if self._begin is not None:
                self._write(b"")
        finally:
            if self._file is not None:
                self._file.close()


class _OpenFolder:
    """A folder that is being listed. See `protocols.ftp.server.filesystem.OpenFolder`."""

    def __init__(self, threads: Threads, folder: OpenFile) -> None:
        self._threads = threads
        self._reader = FolderReader(folder)
        self._reading = False
        self._closed = False

    def read(self, count: int) -> Deferred[list[Item]]:
        """See `OpenFolder.read`."""
        self._reading = True
        return self._threads.run_in_thread(self._read, count).add_both(self._read_done)

    def _read(self, count: int) -> list[Item]:
        items: list[Item] = []
        while not items:
            entries = self._reader.read(count)
            if not entries:
                break
            items += [
                Item(
                    entry.name,
                    entry.is_dir,
                    entry.size,
                    entry.mtime_ns / 1e9,
                    entry.mode & 0o777,
                    f"{entry.device:x}g{entry.inode:x}",
                )
                for entry in entries
                if not entry.is_link
            ]
        return items

    def _read_done(self, result: typing.Any) -> typing.Any:
        self._reading = False
        if self._closed:
            self._reader.close()
        if isinstance(result, Exception):
            raise result
        return result

    def close(self) -> None:
        """See `OpenFolder.close`."""
        self._closed = True
        # Not while a thread reads from it.
        if not self._reading:
            self._reader.close()


class RealFolder:
    """The folder `root` and all beneath it. See `protocols.ftp.server.filesystem.FileSystem`.

    Args:
        root: a trusted path.
        threads: where the work is done.
    """

    def __init__(self, root: str, threads: Threads) -> None:
        self._root = root
        self._threads = threads

    def status(self, path: Path) -> Deferred[Item]:
        """See `FileSystem.status`."""
        return self._threads.run_in_thread(self._status, path)

    def _status(self, path: Path) -> Item:
        with open_beneath(self._root, path) as opened:
            return _item(path[-1] if path else "", opened.status)

    def open_folder(self, path: Path) -> Deferred[OpenFolder]:
        """See `FileSystem.open_folder`."""
        return self._threads.run_in_thread(self._open_folder, path)

    def _open_folder(self, path: Path) -> OpenFolder:
        with open_beneath(self._root, path) as opened:
            return _OpenFolder(self._threads, opened)

    def open_file(self, path: Path) -> Deferred[Readable]:
        """See `FileSystem.open_file`."""
        # Not in a thread: that would make a quarter of what a small file costs, and is seldom of use. Only
        # what a disk must be asked for is.
        try:
            opened = open_beneath(self._root, path)
        except FileError as error:
            return fail(error)
        try:
            if opened.status.is_dir:
                raise FileError("a folder cannot be read as a file", "EISDIR")
            if opened.status.size > SMALL:
                return succeed(_Readable(self._threads, opened, None))
            content = opened.read_cached()
        except FileError as error:
            opened.close()
            return fail(error)
        if content is None:
            return self._threads.run_in_thread(self._read_small, opened)
        opened.close()
        return succeed(_Readable(self._threads, opened, content))

    def _read_small(self, opened: OpenFile) -> Readable:
        with opened:
            return _Readable(self._threads, opened, opened.read(0, opened.status.size))

    def open_to_write(self, path: Path, *, exclusive: bool = False) -> Deferred[Writable]:
        """See `FileSystem.open_to_write`."""
        return self._threads.run_in_thread(self._open_to_write, path, exclusive)

    def _open_to_write(self, path: Path, exclusive: bool) -> Writable:
        if not path:
            raise FileError("the root is a folder", "EISDIR")
        with open_beneath(self._root, path[:-1]) as folder:
            file = changing.open_if_there(folder, path[-1], exclusive=exclusive)
        return _Writable(self._threads, file, functools.partial(self._make_file, path, exclusive))

    def _make_file(self, path: Path, exclusive: bool) -> changing.WritableFile:
        with open_beneath(self._root, path[:-1]) as folder:
            return changing.open_to_write(folder, path[-1], exclusive=exclusive)

    def make_folder(self, path: Path) -> Deferred[None]:
        """See `FileSystem.make_folder`."""
        return self._threads.run_in_thread(self._change, path, changing.make_folder)

    def remove_file(self, path: Path) -> Deferred[None]:
        """See `FileSystem.remove_file`."""
        return self._threads.run_in_thread(self._change, path, changing.remove_file)

    def remove_folder(self, path: Path) -> Deferred[None]:
        """See `FileSystem.remove_folder`."""
        return self._threads.run_in_thread(self._change, path, changing.remove_folder)

    def set_modified(self, path: Path, modified: float) -> Deferred[None]:
        """See `FileSystem.set_modified`."""
        return self._threads.run_in_thread(self._change, path, changing.set_modified, int(modified * 1e9))

    def set_mode(self, path: Path, mode: int) -> Deferred[None]:
        """See `FileSystem.set_mode`."""
        return self._threads.run_in_thread(self._change, path, changing.set_mode, mode)

    def _change(self, path: Path, change: Callable[..., None], *args: int) -> None:
        with open_beneath(self._root, path[:-1]) as folder:
            change(folder, path[-1], *args)

    def rename(self, path: Path, target: Path, *, replace: bool) -> Deferred[None]:
        """See `FileSystem.rename`."""
        return self._threads.run_in_thread(self._rename, path, target, replace)

    def _rename(self, path: Path, target: Path, replace: bool) -> None:
        with open_beneath(self._root, path[:-1]) as old, open_beneath(self._root, target[:-1]) as new:
            changing.rename(old, path[-1], new, target[-1], replace=replace)
