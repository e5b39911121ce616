"""Whole dialogues in memory: what the client says, and what it makes of the answers."""

from __future__ import annotations

import typing

import pytest

from portable.deferred import Deferred, succeed
from portable.errors import (
    Cancelled,
    ConnectionLost,
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


def never() -> Deferred[bytes]:
    """A producer that has nothing yet."""
    return Deferred()


def test_the_greeting_may_take_its_time() -> None:
    script = Script("120 ready in 5 minutes")
    assert not script.opening.done()
    script.say("220 ready")
    assert script.client.greeting.text == "ready"
    assert script.reactor.dialled == [("ftp.test", 21)]


def test_a_server_that_will_not_serve() -> None:
    script = Script("421 too many connections")
    assert isinstance(script.opening.error, CommandRefused)
    assert "too many" in str(script.opening.error)
    assert script.control.ended
    assert isinstance(Script("550 go away").opening.error, CommandRefused)


def test_login_in_all_its_ways() -> None:
    script = Script()
    login = script.run(script.client.login("joe", "secret", "sales"))
    script.play(
        """
        C: USER joe
        S: 331 password
        C: PASS secret
        S: 332 account
        C: ACCT sales
        S: 230-Welcome
        S: 230 here
        C: FEAT
        S: 500 what?
        """
    )
    assert login.result.text == "Welcome\nhere"
    login = script.run(script.client.login())
    script.play("C: USER anonymous\nS: 230 no password needed\nC: FEAT\nS: 211 none")
    assert login.done()
    login = script.run(script.client.login("joe", "wrong"))
    script.play("C: USER joe\nS: 331 password\nC: PASS wrong\nS: 530 no")
    assert isinstance(login.error, CommandRefused)
    assert login.error.code == 530
    assert "wrong" not in str(login.error)


def test_utf_8_and_facts_are_asked_for() -> None:
    script = Script()
    login = script.run(script.client.login())
    script.play("C: USER anonymous\nS: 331 any\nC: PASS guest@\nS: 230 in\nC: FEAT")
    script.say("211-Features", " UTF8", "211-mlst Type*;Size;X;Modify*;UNIX.mode;", "211 End")
    script.play("C: OPTS UTF8 ON\nS: 501 always on\nC: OPTS MLST type;size;modify;unix.mode;\nS: 200 fine")
    assert login.done()
    assert script.run(script.client.features()).result["MLST"].startswith("Type*")
    script = Script(encoding="latin-1")
    login = script.run(script.client.login())
    script.play("C: USER anonymous\nS: 230 in\nC: FEAT")
    script.say("211-Features", " UTF8", " MLST type*;size*;", "211 End")
    assert login.done()
    assert script.heard() == []


def test_folders_and_files() -> None:
    script = Script()
    client = script.client

    def ask(coroutine: typing.Coroutine[typing.Any, typing.Any, object], dialogue: str) -> object:
        running = script.run(coroutine)
        script.play(dialogue)
        return running.result

    ask(client.cwd("a b"), "C: CWD a b\nS: 250 ok")
    ask(client.cdup(), "C: CDUP\nS: 200 ok")
    assert ask(client.pwd(), 'C: PWD\nS: 257 "/a ""b""" is it') == '/a "b"'
    assert ask(client.mkd("x"), 'C: MKD x\nS: 257 "/x" made') == "/x"
    ask(client.rmd("x"), "C: RMD x\nS: 250 ok")
    ask(client.delete("x"), "C: DELE x\nS: 250 ok")
    ask(client.rename("x", "y"), "C: RNFR x\nS: 350 go on\nC: RNTO y\nS: 250 ok")
    assert ask(client.size("x"), "C: TYPE I\nS: 200 ok\nC: SIZE x\nS: 213 17") == 17
    assert ask(client.size("x"), "C: SIZE x\nS: 213 18") == 18
    assert ask(client.mdtm("x"), "C: MDTM x\nS: 213 19700101000100.5") == 60.5
    ask(client.mfmt("x", 60), "C: MFMT 19700101000100 x\nS: 213 Modify=19700101000100; x")
    ask(client.chmod("x", 0o44), "C: SITE CHMOD 044 x\nS: 200 ok")
    ask(client.noop(), "C: NOOP\nS: 200 ok")
    ask(client.host("ftp.test"), "C: HOST ftp.test\nS: 220 ok")
    ask(client.stat(), "C: STAT\nS: 211 fine")
    ask(client.stat("-x"), "C: STAT ./-x\nS: 213 fine")
    ask(client.help("SITE"), "C: HELP SITE\nS: 214 no help")
    ask(client.site("IDLE 60"), "C: SITE IDLE 60\nS: 200 ok")
    ask(client.command("SYST"), "C: SYST\nS: 215 UNIX Type: L8")
    ask(client.cwd(b"J\xc3\xb6rg"), "C: CWD J\u00f6rg\nS: 250 ok")
    running = script.run(client.mlst("x"))
    script.heard()
    script.say("250-Listing", " type=file;size=3; /a/x", "250 End")
    assert (running.result.name, running.result.size) == ("/a/x", 3)
    ask(client.quit(), "C: QUIT\nS: 221 bye")
    assert script.control.ended
    assert client.closed


@pytest.mark.parametrize(
    ("method", "argument", "reply"),
    [
        ("pwd", None, "257 no quotes"),
        ("size", "x", "213 -1"),
        ("size", "x", "213 " + "9" * 100),
        ("mdtm", "x", "213 yesterday"),
        ("mlst", "x", "250 no entry"),
    ],
)
def test_answers_that_make_no_sense(method: str, argument: str | None, reply: str) -> None:
    script = Script()
    function = getattr(script.client, method)
    running = script.run(function() if argument is None else function(argument))
    if script.heard() == ["TYPE I"]:
        script.say("200 ok")
    script.say(reply)
    assert isinstance(running.error, RemoteProtocolError)
    # Nothing is wrong with the connection.
    later = script.run(script.client.noop())
    script.say("200 ok")
    assert later.done()


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

    running = script.run(script.client.store("x", produce))
    script.passive()
    script.heard()
    script.say("150 go on")
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


def test_text_is_transferred_in_type_a() -> None:
    script = Script()
    got: list[bytes] = []
    running = script.run(script.client.retrieve("x", got.append, text=True))
    script.passive()
    script.heard()
    script.say("150 ok")
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


def test_options_that_make_no_sense() -> None:
    assert isinstance(Script("", active=True, connect=lambda *_: Deferred()).opening.error, LocalProtocolError)
    assert isinstance(Script("", implicit_tls=True).opening.error, LocalProtocolError)


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
    running = script.run(script.client.read("x", 100))
    script.passive()
    script.heard()
    script.say("150 ok")
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
    running = script.run(script.client.read("x", 100))
    script.passive()
    script.heard()
    script.say("150 ok")
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

    running = script.run(script.client.retrieve("x", consume))
    script.passive()
    script.heard()
    script.say("150 ok")
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
    running = script.run(script.client.retrieve("x", lambda _: writing))
    script.passive()
    script.heard()
    script.say("150 ok")
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
    running = script.run(script.client.read("x", 100))
    script.passive()
    script.heard()
    script.say("150 ok")
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
    running = script.run(script.client.read("x", 100))
    script.passive()
    script.heard()
    script.say("150 ok")
    script.data.receive(b"half")
    script.data.lose()
    # What it says is all that can be said, and no transfer is complete without both ends.
    script.say("226 done")
    assert isinstance(running.error, ConnectionLost)


def test_an_upload_that_the_server_ends() -> None:
    script = Script()
    running = script.run(script.client.store("x", Deferred))
    script.passive()
    script.heard()
    script.say("150 ok")
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


def test_walking() -> None:
    script = Script()
    script.announce("MLST type*;")
    walk = script.client.walk("top")
    listings = {
        "MLSD top": b"type=dir; a\r\ntype=dir; b\r\ntype=file; f\r\n",
        "MLSD top/a": b"type=dir; c\r\n",
        "MLSD top/a/c": b"",
        "MLSD top/b": b"type=OS.unix=slink:..; up\r\n",
    }
    seen = []
    while True:
        running = script.run(walk.next_folder())
        if running.done():
            break
        script.passive()
        (command,) = script.heard()
        seen.append(command)
        script.say("150 ok")
        script.data.receive(listings[command])
        script.data.receive_eof()
        script.say("226 ok")
        assert running.result is not None
        assert walk.join(running.result.path) == command[5:]
    assert seen == list(listings)
    assert running.result is None
