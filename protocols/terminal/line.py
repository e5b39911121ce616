"""The line that is being edited, and those that were entered before it."""

from __future__ import annotations

__all__ = ["MAX_HISTORY", "MAX_LINE", "History", "Line"]

# Characters of a line. People type a hundred; what a program makes and pastes may be longer.
MAX_LINE = 8192
# Lines kept; with MAX_LINE this bounds what one session holds, and hardly anybody goes back further.
MAX_HISTORY = 500
# Characters kept in all of them.
MAX_HISTORY_SIZE = 256 * 1024


class Line:
    """Text with a cursor.

    Attributes:
        text: at most MAX_LINE characters.
        cursor: the index of the character under it, len(text) at the end.
        overflowed: whether something found no room, so that the text is not what was meant.
    """

    def __init__(self) -> None:
        self.text = ""
        self.cursor = 0
        self.overflowed = False
        self._killed = ""

    def replace(self, text: str) -> None:
        """Put another text in the place of this one, with the cursor at its end."""
        self.text = text[:MAX_LINE]
        self.cursor = len(self.text)
        self.overflowed = len(text) > MAX_LINE

    def insert(self, text: str) -> bool:
        """Insert before the cursor, or nothing if there is no room for all. Return whether there was."""
        if len(self.text) + len(text) > MAX_LINE:
            self.overflowed = True
            return False
        self.text = self.text[: self.cursor] + text + self.text[self.cursor :]
        self.cursor += len(text)
        return True

    def move(self, cursor: int) -> None:
        """Move the cursor, as far as the text goes."""
        self.cursor = min(max(cursor, 0), len(self.text))

    def word_left(self) -> int:
        """Return where the word before the cursor begins."""
        at = self.cursor
        while at and not _in_word(self.text[at - 1]):
            at -= 1
        while at and _in_word(self.text[at - 1]):
            at -= 1
        return at

    def word_right(self) -> int:
        """Return where the word at the cursor, or behind it, ends."""
        at = self.cursor
        while at < len(self.text) and not _in_word(self.text[at]):
            at += 1
        while at < len(self.text) and _in_word(self.text[at]):
            at += 1
        return at

    def delete(self, start: int, end: int) -> str:
        """Delete from `start` up to `end`, as far as the text goes, and return what was there."""
        start = max(start, 0)
        gone = self.text[start:end]
        self.text = self.text[:start] + self.text[end:]
        self.cursor = start
        return gone

    def kill(self, start: int, end: int) -> None:
        """Delete, and keep for `yank`."""
        self._killed = self.delete(start, end) or self._killed

    def yank(self) -> bool:
        """Insert what was killed last. Return whether there was room."""
        return self.insert(self._killed)


def _in_word(char: str) -> bool:
    return char.isalnum() or char == "_"


class History:
    """Lines that were entered, for going back to them."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._size = 0
        self._at = 0
        self._draft = ""

    def add(self, line: str) -> None:
        """Keep a line, unless it is blank or the last one again; and go back to the end."""
        if line.strip() and self._lines[-1:] != [line]:
            self._lines.append(line)
            self._size += len(line)
            while len(self._lines) > MAX_HISTORY or self._size > MAX_HISTORY_SIZE:
                self._size -= len(self._lines.pop(0))
        self._at = len(self._lines)

    def back(self, text: str) -> str | None:
        """Return the line before, None if there is none. `text`, at the end, is kept for the way forth."""
        if not self._at:
            return None
        if self._at == len(self._lines):
            self._draft = text
        self._at -= 1
        return self._lines[self._at]

    def forth(self) -> str | None:
        """Return the next line; behind the last, what was there before going back; then None."""
        if self._at == len(self._lines):
            return None
        self._at += 1
        return self._draft if self._at == len(self._lines) else self._lines[self._at]
