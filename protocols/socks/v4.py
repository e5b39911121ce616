"""The messages of SOCKS 4 and 4a ("SOCKS: A protocol for TCP proxy across firewalls", Ying-Da Lee).

    request   4  command  port:2  address:4  user id  NUL  [host name  NUL]
    reply     0  code     port:2  address:4

4a: the address 0.0.0.x, x not 0, says that a host name follows.
"""

from __future__ import annotations

import ipaddress
import struct
import typing

from portable.addresses import literal
from portable.errors import LocalProtocolError, RemoteProtocolError
from protocols.socks.messages import MAX_HOST, Outcome, Refused, Reply, Request, read_host

if typing.TYPE_CHECKING:
    from portable.framing import Reader

__all__ = ["MAX_USER", "VERSION", "encode_reply", "encode_request", "read_reply", "read_request"]

VERSION = 4
# Bytes. No limit is set; 512 is what an identd may answer (RFC 1413 6, note 3).
MAX_USER = 512

_HEAD = 8
_REPLY = 8
_MAX_REQUEST = _HEAD + MAX_USER + 1 + MAX_HOST + 1
_CODES = {Outcome.GRANTED: 90, Outcome.NO_IDENT: 92, Outcome.WRONG_USER: 93}
_OTHERS = 91
_OUTCOMES = {90: Outcome.GRANTED, 91: Outcome.FAILED, 92: Outcome.NO_IDENT, 93: Outcome.WRONG_USER}


def read_request(reader: Reader) -> Request | None:
    """Return the next request, or None until it is complete.

    Raises:
        RemoteProtocolError: it is none, or longer than MAX_USER or MAX_HOST allow.
    """
    data = reader.peek(_MAX_REQUEST)
    if data and data[0] != VERSION:
        raise RemoteProtocolError(f"a request of SOCKS 4 begins with 4, not {data[0]}")
    user_end = _find_end(data, _HEAD, MAX_USER, "user id")
    if user_end < 0:
        return None
    _, command, port, address = struct.unpack("!BBH4s", data[:_HEAD])
    user = data[_HEAD:user_end].decode("latin-1")
    if address[:3] != b"\0\0\0" or address == b"\0\0\0\0":
        reader.read_exactly(user_end + 1)
        return Request("4", command, str(ipaddress.IPv4Address(address)), port, user)
    host_end = _find_end(data, user_end + 1, MAX_HOST, "host name")
    if host_end < 0:
        return None
    reader.read_exactly(host_end + 1)
    return Request("4a", command, read_host(data[user_end + 1 : host_end]), port, user)


def _find_end(data: bytes, start: int, most: int, what: str) -> int:
    """Return the place of the NUL that ends a field, -1 if it has not come."""
    end = data.find(b"\0", start, start + most + 1)
    if end < 0 and len(data) > start + most:
        raise Refused(f"a {what} of more than {most} bytes")
    return end


def encode_request(request: Request) -> bytes:
    """Return a request: of 4a if the host is a name, or an IPv6 address, for which 4 has no room.

    Raises:
        LocalProtocolError: it cannot be said in `request.version`.
    """
    address = literal(request.host)
    host = b""
    if isinstance(address, ipaddress.IPv4Address):
        if address.packed[:3] == b"\0\0\0":
            raise LocalProtocolError(f"SOCKS 4 cannot name the address {address}")
        packed = address.packed
    elif request.version == "4":
        raise LocalProtocolError(f"SOCKS 4 knows IPv4 addresses only, not {request.host!r}; 4a knows names")
    else:
        packed = b"\0\0\0\1"
        host = _field(request.host, MAX_HOST, "host name") + b"\0"
        if host == b"\0":
            raise LocalProtocolError("an empty host name")
    head = struct.pack("!BBH4s", VERSION, request.command, request.port, packed)
    return head + _field(request.user, MAX_USER, "user id") + b"\0" + host


def _field(text: str, most: int, what: str) -> bytes:
    try:
        data = text.encode("latin-1")
    except UnicodeEncodeError as error:
        raise LocalProtocolError(f"{what} {text!r} has characters of more than an octet") from error
    # A NUL would end it, and what follows would be taken for the next field.
    if len(data) > most or b"\0" in data:
        raise LocalProtocolError(f"{what} {text[:most]!r} has a NUL or more than {most} octets")
    return data


def read_reply(reader: Reader) -> Reply | None:
    """Return the next reply, or None until it is complete.

    Raises:
        RemoteProtocolError: it is none.
    """
    head = reader.peek(2)
    if head and head[0] != 0:
        raise RemoteProtocolError(f"a reply of SOCKS 4 begins with 0, not {head[0]}")
    if len(head) == 2 and head[1] not in _OUTCOMES:
        raise RemoteProtocolError(f"{head[1]} is no code of a SOCKS 4 reply")
    data = reader.read_exactly(_REPLY)
    if data is None:
        return None
    _, code, port, address = struct.unpack("!BBH4s", data)
    return Reply(_OUTCOMES[code], str(ipaddress.IPv4Address(address)), port)


def encode_reply(reply: Reply) -> bytes:
    """Return a reply. An address that is not IPv4 becomes 0.0.0.0, which means "as that of the proxy"."""
    address = literal(reply.host)
    packed = address.packed if isinstance(address, ipaddress.IPv4Address) else b"\0\0\0\0"
    return struct.pack("!BBH4s", 0, _CODES.get(reply.outcome, _OTHERS), reply.port, packed)
