"""Commands that use a data connection (RFC 959 4.1.3, 3659 7), and ABOR, which ends their doing so."""

from __future__ import annotations

import functools
import typing

from portable.errors import FileError
from protocols.ftp.server.listing import fact_line, has_wildcard, long_line, matcher, split_options
from protocols.ftp.server.paths import show
from protocols.ftp.server.session import Refusal
from protocols.ftp.server.sources import FolderSource, LineSource
from protocols.ftp.server.text import TextDecoder, TextSource
from protocols.ftp.server.transfers import FileDownload, StreamDownload, Upload

if typing.TYPE_CHECKING:
    from portable.deferred import Deferred
    from protocols.ftp.server.filesystem import Item, Readable, Writable
    from protocols.ftp.server.listing import Line
    from protocols.ftp.server.paths import Path
    from protocols.ftp.server.session import Session
    from protocols.ftp.server.transfers import Source, Transfer

__all__ = [
    "handle_ABOR",
    "handle_APPE",
    "handle_LIST",
    "handle_MLSD",
    "handle_NLST",
    "handle_RETR",
    "handle_STOR",
    "handle_STOU",
    "open_listing",
]


async def handle_ABOR(session: Session, _: str) -> None:
    """End the transfer under way; drop a data connection that none has begun on."""
    if session.transfer is None:
        session.set_channel(None)
        session.reply(225, "There is no transfer to abort.")
        return
    ended = session.transfer_end()
    session.transfer.abort()
    await ended
    session.reply(226, "Abort complete.")


def handle_RETR(session: Session, argument: str) -> Deferred[None]:
    """Send a file."""
    offset = session.take_restart()
    path = session.resolve(argument)
    session.check_channel()
    # No coroutine: it would be a fortieth of what a small file costs.
    return session.files.open_file(path).add_callback(functools.partial(_send_file, session, offset))


def _send_file(session: Session, offset: int, file: Readable) -> None:
    if offset > file.size:
        file.close()
        raise Refusal(554, "The file ends before that.")
    site = session.site
    transfer: Transfer
    if session.binary:
        transfer = FileDownload(site.network, site.transfer_limits, session.data_tls, file, offset)
    else:
        transfer = StreamDownload(site.network, site.transfer_limits, session.data_tls, TextSource(file))
    session.begin(transfer, f"{file.size - offset} bytes follow." if session.binary else "A text follows.")


async def handle_STOR(session: Session, argument: str) -> None:
    """Take a file. The old content goes, or a new file is made, when the client has sent something."""
    offset = session.take_restart()
    await _receive(session, session.resolve(argument), offset)


async def handle_APPE(session: Session, argument: str) -> None:
    """Take what comes at the end of a file."""
    session.take_restart()
    await _receive(session, session.resolve(argument), None)


async def _receive(session: Session, path: Path, offset: int | None) -> None:
    session.check_channel()
    file = await session.files.open_to_write(path)
    if offset is not None and offset > file.size:
        await file.close()
        raise Refusal(554, "The file ends before that.")
    session.begin(_upload(session, file, offset), "Waiting for the file.")


def _upload(session: Session, file: Writable, offset: int | None) -> Upload:
    site = session.site
    decode = None if session.binary else TextDecoder().decode
    return Upload(site.network, site.transfer_limits, session.data_tls, file, offset, decode)


async def handle_STOU(session: Session, argument: str) -> None:
    """Take a file under a name that no other has; the argument is the beginning of it (RFC 1123 4.1.2.9)."""
    session.take_restart()
    folder = session.resolve(argument or "ftp")
    if not folder:
        raise Refusal(553, "That cannot be the name of a file.")
    path = (*folder[:-1], f"{folder[-1]}.{session.site.unique_name()}")
    session.check_channel()
    file = await session.files.open_to_write(path, exclusive=True)
    name = show(path)
    session.begin(_upload(session, file, 0), f"FILE: {name}", f"Transfer complete; it is {name}.")


async def handle_LIST(session: Session, argument: str) -> None:
    """Send a listing for people."""
    now = session.site.now()
    await _send_listing(session, split_options(argument), lambda item: long_line(item, now))


async def handle_NLST(session: Session, argument: str) -> None:
    """Send names, so that each can be the argument of RETR as it is (RFC 1123 4.1.2.7)."""
    text = split_options(argument)
    await _send_listing(session, text, lambda item: item.name.encode(), prefix=text)


async def handle_MLSD(session: Session, argument: str) -> None:
    """Send a listing for programs."""
    session.take_restart()
    path = session.resolve(argument)
    session.check_channel()
    try:
        folder = await session.files.open_folder(path)
    except FileError as error:
        if error.code == "ENOTDIR":
            raise Refusal(501, "It is not a folder: use MLST.") from error
        raise
    permissions = frozenset() if session.account is None else session.account.permissions
    wanted = session.facts
    _send(session, FolderSource(folder, lambda item: fact_line(item, permissions, wanted)))


async def _send_listing(session: Session, text: str, line: Line, prefix: str | None = None) -> None:
    session.take_restart()
    path = session.resolve(text)
    session.check_channel()
    source = await open_listing(session, path, line, prefix)
    _send(session, source)


def _send(session: Session, source: Source) -> None:
    site = session.site
    transfer = StreamDownload(site.network, site.transfer_limits, session.data_tls, source)
    session.begin(transfer, "The listing follows.")


async def open_listing(session: Session, path: Path, line: Line, prefix: str | None = None) -> Source:
    """Return the lines for a folder, for a file, or for what the last name is a pattern of.

    Args:
        prefix: the path as the client wrote it, if its lines are to begin with the way to the file.
    """
    files = session.files
    try:
        folder = await files.open_folder(path)
    except FileError as error:
        if error.code == "ENOTDIR":
            item = await files.status(path)
            return LineSource(_with_way(line, prefix, above=True)(item))
        if error.code != "ENOENT" or not path or not has_wildcard(path[-1]):
            raise
        folder = await files.open_folder(path[:-1])
        return FolderSource(folder, _with_way(line, prefix, above=True), matcher(path[-1]))
    return FolderSource(folder, _with_way(line, prefix, above=False))


def _with_way(line: Line, prefix: str | None, *, above: bool) -> Line:
    """Return `line` with the way to the folder before it: `prefix`, less its last name if `above`."""
    if prefix is None:
        return line
    way = prefix
    if above:
        way = prefix[: prefix.rfind("/") + 1]
    elif prefix and not prefix.endswith("/"):
        way = f"{prefix}/"
    begin = way.encode()

    def with_way(item: Item) -> bytes:
        return begin + line(item)

    return with_way
