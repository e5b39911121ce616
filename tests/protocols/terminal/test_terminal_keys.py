"""Keys out of bytes: those that terminals send, for any split, and nothing from what is none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.terminal.keys import MAX_SEQUENCE, Key, KeyDecoder, Text
from tests.strategies import alphabet, splits

PIECES = [
    b"\x1b",
    b"[",
    b"O",
    b"1;5C",
    b"A",
    b"~",
    b"3~",
    b"\x1b[200~",
    b"\x1b[201~",
    b"\t",
    b"\r",
    b"x",
    b"\xc3\xa9",
    b"9",
]


def keys(*chunks: bytes, encoding: str = "utf-8") -> list[Text | Key]:
    """The keys, adjacent text joined."""
    decoder = KeyDecoder(encoding)
    found: list[Text | Key] = []
    for chunk in chunks:
        decoder.receive_data(chunk)
        while (key := decoder.next_key()) is not None:
            if isinstance(key, Text) and found and isinstance(found[-1], Text):
                found[-1] = Text(found[-1].text + key.text)
            else:
                found.append(key)
    return found


@pytest.mark.parametrize(
    ("data", "key"),
    [
        (b"\r", Key.ENTER),
        (b"\x03", Key.INTERRUPT),
        (b"\x04", Key.END_OF_FILE),
        (b"\x01", Key.HOME),
        (b"\x05", Key.END),
        (b"\x0b", Key.KILL_RIGHT),
        (b"\x15", Key.KILL_LEFT),
        (b"\x7f", Key.BACKSPACE),
        (b"\x08", Key.BACKSPACE),
        (b"\x1b[A", Key.UP),
        (b"\x1bOA", Key.UP),
        (b"\x1b[D", Key.LEFT),
        (b"\x1bOC", Key.RIGHT),
        (b"\x1b[H", Key.HOME),
        (b"\x1b[4~", Key.END),
        (b"\x1b[3~", Key.DELETE),
        (b"\x1b[1;5D", Key.WORD_LEFT),
        (b"\x1bf", Key.WORD_RIGHT),
        (b"\x1b\x7f", Key.KILL_WORD_LEFT),
        (b"\x1b\x1b[B", Key.DOWN),
        (b"\x1b\x03", Key.INTERRUPT),
        (b"\x1b\r", Key.ENTER),
    ],
)
def test_what_terminals_send(data: bytes, key: Key) -> None:
    assert keys(data) == [key]
    assert keys(*[data[index : index + 1] for index in range(len(data))]) == [key]


def test_text_has_no_control_characters() -> None:
    assert keys("na\xefve \u20ac\x00\x1a\x85 \u4e2d".encode()) == [Text("na\xefve \u20ac \u4e2d")]


def test_a_broken_character_is_shown_as_such() -> None:
    assert keys(b"a\xffb") == [Text("a\ufffdb")]
    assert keys(b"a\xe9b", encoding="iso8859-1") == [Text("a\xe9b")]


def test_another_encoding_from_now_on() -> None:
    decoder = KeyDecoder()
    decoder.set_encoding("iso8859-1")
    decoder.receive_data(b"\xe9")
    assert decoder.next_key() == Text("\xe9")


def test_a_sequence_that_is_no_key_is_passed_over() -> None:
    assert keys(b"a\x1b[5~b\x1b[?1;2cc\x1bzd\x1b[1\x01e") == [Text("abcd"), Key.HOME, Text("e")]


def test_a_sequence_without_end_is_passed_over_in_no_memory() -> None:
    decoder = KeyDecoder()
    decoder.receive_data(b"\x1b[")
    for _ in range(1000):
        decoder.receive_data(b"1;" * 500)
        assert decoder.next_key() is None
        assert len(decoder._text) - decoder._pos <= MAX_SEQUENCE + 2
    decoder.receive_data(b"Aok")
    assert decoder.next_key() == Text("ok")


def test_a_bracketed_paste_is_text_and_enter() -> None:
    assert keys(b"\x1b[200~a\tb\r\x03\x1b[A\x1bfc\x1b[201~\t") == [
        Text("a    b"),
        Key.ENTER,
        Text("c"),
        Key.TAB,
    ]


@given(st.data())
def test_any_split_gives_the_same_keys(data: st.DataObject) -> None:
    stream = data.draw(alphabet(PIECES))
    assert keys(*data.draw(splits(stream))) == keys(stream)
