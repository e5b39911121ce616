"""Commands about who one is and how connections are protected (RFC 959 4.1.1, 2228, 4217, 7151)."""

from __future__ import annotations

import ipaddress
import logging
import re
import typing

from portable.deferred import Deferred
from portable.errors import Cancelled
from protocols.ftp.server.session import Refusal
from protocols.ftp.server.states import State

if typing.TYPE_CHECKING:
    from protocols.ftp.server.session import Session

__all__ = [
    "handle_ACCT",
    "handle_AUTH",
    "handle_CCC",
    "handle_HOST",
    "handle_PASS",
    "handle_PBSZ",
    "handle_PROT",
    "handle_REIN",
    "handle_USER",
]

_log = logging.getLogger("protocols.ftp")

# RFC 7151 3.1: a name, an IPv4 address or an IPv6 address in brackets. 253 characters is the longest name.
_LABEL = "[A-Za-z0-9_-]{1,63}"
_HOST_NAME = re.compile(rf"(?=.{{1,254}}\Z){_LABEL}(\.{_LABEL})*\.?\Z")


def handle_USER(session: Session, name: str) -> None:
    """Name a user. The reply is the same whether there is one or not."""
    if session.site.require_tls and not session.secure:
        raise Refusal(530, "Protect the connection first: AUTH TLS.")
    session.log_out()
    session.name = name
    session.state = State.NAMED
    session.reply(331, "Give the password.")


async def handle_PASS(session: Session, password: str) -> None:
    """Log in. A wrong password is told the later the more there were from this peer."""
    site, peer = session.site, session.peer
    if site.attempts.refused(peer):
        _log.warning("refused a login from %s: too many have failed", peer)
        session.log_out()
        session.leave(421, "Too many logins have failed.")
        return
    session.checking = site.authenticate(session.name, password)
    try:
        account = await session.checking
    except Cancelled:
        # The client is gone. It counts as a failure, or nobody would ever be refused who has us check so.
        site.attempts.failed(peer)
        return
    # Asked again: many connections may have guessed at the same time.
    if account is not None and not site.attempts.refused(peer):
        # Whoever guesses could otherwise have the failures forgotten by being anonymous now and then.
        if account.proven:
            site.attempts.succeeded(peer)
        _log.info("login: %s from %s", session.name, peer)
        session.account = account
        session.state = State.READY
        session.reply(230, "Logged in.")
        return
    site.attempts.failed(peer)
    session.failures += 1
    # Without the name, which may be a password that was typed too early.
    _log.warning("failed login from %s", peer)
    session.log_out()
    waited: Deferred[None] = Deferred()
    site.network.call_later(site.attempts.wait(peer), waited.callback, None)
    await waited
    if session.failures >= site.limits.failures:
        session.leave(421, "Too many logins have failed.")
    else:
        session.reply(530, "The name or the password is wrong.")


def handle_ACCT(session: Session, _: str) -> None:
    """Answer that no account is needed beside the user."""
    session.reply(202, "No accounts are used here.")


def handle_REIN(session: Session, _: str) -> None:
    """Log out, and begin again. The connection stays protected (RFC 4217 11)."""
    session.reset()
    session.reply(220, session.site.greeting)


def handle_HOST(session: Session, name: str) -> None:
    """Take note of the host name: all names lead to the same files (RFC 7151 3.2)."""
    if session.state is not State.GREETED:
        raise Refusal(503, "HOST comes before USER.")
    if not _is_host(name):
        raise Refusal(501, "That is no host name.")
    session.reply(220, session.site.greeting)


def _is_host(name: str) -> bool:
    literal = name[1:-1] if name.startswith("[") and name.endswith("]") else ""
    if literal:
        try:
            ipaddress.IPv6Address(literal)
        except ValueError:
            return False
        return "%" not in literal
    return _HOST_NAME.match(name) is not None


def handle_AUTH(session: Session, mechanism: str) -> None:
    """Speak TLS from the next byte on (RFC 4217 4). More in clear behind the command ends the connection."""
    if session.site.tls is None:
        raise Refusal(502, "There is no TLS here.")
    if session.secure:
        raise Refusal(503, "The connection is protected already.")
    if mechanism.upper() not in {"TLS", "TLS-C"}:
        raise Refusal(504, "TLS is all there is.")
    session.start_tls(session.site.tls)


def handle_PBSZ(session: Session, size: str) -> None:
    """Agree on the size of buffers, which TLS has no need of (RFC 4217 8)."""
    if not session.secure:
        raise Refusal(503, "Give AUTH first.")
    if not size.isdecimal() or len(size) > 10:
        raise Refusal(501, "That is no number.")
    session.buffered = True
    session.reply(200, "PBSZ=0")


def handle_PROT(session: Session, level: str) -> None:
    """Protect data connections, or do not (RFC 4217 9)."""
    if not session.buffered:
        raise Refusal(503, "Give PBSZ first.")
    wanted = level.upper()
    if wanted in {"S", "E"}:
        raise Refusal(536, "Use PROT P, or PROT C.")
    if wanted not in {"P", "C"}:
        raise Refusal(504, "Use PROT P, or PROT C.")
    if wanted == "P" and session.site.tls is None:
        raise Refusal(431, "There is no certificate for data connections.")
    if wanted == "C" and session.site.require_tls:
        raise Refusal(534, "Data connections must be protected.")
    session.protected = wanted == "P"
    session.reply(200, f"PROT {wanted}.")


def handle_CCC(session: Session, _: str) -> None:
    """Refuse to go back to clear text: anybody on the way could give commands then (RFC 4217 12.3)."""
    if not session.secure:
        raise Refusal(533, "The connection is not protected.")
    raise Refusal(534, "The connection stays protected.")
