"""The line and its history, and how they look on a screen."""

from __future__ import annotations

import typing

from hypothesis import given
from hypothesis import strategies as st

from protocols.terminal.display import LineDisplay, columns_of, width
from protocols.terminal.line import MAX_HISTORY, MAX_HISTORY_SIZE, MAX_LINE, History, Line
from tests.protocols.terminal.emulator import Emulator

CHARS = st.sampled_from("ab c\u4e2d\u00e9\u0301")


def line_of(text: str, cursor: int | None = None) -> Line:
    line = Line()
    line.replace(text)
    line.move(len(text) if cursor is None else cursor)
    return line


def test_insert_and_move() -> None:
    line = line_of("held", 2)
    line.insert("llo wor")
    assert (line.text, line.cursor) == ("hello world"[:2] + "llo world", 9)
    line.move(-5)
    assert line.cursor == 0
    line.move(99)
    assert line.cursor == 11


def test_words() -> None:
    line = line_of("f(foo_bar, baz)", 10)
    assert line.word_left() == 2
    assert line.word_right() == 14
    assert line_of("  ", 2).word_left() == 0
    assert line_of("  ", 0).word_right() == 2


def test_what_is_killed_comes_back() -> None:
    line = line_of("one two", 3)
    line.kill(3, 7)
    assert line.text == "one"
    line.kill(3, 3)
    line.move(0)
    assert line.yank()
    assert (line.text, line.cursor) == (" twoone", 4)


def test_nothing_is_inserted_by_half() -> None:
    line = line_of("x" * (MAX_LINE - 1))
    assert not line.insert("ab")
    assert line.overflowed
    assert line.insert("a")
    assert not line.insert("b")
    assert len(line.text) == MAX_LINE


def test_history_goes_back_and_forth_and_keeps_the_draft() -> None:
    history = History()
    for text in ("one", "two", "two", "  "):
        history.add(text)
    assert history.forth() is None
    assert [history.back("draft"), history.back("two"), history.back("one")] == ["two", "one", None]
    assert [history.forth(), history.forth(), history.forth()] == ["two", "draft", None]


def test_history_is_bounded() -> None:
    history = History()
    for number in range(2 * MAX_HISTORY):
        history.add(str(number))
    assert len(history._lines) == MAX_HISTORY
    for number in range(100):
        history.add(f"{number:08000}")
    assert sum(map(len, history._lines)) <= MAX_HISTORY_SIZE


def test_widths() -> None:
    assert [width(char) for char in "a\xe9\u4e2d\u0301\u200d\U0001f600"] == [1, 1, 2, 0, 0, 2]
    assert columns_of("abc") == 3
    assert columns_of("a\u4e2d") == 3


def expected_place(text: str, columns: int) -> tuple[int, int]:
    """Where the cursor stands behind a text: an emulator that gets it, and then a character."""
    probe = Emulator(columns)
    probe.feed(text)
    return (probe.row + 1, 0) if probe.column >= columns else (probe.row, probe.column)


class Shown:
    """A display and a screen, which must always show the same."""

    def __init__(self, columns: int) -> None:
        self.columns = columns
        self.screen = Emulator(columns)
        self.display = LineDisplay(columns)
        self.screen.feed("before\n")
        self.above = self.screen.row

    def check(self, prompt: str, text: str, cursor: int) -> None:
        probe = Emulator(self.columns)
        probe.feed("before\n" + prompt + text)
        assert self.screen.shown() == probe.shown()
        row, column = expected_place(prompt + text[:cursor], self.columns)
        assert (self.screen.row - self.above, self.screen.column) == (row, column)


@given(st.integers(3, 12), st.lists(st.tuples(st.text(CHARS, max_size=30), st.floats(0, 1)), max_size=8))
def test_the_screen_shows_the_line_and_its_cursor(columns: int, changes: list[tuple[str, float]]) -> None:
    shown = Shown(columns)
    shown.screen.feed(shown.display.draw("> ", "", 0))
    for text, place in changes:
        cursor = round(place * len(text))
        shown.screen.feed(shown.display.change(text, cursor))
        shown.check("> ", text, cursor)


@given(st.integers(3, 12), st.text(st.sampled_from("abc"), max_size=40))
def test_typing_sends_nothing_but_what_is_typed(columns: int, text: str) -> None:
    shown = Shown(columns)
    shown.screen.feed(shown.display.draw("> ", "", 0))
    for index in range(len(text)):
        sent = shown.display.change(text[: index + 1], index + 1)
        assert sent.removesuffix(" \r") == text[index]
        shown.screen.feed(sent)
        shown.check("> ", text[: index + 1], index + 1)


@given(st.integers(3, 12), st.text(CHARS, max_size=30), st.data())
def test_moving_the_cursor_changes_nothing_else(columns: int, text: str, data: st.DataObject) -> None:
    shown = Shown(columns)
    shown.screen.feed(shown.display.draw("> ", text, len(text)))
    for cursor in data.draw(st.lists(st.integers(0, len(text)), max_size=5)):
        shown.screen.feed(shown.display.change(text, cursor))
        shown.check("> ", text, cursor)
    shown.screen.feed(shown.display.leave())
    assert shown.screen.column == 0
    shown.screen.feed("!")
    assert shown.screen.shown()[-1] == "!"


def rewrapped(prompt: str, text: str, cursor: int, columns: int) -> tuple[Emulator, int]:
    """What a terminal shows that has wrapped the rows anew for its new width."""
    screen = Emulator(columns)
    screen.feed("before\n")
    above = screen.row
    screen.feed(prompt + text)
    screen.row, screen.column = expected_place(prompt + text[:cursor], columns)
    screen.row += above
    screen._go(screen.row)
    return screen, above


@given(st.integers(6, 20), st.integers(6, 20), st.text(st.sampled_from("ab c"), max_size=60), st.floats(0, 1))
def test_a_window_of_another_width_shows_the_same_line(
    before: int, after: int, text: str, place: float
) -> None:
    cursor = round(place * len(text))
    display = LineDisplay(before)
    display.draw("> ", text, cursor)
    shown = Shown(after)
    shown.display = display
    shown.screen, shown.above = rewrapped("> ", text, cursor, after)
    shown.screen.feed(display.resize(after))
    shown.check("> ", text, cursor)
    shown.screen.feed(display.change(text + "!", len(text) + 1))
    shown.check("> ", text + "!", len(text) + 1)


def test_clear_and_erase() -> None:
    shown = Shown(10)
    shown.screen.feed(shown.display.draw("> ", "abcdefghijkl", 3))
    shown.screen.feed(shown.display.erase())
    assert shown.screen.shown() == ["before"]
    shown.screen.feed(shown.display.clear())
    assert shown.screen.shown() == ["> abcdefgh", "ijkl"]


def test_the_narrowest_window() -> None:
    display: typing.Any = LineDisplay(0)
    assert display.draw("> ", "a", 1)
    assert display.resize(1)
