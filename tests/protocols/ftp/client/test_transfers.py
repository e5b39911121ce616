"""Transfers and listings in memory, passive and active."""

from __future__ import annotations

import typing

import pytest

from portable.deferred import Deferred, succeed
from portable.errors import (
    ConnectionRefused,
    FileError,
    LocalProtocolError,
    RemoteProtocolError,
    TimedOut,
)
from portable.transport import Address
from protocols.ftp.client import CommandRefused, FilePart
from tests.protocols.ftp.client.scripted import SERVER, Script

if typing.TYPE_CHECKING:
    from pathlib import Path


def test_a_download() -> None:
    script = Script()
    running = script.run(script.client.read("x", 100))
    script.passive(2345)
    assert script.reactor.dialled[-1] == (SERVER.host, 2345)
    assert script.heard() == ["RETR x"]
    script.say("150 here it comes")
    script.data.receive(b"hello ")
    script.say("226 sent")
    assert not running.done()
    script.data.receive(b"world")
    script.data.receive_eof()
    assert running.result == b"hello world"
    running = script.run(script.client.read("y", 4))
    script.passive()
    assert script.heard() == ["RETR y"]
    script.say("125 coming")
    script.data.receive(b"hello")
    assert isinstance(running.error, RemoteProtocolError)
    assert script.data.aborted
    assert script.heard() == ["ABOR"]


def test_an_upload_of_bytes_is_held_off_by_the_server() -> None:
    script = Script()
    data = bytes(range(256)) * 4096
    running = script.run(script.client.store("x", data, offset=10))
    script.passive()
    script.play("C: REST 10\nS: 350 ok\nC: STOR x")
    script.data.window = 0
    script.say("150 go on")
    script.reactor.advance(0)
    assert script.data.get_write_buffer_size() <= 256 * 1024
    script.data.allow(None)
    script.reactor.advance(0)
    assert script.data.take() == data
    assert script.data.ended
    script.say("226 got it")
    assert running.result == len(data)


def test_an_upload_from_a_producer() -> None:
    script = Script()
    asked: list[Deferred[bytes]] = []

    def produce() -> Deferred[bytes]:
        asked.append(Deferred())
        return asked[-1]

    running = script.run(script.client.append("x", produce))
    script.passive()
    assert script.heard() == ["APPE x"]
    script.say("150 go on")
    script.reactor.advance(0)
    asked[0].callback(b"one")
    script.reactor.advance(1000)  # our own slowness is no reason to give up
    asked[1].callback(b"two")
    script.reactor.advance(0)
    asked[2].callback(b"")
    script.reactor.advance(0)
    assert script.data.take() == b"onetwo"
    script.say("226 got it")
    assert running.result == 6


@pytest.mark.parametrize("late", [False, True])
def test_an_upload_whose_producer_fails(late: bool) -> None:
    script = Script()

    def produce() -> Deferred[bytes] | bytes:
        if late:
            deferred: Deferred[bytes] = Deferred()
            script.reactor.call_soon(deferred.errback, ValueError("no more"))
            return deferred
        raise ValueError("no more")

    running = script.transfer(script.client.store("x", produce))
    script.reactor.advance(0)
    assert isinstance(running.error, ValueError)
    assert script.data.aborted
    assert script.heard() == ["ABOR"]
    # The replies to STOR and ABOR belong to nobody.
    later = script.run(script.client.noop())
    assert script.heard() == []
    script.say("426 broken off", "226 aborted")
    assert script.heard() == ["NOOP"]
    script.say("200 ok")
    assert later.done()


def test_an_upload_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"0123456789")
    with open(path, "rb") as file:
        for length, fits in ((4, True), (40, False)):
            script = Script()
            running = script.run(script.client.store("x", FilePart(file, 3, length)))
            script.passive()
            script.heard()
            script.say("150 go on")
            script.reactor.advance(0)
            if fits:
                assert script.data.take() == b"3456"
                script.say("226 ok")
                assert running.result == 4
            else:
                script.say("426 broken off", "226 aborted")
                assert isinstance(running.error, (FileError, CommandRefused))


@pytest.mark.parametrize(
    ("first", "final", "name"),
    [
        ("150 FILE: x.1", "226 done", "x.1"),
        ("150 ok", "226 Transfer complete (unique file name:x.2).", "x.2)"),
        ("150 ok", "226 ok", ""),
    ],
)
def test_the_name_of_a_unique_file(first: str, final: str, name: str) -> None:
    """RFC 1123 4.1.2.9."""
    script = Script()
    running = script.run(script.client.store_unique(b"x"))
    script.passive()
    assert script.heard() == ["STOU"]
    script.say(first)
    script.reactor.advance(0)
    script.say(final)
    assert running.result == name


def test_a_marker_that_no_transfer_has_used_is_taken_back() -> None:
    """Or the next upload would be written into the middle of its file."""
    script = Script()
    running = script.run(script.client.read("x", 10))
    script.passive()
    script.heard()
    script.say("550 no")
    assert running.done()
    resumed = script.run(script.client.retrieve("x", lambda _: None, offset=5))
    script.passive()
    assert script.heard() == ["REST 5"]
    resumed.deferred.cancel()
    script.run(script.client.store("y", b"whole"))
    script.say("350 ok")
    script.passive()
    script.play("C: REST 0\nS: 350 ok\nC: STOR y\nS: 553 no")
    script.run(script.client.store("y", b"whole"))
    script.passive()
    assert script.heard() == ["STOR y"]


def test_a_type_that_was_cancelled_is_said_again() -> None:
    script = Script()
    running = script.run(script.client.size("x"))
    assert script.heard() == ["TYPE I"]
    running.deferred.cancel()
    script.say("200 ok")
    script.run(script.client.retrieve("x", lambda _: None, text=True))
    assert script.heard() == ["TYPE A"]


def test_text_is_transferred_in_type_a() -> None:
    script = Script()
    got: list[bytes] = []
    running = script.transfer(script.client.retrieve("x", got.append, text=True))
    script.data.receive(b"a\r\n")
    script.data.receive_eof()
    script.say("226 ok")
    assert running.result == 3
    script.run(script.client.store("y", b"a\r\n"))
    assert script.heard() == ["TYPE I"]


def test_listings() -> None:
    script = Script()
    script.announce("MLST type*;size*;")
    running = script.run(script.client.list("d"))
    script.passive()
    assert script.heard() == ["MLSD d"]
    script.say("150 ok")
    script.data.receive(b"type=file;size=1; a\r\n")
    script.data.receive_eof()
    script.say("226 ok")
    assert [file.name for file in running.result] == ["a"]


@pytest.mark.parametrize("path", ["", "-R"])
def test_listings_of_servers_that_do_not_know_mlsd(path: str) -> None:
    script = Script()
    script.announce()
    running = script.run(script.client.list(path))
    script.passive()
    assert script.heard() == (["LIST ./-R"] if path else ["LIST"])
    script.say("150 ok")
    script.data.receive(b"total 1\n-rw-r--r-- 1 a b 5 Jan 1 2020 a\n")
    script.data.receive_eof()
    script.say("226 ok")
    assert [file.name for file in running.result] == ["a"]
    names = script.run(script.client.names(path))
    script.passive()
    script.heard()
    script.say("150 ok")
    script.data.receive(b"a\r\nb")
    script.data.receive_eof()
    script.say("226 ok")
    assert names.result == ["a", "b"]


def test_pasv_where_epsv_is_not_known() -> None:
    script = Script()
    running = script.run(script.client.read("x", 1))
    script.play("C: TYPE I\nS: 200 ok\nC: EPSV\nS: 500 what?\nC: PASV\nS: 227 ok (192,0,2,21,8,1)\nC: RETR x")
    assert script.reactor.dialled[-1] == (SERVER.host, 2049)
    script.say("550 no such file")
    assert isinstance(running.error, CommandRefused)
    script.run(script.client.read("x", 1))
    assert script.heard() == ["PASV"]


def test_no_pasv_for_ipv6() -> None:
    script = Script("")
    script.control.extra["peername"] = Address("2001:db8::1", 21)
    script.say("220 ok")
    running = script.run(script.client.read("x", 1))
    script.play("C: TYPE I\nS: 200 ok\nC: EPSV\nS: 500 what?")
    assert isinstance(running.error, CommandRefused)
    assert script.heard() == []


def test_a_server_whose_data_port_refuses() -> None:
    script = Script()
    script.reactor.refuse.add(2000)
    running = script.run(script.client.read("x", 1))
    script.passive()
    assert isinstance(running.error, ConnectionRefused)
    assert script.heard() == []
    assert not script.client.closed


def test_active_mode() -> None:
    script = Script(active=True)
    running = script.run(script.client.read("x", 10))
    script.play("C: TYPE I\nS: 200 ok\nC: EPRT |1|192.0.2.1|50000|\nS: 200 ok\nC: RETR x\nS: 150 coming")
    data = script.reactor.accept(Address(SERVER.host, 20))
    assert script.reactor.listeners[-1].closed
    data.receive(b"hello")
    data.receive_eof()
    script.say("226 ok")
    assert running.result == b"hello"
    # Some connect before they say so.
    running = script.run(script.client.read("y", 10))
    script.play("C: EPRT |1|192.0.2.1|50001|\nS: 200 ok\nC: RETR y")
    data = script.reactor.accept(Address(SERVER.host, 20))
    script.say("150 coming")
    data.receive_eof()
    script.say("226 ok")
    assert running.result == b""


def test_active_mode_where_eprt_is_not_known() -> None:
    script = Script(active=True)
    running = script.run(script.client.read("x", 10))
    script.play(
        "C: TYPE I\nS: 200 ok\nC: EPRT |1|192.0.2.1|50000|\nS: 502 no\nC: PORT 192,0,2,1,195,80\nS: 500 no"
    )
    assert isinstance(running.error, CommandRefused)
    assert script.reactor.listeners[-1].closed
    script.run(script.client.read("x", 10))
    assert script.heard() == ["PORT 192,0,2,1,195,81"]


def test_active_mode_over_ipv6_has_no_port() -> None:
    script = Script("", active=True)
    script.control.extra["peername"] = Address("2001:db8::1", 21)
    script.control.extra["sockname"] = Address("2001:db8::2", 40000)
    script.say("220 ok")
    running = script.run(script.client.read("x", 10))
    script.play("C: TYPE I\nS: 200 ok\nC: EPRT |2|2001:db8::2|50000|\nS: 502 no")
    assert isinstance(running.error, CommandRefused)


@pytest.mark.parametrize("said", ["425 cannot connect", ""])
def test_active_mode_where_the_server_cannot_connect(said: str) -> None:
    script = Script(active=True)
    running = script.run(script.client.read("x", 10))
    script.play("C: TYPE I\nS: 200 ok\nC: EPRT |1|192.0.2.1|50000|\nS: 200 ok\nC: RETR x\nS: 150 coming")
    if said:
        script.say(said)
        assert isinstance(running.error, CommandRefused)
    else:
        script.reactor.advance(61)
        script.say("425 cannot connect")
        assert isinstance(running.error, (TimedOut, CommandRefused))
    assert script.reactor.listeners[-1].closed
    assert not script.client.closed


def test_through_a_proxy() -> None:
    """The host of data connections is the one that was asked for: what the connection says is the proxy's."""
    dialled = []

    def connect(factory: typing.Callable[[], typing.Any], host: str, port: int) -> Deferred[typing.Any]:
        dialled.append((host, port))
        protocol = factory()
        script.reactor.add(protocol, Address("192.0.2.99", 1080))
        return succeed(protocol)

    script = Script("", dial_later=True, connect=connect)
    script.open()
    script.say("220 ok")
    running = script.run(script.client.read("x", 1))
    script.passive(3000)
    assert dialled == [("ftp.test", 21), ("ftp.test", 3000)]
    assert script.heard() == ["RETR x"]
    script.say("550 no")
    assert isinstance(running.error, CommandRefused)


def test_a_refused_login_of_data_is_told_by_its_reply() -> None:
    script = Script()
    running = script.run(script.client.read("x", 10))
    script.play("C: TYPE I\nS: 200 ok\nC: EPSV\nS: 425 no more ports")
    assert isinstance(running.error, CommandRefused)
    assert running.error.temporary
    assert script.heard() == []
    # What was only refused for now is tried again.
    script.run(script.client.read("x", 10))
    assert script.heard() == ["EPSV"]


def test_options_that_make_no_sense() -> None:
    assert isinstance(Script("", active=True, connect=lambda *_: Deferred()).opening.error, LocalProtocolError)
    assert isinstance(Script("", implicit_tls=True).opening.error, LocalProtocolError)
