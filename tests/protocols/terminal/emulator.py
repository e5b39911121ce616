"""A small terminal, written for tests alone: what a screen shows after the text that was sent to it."""

from __future__ import annotations

import re
import unicodedata

_TOKEN = re.compile(r"\x1b\[([0-9;]*)([A-Za-z])|(.)", re.DOTALL)


class Emulator:
    """Rows without end and a cursor; wraps as VT100 and xterm do: only when there is something to put there.

    Attributes:
        rows: what each row shows.
        row, column: of the cursor.
        bells: heard.
    """

    def __init__(self, columns: int = 80) -> None:
        self.columns = columns
        self.rows: list[list[str]] = [[]]
        self.row = 0
        self.column = 0
        self.bells = 0

    def feed(self, text: str) -> None:
        r"""Show text; "\n" goes to the beginning of the next row."""
        for found in _TOKEN.finditer(text):
            parameter, final, char = found.groups()
            if final:
                self._obey(final, parameter)
            elif char == "\r":
                self.column = 0
            elif char == "\n":
                self._go(self.row + 1)
                self.column = 0
            elif char == "\x07":
                self.bells += 1
            else:
                self._put(char)

    def shown(self) -> list[str]:
        """The rows without the blanks at their ends, and without the empty ones behind the last."""
        lines = ["".join(row).rstrip() for row in self.rows]
        while lines and not lines[-1]:
            lines.pop()
        return lines

    def _obey(self, final: str, parameter: str) -> None:
        count = int(parameter or 1)
        if final == "A":
            assert count <= self.row, "above the screen"
            self.row -= count
        elif final == "B":
            self._go(self.row + count)
        elif final == "C":
            self.column += count
            assert self.column < self.columns, "beyond the row"
        elif final == "H":
            self.row = self.column = 0
        elif final == "J" and parameter == "2":
            self.rows = [[]]
        elif final == "J":
            del self.rows[self.row + 1 :]
            del self.rows[self.row][self.column :]
        else:
            raise AssertionError(f"CSI {parameter}{final} is not known to all terminals")

    def _go(self, row: int) -> None:
        self.row = row
        while len(self.rows) <= row:
            self.rows.append([])

    def _put(self, char: str) -> None:
        assert char.isprintable(), f"{char!r} was sent"
        if unicodedata.combining(char):
            self.rows[self.row][self.column - 1] += char
            return
        size = 2 if unicodedata.east_asian_width(char) in {"W", "F"} else 1
        if self.column + size > self.columns:
            self._go(self.row + 1)
            self.column = 0
        row = self.rows[self.row]
        row += [" "] * (self.column - len(row))
        row[self.column : self.column + size] = [char] + [""] * (size - 1)
        self.column += size
