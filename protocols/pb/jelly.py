"""Jelly, the form of Python values in Perspective Broker: S-expressions whose first word says what they are.

    None                  [None]                        dict      [dictionary, [key, value]...]
    bool                  [boolean, true|false]         datetime  [datetime, "2020 1 2 3 4 5 6"], date, time
    str                   [unicode, UTF-8]              timedelta [timedelta, "days seconds microseconds"]
    int, float, bytes     as they are                   Decimal   [decimal, integer, exponent]
    list, tuple           [list, item...], [tuple...]   copies    [registered name, [dictionary...]]
    set, frozenset        [set, item...]                objects   [remote, id], [local, id]

A list, dict or set that occurs twice, or in itself, is [reference, n, itself] first and [dereference, n] after
that. A value that a peer could not send arrives as [unpersistable, why].

Not spoken: class, module, function, method and instance, which would have us run what a peer names; persistent;
cache, cached and lcache (copies that follow their original).
"""

from __future__ import annotations

import datetime
import re
import typing
from dataclasses import dataclass
from decimal import Decimal

from portable.errors import LocalProtocolError, RemoteProtocolError
from protocols.pb.banana import MAX_DEPTH, MAX_ITEMS

if typing.TYPE_CHECKING:
    from protocols.pb.banana import Expression
    from protocols.pb.registry import Registry

__all__ = [
    "MAX_EXPONENT",
    "MAX_PLAIN_KEYS",
    "InsecureJelly",
    "References",
    "Unpersistable",
    "from_jelly",
    "text_keys",
    "to_jelly",
]

# Of a Decimal, up or down. int(Decimal("1E999999999")) would take all our memory, and no care of the one who
# asked for it.
MAX_EXPONENT = 6144
# Keys of dictionaries and items of sets in one value that are neither str nor bytes, with all that is in them.
# Numbers have no secret in their hash: a peer can send many with the same one, and n of those cost n * n
# comparisons. And a tuple that has the same tuple in it twice, which has another twice, and so on, is hashed
# and compared as if each were there.
MAX_PLAIN_KEYS = 4096
# Number of a [reference], counted from 1 in one value. Larger ones, too, could all have the same hash.
MAX_NUMBER = 1 << 31

_NUMBER = re.compile(rb"-?[0-9]{1,10}")


class InsecureJelly(RemoteProtocolError):
    """A peer sent a value that is malformed, or that it may not send here. The stream can still be read."""


@dataclass(frozen=True, slots=True)
class Unpersistable:
    """Stands for a value that the peer could not send."""

    reason: str


class References(typing.Protocol):
    """What knows the objects that are not copied: the broker."""

    @property
    def registry(self) -> Registry:
        """Which copies may be sent and received."""

    def refer(self, value: object) -> list[typing.Any] | None:
        """Return the expression for an object that stays where it is; None if `value` is none.

        Raises:
            Error: there are too many.
        """

    def remote(self, luid: int) -> object:
        """Return the reference to the peer's object `luid`.

        Raises:
            InsecureJelly: there are too many.
        """

    def local(self, luid: Expression) -> object:
        """Return our own object `luid`.

        Raises:
            InsecureJelly: there is none.
        """


def to_jelly(value: object, references: References) -> Expression:
    """Return the expression for `value`.

    Raises:
        LocalProtocolError: a value in it cannot be sent, or is too deep.
        Error: see `References.refer`.
    """
    return _Jellier(references).convert(value, 0)


def from_jelly(expression: Expression, references: References) -> typing.Any:
    """Return the value of an expression, whose depth the reader has limited.

    Raises:
        InsecureJelly: it is malformed, or holds what a peer may not send.
    """
    return _Unjellier(references).convert(expression)


def text_keys(value: object) -> dict[str, typing.Any]:
    """Return a dictionary of names, such as attributes, with str for keys: Python 2 sends bytes, Python 3 str.

    Raises:
        InsecureJelly: it is no dictionary, or has other keys.
    """
    if not isinstance(value, dict):
        raise InsecureJelly("no dictionary where one is needed")
    named: dict[str, typing.Any] = {}
    for key, item in value.items():
        name = key.decode("ascii", "replace") if isinstance(key, bytes) else key
        if not isinstance(name, str):
            raise InsecureJelly("a name that is neither str nor bytes")
        named[name] = item
    return named


class _Container:
    """A list, dict or set on its way out: its content, and what stands for it where it occurred first."""

    __slots__ = ("content", "number", "shown", "value")

    def __init__(self, value: object, tag: bytes) -> None:
        self.value = value  # kept, so that no other value gets its id
        self.content: list[typing.Any] = [tag]
        self.shown: list[typing.Any] = []
        self.number = 0

    def show(self) -> None:
        self.shown[:] = [b"reference", self.number, self.content] if self.number else self.content


class _Jellier:
    def __init__(self, references: References) -> None:
        self._references = references
        self._seen: dict[int, _Container] = {}
        self._numbered = 0
        self._values = 0

    def convert(self, value: typing.Any, depth: int) -> Expression:
        self._values += 1
        if self._values > MAX_ITEMS:
            # Not left to banana: a tuple that is in others twice, and these in others, is sent each time.
            raise LocalProtocolError(f"more than {MAX_ITEMS} values in one cannot be sent")
        kind = type(value)
        if kind in {int, float, bytes}:
            return typing.cast("Expression", value)
        if value is None:
            return [b"None"]
        if kind is bool:
            return [b"boolean", b"true" if value else b"false"]
        if kind is str:
            return [b"unicode", _utf8(value)]
        if depth >= MAX_DEPTH:
            raise LocalProtocolError(f"a value deeper than {MAX_DEPTH} cannot be sent")
        if kind in _CONTAINERS:
            return self._container(value, depth)
        if kind in {tuple, frozenset}:
            tag = b"tuple" if kind is tuple else b"frozenset"
            return [tag, *[self.convert(item, depth + 1) for item in value]]
        if kind is Decimal:
            return _decimal(value)
        if kind in _DATES:
            return [_DATES[kind], " ".join([str(part) for part in _parts(value)]).encode("ascii")]
        if kind is Unpersistable:
            return [b"unpersistable", _utf8(value.reason)]
        referred = self._references.refer(value)
        if referred is not None:
            return referred
        found = self._references.registry.state_of(value)
        if found is None:
            raise LocalProtocolError(f"a {kind.__name__} cannot be sent")
        name, state = found
        return [name.encode("ascii"), self.convert(state, depth + 1)]

    def _container(self, value: typing.Any, depth: int) -> Expression:
        seen = self._seen.get(id(value))
        if seen is not None:
            if not seen.number:
                self._numbered += 1
                seen.number = self._numbered
                seen.show()
            return [b"dereference", seen.number]
        made = _Container(value, _CONTAINERS[type(value)])
        self._seen[id(value)] = made
        for item in value:
            part = self.convert(item, depth + 1)
            if isinstance(value, dict):
                part = [part, self.convert(value[item], depth + 1)]
            made.content.append(part)
        made.show()
        return made.shown


def _utf8(text: str) -> bytes:
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise LocalProtocolError(f"{text!r} has half a surrogate pair") from error


def _decimal(value: Decimal) -> Expression:
    sign, digits, exponent = value.as_tuple()
    if not isinstance(exponent, int) or not -MAX_EXPONENT <= exponent <= MAX_EXPONENT:
        raise LocalProtocolError(f"the decimal number {value} cannot be sent")
    number = int("".join([str(digit) for digit in digits]))
    return [b"decimal", -number if sign else number, exponent]


def _parts(value: typing.Any) -> list[int]:
    if isinstance(value, datetime.timedelta):
        return [value.days, value.seconds, value.microseconds]
    parts: list[int] = []
    if isinstance(value, datetime.date):
        parts += [value.year, value.month, value.day]
    if not isinstance(value, datetime.date) or isinstance(value, datetime.datetime):
        if value.tzinfo is not None:
            raise LocalProtocolError("a time with a time zone cannot be sent")
        parts += [value.hour, value.minute, value.second, value.microsecond]
    return parts


# In the place of a reference whose tuple or frozenset is not complete yet.
_UNFINISHED = object()


class _Unjellier:
    def __init__(self, references: References) -> None:
        self._references = references
        self._named: dict[int, object] = {}
        self._plain_keys = 0

    def convert(self, expression: Expression, number: int | None = None) -> typing.Any:
        """Return the value; `number` is that of the [reference] it stands in."""
        if not isinstance(expression, list):
            return expression
        tag = expression[0] if expression else None
        if not isinstance(tag, bytes):
            raise InsecureJelly("a list does not begin with a word")
        form = _FORMS.get(tag)
        if form is not None:
            return form(self, expression, number)
        return self._copy(tag, expression)

    def _copy(self, tag: bytes, expression: list[Expression]) -> object:
        name = tag.decode("ascii", "replace")
        make = self._references.registry.maker(name)
        if make is None:
            raise InsecureJelly(f"{name[:100]!r} may not be sent here")
        state = text_keys(self.convert(_one(expression)))
        try:
            return make(state)
        except InsecureJelly:
            raise
        except Exception as error:
            raise InsecureJelly(f"a {name} that is malformed") from error

    def take_none(self, expression: list[Expression], number: int | None) -> None:
        if len(expression) != 1:
            raise InsecureJelly("None with something in it")

    def take_boolean(self, expression: list[Expression], number: int | None) -> bool:
        word = _one(expression)
        if word == b"true":
            return True
        if word == b"false":
            return False
        raise InsecureJelly("a boolean that is neither true nor false")

    def take_unicode(self, expression: list[Expression], number: int | None) -> str:
        return _text(_one(expression))

    def take_unpersistable(self, expression: list[Expression], number: int | None) -> Unpersistable:
        return Unpersistable(_text(_one(expression)))

    def take_list(self, expression: list[Expression], number: int | None) -> object:
        made: list[typing.Any] = []
        self._name(number, made)
        for part in expression[1:]:
            made.append(self.convert(part))  # noqa: PERF401 - a list in itself needs what is there
        return made

    def take_set(self, expression: list[Expression], number: int | None) -> object:
        made: set[typing.Any] = set()
        self._name(number, made)
        for part in expression[1:]:
            made.add(self._key(part))
        return made

    def take_dictionary(self, expression: list[Expression], number: int | None) -> object:
        made: dict[typing.Any, typing.Any] = {}
        self._name(number, made)
        for part in expression[1:]:
            if not isinstance(part, list) or len(part) != 2:
                raise InsecureJelly("an entry of a dictionary is not a key and a value")
            key = self._key(part[0])
            made[key] = self.convert(part[1])
        return made

    def take_tuple(self, expression: list[Expression], number: int | None) -> object:
        return tuple([self.convert(part) for part in expression[1:]])

    def take_frozenset(self, expression: list[Expression], number: int | None) -> object:
        return frozenset([self._key(part) for part in expression[1:]])

    def take_decimal(self, expression: list[Expression], number: int | None) -> Decimal:
        if len(expression) != 3:
            raise InsecureJelly("a decimal number is not an integer and an exponent")
        whole, exponent = expression[1], expression[2]
        if not isinstance(whole, int) or not isinstance(exponent, int) or abs(exponent) > MAX_EXPONENT:
            raise InsecureJelly("a decimal number that is none, or out of range")
        return Decimal((int(whole < 0), tuple([int(digit) for digit in str(abs(whole))]), exponent))

    def take_date(self, expression: list[Expression], number: int | None) -> object:
        make, count = _MAKERS[typing.cast("bytes", expression[0])]
        text = _one(expression)
        words = text.split(b" ") if isinstance(text, bytes) else []
        if len(words) != count or not all(_NUMBER.fullmatch(word) for word in words):
            raise InsecureJelly("a date or time is not so many numbers")
        try:
            return make(*[int(word) for word in words])
        except (ValueError, OverflowError) as error:
            raise InsecureJelly(f"no date or time: {error}") from error

    def take_reference(self, expression: list[Expression], number: int | None) -> object:
        if len(expression) != 3 or number is not None or not isinstance(expression[1], int):
            raise InsecureJelly("a reference is not a number and a value")
        name = expression[1]
        if not 0 <= name < MAX_NUMBER:
            raise InsecureJelly("the number of a reference is out of range")
        if name in self._named:
            raise InsecureJelly(f"two values are reference {name}")
        self._named[name] = _UNFINISHED
        value = self.convert(expression[2], name)
        self._named[name] = value
        return value

    def take_dereference(self, expression: list[Expression], number: int | None) -> object:
        name = _one(expression)
        value = self._named.get(name, _UNFINISHED) if isinstance(name, int) else _UNFINISHED
        if value is _UNFINISHED:
            # Also where a tuple has itself in it: that cannot be made from the outside in.
            raise InsecureJelly("a reference to a value that has not come")
        return value

    def take_remote(self, expression: list[Expression], number: int | None) -> object:
        luid = _one(expression)
        if not isinstance(luid, int):
            raise InsecureJelly("the id of an object is no integer")
        return self._references.remote(luid)

    def take_local(self, expression: list[Expression], number: int | None) -> object:
        return self._references.local(_one(expression))

    def _key(self, expression: Expression) -> typing.Any:
        """Return the value of what is to be a key of a dictionary, or in a set."""
        value = self.convert(expression)
        if type(value) in {str, bytes}:
            return value
        self._count_key(value)
        try:
            hash(value)
        except TypeError as error:
            raise InsecureJelly("a key of a dictionary, or an item of a set, can change") from error
        return value

    def _count_key(self, key: object) -> None:
        self._plain_keys += 1
        todo = [key]
        while todo and self._plain_keys <= MAX_PLAIN_KEYS:
            part = todo.pop()
            if isinstance(part, (tuple, frozenset)):
                self._plain_keys += len(part)
                todo.extend(part)
        if self._plain_keys > MAX_PLAIN_KEYS:
            raise InsecureJelly(f"more than {MAX_PLAIN_KEYS} keys that are no strings, or parts of them")

    def _name(self, number: int | None, value: object) -> None:
        if number is not None:
            self._named[number] = value


def _one(expression: list[Expression]) -> Expression:
    """Return what follows the tag."""
    if len(expression) != 2:
        raise InsecureJelly(f"{expression[0]!r} has {len(expression) - 1} parts, not one")
    return expression[1]


def _text(expression: Expression) -> str:
    if not isinstance(expression, bytes):
        raise InsecureJelly("a text is no string")
    try:
        return expression.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InsecureJelly("a text is not UTF-8") from error


_CONTAINERS: dict[type, bytes] = {list: b"list", dict: b"dictionary", set: b"set"}
_MAKERS: dict[bytes, tuple[typing.Callable[..., object], int]] = {
    b"datetime": (datetime.datetime, 7),
    b"date": (datetime.date, 3),
    b"time": (datetime.time, 4),
    b"timedelta": (datetime.timedelta, 3),
}
_DATES: dict[type, bytes] = {
    datetime.datetime: b"datetime",
    datetime.date: b"date",
    datetime.time: b"time",
    datetime.timedelta: b"timedelta",
}
_FORMS: dict[bytes, typing.Callable[[_Unjellier, list[typing.Any], int | None], typing.Any]] = {
    b"None": _Unjellier.take_none,
    b"boolean": _Unjellier.take_boolean,
    b"unicode": _Unjellier.take_unicode,
    b"unpersistable": _Unjellier.take_unpersistable,
    b"list": _Unjellier.take_list,
    b"set": _Unjellier.take_set,
    b"dictionary": _Unjellier.take_dictionary,
    b"tuple": _Unjellier.take_tuple,
    b"frozenset": _Unjellier.take_frozenset,
    b"decimal": _Unjellier.take_decimal,
    b"datetime": _Unjellier.take_date,
    b"date": _Unjellier.take_date,
    b"time": _Unjellier.take_date,
    b"timedelta": _Unjellier.take_date,
    b"reference": _Unjellier.take_reference,
    b"dereference": _Unjellier.take_dereference,
    b"remote": _Unjellier.take_remote,
    b"local": _Unjellier.take_local,
}
