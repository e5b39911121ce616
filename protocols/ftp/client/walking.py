"""All folders beneath one, listed one after the other."""

from __future__ import annotations

import logging
import typing

from portable.errors import RemoteProtocolError
from protocols.ftp.facts import is_plain_name

if typing.TYPE_CHECKING:
    from protocols.ftp.client.listing import RemoteFile

    # Lists one folder; `FTPClient.list`.
    ListFolder = typing.Callable[[str], typing.Coroutine[typing.Any, typing.Any, typing.Sequence[RemoteFile]]]

__all__ = ["MAX_DEPTH", "MAX_WALK", "Folder", "Walk"]

logger = logging.getLogger("protocols.ftp")

# Folders within each other. A server can make them up without end; paths of 4,096 bytes hold no more in
# practice.
MAX_DEPTH = 64
# Entries of all folders together. Of those that are folders the paths are kept until they are listed.
MAX_WALK = 5_000_000


class Folder(typing.NamedTuple):
    """One folder of a walk.

    Attributes:
        path: below the folder where the walk began: one name each, all of them plain.
        files: what is in it: only entries with a plain name.
    """

    path: tuple[str, ...]
    files: typing.Sequence[RemoteFile]


class Walk:
    """Lists a folder and all beneath it, the folder before what is in it. Made by `FTPClient.walk`.

    ```python
    walk = client.walk("pub")
    while (folder := await walk.next_folder()) is not None: ...
    async for folder in client.walk("pub"): ...        # the same
    ```

    Nothing is asked of the server before it is asked for here. Links are not followed where the server tells
    them from folders; where it does not, MAX_DEPTH ends what is a circle. Entries
    whose names are not plain (see `is_plain_name`) or cannot be decoded are left out and logged: who uses them
    as names of files would write elsewhere than meant.

    Attributes:
        left_out: how many entries those were.
    """

    def __init__(self, list_folder: ListFolder, path: str) -> None:
        self.left_out = 0
        self._list_folder = list_folder
        self._path = path
        self._waiting: list[tuple[str, ...]] = [()]
        self._entries = 0

    async def next_folder(self) -> Folder | None:
        """Return the next folder, None at the end. Fails as `FTPClient.list`.

        Raises:
            RemoteProtocolError: more than MAX_DEPTH or MAX_WALK.
        """
        if not self._waiting:
            return None
        path = self._waiting.pop()
        found = await self._list_folder(self.join(path))
        self._entries += len(found)
        if self._entries > MAX_WALK:
            raise RemoteProtocolError(f"more than {MAX_WALK} entries beneath {self._path!r}")
        files = [file for file in found if is_plain_name(file.name) and "\ufffd" not in file.name]
        if len(files) < len(found):
            self.left_out += len(found) - len(files)
            logger.warning("%s entries in %r have names that are no names", len(found) - len(files), path)
        below = [(*path, file.name) for file in files if file.kind == "dir"]
        if below and len(path) >= MAX_DEPTH:
            raise RemoteProtocolError(f"more than {MAX_DEPTH} folders within each other")
        self._waiting.extend(reversed(below))
        return Folder(path, files)

    def join(self, names: typing.Sequence[str]) -> str:
        """Return the path on the server of what `names` lead to, from where the walk began."""
        if not names:
            return self._path
        start = self._path if not self._path or self._path.endswith("/") else self._path + "/"
        return start + "/".join(names)

    def __aiter__(self) -> typing.Self:
        return self

    async def __anext__(self) -> Folder:
        folder = await self.next_folder()
        if folder is None:
            raise StopAsyncIteration
        return folder
