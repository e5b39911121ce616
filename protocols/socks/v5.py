"""The messages of SOCKS 5 (RFC 1928), and of its authentication by user name and password (RFC 1929).

methods        5  count    method ...                   what the client can do to say who it is
method         5  method                                what it shall do; 255: none of these
login          1  length   name  length  password       after method 2
login reply    1  status                                0: good
request        5  command  0  type  address  port:2
reply          5  code     0  type  address  port:2

type 1: IPv4, 4 bytes; 3: a name behind its length; 4: IPv6, 16 bytes
"""

from __future__ import annotations

import ipaddress
import struct
import typing
from dataclasses import dataclass

from portable.addresses import literal
from portable.errors import LocalProtocolError, RemoteProtocolError
from protocols.socks.messages import MAX_HOST, Outcome, Refused, Reply, Request, read_host

if typing.TYPE_CHECKING:
    from portable.framing import Reader

__all__ = [
    "NO_ACCEPTABLE_METHOD",
    "NO_AUTHENTICATION",
    "PASSWORD",
    "VERSION",
    "Login",
    "encode_login",
    "encode_login_reply",
    "encode_method",
    "encode_methods",
    "encode_reply",
    "encode_request",
    "read_login",
    "read_login_reply",
    "read_method",
    "read_methods",
    "read_reply",
    "read_request",
]

VERSION = 5
NO_AUTHENTICATION = 0
PASSWORD = 2
NO_ACCEPTABLE_METHOD = 255

_LOGIN_VERSION = 1
_MAX_TEXT = 255  # what an octet can count
_IPV4, _NAME, _IPV6 = 1, 3, 4
_LENGTHS = {_IPV4: 4, _IPV6: 16}
# The outcomes in the order of their codes (RFC 1928 6). "TTL expired" is how proxies say that time was up.
_OUTCOMES = (
    Outcome.GRANTED,
    Outcome.FAILED,
    Outcome.FORBIDDEN,
    Outcome.NETWORK_UNREACHABLE,
    Outcome.HOST_UNREACHABLE,
    Outcome.CONNECTION_REFUSED,
    Outcome.TIMED_OUT,
    Outcome.UNKNOWN_COMMAND,
    Outcome.UNKNOWN_ADDRESS_TYPE,
)
_CODES = {outcome: code for code, outcome in enumerate(_OUTCOMES)}


@dataclass(frozen=True, slots=True)
class Login:
    """A name and a password, of 0 to 255 octets each."""

    name: bytes
    password: bytes

    def __repr__(self) -> str:
        return f"Login({self.name!r}, ***)"


def _expect(data: bytes, version: int, what: str) -> None:
    if data and data[0] != version:
        raise RemoteProtocolError(f"a {what} begins with {version}, not {data[0]}")


def read_methods(reader: Reader) -> bytes | None:
    """Return the methods that a client offers, one octet each, or None until they have all come.

    Raises:
        RemoteProtocolError: this is no such message.
    """
    head = reader.peek(2)
    _expect(head, VERSION, "greeting of SOCKS 5")
    if len(head) < 2:
        return None
    data = reader.read_exactly(2 + head[1])
    return None if data is None else data[2:]


def encode_methods(methods: bytes) -> bytes:
    """Return the message that offers `methods`, at most 255 of them."""
    return struct.pack("!BB", VERSION, len(methods)) + methods


def read_method(reader: Reader) -> int | None:
    """Return the method that the proxy has chosen, or None until it has come.

    Raises:
        RemoteProtocolError: this is no such message.
    """
    _expect(reader.peek(1), VERSION, "choice of a method")
    data = reader.read_exactly(2)
    return None if data is None else data[1]


def encode_method(method: int) -> bytes:
    """Return the message that chooses `method`."""
    return struct.pack("!BB", VERSION, method)


def read_login(reader: Reader) -> Login | None:
    """Return the next login (RFC 1929 2), or None until it is complete.

    Raises:
        RemoteProtocolError: this is no such message.
    """
    data = reader.peek(3 + 2 * _MAX_TEXT)
    _expect(data, _LOGIN_VERSION, "login")
    name_end = 2 + data[1] if len(data) > 1 else 0
    if not name_end or len(data) <= name_end:
        return None
    end = name_end + 1 + data[name_end]
    if len(data) < end:
        return None
    reader.read_exactly(end)
    return Login(data[2:name_end], data[name_end + 1 : end])


def encode_login(login: Login) -> bytes:
    """Return a login.

    Raises:
        LocalProtocolError: name or password are empty, or longer than 255 bytes.
    """
    words = [struct.pack("!B", _LOGIN_VERSION)]
    for text in (login.name, login.password):
        if not 0 < len(text) <= _MAX_TEXT:
            raise LocalProtocolError(f"SOCKS 5 takes names and passwords of 1 to {_MAX_TEXT} bytes")
        words += [struct.pack("!B", len(text)), text]
    return b"".join(words)


def read_login_reply(reader: Reader) -> bool | None:
    """Return whether the login was good, or None until that has come.

    Raises:
        RemoteProtocolError: this is no such message.
    """
    # Some proxies begin it with 5 (which RFC 1929 does not allow); the status is what counts.
    if reader.peek(1) not in {b"", b"\1", b"\5"}:
        raise RemoteProtocolError("the reply to a login begins with 1")
    data = reader.read_exactly(2)
    return None if data is None else data[1] == 0


def encode_login_reply(good: bool) -> bytes:
    """Return the reply to a login."""
    return struct.pack("!BB", _LOGIN_VERSION, 0 if good else 1)


def read_request(reader: Reader) -> Request | None:
    """Return the next request, or None until it is complete.

    Raises:
        RemoteProtocolError: it is none.
        Refused: its type of address is unknown, or its host is no host.
    """
    fields = _read_fields(reader, "request")
    return None if fields is None else Request("5", *fields)


def encode_request(request: Request) -> bytes:
    """Return a request.

    Raises:
        LocalProtocolError: the host is empty, or longer than MAX_HOST.
    """
    return _encode_fields(request.command, request.host, request.port)


def read_reply(reader: Reader) -> Reply | None:
    """Return the next reply, or None until it is complete.

    Raises:
        RemoteProtocolError: it is none.
    """
    fields = _read_fields(reader, "reply")
    if fields is None:
        return None
    code, host, port = fields
    return Reply(_OUTCOMES[code] if code < len(_OUTCOMES) else Outcome.FAILED, host, port)


def encode_reply(reply: Reply) -> bytes:
    """Return a reply."""
    return _encode_fields(_CODES.get(reply.outcome, _CODES[Outcome.FAILED]), reply.host, reply.port)


def _read_fields(reader: Reader, what: str) -> tuple[int, str, int] | None:
    """Return command or code, host and port."""
    head = reader.peek(5)
    _expect(head, VERSION, f"{what} of SOCKS 5")
    if len(head) < 4:
        return None
    kind = head[3]
    start = 4
    if kind in _LENGTHS:
        length = _LENGTHS[kind]
    elif kind != _NAME:
        raise Refused(f"address type {kind} is unknown", Outcome.UNKNOWN_ADDRESS_TYPE)
    elif len(head) < 5:
        return None
    else:
        start = 5
        length = head[4]
    data = reader.read_exactly(start + length + 2)
    if data is None:
        return None
    address = data[start:-2]
    host = read_host(address) if kind == _NAME else str(ipaddress.ip_address(address))
    return head[1], host, int.from_bytes(data[-2:], "big")


def _encode_fields(number: int, host: str, port: int) -> bytes:
    address = literal(host)
    if address is not None:
        target = struct.pack("!B", _IPV4 if address.version == 4 else _IPV6) + address.packed
    else:
        if not host.isascii() or not 0 < len(host) <= MAX_HOST:
            raise LocalProtocolError(
                f"not a host name of 1 to {MAX_HOST} ASCII characters: {host[:MAX_HOST]!r}"
            )
        target = struct.pack("!BB", _NAME, len(host)) + host.encode("ascii")
    return struct.pack("!BBB", VERSION, number, 0) + target + struct.pack("!H", port)
