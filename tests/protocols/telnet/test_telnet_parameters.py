"""Window size, terminal type and encoding: what is encoded is decoded, and nothing else."""

from __future__ import annotations

import contextlib
import typing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portable.errors import RemoteProtocolError
from protocols.telnet import charset
from protocols.telnet.charset import CharsetNegotiation, decode_charset
from protocols.telnet.naws import WindowSize, decode_naws, encode_naws
from protocols.telnet.ttype import MAX_NAME, SEND, decode_ttype, encode_ttype

NUMBERS = st.integers(0, 65535)


@given(NUMBERS, NUMBERS)
def test_a_window_size_comes_back(columns: int, rows: int) -> None:
    assert decode_naws(encode_naws(WindowSize(columns, rows))) == (columns, rows)


def test_the_window_sizes_of_rfc_1073() -> None:
    assert encode_naws(WindowSize(80, 24)) == bytes([0, 80, 0, 24])
    assert decode_naws(bytes([0, 0, 0, 0])) == (0, 0)
    with pytest.raises(RemoteProtocolError, match="3 bytes"):
        decode_naws(b"\0\x50\0")
    with pytest.raises(ValueError, match="65536"):
        encode_naws(WindowSize(65536, 1))


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=MAX_NAME))
def test_a_terminal_type_comes_back_in_lower_case(name: str) -> None:
    assert decode_ttype(encode_ttype(name)) == name.lower()


@pytest.mark.parametrize("name", ["", "x" * (MAX_NAME + 1), "two words", "caf\xe9"])
def test_what_is_no_terminal_type_is_not_sent(name: str) -> None:
    with pytest.raises(ValueError, match="no terminal type"):
        encode_ttype(name)


@pytest.mark.parametrize(
    "payload",
    [b"", b"\0", b"\2xterm", b"\0" + b"x" * (MAX_NAME + 1), b"\0xterm\x1b[2J", b"\1xterm", b"\0xterm\n"],
)
def test_what_is_no_terminal_type_is_refused(payload: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        decode_ttype(payload)


def test_a_question_for_the_terminal_type() -> None:
    assert decode_ttype(SEND) is None


def test_a_request_names_its_separator_first() -> None:
    assert charset.encode_request(["UTF-8", "US-ASCII"]) == b"\x01;UTF-8;US-ASCII"
    assert decode_charset(b"\x01;UTF-8;US-ASCII") == charset.Request(("UTF-8", "US-ASCII"))
    assert decode_charset(b"\x01 UTF-8 KOI8-R ") == charset.Request(("UTF-8", "KOI8-R"))
    # RFC 2066: a version and the word, where a translation table would be taken, too.
    assert decode_charset(b"\x01[TTABLE]\x01;UTF-8") == charset.Request(("UTF-8",))


def test_a_request_of_a_million_names_costs_no_more_than_a_few() -> None:
    request = decode_charset(b"\x01;" + b"x;" * 1_000_000)
    assert isinstance(request, charset.Request)
    assert len(request.names) == charset.MAX_NAMES


@pytest.mark.parametrize("payload", [b"", b"\x01", b"\x08", b"\x01;\xe9", b"\x02\xe9", b"\x03x", b"\x00"])
def test_what_is_no_message_about_character_sets_is_refused(payload: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        decode_charset(payload)


def test_the_first_of_a_request_that_is_known_is_accepted() -> None:
    both = CharsetNegotiation()
    assert both.encoding == "utf-8"
    assert both.receive(b"\x01;EBCDIC-US;iso-8859-1;UTF-8") == b"\x02iso-8859-1"
    assert both.encoding == "iso8859-1"
    assert both.receive(b"\x01;EBCDIC-US;os;..") == charset.REJECTED
    assert both.encoding == "iso8859-1"


def test_an_accepted_request_changes_the_encoding_and_an_answer_to_nothing_does_not() -> None:
    server = CharsetNegotiation()
    assert server.receive(b"\x02ISO-8859-1") is None
    assert server.encoding == "utf-8"
    assert server.request("UTF-8", "ISO-8859-1") == b"\x01;UTF-8;ISO-8859-1"
    assert server.receive(b"\x02KOI8-R") is None
    assert server.encoding == "utf-8"
    server.request("UTF-8", "ISO-8859-1")
    server.receive(b"\x02iso-8859-1")
    assert server.encoding == "iso8859-1"
    server.request("UTF-8")
    server.receive(charset.REJECTED)
    assert server.encoding == "iso8859-1"


def test_of_two_requests_that_cross_each_other_the_client_gives_way() -> None:
    server, client = CharsetNegotiation(), CharsetNegotiation()
    asked = server.request("UTF-8")
    assert server.receive(b"\x01;ISO-8859-1") == charset.REJECTED
    answer = client.receive(asked)
    assert answer == b"\x02UTF-8"
    assert server.receive(answer) is None
    assert server.encoding == client.encoding == "utf-8"


def test_translation_tables_are_rejected() -> None:
    both = CharsetNegotiation()
    assert both.receive(b"\x04\x01;a;1;b;1;...") == charset.TTABLE_REJECTED
    assert both.receive(b"\x05") is None
    assert both.receive(b"\x06") is None
    assert both.receive(b"\x07") is None


def test_requests_without_end_come_to_an_end() -> None:
    both = CharsetNegotiation()
    for _ in range(charset.MAX_REQUESTS):
        both.receive(b"\x01;nonsense")
    with pytest.raises(RemoteProtocolError, match="requests"):
        both.receive(b"\x01;nonsense")


@pytest.mark.parametrize("decode", [decode_naws, decode_ttype, decode_charset])
@given(payload=st.binary(max_size=60))
def test_only_remote_protocol_errors_come_out_of_garbage(
    decode: typing.Callable[[bytes], object], payload: bytes
) -> None:
    with contextlib.suppress(RemoteProtocolError):
        decode(payload)
