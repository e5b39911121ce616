"""Commands that prepare a transfer: how, from where, and by which connection (RFC 959 4.1.2, 2428, 3659 5)."""

from __future__ import annotations

import logging
import typing

from portable.errors import ListenError, LocalProtocolError, RemoteProtocolError
from portable.transport import Address
from protocols.ftp.addresses import (
    UnknownNetworkProtocol,
    decode_eprt,
    decode_port,
    encode_227,
    encode_229,
    network_protocol,
)
from protocols.ftp.server.channels import ActiveChannel, PassiveChannel
from protocols.ftp.server.session import Refusal
from protocols.ftp.server.states import State

if typing.TYPE_CHECKING:
    from protocols.ftp.server.session import Session

__all__ = [
    "handle_ALLO",
    "handle_EPRT",
    "handle_EPSV",
    "handle_MODE",
    "handle_PASV",
    "handle_PORT",
    "handle_REST",
    "handle_STRU",
    "handle_TYPE",
]

_log = logging.getLogger("protocols.ftp")

# Below are the ports of services that trust whom they should not (RFC 2577 3).
FIRST_UNPRIVILEGED = 1024


def handle_TYPE(session: Session, argument: str) -> None:
    """Set the type: A for text, I or L 8 for everything else."""
    wanted = argument.upper().split()
    if wanted in (["A"], ["A", "N"]):
        session.binary = False
    elif wanted in (["I"], ["L", "8"]):
        session.binary = True
    elif wanted and wanted[0] in {"A", "E", "I", "L"}:
        raise Refusal(504, "Use TYPE A, TYPE I or TYPE L 8.")
    else:
        raise Refusal(501, "That is no type.")
    session.reply(200, f"Type {'I' if session.binary else 'A'}.")


def handle_STRU(session: Session, argument: str) -> None:
    """Set the structure: files are rows of bytes."""
    _choose(session, argument, "F", "FRP")


def handle_MODE(session: Session, argument: str) -> None:
    """Set the mode: the end of the connection is that of the file."""
    _choose(session, argument, "S", "SBCZ")


def _choose(session: Session, argument: str, here: str, known: str) -> None:
    if argument.upper() == here:
        session.reply(200, f"{here} it is.")
    elif len(argument) == 1 and argument.upper() in known:
        raise Refusal(504, f"Use {here}.")
    else:
        raise Refusal(501, f"Use {here}.")


def handle_ALLO(session: Session, _: str) -> None:
    """Answer that no space needs to be reserved."""
    session.reply(202, "No storage needs to be allocated.")


def handle_REST(session: Session, argument: str) -> None:
    """Have the next transfer begin after so many bytes."""
    # 2**63 has 19 digits.
    if not (argument.isascii() and argument.isdecimal() and len(argument) < 19):
        raise Refusal(501, "That is no number of bytes.")
    offset = int(argument)
    if offset and not session.binary:
        raise Refusal(504, "A text cannot be restarted: use TYPE I.")
    session.restart_at = offset
    session.state = State.RESTARTING
    session.reply(350, f"Restarting at {offset}.")


def handle_EPSV(session: Session, argument: str) -> None:
    """Announce a port for the client to connect to (RFC 2428 3)."""
    own, _ = session.addresses()
    if argument.upper() == "ALL":
        session.only_epsv = True
        session.reply(200, "EPSV it is from now on.")
        return
    if argument and argument != str(network_protocol(own)):
        if argument in {"1", "2"}:
            raise Refusal(522, f"Network protocol not supported, use ({network_protocol(own)})")
        raise Refusal(501, "That is no network protocol.")
    session.reply(229, encode_229(_listen(session).port))


def handle_PASV(session: Session, _: str) -> None:
    """Announce an IPv4 address and port for the client to connect to."""
    _refuse_after_epsv_all(session)
    own, _peer = session.addresses()
    host = session.site.masquerade or own
    if network_protocol(host) != 1:
        raise Refusal(425, "PASV is for IPv4: use EPSV.")
    session.reply(227, encode_227(Address(host, _listen(session).port)))


def _listen(session: Session) -> PassiveChannel:
    site = session.site
    own, peer = session.addresses()
    session.set_channel(None)
    try:
        channel = PassiveChannel(site.network, site.throttle, site.limits.connect, site.ports, own, peer)
    except ListenError as error:
        _log.error("no passive port: %s", error)
        raise Refusal(425, "There is no port for a data connection; try again later.") from error
    session.set_channel(channel)
    return channel


def handle_PORT(session: Session, argument: str) -> None:
    """Take the IPv4 address and port that we are to connect to."""
    _refuse_after_epsv_all(session)
    try:
        target = decode_port(argument)
    except RemoteProtocolError as error:
        raise Refusal(501, "That is no address.") from error
    _connect_to(session, target)


def handle_EPRT(session: Session, argument: str) -> None:
    """Take the address and port that we are to connect to (RFC 2428 2)."""
    _refuse_after_epsv_all(session)
    own, _ = session.addresses()
    try:
        target = decode_eprt(argument)
    except UnknownNetworkProtocol as error:
        raise Refusal(522, f"Network protocol not supported, use ({network_protocol(own)})") from error
    except (RemoteProtocolError, LocalProtocolError) as error:
        raise Refusal(501, "That is no address.") from error
    if network_protocol(target.host) != network_protocol(own):
        raise Refusal(522, f"Network protocol not supported, use ({network_protocol(own)})")
    _connect_to(session, target)


def _refuse_after_epsv_all(session: Session) -> None:
    if session.only_epsv:
        raise Refusal(501, "You have said EPSV ALL.")


def _connect_to(session: Session, target: Address) -> None:
    site = session.site
    own, peer = session.addresses()
    # Whatever else it were, somebody else would be connected to by us (RFC 2577 3, CVE-1999-0017).
    if target.host != peer.partition("%")[0] or target.port < FIRST_UNPRIVILEGED:
        _log.warning("refused to open a data connection for %s to %s", peer, target)
        raise Refusal(504, "Data connections go to your own address, and to no port below 1024.")
    session.set_channel(
        ActiveChannel(site.network, site.throttle, site.limits.connect, own, Address(peer, target.port))
    )
    session.reply(200, "That is where data will go.")
