"""One thing at a time: turns, cancelling, time-outs, and how connections end."""

from __future__ import annotations

import typing

import pytest

from portable.deferred import Deferred
from portable.errors import (
    Cancelled,
    ConnectionLost,
    FileError,
    LocalProtocolError,
    TimedOut,
)
from portable.testing import ManualClock, MemoryTransport
from protocols.ftp.client import CommandRefused
from protocols.ftp.client.channels import ActiveChannel
from protocols.ftp.client.control import ControlConnection
from protocols.ftp.client.data import DataConnection
from tests.protocols.ftp.client.scripted import Script


def never() -> Deferred[bytes]:
    """A producer that has nothing yet."""
    return Deferred()


# One thing at a time.


def test_operations_wait_for_their_turn() -> None:
    script = Script()
    first, second = script.run(script.client.noop()), script.run(script.client.pwd())
    third = script.run(script.client.cdup())
    assert script.heard() == ["NOOP"]
    third.deferred.cancel()
    script.say("200 ok")
    assert script.heard() == ["PWD"]
    script.say('257 "/"')
    assert (first.done(), second.result) == (True, "/")
    assert isinstance(third.error, Cancelled)
    assert script.heard() == []


def test_the_reply_to_a_cancelled_command_is_dropped() -> None:
    script = Script()
    first, second = script.run(script.client.noop()), script.run(script.client.pwd())
    assert script.heard() == ["NOOP"]
    first.deferred.cancel()
    assert script.heard() == []
    script.say("150 odd", "200 late")
    assert script.heard() == ["PWD"]
    script.say('257 "/"')
    assert second.result == "/"


def test_a_cancelled_download_is_aborted() -> None:
    script = Script()
    running = script.transfer(script.client.read("x", 100))
    script.data.receive(b"hello")
    running.deferred.cancel()
    assert script.heard() == ["ABOR"]
    assert script.data.aborted
    assert isinstance(running.error, Cancelled)
    later = script.run(script.client.noop())
    assert script.heard() == []
    script.say("426 broken off", "226 aborted")
    assert script.heard() == ["NOOP"]
    script.say("200 ok")
    assert later.done()


def test_abort_ends_the_transfer_and_waits_for_the_server() -> None:
    script = Script()
    running = script.transfer(script.client.read("x", 100))
    aborting = script.run(script.client.abort())
    assert script.heard() == ["ABOR"]
    assert isinstance(running.error, Cancelled)
    assert not aborting.done()
    script.say("426 broken off", "226 aborted")
    assert aborting.done()
    assert script.run(script.client.abort()).done()


def test_closing_drops_everything() -> None:
    script = Script()
    running, waiting = script.run(script.client.read("x", 100)), script.run(script.client.noop())
    script.passive()
    script.heard()
    script.say("150 ok")
    script.client.close()
    script.reactor.advance(0)
    assert script.data.aborted
    assert script.control.aborted
    assert running.done()
    assert isinstance(waiting.error, ConnectionLost)
    assert script.client.closed
    assert isinstance(script.run(script.client.noop()).error, ConnectionLost)


@pytest.mark.parametrize("lost", [False, True])
def test_the_consumer_holds_the_server_off_and_is_waited_for(lost: bool) -> None:
    script = Script()
    writing: list[Deferred[None]] = []

    def consume(_: bytes) -> Deferred[None]:
        writing.append(Deferred())
        return writing[-1]

    running = script.transfer(script.client.retrieve("x", consume))
    script.data.receive(b"one")
    script.data.receive(b"two")
    assert len(writing) == 1
    assert script.data.unread == 3
    script.reactor.advance(1000)  # our own slowness is no reason to give up
    if lost:
        script.data.lose()
        script.say("426 broken off")
        assert not running.done()
        writing[0].callback(None)
        assert isinstance(running.error, CommandRefused)
        return
    writing[0].callback(None)
    script.reactor.advance(0)
    script.data.receive_eof()
    script.say("226 ok")
    writing[1].callback(None)
    script.reactor.advance(0)
    assert running.result == 6


def test_a_consumer_that_fails_ends_the_transfer() -> None:
    script = Script()
    writing: Deferred[None] = Deferred()
    running = script.transfer(script.client.retrieve("x", lambda _: writing))
    script.data.receive(b"one")
    writing.errback(FileError("the disk is full", "ENOSPC"))
    script.reactor.advance(0)
    assert isinstance(running.error, FileError)
    assert script.heard() == ["ABOR"]


# Time-outs and ends.


def test_a_reply_that_does_not_come() -> None:
    script = Script()
    running, waiting = script.run(script.client.noop()), script.run(script.client.noop())
    script.reactor.advance(59)
    assert not running.done()
    script.reactor.advance(2)
    assert isinstance(running.error, TimedOut)
    assert isinstance(waiting.error, TimedOut)
    assert script.control.aborted


def test_a_dropped_reply_that_does_not_come() -> None:
    script = Script()
    running, waiting = script.run(script.client.noop()), script.run(script.client.noop())
    running.deferred.cancel()
    script.reactor.advance(61)
    assert isinstance(waiting.error, TimedOut)


def test_data_that_does_not_come() -> None:
    script = Script()
    running = script.transfer(script.client.read("x", 100))
    script.reactor.advance(45)
    script.data.receive(b"slow")
    script.reactor.advance(45)
    assert not running.done()
    script.reactor.advance(45)
    assert script.data.aborted
    script.say("426 broken off")
    assert isinstance(running.error, CommandRefused)
    assert isinstance(running.error.__cause__, TimedOut)


def test_a_download_that_breaks_off() -> None:
    script = Script()
    running = script.transfer(script.client.read("x", 100))
    script.data.receive(b"half")
    script.data.lose()
    # What it says is all that can be said, and no transfer is complete without both ends.
    script.say("226 done")
    assert isinstance(running.error, ConnectionLost)


def test_an_upload_that_the_server_ends() -> None:
    script = Script()
    running = script.transfer(script.client.store("x", Deferred))
    script.data.receive_eof()
    script.say("552 no space left")
    assert isinstance(running.error, CommandRefused)
    assert running.error.code == 552


def test_a_lost_connection_fails_everything() -> None:
    script = Script()
    running, waiting = script.run(script.client.read("x", 100)), script.run(script.client.noop())
    script.passive()
    script.heard()
    script.say("150 ok")
    script.control.lose()
    assert isinstance(running.error, ConnectionLost)
    assert isinstance(waiting.error, ConnectionLost)
    assert script.data.aborted


def test_the_farewell_of_an_idle_server_is_told() -> None:
    script = Script()
    script.say("421 idle for too long")
    script.control.receive_eof()
    running = script.run(script.client.noop())
    assert isinstance(running.error, CommandRefused)
    assert "idle for too long" in str(running.error)
    script = Script()
    script.say("421 idle for too long")
    running = script.run(script.client.noop())
    assert isinstance(running.error, CommandRefused)
    assert script.client.closed


def test_a_server_that_goes_while_a_reply_is_waited_for() -> None:
    script = Script()
    running = script.run(script.client.noop())
    script.control.receive_eof()
    assert isinstance(running.error, ConnectionLost)


def test_a_server_that_goes_without_a_word_of_sense() -> None:
    script = Script()
    script.control.receive(b"nonsense\r\n")
    script.control.receive_eof()
    assert isinstance(script.run(script.client.noop()).error, ConnectionLost)


def test_two_cannot_wait_for_one_reply() -> None:
    clock = ManualClock()
    control = ControlConnection(clock, 10.0)
    with pytest.raises(LocalProtocolError):
        control.send("NOOP")
    control.close()
    waiting = control.next_reply()
    with pytest.raises(LocalProtocolError):
        control.next_reply()
    control.abort()
    for deferred in (waiting, control.next_reply()):
        errors: list[Exception] = []
        deferred.add_errback(errors.append)
        assert isinstance(errors[0], ConnectionLost)


def test_a_control_connection_that_is_not_over_ip() -> None:
    script = Script("")
    script.control.extra["peername"] = "/run/ftp.socket"
    script.say("220 ok")
    assert isinstance(script.opening.error, LocalProtocolError)


class Taker:
    """A data connection, and what became of its transfer."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.data = DataConnection(self.clock, 10.0)
        self.outcome: list[object] = []

    def watch(self, deferred: Deferred[int]) -> None:
        deferred.add_callbacks(self.outcome.append, self.outcome.append)
        self.clock.advance(0)


def test_a_data_connection_is_for_one_transfer_and_must_be_open() -> None:
    taker = Taker()
    with pytest.raises(LocalProtocolError):
        taker.data.send(lambda: b"")
    taker = Taker()
    transport = MemoryTransport(taker.data, taker.clock)
    taker.watch(taker.data.receive(lambda _: None))
    with pytest.raises(LocalProtocolError):
        taker.data.receive(lambda _: None)
    transport.receive_eof()
    assert taker.outcome == [0]


@pytest.mark.parametrize("sending", [False, True])
def test_a_data_connection_that_has_ended_before_the_transfer(sending: bool) -> None:
    taker = Taker()
    MemoryTransport(taker.data, taker.clock).lose()
    taker.watch(taker.data.send(never) if sending else taker.data.receive(lambda _: None))
    assert isinstance(taker.outcome[0], ConnectionLost)


def test_a_data_connection_that_is_given_up_before_it_is_open() -> None:
    taker = Taker()
    taker.data.abort()
    transport = MemoryTransport(taker.data, taker.clock)
    assert transport.aborted


def test_a_consumer_that_raises_gets_nothing_more() -> None:
    taker = Taker()
    transport = MemoryTransport(taker.data, taker.clock)
    got: list[bytes] = []

    def consume(piece: bytes) -> None:
        got.append(piece)
        raise ValueError("enough")

    taker.watch(taker.data.receive(consume))
    transport.receive(b"one")
    transport.receive(b"two")
    assert got == [b"one"]
    assert isinstance(taker.outcome[0], ValueError)


def test_the_server_is_waited_for_while_a_producer_has_more() -> None:
    taker = Taker()
    transport = MemoryTransport(taker.data, taker.clock, window=0)
    pieces = [b"x" * 50_000] * 4
    taker.watch(taker.data.send(lambda: pieces.pop() if pieces else b""))
    assert transport.pauses == 1
    assert len(pieces) == 2
    taker.clock.advance(9)
    transport.allow(100_000)
    taker.clock.advance(9)
    transport.allow(None)
    taker.clock.advance(0)
    assert taker.outcome == [200_000]


def test_a_server_that_takes_nothing_is_given_up() -> None:
    taker = Taker()
    MemoryTransport(taker.data, taker.clock, window=0)
    taker.watch(taker.data.send(lambda: b"x" * 50_000))
    taker.clock.advance(21)
    assert isinstance(taker.outcome[0], TimedOut)


def test_a_piece_that_comes_after_the_end_is_dropped() -> None:
    taker = Taker()
    transport = MemoryTransport(taker.data, taker.clock)
    late: Deferred[bytes] = Deferred(lambda deferred: deferred.callback(b"late"))
    taker.watch(taker.data.send(lambda: late))
    transport.lose()
    assert isinstance(taker.outcome[0], ConnectionLost)
    assert transport.written == b""


def test_a_closed_channel_has_no_address_and_no_connection() -> None:
    script = Script(active=True)
    channel = ActiveChannel(
        typing.cast("typing.Any", script.reactor), "192.0.2.1", "192.0.2.21", lambda: Taker().data
    )
    channel.abort()
    channel.abort()
    with pytest.raises(LocalProtocolError):
        _ = channel.address
    errors: list[Exception] = []
    channel.connected().add_errback(errors.append)
    assert isinstance(errors[0], ConnectionLost)
