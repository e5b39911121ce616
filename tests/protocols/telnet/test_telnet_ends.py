"""Client and server: what they negotiate, what the server's user gets, and what floods come to."""

from __future__ import annotations

import logging
import typing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portable.testing import MemoryTransport, connect_in_memory
from protocols.telnet import charset, codes
from protocols.telnet.client import MAX_QUESTIONS, TelnetClient
from protocols.telnet.naws import WindowSize
from protocols.telnet.negotiation import MAX_ANSWERS
from protocols.telnet.parser import MAX_SUBNEGOTIATION, negotiation, subnegotiation
from protocols.telnet.server import CLOSE_TIMEOUT, TelnetServer
from tests.strategies import alphabet, splits

WILL, WONT, DO, DONT, IAC = codes.WILL, codes.WONT, codes.DO, codes.DONT, codes.IAC
OFFERS = (
    negotiation(WILL, codes.ECHO)
    + negotiation(WILL, codes.SGA)
    + negotiation(WILL, codes.CHARSET)
    + negotiation(DO, codes.NAWS)
    + negotiation(DO, codes.TTYPE)
)


class User:
    """Notes what a server's user is told."""

    def __init__(self, terminal: TelnetServer) -> None:
        self.terminal = terminal
        self.keys = b""
        self.calls: list[str] = []

    def data_received(self, data: bytes) -> None:
        self.keys += data

    def input_ended(self) -> None:
        self.calls.append("input_ended")

    def terminal_changed(self) -> None:
        self.calls.append("terminal_changed")

    def pause_writing(self) -> None:
        self.calls.append("pause_writing")

    def resume_writing(self) -> None:
        self.calls.append("resume_writing")

    def drain(self) -> None:
        self.calls.append("drain")

    def connection_lost(self) -> None:
        self.calls.append("connection_lost")


class Server:
    """A server over a memory transport."""

    def __init__(self, window: int | None = None) -> None:
        self.users: list[User] = []
        self.protocol = TelnetServer(self._make)
        self.transport = MemoryTransport(self.protocol, window=window)
        if window is None:
            assert self.transport.take() == OFFERS

    def _make(self, terminal: TelnetServer) -> User:
        self.users.append(User(terminal))
        return self.users[0]

    @property
    def user(self) -> User:
        return self.users[0]

    def answer(self, data: bytes) -> bytes:
        """What the server sends for `data`."""
        self.transport.receive(data)
        return self.transport.take()


def test_the_server_asks_for_the_type_of_the_terminal_and_learns_the_size_of_its_window() -> None:
    server = Server()
    assert (server.protocol.columns, server.protocol.rows, server.protocol.kind) == (80, 24, "")
    assert server.answer(negotiation(WILL, codes.TTYPE)) == subnegotiation(codes.TTYPE, b"\x01")
    assert server.answer(subnegotiation(codes.TTYPE, b"\0XTERM-256COLOR")) == b""
    assert server.protocol.kind == "xterm-256color"
    server.answer(negotiation(WILL, codes.NAWS) + subnegotiation(codes.NAWS, b"\x01\xff\0\x30"))
    assert (server.protocol.columns, server.protocol.rows) == (511, 48)
    server.answer(subnegotiation(codes.NAWS, b"\0\0\0\0"))
    assert (server.protocol.columns, server.protocol.rows) == (80, 24)
    assert server.user.calls == ["terminal_changed"] * 3


def test_a_client_that_lets_us_echo_is_interactive() -> None:
    server = Server()
    interactive = [server.protocol.interactive]
    assert server.answer(negotiation(DO, codes.ECHO) + negotiation(DO, codes.SGA)) == b""
    interactive.append(server.protocol.interactive)
    assert server.answer(negotiation(DONT, codes.ECHO)) == negotiation(WONT, codes.ECHO)
    interactive.append(server.protocol.interactive)
    assert interactive == [False, True, False]


def test_the_encoding_is_agreed_on() -> None:
    server = Server()
    assert server.answer(negotiation(DO, codes.CHARSET)) == subnegotiation(codes.CHARSET, b"\x01;UTF-8")
    server.answer(subnegotiation(codes.CHARSET, charset.REJECTED))
    assert server.answer(subnegotiation(codes.CHARSET, b"\x01;ISO-8859-1")) == subnegotiation(
        codes.CHARSET, b"\x02ISO-8859-1"
    )
    server.protocol.write("caf\xe9 \u20ac\n")
    assert server.transport.take() == b"caf\xe9 ?\r\n"


def test_in_binary_mode_nothing_is_put_behind_a_cr() -> None:
    server = Server()
    assert server.answer(negotiation(DO, codes.BINARY)) == negotiation(WILL, codes.BINARY)
    server.protocol.write("a\rb\n")
    assert server.transport.take() == b"a\rb\r\n"


@pytest.mark.parametrize("option", [codes.LINEMODE, codes.NEW_ENVIRON, 36, 37, 38, 200, 255])
def test_what_is_not_spoken_is_refused_politely(option: int) -> None:
    server = Server()
    assert server.answer(negotiation(WILL, option)) == negotiation(DONT, option)
    assert server.answer(negotiation(DO, option)) == negotiation(WONT, option)
    assert server.answer(negotiation(WONT, option) + negotiation(DONT, option)) == b""
    assert not server.transport.lost


def test_commands_are_the_keys_of_a_terminal() -> None:
    server = Server()
    for code in (
        codes.IP,
        codes.EC,
        codes.EL,
        codes.EOF,
        codes.BRK,
        codes.NOP,
        codes.DM,
        codes.GA,
        codes.AO,
        5,
    ):
        server.transport.receive(bytes([IAC, code]))
    assert server.user.keys == b"\x03\x7f\x15\x04\x03"
    assert server.transport.take() == b""


def test_are_you_there() -> None:
    assert b"yes" in Server().answer(bytes([IAC, codes.AYT]))


def test_are_you_there_is_answered_after_what_came_before() -> None:
    server = Server()
    refused = negotiation(WONT, codes.NEW_ENVIRON)
    assert (
        server.answer(negotiation(DO, codes.NEW_ENVIRON) + bytes([IAC, codes.AYT]))
        == refused + b"\r\n[yes]\r\n"
    )


def test_nobody_who_does_not_read_is_told_for_ever_that_we_are_here() -> None:
    server = Server(window=0)
    for _ in range(100):
        server.transport.receive(bytes([IAC, codes.AYT]) * 1000)
    assert server.transport.waiting < 100_000
    server.transport.allow(None)
    assert server.user.calls == ["pause_writing", "resume_writing"]


@pytest.mark.parametrize("end", [b"", bytes([IAC, codes.SB, IAC, codes.SE])])
def test_a_client_that_does_not_take_the_last_words_is_not_kept(end: bytes) -> None:
    server = Server(window=0)
    if end:
        server.transport.receive(end)
    else:
        server.protocol.close()
    server.protocol.close()
    lost = []
    for seconds in (CLOSE_TIMEOUT - 1, 1):
        server.transport.clock.advance(seconds)
        lost.append(server.transport.lost)
    assert lost == [False, True]
    server.protocol.close()
    assert server.transport.clock.next_time() is None


def test_the_end_of_the_stream_and_of_the_connection_are_told() -> None:
    server = Server()
    server.transport.receive_eof()
    assert not server.transport.lost
    server.protocol.drain()
    server.protocol.close()
    server.transport.settle()
    assert server.user.calls == ["input_ended", "drain", "connection_lost"]
    assert str(server.protocol.peer) == "192.0.2.1:40000"


# Attacks.


def test_unbounded_sub_negotiation_ends_the_connection(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "protocols.telnet"):
        server = Server()
        server.transport.receive(b"\xff\xfa\x18" + b"x" * (MAX_SUBNEGOTIATION + 1))
    assert server.transport.lost
    assert "more than 1024 bytes" in caplog.text


def test_unbounded_sub_negotiation_of_escaped_iac_ends_the_connection() -> None:
    server = Server()
    for _ in range(MAX_SUBNEGOTIATION + 1):
        server.transport.receive(b"\xff\xfa\x18"[: 0 if _ else 3] + b"\xff\xff")
    assert server.transport.lost


@pytest.mark.parametrize("verbs", [(WILL,), (DO,), (WILL, WONT), (DO, DONT)])
@pytest.mark.parametrize("option", [codes.SGA, codes.NAWS, codes.NEW_ENVIRON])
def test_a_negotiation_loop_ends(verbs: tuple[int, ...], option: int) -> None:
    """Whoever answers our every answer is either no longer answered, or dropped."""
    server = Server()
    sent = 0
    for _ in range(10 * MAX_ANSWERS):
        for verb in verbs:
            sent += len(server.answer(negotiation(verb, option)))
    assert sent <= 3 * MAX_ANSWERS + 8


def test_a_million_negotiations_are_answered_within_bounds() -> None:
    server = Server(window=0)
    flood = b"".join([negotiation(WILL, option) for option in range(256)])
    for _ in range(100):
        server.transport.receive(flood)
    assert server.transport.waiting <= 3 * 256 * MAX_ANSWERS + len(OFFERS)


def test_a_sub_negotiation_that_was_not_negotiated_is_passed_over() -> None:
    server = Server()
    data = subnegotiation(codes.NAWS, b"\0\x05\0\x05") + subnegotiation(codes.TTYPE, b"\0EVIL")
    assert server.answer(data + subnegotiation(codes.CHARSET, b"\x01;KOI8-R")) == b""
    assert (server.protocol.columns, server.protocol.kind, server.protocol.encoding) == (80, "", "utf-8")


def test_new_environ_logs_nobody_in() -> None:
    """CVE-1999-0073, CVE-2026-24061: variables of the client's must not reach anything."""
    server = Server()
    assert server.answer(negotiation(WILL, codes.NEW_ENVIRON)) == negotiation(DONT, codes.NEW_ENVIRON)
    assert server.answer(subnegotiation(codes.NEW_ENVIRON, b"\0\0USER\1-f root")) == b""
    assert server.user.keys == b""
    assert server.user.calls == []


@given(
    alphabet(
        [b"\xff", b"\xfa", b"\xf0", b"\xff\xfb", b"\xff\xfd", b"\x1f", b"\x18", b"\x2a", b"\xff\xf0", b"\r"]
    )
)
def test_garbage_ends_a_connection_or_does_nothing(stream: bytes) -> None:
    Server().transport.receive(stream)


@given(st.data())
def test_any_split_is_answered_the_same(data: st.DataObject) -> None:
    stream = data.draw(
        alphabet(
            [
                negotiation(WILL, 31),
                negotiation(DO, 1),
                subnegotiation(31, b"\0\x50\0\x18"),
                b"a\r\0",
                b"\xff\xf4",
            ]
        )
    )
    results = []
    for chunks in ([stream], data.draw(splits(stream))):
        server = Server()
        for chunk in chunks:
            server.transport.receive(chunk)
        results.append((server.transport.take(), server.user.keys, server.protocol.columns))
    assert results[0] == results[1]


# Ours against ours.


class Pair:
    """Our client against our server."""

    def __init__(self, terminal: str = "xterm") -> None:
        self.text = ""
        self.ends: list[Exception | None] = []
        self.users: list[User] = []
        self.client = TelnetClient(self._print, self.ends.append, size=WindowSize(100, 50), terminal=terminal)
        self.server = TelnetServer(self._make)
        self.link = connect_in_memory(self.client, self.server)

    def _print(self, text: str) -> None:
        self.text += text

    def _make(self, terminal: TelnetServer) -> User:
        self.users.append(User(terminal))
        return self.users[-1]


@pytest.mark.parametrize("chunk", [1, 2, 1000])
def test_our_client_and_our_server_agree_on_everything(chunk: int) -> None:
    pair = Pair()
    before = pair.client.server_echoes
    pair.link.flush(chunk=chunk)
    assert (before, pair.client.server_echoes) == (False, True)
    assert pair.server.interactive
    assert (pair.server.columns, pair.server.rows, pair.server.kind) == (100, 50, "xterm")
    assert pair.server.encoding == "utf-8"
    pair.server.write("Gr\xfc\xdfe\n\xff: \r>")
    pair.client.send("\u20ac\r")
    pair.client.send_line("two")
    pair.client.send_command(codes.IP)
    pair.client.resize(WindowSize(255, 255))
    pair.link.flush(chunk=chunk)
    assert pair.text == "Gr\xfc\xdfe\r\n\xff: \r>"
    assert pair.users[0].keys == "\u20ac\rtwo\r\x03".encode()
    assert (pair.server.columns, pair.server.rows) == (255, 255)
    pair.server.close()
    pair.link.flush()
    assert pair.ends == [None]


def test_our_client_says_nothing_before_it_is_asked() -> None:
    client = TelnetClient(print)
    transport = MemoryTransport(client)
    client.resize(WindowSize(1, 1))
    assert transport.take() == b""
    client.close()
    transport.settle()
    assert transport.lost


def test_our_client_refuses_what_it_does_not_speak_and_takes_another_encoding() -> None:
    texts: list[str] = []
    transport = MemoryTransport(TelnetClient(texts.append))
    transport.receive(
        negotiation(DO, codes.NEW_ENVIRON) + negotiation(DO, codes.ECHO) + negotiation(WILL, codes.CHARSET)
    )
    assert transport.take() == (
        negotiation(WONT, codes.NEW_ENVIRON) + negotiation(WONT, codes.ECHO) + negotiation(DO, codes.CHARSET)
    )
    transport.receive(subnegotiation(codes.CHARSET, b"\x01;KOI8-R") + b"\xc1")
    assert transport.take() == subnegotiation(codes.CHARSET, b"\x02KOI8-R")
    transport.receive(subnegotiation(codes.CHARSET, b"\x03") + bytes([IAC, codes.GA]))
    assert texts == ["\u0430"]


def test_a_server_that_asks_for_ever_ends_the_connection() -> None:
    ends: list[Exception | None] = []
    transport = MemoryTransport(TelnetClient(print, ends.append))
    transport.receive(negotiation(DO, codes.TTYPE))
    for _ in range(MAX_QUESTIONS + 1):
        transport.receive(subnegotiation(codes.TTYPE, b"\x01"))
    assert transport.lost
    assert "type of the terminal" in str(ends[0])


@pytest.mark.parametrize("pieces", [1, 100])
def test_answers_before_an_error_are_not_lost_with_it(pieces: int) -> None:
    stream = negotiation(DO, codes.NEW_ENVIRON) + bytes([IAC, codes.SB, IAC, codes.SE])
    client = MemoryTransport(TelnetClient(print))
    for transport in (client, Server().transport):
        for at in range(0, len(stream), pieces):
            transport.receive(stream[at : at + pieces])
        assert transport.take() == negotiation(WONT, codes.NEW_ENVIRON)
        assert transport.lost


def test_ends_that_are_nobodys_concern() -> None:
    transport = MemoryTransport(TelnetClient(typing.cast("typing.Any", None)))
    transport.lose()
    assert transport.lost
