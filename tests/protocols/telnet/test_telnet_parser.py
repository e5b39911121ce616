"""Telling data from commands: events of RFC 854 and 855, for any split, within bounds."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portable.errors import RemoteProtocolError
from protocols.telnet.codes import DO, IP, NAWS, NOP, WILL
from protocols.telnet.parser import (
    MAX_SUBNEGOTIATION,
    Command,
    Data,
    Negotiation,
    Subnegotiation,
    TelnetParser,
    escape,
    negotiation,
    subnegotiation,
)
from tests.strategies import alphabet, splits

PIECES = [
    b"\xff",
    b"\xfa",
    b"\xf0",
    b"\xff\xfa\x1f",
    b"\xff\xf0",
    b"\xff\xfb",
    b"\x01",
    b"text",
    b"\xff\xf4",
    b"\xff\xff",
]


def outcome(chunks: list[bytes]) -> list[object]:
    """The events, adjacent data joined, and the error if there is one."""
    parser = TelnetParser()
    events: list[object] = []
    for chunk in chunks:
        parser.receive_data(chunk)
        try:
            while (event := parser.next_event()) is not None:
                if isinstance(event, Data) and events and isinstance(events[-1], Data):
                    events[-1] = Data(events[-1].data + event.data)
                else:
                    events.append(event)
        except RemoteProtocolError as error:
            return [*events, str(error)]
    return events


def test_each_kind_of_event() -> None:
    stream = b"ab\xff\xffc" + negotiation(WILL, NAWS) + bytes([255, IP]) + subnegotiation(NAWS, b"\0\xff\0\x18")
    assert stream.endswith(b"\xff\xfa\x1f\0\xff\xff\0\x18\xff\xf0")
    assert outcome([stream]) == [
        Data(b"ab\xffc"),
        Negotiation(WILL, NAWS),
        Command(IP),
        Subnegotiation(NAWS, b"\0\xff\0\x18"),
    ]


@given(st.data())
def test_any_split_gives_the_same_events(data: st.DataObject) -> None:
    stream = data.draw(alphabet(PIECES))
    assert outcome(data.draw(splits(stream))) == outcome([stream])


@given(st.binary(max_size=400), st.integers(0, 254))
def test_what_is_escaped_comes_out_as_it_was(payload: bytes, option: int) -> None:
    assert outcome([escape(payload)]) == ([Data(payload)] if payload else [])
    assert outcome([subnegotiation(option, payload)]) == [Subnegotiation(option, payload)]


@given(st.binary(max_size=200))
def test_only_remote_protocol_errors_come_out_of_garbage(stream: bytes) -> None:
    outcome([stream])


def test_an_event_before_an_error_is_not_lost() -> None:
    events = outcome([b"before\xff\xfa\x01\xff\x01after"])
    assert events == [Data(b"before"), "IAC 1 inside a sub-negotiation"]


def test_an_error_is_final() -> None:
    parser = TelnetParser()
    parser.receive_data(b"\xff\xfa\xff\xf0")
    for _ in range(2):
        with pytest.raises(RemoteProtocolError, match="without an option"):
            parser.next_event()
        parser.receive_data(b"more")
    assert len(parser) == 0


def test_a_command_that_means_nothing_is_told_all_the_same() -> None:
    assert outcome([b"\xff\xf1\xff\x07"]) == [Command(NOP), Command(7)]


def test_a_sub_negotiation_of_the_most_bytes_is_taken_and_of_one_more_refused() -> None:
    most = MAX_SUBNEGOTIATION - 1  # the option counts
    assert outcome([subnegotiation(1, b"x" * most)]) == [Subnegotiation(1, b"x" * most)]
    assert outcome([subnegotiation(1, b"x" * (most + 1))]) == [
        f"a sub-negotiation of more than {MAX_SUBNEGOTIATION} bytes"
    ]


@pytest.mark.parametrize("piece", [b"x" * 1000, b"\xff\xff" * 500], ids=["plain", "escaped IAC"])
def test_a_sub_negotiation_without_end_is_refused_in_little_memory(piece: bytes) -> None:
    parser = TelnetParser()
    parser.receive_data(b"\xff\xfa\x18")

    def flood() -> None:
        for _ in range(10_000):
            parser.receive_data(piece)
            assert parser.next_event() is None

    tracemalloc.start()
    try:
        with pytest.raises(RemoteProtocolError, match="more than"):
            flood()
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


def test_a_sub_negotiation_of_one_huge_chunk_is_refused_at_once() -> None:
    assert outcome([b"\xff\xfa\x18" + b"x" * 10_000_000]) == [
        f"a sub-negotiation of more than {MAX_SUBNEGOTIATION} bytes"
    ]


def test_negotiations_are_their_bytes() -> None:
    assert outcome([negotiation(DO, 200)]) == [Negotiation(DO, 200)]
