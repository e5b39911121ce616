"""Commands are the same however they are cut, and Telnet's are taken out of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portable.errors import RemoteProtocolError
from protocols.ftp.server.commands import MAX_COMMAND, MAX_REFUSALS, Command, CommandParser
from tests.strategies import alphabet, splits

PIECES = [
    b"USER ",
    b"tom",
    b"\r\n",
    b"\r",
    b"\n",
    b" ",
    b"\xff",
    b"\xf4",
    b"\xf2",
    b"\xfb",
    b"\xfd\x01",
    b"\xfa",
    b"\xf0",
    b"ABOR\r\n",
    b"\xc3\xa4",
    b"\0",
]


def outcome(pieces: list[bytes]) -> tuple[list[Command], str, bytes]:
    parser = CommandParser()
    commands: list[Command] = []
    refusals = b""
    error = ""
    for piece in pieces:
        parser.receive_data(piece)
        refusals += parser.take_refusals()
        try:
            while not error and (command := parser.next_command()) is not None:
                commands.append(command)
        except RemoteProtocolError as exc:
            error = str(exc)
    return commands, error, refusals


@given(stream=alphabet(PIECES), data=st.data())
def test_any_split_gives_the_same_commands(stream: bytes, data: st.DataObject) -> None:
    assert outcome(data.draw(splits(stream))) == outcome([stream])


@pytest.mark.parametrize(
    ("line", "command"),
    [
        (b"NOOP", Command("NOOP", None)),
        (b"user tom", Command("USER", b"tom")),
        (b"CWD  two spaces ", Command("CWD", b" two spaces ")),
        (b"PASS ", Command("PASS", b"")),
        (b"", Command("", None)),
        (b" NOOP", Command("", b"NOOP")),
        (b"GET/ x", Command("", b"x")),
        (b"ABCDEFGHIJKLM", Command("", None)),
        (b"STOR \xff\xff", Command("STOR", b"\xff")),
        # What clients send to abort, with the urgent byte in the stream or not.
        (b"\xff\xf4\xff\xf2ABOR", Command("ABOR", None)),
        (b"\xff\xf4\xffABOR", Command("ABOR", None)),
        (b"\xff\xf4\xf2ABOR", Command("ABOR", None)),
        (b"\xf2ABOR", Command("ABOR", None)),
        (b"\xff\xfa\x18\x01\xff\xff\xff\xf0NOOP", Command("NOOP", None)),
    ],
)
def test_one_command(line: bytes, command: Command) -> None:
    assert outcome([line + b"\r\n"])[:2] == ([command], "")


@pytest.mark.parametrize(
    "stream", [b"STOR a\nDELE b\r\n", b"STOR a\rb\r\n", b"x" * (MAX_COMMAND + 1), b"STOR a\r\0b\r\n"]
)
def test_what_is_no_line_ends_the_connection(stream: bytes) -> None:
    commands, error, _ = outcome([b"NOOP\r\n" + stream])
    assert commands == [Command("NOOP", None)]
    assert error


def test_options_of_telnet_are_refused_a_few_times() -> None:
    assert outcome([b"\xff\xfb\x01\xff\xfd\x03\xff\xfc\x01\xff\xfe\x03NOOP\r\n"]) == (
        [Command("NOOP", None)],
        "",
        b"\xff\xfe\x01\xff\xfc\x03",
    )
    assert outcome([b"\xff\xfb\x01" * 1000])[2] == b"\xff\xfe\x01" * MAX_REFUSALS


def test_the_bytes_that_wait_are_counted() -> None:
    parser = CommandParser()
    parser.receive_data(b"NOOP\r\nNOO")
    assert len(parser) == 9
    parser.next_command()
    assert len(parser) == 3
