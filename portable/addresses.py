"""What an address leads to: the Internet, or somewhere that who connects for others must not take them.

A proxy stands inside a network, where it reaches what its clients do not: services of its own machine, its
neighbours, and in a cloud the metadata service, which gives credentials to whoever can ask ("server-side
request forgery"). Such an address has more than one spelling, and may be inside another.
"""

from __future__ import annotations

import ipaddress
import typing

if typing.TYPE_CHECKING:
    IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
    IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

__all__ = ["is_public", "is_special", "literal", "meanings"]

# What IANA says is not reachable globally (registries of RFC 6890), and what is there but means somebody else.
_SPECIAL_V4 = tuple(
    [
        ipaddress.IPv4Network(text)
        for text in (
            "0.0.0.0/8",  # "this host": a connect to 0.0.0.0 goes to the machine itself
            "10.0.0.0/8",
            "100.64.0.0/10",  # between a provider and its customers; 100.100.100.200 is a metadata service
            "127.0.0.0/8",
            "168.63.129.16/32",  # a public address by which a cloud's machines reach their host
            "169.254.0.0/16",  # link-local; 169.254.169.254 is most clouds' metadata service
            "172.16.0.0/12",
            "192.0.0.0/24",  # 192.0.0.192 is a metadata service
            "192.0.2.0/24",
            "192.88.99.0/24",  # relays of 6to4, out of use
            "192.168.0.0/16",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",  # reserved, and broadcast
        )
    ]
)
# All that IANA has given out as global unicast; loopback, unique local, link-local and multicast are outside.
_GLOBAL_V6 = ipaddress.IPv6Network("2000::/3")
_SPECIAL_V6 = tuple(
    [
        ipaddress.IPv6Network(text)
        for text in (
            "2001::/23",  # protocol assignments, Teredo among them, which has an IPv4 address inside
            "2001:db8::/32",
            "3fff::/20",
        )
    ]
)
# Translated to the IPv4 address in the last four bytes (RFC 6052): as global as that is.
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def literal(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return the address that `host` is, without its scope; None if it is a name."""
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None


def meanings(host: str) -> list[IPAddress]:
    """Return the addresses that a literal address may lead to: itself, and an IPv4 address inside it.

    An IPv4-mapped address is nothing but its IPv4 address. [] if `host` is no address.
    """
    address = literal(host)
    if address is None:
        return []
    if isinstance(address, ipaddress.IPv4Address):
        return [address]
    if address.ipv4_mapped is not None:
        return [address.ipv4_mapped]
    if address.sixtofour is not None:
        return [address, address.sixtofour]
    if address in _NAT64:
        return [address, ipaddress.IPv4Address(address.packed[-4:])]
    return [address]


def is_special(network: IPNetwork) -> bool:
    """Return whether no address of a network is simply a host on the Internet."""
    if isinstance(network, ipaddress.IPv4Network):
        return any(network.subnet_of(special) for special in _SPECIAL_V4)
    if any(network.subnet_of(special) for special in _SPECIAL_V6):
        return True
    return not network.overlaps(_GLOBAL_V6) and not network.overlaps(_NAT64)


def is_public(host: str) -> bool:
    """Return whether the literal address `host`, and one inside it, is simply a host on the Internet."""
    found = meanings(host)
    return bool(found) and not any(is_special(ipaddress.ip_network(address)) for address in found)
