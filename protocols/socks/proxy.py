"""What the connections of one SOCKS proxy share: its policy, its limits and what it is doing."""

from __future__ import annotations

import logging
import typing
from dataclasses import dataclass

from portable.addresses import literal
from portable.logpace import LogPace
from portable.transport import Address

if typing.TYPE_CHECKING:
    from portable.deferred import Deferred
    from portable.reactor import Reactor
    from protocols.socks.rules import Rules

    # Whoever is at the other end of a connection, as `peername` says.
    Peer = Address | str | None

__all__ = ["Limits", "Policy", "Record", "SharedState"]

_log = logging.getLogger("protocols.socks")


@dataclass(frozen=True, slots=True)
class Limits:
    """Attributes in seconds, but the last two.

    Attributes:
        request: for everything up to a whole request, logging in included. People do not type requests.
        connect: for looking up a name, and connecting to its addresses.
        bind: for the peer of a BIND request to come; RFC 1928 names no time, active FTP needs a moment.
        linger: for a client to take the refusal of its request. RFC 1928 6 sets the end at 10 seconds.
        binds: BIND requests that wait at one time. Each takes a port, and the rest need ports too.
        addresses: of a name, that are tried. Whoever owns a name may give it hundreds, for us to knock at.
    """

    request: float = 30.0
    connect: float = 30.0
    bind: float = 120.0
    linger: float = 5.0
    binds: int = 100
    addresses: int = 8


@dataclass(frozen=True, slots=True)
class Record:
    """One connection, when it has ended.

    Attributes:
        peer: the client.
        started: seconds of POSIX.
        duration: seconds.
        version: "4", "4a", "5"; "" if there was no request.
        command: its number; 0 if there was no request.
        host, port: the target, as the client named it.
        user: who the client says its user is, or who has logged in; "" for nobody.
        identified: whether the client's identd confirmed it.
        address: who the client was connected to; None for nobody.
        code: of the last reply; None if there was none.
        sent: bytes from the client to the target.
        received: bytes from the target to the client.
        result: in words.
    """

    peer: Peer
    started: float
    duration: float
    version: str
    command: int
    host: str
    port: int
    user: str
    identified: bool
    address: Peer
    code: int | None
    sent: int
    received: int
    result: str


@dataclass(frozen=True, slots=True)
class Policy:
    """Who may do what.

    Attributes:
        serves: whether a client may use the proxy at all.
        rules: where to.
        speaks: the versions, of 4 and 5.
        check_user: of SOCKS 4, given the client, our address that it is connected to, and its user id. Gives
            whether an identd confirmed it; fails with `Refused`. None: the user id counts for nothing.
        check_password: of SOCKS 5, given the client, a name and a password. Gives whether they are right. None:
            nobody is asked for any.
    """

    serves: typing.Callable[[Peer], bool]
    rules: Rules
    speaks: frozenset[int]
    check_user: typing.Callable[[Peer, Peer, str], Deferred[bool]] | None = None
    check_password: typing.Callable[[Peer, bytes, bytes], Deferred[bool]] | None = None


class SharedState:
    """One proxy.

    Args:
        reactor: connects, listens, looks names up, and keeps the time.
        policy: see `Policy`.
        limits: see `Limits`.
        record: called for each connection that has ended.
        wall_clock: the seconds of POSIX, for records.
        own_addresses: where the proxy listens.
        bind_host: the literal address on which BIND waits, and which clients are told; "" for the one that the
            client is connected to.

    Attributes:
        reactor, policy, limits, record, wall_clock, bind_host: as given.
        waiting: how many BIND requests wait for their peer.
    """

    def __init__(
        self,
        reactor: Reactor,
        policy: Policy,
        limits: Limits,
        *,
        record: typing.Callable[[Record], object],
        wall_clock: typing.Callable[[], float],
        own_addresses: typing.Callable[[], typing.Sequence[Address | str]] = tuple,
        bind_host: str = "",
    ) -> None:
        self.reactor = reactor
        self.policy = policy
        self.limits = limits
        self.record = record
        self.wall_clock = wall_clock
        self.bind_host = bind_host
        self.waiting = 0
        self._own_addresses = own_addresses
        self._refusals = LogPace()

    def log_refusal(self, peer: Peer, why: Exception) -> None:
        """Say in the log that a client was refused; not for each under a flood."""
        count = self._refusals.count(self.reactor.time())
        if count:
            _log.info("%d client(s) refused, the last one from %s: %s", count, peer, why)

    def is_itself(self, peer: Peer, local: Peer) -> bool:
        """Return whether a connection that was opened, from `local` to `peer`, has come to the proxy itself.

        A client that asks for that could have the proxy talk to itself until it has no descriptors left, and
        would come from the proxy's own address, which the policy may trust.
        """
        if not isinstance(peer, Address):
            return False
        target = literal(peer.host)
        for own in self._own_addresses():
            if not isinstance(own, Address) or own.port != peer.port or target is None:
                continue
            bound = literal(own.host)
            if bound == target:
                return True
            # It listens on every address. Those of this machine are connected to from themselves.
            if bound is not None and bound.is_unspecified:
                return target.is_loopback or (isinstance(local, Address) and local.host == peer.host)
        return False
