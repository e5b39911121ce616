"""Byte ranges (RFC 9110 14)."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.http.ranges import (
    MAX_RANGES,
    MAX_SPECS,
    ByteRange,
    content_range,
    multipart,
    new_boundary,
    select_ranges,
    unsatisfied_range,
)


@pytest.mark.parametrize(
    ("value", "size", "expected"),
    [
        # RFC 9110 14.1.2's own examples, of a representation of 10000 bytes.
        ("bytes=0-499", 10000, [(0, 499)]),
        ("bytes=500-999", 10000, [(500, 999)]),
        ("bytes=-500", 10000, [(9500, 9999)]),
        ("bytes=9500-", 10000, [(9500, 9999)]),
        ("bytes=0-0,-1", 10000, [(0, 0), (9999, 9999)]),
        ("bytes= 0-999, 4500-5499, -1000", 10000, [(0, 999), (4500, 5499), (9000, 9999)]),
        # Several ways to ask for the same bytes: merged.
        ("bytes=500-600,601-999", 10000, [(500, 999)]),
        ("bytes=500-700,601-999", 10000, [(500, 999)]),
        # Cut at the end, or beyond it.
        ("bytes=0-99999", 10, [(0, 9)]),
        ("bytes=-99", 10, [(0, 9)]),
        ("bytes=9-", 10, [(9, 9)]),
        ("bytes=10-", 10, []),
        ("bytes=10-20,30-", 10, []),
        ("bytes=-0", 10, []),
        ("bytes=10-,0-1", 10, [(0, 1)]),
        ("bytes=-0,-1", 10, [(9, 9)]),
        # The order of the request stays, unless something is merged.
        ("bytes=8-9,0-1,4-5", 10, [(8, 9), (0, 1), (4, 5)]),
        ("bytes=8-9,0-1,1-2", 10, [(0, 2), (8, 9)]),
        # Of an empty file nothing can be had, and its end is all of it.
        ("bytes=0-", 0, []),
        ("bytes=0-0", 0, []),
        ("bytes=-1", 0, None),
        ("bytes=-0", 0, []),
        # Beyond 4 GB, and beyond every number.
        ("bytes=5000000000-5000000009", 1 << 40, [(5000000000, 5000000009)]),
        ("bytes=0-" + "9" * 5000, 10, [(0, 9)]),
        ("bytes=" + "9" * 5000 + "-", 10, []),
        ("bytes=-" + "9" * 5000, 10, [(0, 9)]),
        ("bytes=" + "0" * 5000 + "3-4", 10, [(3, 4)]),
        # White space, empty members and case that a recipient must take.
        ("Bytes=0-1", 10, [(0, 1)]),
        ("bytes=,0-1 ,\t, 4-5,", 10, [(0, 1), (4, 5)]),
        # Malformed, or not ours: ignored.
        ("bytes=5-4", 10, None),
        ("bytes=0-1,5-4", 10, None),
        ("bytes=-", 10, None),
        ("bytes=", 10, None),
        ("bytes=,", 10, None),
        ("bytes", 10, None),
        ("", 10, None),
        ("0-1", 10, None),
        ("lines=0-1", 10, None),
        ("bytes=a-b", 10, None),
        ("bytes=+1-2", 10, None),
        ("bytes=0x1-2", 10, None),
        ("bytes=0 - 1", 10, None),
        ("bytes=--1", 10, None),
        ("bytes=0-1-2", 10, None),
        ("bytes=1_0-20", 100, None),
        ("bytes=\u0661-\u0662", 10, None),
        ("bytes=0-1;2-3", 10, None),
        ("bytes==0-1", 10, None),
        ("bytes=0-1, bytes=4-5", 10, None),
        ("bytes=*", 10, None),
    ],
)
def test_what_is_selected(value: str, size: int, expected: list[tuple[int, int]] | None) -> None:
    found = select_ranges(value, size)
    assert (None if found is None else [tuple(part) for part in found]) == expected


def test_a_bomb_of_overlapping_ranges_gives_one_range() -> None:
    # CVE-2011-3192: each of these was once a copy of the whole file.
    assert select_ranges("bytes=" + ",".join(["0-"] * MAX_SPECS), 1000) == [ByteRange(0, 999)]
    nested = ",".join(f"{first}-{999 - first}" for first in range(100))
    assert select_ranges(f"bytes={nested}", 1000) == [ByteRange(0, 999)]


def test_too_many_ranges_give_the_whole() -> None:
    apart = [f"{first}-{first}" for first in range(0, 1000, 2)]
    assert len(select_ranges("bytes=" + ",".join(apart[:MAX_RANGES]), 1000) or []) == MAX_RANGES
    assert select_ranges("bytes=" + ",".join(apart[: MAX_RANGES + 1]), 1000) is None
    assert select_ranges("bytes=" + ",".join(["0-"] * (MAX_SPECS + 1)), 1000) is None


def test_a_field_of_a_megabyte_costs_little() -> None:
    started = time.process_time()
    for value in ("bytes=" + "9" * 1_000_000 + "-", "bytes=" + "," * 1_000_000, "bytes=" + " " * 1_000_000):
        select_ranges(value, 10)
    assert time.process_time() - started < 1


@given(
    st.lists(
        st.tuples(st.integers(0, 30), st.integers(0, 30), st.sampled_from(["int", "open", "suffix"])),
        min_size=1,
    ),
    st.integers(0, 25),
)
def test_the_selection_holds_the_bytes_asked_for_and_no_others(
    specs: list[tuple[int, int, str]], size: int
) -> None:
    wanted: set[int] = set()
    texts = []
    everything = set(range(size))
    for first, length, form in specs:
        if form == "int":
            texts.append(f"{first}-{first + length}")
            wanted |= set(range(first, first + length + 1)) & everything
        elif form == "open":
            texts.append(f"{first}-")
            wanted |= set(range(first, size))
        else:
            texts.append(f"-{length}")
            wanted |= set(range(max(size - length, 0), size))
    found = select_ranges("bytes=" + ",".join(texts), size)
    if found is None:
        assert size == 0 or len(specs) > MAX_RANGES
        return
    sent = [position for part in found for position in range(part.first, part.last + 1)]
    assert len(sent) == len(set(sent))
    assert set(sent) == wanted
    assert all(part.length > 0 for part in found)
    assert len(found) <= MAX_RANGES


@given(st.one_of(st.text(), st.text("bytes=0123456789-, \t").map("bytes={}".format)), st.integers(0, 100))
def test_garbage_never_breaks_it(value: str, size: int) -> None:
    for part in select_ranges(value, size) or []:
        assert 0 <= part.first <= part.last < size


def test_field_values() -> None:
    assert content_range(ByteRange(0, 4), 10) == "bytes 0-4/10"
    assert unsatisfied_range(10) == "bytes */10"


def test_multipart_bodies() -> None:
    pieces = multipart([ByteRange(0, 4), ByteRange(7, 8)], 10, "text/plain", "XX")
    data = b"".join(b"0123456789"[p.first : p.last + 1] if isinstance(p, ByteRange) else p for p in pieces)
    assert data == (
        b"--XX\r\nContent-Type: text/plain\r\nContent-Range: bytes 0-4/10\r\n\r\n01234"
        b"\r\n--XX\r\nContent-Type: text/plain\r\nContent-Range: bytes 7-8/10\r\n\r\n78"
        b"\r\n--XX--\r\n"
    )


def test_boundaries_cannot_be_guessed() -> None:
    assert len({new_boundary() for _ in range(100)}) == 100
    assert len(new_boundary()) == 32
