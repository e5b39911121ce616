"""Which targets a proxy connects to.

A rule is `TARGET[:PORTS]`:

    example.com            that name; *.example.com: every name below it, at any depth; *: everything
    192.0.2.7, 10.0.0.0/8  an address or a network; [2001:db8::]/32, or 2001:db8::/32 where no ports follow
    :80, :443,8000-8999    these ports; every port if none are given

What counts, in this order:

1. A target that a rule denies is refused.
2. A special address (private, loopback, link-local, metadata...; see `addresses`) is refused, unless a rule
   allows a network that it is in and that has no other addresses. Neither a name nor `*` nor 0.0.0.0/0 allows
   one: names are other people's to define, and who writes the others seldom thinks of these addresses.
3. If anything is allowed by rules, all else is refused. If nothing is, every other address may be reached.

A name is looked up once. Each of its addresses is checked, and those that pass are connected to as such, so
nobody can give one address to the check and another to the connection. A name that is denied can still be
reached by its address: deny its network as well.
"""

from __future__ import annotations

import ipaddress
import re
import typing
from dataclasses import dataclass

from portable.addresses import is_special, literal, meanings
from portable.errors import ConfigurationError

if typing.TYPE_CHECKING:
    from portable.addresses import IPAddress, IPNetwork

__all__ = ["Rule", "Rules", "parse_rule"]

_PATTERN = re.compile(r"(?:\*\.)?[a-z0-9_-]+(?:\.[a-z0-9_-]+)*\Z")
_PORTS = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?\Z")
_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")
_EVERYTHING = "*"


@dataclass(frozen=True, slots=True)
class Rule:
    """Some targets.

    Attributes:
        name: "*", "*.example.com" or "example.com", in lower case; "" if it is about a network.
        network: None if it is about names.
        ports: ranges, both ends included; () means every port.
    """

    name: str
    network: IPNetwork | None
    ports: tuple[tuple[int, int], ...]

    def has_port(self, port: int) -> bool:
        """Return whether it is about this port."""
        return not self.ports or any(low <= port <= high for low, high in self.ports)

    def has_name(self, host: str) -> bool:
        """Return whether it is about a host as the client named it. Of addresses, "*" is the only name."""
        if self.name == _EVERYTHING:
            return True
        name = host.lower().rstrip(".")
        if self.name[:2] == "*.":
            return name.endswith(self.name[1:])
        return bool(self.name) and name == self.name

    def has_address(self, address: IPAddress) -> bool:
        """Return whether it is about a network that the address is in."""
        network = self.network
        return network is not None and address.version == network.version and address in network


class Rules:
    """What is allowed, and what is denied: see above."""

    def __init__(self, allowed: typing.Sequence[Rule] = (), denied: typing.Sequence[Rule] = ()) -> None:
        self._allowed = tuple(allowed)
        self._denied = tuple(denied)
        self._opening = tuple(
            [rule for rule in allowed if rule.network is not None and is_special(rule.network)]
        )

    def may_ask_for(self, host: str, port: int) -> bool:
        """Return whether any address of `host` could be allowed. If not, it must not even be looked up: the
        question itself tells whoever owns the name something, and may carry what a client wants out.
        """
        if any(rule.has_port(port) and rule.has_name(host) for rule in self._denied):
            return False
        return not self._allowed or any(
            rule.has_port(port) and (rule.network is not None or rule.has_name(host)) for rule in self._allowed
        )

    def may_connect(self, host: str, address: str, port: int) -> bool:
        """Return whether a client that asked for `host` may be connected to this literal address of it."""
        found = meanings(address)
        if not found or not self.may_ask_for(host, port):
            return False
        if any(rule.has_port(port) and any(map(rule.has_address, found)) for rule in self._denied):
            return False
        for each in found:
            if is_special(ipaddress.ip_network(each)) and not any(
                rule.has_port(port) and rule.has_address(each) for rule in self._opening
            ):
                return False
        return not self._allowed or any(
            rule.has_port(port) and (rule.has_name(host) or any(map(rule.has_address, found)))
            for rule in self._allowed
        )


def parse_rule(text: str, where: str = "") -> Rule:
    """Return the rule that a person wrote.

    Raises:
        ConfigurationError: it is none; `where` names the place.
    """
    target, ports = _split(text, where)
    if target == _EVERYTHING:
        return Rule(target, None, ports)
    if "/" in target or literal(target) is not None:
        return Rule("", _network(target, where), ports)
    name = target.lower().rstrip(".")
    # Whatever ends in a number is an address to some resolvers ("127.1"), and never a name.
    if _PATTERN.match(name) is None or name.rpartition(".")[2].isdigit():
        raise ConfigurationError(f"{target!r} is no host name, *.NAME, *, address or network", where)
    return Rule(name, None, ports)


def _split(text: str, where: str) -> tuple[str, tuple[tuple[int, int], ...]]:
    """Return target and ports."""
    if text[:1] == "[":
        address, bracket, rest = text[1:].partition("]")
        length, colon, ports = rest.partition(":")
        if not bracket or (length and length[0] != "/"):
            raise ConfigurationError(f"{text!r}: write [ADDRESS]/LENGTH:PORTS", where)
        target = address + length
    elif text.count(":") > 1:
        return text, ()
    else:
        target, colon, ports = text.partition(":")
    return target, _parse_ports(ports, where) if colon else ()


def _parse_ports(text: str, where: str) -> tuple[tuple[int, int], ...]:
    ranges: list[tuple[int, int]] = []
    for word in text.split(","):
        found = _PORTS.match(word)
        low = int(found.group(1)) if found is not None else 0
        high = int(found.group(2) or low) if found is not None else 0
        if not 0 < low <= high <= 65535:
            raise ConfigurationError(
                f"{word!r} is no port from 1 to 65535, and no range such as 8000-8999", where
            )
        ranges.append((low, high))
    return tuple(ranges)


def _network(text: str, where: str) -> IPNetwork:
    try:
        network = ipaddress.ip_network(text)
    except ValueError as error:
        raise ConfigurationError(f"{text!r} is no address or network: {error}", where) from error
    if isinstance(network, ipaddress.IPv6Network) and network.subnet_of(_MAPPED):
        # Nobody is ever connected to those, but to the IPv4 addresses that they mean.
        return ipaddress.IPv4Network((network.network_address.packed[-4:], network.prefixlen - 96))
    return network
