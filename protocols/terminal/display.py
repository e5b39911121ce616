"""Showing the line that is being edited: prompt, text and cursor, over as many rows as they take.

Only sequences that all terminals have are used (ECMA-48): up, right, clear to the end, clear the screen.
"""

from __future__ import annotations

import unicodedata

__all__ = ["LineDisplay", "columns_of", "width"]

_CLEAR_BELOW = "\x1b[J"
_CLEAR_SCREEN = "\x1b[H\x1b[2J"
# Narrower windows are not drawn for: a wide character needs two columns.
MIN_COLUMNS = 2


def width(char: str) -> int:
    """Return how many columns a character takes: 2 for those of East Asia, 0 for marks on another one."""
    if char < "\u0300":
        return 1
    if unicodedata.combining(char) or unicodedata.category(char) in {"Mn", "Me", "Cf"}:
        return 0
    return 2 if unicodedata.east_asian_width(char) in {"W", "F"} else 1


def columns_of(text: str) -> int:
    """Return how many columns a text takes where there is room for it in one row."""
    return len(text) if text.isascii() else sum(map(width, text))


def _advance(text: str, columns: int, row: int = 0, column: int = 0) -> tuple[int, int]:
    """Return the row and column behind a text; the column may be one too many, before a row begins."""
    if text.isascii():
        column += len(text)
        if column > columns:
            row += (column - 1) // columns
            column = (column - 1) % columns + 1
        return row, column
    for char in text:
        size = width(char)
        if column + size > columns:
            row += 1
            column = 0
        column += size
    return row, column


class LineDisplay:
    """Knows where on the screen the line is, counted from the row of its prompt.

    Each method returns what has to be written.

    Args:
        columns: the width of the window.
    """

    def __init__(self, columns: int) -> None:
        self._columns = max(columns, MIN_COLUMNS)
        self._prompt = ""
        self._text = ""
        self._cursor = 0
        self._row = 0  # of the cursor

    def draw(self, prompt: str, text: str, cursor: int) -> str:
        """Show a line in a new row, where the cursor now is."""
        self._prompt = prompt
        self._text = text
        self._cursor = cursor
        row, column = self._place(len(text))
        end_row = row
        parts = [prompt, text]
        if column == 0 and row:
            # The last character fills its row; a terminal goes to the next one when there is something to
            # write.
            parts.append(" \r")
        if cursor != len(text):
            row, column = self._place(cursor)
            parts.append(_up(end_row - row) + "\r" + _right(column))
        self._row = row
        return "".join(parts)

    def change(self, text: str, cursor: int) -> str:
        """Show another text with the same prompt."""
        added = text[len(self._text) :]
        at_end = self._cursor == len(self._text) and cursor == len(text)
        if at_end and text.startswith(self._text):
            # What is typed at the end needs nothing but itself.
            self._text = text
            self._cursor = cursor
            self._row, column = self._place(cursor)
            return added + (" \r" if column == 0 and self._row else "")
        if text == self._text:
            return self._move(cursor)
        return self.erase() + self.draw(self._prompt, text, cursor)

    def resize(self, columns: int) -> str:
        """Show the line again in a window of another width, whose terminal has wrapped the rows anew."""
        self._columns = max(columns, MIN_COLUMNS)
        self._row = self._place(self._cursor)[0]
        return self.erase() + self.draw(self._prompt, self._text, self._cursor)

    def erase(self) -> str:
        """Take the line off the screen, and leave the cursor where it began."""
        row, self._row = self._row, 0
        return _up(row) + "\r" + _CLEAR_BELOW

    def clear(self) -> str:
        """Clear the screen and show the line at its top."""
        return _CLEAR_SCREEN + self.draw(self._prompt, self._text, self._cursor)

    def leave(self) -> str:
        """Go to the row behind the line."""
        end = self._move(len(self._text))
        row, column = self._place(len(self._text))
        return end if column == 0 and row else end + "\n"

    def _place(self, index: int) -> tuple[int, int]:
        """Return the row and column of a character of the text."""
        row, column = _advance(self._prompt + self._text[:index], self._columns)
        return (row + 1, 0) if column >= self._columns else (row, column)

    def _move(self, cursor: int) -> str:
        if cursor == self._cursor:
            return ""
        row, column = self._place(cursor)
        if row < self._row:
            moved = _up(self._row - row)
        else:
            moved = "" if row == self._row else f"\x1b[{row - self._row}B"
        self._row = row
        self._cursor = cursor
        return moved + "\r" + _right(column)


def _up(rows: int) -> str:
    return f"\x1b[{rows}A" if rows else ""


def _right(columns: int) -> str:
    return f"\x1b[{columns}C" if columns else ""
