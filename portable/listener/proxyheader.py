"""PROXY protocol headers, versions 1 and 2, receiving side (HAProxy's proxy-protocol.txt, 2020/03/05).

A proxy that relays a connection says in one header, before anything else, between which addresses the
original connection runs. Whoever may connect directly could lie with it, so a listener reads headers only
from the peers it was told to trust.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import struct

from portable.errors import RemoteProtocolError
from portable.transport import Address, normalise_host

__all__ = ["MAX_V1", "MAX_V2", "SIGNATURE", "ProxyHeader", "ProxyHeaderParser"]

# Bytes. "the worst case [...] 107 chars" with CRLF (section 2.1).
MAX_V1 = 107
# Bytes after the fixed 16 of version 2. The field allows 65535; the addresses take 216 at most, and a proxy
# that tells about the client's TLS adds some hundred more. A certificate in a custom TLV fits too.
MAX_V2 = 8192
# What a header of version 2 begins with (section 2.2).
SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
_V1_START = b"PROXY "
_FIXED = 16  # bytes of a header of version 2 before its addresses

_UNSPEC, _INET, _INET6, _UNIX = 0, 1, 2, 3
# Bytes of the two addresses, by family.
_ADDRESS_SIZES = {_UNSPEC: 0, _INET: 12, _INET6: 36, _UNIX: 216}


@dataclasses.dataclass(frozen=True)
class ProxyHeader:
    """What a proxy told. Both are None when it told nothing (LOCAL, UNKNOWN): use the real addresses then.

    Attributes:
        source: the address of the original client; the path, or "", if it came over a Unix socket.
        destination: the address that it connected to.
    """

    source: Address | str | None
    destination: Address | str | None


class ProxyHeaderParser:
    """Turns the first bytes of a connection into a `ProxyHeader`. Knows no transport."""

    def __init__(self) -> None:
        self._buffer = b""

    def receive_data(self, data: bytes) -> None:
        """Buffer `data`. Never raises: see `next_header`."""
        # Headers come in one piece or nearly so, and none has many bytes: no need for anything faster.
        self._buffer += data

    def next_header(self) -> ProxyHeader | None:
        """Return the header, or None if more bytes are needed. Called until it has returned one.

        Raises:
            RemoteProtocolError: these bytes are no header, or a wrong one.
        """
        buffer = self._buffer
        if buffer[:12] == SIGNATURE:
            return self._version_2()
        if buffer[:6] == _V1_START:
            return self._version_1()
        if SIGNATURE.startswith(buffer[:12]) or _V1_START.startswith(buffer[:6]):
            return None
        raise RemoteProtocolError("the connection does not begin with a PROXY header")

    def take_rest(self) -> bytes:
        """Return the bytes after the header, once it is complete."""
        rest = self._buffer
        self._buffer = b""
        return rest

    def _version_1(self) -> ProxyHeader | None:
        end = self._buffer.find(b"\r\n", 0, MAX_V1)
        if end < 0:
            if len(self._buffer) >= MAX_V1:
                raise RemoteProtocolError(f"a PROXY header of more than {MAX_V1} bytes")
            return None
        line = self._buffer[:end]
        header = _read_line(line)
        self._buffer = self._buffer[end + 2 :]
        return header

    def _version_2(self) -> ProxyHeader | None:
        if len(self._buffer) < _FIXED:
            return None
        version_command, family, size = struct.unpack_from("!BBH", self._buffer, 12)
        if version_command not in {0x20, 0x21}:
            raise RemoteProtocolError(f"a PROXY header of version and command 0x{version_command:02x}")
        if size > MAX_V2:
            raise RemoteProtocolError(f"a PROXY header of {size} bytes; {MAX_V2} are allowed")
        end = _FIXED + size
        if len(self._buffer) < end:
            return None
        header = ProxyHeader(None, None)
        # LOCAL: the proxy's own check of our health. Its address block must be ignored, whatever it holds.
        if version_command == 0x21:
            header = _read_block(family, self._buffer[_FIXED:end])
        self._buffer = self._buffer[end:]
        return header


def _read_line(line: bytes) -> ProxyHeader:
    """Read a header of version 1, without its CRLF."""
    try:
        words = line.decode("ascii").split(" ")
    except UnicodeDecodeError:
        raise RemoteProtocolError("a PROXY header that is not ASCII") from None
    # "UNKNOWN": what follows on the line must be ignored.
    if words[1] == "UNKNOWN":
        return ProxyHeader(None, None)
    if len(words) != 6 or words[1] not in {"TCP4", "TCP6"}:
        raise RemoteProtocolError("a malformed PROXY header")
    version = 4 if words[1] == "TCP4" else 6
    return ProxyHeader(
        Address(_literal(words[2], version), _port(words[4])),
        Address(_literal(words[3], version), _port(words[5])),
    )


def _literal(word: str, version: int) -> str:
    try:
        address = ipaddress.ip_address(word)
    except ValueError:
        address = None
    # A scope ("%eth0") has no meaning on another machine.
    if address is None or address.version != version or "%" in word:
        raise RemoteProtocolError(f"a PROXY header with a malformed IPv{version} address")
    return _spell(address)


def _port(word: str) -> int:
    digits = word.isascii() and word.isdigit() and (word == "0" or word[0] != "0") and len(word) <= 5
    if not digits or int(word) > 65535:
        raise RemoteProtocolError("a PROXY header with a malformed port")
    return int(word)


def _spell(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return normalise_host(str(address)) if mapped is None else str(mapped)


def _read_block(family_transport: int, block: bytes) -> ProxyHeader:
    """Read the addresses of a header of version 2, and walk over the TLVs behind them."""
    family, transport = family_transport >> 4, family_transport & 15
    if family not in _ADDRESS_SIZES or transport > 2:
        raise RemoteProtocolError(f"a PROXY header of family and transport 0x{family_transport:02x}")
    if family == _UNSPEC or transport == 0:
        # "the receiver should ignore address information", and cannot know where TLVs begin.
        return ProxyHeader(None, None)
    if transport == 2:
        raise RemoteProtocolError("a PROXY header that tells of datagrams on a stream")
    size = _ADDRESS_SIZES[family]
    if len(block) < size:
        raise RemoteProtocolError("a PROXY header too short for its addresses")
    _check_tlvs(block, size)
    if family == _UNIX:
        return ProxyHeader(_path(block[:108]), _path(block[108:216]))
    half = 4 if family == _INET else 16
    source_port, destination_port = struct.unpack_from("!HH", block, 2 * half)
    return ProxyHeader(
        Address(_spell(ipaddress.ip_address(block[:half])), source_port),
        Address(_spell(ipaddress.ip_address(block[half : 2 * half])), destination_port),
    )


def _check_tlvs(block: bytes, at: int) -> None:
    while at < len(block):
        if len(block) - at < 3:
            raise RemoteProtocolError("a PROXY header with a cut-off TLV")
        size = struct.unpack_from("!H", block, at + 1)[0]
        at += 3 + size
        if at > len(block):
            raise RemoteProtocolError("a PROXY header with a TLV beyond its end")


def _path(field: bytes) -> str:
    # Unix paths are bytes; whatever is not UTF-8 is shown, not used to open anything.
    return field.partition(b"\0")[0].decode("utf-8", "backslashreplace")
