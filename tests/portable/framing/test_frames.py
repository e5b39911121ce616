"""Netstrings and length-prefixed frames."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portable.errors import LocalProtocolError, RemoteProtocolError
from portable.framing import NetstringReader, PrefixReader, encode_netstring, encode_prefixed
from tests.strategies import splits


def netstrings(chunks: list[bytes], limit: int) -> list[bytes | str]:
    """Return the strings, then the error if there was one."""
    reader = NetstringReader(limit)
    seen: list[bytes | str] = []
    for chunk in chunks:
        reader.receive_data(chunk)
        try:
            while (string := reader.next_string()) is not None:
                seen.append(string)
        except RemoteProtocolError as error:
            if str(error) not in seen:
                seen.append(str(error))
    return seen


def frames(chunks: list[bytes], size: int, limit: int) -> list[bytes | str]:
    """Return the frames, then the error if there was one."""
    reader = PrefixReader(size, limit)
    seen: list[bytes | str] = []
    for chunk in chunks:
        reader.receive_data(chunk)
        try:
            while (frame := reader.next_frame()) is not None:
                seen.append(frame)
        except RemoteProtocolError as error:
            if str(error) not in seen:
                seen.append(str(error))
    return seen


NETSTRING_STREAMS = st.lists(
    st.one_of(
        st.binary(max_size=12).map(encode_netstring),
        st.sampled_from(
            [b"0:,", b"00:,", b"3:abc;", b":", b"12:", b"-1:", b"9", b"1 :a,", b"10:0123456789,", b","]
        ),
    ),
    max_size=8,
).map(b"".join)


@given(stream=NETSTRING_STREAMS, limit=st.integers(0, 20), data=st.data())
def test_any_split_gives_the_same_netstrings(stream: bytes, limit: int, data: st.DataObject) -> None:
    assert netstrings(data.draw(splits(stream)), limit) == netstrings([stream], limit)


@given(strings=st.lists(st.binary(max_size=30)), data=st.data())
def test_netstrings_come_back(strings: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(map(encode_netstring, strings))
    assert netstrings(data.draw(splits(stream)), 30) == strings


@pytest.mark.parametrize(
    ("stream", "reason"),
    [
        (b"01:a,", "leading zero"),
        (b"00:,", "leading zero"),
        (b"007:", "leading zero"),
        (b"1:a;", "no comma"),
        (b"1:aa", "no comma"),
        (b":,", "without length"),
        (b"-1:", "not a number"),
        (b"+1:", "not a number"),
        (b" 1:", "not a number"),
        (b"1 :", "not a number"),
        (b"\xb2:", "not a number"),
        (b"101", "more than 100"),
        (b"99999999999", "more than 100"),
        (b"\n", "not a number"),
    ],
)
def test_malformed_netstrings_are_refused_as_soon_as_possible(stream: bytes, reason: str) -> None:
    reader = NetstringReader(100)
    reader.receive_data(b"2:ok," + stream)
    assert reader.next_string() == b"ok"
    for _ in range(2):
        with pytest.raises(RemoteProtocolError, match=reason):
            reader.next_string()
    assert len(reader) == 0


def test_the_example_of_the_specification() -> None:
    wire = bytes.fromhex("31323a68656c6c6f20776f726c64212c")
    assert encode_netstring(b"hello world!") == wire
    assert netstrings([wire], 12) == [b"hello world!"]
    assert netstrings([b"0:,"], 0) == [b""]


def test_raw_bytes_after_a_netstring() -> None:
    reader = NetstringReader(10)
    reader.receive_data(b"2:go,raw bytes")
    assert reader.next_string() == b"go"
    assert reader.take_remainder() == b"raw bytes"
    assert reader.next_string() is None


@given(
    size=st.sampled_from([1, 2, 4]),
    limit=st.integers(0, 255),
    stream=st.one_of(
        st.binary(max_size=40),
        st.lists(st.binary(max_size=20).map(lambda frame: encode_prefixed(frame, 2))).map(b"".join),
    ),
    data=st.data(),
)
def test_any_split_gives_the_same_frames(size: int, limit: int, stream: bytes, data: st.DataObject) -> None:
    assert frames(data.draw(splits(stream)), size, limit) == frames([stream], size, limit)


@given(size=st.sampled_from([1, 2, 4]), pieces=st.lists(st.binary(max_size=30)), data=st.data())
def test_frames_come_back(size: int, pieces: list[bytes], data: st.DataObject) -> None:
    stream = b"".join([encode_prefixed(piece, size) for piece in pieces])
    assert frames(data.draw(splits(stream)), size, 30) == pieces


def test_lengths_are_unsigned_and_most_significant_byte_first() -> None:
    assert encode_prefixed(b"ab", 1) == b"\x02ab"
    assert encode_prefixed(b"ab", 2) == b"\x00\x02ab"
    assert encode_prefixed(b"ab", 4) == b"\x00\x00\x00\x02ab"
    assert encode_prefixed(b"x" * 200, 1)[0] == 200
    assert frames([b"\xc8" + b"x" * 200], 1, 255) == [b"x" * 200]


def test_a_length_is_judged_before_the_frame() -> None:
    assert frames([b"\xff\xff\xff\xff"], 4, 2**31) == [
        "a frame of 4294967295 bytes, where 2147483648 are allowed"
    ]
    reader = PrefixReader(2, 10)
    reader.receive_data(b"\x00\x0b")
    for _ in range(2):
        with pytest.raises(RemoteProtocolError, match="11 bytes"):
            reader.next_frame()


def test_wrong_arguments() -> None:
    with pytest.raises(LocalProtocolError):
        encode_prefixed(b"x" * 256, 1)
    assert encode_prefixed(b"x" * 255, 1)[:1] == b"\xff"
    with pytest.raises(ValueError, match="1, 2 or 4"):
        PrefixReader(3, 10)
    with pytest.raises(ValueError, match="1, 2 or 4"):
        encode_prefixed(b"", 8)
    with pytest.raises(ValueError, match="max_length"):
        PrefixReader(1, 256)
    with pytest.raises(ValueError, match="max_length"):
        PrefixReader(4, -1)
    with pytest.raises(ValueError, match="max_length"):
        NetstringReader(-1)


def test_a_look_ahead_takes_nothing() -> None:
    reader = PrefixReader(1, 10)
    reader.receive_data(b"\x03abc\x01")
    assert reader.peek(2) == b"\x03a"
    assert reader.next_frame() == b"abc"
    assert reader.peek(10) == b"\x01"
    assert len(reader) == 1
    reader.receive_data(b"d\xff")
    assert reader.next_frame() == b"d"
    with pytest.raises(RemoteProtocolError):
        reader.next_frame()
    with pytest.raises(RemoteProtocolError):
        reader.peek(1)
