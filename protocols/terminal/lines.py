"""Reading lines from whoever sits at a terminal, one at a time, and writing between them.

    terminal = LineTerminal(screen, clock)
    name = await terminal.read_line("login: ")
    password = await terminal.read_line("password: ", hidden=True)

Where the screen is interactive the line is edited here: it is shown, with the keys that people know from
    their shell. Elsewhere the peer has lines of its own, and they are only put together. What is typed while
    nobody reads waits.
"""

from __future__ import annotations

import collections
import typing

from portable.deferred import Deferred
from portable.flow import Pacer
from protocols.terminal.display import LineDisplay, columns_of
from protocols.terminal.keys import TAB, Key, KeyDecoder, Text
from protocols.terminal.line import History, Line

if typing.TYPE_CHECKING:
    from portable.clock import Clock, Timer
    from portable.transport import Transport

    # Takes the text before the cursor; gives where the word to complete begins, and what it may become.
    Complete = typing.Callable[[str], Deferred["Completion"]]

__all__ = [
    "HALF_CLOSED",
    "MAX_CHOICES",
    "MAX_TYPE_AHEAD",
    "Completion",
    "EndOfInput",
    "LineInterrupted",
    "LineRefused",
    "LineTerminal",
    "Screen",
]

# Characters and keys that wait while nobody reads; what comes then is lost, with a bell. A file that is pasted.
MAX_TYPE_AHEAD = 65536
# Choices shown. A screen or two.
MAX_CHOICES = 200
# Seconds that a peer who has ended its stream is given: for answers that are under way, no more, since one
# that is gone looks the same.
HALF_CLOSED = 10.0

_BELL = "\x07"


class EndOfInput(Exception):
    """There will be no line: the user has said so on an empty one (^D), or is gone."""


class LineInterrupted(Exception):
    """The user has given the line up (^C)."""


class LineRefused(Exception):
    """The line was longer than `line.MAX_LINE` characters, and is not what its author meant."""


class Completion(typing.NamedTuple):
    """What the text before the cursor may become.

    Attributes:
        start: where the word begins that is to be replaced.
        choices: whole words, sorted.
    """

    start: int
    choices: typing.Sequence[str]


class Screen(typing.Protocol):
    """What a terminal is to us."""

    @property
    def columns(self) -> int:
        """The width of the window in characters."""

    @property
    def interactive(self) -> bool:
        """Whether each key comes as it is hit, and nothing is shown but what we write."""

    @property
    def encoding(self) -> str:
        """Of the bytes that keys send."""

    @property
    def transport(self) -> Transport:
        """What `write` writes to; its buffer counts."""

    def write(self, text: str) -> None:
        r"""Show text, in which "\n" begins a new line."""

    def close(self) -> None:
        """End the connection when everything is shown."""


class LineTerminal:
    """One user at one terminal.

    Args:
        interrupted: called when the user interrupts (^C) while nobody reads; what was typed ahead is gone then.
    """

    def __init__(self, screen: Screen, clock: Clock, interrupted: typing.Callable[[], object]) -> None:
        self.closed = False
        self._screen = screen
        self._clock = clock
        self._interrupted = interrupted
        self._decoder = KeyDecoder(screen.encoding)
        self._encoding = screen.encoding
        self._interactive = screen.interactive
        self._columns = screen.columns
        self._display = LineDisplay(screen.columns)
        self._line = Line()
        self._ahead: collections.deque[Text | Key] = collections.deque()
        self._ahead_size = 0
        self._pacer = Pacer(screen.transport, clock, self._take_next)
        # Of the line being read.
        self._reading: Deferred[str] | None = None
        self._prompt = ""
        self._hidden = False
        self._history: History | None = None
        self._complete: Complete | None = None
        self._completing: Deferred[Completion] | None = None
        self._at_row_start = True
        self._ended = False
        self._half_closed: Timer | None = None

    # For whoever talks to the user.

    def read_line(
        self,
        prompt: str,
        *,
        hidden: bool = False,
        history: History | None = None,
        complete: Complete | None = None,
    ) -> Deferred[str]:
        """Read the next line.

        Args:
            prompt: is shown before it.
            hidden: show nothing of it: a password.
            history: lines to go back to; the caller adds to it.
            complete: called for the key Tab, which without it inserts spaces.

        Returns:
            The line without its end. Fails with EndOfInput, LineInterrupted or LineRefused.
        """
        reading: Deferred[str] = Deferred()
        if self.closed:
            reading.errback(EndOfInput())
            return reading
        self._reading = reading
        self._prompt = prompt
        self._hidden = hidden
        self._history = history
        self._complete = complete
        self._line = Line()
        if not self._at_row_start:
            self._put("\n")
        self._put(self._drawn() if self._interactive else prompt)
        self._clock.call_soon(self._pacer.wake)
        return reading

    def write(self, text: str) -> None:
        """Show text; if a line is being read, above it."""
        if not text or self.closed:
            return
        if self._reading is None:
            self._put(text)
            return
        if not self._interactive:
            # The user's line is on a screen of its own.
            self._put("\n" + text)
            return
        self._put(self._display.erase() + text + ("" if text.endswith("\n") else "\n") + self._drawn())

    def say_goodbye(self, text: str) -> None:
        """Show text below the line that is being read, and read no further."""
        if self._reading is not None:
            self._put(self._display.leave() if self._interactive else "\n")
        self._put(text)
        self._fail(EndOfInput())

    # For what brings the keys.

    def data_received(self, data: bytes) -> None:
        """Take keys."""
        self._decoder.receive_data(data)
        while not self.closed:
            key = self._decoder.next_key()
            if key is None:
                break
            if key is Key.INTERRUPT:
                # What came before it is used, as far as somebody reads.
                self._pacer.wake()
                self._interrupt()
            else:
                self._keep(key)
        self._pacer.wake()

    def input_ended(self) -> None:
        """Take that no more keys will come: when those that have are used up, lines end."""
        self._ended = True
        self._half_closed = self._clock.call_later(HALF_CLOSED, self._screen.close)
        self._pacer.wake()

    def screen_changed(self) -> None:
        """Look at the screen's attributes again."""
        if self._encoding != self._screen.encoding:
            self._encoding = self._screen.encoding
            self._decoder.set_encoding(self._encoding)
        interactive, self._interactive = self._interactive, self._screen.interactive
        if self._reading is not None and self._interactive and not interactive:
            # What is typed so far was shown by the peer.
            self._drawn()
        # A new width shows with the next key or turn, and if the peer takes what we write: it may tell hundreds
        # at once, and each has us show the whole line.
        self._clock.call_soon(self._pacer.wake)

    def pause_writing(self) -> None:
        """See `Protocol.pause_writing`: no more lines are taken."""
        self._pacer.pause_writing()

    def resume_writing(self) -> None:
        """See `Protocol.resume_writing`."""
        self._pacer.resume_writing()

    def connection_lost(self) -> None:
        """Let the line that is being read end."""
        self.closed = True
        self._pacer.stop()
        self._ahead.clear()
        if self._half_closed is not None:
            self._half_closed.cancel()
        if self._completing is not None:
            self._completing.cancel()
        self._fail(EndOfInput())

    # Keys.

    def _keep(self, key: Text | Key) -> None:
        size = len(key.text) if isinstance(key, Text) else 1
        if self._ahead_size + size > MAX_TYPE_AHEAD:
            self._put_unless_crowded(_BELL)
            return
        self._ahead.append(key)
        self._ahead_size += size

    def _interrupt(self) -> None:
        """Forget what was typed, as terminals do, and tell whoever is concerned."""
        self._ahead.clear()
        self._ahead_size = 0
        if self._reading is None:
            self._put_unless_crowded("^C\n")
            self._interrupted()
            return
        if self._is_crowded():
            return
        if self._interactive:
            self._put(self._display.leave().removesuffix("\n") + "^C")
        self._put("\n")
        self._fail(LineInterrupted())
        if self._completing is not None:
            self._completing.cancel()

    def _take_next(self) -> bool:
        """Use one key, or a new width; return whether there may be more to do."""
        if self._columns != self._screen.columns:
            self._resize()
            return True
        if self._reading is None or self._completing is not None:
            return False
        if not self._ahead:
            if self._ended:
                self._fail(EndOfInput())
            return False
        key = self._ahead.popleft()
        self._ahead_size -= len(key.text) if isinstance(key, Text) else 1
        if key is Key.ENTER:
            self._enter()
        elif key is Key.END_OF_FILE and not self._line.text:
            self._put("\n")
            self._fail(EndOfInput())
        elif key is Key.TAB and self._interactive:
            self._complete_word()
        elif key is Key.CLEAR:
            if self._interactive:
                self._put(self._display.clear())
        else:
            self._edit(key)
        return True

    def _resize(self) -> None:
        self._columns = self._screen.columns
        resized = self._display.resize(self._columns)
        if self._reading is not None and self._interactive:
            self._put(resized)

    def _enter(self) -> None:
        line = self._line
        if self._interactive:
            self._put(self._display.leave())
        # Else the peer has shown the end of the line itself.
        self._at_row_start = True
        if line.overflowed:
            self._fail(LineRefused())
            return
        reading, self._reading = self._reading, None
        if reading is not None:
            reading.callback(line.text)

    def _fail(self, error: Exception) -> None:
        reading, self._reading = self._reading, None
        if reading is not None:
            reading.errback(error)

    def _edit(self, key: Text | Key) -> None:
        line = self._line
        fits = True
        if isinstance(key, Text):
            fits = line.insert(key.text)
        elif key is Key.TAB:
            fits = line.insert(TAB)
        elif key is Key.YANK:
            fits = line.yank()
        elif key in _MOVES:
            line.move(_MOVES[key](line))
        elif key in _DELETIONS:
            line.delete(*_DELETIONS[key](line))
        elif key in _KILLS:
            line.kill(*_KILLS[key](line))
        else:
            self._recall(key)
        if not fits:
            self._put(_BELL)
        if self._interactive and not self._hidden:
            self._put(self._display.change(line.text, line.cursor))

    def _recall(self, key: Text | Key) -> None:
        """Go up or down in the history; but only for somebody who sees it."""
        if self._history is None or self._hidden or not self._interactive:
            return
        recalled = self._history.back(self._line.text) if key is Key.UP else self._history.forth()
        if recalled is not None:
            self._line.replace(recalled)

    # Completion.

    def _complete_word(self) -> None:
        before = self._line.text[: self._line.cursor]
        if self._complete is None or not before.strip() or self._hidden:
            self._edit(Key.TAB)
            return
        # Nothing else is done until it is there.
        self._completing = self._complete(before)
        self._completing.add_callbacks(self._completed, self._not_completed)

    def _completed(self, completion: Completion) -> None:
        self._completing = None
        if self._reading is not None:
            self._offer(completion)
        self._pacer.wake()

    def _not_completed(self, error: Exception) -> None:
        self._completed(Completion(0, ()))

    def _offer(self, completion: Completion) -> None:
        """Insert what all choices have in common, or else show them."""
        choices = completion.choices
        line = self._line
        typed = line.cursor - completion.start
        common = _common_prefix(choices)
        if len(common) > typed:
            line.delete(completion.start, line.cursor)
            line.insert(common)
            self._put(self._display.change(line.text, line.cursor))
        elif len(choices) > 1:
            self._put(self._display.leave() + _in_columns(choices, self._screen.columns) + self._drawn())
        else:
            self._put(_BELL)

    # Showing.

    def _drawn(self) -> str:
        shown = "" if self._hidden else self._line.text
        return self._display.draw(self._prompt, shown, 0 if self._hidden else self._line.cursor)

    def _is_crowded(self) -> bool:
        """Return whether the peer does not take what we write: for what is answered at once, however often."""
        transport = self._screen.transport
        return transport.get_write_buffer_size() > transport.get_write_buffer_limits()[1]

    def _put_unless_crowded(self, text: str) -> None:
        if not self._is_crowded():
            self._put(text)

    def _put(self, text: str) -> None:
        if text and not self.closed:
            self._at_row_start = text.endswith("\n")
            self._screen.write(text)


_MOVES: dict[Text | Key, typing.Callable[[Line], int]] = {
    Key.LEFT: lambda line: line.cursor - 1,
    Key.RIGHT: lambda line: line.cursor + 1,
    Key.WORD_LEFT: Line.word_left,
    Key.WORD_RIGHT: Line.word_right,
    Key.HOME: lambda _line: 0,
    Key.END: lambda line: len(line.text),
}
_DELETIONS: dict[Text | Key, typing.Callable[[Line], tuple[int, int]]] = {
    Key.BACKSPACE: lambda line: (line.cursor - 1, line.cursor),
    Key.DELETE: lambda line: (line.cursor, line.cursor + 1),
    Key.END_OF_FILE: lambda line: (line.cursor, line.cursor + 1),
}
_KILLS: dict[Text | Key, typing.Callable[[Line], tuple[int, int]]] = {
    Key.KILL_LEFT: lambda line: (0, line.cursor),
    Key.KILL_RIGHT: lambda line: (line.cursor, len(line.text)),
    Key.KILL_WORD_LEFT: lambda line: (line.word_left(), line.cursor),
    Key.KILL_WORD_RIGHT: lambda line: (line.cursor, line.word_right()),
}


def _common_prefix(words: typing.Sequence[str]) -> str:
    if not words:
        return ""
    first, last = min(words), max(words)
    length = 0
    while length < min(len(first), len(last)) and first[length] == last[length]:
        length += 1
    return first[:length]


def _in_columns(words: typing.Sequence[str], columns: int) -> str:
    """Return the words in as many columns as there is room for, and how many more there are."""
    shown = words[:MAX_CHOICES]
    size = max([columns_of(word) for word in shown]) + 2
    count = max(1, columns // size)
    rows = -(-len(shown) // count)
    lines = []
    for row in range(rows):
        cells = [word + " " * (size - columns_of(word)) for word in shown[row::rows]]
        lines.append("".join(cells).rstrip() + "\n")
    if len(words) > len(shown):
        lines.append(f"... and {len(words) - len(shown)} more\n")
    return "".join(lines)
