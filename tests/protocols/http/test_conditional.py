"""Conditional requests (RFC 9110 13)."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.http.conditional import (
    MAX_TAGS,
    EntityTag,
    failed_precondition,
    parse_entity_tag,
    parse_entity_tags,
    range_allowed,
)
from protocols.http.dates import format_date
from protocols.http.headers import Headers

ETAG = EntityTag('"abc"')
WEAK = EntityTag('"abc"', weak=True)
MODIFIED = 784111777  # Sun, 06 Nov 1994 08:49:37 GMT
SAME = "Sun, 06 Nov 1994 08:49:37 GMT"
BEFORE = "Sun, 06 Nov 1994 08:49:36 GMT"
AFTER = "Sun, 06 Nov 1994 08:49:38 GMT"
NOW = MODIFIED + 1000


def check(*fields: tuple[str, str], method: str = "GET", etag: EntityTag | None = ETAG) -> int | None:
    return failed_precondition(method, Headers(fields), etag, MODIFIED)


@pytest.mark.parametrize(
    ("first", "second", "strongly", "weakly"),
    [
        # The table of RFC 9110 8.8.3.2.
        ('W/"1"', 'W/"1"', False, True),
        ('W/"1"', 'W/"2"', False, False),
        ('W/"1"', '"1"', False, True),
        ('"1"', '"1"', True, True),
    ],
)
def test_comparison(first: str, second: str, strongly: bool, weakly: bool) -> None:
    one, other = parse_entity_tag(first), parse_entity_tag(second)
    assert one is not None
    assert other is not None
    assert one.matches_strongly(other) is strongly
    assert other.matches_strongly(one) is strongly
    assert one.matches_weakly(other) is weakly
    assert str(one) == first


@pytest.mark.parametrize(
    "value", ["", "abc", '"abc', 'abc"', 'w/"abc"', 'W/ "abc"', '"a b"', '"a"b"', '"a", "b"', "*"]
)
def test_what_is_no_entity_tag(value: str) -> None:
    assert parse_entity_tag(value) is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ('"a"', ['"a"']),
        ('"a", W/"b","c"', ['"a"', 'W/"b"', '"c"']),
        (' , ,"a" ,\t, "b",,', ['"a"', '"b"']),
        ('""', ['""']),
        ('"a,b"', ['"a,b"']),
        ('"\\"', ['"\\"']),
        ('"\xe4"', ['"\xe4"']),
        ('"a" "b"', None),
        ('"a""b"', None),
        ('"a", b', None),
        ('"a", *', None),
        ('"a"; "b"', None),
        ('"a', None),
        ("", None),
        (",", None),
        ('"a b"', None),
        ('"a\x7f"', None),
    ],
)
def test_lists_of_entity_tags(value: str, expected: list[str] | None) -> None:
    tags = parse_entity_tags(value)
    assert (None if tags is None else [str(tag) for tag in tags]) == expected


def test_a_long_list_is_refused_and_costs_little() -> None:
    assert len(parse_entity_tags(",".join(['"a"'] * MAX_TAGS)) or []) == MAX_TAGS
    assert parse_entity_tags(",".join(['"a"'] * (MAX_TAGS + 1))) is None
    started = time.process_time()
    for value in ('"a"' + " " * 1_000_000 + "x", '"' * 1_000_000, "," * 1_000_000, '"a"' + " ," * 500_000):
        parse_entity_tags(value)
    assert time.process_time() - started < 1


@given(st.lists(st.tuples(st.text("!#abcxyz~,\xff"), st.booleans()), min_size=1, max_size=20))
def test_any_list_reads_back(items: list[tuple[str, bool]]) -> None:
    tags = [EntityTag(f'"{text}"', weak) for text, weak in items]
    assert parse_entity_tags(", ".join(str(tag) for tag in tags)) == tags


@given(st.text('"W/,* \tab'), st.text('"W/,* \tab'), st.sampled_from(["GET", "HEAD", "PUT"]))
def test_garbage_never_breaks_it(match: str, none_match: str, method: str) -> None:
    fields = [
        ("If-Match", match),
        ("If-None-Match", none_match),
        ("If-Range", match),
        ("If-Modified-Since", match),
    ]
    assert failed_precondition(method, Headers(fields), ETAG, MODIFIED) in {None, 304, 412}
    range_allowed(Headers(fields), ETAG, MODIFIED, NOW)


def test_without_conditions_everything_goes_on() -> None:
    assert check() is None
    assert range_allowed(Headers(), ETAG, MODIFIED, NOW)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    ("value", "etag", "expected"),
    [
        ('"abc"', ETAG, 304),
        ('W/"abc"', ETAG, 304),
        ('"abc"', WEAK, 304),
        ('"x", "abc"', ETAG, 304),
        ("*", ETAG, 304),
        ('"x"', ETAG, None),
        ('"abc"', None, None),
        ("*", None, 304),
        # Malformed: the client gets everything.
        ("abc", ETAG, None),
        ('"abc", x', ETAG, None),
    ],
)
def test_if_none_match(method: str, value: str, etag: EntityTag | None, expected: int | None) -> None:
    assert check(("If-None-Match", value), method=method, etag=etag) == expected


@pytest.mark.parametrize(
    ("value", "expected"), [('"abc"', 412), ('W/"abc"', 412), ("*", 412), ('"x"', None), ("malformed", 412)]
)
def test_if_none_match_before_a_change(value: str, expected: int | None) -> None:
    assert check(("If-None-Match", value), method="PUT") == expected


def test_conditions_on_what_does_not_exist() -> None:
    for field, expected in (("If-Match", 412), ("If-None-Match", None)):
        assert failed_precondition("PUT", Headers([(field, "*")]), None, None, exists=False) == expected


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT"])
@pytest.mark.parametrize(
    ("value", "etag", "expected"),
    [
        ('"abc"', ETAG, None),
        ('"x", "abc"', ETAG, None),
        ("*", ETAG, None),
        ('W/"abc"', ETAG, 412),
        ('"abc"', WEAK, 412),
        ('"x"', ETAG, 412),
        ('"abc"', None, 412),
        ("malformed", ETAG, 412),
        ("", ETAG, 412),
    ],
)
def test_if_match(method: str, value: str, etag: EntityTag | None, expected: int | None) -> None:
    assert check(("If-Match", value), method=method, etag=etag) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (SAME, 304),
        (AFTER, 304),
        (BEFORE, None),
        ("Sunday, 06-Nov-94 08:49:37 GMT", 304),
        ("Sun Nov  6 08:49:37 1994", 304),
        ("yesterday", None),
        ("", None),
        ("784111777", None),
        ("Sun, 31 Feb 1994 08:49:37 GMT", None),
        (f"{SAME}, {SAME}", None),
        (f"{SAME}; length=5", None),
    ],
)
def test_if_modified_since(value: str, expected: int | None) -> None:
    assert check(("If-Modified-Since", value)) == expected
    assert check(("If-Modified-Since", value), method="HEAD") == expected
    assert check(("If-Modified-Since", value), method="PUT") is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [(SAME, None), (AFTER, None), (BEFORE, 412), ("yesterday", None), (f"{BEFORE}, x", None)],
)
def test_if_unmodified_since(value: str, expected: int | None) -> None:
    assert check(("If-Unmodified-Since", value)) == expected
    assert check(("If-Unmodified-Since", value), method="PUT") == expected


def test_dates_of_what_has_none_are_ignored() -> None:
    for name in ("If-Modified-Since", "If-Unmodified-Since"):
        assert failed_precondition("GET", Headers([(name, BEFORE)]), ETAG, None) is None


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        # If-Match counts, not If-Unmodified-Since.
        ([("If-Match", '"abc"'), ("If-Unmodified-Since", BEFORE)], None),
        ([("If-Match", '"x"'), ("If-Unmodified-Since", AFTER)], 412),
        # If-None-Match counts, not If-Modified-Since; even one that is malformed.
        ([("If-None-Match", '"x"'), ("If-Modified-Since", SAME)], None),
        ([("If-None-Match", '"abc"'), ("If-Modified-Since", BEFORE)], 304),
        ([("If-None-Match", "malformed"), ("If-Modified-Since", SAME)], None),
        # What guards against lost updates comes before what asks for news.
        ([("If-Match", '"x"'), ("If-None-Match", '"abc"')], 412),
        ([("If-Unmodified-Since", BEFORE), ("If-None-Match", '"abc"')], 412),
        ([("If-Match", '"abc"'), ("If-None-Match", '"abc"')], 304),
        ([("If-Unmodified-Since", SAME), ("If-Modified-Since", SAME)], 304),
    ],
)
def test_precedence(fields: list[tuple[str, str]], expected: int | None) -> None:
    assert check(*fields) == expected


@pytest.mark.parametrize(
    ("value", "etag", "allowed"),
    [
        ('"abc"', ETAG, True),
        ('"x"', ETAG, False),
        ('W/"abc"', ETAG, False),
        ('"abc"', WEAK, False),
        ('"abc"', None, False),
        (SAME, ETAG, True),
        (AFTER, ETAG, False),
        (BEFORE, ETAG, False),
        ("*", ETAG, False),
        ("", ETAG, False),
        ('"abc", "abc"', ETAG, False),
        ("malformed", ETAG, False),
    ],
)
def test_if_range(value: str, etag: EntityTag | None, allowed: bool) -> None:
    assert range_allowed(Headers([("If-Range", value)]), etag, MODIFIED, NOW) is allowed


def test_if_range_takes_no_date_of_the_present_second() -> None:
    headers = Headers([("If-Range", format_date(MODIFIED))])
    assert not range_allowed(headers, ETAG, MODIFIED, MODIFIED)
    assert not range_allowed(headers, ETAG, MODIFIED, MODIFIED + 1)
    assert range_allowed(headers, ETAG, MODIFIED, MODIFIED + 2)
