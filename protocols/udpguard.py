"""Answering datagrams without becoming a weapon.

The sender's address of a datagram may be forged. A service that answers everybody can be made to flood a
victim with answers larger than the requests (amplification), or to talk for ever to another service that
answers too, such as the echo server next door (a loop). `ReplyGuard` decides which answers may be sent:

1. None to a source port below 1024, where services live and clients do not (echo, daytime, chargen, DNS, NTP),
   nor to a port that it was told is a service; none to port 0, nor to an address that is nobody's own.
2. None whose bytes, with 28 for the IP and UDP headers, exceed what one peer may get (an IPv4 address, an IPv6
   /64), or what all of them together may: PEER_RATE and TOTAL_RATE bytes a second.

So forging a victim's address brings it at most PEER_RATE bytes a second, whatever the size of the requests, and
all victims together at most TOTAL_RATE, even with forged addresses without number. The price is that somebody
who forges addresses can have honest clients wait.
"""

from __future__ import annotations

import collections
import ipaddress
import typing

from portable.protocol import DatagramProtocol

if typing.TYPE_CHECKING:
    from portable.clock import Clock
    from portable.transport import Address, DatagramTransport

__all__ = [
    "LOWEST_CLIENT_PORT",
    "MAX_PEERS",
    "PEER_RATE",
    "TOTAL_RATE",
    "DatagramAnswers",
    "ReplyGuard",
    "TokenBucket",
]

LOWEST_CLIENT_PORT = 1024
# Bytes a second. Enough for a person who tries a service out, too little to disturb a victim.
PEER_RATE = 2_048.0
TOTAL_RATE = 65_536.0
# A bucket holds the bytes of so many seconds: what may be sent at once after a silence.
BURST_SECONDS = 4.0
# Peers whose rate is known; the one not heard of for longest is forgotten for a new one. About 200 bytes each.
MAX_PEERS = 4_096
HEADERS = 28  # bytes of IPv4 and UDP


class TokenBucket:
    """Allows `rate` units a second on average, and `burst` at once."""

    __slots__ = ("_burst", "_rate", "_tokens", "_when")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._when = now

    def has(self, cost: float, now: float) -> bool:
        """Return whether `cost` may be spent at the time `now`."""
        self._tokens = min(self._burst, self._tokens + (now - self._when) * self._rate)
        self._when = now
        return cost <= self._tokens

    def spend(self, cost: float) -> None:
        """Take `cost`, which `has` allowed."""
        self._tokens -= cost


class ReplyGuard:
    """Decides which datagrams may be answered. One for all services of a process, so that TOTAL_RATE holds.

    Args:
        clock: its `time` fills the buckets.
        service_ports: ports at 1024 or above that are never answered: those of our own services, and others
            known to answer everything.
        peer_rate, total_rate: bytes a second.
        max_peers: see MAX_PEERS.

    Attributes:
        refused: how many answers were not sent, ever.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        service_ports: typing.Iterable[int] = (),
        peer_rate: float = PEER_RATE,
        total_rate: float = TOTAL_RATE,
        max_peers: int = MAX_PEERS,
    ) -> None:
        self._clock = clock
        self._service_ports = frozenset(service_ports)
        self._peer_rate = peer_rate
        self._total = TokenBucket(total_rate, total_rate * BURST_SECONDS, clock.time())
        self._peers: collections.OrderedDict[str, TokenBucket] = collections.OrderedDict()
        self._max_peers = max_peers
        self.refused = 0

    def __len__(self) -> int:
        """Return how many peers are remembered."""
        return len(self._peers)

    def answerable(self, addr: Address) -> bool:
        """Return whether a client may live at `addr`. Cheap; ask before an answer is made."""
        return self._client(addr) is not None

    def admit(self, addr: Address, size: int) -> bool:
        """Return whether an answer of `size` bytes may be sent to `addr` now, and charge it if so."""
        peer = self._client(addr)
        if peer is None:
            return False
        now = self._clock.time()
        cost = size + HEADERS
        bucket = self._peers.get(peer)
        if bucket is None:
            bucket = TokenBucket(self._peer_rate, self._peer_rate * BURST_SECONDS, now)
            self._peers[peer] = bucket
            if len(self._peers) > self._max_peers:
                self._peers.popitem(last=False)
        else:
            self._peers.move_to_end(peer)
        if not bucket.has(cost, now) or not self._total.has(cost, now):
            self.refused += 1
            return False
        bucket.spend(cost)
        self._total.spend(cost)
        return True

    def _client(self, addr: Address) -> str | None:
        peer = None
        if addr.port >= LOWEST_CLIENT_PORT and addr.port not in self._service_ports:
            peer = _peer(addr.host)
        if peer is None:
            self.refused += 1
        return peer


class DatagramAnswers(DatagramProtocol):
    """Answers each datagram by itself, as far as a guard allows.

    Args:
        answer: returns the answer's data (b"" is an empty datagram).
        guard: shared by all services of the process.
    """

    _transport: DatagramTransport

    def __init__(self, answer: typing.Callable[[bytes], bytes], guard: ReplyGuard) -> None:
        self._answer = answer
        self._guard = guard

    def connection_made(self, transport: DatagramTransport) -> None:
        """See `DatagramProtocol.connection_made`."""
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Address) -> None:
        """Answer, if that is safe."""
        if not self._guard.answerable(addr):
            return
        answer = self._answer(data)
        if self._guard.admit(addr, len(answer)):
            self._transport.sendto(answer, addr)


def _peer(host: str) -> str | None:
    """Return what counts as one peer, or None if no single machine can have this address."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    if address.is_multicast or address.is_unspecified or address.packed == b"\xff\xff\xff\xff":
        return None
    if address.version == 6:
        # Who has one address of a /64 has them all (RFC 4291 2.5.4).
        return address.packed[:8].hex()
    return str(address)
