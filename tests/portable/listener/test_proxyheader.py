from __future__ import annotations

import struct
import typing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portable.errors import RemoteProtocolError
from portable.listener.proxyheader import MAX_V1, MAX_V2, SIGNATURE, ProxyHeader, ProxyHeaderParser
from portable.transport import Address
from tests.strategies import alphabet, splits

LONGEST_V1 = b"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535".ljust(MAX_V1 - 2, b" ") + b"\r\n"
NOTHING = ProxyHeader(None, None)


def version_2(block: bytes, *, command: int = 0x21, family: int = 0x11) -> bytes:
    return SIGNATURE + struct.pack("!BBH", command, family, len(block)) + block


def inet(source: str, destination: str, tlvs: bytes = b"") -> bytes:
    hosts = b"".join(bytes(int(part) for part in host.split(".")) for host in (source, destination))
    return version_2(hosts + struct.pack("!HH", 1000, 2000) + tlvs)


def tlv(kind: int, value: bytes) -> bytes:
    return struct.pack("!BH", kind, len(value)) + value


def outcome(chunks: typing.Iterable[bytes]) -> object:
    """What the parser made of the chunks: the header and what followed it, an error, or None for neither."""
    parser = ProxyHeaderParser()
    header: ProxyHeader | None = None
    rest = b""
    try:
        for chunk in chunks:
            if header is not None:
                rest += chunk
                continue
            parser.receive_data(chunk)
            header = parser.next_header()
            if header is not None:
                rest = parser.take_rest()
    except RemoteProtocolError as exc:
        return str(exc)
    return None if header is None else (header, rest)


GOOD = [
    (b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n", "192.0.2.7", 56324, "198.51.100.1", 443),
    (b"PROXY TCP6 2001:DB8::7 ::1 0 65535\r\n", "2001:db8::7", 0, "::1", 65535),
    (b"PROXY TCP6 ::ffff:192.0.2.7 ::1 5 6\r\n", "192.0.2.7", 5, "::1", 6),
    (inet("192.0.2.7", "198.51.100.1"), "192.0.2.7", 1000, "198.51.100.1", 2000),
    (inet("192.0.2.7", "198.51.100.1", tlv(1, b"h2") + tlv(4, b"")), "192.0.2.7", 1000, "198.51.100.1", 2000),
    (
        version_2(bytes(15) + b"\x01" + bytes(10) + b"\xff\xff\xc0\x00\x02\x07" + b"\0\x05\0\x06", family=0x21),
        "::1",
        5,
        "192.0.2.7",
        6,
    ),
]


@pytest.mark.parametrize(("header", "source", "source_port", "destination", "destination_port"), GOOD)
def test_addresses_are_read_and_what_follows_is_left(
    header: bytes, source: str, source_port: int, destination: str, destination_port: int
) -> None:
    expected = ProxyHeader(Address(source, source_port), Address(destination, destination_port))
    assert outcome([header + b"GET / HTTP/1.1\r\n"]) == (expected, b"GET / HTTP/1.1\r\n")


@pytest.mark.parametrize(
    "header",
    [
        b"PROXY UNKNOWN\r\n",
        b"PROXY UNKNOWN whatever it says \xc3\r\n"[:-3] + b"\r\n",
        LONGEST_V1,
        version_2(b"", command=0x20, family=0),
        version_2(b"ignored, however wrong", command=0x20, family=0xFF),
        version_2(b"", family=0),
        version_2(b"any block", family=0x01),
        version_2(b"any block", family=0x10),
    ],
)
def test_a_proxy_that_tells_nothing_is_believed(header: bytes) -> None:
    assert outcome([header + b"x"]) == (NOTHING, b"x")


def test_unix_paths_end_at_the_nul() -> None:
    block = b"/run/a.sock".ljust(108, b"\0") + b"\xffb".ljust(108, b"\0")
    assert outcome([version_2(block, family=0x31)]) == (ProxyHeader("/run/a.sock", "\\xffb"), b"")


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n",
        b"P\r\n",
        b"PROXY\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 56324\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443 9\r\n",
        b"PROXY TCP4  192.0.2.7 198.51.100.1 56324 443\r\n",
        b"PROXY TCP4 ::1 ::1 1 2\r\n",
        b"PROXY TCP6 192.0.2.7 ::1 1 2\r\n",
        b"PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n",
        b"PROXY TCP4 192.0.2.07 192.0.2.8 1 2\r\n",
        b"PROXY TCP4 192.0.2.7 192.0.2.8 01 2\r\n",
        b"PROXY TCP4 192.0.2.7 192.0.2.8 +1 2\r\n",
        b"PROXY TCP4 192.0.2.7 192.0.2.8 1 65536\r\n",
        b"PROXY TCP4 192.0.2.7 192.0.2.8 1 \xb2\r\n",
        b"PROXY UDP4 192.0.2.7 192.0.2.8 1 2\r\n",
        b"PROXY  \r\n",
        b"PROXY UNKNOWN" + b" " * MAX_V1,
        LONGEST_V1[:-2] + b" \r\n",
        SIGNATURE[:-1] + b"X",
        version_2(b"", command=0x11),
        version_2(b"", command=0x22),
        version_2(bytes(11)),
        version_2(bytes(35), family=0x21),
        version_2(bytes(215), family=0x31),
        version_2(bytes(12), family=0x12),
        version_2(bytes(12), family=0x13),
        version_2(bytes(12), family=0x41),
        inet("192.0.2.7", "192.0.2.8", b"\x01\x00"),
        inet("192.0.2.7", "192.0.2.8", tlv(1, b"abc")[:-1]),
        version_2(bytes(MAX_V2 + 1)),
    ],
)
def test_malformed_headers_are_the_peers_fault(data: bytes) -> None:
    assert isinstance(outcome([data]), str)


@pytest.mark.parametrize("header", [good[0] for good in GOOD] + [LONGEST_V1])
def test_an_incomplete_header_waits_for_more(header: bytes) -> None:
    for end in range(len(header)):
        assert outcome([header[:end]] if end else []) is None


WORDS = [
    *(good[0] for good in GOOD),
    *(LONGEST_V1, SIGNATURE, b"PROXY ", b"TCP4 ", b"1.2.3.4 ", b"80 ", b"\r\n", b"\x21\x11"),
]


@given(stream=alphabet(WORDS, max_size=5), data=st.data())
def test_any_split_gives_the_same_header(stream: bytes, data: st.DataObject) -> None:
    assert outcome(data.draw(splits(stream))) == outcome([stream])
