"""PORT, 227, EPRT and 229: what the RFCs show, what servers write, and what must be refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portable.errors import LocalProtocolError, RemoteProtocolError
from portable.transport import Address
from protocols.ftp.addresses import (
    IPV4,
    IPV6,
    UnknownNetworkProtocol,
    decode_227,
    decode_229,
    decode_eprt,
    decode_port,
    encode_227,
    encode_229,
    encode_eprt,
    encode_port,
    network_protocol,
)
from tests.strategies import alphabet

ports = st.integers(min_value=1, max_value=65535)
ipv4 = st.builds(Address, st.ip_addresses(v=4).map(str), ports)
ipv6 = st.ip_addresses(v=6).map(str).filter(lambda literal: not literal.startswith("::ffff:"))


@given(ipv4)
def test_port_and_227_round_trip(address: Address) -> None:
    assert decode_port(encode_port(address)) == address
    assert decode_227(encode_227(address)) == address


@given(st.one_of(ipv4, st.builds(Address, ipv6, ports)))
def test_eprt_round_trip(address: Address) -> None:
    assert decode_eprt(encode_eprt(address)) == address


@given(ports)
def test_229_round_trip(port: int) -> None:
    assert decode_229(encode_229(port)) == port


def test_examples_of_rfc_2428() -> None:
    assert decode_eprt("|1|132.235.1.2|6275|") == Address("132.235.1.2", 6275)
    assert decode_eprt("|2|1080::8:800:200C:417A|5282|") == Address("1080::8:800:200c:417a", 5282)
    assert decode_229("Entering Extended Passive Mode (|||6446|)") == 6446


@pytest.mark.parametrize(
    "text",
    [
        "Entering Passive Mode (10,0,0,7,4,210).",
        "Entering Passive Mode. 10,0,0,7,4,210",
        "=10,0,0,7,4,210",
        "10,0,0,7,4,210",
    ],
)
def test_227_is_found_with_and_without_parentheses(text: str) -> None:
    """RFC 1123 4.1.2.6."""
    assert decode_227(text) == Address("10.0.0.7", 1234)


def test_a_scope_is_not_written() -> None:
    assert encode_eprt(Address("fe80::1%eth0", 20)) == "|2|fe80::1|20|"


def test_mapped_addresses_are_ipv4() -> None:
    assert encode_eprt(Address("::ffff:10.0.0.7", 20)) == "|1|10.0.0.7|20|"
    assert decode_eprt("|2|::ffff:10.0.0.7|20|") == Address("10.0.0.7", 20)
    assert decode_eprt("|2|::ffff:a00:7|20|") == Address("10.0.0.7", 20)
    assert encode_port(Address("::ffff:10.0.0.7", 20)) == "10,0,0,7,0,20"
    assert network_protocol("::ffff:10.0.0.7") == IPV4
    assert network_protocol("::1") == IPV6


@pytest.mark.parametrize(
    "argument",
    [
        "",
        "127,0,0,1,4",
        "127,0,0,1,4,210,1",
        "127,0,0,1,4,256",
        "256,0,0,1,4,210",
        "127,0,0,1,0,0",
        "127,0,0,01,4,210",
        "127,0,0,1,4,00210",
        "127,0,0,1,4,-1",
        "127,0,0,1,4,+1",
        " 127,0,0,1,4,210",
        "127,0,0,1,4,210\n",
        "127.0.0.1,4,210",
        "127,0,0,1,4,\u0662",
        "1" * 100_000,
    ],
)
def test_port_refuses(argument: str) -> None:
    with pytest.raises(RemoteProtocolError):
        decode_port(argument)


@pytest.mark.parametrize("text", ["", "Ok", "1,2,3,4,5", "1,2,3,4,5,6,7", "(999,0,0,1,4,1)", "(1,2,3,4,0,0)"])
def test_227_without_an_address_is_refused(text: str) -> None:
    with pytest.raises(RemoteProtocolError):
        decode_227(text)


@pytest.mark.parametrize(
    "argument",
    [
        "",
        "|",
        "|1|127.0.0.1|80",
        "|1|127.0.0.1|80|x",
        "|1|127.0.0.1|80||",
        "|1|127.0.0.1|0|",
        "|1|127.0.0.1|65536|",
        "|1|127.0.0.1|080|",
        "|1|127.0.0.1|-1|",
        "|1|127.0.0.010|80|",
        "|1|localhost|80|",
        "|1|::1|80|",
        "|2|127.0.0.1|80|",
        "|2|fe80::1%eth0|80|",
        "||127.0.0.1|80|",
        "|one|127.0.0.1|80|",
        "1111127.0.0.118011",
        ".1.127.0.0.1.80.",
        ":2:::1:80:",
        "\x001\x00127.0.0.1\x0080\x00",
        " 1 127.0.0.1 80 ",
        "\u00e91\u00e9127.0.0.1\u00e980\u00e9",
        "|2|" + "0" * 100 + "::1|80|",
    ],
)
def test_eprt_refuses(argument: str) -> None:
    with pytest.raises(RemoteProtocolError) as raised:
        decode_eprt(argument)
    assert not isinstance(raised.value, UnknownNetworkProtocol)


def test_an_unknown_protocol_is_told_apart() -> None:
    with pytest.raises(UnknownNetworkProtocol):
        decode_eprt("|3|49.x|80|")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "6446",
        "(|||0|)",
        "(|||65536|)",
        "(|1|1.2.3.4|80|)",
        "(||||)",
        "(11180 1)",
        "(111801)",
        "(   80 )",
        "(|||80)",
    ],
)
def test_229_without_a_port_is_refused(text: str) -> None:
    with pytest.raises(RemoteProtocolError):
        decode_229(text)


@pytest.mark.parametrize(
    "address",
    [Address("::1", 80), Address("localhost", 80), Address("127.0.0.1", 0), Address("127.0.0.1", 65536)],
)
def test_what_port_cannot_write(address: Address) -> None:
    with pytest.raises(LocalProtocolError):
        encode_port(address)


def test_what_the_others_cannot_write() -> None:
    with pytest.raises(LocalProtocolError):
        encode_eprt(Address("localhost", 80))
    with pytest.raises(LocalProtocolError):
        encode_229(0)


@given(alphabet([b"|", b"1", b"2", b"(", b")", b",", b"::1", b"127.0.0.1", b"127,0,0,1,", b"0"]))
def test_only_remote_protocol_errors_come_out_of_garbage(garbage: bytes) -> None:
    for decode in (decode_port, decode_227, decode_eprt, decode_229):
        try:
            decode(garbage.decode("latin-1"))
        except RemoteProtocolError:
            continue
