"""Replies: the RFC's examples, any split, garbage, limits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portable.errors import RemoteProtocolError
from protocols.ftp.client.replies import (
    MAX_LINE,
    MAX_REPLY,
    CommandRefused,
    Reply,
    ReplyParser,
    expect,
    quoted_path,
)
from tests.strategies import alphabet, splits

PIECES = [
    b"220",
    b"-",
    b" ",
    b"\r\n",
    b"\n",
    b"\r",
    b"text",
    b"226 done\r\n",
    b"211-a\r\n",
    b"211 b\r\n",
    b"\xff\xff",
]


def outcome(pieces: list[bytes]) -> tuple[list[Reply], str]:
    """Return the replies of a stream, and the error that it ends with."""
    parser = ReplyParser()
    replies = []
    for piece in pieces:
        parser.receive_data(piece)
        try:
            while (reply := parser.next_reply()) is not None:
                replies.append(reply)
        except RemoteProtocolError as exc:
            return replies, str(exc)
    return replies, ""


def parse(stream: bytes) -> list[Reply]:
    replies, error = outcome([stream])
    assert not error
    return replies


@given(alphabet(PIECES), st.data())
def test_any_split_gives_the_same_replies(stream: bytes, data: st.DataObject) -> None:
    assert outcome(data.draw(splits(stream))) == outcome([stream])


def test_one_line() -> None:
    assert parse(b"220 Service ready\r\n221 \r\n200\r\n") == [
        Reply(220, (b"Service ready",)),
        Reply(221, (b"",)),
        Reply(200, (b"",)),
    ]


def test_the_multi_line_reply_of_rfc_959() -> None:
    stream = b"123-First line\r\nSecond line\r\n  234 A line beginning with numbers\r\n123 The last line\r\n"
    assert parse(stream) == [
        Reply(123, (b"First line", b"Second line", b"  234 A line beginning with numbers", b"The last line"))
    ]


def test_lines_inside_may_look_like_other_replies() -> None:
    stream = b"211-Begin\r\n226 not the end\r\n211-nor this\r\n500\r\n\r\n211 End\r\n226 done\r\n"
    lines = (b"Begin", b"226 not the end", b"nor this", b"500", b"", b"End")
    assert parse(stream) == [Reply(211, lines), Reply(226, (b"done",))]


def test_what_is_not_read_is_counted() -> None:
    parser = ReplyParser()
    parser.receive_data(b"211-Begin\r\nmore\r\nha")
    assert parser.next_reply() is None
    assert len(parser) == len(b"211-Begin\r\nmore\r\nha")
    parser.receive_data(b"lf\r\n211 End\r\n2")
    assert parser.next_reply() is not None
    assert len(parser) == 1


@pytest.mark.parametrize(
    "stream",
    [
        b"\r\n", b"hello\r\n", b"22 short\r\n", b"2200 long\r\n", b"220_x\r\n", b"020 x\r\n", b"600 x\r\n",
        b"632 x\r\n", b" 220 x\r\n", b"220 a\nb\r\n", b"220 a\rb\r\n", b"220 x\n", b"22\xb2 x\r\n",
    ],
)  # fmt: skip
def test_what_is_no_reply_is_refused(stream: bytes) -> None:
    assert outcome([stream])[1]


def test_an_lf_in_a_name_forges_no_reply() -> None:
    replies, error = outcome([b'257 "a\n226 forged" created\r\n'])
    assert not replies
    assert "LF" in error


def test_lines_have_a_limit() -> None:
    assert outcome([b"220 " + b"x" * (MAX_LINE - 4) + b"\r\n"])[1] == ""
    assert "bytes" in outcome([b"220 " + b"x" * MAX_LINE])[1]


def test_a_reply_without_end_has_a_limit() -> None:
    line = b"x" * 998 + b"\r\n"
    replies, error = outcome([b"211-Begin\r\n", *[line] * (MAX_REPLY // len(line) + 1)])
    assert not replies
    assert str(MAX_REPLY) in error


def test_telnet_in_a_reply() -> None:
    """RFC 2640 3.1: IAC is doubled in names. Telnet's commands have no place in a reply."""
    assert parse(b'257 "\xff\xff" ok\r\n') == [Reply(257, (b'"\xff" ok',))]
    for garbage in (b"\xff", b"\xff\xfb\x01", b"\xff\xff\xff"):
        assert outcome([b"220 " + garbage + b"\r\n"])[1]


def test_the_kinds_of_replies() -> None:
    assert Reply(150, (b"",)).preliminary
    assert not Reply(226, (b"",)).preliminary
    assert Reply(450, (b"",)).refusal
    assert not Reply(350, (b"",)).refusal


def test_text_for_people_steers_no_terminal() -> None:
    reply = Reply(550, (b"\x1b[2J\xe2\x82\xac", b"\xff\x07"))
    assert reply.text == "\ufffd[2J\u20ac\n\ufffd\ufffd"
    error = CommandRefused("RETR", reply)
    assert str(error) == f"RETR: 550 {reply.text}"
    assert (error.code, error.temporary) == (550, False)
    assert CommandRefused("RETR", Reply(450, (b"",))).temporary


def test_expecting() -> None:
    reply = Reply(250, (b"",))
    assert expect("CWD", reply, (250,)) is reply
    with pytest.raises(CommandRefused):
        expect("CWD", reply, (200,))


@pytest.mark.parametrize(
    ("line", "path"),
    [
        (b'"/usr/dm/pathname" directory created', b"/usr/dm/pathname"),
        (b'"/foo""bar" directory created', b'/foo"bar'),
        (b'The folder is "/a b".', b"/a b"),
        (b'"""" x', b'"'),
        (b'""', b""),
        (b"no quotes", None),
        (b'"open', None),
        (b'"open""', None),
    ],
)
def test_quoted_paths(line: bytes, path: bytes | None) -> None:
    """RFC 959, appendix II."""
    assert quoted_path(line) == path
