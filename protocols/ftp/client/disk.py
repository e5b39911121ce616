"""Files and trees from a server to the disk, and files from the disk to a server.

What is received is written aside, to `.NAME.part` in the same folder, and gets its name when it is complete:
nobody takes a part for the whole. A part stays when a download fails, for `resume`. The disk is never waited
for in the loop.
"""

from __future__ import annotations

import logging
import os.path
import typing

from portable.deferred import Deferred
from portable.errors import FileError
from portable.files import open_beneath, open_file
from portable.files.changing import make_folder, open_to_write, rename, set_modified
from protocols.ftp.client.data import FilePart
from protocols.ftp.client.replies import CommandRefused

if typing.TYPE_CHECKING:
    from portable.files import OpenFile
    from portable.files.changing import WritableFile
    from protocols.ftp.client.client import FTPClient, Path

__all__ = ["download", "mirror", "upload"]

# What `_open` opens.
F = typing.TypeVar("F", bound="OpenFile | WritableFile")

logger = logging.getLogger("protocols.ftp")


async def download(client: FTPClient, path: Path, target: str, *, resume: bool = False) -> int:
    """Write a file of the server to `target`, replacing what is there, and return how many bytes were received.

    Args:
        client: logged in.
        path: of the file on the server.
        target: path on this machine, of a file. Its folder must exist.
        resume: go on after the part that an earlier download has left, unless the file has become shorter than
            that. That it is still the same file otherwise cannot be told.

    Fails as `FTPClient.retrieve`, and with FileError: EISDIR, before anything is asked of the server, if
    `target` is a folder or ends as the path of one.
    """
    folder_path, name = os.path.split(target)
    if name in {"", ".", ".."}:
        raise _not_a_file(target)
    folder = await _open(client, open_file, folder_path or ".")
    try:
        return await _download_into(client, path, folder, name, resume)
    finally:
        folder.close()


async def _download_into(client: FTPClient, path: Path, folder: OpenFile, name: str, resume: bool) -> int:
    in_thread = client.reactor.run_in_thread
    part = f".{name}.part"
    file = await _open(client, _open_part, folder, name, part)
    try:
        offset = file.status.size if resume else 0
        total = None
        if offset:
            total = await _size(client, path)
            if total is not None and total < offset:
                offset = 0
        await in_thread(file.start_at, offset)
        count = 0
        if not offset or offset != total:
            count = await client.retrieve(path, lambda data: in_thread(file.write, data), offset=offset)
        await in_thread(file.sync)
    finally:
        await in_thread(file.close)
    await in_thread(rename, folder, part, folder, name)
    return count


def _open(client: FTPClient, function: typing.Callable[..., F], *args: object) -> Deferred[F]:
    """Give what `function` opens in a thread. If nobody waits for it any more when it comes, it is closed."""
    result: Deferred[F] = Deferred()

    def opened(file: F) -> None:
        if result.called:
            file.close()
        else:
            result.callback(file)

    def failed(error: Exception) -> None:
        if not result.called:
            result.errback(error)

    client.reactor.run_in_thread(function, *args).add_callbacks(opened, failed)
    return result


def _open_part(folder: OpenFile, name: str, part: str) -> WritableFile:
    """Open the file that is to become `name`. For threads."""
    try:
        with open_beneath(folder, [name]) as there:
            is_folder = there.status.is_dir
    except FileError:
        # Nothing, mostly; a link, or whatever else cannot be opened so, is replaced.
        is_folder = False
    if is_folder:
        raise _not_a_file(name)
    return open_to_write(folder, part)


def _not_a_file(target: str) -> FileError:
    return FileError(f"{target!r} is a folder: name the file that is to be written", "EISDIR")


async def upload(client: FTPClient, source: str, path: Path, *, resume: bool = False) -> int:
    """Write the file `source` of this machine to the server, and return how many bytes were sent.

    Args:
        client: logged in.
        source: path of a regular file.
        path: of the file on the server, which is made or replaced.
        resume: go on after what the server has of it, unless that is longer than `source`. That it is a part
            of it otherwise cannot be told.

    Fails as `FTPClient.store`, and with FileError.
    """
    opened = await _open(client, open_file, source)
    try:
        if opened.file is None:
            raise FileError(f"{source!r} is a folder", "EISDIR")
        size = opened.status.size
        offset = 0
        if resume:
            present = await _size(client, path)
            if present is not None and present <= size:
                offset = present
        return await client.store(path, FilePart(opened.file, offset, size - offset), offset=offset)
    finally:
        opened.close()


async def mirror(client: FTPClient, path: str, target: str, *, resume: bool = False) -> int:
    """Write all files in a folder of the server, and in those beneath it, to the folder `target`; return how
    many.

    Nothing is ever written outside of `target`, nor through a symbolic link in it: names that are no names
    (such as "..") are left out, see `Walk`, and so are links and whatever else is neither file nor folder.
    What `target` has and the server has not stays. Files get the server's time of their last change, where
    MLSD tells it.

    Args:
        client: logged in.
        path: of the folder on the server.
        target: path of a folder on this machine, which must exist.
        resume: as for `download`.

    Fails as `FTPClient.list` and `download`.
    """
    in_thread = client.reactor.run_in_thread
    walk = client.walk(path)
    count = 0
    found = await walk.next_folder()
    while found is not None:
        folder = await _open(client, _folder_beneath, target, found.path)
        try:
            for file in found.files:
                if file.kind != "file":
                    continue
                await _download_into(client, walk.join([*found.path, file.name]), folder, file.name, resume)
                if file.modified is not None and file.facts:
                    await in_thread(set_modified, folder, file.name, int(file.modified * 1e9))
                count += 1
        finally:
            folder.close()
        found = await walk.next_folder()
    return count


def _folder_beneath(root: str, names: typing.Sequence[str]) -> OpenFile:
    """Return the folder that `names` lead to from `root`, the last of them made if it is not there. For
    threads.
    """
    if not names:
        return open_file(root)
    with open_beneath(root, names[:-1]) as parent:
        try:
            make_folder(parent, names[-1])
        except FileError as exc:
            if exc.code != "EEXIST":
                raise
        return open_beneath(parent, names[-1:])


async def _size(client: FTPClient, path: Path) -> int | None:
    """Return the size of a file on the server, None if it is not there or the server does not say."""
    try:
        return await client.size(path)
    except CommandRefused as exc:
        if exc.temporary:
            raise
        return None
