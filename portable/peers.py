"""Who is at the other end: sets of addresses and networks, and the key that connections are counted by."""

from __future__ import annotations

import ipaddress
import typing

from portable.errors import ConfigurationError
from portable.transport import Address, normalise_host

__all__ = ["UNIX_PEERS", "PeerSet", "peer_key"]

# The word for every peer on a Unix socket.
UNIX_PEERS = "unix"


class PeerSet:
    """A set of peers, made from addresses and networks: "192.0.2.7", "10.0.0.0/8", "fd00::/8", "unix".

    Raises:
        ConfigurationError: one of `words` is none of these.
    """

    def __init__(self, words: typing.Sequence[str], where: str = "") -> None:
        self._unix = UNIX_PEERS in words
        self._networks = [_network(word, where) for word in words if word != UNIX_PEERS]

    def __bool__(self) -> bool:
        """Return whether anybody is in it."""
        return self._unix or bool(self._networks)

    def __contains__(self, peer: Address | str | None) -> bool:
        if not isinstance(peer, Address):
            return self._unix and peer is not None
        address = _address(peer.host)
        return address is not None and any(
            address.version == network.version and address in network for network in self._networks
        )


def _network(word: str, where: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    try:
        return ipaddress.ip_network(normalise_host(word))
    except ValueError as exc:
        raise ConfigurationError(f"{word!r} is neither an address nor a network: {exc}", where) from exc


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(normalise_host(host.partition("%")[0]))
    except ValueError:
        return None


def peer_key(peer: Address | str | None) -> str:
    """Return what the connections of one peer have in common: an IPv4 address, or the first 64 bits of an IPv6
    one, because whoever has one of these has all of that network. "" for Unix sockets: they are not told apart.
    """
    if not isinstance(peer, Address):
        return ""
    host = normalise_host(peer.host)
    if ":" not in host:
        return host
    address = _address(host)
    return host if address is None else f"{int(address) >> 64:x}/64"
