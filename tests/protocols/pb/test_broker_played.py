"""One broker over memory, and a peer that we play."""

from __future__ import annotations

import logging
import typing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portable.errors import ConnectionLost, RemoteProtocolError
from portable.testing import ManualClock, MemoryTransport
from protocols.pb import (
    Broker,
    DeadReference,
    InsecureJelly,
    RemoteError,
)
from protocols.pb.banana import NO_WORDS, PB_WORDS, BananaReader, encode
from protocols.pb.broker import CLOSE_TIMEOUT, HANDSHAKE_TIMEOUT, MAX_CALLS
from tests.protocols.pb.objects import Root
from tests.strategies import alphabet, splits


class Played:
    """A server, and the expressions that it sends to us."""

    def __init__(self, *, greet: bool = True) -> None:
        self.clock = ManualClock()
        self.root = Root()
        self.broker = Broker(self.clock, root=self.root)
        self.transport = MemoryTransport(self.broker, self.clock)
        self.reader = BananaReader()
        assert self.take() == [[b"pb", b"none"]]
        if greet:
            self.transport.receive(encode(b"pb", NO_WORDS))
            self.reader.set_words(PB_WORDS)
            self.send([b"version", 6])
            assert self.take() == [[b"version", 6]]

    def send(self, *expressions: typing.Any) -> None:
        self.transport.receive(b"".join(encode(expression, PB_WORDS) for expression in expressions))

    def message(self, name: bytes, *args: typing.Any, luid: typing.Any = b"root", wanted: int = 1) -> None:
        self.send([b"message", 1, luid, name, wanted, [b"tuple", *args], [b"dictionary"]])

    def take(self) -> list[typing.Any]:
        self.reader.receive_data(self.transport.take())
        found = []
        while (expression := self.reader.next_expression()) is not None:
            found.append(expression)
        return found


def test_the_words_of_the_protocol() -> None:
    played = Played()
    played.message(b"echo", [b"unicode", b"x"])
    assert played.take() == [[b"answer", 1, [b"unicode", b"x"]]]
    # Twisted before Python 3 sends names as bytes.
    played.send([b"message", 2, b"root", b"named", 1, [b"tuple"], [b"dictionary", [b"word", 5]]])
    assert played.take() == [[b"answer", 2, 5]]


def test_a_flood_of_calls_and_complaints_does_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    played = Played()
    for seconds in (0, 1):
        played.clock.advance(seconds)
        for _ in range(50):
            played.message(b"nothing")
            played.send([b"didNotUnderstand", [b"x"]])
    assert len(caplog.records) == 4
    assert "50 call(s) refused" in caplog.text
    assert "50 time(s)" in caplog.text


def test_a_message_that_wants_no_answer() -> None:
    played = Played()
    for name in (b"echo", b"bug", b"nothing", b"unsendable"):
        played.message(name, wanted=0)
    played.message(b"later", wanted=0)
    played.root.pending[0].callback(1)
    assert played.take() == []
    assert not played.transport.lost


@pytest.mark.parametrize("luid", [0, 5, -1, b"ROOT", b"", 1.5, [b"root"]])
def test_objects_that_the_peer_was_not_given(luid: typing.Any) -> None:
    played = Played()
    played.message(b"echo", 1, luid=luid)
    [[command, _, failure]] = played.take()
    assert command == b"error"
    assert failure[0] == b"twisted.spread.pb.CopyableFailure"
    assert not played.transport.lost


def test_hostile_arguments_are_an_error_of_that_call_only() -> None:
    played = Played()
    played.message(b"echo", [b"class", b"os.system"])
    [[command, request, _]] = played.take()
    assert (command, request) == (b"error", 1)
    played.send([b"message", 2, b"root", b"echo", 1, [b"list", 1], [b"dictionary"]])
    played.send([b"message", 3, b"root", b"echo", 1, [b"tuple", 1], [b"list"]])
    assert [each[:2] for each in played.take()] == [[b"error", 2], [b"error", 3]]
    played.message(b"echo", 1)
    assert played.take() == [[b"answer", 1, 1]]


def test_a_peer_that_ends_its_stream_and_takes_no_answer_is_not_kept() -> None:
    played = Played()
    played.transport.window = 0
    played.message(b"echo", b"x" * 1000)
    played.transport.receive_eof()
    assert not played.transport.lost
    played.clock.advance(CLOSE_TIMEOUT)
    assert played.transport.lost


def test_unanswered_calls_are_limited() -> None:
    played = Played()
    for _ in range(MAX_CALLS):
        played.message(b"later")
    assert played.take() == []
    played.message(b"later")
    [[command, _, failure]] = played.take()
    assert command == b"error"
    assert b"twisted.spread.pb.Error" in str(failure).encode()


def test_commands_that_are_not_known() -> None:
    played = Played()
    played.send([b"cachemessage", 1], [b"didNotUnderstand", [b"x"]], [b"decache", 1])
    assert played.take() == [[b"didNotUnderstand", [b"cachemessage"]], [b"didNotUnderstand", [b"decache"]]]
    assert not played.transport.lost


@pytest.mark.parametrize(
    "expression",
    [
        5,
        b"pb",
        [],
        [1],
        [[b"message"]],
        [b"message"],
        [b"message", b"x", b"root", b"echo", 1, [b"tuple"], [b"dictionary"]],
        [b"message", 1, b"root", 5, 1, [b"tuple"], [b"dictionary"]],
        [b"answer", 1],
        [b"answer", 1, 2],
        [b"answer", b"x", 2],
        [b"error", 1, 2],
        [b"decref"],
        [b"decref", 5],
        [b"decref", b"root"],
    ],
)
def test_a_malformed_command_closes_the_connection(expression: typing.Any) -> None:
    played = Played()
    played.send(expression)
    assert played.transport.lost


def test_an_object_dropped_more_often_than_it_was_sent() -> None:
    played = Played()
    played.message(b"counter")
    assert played.take() == [[b"answer", 1, [b"remote", 1]]]
    played.send([b"decref", 1])
    assert not played.transport.lost
    played.send([b"decref", 1])
    assert played.transport.lost


def test_a_malformed_stream_closes_only_its_own_connection() -> None:
    other = Played()
    played = Played()
    played.transport.receive(b"\xff")
    assert played.transport.lost
    other.message(b"echo", 2)
    assert other.take() == [[b"answer", 1, 2]]


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nHost: example.com\r\nUser-Agent: a browser that lost its way, and more\r\n\r\n",
        encode(b"none", NO_WORDS),
        encode([b"pb"], NO_WORDS),
        encode(b"pb", NO_WORDS) + encode([b"version", 5], PB_WORDS),
        encode(b"pb", NO_WORDS) + encode([b"message"], PB_WORDS),
    ],
)
def test_clients_that_do_not_speak_it(data: bytes) -> None:
    played = Played(greet=False)
    played.transport.receive(data)
    assert played.transport.lost


def test_a_server_that_does_not_speak_it() -> None:
    clock = ManualClock()
    broker = Broker(clock, client=True)
    transport = MemoryTransport(broker, clock)
    errors: list[Exception] = []
    broker.remote_root.call_remote("echo").add_errback(errors.append)
    transport.receive(encode([b"none"], NO_WORDS))
    assert transport.lost
    assert isinstance(errors[0], ConnectionLost)


def test_nothing_is_said_to_a_server_before_it_has_spoken() -> None:
    clock = ManualClock()
    broker = Broker(clock, client=True)
    transport = MemoryTransport(broker, clock)
    broker.remote_root.call_remote("echo").add_errback(lambda error: None)
    transport.settle()
    assert transport.written == b""
    clock.advance(HANDSHAKE_TIMEOUT)
    assert transport.lost


def answered(*expressions: typing.Any) -> list[typing.Any]:
    """Return what becomes of a call that a played server answers so."""
    clock = ManualClock()
    broker = Broker(clock, client=True)
    transport = MemoryTransport(broker, clock)
    got: list[typing.Any] = []
    broker.remote_root.call_remote("echo").add_callbacks(got.append, got.append)
    transport.receive(encode([b"pb", b"none"], NO_WORDS) + encode([b"version", 6], PB_WORDS))
    transport.receive(b"".join(encode(expression, PB_WORDS) for expression in expressions))
    return got


def test_answers_of_a_played_server() -> None:
    assert answered([b"answer", 1, 5]) == [5]
    for hostile in ([b"class", b"x"], [b"local", 1]):
        assert isinstance(answered([b"answer", 1, hostile])[0], InsecureJelly)
    for malformed in (5, [b"x"], [b"x", 5], [b"x", [b"class", b"y"]]):
        assert isinstance(answered([b"error", 1, malformed])[0], InsecureJelly)
    assert isinstance(answered([b"answer", 2, 5])[0], ConnectionLost)


def test_failures_of_any_shape() -> None:
    def failure(*pairs: typing.Any) -> RemoteError:
        [error] = answered([b"error", 1, [b"some.Failure", [b"dictionary", *pairs]]])
        assert isinstance(error, RemoteError)
        return error

    error = failure(
        [b"type", b"a.B"], [b"value", b"text"], [b"parents", [b"list", b"a.B", [b"unicode", b"c.D"], 5]]
    )
    assert (error.type, error.text, error.classes) == ("a.B", "text", ("a.B", "c.D", ""))
    error = failure([b"type", 5], [b"value", [b"None"]], [b"parents", b"x"])
    assert (error.type, error.text, error.classes) == ("", "", ())
    error = failure([b"value", b"x" * 100_000])
    assert len(error.text) == 1000


PIECES = [
    encode(b"pb", NO_WORDS),
    encode([b"version", 6], PB_WORDS),
    encode([b"message", 1, b"root", b"echo", 1, [b"tuple", 1], [b"dictionary"]], PB_WORDS),
    encode([b"message", 2, b"root", b"counter", 1, [b"tuple"], [b"dictionary"]], PB_WORDS),
    encode([b"message", 3, 1, b"add", 1, [b"tuple", 1], [b"dictionary"]], PB_WORDS),
    encode([b"message", 4, b"root", b"keep", 1, [b"tuple", [b"remote", 7]], [b"dictionary"]], PB_WORDS),
    encode([b"decref", 1], PB_WORDS),
    encode([b"answer", 1, 5], PB_WORDS),
    encode([b"odd"], PB_WORDS),
]


def behaviour(pieces: list[bytes]) -> tuple[bytes, bool]:
    clock = ManualClock()
    transport = MemoryTransport(Broker(clock, root=Root()), clock)
    for piece in pieces:
        transport.receive(piece)
    return transport.take(), transport.lost


@given(st.lists(st.sampled_from(PIECES), max_size=6), alphabet(PIECES, 4), st.data())
def test_any_split_gives_the_same_behaviour(whole: list[bytes], noise: bytes, data: st.DataObject) -> None:
    stream = b"".join([*PIECES[:2], *whole, noise])
    assert behaviour(data.draw(splits(stream))) == behaviour([stream])


def test_a_call_without_a_root() -> None:
    clock = ManualClock()
    transport = MemoryTransport(Broker(clock), clock)
    transport.receive(PIECES[0] + PIECES[1] + PIECES[2])
    assert b"there is no root" in bytes(transport.written)


def test_protocol_errors_are_remote_ones() -> None:
    assert issubclass(InsecureJelly, RemoteProtocolError)
    assert issubclass(DeadReference, ConnectionLost)
