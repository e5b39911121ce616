"""How the ends of a data connection are written: PORT and 227 (RFC 959 5.3.2), EPRT and 229 (RFC 2428).

Everything here is what a peer says, and no reason to trust it. A server that connects to whatever PORT
names can be made to attack others (RFC 2577 3), and so can a client that connects to whatever 227 names.
Whoever decodes an address compares it with the peer of the control connection, or takes only the port of it.
"""

from __future__ import annotations

import ipaddress
import re

from portable.errors import LocalProtocolError, RemoteProtocolError
from portable.transport import Address, normalise_host

__all__ = [
    "IPV4",
    "IPV6",
    "UnknownNetworkProtocol",
    "decode_227",
    "decode_229",
    "decode_eprt",
    "decode_port",
    "encode_227",
    "encode_229",
    "encode_eprt",
    "encode_port",
    "network_protocol",
]

# The numbers of RFC 2428 2, from the registry of address families.
IPV4 = 1
IPV6 = 2

# The longest address is an IPv6 one with IPv4 in its end: 45 characters. Then protocol, port, delimiters.
MAX_EPRT = 64  # characters
# Leading zeros are refused: programs disagree on whether "010" is eight or ten.
_NUMBER = "(0|[1-9][0-9]{0,2})"
_SIX_NUMBERS = ",".join([_NUMBER] * 6)
_PORT = re.compile(_SIX_NUMBERS)
_IN_227 = re.compile(f"(?<![0-9,]){_SIX_NUMBERS}(?![0-9,])")
_IN_229 = re.compile(r"\(([!-~])\1\1([1-9][0-9]{0,4})\1\)")
_TCP_PORT = re.compile("[1-9][0-9]{0,4}")
_PROTOCOL = re.compile("[0-9]{1,5}")
# What may stand in one of the fields cannot tell them apart.
_NO_DELIMITER = re.compile("[0-9A-Za-z.:%]")


class UnknownNetworkProtocol(RemoteProtocolError):
    """EPRT names a protocol that is neither IPV4 nor IPV6: answer 522, not 501 (RFC 2428 2)."""


def network_protocol(host: str) -> int:
    """Return IPV4 or IPV6, for a literal address as `Address.host` spells it."""
    return IPV6 if ":" in normalise_host(host) else IPV4


def encode_port(address: Address) -> str:
    """Return the argument of PORT: "127,0,0,1,4,210".

    Raises:
        LocalProtocolError: `address` is not IPv4, or its port is not 1 to 65535.
    """
    host = _literal(address)
    if host.version != 4:
        raise LocalProtocolError(f"PORT and PASV cannot name the IPv6 address {address.host}")
    return ",".join([*str(host).split("."), str(address.port >> 8), str(address.port & 255)])


def decode_port(argument: str) -> Address:
    """Return what the argument of PORT names.

    Raises:
        RemoteProtocolError: it is not six numbers of 0 to 255, without leading zeros, or the port is 0.
    """
    match = _PORT.fullmatch(argument)
    if match is None:
        raise RemoteProtocolError("PORT wants six decimal numbers with commas between")
    return _six_numbers(match)


def encode_227(address: Address) -> str:
    """Return the text of the reply 227 to PASV.

    Raises:
        LocalProtocolError: as `encode_port`.
    """
    return f"Entering Passive Mode ({encode_port(address)})."


def decode_227(text: str) -> Address:
    """Return the address in the text of a reply 227, wherever it stands: RFC 1123 4.1.2.6 warns that servers
    differ about parentheses.

    Raises:
        RemoteProtocolError: the text has no such address.
    """
    match = _IN_227.search(text)
    if match is None:
        raise RemoteProtocolError("a reply 227 without an address")
    return _six_numbers(match)


def encode_eprt(address: Address) -> str:
    """Return the argument of EPRT: "|2|2001:db8::1|6275|".

    Raises:
        LocalProtocolError: `address` is not a literal one, or its port is not 1 to 65535.
    """
    host = _literal(address)
    return f"|{IPV4 if host.version == 4 else IPV6}|{host}|{address.port}|"


def decode_eprt(argument: str) -> Address:
    """Return what the argument of EPRT names.

    Raises:
        UnknownNetworkProtocol: the protocol is a number, but not IPV4 or IPV6.
        RemoteProtocolError: anything else is wrong with it, such as an address of the other protocol.
    """
    if not 0 < len(argument) <= MAX_EPRT:
        raise RemoteProtocolError("EPRT wants |protocol|address|port|")
    delimiter = argument[0]
    fields = argument.split(delimiter)
    if not "!" <= delimiter <= "~" or _NO_DELIMITER.match(delimiter) or len(fields) != 5 or fields[4]:
        raise RemoteProtocolError("EPRT wants |protocol|address|port|")
    protocol, host, port = fields[1:4]
    if not _PROTOCOL.fullmatch(protocol):
        raise RemoteProtocolError("EPRT wants the number of a network protocol")
    if int(protocol) not in (IPV4, IPV6):
        raise UnknownNetworkProtocol(f"the network protocol {int(protocol)} is not supported")
    try:
        literal = ipaddress.IPv4Address(host) if int(protocol) == IPV4 else ipaddress.IPv6Address(host)
    except ValueError as exc:
        raise RemoteProtocolError("EPRT wants a literal address of the protocol that it names") from exc
    if "%" in host:
        # A scope means something on the machine that wrote it, and nowhere else.
        raise RemoteProtocolError("EPRT wants an address without a scope")
    return Address(normalise_host(_spell(literal)), _tcp_port(port))


def encode_229(port: int) -> str:
    """Return the text of the reply 229 to EPSV.

    Raises:
        LocalProtocolError: `port` is not 1 to 65535.
    """
    _check_port(port)
    return f"Entering Extended Passive Mode (|||{port}|)"


def decode_229(text: str) -> int:
    """Return the port in the text of a reply 229. The address is always that of the control connection's peer.

    Raises:
        RemoteProtocolError: the text has no such port.
    """
    match = _IN_229.search(text)
    if match is None or _NO_DELIMITER.match(match.group(1)):
        raise RemoteProtocolError("a reply 229 without a port")
    return _tcp_port(match.group(2))


def _six_numbers(match: re.Match[str]) -> Address:
    numbers = [int(number) for number in match.groups()]
    port = numbers[4] << 8 | numbers[5]
    if max(numbers) > 255 or not port:
        raise RemoteProtocolError("a host and port of numbers that are above 255, or a port 0")
    return Address(".".join(str(number) for number in numbers[:4]), port)


def _tcp_port(digits: str) -> int:
    if not _TCP_PORT.fullmatch(digits) or int(digits) > 65535:
        raise RemoteProtocolError("a TCP port must be 1 to 65535")
    return int(digits)


def _check_port(port: int) -> None:
    if not 0 < port < 65536:
        raise LocalProtocolError(f"a TCP port must be 1 to 65535: {port}")


def _literal(address: Address) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    _check_port(address.port)
    try:
        return ipaddress.ip_address(normalise_host(address.host).partition("%")[0])
    except ValueError as exc:
        raise LocalProtocolError(f"not a literal address: {address.host!r}") from exc


def _spell(literal: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    mapped = literal.ipv4_mapped if isinstance(literal, ipaddress.IPv6Address) else None
    return str(literal if mapped is None else mapped)
