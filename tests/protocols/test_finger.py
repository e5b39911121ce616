"""Finger, byte by byte: the queries of RFC 1288 2.3, the filters of 3.3, and limits that it leaves to us."""

from __future__ import annotations

import typing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portable.deferred import Deferred
from portable.errors import ConnectionReset, LocalProtocolError, RemoteProtocolError
from portable.testing import ManualClock, MemoryTransport, connect_in_memory
from protocols.finger import (
    ANSWER_TIMEOUT,
    LINGER,
    MAX_ANSWER,
    MAX_QUERY,
    QUERY_TIMEOUT,
    SEND_TIMEOUT,
    FingerParser,
    FingerServer,
    Query,
    encode_answer,
    encode_query,
    fetch_finger,
    filter_text,
)
from protocols.oneanswer import FetchOne
from tests.protocols.test_small_services import OneHost
from tests.strategies import alphabet, splits

if typing.TYPE_CHECKING:
    from tests.conftest import ErrorLog

# What a terminal, a log or a reader could be deceived by.
EVIL = (
    "\x1b[2J",
    "\x9b2J",
    "\x07",
    "\x08",
    "\x00",
    "\x7f",
    "\x85",
    "\r",
    "\u202e",
    "\u2066",
    "\u200f",
    "\u2028",
)
LETTERS = [b"/W", b" ", b"\t", b"@", b"\r", b"\n", b"\r\n", b"alice", b"\x1b", b"\xc2\x9b", b"\xff", b"x" * 300]


def parse(*pieces: bytes) -> Query | None:
    parser = FingerParser()
    for piece in pieces:
        parser.receive_data(piece)
    return parser.next_event()


def outcome(pieces: list[bytes]) -> object:
    """Return what a server that reads piece by piece makes of them: its first event or error."""
    parser = FingerParser()
    for piece in pieces:
        parser.receive_data(piece)
        try:
            query = parser.next_event()
        except RemoteProtocolError as error:
            return str(error)
        if query is not None:
            return query
    return None


# Queries


@pytest.mark.parametrize(
    ("line", "query"),
    [
        (b"", Query("")),
        (b"/W", Query("", verbose=True)),
        (b"alice", Query("alice")),
        (b"/W alice", Query("alice", verbose=True)),
        (b"/w \t  alice  ", Query("alice", verbose=True)),
        (b"/Walice", Query("/Walice")),
        (b"@b", Query("", ("b",))),
        (b"alice@b", Query("alice", ("b",))),
        (b"/W alice@a@b", Query("alice", ("a", "b"), verbose=True)),
        (b"/W @a@b", Query("", ("a", "b"), verbose=True)),
        (b"alice@", Query("alice", ("",))),
        ("j\u00f6rg".encode(), Query("j\u00f6rg")),
        (b"j\xf6rg", Query("j\ufffdrg")),
    ],
)
@pytest.mark.parametrize("ending", [b"\r\n", b"\n"])
def test_queries_of_the_rfc(line: bytes, query: Query, ending: bytes) -> None:
    assert parse(line) is None
    assert parse(line + ending) == query
    assert parse(line + ending + b"and more") == query


@given(stream=alphabet(LETTERS), data=st.data())
def test_any_split_gives_the_same_query(stream: bytes, data: st.DataObject) -> None:
    assert outcome(data.draw(splits(stream))) == outcome([stream])


@given(st.binary(max_size=600))
def test_garbage_is_refused_as_the_peers_fault_only(stream: bytes) -> None:
    outcome([stream])


def test_a_query_of_more_than_512_bytes_is_refused_without_being_kept() -> None:
    assert parse(b"x" * MAX_QUERY + b"\n") == Query("x" * MAX_QUERY)
    with pytest.raises(RemoteProtocolError):
        parse(b"x" * (MAX_QUERY + 1) + b"\n")
    parser = FingerParser()
    parser.receive_data(b"x" * 1_000_000)
    with pytest.raises(RemoteProtocolError):
        parser.next_event()


@pytest.mark.parametrize("evil", EVIL)
def test_a_query_with_control_characters_is_refused(evil: str) -> None:
    with pytest.raises(RemoteProtocolError):
        parse(f"al{evil}ice\n".encode())


# Encoding


@given(
    user=st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="@"), max_size=20),
    hosts=st.lists(st.from_regex(r"[a-z0-9.]{1,10}", fullmatch=True), max_size=3),
    verbose=st.booleans(),
)
def test_what_a_client_sends_is_what_a_server_reads(user: str, hosts: list[str], verbose: bool) -> None:
    query = Query(user, tuple(hosts), verbose)
    try:
        line = encode_query(query)
    except LocalProtocolError:
        assert str(query).upper() == "/W"
    else:
        assert parse(line) == query


@pytest.mark.parametrize(
    "user", ["alice\r\nbob", "alice\n", "a\tb", "al\x1bice", "x" * 600, "alice@b", "/w", " alice", "\ud800"]
)
def test_a_client_cannot_be_made_to_send_something_else(user: str) -> None:
    with pytest.raises(LocalProtocolError):
        encode_query(Query(user))


@pytest.mark.parametrize("evil", EVIL)
def test_an_answer_carries_no_control_characters(evil: str) -> None:
    shown = encode_answer(f"Plan:\n{evil}x").decode()
    assert shown.replace("\r\n", "\n").startswith("Plan:\n?")
    assert evil not in shown.replace("\r\n", "")


def test_an_answer_is_lines_ended_by_cr_lf() -> None:
    assert encode_answer("one\n\ttwo\r\nthree\n\n") == b"one\r\n\ttwo\r\nthree\r\n"
    assert encode_answer("") == b"\r\n"
    assert encode_answer("Gr\u00fc\u00dfe \u2603") == "Gr\u00fc\u00dfe \u2603\r\n".encode()


def test_a_client_keeps_printing_ascii_unless_told_otherwise() -> None:
    assert filter_text("Gr\u00fc\u00dfe\n\t\x1b[1m", international=False) == "Gr??e\n\t?[1m"
    assert filter_text("Gr\u00fc\u00dfe\n\t\x1b[1m") == "Gr\u00fc\u00dfe\n\t?[1m"
    assert filter_text("\ud800\ue000\U000e0041") == "???"


# Server


class Desk:
    """Answers by hand."""

    def __init__(
        self, *, window: int | None = None, transport: type[MemoryTransport] = MemoryTransport
    ) -> None:
        self.clock = ManualClock()
        self.asked: list[Query] = []
        self.answer: Deferred[str] = Deferred()
        server = FingerServer(self._ask, self.clock)
        self.transport = transport(server, self.clock, window=window)
        self.server = server

    def give(self, text: str) -> None:
        """Answer, and let what follows happen."""
        self.answer.callback(text)
        self.transport.settle()

    async def _ask(self, query: Query) -> str:
        self.asked.append(query)
        return await self.answer


def test_a_query_gets_its_answer_and_an_end() -> None:
    desk = Desk()
    desk.transport.receive(b"/W al")
    desk.transport.receive(b"ice\r")
    assert desk.asked == []
    desk.transport.receive(b"\n")
    assert desk.asked == [Query("alice", verbose=True)]
    assert not desk.transport.is_closing()
    desk.give("Login: alice")
    assert desk.transport.written == b"Login: alice\r\n"
    assert desk.transport.eof_written
    assert not desk.transport.lost
    desk.transport.receive_eof()
    assert desk.transport.lost


def test_only_the_first_query_counts() -> None:
    desk = Desk()
    desk.transport.receive(b"alice\r\nbob\r\n")
    desk.transport.receive(b"carol\r\n")
    desk.give("one")
    desk.transport.receive(b"dave\r\n")
    assert desk.asked == [Query("alice")]
    assert desk.transport.written == b"one\r\n"
    desk.clock.advance(LINGER)
    assert desk.transport.lost


def test_a_client_that_ends_its_side_gets_the_answer_all_the_same() -> None:
    desk = Desk()
    desk.transport.receive(b"alice\n")
    desk.transport.receive_eof()
    assert not desk.transport.lost
    desk.give("here")
    assert desk.transport.written == b"here\r\n"
    assert desk.transport.lost


def test_half_a_query_is_no_query() -> None:
    desk = Desk()
    desk.transport.receive(b"alice")
    desk.transport.receive_eof()
    assert desk.transport.lost
    assert desk.asked == []


def test_a_refused_query_is_answered_by_why_and_not_asked() -> None:
    for query in (b"al\x1bice\n", b"x" * 600):
        desk = Desk()
        desk.transport.receive(query)
        assert desk.asked == []
        assert desk.transport.written.startswith(b"A query is one line")
        assert b"\x1b" not in desk.transport.written
        desk.transport.receive(b"more")
        desk.clock.advance(LINGER)
        assert desk.transport.lost


def test_what_is_logged_of_a_query_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "protocols.finger")
    desk = Desk()
    desk.transport.receive(b"o'hara\n")
    desk.give("")
    assert [record.getMessage().partition(" asks ")[2] for record in caplog.records] == ['for "o\'hara"']


def test_a_query_must_come_in_time() -> None:
    desk = Desk()
    desk.transport.receive(b"ali")
    desk.clock.advance(QUERY_TIMEOUT - 1)
    desk.transport.receive(b"ce")
    assert not desk.transport.lost
    desk.clock.advance(1)
    assert desk.transport.lost


def test_an_answer_that_takes_too_long_is_given_up(caplog: pytest.LogCaptureFixture) -> None:
    desk = Desk()
    desk.transport.receive(b"alice\n")
    desk.clock.advance(ANSWER_TIMEOUT)
    assert desk.transport.written == b"This cannot be answered now.\r\n"
    assert "could not be answered" in caplog.text
    desk.clock.advance(LINGER)
    assert desk.transport.lost


def test_a_failure_is_logged_and_not_told(caplog: pytest.LogCaptureFixture) -> None:
    desk = Desk()
    desk.transport.receive(b"alice\n")
    desk.answer.errback(RuntimeError("secret"))
    assert desk.transport.written == b"This cannot be answered now.\r\n"
    assert "secret" in caplog.text
    desk.transport.receive_eof()
    assert desk.transport.lost


def test_a_client_that_does_not_read_is_dropped() -> None:
    desk = Desk(window=0)
    desk.transport.receive(b"alice\n")
    desk.give("x" * 100_000)
    desk.clock.advance(LINGER)
    assert not desk.transport.lost
    desk.clock.advance(SEND_TIMEOUT)
    assert desk.clock.next_time() is None
    assert desk.transport.lost


def test_where_streams_cannot_be_half_closed_the_answer_ends_them() -> None:
    class LikeTLS(MemoryTransport):
        def can_write_eof(self) -> bool:
            return False

    desk = Desk(transport=LikeTLS)
    desk.transport.receive(b"alice\n")
    desk.give("here")
    assert desk.transport.written == b"here\r\n"
    assert desk.transport.lost


def test_a_client_that_goes_takes_its_question_with_it(caplog: pytest.LogCaptureFixture) -> None:
    desk = Desk()
    desk.transport.receive(b"alice\n")
    desk.transport.lose(ConnectionReset("gone"))
    assert desk.answer.called
    assert desk.clock.next_time() is None
    assert caplog.text == ""


def test_a_drain_closes_who_has_not_asked_and_answers_who_has() -> None:
    idle = Desk()
    idle.server.drain()
    idle.transport.settle()
    assert idle.transport.lost
    busy = Desk()
    busy.transport.receive(b"alice\n")
    busy.server.drain()
    busy.transport.settle()
    assert not busy.transport.is_closing()
    busy.give("here")
    assert busy.transport.written == b"here\r\n"


# Client


@given(st.data())
def test_our_client_against_our_server(data: st.DataObject) -> None:
    async def answer(query: Query) -> str:
        return f"asked: {query}\nGr\u00fc\u00dfe"

    clock = ManualClock()
    client = FetchOne(MAX_ANSWER, encode_query(Query("alice", verbose=True)))
    link = connect_in_memory(client, FingerServer(answer, clock), clock)
    link.flush(chunk=data.draw(st.integers(1, 20)))
    clock.advance(LINGER)
    link.flush()
    seen: list[bytes] = []
    client.answer.add_callback(seen.append)
    assert seen == ["asked: /W alice\r\nGr\u00fc\u00dfe\r\n".encode()]


def test_what_a_hostile_server_says_does_not_reach_the_terminal() -> None:
    network = OneHost()
    texts: list[str] = []
    fetch_finger(network, "host", Query("a"), international=True).add_callback(texts.append)
    network.advance()
    assert network.asked == [("host", 79)]
    [transport] = network.transports
    assert transport.written == b"a\r\n"
    transport.receive("\x1b]0;title\x07\u202eevil\x9b1m\r\nfine\xff".encode("latin-1", "replace") + b"\xc2\x9b")
    transport.receive_eof()
    assert texts == ["?]0;title??evil\ufffd1m\nfine\ufffd?"]


def test_a_server_that_never_stops_is_stopped() -> None:
    network = OneHost()
    errors: list[Exception] = []
    fetch_finger(network, "host", Query("a")).add_errback(errors.append)
    network.advance()
    network.transports[0].receive(b"x" * (MAX_ANSWER + 1))
    assert isinstance(errors[0], RemoteProtocolError)
    assert network.transports[0].lost


def test_a_server_that_says_nothing_is_left(error_log: ErrorLog) -> None:
    network = OneHost()
    errors: list[Exception] = []
    fetch_finger(network, "host", Query("a"), seconds=5).add_errback(errors.append)
    network.advance()
    network.advance(5)
    assert len(errors) == 1
    assert network.transports[0].lost
    assert not error_log.messages
