"""Choosing a content coding (RFC 9110 12.5.3)."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.servers.web.negotiate import MAX_MEMBERS, accepted_codings

BOTH = ["br", "gzip"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, []),
        ("", []),
        ("gzip", ["gzip"]),
        ("gzip, br", ["br", "gzip"]),
        ("gzip;q=1, br;q=0.9", ["gzip", "br"]),
        ("gzip; q=0.5, br;q=0.5", ["br", "gzip"]),
        ("gzip;q=0, br", ["br"]),
        ("gzip;q=0.000", []),
        ("*", ["br", "gzip"]),
        ("*;q=0.1, br;q=0", ["gzip"]),
        ("*;q=0, gzip", ["gzip"]),
        ("identity", []),
        ("identity;q=1, gzip;q=0.5", []),
        ("identity;q=0.5, gzip;q=0.5, br;q=0.4", ["gzip"]),
        ("identity;q=0, gzip", ["gzip"]),
        ("GZIP;Q=1", ["gzip"]),
        ("x-gzip", ["gzip"]),
        ("deflate, zstd", []),
        (" , gzip ,,", ["gzip"]),
        # Not understood, so not taken.
        ("gzip;q=2", []),
        ("gzip;q=1.1", []),
        ("gzip;q=-1", []),
        ("gzip;q=0.1234", []),
        ("gzip;q=", []),
        ("gzip;level=9", []),
        ("gzip br", []),
        ("gzip;q=abc, br", ["br"]),
    ],
)
def test_what_is_accepted(value: str | None, expected: list[str]) -> None:
    assert accepted_codings(value, BOTH) == expected


def test_only_what_is_offered() -> None:
    assert accepted_codings("gzip, br", ["gzip"]) == ["gzip"]
    assert accepted_codings("gzip, br", []) == []


def test_a_long_field_costs_little() -> None:
    started = time.process_time()
    assert accepted_codings("x," * MAX_MEMBERS + "gzip", BOTH) == []
    for value in ("," * 1_000_000, "a" * 1_000_000, "a" + " " * 1_000_000 + "b", "a;" + " " * 1_000_000):
        assert accepted_codings(value, BOTH) == []
    assert time.process_time() - started < 1


@given(st.text("gzipbr*identity;q=01., \t"))
def test_garbage_never_breaks_it(value: str) -> None:
    assert set(accepted_codings(value, BOTH)) <= set(BOTH)
