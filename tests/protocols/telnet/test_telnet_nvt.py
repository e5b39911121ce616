"""Line ends of the network virtual terminal, whatever a client sends for Enter and however it is cut."""

from __future__ import annotations

import typing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.telnet.nvt import KeyboardDecoder, PrinterDecoder, encode_binary, encode_nvt
from tests.strategies import alphabet, splits


def decoded(decoder: typing.Any, chunks: list[bytes]) -> bytes:
    return b"".join([decoder.decode(chunk) for chunk in chunks])


@pytest.mark.parametrize("enter", [b"\r\n", b"\r\0", b"\r", b"\n"])
def test_enter_is_one_key_whatever_the_client_sends(enter: bytes) -> None:
    assert decoded(KeyboardDecoder(), [b"a" + enter + enter + b"b"]) == b"a\r\rb"


def test_enter_is_there_at_its_first_byte() -> None:
    keyboard = KeyboardDecoder()
    assert keyboard.decode(b"a\r") == b"a\r"
    assert keyboard.decode(b"\0") == b""
    assert keyboard.decode(b"\0") == b"\0"


@pytest.mark.parametrize("make", [KeyboardDecoder, PrinterDecoder])
@given(data=st.data())
def test_any_split_gives_the_same_text(make: typing.Callable[[], object], data: st.DataObject) -> None:
    stream = data.draw(alphabet([b"\r", b"\n", b"\0", b"\r\0", b"\r\n", b"ab"]))
    assert decoded(make(), data.draw(splits(stream))) == decoded(make(), [stream])


def test_what_is_sent_has_no_cr_alone() -> None:
    assert encode_nvt(b"a\nb\r\nc\rd\xff") == b"a\r\nb\r\nc\r\0d\xff\xff"
    assert encode_binary(b"a\nb\r\xff") == b"a\nb\r\xff\xff"


@given(alphabet([b"\r", b"\n", b"\0", b"\r\n", b"ab"]))
def test_what_a_server_prints_comes_out_at_the_client(text: bytes) -> None:
    wire = encode_nvt(text).replace(b"\xff\xff", b"\xff")
    assert decoded(PrinterDecoder(), [wire]) == text.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
