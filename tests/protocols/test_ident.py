"""Ident (RFC 1413): its own examples, hostile answers, a question over the network."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import typing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portable.errors import ConnectionLost, ConnectionRefused, RemoteProtocolError, TimedOut
from portable.protocol import Protocol
from portable.testing import wait_for
from portable.transport import Address
from protocols.ident import MAX_LINE, Identified, NotIdentified, ask, encode_query, parse_answer
from tests.strategies import alphabet

if typing.TYPE_CHECKING:
    from portable.reactor import Listener, Reactor
    from portable.transport import Transport


def test_the_examples_of_the_rfc() -> None:
    assert encode_query(6191, 23) == b"6191, 23\r\n"
    assert parse_answer(b"6193, 23 : USERID : UNIX : stjohns", 6193, 23) == Identified("UNIX", "stjohns")
    assert parse_answer(b"6195, 23 : ERROR : NO-USER", 6195, 23) == NotIdentified("NO-USER")


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        (b"1,2:USERID:OTHER:a b : c ", Identified("OTHER", "a b : c ")),
        (b" 1 , 2 : userid : unix , US-ASCII :  two", Identified("UNIX", " two")),
        (b"1,2:USERID:UNIX:\xff", Identified("UNIX", "\xff")),
        (b"1 , 2 : ERROR : x-Busy ", NotIdentified("X-BUSY")),
    ],
)
def test_what_else_is_an_answer(line: bytes, answer: object) -> None:
    assert parse_answer(line, 1, 2) == answer


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"1, 2",
        b"1, 3 : USERID : UNIX : root",
        b"2, 2 : ERROR : NO-USER",
        b"1, 2 : USERID : UNIX :",
        b"1, 2 : USERID : root",
        b"1, 2 : USERID : UNIX : ro\0ot",
        b"1, 2 : USERID : UNIX : ro\rot",
        b"123456, 2 : ERROR : NO-USER",
    ],
)
def test_what_is_none(line: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        parse_answer(line, 1, 2)


@given(
    alphabet([b"1", b", ", b"2", b" : ", b"USERID", b"ERROR", b"UNIX", b"root"]) | st.binary(max_size=MAX_LINE)
)
def test_garbage_raises_remote_protocol_errors_only(line: bytes) -> None:
    with contextlib.suppress(RemoteProtocolError):
        parse_answer(line, 1, 2)


class Identd(Protocol):
    """Says what it is told to say."""

    says = b""
    asked: typing.ClassVar[list[bytes]] = []

    def connection_made(self, transport: Transport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self.asked.append(data)
        if self.says:
            self._transport.write(self.says)
        self._transport.close()


def identd(reactor: Reactor, says: bytes) -> Listener:
    kind = type("Told", (Identd,), {"says": says, "asked": []})
    return reactor.listen(kind, "127.0.0.1", 0)


def question(reactor: Reactor, listener: Listener, **options: float) -> Identified | NotIdentified:
    assert isinstance(listener.address, Address)
    peer, local = Address("127.0.0.1", 6193), Address("127.0.0.1", 23)
    return wait_for(reactor, ask(reactor, peer, local, port=listener.address.port, **options))


def test_asking(reactor: Reactor) -> None:
    listener = identd(reactor, b"6193, 23 : USERID : UNIX : stjohns\r\nmore")
    assert question(reactor, listener) == Identified("UNIX", "stjohns")


def test_answers_that_are_none(reactor: Reactor) -> None:
    with pytest.raises(RemoteProtocolError):
        question(reactor, identd(reactor, b"6193, 24 : USERID : UNIX : root\n"))
    with pytest.raises(RemoteProtocolError):
        question(reactor, identd(reactor, b"x" * (MAX_LINE + 2)))
    with pytest.raises(ConnectionLost):
        question(reactor, identd(reactor, b""))


def test_nobody_answers(reactor: Reactor) -> None:
    silent = reactor.listen(Protocol, "127.0.0.1", 0)
    with pytest.raises(TimedOut):
        question(reactor, silent, timeout=0.05)
    silent.close()
    with pytest.raises(ConnectionRefused):
        question(reactor, silent)


def test_an_identd_that_is_not_ours(reactor: Reactor) -> None:
    program = shutil.which("oidentd", path="/usr/sbin:/usr/bin")
    if program is None:
        pytest.skip("oidentd is not installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    listener = reactor.listen(Protocol, "127.0.0.1", 0)
    assert isinstance(listener.address, Address)
    with (
        subprocess.Popen([program, "-i", "-S", "-q", "-a", "127.0.0.1", "-p", str(port)]) as server,
        socket.create_connection(listener.address) as client,
    ):
        try:
            answer = _ask_until_it_listens(reactor, Address(*client.getsockname()), listener.address, port)
        finally:
            server.terminate()
    assert answer == Identified("UNIX", pwd.getpwuid(os.getuid()).pw_name)
    listener.close()


def _ask_until_it_listens(reactor: Reactor, peer: Address, local: Address, port: int) -> object:
    for _ in range(500):
        try:
            return wait_for(reactor, ask(reactor, peer, local, port=port))
        except ConnectionRefused:
            reactor.step(0.02)
    raise AssertionError("oidentd does not listen")
