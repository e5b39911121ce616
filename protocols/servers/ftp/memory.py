"""A file system in memory: for tests, and for servers of what programs make."""

from __future__ import annotations

import io
import typing

from portable.deferred import fail, succeed
from portable.errors import FileError
from protocols.ftp.server.filesystem import SMALL, Item

if typing.TYPE_CHECKING:
    from collections.abc import Callable

    from portable.deferred import Deferred
    from protocols.ftp.server.filesystem import OpenFolder, Readable, Writable
    from protocols.ftp.server.paths import Path

__all__ = ["MemoryFiles"]

T = typing.TypeVar("T")


class _Node:
    """A file or a folder."""

    def __init__(self, number: int, modified: float, *, is_folder: bool) -> None:
        self.number = number
        self.modified = modified
        self.mode = 0o755 if is_folder else 0o644
        self.is_folder = is_folder
        self.content = bytearray()
        self.children: dict[str, _Node] = {}

    def item(self, name: str) -> Item:
        return Item(name, self.is_folder, len(self.content), self.modified, self.mode, f"m{self.number:x}")


class _Readable:
    """A copy of a file's content. See `protocols.ftp.server.filesystem.Readable`."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.size = len(content)
        self.content = content if len(content) <= SMALL else None
        self.file: typing.BinaryIO | None = io.BytesIO(content)

    def read(self, offset: int, count: int) -> Deferred[bytes]:
        """See `Readable.read`."""
        return succeed(self._content[offset : offset + count])

    def close(self) -> None:
        """See `Readable.close`."""


class _Writable:
    """A file that is being written. See `protocols.ftp.server.filesystem.Writable`."""

    def __init__(self, files: MemoryFiles, folder: _Node, name: str, node: _Node) -> None:
        self._files = files
        self._folder = folder
        self._name = name
        self._node = node
        self.size = len(node.content)

    def start_at(self, offset: int | None) -> None:
        """See `Writable.start_at`."""
        self._node = self._folder.children.setdefault(self._name, self._node)
        if offset is not None:
            del self._node.content[offset:]

    def write(self, data: bytes) -> Deferred[None]:
        """See `Writable.write`."""
        return self._files.attempt(self._write, data)

    def _write(self, data: bytes) -> None:
        self._files.grow(len(data))
        self._node.content += data
        self._node.modified = self._files.now()

    def close(self) -> Deferred[None]:
        """See `Writable.close`."""
        return succeed(None)


class _OpenFolder:
    """A folder that is being listed. See `protocols.ftp.server.filesystem.OpenFolder`."""

    def __init__(self, node: _Node) -> None:
        self._items = [child.item(name) for name, child in sorted(node.children.items())]

    def read(self, count: int) -> Deferred[list[Item]]:
        """See `OpenFolder.read`."""
        items, self._items = self._items[:count], self._items[count:]
        return succeed(items)

    def close(self) -> None:
        """See `OpenFolder.close`."""
        self._items = []


class MemoryFiles:
    """Files and folders that are gone when the program ends. See `protocols.ftp.server.filesystem.FileSystem`.

    Args:
        now: gives seconds since 1970.
        limit: bytes of all files ever written; beyond, writing fails with ENOSPC.
    """

    def __init__(self, now: Callable[[], float], limit: int = 64 * 1024 * 1024) -> None:
        self.now = now
        self._left = limit
        self._made = 0
        self._root = self._make(is_folder=True)

    # For whoever has made it.

    def put(self, path: Path, content: bytes) -> None:
        """Write a file, with the folders that it needs."""
        node = self._root
        for name in path[:-1]:
            node = node.children.setdefault(name, self._make(is_folder=True))
        file = node.children.setdefault(path[-1], self._make(is_folder=False))
        file.content[:] = content

    def get(self, path: Path) -> bytes:
        """Return the content of a file.

        Raises:
            FileError: there is none.
        """
        return bytes(self._file(path).content)

    # For the server.

    def attempt(self, function: Callable[..., T], *args: object) -> Deferred[T]:
        """Give the result of a call, or its FileError."""
        try:
            return succeed(function(*args))
        except FileError as error:
            return fail(error)

    def grow(self, count: int) -> None:
        """Account for `count` more bytes.

        Raises:
            FileError: ENOSPC.
        """
        if count > self._left:
            raise FileError("the memory for files is full", "ENOSPC")
        self._left -= count

    def status(self, path: Path) -> Deferred[Item]:
        """See `FileSystem.status`."""
        return self.attempt(lambda: self._find(path).item(path[-1] if path else ""))

    def open_folder(self, path: Path) -> Deferred[OpenFolder]:
        """See `FileSystem.open_folder`."""
        return self.attempt(lambda: _OpenFolder(self._folder(path)))

    def open_file(self, path: Path) -> Deferred[Readable]:
        """See `FileSystem.open_file`."""
        return self.attempt(lambda: _Readable(bytes(self._file(path).content)))

    def open_to_write(self, path: Path, *, exclusive: bool = False) -> Deferred[Writable]:
        """See `FileSystem.open_to_write`."""
        return self.attempt(self._open_to_write, path, exclusive)

    def _open_to_write(self, path: Path, exclusive: bool) -> Writable:
        if not path:
            raise FileError("the root is a folder", "EISDIR")
        folder = self._folder(path[:-1])
        there = folder.children.get(path[-1])
        if there is not None and exclusive:
            raise FileError("the file exists", "EEXIST")
        node = self._make(is_folder=False) if there is None else self._file(path)
        return _Writable(self, folder, path[-1], node)

    def make_folder(self, path: Path) -> Deferred[None]:
        """See `FileSystem.make_folder`."""
        return self.attempt(self._make_folder, path)

    def _make_folder(self, path: Path) -> None:
        folder = self._folder(path[:-1])
        if path[-1] in folder.children:
            raise FileError("the name is taken", "EEXIST")
        folder.children[path[-1]] = self._make(is_folder=True)

    def remove_file(self, path: Path) -> Deferred[None]:
        """See `FileSystem.remove_file`."""
        return self.attempt(self._remove_file, path)

    def _remove_file(self, path: Path) -> None:
        self._left += len(self._file(path).content)
        del self._folder(path[:-1]).children[path[-1]]

    def remove_folder(self, path: Path) -> Deferred[None]:
        """See `FileSystem.remove_folder`."""
        return self.attempt(self._remove_folder, path)

    def _remove_folder(self, path: Path) -> None:
        if self._folder(path).children:
            raise FileError("the folder is not empty", "ENOTEMPTY")
        del self._folder(path[:-1]).children[path[-1]]

    def rename(self, path: Path, target: Path, *, replace: bool) -> Deferred[None]:
        """See `FileSystem.rename`."""
        return self.attempt(self._rename, path, target, replace)

    def _rename(self, path: Path, target: Path, replace: bool) -> None:
        node, folder = self._find(path), self._folder(target[:-1])
        there = folder.children.get(target[-1])
        if there is not None and not replace:
            raise FileError("the name is taken", "EEXIST")
        if there is not None and there.is_folder:
            raise FileError("a folder has that name", "EISDIR")
        del self._folder(path[:-1]).children[path[-1]]
        folder.children[target[-1]] = node

    def set_modified(self, path: Path, modified: float) -> Deferred[None]:
        """See `FileSystem.set_modified`."""
        return self.attempt(self._set, path, "modified", modified)

    def set_mode(self, path: Path, mode: int) -> Deferred[None]:
        """See `FileSystem.set_mode`."""
        return self.attempt(self._set, path, "mode", mode)

    def _set(self, path: Path, name: str, value: float) -> None:
        setattr(self._find(path), name, value)

    def _make(self, *, is_folder: bool) -> _Node:
        self._made += 1
        return _Node(self._made, self.now(), is_folder=is_folder)

    def _find(self, path: Path) -> _Node:
        node = self._root
        for name in path:
            if not node.is_folder:
                raise FileError("a file on the way", "ENOTDIR")
            child = node.children.get(name)
            if child is None:
                raise FileError("no such name", "ENOENT")
            node = child
        return node

    def _folder(self, path: Path) -> _Node:
        node = self._find(path)
        if not node.is_folder:
            raise FileError("not a folder", "ENOTDIR")
        return node

    def _file(self, path: Path) -> _Node:
        node = self._find(path)
        if node.is_folder:
            raise FileError("a folder", "EISDIR")
        return node
