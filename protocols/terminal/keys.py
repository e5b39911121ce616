"""Keys of a terminal, out of the bytes that they send (ECMA-48; xterm's and VT220's function keys)."""

from __future__ import annotations

import codecs
import enum
import re
import typing
from dataclasses import dataclass

__all__ = ["MAX_SEQUENCE", "TAB", "Key", "KeyDecoder", "Text"]

# Characters of an escape sequence. Those of keys have 8 at most; a longer one is no key, and passed over.
MAX_SEQUENCE = 32
# What a Tab in pasted text becomes: a line on a screen has no tabs.
TAB = "    "


class Key(enum.Enum):
    """A key that is no text, named for what it does in a line."""

    ENTER = "enter"
    TAB = "tab"
    INTERRUPT = "^C"
    END_OF_FILE = "^D"
    LEFT = "left"
    RIGHT = "right"
    WORD_LEFT = "word left"
    WORD_RIGHT = "word right"
    HOME = "home"
    END = "end"
    UP = "up"
    DOWN = "down"
    BACKSPACE = "backspace"
    DELETE = "delete"
    KILL_LEFT = "^U"
    KILL_RIGHT = "^K"
    KILL_WORD_LEFT = "^W"
    KILL_WORD_RIGHT = "meta d"
    YANK = "^Y"
    CLEAR = "^L"


@dataclass(frozen=True, slots=True)
class Text:
    """Characters to insert: at least one, and no control characters."""

    text: str


_CONTROLS = {
    "\x01": Key.HOME,
    "\x02": Key.LEFT,
    "\x03": Key.INTERRUPT,
    "\x04": Key.END_OF_FILE,
    "\x05": Key.END,
    "\x06": Key.RIGHT,
    "\x08": Key.BACKSPACE,
    "\t": Key.TAB,
    "\n": Key.ENTER,
    "\x0b": Key.KILL_RIGHT,
    "\x0c": Key.CLEAR,
    "\r": Key.ENTER,
    "\x0e": Key.DOWN,
    "\x10": Key.UP,
    "\x15": Key.KILL_LEFT,
    "\x17": Key.KILL_WORD_LEFT,
    "\x19": Key.YANK,
    "\x7f": Key.BACKSPACE,
}
# Behind ESC.
_META = {
    "b": Key.WORD_LEFT,
    "d": Key.KILL_WORD_RIGHT,
    "f": Key.WORD_RIGHT,
    "\x7f": Key.KILL_WORD_LEFT,
}
# Behind ESC [, or ESC O.
_SEQUENCES = {
    "A": Key.UP,
    "B": Key.DOWN,
    "C": Key.RIGHT,
    "D": Key.LEFT,
    "F": Key.END,
    "H": Key.HOME,
    "1~": Key.HOME,
    "3~": Key.DELETE,
    "4~": Key.END,
    "7~": Key.HOME,
    "8~": Key.END,
    # With Control, or with Meta.
    "1;5C": Key.WORD_RIGHT,
    "1;3C": Key.WORD_RIGHT,
    "1;5D": Key.WORD_LEFT,
    "1;3D": Key.WORD_LEFT,
}
_PASTE_BEGINS = "200~"
_PASTE_ENDS = "201~"

_ESC = "\x1b"
_PRINTING = re.compile("[^\x00-\x1f\x7f-\x9f]+")


class KeyDecoder:
    """Turns bytes into keys. What it does not know it passes over.

    A key Escape alone cannot be told from the beginning of another key without a clock; it waits for the next
    one. Between the marks of a bracketed paste only text and Enter count.

    Args:
        encoding: of the bytes; a superset of ASCII. What is wrong in it becomes U+FFFD.
    """

    def __init__(self, encoding: str = "utf-8") -> None:
        self._decoder = _decoder(encoding)
        self._text = ""
        self._pos = 0
        self._pasting = False
        self._skipping = False  # the rest of a sequence that is too long

    def set_encoding(self, encoding: str) -> None:
        """Decode what is received from now on by another encoding."""
        self._decoder = _decoder(encoding)

    def receive_data(self, data: bytes) -> None:
        """Buffer `data`. Never raises."""
        self._text = self._text[self._pos :] + self._decoder.decode(data)
        self._pos = 0

    def next_key(self) -> Text | Key | None:
        """Return the next key, or None if more bytes are needed."""
        while self._pos < len(self._text):
            if self._skipping:
                self._skip()
                continue
            printing = _PRINTING.match(self._text, self._pos)
            if printing is not None:
                self._pos = printing.end()
                return Text(printing.group())
            if self._text[self._pos] != _ESC:
                key = self._control(self._text[self._pos])
                self._pos += 1
            elif self._pos + 1 == len(self._text):
                return None
            else:
                length, key = self._escape(self._text[self._pos + 1])
                if not length:
                    return None
                self._pos += length
            if key is not None:
                return key
        return None

    def _control(self, char: str) -> Text | Key | None:
        key = _CONTROLS.get(char)
        if not self._pasting or key is Key.ENTER:
            return key
        return Text(TAB) if key is Key.TAB else None

    def _escape(self, second: str) -> tuple[int, Key | None]:
        """Return the length of the sequence that begins with ESC, 0 if it is not all there, and its key."""
        if second < " ":
            # A key of its own: ^C must not be lost behind Escape; or ESC, which may begin a sequence.
            return 1, None
        if second not in {"[", "O"}:
            return 2, None if self._pasting else _META.get(second)
        begin = self._pos + 2
        for end in range(begin, min(len(self._text), begin + MAX_SEQUENCE)):
            char = self._text[end]
            if "@" <= char <= "~":
                return end + 1 - self._pos, self._sequence(self._text[begin : end + 1])
            if not " " <= char <= "?":
                # Broken off by another key.
                return end - self._pos, None
        if len(self._text) < begin + MAX_SEQUENCE:
            return 0, None
        self._skipping = True
        return MAX_SEQUENCE + 2, None

    def _sequence(self, content: str) -> Key | None:
        if content in {_PASTE_BEGINS, _PASTE_ENDS}:
            self._pasting = content == _PASTE_BEGINS
            return None
        return None if self._pasting else _SEQUENCES.get(content)

    def _skip(self) -> None:
        """Pass over parameters, and what ends them."""
        char = self._text[self._pos]
        self._skipping = " " <= char <= "?"
        if self._skipping or "@" <= char <= "~":
            self._pos += 1


def _decoder(encoding: str) -> typing.Any:
    return codecs.getincrementaldecoder(encoding)("replace")
