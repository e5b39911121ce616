"""Commands that tell something, and QUIT (RFC 959 4.1.3, 2389)."""

from __future__ import annotations

import typing

from protocols.ftp.facts import decode_fact_list, encode_fact_list
from protocols.ftp.server.fileops import site_CHMOD
from protocols.ftp.server.listing import FACTS, long_line, split_options
from protocols.ftp.server.session import Refusal
from protocols.ftp.server.transferring import open_listing

if typing.TYPE_CHECKING:
    from protocols.ftp.server.session import Session

__all__ = [
    "handle_FEAT",
    "handle_NOOP",
    "handle_OPTS",
    "handle_QUIT",
    "handle_SITE",
    "handle_STAT",
    "handle_SYST",
]


def handle_NOOP(session: Session, _: str) -> None:
    """Do nothing."""
    session.reply(200, "Nothing done.")


def handle_SYST(session: Session, _: str) -> None:
    """Tell the system, in the words that clients look for."""
    session.reply(215, "UNIX Type: L8")


def handle_QUIT(session: Session, _: str) -> None:
    """Close the connection, after the transfer under way."""
    session.leaving = True
    if session.transfer is None:
        session.leave(221, "Goodbye.")


def handle_FEAT(session: Session, _: str) -> None:
    """Tell what RFC 959 does not have (RFC 2389 3)."""
    features = ["EPRT", "EPSV", "HOST", "MDTM", "MFMT"]
    features += [f"MLST {encode_fact_list(FACTS, session.facts)}"]
    features += ["REST STREAM", "SIZE", "TVFS", "UTF8"]
    if session.site.tls is not None:
        features += ["AUTH TLS", "PBSZ", "PROT"]
    session.reply_lines(211, "Features:", [f" {each}".encode() for each in sorted(features)], "End.")


def handle_OPTS(session: Session, argument: str) -> None:
    """Set what a feature leaves open: the facts of MLST. Names are in UTF-8 anyway (RFC 2640)."""
    name, _, value = argument.partition(" ")
    if name.upper() == "MLST":
        asked = decode_fact_list(value)
        session.facts = frozenset([fact for fact in FACTS if fact in asked])
        shown = encode_fact_list([fact for fact in FACTS if fact in session.facts])
        session.reply(200, f"MLST OPTS {shown}".rstrip())
    elif name.upper() == "UTF8" and value.upper() in {"", "ON"}:
        session.reply(200, "Names are in UTF-8.")
    elif name.upper() == "UTF8":
        raise Refusal(504, "Names are in UTF-8.")
    else:
        raise Refusal(501, "There are no such options.")


async def handle_STAT(session: Session, argument: str) -> None:
    """Tell the state of the session or, of a path, a listing on the control connection."""
    if not argument:
        session.reply_lines(211, "Status:", [f" {line}".encode() for line in _status(session)], "End.")
        return
    session.require("l")
    path = session.resolve(split_options(argument))
    now = session.site.now()
    source = await open_listing(session, path, lambda item: long_line(item, now))
    lines: list[bytes] = []
    try:
        piece: bytes | None = b""
        while piece is not None and len(lines) <= session.site.limits.status:
            lines += piece.splitlines()
            piece = await source.read()
    finally:
        source.close()
    shown = lines[: session.site.limits.status]
    more = "There is more: use LIST." if len(lines) > len(shown) else "End."
    session.reply_lines(213, "The listing:", shown, more)


def _status(session: Session) -> list[str]:
    lines = [
        "Logged in." if session.account is not None else "Not logged in.",
        f"Type {'I' if session.binary else 'A'}, structure F, mode S.",
        f"The control connection is {'protected' if session.secure else 'in clear'}.",
        f"Data connections are {'protected' if session.protected else 'in clear'}.",
    ]
    if session.transfer is not None:
        lines.append(f"{session.transfer.moved} bytes have been transferred.")
    return lines


def handle_SITE(session: Session, argument: str) -> typing.Coroutine[typing.Any, typing.Any, None] | None:
    """Do what only some servers can."""
    name, _, rest = argument.partition(" ")
    if name.upper() == "CHMOD":
        return site_CHMOD(session, rest)
    if name.upper() != "HELP":
        raise Refusal(504, "There is no such command of this site.")
    session.reply_lines(214, "Commands of this site:", [b" CHMOD <mode> <path>", b" HELP"], "End.")
    return None
