"""Entries of MLST and MLSD, and times."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portable.errors import LocalProtocolError, RemoteProtocolError
from protocols.ftp.facts import (
    MAX_FACTS,
    Entry,
    decode_entry,
    decode_fact_list,
    decode_time,
    encode_entry,
    encode_fact_list,
    encode_time,
    is_plain_name,
)
from tests.strategies import alphabet

names = st.binary(min_size=1, max_size=40).filter(lambda name: not set(name) & set(b"\r\n\0"))
keys = st.text("abcdefghijklmnopqrstuvwxyz.-0123456789", min_size=1, max_size=12)
values = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters=";"), max_size=20)


@given(st.builds(Entry, names, st.dictionaries(keys, values, max_size=8)))
def test_entries_round_trip(entry: Entry) -> None:
    assert decode_entry(encode_entry(entry)) == entry


@pytest.mark.parametrize(
    ("line", "type_", "size", "modified", "permissions", "name"),
    [
        (
            b"Type=file;Size=1024990;Perm=r; /tmp/cap60.pl198.tar.gz",
            "file", 1024990, None, "r", b"/tmp/cap60.pl198.tar.gz",
        ),
        (b"Type=dir;Modify=19981107085215;Perm=el; /tmp", "dir", None, 910428735.0, "el", b"/tmp"),
        (b"type=cdir;unique=AQkAAAAAAAABCAAA; /", "cdir", None, None, None, b"/"),
        (b"Type=OS.unix=slink:/x;Perm=;Unique=keVO1; foobar", "os.unix=slink:/x", None, None, "", b"foobar"),
        (b" file name with  blanks ", "", None, None, None, b"file name with  blanks "),
    ],
)  # fmt: skip
def test_lines_of_rfc_3659(
    line: bytes, type_: str, size: int | None, modified: float | None, permissions: str | None, name: bytes
) -> None:
    entry = decode_entry(line)
    assert (entry.type, entry.size, entry.modified) == (type_, size, modified)
    assert (entry.permissions, entry.name) == (permissions, name)


def test_other_facts() -> None:
    entry = decode_entry(b"UNIX.mode=0644;create=20260102030405.5;unique=ab1 x")
    assert (entry.unix_mode, entry.created, entry.unique) == (0o644, 1767323045.5, "ab1")
    assert decode_entry(b"unix.mode=0o755; x").unix_mode == 0o755
    entry = decode_entry(b"unix.owner=J\xf6rg; x")
    assert (entry.unix_mode, entry.created, entry.unique) == (None, None, None)


@pytest.mark.parametrize(
    "fact", ["size=-1", "size=1e9", "size=" + "9" * 5000, "modify=0", "modify=20260231000000", "unix.mode=rwx"]
)
def test_an_odd_fact_counts_as_missing(fact: str) -> None:
    entry = decode_entry(fact.encode() + b"; name")
    assert (entry.size, entry.modified, entry.unix_mode) == (None, None, None)


@pytest.mark.parametrize(
    "line",
    [
        b"", b" ", b"name", b"type=file;", b"type=file; ", b"type; name", b"=file; name", b"ty ",
        b"t\xe9=1; name", b"x=1;" * (MAX_FACTS + 1) + b" name",
    ],
)  # fmt: skip
def test_what_is_no_entry_is_refused(line: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        decode_entry(line)


@given(
    alphabet(
        [b"type=", b"file", b"size=", b"modify=", b";", b"=", b" ", b"99999999999999", b"unix.mode=", b"7"]
    )
)
def test_only_remote_protocol_errors_come_out_of_garbage(garbage: bytes) -> None:
    try:
        entry = decode_entry(garbage)
    except RemoteProtocolError:
        pass
    else:
        assert entry.size is None or entry.size >= 0
        assert entry.unix_mode is None or entry.unix_mode >= 0
        assert entry.modified is None or isinstance(entry.modified, float)
    decode_fact_list(garbage.decode("latin-1"))


def test_only_the_wanted_facts_are_written() -> None:
    entry = Entry(b"a b", {"type": "file", "UNIX.mode": "0644", "size": "1"})
    assert encode_entry(entry) == b"type=file;UNIX.mode=0644;size=1; a b"
    assert encode_entry(entry, {"unix.mode"}) == b"UNIX.mode=0644; a b"
    assert encode_entry(entry, ()) == b" a b"


@pytest.mark.parametrize(
    "entry",
    [
        Entry(b"", {}),
        Entry(b"a\nb", {}),
        Entry(b"a\rb", {}),
        Entry(b"a\0b", {}),
        Entry(b"a", {"type": "file; "}),
        Entry(b"a", {"type": "os.unix=slink:/a b"}),
        Entry(b"a", {"type": "a\r\n"}),
        Entry(b"a", {"ty=pe": "a"}),
    ],
)
def test_entries_that_would_forge_lines_are_not_written(entry: Entry) -> None:
    with pytest.raises(LocalProtocolError):
        encode_entry(entry)


def test_lists_of_facts() -> None:
    assert encode_fact_list(["type", "size", "UNIX.mode"], {"type", "unix.mode"}) == "type*;size;UNIX.mode*;"
    assert encode_fact_list(["Type", "Size"]) == "Type;Size;"
    assert decode_fact_list("type*;Size;UNIX.mode*;") == {"type": True, "size": False, "unix.mode": True}
    assert decode_fact_list("") == {}
    assert decode_fact_list("no good;a;*;") == {"a": False}
    with pytest.raises(RemoteProtocolError):
        decode_fact_list("a;" * (MAX_FACTS + 1))


@given(st.integers(min_value=-62135596800, max_value=253402300799))
def test_times_round_trip(seconds: int) -> None:
    assert decode_time(encode_time(seconds)) == seconds


def test_times_of_rfc_3659() -> None:
    assert decode_time("19980615100045.014") == pytest.approx(897904845.014)
    assert decode_time("19990929003355") == 938565235
    assert encode_time(938565235.9) == "19990929003355"
    assert encode_time(-0.5) == "19691231235959"


def test_a_leap_second_counts_as_the_one_before() -> None:
    assert decode_time("20161231235960") == decode_time("20161231235959")


@pytest.mark.parametrize(
    "text",
    [
        "", "1998061510004", "199806151000450", "19980615100045.", "19980615100045.0123456789",
        "19980615100061", "19981315100045", "00000101000000", "19980230000000", " 19980615100045",
        "1998061510004x",
        "191000615100045",
    ],
)  # fmt: skip
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(RemoteProtocolError):
        decode_time(text)


@pytest.mark.parametrize("seconds", [1e20, -1e20])
def test_times_out_of_range_are_not_written(seconds: float) -> None:
    with pytest.raises(LocalProtocolError):
        encode_time(seconds)


@pytest.mark.parametrize("name", ["a", "...", ".hidden", "a b", " ", "~", "-rf", "\u00e4\u4e2d"])
def test_plain_names(name: str) -> None:
    assert is_plain_name(name)


@pytest.mark.parametrize(
    "name", ["", ".", "..", "/", "a/b", "../a", "a\\b", "a\0", "a\x1b[2J", "a\r\n", "a\x7f", "a\x9b2J"]
)
def test_names_that_are_not_plain(name: str) -> None:
    assert not is_plain_name(name)
