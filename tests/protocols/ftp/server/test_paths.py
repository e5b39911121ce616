"""Paths stay below the root, and listings say what was asked for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portable.errors import LocalProtocolError, RemoteProtocolError
from protocols.ftp.server.filesystem import Item
from protocols.ftp.server.listing import fact_line, has_wildcard, long_line, matcher, split_options
from protocols.ftp.server.paths import MAX_DEPTH, is_sayable, quote, resolve, show
from protocols.ftp.server.replies import encode_multiline, encode_reply
from protocols.ftp.server.states import State, missing, state_after
from protocols.ftp.server.text import TextDecoder, encode_text
from tests.strategies import splits

NOW = 1_700_000_000.0


@pytest.mark.parametrize(
    ("folder", "text", "path"),
    [
        ((), "", ()),
        (("a",), "", ("a",)),
        (("a",), "b", ("a", "b")),
        (("a",), "/b", ("b",)),
        (("a",), "..", ()),
        (("a",), "../../../etc", ("etc",)),
        ((), "/../..", ()),
        ((), "//a///b/", ("a", "b")),
        ((), "./a/./b/../c", ("a", "c")),
        ((), "~root", ("~root",)),
        ((), "a\\..\\b", ("a\\..\\b",)),
        ((), " a ", (" a ",)),
    ],
)
def test_resolving(folder: tuple[str, ...], text: str, path: tuple[str, ...]) -> None:
    assert resolve(folder, text) == path


@pytest.mark.parametrize("text", ["a\0b", "a\rb", "a\nb", "\x1b[2J", "\x7f", "/".join("a" * (MAX_DEPTH + 1))])
def test_what_is_no_path(text: str) -> None:
    with pytest.raises(RemoteProtocolError):
        resolve((), text)


@given(st.lists(st.sampled_from(["..", ".", "", "a", "b", "~"]), max_size=20), st.booleans())
def test_nothing_leads_above_the_root(names: list[str], absolute: bool) -> None:
    path = resolve(("home",), ("/" if absolute else "") + "/".join(names))
    assert not {"", ".", ".."} & set(path)


def test_paths_as_they_are_shown() -> None:
    assert show(()) == "/"
    assert quote(("a", 'b"c')) == '"/a/b""c"'
    assert is_sayable("\u00e4")
    assert not is_sayable("\udcff")


FILE = Item("f", False, 12, NOW, 0o640, "1g2")
FOLDER = Item("d", True, 4096, NOW - 400 * 86400, 0o755, "1g3")


def test_lines_for_people() -> None:
    assert long_line(FILE, NOW) == b"-rw-r----- 1 ftp ftp           12 Nov 14 22:13 f"
    assert long_line(FOLDER, NOW) == b"drwxr-xr-x 1 ftp ftp         4096 Oct 10  2022 d"
    assert long_line(FILE._replace(modified=NOW + 2 * 86400), NOW).endswith(b"Nov 16  2023 f")
    assert b" 1970 f" in long_line(FILE._replace(modified=-1e20), NOW)
    assert b" 9999 f" in long_line(FILE._replace(modified=1e20), NOW)


def test_lines_for_programs() -> None:
    assert (
        fact_line(FILE, "elr") == b"type=file;size=12;modify=20231114221320;perm=r;unique=1g2;unix.mode=0640; f"
    )
    assert fact_line(FOLDER, "eldfmw", {"type", "perm"}) == b"type=dir;perm=cdeflmp; d"
    assert fact_line(FILE, "awdf", {"perm"}, "/x/f") == b"perm=adfw; /x/f"
    with pytest.raises(LocalProtocolError):
        fact_line(FILE._replace(name="a\nb"), "")


@pytest.mark.parametrize(
    ("argument", "path"),
    [
        ("", ""),
        ("-la", ""),
        ("-l -a dir", "dir"),
        ("-R", ""),
        ("-1 a b", "a b"),
        ("-not an option", "an option"),
        ("dir -l", "dir -l"),
        ("-" + "l" * 100, "-" + "l" * 100),
        ("-x.txt", "-x.txt"),
    ],
)
def test_options_of_ls(argument: str, path: str) -> None:
    assert split_options(argument) == path


def test_patterns() -> None:
    assert matcher("*.txt")("a.txt")
    assert not matcher("*.txt")(".txt")
    assert matcher(".*")(".txt")
    assert matcher("[a-c]?")("b1")
    assert has_wildcard("a*")
    assert not has_wildcard("a")
    assert not has_wildcard("*" * 1000)
    # No pattern takes long, whatever it is matched with.
    assert not matcher("*a" * 120 + "b")("a" * 255)


def test_replies_cannot_be_forged() -> None:
    assert encode_reply(200, "\u00e4") == b"200 \xc3\xa4\r\n"
    assert encode_multiline(211, "A", [b" b"], "C") == b"211-A\r\n b\r\n211 C\r\n"
    with pytest.raises(LocalProtocolError):
        encode_reply(200, "x\r\n230 y")
    with pytest.raises(LocalProtocolError):
        encode_multiline(200, "x", [b"a\nb"], "y")


def test_the_order_of_commands() -> None:
    for state in State:
        assert (missing(state, "PASS") is None) == (state is State.NAMED)
        assert (missing(state, "RNTO") is None) == (state is State.RENAMING)
        assert missing(state, "LIST") is None
    assert state_after(State.RENAMING, "NOOP") is State.READY
    assert state_after(State.RESTARTING, "EPSV") is State.RESTARTING
    assert state_after(State.RESTARTING, "LIST") is State.READY
    assert state_after(State.GREETED, "NOOP") is State.GREETED
    assert state_after(State.READY, "RETR") is State.READY


@given(data=st.data(), text=st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b"a", b"bc"]), max_size=15))
def test_texts_are_the_same_in_any_pieces(data: st.DataObject, text: list[bytes]) -> None:
    whole = b"".join(text)
    pieces = data.draw(splits(whole))
    sent = b""
    after_cr = False
    for piece in pieces:
        sent += encode_text(piece, after_cr)
        after_cr = piece.endswith(b"\r")
    assert sent == encode_text(whole, False)
    decoder = TextDecoder()
    received = b"".join([decoder.decode(piece) for piece in data.draw(splits(sent))]) + decoder.decode(None)
    assert received == whole.replace(b"\r\n", b"\n")
