"""The session: what the client says, and what it makes of the answers."""

from __future__ import annotations

import typing

import pytest

from portable.errors import (
    RemoteProtocolError,
)
from protocols.ftp.client import CommandRefused
from tests.protocols.ftp.client.scripted import Script


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
