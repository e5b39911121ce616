"""Banana: bytes as Twisted sends them, any split, and every limit."""

from __future__ import annotations

import math
import typing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portable.errors import LocalProtocolError, RemoteProtocolError
from protocols.pb.banana import (
    MAX_DEPTH,
    MAX_EXPRESSION,
    MAX_ITEMS,
    MAX_PREFIX,
    MAX_SIZE,
    NO_WORDS,
    PB_WORDS,
    BananaReader,
    encode,
)
from tests.strategies import alphabet, splits

# What Twisted sends for these, recorded.
RECORDED: list[tuple[typing.Any, bytes]] = [
    ([b"pb", b"none"], b"\x02\x80\x02\x82pb\x04\x82none"),
    (0, b"\x00\x81"),
    (1, b"\x01\x81"),
    (-1, b"\x01\x83"),
    (2**31 - 1, b"\x7f\x7f\x7f\x7f\x07\x81"),
    (2**31, b"\x00\x00\x00\x00\x08\x85"),
    (-(2**31), b"\x00\x00\x00\x00\x08\x83"),
    (-(2**31) - 1, b"\x01\x00\x00\x00\x08\x86"),
    (2**70, b"\x00" * 10 + b"\x01\x85"),
    (1.5, b"\x84?\xf8\x00\x00\x00\x00\x00\x00"),
    (b"bytes", b"\x05\x82bytes"),
    (b"", b"\x00\x82"),
    ([], b"\x00\x80"),
]

expressions: st.SearchStrategy[typing.Any] = st.recursive(
    st.one_of(
        st.integers(-(2**440), 2**440),
        st.floats(allow_nan=False),
        st.binary(max_size=20),
        st.sampled_from(sorted(PB_WORDS)),
    ),
    lambda inner: st.lists(inner, max_size=5),
    max_leaves=20,
)
PIECES = [
    b"\x02\x80",
    b"\x01\x80",
    b"\x00\x80",
    b"\x05\x81",
    b"\x03\x82abc",
    b"\x84" + b"\x00" * 8,
    b"\x01\x87",
    b"\x7f",
]


def outcome(pieces: list[bytes]) -> tuple[list[typing.Any], str]:
    """Return every expression, and the error that ended the stream."""
    reader = BananaReader()
    reader.set_words(PB_WORDS)
    found: list[typing.Any] = []
    for piece in pieces:
        reader.receive_data(piece)
        try:
            while (expression := reader.next_expression()) is not None:
                found.append(expression)
        except RemoteProtocolError as error:
            return found, str(error)
    return found, ""


def refusal(data: bytes) -> str:
    found, error = outcome([data])
    assert not found
    return error


@pytest.mark.parametrize(("value", "data"), RECORDED)
def test_the_same_bytes_as_twisted(value: typing.Any, data: bytes) -> None:
    assert encode(value, NO_WORDS) == data
    assert outcome([data]) == ([value], "")


def test_words_are_strings_in_a_shorter_form() -> None:
    assert encode([b"version", 6], PB_WORDS) == b"\x02\x80\x13\x87\x06\x81"
    assert encode([b"version", 6], NO_WORDS) == b"\x02\x80\x07\x82version\x06\x81"
    assert len(PB_WORDS) == 31
    assert PB_WORDS[b"None"] == 1
    assert PB_WORDS[b"uncache"] == 31


def test_words_change_between_two_expressions() -> None:
    reader = BananaReader()
    reader.receive_data(b"\x02\x82pb\x01\x87")
    assert reader.next_expression() == b"pb"
    reader.set_words(PB_WORDS)
    assert reader.next_expression() == b"None"


@given(st.lists(expressions, max_size=4), st.data())
def test_what_is_encoded_is_read_however_it_is_cut(values: list[typing.Any], data: st.DataObject) -> None:
    stream = b"".join(encode(value, PB_WORDS) for value in values)
    assert outcome(data.draw(splits(stream))) == (values, "")


@given(alphabet(PIECES), st.data())
def test_any_split_gives_the_same_expressions_and_error(stream: bytes, data: st.DataObject) -> None:
    assert outcome(data.draw(splits(stream))) == outcome([stream])


@given(st.binary(max_size=200))
def test_garbage_raises_nothing_but_a_protocol_error(stream: bytes) -> None:
    outcome([stream])


def test_nan() -> None:
    [value], _ = outcome([encode(math.nan, NO_WORDS)])
    assert math.isnan(value)


def test_a_prefix_of_64_digits_is_the_longest() -> None:
    assert outcome([b"\x00" * (MAX_PREFIX - 1) + b"\x01\x85"]) == ([1 << 7 * (MAX_PREFIX - 1)], "")
    assert "more than 64 digits" in refusal(b"\x01" * (MAX_PREFIX + 1))


def test_an_http_request_is_no_banana() -> None:
    request = b"GET /a/rather/long/path HTTP/1.1\r\nHost: www.example.com\r\nAccept: */*\r\n\r\n"
    assert "does not speak Perspective Broker" in refusal(request)


def test_a_string_of_640_kilobytes_is_the_longest() -> None:
    longest = b"x" * MAX_SIZE
    assert outcome([encode(longest, NO_WORDS)]) == ([longest], "")
    assert f"{MAX_SIZE + 1} bytes" in refusal(encode(MAX_SIZE + 1, NO_WORDS)[:-1] + b"\x82")
    with pytest.raises(LocalProtocolError, match="a string of"):
        encode(longest + b"x", NO_WORDS)


def test_lists_within_each_other_are_limited() -> None:
    deep: list[typing.Any] = []
    for _ in range(MAX_DEPTH - 1):
        deep = [deep]
    assert outcome([encode(deep, NO_WORDS)]) == ([deep], "")
    assert "lists within each other" in refusal(b"\x01\x80" * (MAX_DEPTH + 1))
    with pytest.raises(LocalProtocolError, match="within each other"):
        encode([deep], NO_WORDS)


def test_items_are_counted_over_all_lists_and_refused_before_they_come() -> None:
    most = [0] * (MAX_ITEMS - 1)
    assert outcome([encode(most, NO_WORDS)]) == ([most], "")
    assert "items" in refusal(encode(MAX_ITEMS, NO_WORDS)[:-1] + b"\x80")
    half = encode([0] * (MAX_ITEMS // 2), NO_WORDS)
    assert "items" in refusal(b"\x03\x80" + half * 3)
    with pytest.raises(LocalProtocolError, match="items"):
        encode([0] * MAX_ITEMS, NO_WORDS)


def test_the_bytes_of_an_expression_are_limited() -> None:
    string = encode(b"x" * MAX_SIZE, NO_WORDS)
    count = MAX_EXPRESSION // MAX_SIZE
    assert f"{MAX_EXPRESSION} bytes" in refusal(b"\x10\x80" + string * count + string[:10])
    with pytest.raises(LocalProtocolError, match="in one expression"):
        encode([b"x" * MAX_SIZE] * (count + 1), NO_WORDS)


def test_limits_begin_anew_with_each_expression() -> None:
    string = b"x" * MAX_SIZE
    assert outcome([encode(string, NO_WORDS) * 8]) == ([string] * 8, "")


@pytest.mark.parametrize("data", [b"\x01\x88", b"\x00\x87", b"\x20\x87", b"\xff"])
def test_unknown_types_and_words_are_refused(data: bytes) -> None:
    assert refusal(data)


def test_an_error_is_final() -> None:
    reader = BananaReader()
    reader.receive_data(b"\x01\x81\xff")
    assert reader.next_expression() == 1
    for data in (b"", b"\x01\x81"):
        reader.receive_data(data)
        with pytest.raises(RemoteProtocolError, match="0xff"):
            reader.next_expression()


@pytest.mark.parametrize("value", ["text", None, (1,), {}, 1 << 448])
def test_what_banana_has_no_form_for(value: typing.Any) -> None:
    with pytest.raises(LocalProtocolError):
        encode([value], NO_WORDS)
