"""Listings: MLSD, and what people have printed for LIST."""

from __future__ import annotations

import calendar
import typing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portable.errors import RemoteProtocolError
from protocols.ftp.client import listing as listing_module
from protocols.ftp.client.listing import MAX_LISTING_LINE, Listing, RemoteFile, parse_list_line
from tests.strategies import alphabet, splits

NOW = float(calendar.timegm((2026, 3, 15, 12, 0, 0)))

PIECES = [
    b"-rw-r--r-- ",
    b"1 ",
    b"owner ",
    b"123 ",
    b"Jan ",
    b"12 ",
    b"2020 ",
    b"10:30 ",
    b"name",
    b"\r\n",
    b"\n",
    b"type=file;",
    b"size=1;",
    b" ",
    b"drwxr-xr-x ",
    b"<DIR>",
    b"01-02-03 ",
    b"04:05PM ",
    b"lrwxrwxrwx ",
    b" -> ",
]


def at(year: int, month: int, day: int, hour: int = 0, minute: int = 0) -> float:
    return float(calendar.timegm((year, month, day, hour, minute, 0)))


def parse(line: str) -> RemoteFile | None:
    return parse_list_line(line.encode(), "utf-8", NOW)


@pytest.mark.parametrize(
    ("line", "kind", "size", "modified", "mode", "name"),
    [
        (
            "-rw-r--r--    1 0        0              11 Nov 25 18:55 a",
            "file",
            11,
            at(2025, 11, 25, 18, 55),
            0o644,
            "a",
        ),
        (
            "-rw-r--r--   1 joe  staff  4096 Mar 15 11:00 today",
            "file",
            4096,
            at(2026, 3, 15, 11),
            0o644,
            "today",
        ),
        (
            "-rw-r--r--   1 joe  staff  4096 Mar 16 01:00 ahead",
            "file",
            4096,
            at(2026, 3, 16, 1),
            0o644,
            "ahead",
        ),
        ("-rw-r--r--   1 joe  staff  4096 Mar 17 01:00 last", "file", 4096, at(2025, 3, 17, 1), 0o644, "last"),
        ("drwxr-sr-t+  2 joe  4096 Feb  9  2019 no group", "dir", 4096, at(2019, 2, 9), 0o3755, "no group"),
        ("-rwsr-Sr-T. 1 joe staff 1 jan  1  2020   spaces", "file", 1, at(2020, 1, 1), 0o7744, "  spaces"),
        ("crw-rw-rw-   1 root root 1, 3 Jan 10 2020 null", "other", 3, at(2020, 1, 10), 0o666, "null"),
        ("-rw-r--r-- 1 a b 5 Feb 29 2019 x", "file", 5, None, 0o644, "x"),
        ("-rw-r--r-- 1 a b 5 Jan 32 10:00 x", "file", 5, None, 0o644, "x"),
        (
            "01-16-02  11:14AM       <DIR>          epsgroup",
            "dir",
            None,
            at(2002, 1, 16, 11, 14),
            None,
            "epsgroup",
        ),
        (
            "06-05-03  12:19PM           1,973 read me.txt",
            "file",
            1973,
            at(2003, 6, 5, 12, 19),
            None,
            "read me.txt",
        ),
        ("06-05-1999  00:19              3 x", "file", 3, at(1999, 6, 5, 0, 19), None, "x"),
        ("06-05-70  12:19AM              3 x", "file", 3, at(1970, 6, 5, 0, 19), None, "x"),
        ("13-05-99  12:19AM              3 x", "file", 3, None, None, "x"),
    ],
)
def test_lines_of_list(
    line: str, kind: str, size: int | None, modified: float | None, mode: int | None, name: str
) -> None:
    assert parse(line) == RemoteFile(name, name.encode(), kind, size, modified, mode)


def test_links_of_list() -> None:
    file = parse("lrwxrwxrwx 1 a b 4 Jan 1 2020 here -> ../there")
    assert file == RemoteFile("here", b"here", "link", 4, at(2020, 1, 1), 0o777, "../there")
    file = parse("lrwxrwxrwx 1 a b 4 Jan 1 2020 nowhere")
    assert file is not None
    assert file.target is None


@pytest.mark.parametrize(
    "line",
    [
        "",
        "total 12",
        "hello",
        "-rw-r--r--",
        "-rw-r--r-- 1 a b 5 Foo 1 2020 x",
        "-rw-r--r-- 1 a b 5 Jan 1 2020",
        "01-16-02 11:14AM",
        "-rw-r--r-- 1 a b " + "9" * 30 + "Jan 1 2020 x",
        " " * 8000,
        "1 " * 4000,
    ],
)
def test_other_lines_are_left_out(line: str) -> None:
    assert parse(line) is None


def listed(stream: bytes, *, machine: bool | None) -> list[RemoteFile]:
    listing = Listing("utf-8", machine=machine, now=NOW)
    listing.receive_data(stream)
    listing.finish()
    return listing.files


def test_an_mlsd_listing() -> None:
    files = listed(
        b"type=cdir; .\r\ntype=pdir; ..\r\ntype=file;size=7;modify=20200101000000;unix.mode=0600; a b\r\n"
        b"type=dir; d\r\ntype=OS.unix=slink:../x; l\r\n"
        b"type=OS.unix=symlink; m\r\ntype=OS.unix=chr-13/29; dev\r\n"
        b" nothing said",
        machine=True,
    )
    assert [(file.name, file.kind, file.size, file.target) for file in files] == [
        ("a b", "file", 7, None),
        ("d", "dir", None, None),
        ("l", "link", None, "../x"),
        ("m", "link", None, None),
        ("dev", "other", None, None),
        ("nothing said", "other", None, None),
    ]
    assert (files[0].modified, files[0].mode) == (at(2020, 1, 1), 0o600)


def test_names_that_are_not_utf_8() -> None:
    files = listed(b"type=file; J\xf6rg\r\n", machine=True)
    assert (files[0].name, files[0].raw) == ("J\ufffdrg", b"J\xf6rg")
    line = b"-rw-r--r-- 1 a b 5 Jan 1 2020 "
    files = listed(line + b"J\xf6rg\n" + line + b"J\xc3\xb6rg\n", machine=False)
    assert [(file.name, file.raw) for file in files] == [("J\ufffdrg", b"J\xf6rg"), ("J\xf6rg", b"J\xc3\xb6rg")]


def test_a_list_of_names() -> None:
    assert [file.name for file in listed(b"a\r\n.\r\nb c\n\r\nd", machine=None)] == ["a", "b c", "d"]


def outcome(pieces: list[bytes], machine: bool | None) -> tuple[list[RemoteFile], str]:
    listing = Listing("utf-8", machine=machine, now=NOW)
    try:
        for piece in pieces:
            listing.receive_data(piece)
        listing.finish()
    except RemoteProtocolError as exc:
        return listing.files, str(exc)
    return listing.files, ""


@given(alphabet(PIECES), st.sampled_from([True, False, None]), st.data())
def test_any_split_gives_the_same_entries(stream: bytes, machine: bool | None, data: st.DataObject) -> None:
    assert outcome(data.draw(splits(stream)), machine) == outcome([stream], machine)


def test_a_line_without_end_is_refused() -> None:
    for machine in (True, False, None):
        assert "bytes" in outcome([b"x" * (MAX_LISTING_LINE + 2)], machine)[1]


def test_a_listing_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing_module, "MAX_ENTRIES", 100)
    files, error = outcome([b"".join(b"type=file; %d\r\n" % number for number in range(1000))], True)
    assert len(files) == 100
    assert "100 entries" in error


def test_a_line_of_mlsd_that_is_no_entry_is_refused() -> None:
    assert outcome([b"-rw-r--r-- 1 a b 5 Jan 1 2020 x\r\n"], True)[1]


def test_a_line_that_would_be_slow_to_match_is_not() -> None:
    """Each takes time in proportion to its length; a pattern that tries all ways would not end."""
    for line in ("-rw-r--r-- " + "1 " * 4000, "-rw-r--r-- " + "1" * 8000, "-rw-r--r-- 1" + " " * 8000 + "x"):
        assert parse(line) is None
    assert typing.cast("RemoteFile", parse("-rw-r--r-- 1 a b 1 Jan 1 2020 " + "x " * 4000)).name
