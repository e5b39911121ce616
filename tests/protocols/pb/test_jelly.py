"""Jelly: every kind of value there and back, and everything hostile that can be put into it."""

from __future__ import annotations

import contextlib
import datetime
import typing
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portable.errors import LocalProtocolError
from protocols.pb.banana import MAX_DEPTH, NO_WORDS, PB_WORDS, encode
from protocols.pb.jelly import (
    MAX_EXPONENT,
    MAX_PLAIN_KEYS,
    InsecureJelly,
    Unpersistable,
    from_jelly,
    text_keys,
    to_jelly,
)
from protocols.pb.registry import Registry


class Point:
    def __init__(self, x: int, y: int) -> None:
        self.x = x
        self.y = y


class NoReferences:
    """Knows no objects, and one class of copies."""

    def __init__(self) -> None:
        self.registry = Registry()
        self.registry.send(Point, "tests.Point", vars)
        self.registry.accept("tests.Point", lambda state: Point(state["x"], state["y"]))

    def refer(self, value: object) -> list[typing.Any] | None:
        return None

    def remote(self, luid: int) -> object:
        return ("remote", luid)

    def local(self, luid: typing.Any) -> object:
        raise InsecureJelly("an object that the peer was not given")


def back(value: typing.Any) -> typing.Any:
    return from_jelly(to_jelly(value, NoReferences()), NoReferences())


def take(expression: typing.Any) -> typing.Any:
    return from_jelly(expression, NoReferences())


# What Twisted sends for these, recorded; without the dialect's words.
RECORDED: list[tuple[typing.Any, typing.Any]] = [
    (None, [b"None"]),
    (True, [b"boolean", b"true"]),
    (False, [b"boolean", b"false"]),
    ("text", [b"unicode", b"text"]),
    ("\u20ac", [b"unicode", b"\xe2\x82\xac"]),
    (b"bytes", b"bytes"),
    ((1,), [b"tuple", 1]),
    ([1], [b"list", 1]),
    ({"a": 1}, [b"dictionary", [[b"unicode", b"a"], 1]]),
    ({1}, [b"set", 1]),
    (frozenset([2]), [b"frozenset", 2]),
    (datetime.datetime(2020, 1, 2, 3, 4, 5, 6), [b"datetime", b"2020 1 2 3 4 5 6"]),
    (datetime.date(2020, 1, 2), [b"date", b"2020 1 2"]),
    (datetime.time(3, 4, 5, 6), [b"time", b"3 4 5 6"]),
    (datetime.timedelta(1, 2, 3), [b"timedelta", b"1 2 3"]),
    (Decimal("1.50"), [b"decimal", 150, -2]),
    (Decimal("-7E+3"), [b"decimal", -7, 3]),
]

leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**440), 2**440),
    st.floats(allow_nan=False),
    st.text(max_size=10),
    st.binary(max_size=10),
    st.datetimes(),
    st.dates(),
    st.times(),
    st.timedeltas(),
    st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**30), max_value=10**30),
)
keys = st.one_of(
    st.text(max_size=5), st.binary(max_size=5), st.integers(), st.tuples(st.integers(), st.text(max_size=3))
)
values: st.SearchStrategy[typing.Any] = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(keys, inner, max_size=4),
        st.sets(keys, max_size=4),
        st.frozensets(keys, max_size=4),
    ),
    max_leaves=20,
)
expressions: st.SearchStrategy[typing.Any] = st.recursive(
    st.one_of(
        st.integers(),
        st.floats(),
        st.binary(max_size=5),
        st.sampled_from([*PB_WORDS, b"unicode", b"set", b"decimal"]),
    ),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=15,
)


@pytest.mark.parametrize(("value", "expression"), RECORDED)
def test_the_same_expressions_as_twisted(value: typing.Any, expression: typing.Any) -> None:
    assert to_jelly(value, NoReferences()) == expression
    assert take(expression) == value
    assert type(take(expression)) is type(value)


@given(values)
def test_every_value_comes_back(value: typing.Any) -> None:
    assert back(value) == value
    encode(to_jelly(value, NoReferences()), PB_WORDS)


@given(expressions)
def test_garbage_is_refused_and_nothing_else(expression: typing.Any) -> None:
    with contextlib.suppress(InsecureJelly):
        take(expression)


def test_what_occurs_twice_is_sent_once() -> None:
    inner = [1]
    expression = to_jelly([inner, inner, {"again": inner}], NoReferences())
    assert expression == [
        b"list",
        [b"reference", 1, [b"list", 1]],
        [b"dereference", 1],
        [b"dictionary", [[b"unicode", b"again"], [b"dereference", 1]]],
    ]
    one, other, third = take(expression)
    assert one is other is third["again"]


def test_a_list_in_itself() -> None:
    cycle: list[typing.Any] = [1]
    cycle.append(cycle)
    assert to_jelly(cycle, NoReferences()) == [b"reference", 1, [b"list", 1, [b"dereference", 1]]]
    again = back(cycle)
    assert again[1] is again
    table: dict[str, typing.Any] = {}
    table["self"] = [table]
    again = back(table)
    assert again["self"][0] is again


def test_shared_tuples_of_a_peer() -> None:
    one, other = take([b"list", [b"reference", 1, [b"tuple", 5]], [b"dereference", 1]])
    assert one == (5,)
    assert one is other


def test_a_billion_laughs_cost_nothing() -> None:
    expression: typing.Any = [b"reference", 0, [b"list", b"ha"]]
    for level in range(1, 40):
        expression = [b"reference", level, [b"list", expression, *[[b"dereference", level - 1]] * 9]]
    assert len(take(expression)) == 10


def laughs(tag: bytes, levels: int) -> list[typing.Any]:
    """Return a list of containers, each with the one before twice in it: the last one has 2**levels parts."""
    lines: list[typing.Any] = [b"list", [b"reference", 0, [tag, 1]]]
    for level in range(1, levels):
        before = [b"dereference", level - 1]
        lines.append([b"reference", level, [tag, before, before]])
    return lines


@pytest.mark.parametrize("tag", [b"set", b"frozenset"])
def test_a_billion_laughs_are_not_hashed(tag: bytes) -> None:
    with pytest.raises(InsecureJelly, match="no strings"):
        take([*laughs(b"tuple", 60), [tag, [b"dereference", 59]]])


def test_a_billion_laughs_are_not_sent_back() -> None:
    """Tuples are sent each time, as Twisted does."""
    with pytest.raises(LocalProtocolError, match="65536 values"):
        to_jelly(take(laughs(b"tuple", 60)), NoReferences())


def test_copies() -> None:
    point = back(Point(1, 2))
    assert (point.x, point.y) == (1, 2)
    state = [b"dictionary", [b"x", 1], [[b"unicode", b"y"], 2]]
    assert take([b"tests.Point", state]).y == 2


@pytest.mark.parametrize(
    "expression",
    [
        [b"class", b"os.system"],
        [b"module", b"os"],
        [b"function", b"os.system"],
        [b"method", b"system", [b"module", b"os"], [b"class", b"os"]],
        [b"instance", [b"class", b"subprocess.Popen"], [b"dictionary"]],
        [b"os.system", [b"dictionary"]],
        [b"builtins.object", [b"dictionary"]],
        [b"persistent", b"x"],
        [b"cache", 1, [b"class", b"x"], []],
        [b"cached", 1],
        [b"lcache", 1],
        [b"copy", b"x"],
    ],
)
def test_nothing_is_made_by_its_name(expression: typing.Any) -> None:
    with pytest.raises(InsecureJelly, match="may not be sent here"):
        take(expression)


@pytest.mark.parametrize(
    "expression",
    [
        [],
        [1],
        [[b"None"]],
        [b"None", 1],
        [b"boolean"],
        [b"boolean", b"maybe"],
        [b"boolean", [b"list"]],
        [b"unicode", b"\xff"],
        [b"unicode", 1],
        [b"unicode", b"a", b"b"],
        [b"dictionary", 1],
        [b"dictionary", [1]],
        [b"dictionary", [[b"list"], 1]],
        [b"set", [b"list"]],
        [b"frozenset", [b"dictionary"]],
        [b"decimal", 1],
        [b"decimal", 1.5, 2],
        [b"decimal", 1, MAX_EXPONENT + 1],
        [b"date", b"2020 13 1"],
        [b"date", b"2020 1"],
        [b"date", b"2020 1 x"],
        [b"date", 20200101],
        [b"date", b"99999999999 1 1"],
        [b"time", b"25 0 0 0"],
        [b"timedelta", b"9999999999 0 0"],
        [b"datetime", b"1 2 3"],
        [b"reference", 1],
        [b"reference", b"x", 1],
        [b"reference", -1, [b"list"]],
        [b"reference", 2**61 - 1, [b"list"]],
        [b"reference", 1, [b"reference", 2, [b"list"]]],
        [b"list", [b"reference", 1, b"a"], [b"reference", 1, b"b"]],
        [b"dereference", 1],
        [b"dereference", b"x"],
        [b"reference", 1, [b"tuple", [b"dereference", 1]]],
        [b"remote", b"5"],
        [b"remote"],
        [b"local", 5],
        [b"tests.Point", 1],
        [b"tests.Point"],
        [b"tests.Point", [b"dictionary", [b"x", 1]]],
        [b"tests.Point", [b"dictionary", [1, 1]]],
    ],
)
def test_malformed_values(expression: typing.Any) -> None:
    with pytest.raises(InsecureJelly):
        take(expression)


def test_numbers_with_the_same_hash_are_limited() -> None:
    step = 2**61 - 1
    keys = [number * step for number in range(MAX_PLAIN_KEYS + 1)]
    assert len(take([b"set", *keys[1:]])) == MAX_PLAIN_KEYS
    with pytest.raises(InsecureJelly, match="no strings"):
        take([b"set", *keys])
    with pytest.raises(InsecureJelly, match="no strings"):
        take([b"list", [b"set", *keys[:3000]], [b"dictionary", *[[key, 1] for key in keys[:3000]]]])
    names = [b"%d" % number for number in range(MAX_PLAIN_KEYS + 1)]
    assert len(take([b"set", *names])) == MAX_PLAIN_KEYS + 1


def test_what_a_peer_could_not_send() -> None:
    assert take([b"unpersistable", b"too wild"]) == Unpersistable("too wild")
    assert back(Unpersistable("why")) == Unpersistable("why")


class Subclass(int):
    pass


deep: list[typing.Any] = []
for _ in range(MAX_DEPTH + 1):
    deep = [deep]


@pytest.mark.parametrize(
    "value",
    [
        object(),
        Subclass(1),
        len,
        int,
        "\ud800",
        Decimal("NaN"),
        Decimal("Infinity"),
        Decimal(1).scaleb(MAX_EXPONENT + 1),
        datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC),
        deep,
        bytearray(b"x"),
    ],
)
def test_what_cannot_be_sent(value: typing.Any) -> None:
    with pytest.raises(LocalProtocolError):
        to_jelly([value], NoReferences())


def test_names_are_text_however_they_come() -> None:
    assert text_keys({b"a": 1, "b": 2}) == {"a": 1, "b": 2}
    hostile: list[typing.Any] = [[], {1: 2}, None]
    for wrong in hostile:
        with pytest.raises(InsecureJelly):
            text_keys(wrong)


def test_a_maker_may_refuse_in_its_own_words() -> None:
    references = NoReferences()

    def refuse(state: dict[str, typing.Any]) -> object:
        raise InsecureJelly("not today")

    references.registry.accept("tests.Never", refuse)
    with pytest.raises(InsecureJelly, match="not today"):
        from_jelly([b"tests.Never", [b"dictionary"]], references)


def test_a_value_as_deep_as_banana_allows() -> None:
    inner: list[typing.Any] = []
    for _ in range(MAX_DEPTH - 2):
        inner = [inner]
    assert encode(to_jelly(inner, NoReferences()), NO_WORDS)
    assert back(inner) == inner
