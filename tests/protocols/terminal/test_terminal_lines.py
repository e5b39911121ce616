"""Reading lines: editing, hidden lines, history, completion, type-ahead, and peers with lines of their own."""

from __future__ import annotations

import typing

import pytest

from portable.deferred import Deferred
from portable.protocol import Protocol
from portable.testing import MemoryTransport
from protocols.terminal import lines
from protocols.terminal.line import MAX_LINE, History
from protocols.terminal.lines import (
    HALF_CLOSED,
    MAX_CHOICES,
    MAX_TYPE_AHEAD,
    Completion,
    EndOfInput,
    LineInterrupted,
    LineRefused,
    LineTerminal,
)
from tests.protocols.terminal.emulator import Emulator


class Screen:
    """A screen, and a person before it who waits for a prompt."""

    def __init__(self, *, interactive: bool = True, columns: int = 40, window: int | None = None) -> None:
        self.columns = columns
        self.interactive = interactive
        self.encoding = "utf-8"
        self.emulator = Emulator(columns)
        self.transport = MemoryTransport(Protocol(), window=window)
        self.interruptions = 0
        self.terminal = LineTerminal(self, self.transport.clock, self._interrupted)
        self.lines: list[str] = []
        self.errors: list[type[BaseException]] = []

    def write(self, text: str) -> None:
        self.emulator.feed(text)
        self.transport.write(text.encode())

    def close(self) -> None:
        self.transport.close()

    def _interrupted(self) -> None:
        self.interruptions += 1

    def read(self, prompt: str = "> ", **options: typing.Any) -> None:
        reading = self.terminal.read_line(prompt, **options)
        reading.add_callbacks(self.lines.append, lambda error: self.errors.append(type(error)))
        self.transport.settle()

    def read_all(self, **options: typing.Any) -> None:
        """Read line after line, as a console does."""

        def again(line: str) -> None:
            self.lines.append(line)
            self.terminal.read_line("> ", **options).add_callbacks(again, lambda _: None)

        self.terminal.read_line("> ", **options).add_callbacks(again, lambda _: None)
        self.transport.settle()

    def type(self, keys: str) -> None:
        self.terminal.data_received(keys.encode())
        self.transport.settle()


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        ("hello\r", "hello"),
        ("held\x1b[D\x1b[Dl\x1b[C\x1b[3~\x05o\r", "hello"),
        ("xhello\x01\x04\r", "hello"),
        ("hellx\x7fo\r", "hello"),
        ("junk\x15hello\r", "hello"),
        ("hello junk\x17\x7f\r", "hello"),
        ("hello junk\x02\x02\x02\x02\x02\x0b\r", "hello"),
        ("lohel\x17\x19\r", "lohel"),
        ("b c\x1bb\x1bba \x05!\r", "a b c!"),
        ("one two\x01\x1bd\r", " two"),
        ("a\tb\r", "a    b"),
        ("\x10\x0e\x1b[Ahello\r", "hello"),
        ("hello\x0c\r", "hello"),
    ],
)
def test_keys_edit_the_line(keys: str, line: str) -> None:
    screen = Screen()
    screen.read(complete=None)
    screen.type(keys)
    assert screen.lines == [line]
    assert screen.emulator.shown()[-1] == f"> {line}"
    assert screen.emulator.column == 0


def test_a_hidden_line_is_not_shown_and_not_in_the_history() -> None:
    screen = Screen()
    history = History()
    history.add("before")
    screen.read("password: ", hidden=True, history=history, complete=lambda _: Deferred())
    screen.type("sec\tx\x7fret\x1b[A\x1b[D!\r")
    assert screen.lines == ["sec    re!t"]
    assert screen.emulator.shown() == ["password:"]


def test_history() -> None:
    screen = Screen()
    history = History()
    for line in ("one", "two"):
        history.add(line)
    screen.read(history=history)
    screen.type("draft\x1b[A\x1b[A\x1b[A\x1b[B!\r")
    assert screen.lines == ["two!"]


def test_the_end_and_an_interruption() -> None:
    screen = Screen()
    screen.read()
    screen.type("a\x7f\x04")
    screen.read()
    screen.type("abc\x01\x03")
    assert screen.errors == [EndOfInput, LineInterrupted]
    assert screen.emulator.shown() == [">", "> abc^C"]
    assert screen.interruptions == 0


def test_what_is_typed_ahead_waits_and_an_interruption_forgets_it() -> None:
    screen = Screen()
    screen.type("one\rtwo\rthr")
    screen.read()
    screen.read()
    assert screen.lines == ["one", "two"]
    screen.type("ee\r\x03")
    assert screen.interruptions == 1
    screen.read()
    assert screen.lines == ["one", "two"]
    screen.type("four\r")
    assert screen.lines == ["one", "two", "four"]


def test_too_much_typed_ahead_is_lost_with_a_bell() -> None:
    screen = Screen()
    for _ in range(10):
        screen.type("x" * (MAX_TYPE_AHEAD // 4))
    assert screen.emulator.bells == 6
    screen.type("\x03")
    assert screen.interruptions == 1


def test_a_line_that_is_too_long_is_refused_and_not_cut() -> None:
    screen = Screen(columns=200)
    screen.read()
    screen.type("x" * MAX_LINE)
    screen.type("y")
    screen.type("\r")
    assert screen.errors == [LineRefused]
    assert screen.emulator.bells == 1


def test_a_peer_with_lines_of_its_own_gets_prompts_alone() -> None:
    screen = Screen(interactive=False)
    screen.read()
    screen.type("one\tx\x0c\r")
    screen.terminal.write("result\n")
    screen.read()
    screen.terminal.write("news\n")
    screen.type("\x03")
    assert screen.lines == ["one    x"]
    assert screen.transport.take() == b"> result\n> \nnews\n\n"


def test_a_peer_with_lines_of_its_own_never_enters_an_old_one_unseen() -> None:
    screen = Screen(interactive=False)
    history = History()
    history.add("old")
    screen.read(history=history)
    screen.type("new\x1b[A\r")
    assert screen.lines == ["new"]


def test_a_peer_that_lets_us_echo_later_is_edited_for_from_then_on() -> None:
    screen = Screen(interactive=False)
    screen.read()
    screen.type("ab")
    screen.interactive = True
    screen.terminal.screen_changed()
    screen.transport.take()
    screen.type("c\x7f")
    assert screen.transport.take() == b"c\r\x1b[J> ab"


def test_output_comes_above_the_line_being_typed() -> None:
    screen = Screen()
    screen.read()
    screen.type("typed")
    screen.terminal.write("news")
    screen.terminal.write("")
    screen.type("!\r")
    assert screen.emulator.shown() == ["news", "> typed!"]


@pytest.mark.parametrize(("interactive", "shown"), [(True, b"\r\x1b[5C\nbye\n"), (False, b"\nbye\n")])
def test_a_goodbye_comes_below_the_line_and_ends_it(interactive: bool, shown: bytes) -> None:
    screen = Screen(interactive=interactive)
    screen.read()
    screen.type("abc\x02")
    screen.transport.take()
    screen.terminal.say_goodbye("bye\n")
    assert screen.transport.take() == shown
    assert screen.errors == [EndOfInput]


def test_a_prompt_begins_a_row() -> None:
    screen = Screen()
    screen.terminal.write("no end")
    screen.read()
    assert screen.emulator.shown() == ["no end", ">"]


def test_a_window_of_another_width() -> None:
    screen = Screen(columns=40)
    screen.terminal.screen_changed()
    screen.read()
    screen.type("x" * 30)
    screen.columns = 20
    screen.emulator = Emulator(20)
    screen.emulator.feed("> " + "x" * 30)
    screen.terminal.screen_changed()
    screen.type("y")
    assert screen.emulator.shown() == ["> " + "x" * 18, "x" * 12 + "y"]


def test_a_window_of_another_width_is_followed_without_a_key() -> None:
    screen = Screen(columns=40)
    screen.read()
    screen.type("x" * 30)
    screen.transport.take()
    screen.columns = 20
    screen.emulator = Emulator(20)
    screen.emulator.feed("> " + "x" * 30)
    screen.terminal.screen_changed()
    screen.transport.settle()
    assert screen.transport.take().endswith(b"\x1b[J> " + b"x" * 30)


def test_widths_that_change_without_end_are_shown_as_fast_as_the_peer_reads() -> None:
    screen = Screen(window=0)
    screen.transport.set_protocol(typing.cast("typing.Any", screen.terminal))
    screen.read()
    screen.type("x" * 8000)
    for turn in range(50):
        for _ in range(50):
            screen.columns = 40 + (screen.columns + 1) % 2
            screen.terminal.screen_changed()
        screen.columns = 40 + turn % 2
        screen.terminal.screen_changed()
        screen.transport.settle()
    assert screen.transport.waiting < 100_000
    screen.columns = 60
    screen.terminal.screen_changed()
    screen.transport.take()
    screen.transport.allow(None)
    screen.transport.settle()
    assert screen.transport.take().endswith(b"\x1b[J> " + b"x" * 8000)


def test_another_encoding() -> None:
    screen = Screen()
    screen.encoding = "iso8859-1"
    screen.terminal.screen_changed()
    screen.read()
    screen.terminal.data_received(b"\xe9\r")
    screen.transport.settle()
    assert screen.lines == ["\xe9"]


class Completing:
    """Answers when it is told to."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answer: Deferred[Completion] = Deferred()

    def __call__(self, before: str) -> Deferred[Completion]:
        self.asked.append(before)
        self.answer = Deferred()
        return self.answer


def test_completion_inserts_what_all_choices_have_in_common_and_then_shows_them() -> None:
    screen = Screen(columns=20)
    complete = Completing()
    screen.read(complete=complete)
    screen.type("x.sta\x1b[D\x1b[C\tW\x7f")
    assert complete.asked == ["x.sta"]
    assert screen.emulator.shown() == ["> x.sta"]
    complete.answer.callback(Completion(2, ["start", "started", "starts"]))
    assert screen.emulator.shown() == ["> x.start"]
    screen.type("\t")
    complete.answer.callback(Completion(2, ["start", "started", "starts"]))
    assert screen.emulator.shown() == ["> x.start", "start    starts", "started", "> x.start"]
    screen.type("x\t")
    complete.answer.callback(Completion(2, []))
    screen.type("\t")
    complete.answer.errback(RuntimeError("whatever"))
    assert screen.emulator.bells == 2
    screen.type("\r")
    assert screen.lines == ["x.startx"]


def test_a_completion_that_takes_long_is_interrupted() -> None:
    screen = Screen()
    complete = Completing()
    screen.read(complete=complete)
    screen.type("x.\tabc\r\x03")
    assert complete.answer.called
    assert screen.errors == [LineInterrupted]
    assert screen.lines == []


def test_many_choices_are_not_all_shown() -> None:
    screen = Screen(columns=40)
    complete = Completing()
    screen.read(complete=complete)
    screen.type("x\t")
    complete.answer.callback(
        Completion(0, [f"x{number:05}" for number in range(1, MAX_CHOICES + 100)] + ["xy"])
    )
    assert "... and 100 more" in screen.emulator.shown()
    assert len(screen.emulator.shown()) < MAX_CHOICES


def test_a_peer_that_does_not_read_is_not_read_from_but_may_interrupt() -> None:
    screen = Screen(window=0)
    screen.transport.set_protocol(typing.cast("typing.Any", screen.terminal))
    screen.read_all()
    screen.type("x\r" * 30_000)
    screen.type("x\r" * 30_000)
    assert screen.transport.waiting < 100_000
    taken = len(screen.lines)
    screen.type("\x03")
    screen.transport.allow(None)
    screen.transport.clock.advance(1)
    assert len(screen.lines) <= taken + 1


def test_a_burst_of_lines_is_taken_in_turns() -> None:
    screen = Screen()
    screen.read_all()
    screen.terminal.data_received(b"\r" * 1000)
    assert 0 < len(screen.lines) < 1000
    screen.transport.settle()
    assert len(screen.lines) == 1000


def test_the_end_of_the_stream_ends_lines_once_all_keys_are_used() -> None:
    screen = Screen(interactive=False)
    screen.type("one\rrest")
    screen.terminal.input_ended()
    screen.read()
    screen.read()
    assert screen.lines == ["one"]
    assert screen.errors == [EndOfInput]
    screen.transport.clock.advance(HALF_CLOSED)
    assert screen.transport.lost


def test_a_lost_connection_ends_everything() -> None:
    screen = Screen()
    complete = Completing()
    screen.read(complete=complete)
    screen.type("x\t")
    screen.terminal.input_ended()
    screen.terminal.connection_lost()
    assert screen.errors == [EndOfInput]
    assert complete.answer.called
    screen.read()
    screen.terminal.write("to nobody")
    screen.terminal.data_received(b"x\r")
    assert screen.errors == [EndOfInput, EndOfInput]
    assert screen.transport.clock.next_time() is None
    assert lines.HALF_CLOSED > 0
