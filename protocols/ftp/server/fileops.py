"""Commands on files and folders that transfer nothing (RFC 959 4.1.3, 3659, MFMT)."""

from __future__ import annotations

import re
import typing

from portable.errors import FileError, RemoteProtocolError
from protocols.ftp.facts import decode_time, encode_time
from protocols.ftp.server.listing import fact_line
from protocols.ftp.server.paths import quote, show
from protocols.ftp.server.session import Refusal
from protocols.ftp.server.states import State

if typing.TYPE_CHECKING:
    from protocols.ftp.server.paths import Path
    from protocols.ftp.server.session import Session

__all__ = [
    "handle_CDUP",
    "handle_CWD",
    "handle_DELE",
    "handle_MDTM",
    "handle_MFMT",
    "handle_MKD",
    "handle_MLST",
    "handle_PWD",
    "handle_RMD",
    "handle_RNFR",
    "handle_RNTO",
    "handle_SIZE",
    "site_CHMOD",
]

_MODE = re.compile("0?([0-7]{3})\\Z")


def handle_PWD(session: Session, _: str) -> None:
    """Tell the working folder."""
    session.reply(257, f"{quote(session.folder)} is the working folder.")


async def handle_CWD(session: Session, argument: str) -> None:
    """Change the working folder."""
    path = session.resolve(argument)
    item = await session.files.status(path)
    if not item.is_folder:
        raise FileError("not a folder", "ENOTDIR")
    session.folder = path
    session.reply(250, f"{quote(path)} is the working folder.")


async def handle_CDUP(session: Session, _: str) -> None:
    """Change to the folder above."""
    await handle_CWD(session, "..")


async def handle_MKD(session: Session, argument: str) -> None:
    """Make a folder."""
    path = _below_root(session, argument)
    await session.files.make_folder(path)
    session.reply(257, f"{quote(path)} is made.")


async def handle_RMD(session: Session, argument: str) -> None:
    """Remove an empty folder."""
    await session.files.remove_folder(_below_root(session, argument))
    session.reply(250, "Removed.")


async def handle_DELE(session: Session, argument: str) -> None:
    """Remove a file."""
    await session.files.remove_file(_below_root(session, argument))
    session.reply(250, "Removed.")


async def handle_RNFR(session: Session, argument: str) -> None:
    """Name what is to be renamed."""
    path = _below_root(session, argument)
    await session.files.status(path)
    session.rename_from = path
    session.state = State.RENAMING
    session.reply(350, "Give RNTO.")


async def handle_RNTO(session: Session, argument: str) -> None:
    """Rename. What has that name goes, if the account may remove files."""
    source, target = session.rename_from, _below_root(session, argument)
    if target[: len(source)] == source and len(target) > len(source):
        raise Refusal(553, "A folder cannot be moved into itself.")
    await session.files.rename(source, target, replace=session.may("d"))
    session.reply(250, "Renamed.")


def _below_root(session: Session, argument: str) -> Path:
    path = session.resolve(argument)
    if not path:
        raise Refusal(550, "The root stays as it is.")
    return path


async def handle_SIZE(session: Session, argument: str) -> None:
    """Tell how many bytes RETR would send. Of a text that could only be counted (RFC 3659 4.1)."""
    path = session.resolve(argument)
    if not session.binary:
        raise Refusal(550, "The size of a text is not known: use TYPE I.")
    item = await session.files.status(path)
    if item.is_folder:
        raise FileError("a folder", "EISDIR")
    session.reply(213, str(item.size))


async def handle_MDTM(session: Session, argument: str) -> None:
    """Tell when a file was changed, in UTC (RFC 3659 3)."""
    item = await session.files.status(session.resolve(argument))
    session.reply(213, encode_time(item.modified))


async def handle_MFMT(session: Session, argument: str) -> None:
    """Set when a file was changed: `MFMT YYYYMMDDHHMMSS path`."""
    text, space, name = argument.partition(" ")
    try:
        modified = decode_time(text)
    except RemoteProtocolError as error:
        raise Refusal(501, "That is no time.") from error
    if not space or not name:
        raise Refusal(501, "Give a time and a path.")
    await session.files.set_modified(_below_root(session, name), modified)
    session.reply(213, f"Modify={encode_time(modified)}; {name}")


async def handle_MLST(session: Session, argument: str) -> None:
    """Tell the facts of one file or folder."""
    path = session.resolve(argument)
    item = await session.files.status(path)
    permissions = frozenset() if session.account is None else session.account.permissions
    line = fact_line(item, permissions, session.facts, show(path))
    session.reply_lines(250, "The facts:", [b" " + line], "End.")


async def site_CHMOD(session: Session, argument: str) -> None:
    """Set permission bits: `SITE CHMOD 644 path`. Three octal digits: none that lend others' rights."""
    session.require("M")
    text, _, name = argument.partition(" ")
    mode = _MODE.match(text)
    if mode is None or not name:
        raise Refusal(501, "Give three octal digits and a path.")
    await session.files.set_mode(_below_root(session, name), int(mode.group(1), 8))
    session.reply(200, "Changed.")
