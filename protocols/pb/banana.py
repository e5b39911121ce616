"""Banana, the encoding of Perspective Broker: numbers, strings, and lists of these.

Every item is a number to the base 128, least significant digit first, and then a byte above 127 that says what
the item is:

    0x80 list      that many items follow            0x84 float      8 bytes follow, IEEE 754, big-endian
    0x81 int       0 and above, below 2**31          0x85 long int   0 and above
    0x82 string    that many bytes follow            0x86 long neg   below 0
    0x83 neg       below 0, down to -2**31           0x87 word       an entry of the vocabulary

Words are strings in a shorter form. Which there are depends on the dialect; "none" has none, and that is what
both sides speak until they have agreed on another.
"""

from __future__ import annotations

import struct
import typing

from portable.errors import LocalProtocolError
from portable.framing.reader import Reader

__all__ = [
    "MAX_DEPTH",
    "MAX_EXPRESSION",
    "MAX_ITEMS",
    "MAX_PREFIX",
    "MAX_SIZE",
    "NO_WORDS",
    "PB_WORDS",
    "BananaReader",
    "encode",
]

# Digits of a number: the protocol's own limit. Integers thus have 448 bits at most.
MAX_PREFIX = 64
# Bytes of a string: the protocol's own limit. What is longer has to be sent in pieces.
MAX_SIZE = 640 * 1024
# Lists within each other. Nobody's data is as deep, and what handles it later may be recursive.
MAX_DEPTH = 100
# Items of one expression, all lists together. Each costs us some 60 bytes, and its sender two.
MAX_ITEMS = 64 * 1024
# Bytes of one expression, which is in memory as a whole: several strings of MAX_SIZE, but not any number.
MAX_EXPRESSION = 4 * 1024 * 1024

_LIST = 0x80
_INT = 0x81
_STRING = 0x82
_NEG = 0x83
_FLOAT = 0x84
_LONG_INT = 0x85
_LONG_NEG = 0x86
_WORD = 0x87
_DOUBLE = struct.Struct("!d")
_TOO_MANY = f"an expression of more than {MAX_ITEMS} items"

# Number of each word, from 1.
PB_WORDS: dict[bytes, int] = {
    word: number + 1
    for number, word in enumerate(
        b"None class dereference reference dictionary function instance list module persistent tuple "
        b"unpersistable copy cache cached remote local lcache version login password challenge logged_in "
        b"not_logged_in cachemessage message answer error decref decache uncache".split()
    )
}
NO_WORDS: dict[bytes, int] = {}


class BananaReader(Reader):
    """Cuts a stream into expressions."""

    def __init__(self) -> None:
        super().__init__()
        self._words: dict[int, bytes] = {}
        # The lists that are not complete yet, from the outside in, each with how many items it lacks.
        self._open: list[tuple[list[Expression], int]] = []
        self._items = 0
        self._size = 0

    def set_words(self, words: dict[bytes, int]) -> None:
        """Understand these words from the next expression on."""
        self._words = {number: word for word, number in words.items()}

    def next_expression(self) -> Expression | None:
        """Return the next number, string (bytes) or list, or None until it is complete.

        Raises:
            RemoteProtocolError: the stream is no banana, or goes beyond one of the limits of this module. An
                earlier error, again.
        """
        self._check()
        while True:
            item = self._next_item()
            if item is None:
                return None
            if isinstance(item, list):
                continue
            complete = self._add(item[0])
            if complete is not None:
                self._items = self._size = 0
                return complete

    def _add(self, item: Expression) -> Expression | None:
        """Put an item into the list it stands in; return the whole expression if that was the last one."""
        while self._open:
            whole, missing = self._open.pop()
            whole.append(item)
            if missing > 1:
                self._open.append((whole, missing - 1))
                return None
            item = whole
        return item

    def _next_item(self) -> tuple[Expression] | list[Expression] | None:
        """Return the next item in a tuple of one; a list that has begun as it is; None if bytes are missing."""
        data = self._data
        start = self._pos
        end = min(len(data), start + MAX_PREFIX + 1)
        place = start
        while place < end and data[place] < _LIST:
            place += 1
        if place == end:
            if place - start > MAX_PREFIX:
                raise self._fail(
                    f"a number of more than {MAX_PREFIX} digits: the peer does not speak Perspective Broker"
                )
            return None
        number = 0
        for index in range(place - 1, start - 1, -1):
            number = number << 7 | data[index]
        kind = data[place]
        content = 0
        if kind == _STRING:
            if number > MAX_SIZE:
                raise self._fail(f"a string of {number} bytes, where {MAX_SIZE} are allowed")
            content = number
        elif kind == _FLOAT:
            content = _DOUBLE.size
        head = place + 1 - start
        if self._size + head + content > MAX_EXPRESSION:
            raise self._fail(f"an expression of more than {MAX_EXPRESSION} bytes")
        if len(self) < head + content:
            return None
        self._items += 1
        self._size += head + content
        if self._items > MAX_ITEMS:
            raise self._fail(_TOO_MANY)
        self._take(head)
        if kind == _LIST:
            return self._begin_list(number)
        return (self._value(kind, number, content),)

    def _begin_list(self, count: int) -> tuple[Expression] | list[Expression]:
        if count + self._items > MAX_ITEMS:
            # Refused before any of them has come.
            raise self._fail(_TOO_MANY)
        if len(self._open) == MAX_DEPTH:
            raise self._fail(f"more than {MAX_DEPTH} lists within each other")
        begun: list[Expression] = []
        if count == 0:
            return (begun,)
        self._open.append((begun, count))
        return begun

    def _value(self, kind: int, number: int, content: int) -> Expression:
        if kind == _STRING:
            return self._take(content)
        if kind in {_INT, _LONG_INT}:
            return number
        if kind in {_NEG, _LONG_NEG}:
            return -number
        if kind == _FLOAT:
            return float(_DOUBLE.unpack(self._take(content))[0])
        word = self._words.get(number) if kind == _WORD else None
        if word is None:
            raise self._fail(
                f"word {number} is not known" if kind == _WORD else f"{kind:#x} is no type of item"
            )
        return word


def _item(number: int, kind: int) -> bytes:
    digits = bytearray()
    while number > 127:
        digits.append(number & 127)
        number >>= 7
    digits.append(number)
    if len(digits) > MAX_PREFIX:
        raise LocalProtocolError(f"an integer of more than {7 * MAX_PREFIX} bits cannot be sent")
    digits.append(kind)
    return bytes(digits)


def _number(value: int) -> bytes:
    if value >= 0:
        return _item(value, _INT if value < 1 << 31 else _LONG_INT)
    return _item(-value, _NEG if value >= -(1 << 31) else _LONG_NEG)


def encode(expression: Expression | list[typing.Any], words: dict[bytes, int]) -> bytes:
    """Return `expression` as bytes.

    Raises:
        LocalProtocolError: it holds something else than int, float, bytes and lists of these, or goes beyond
            one of the limits of this module.
    """
    parts: list[bytes] = []
    size = 0
    # What is still to be written, last things first, each with how many lists it stands in.
    todo: list[tuple[typing.Any, int]] = [(expression, 0)]
    while todo:
        value, depth = todo.pop()
        if isinstance(value, bytes):
            number = words.get(value)
            if number is not None:
                part = _item(number, _WORD)
            elif len(value) > MAX_SIZE:
                raise LocalProtocolError(f"a string of {len(value)} bytes, where {MAX_SIZE} are allowed")
            else:
                part = _item(len(value), _STRING) + value
        elif isinstance(value, int):
            part = _number(value)
        elif isinstance(value, float):
            part = bytes([_FLOAT]) + _DOUBLE.pack(value)
        elif isinstance(value, list):
            if depth == MAX_DEPTH:
                raise LocalProtocolError(f"more than {MAX_DEPTH} lists within each other")
            part = _item(len(value), _LIST)
            todo.extend([(item, depth + 1) for item in reversed(value)])
        else:
            raise LocalProtocolError(f"{type(value).__name__} cannot be sent as it is")
        parts.append(part)
        size += len(part)
        if len(parts) + len(todo) > MAX_ITEMS or size > MAX_EXPRESSION:
            raise LocalProtocolError(f"more than {MAX_ITEMS} items or {MAX_EXPRESSION} bytes in one expression")
    return b"".join(parts)


if typing.TYPE_CHECKING:
    Expression = int | float | bytes | list["Expression"]
