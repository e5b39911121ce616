"""One session: somebody at a terminal logs in and types Python."""

from __future__ import annotations

import logging
import sys
import typing

from portable.deferred import ensure_deferred
from portable.logs import escaped
from portable.running.streams import run_for
from protocols.console.runner import Runner
from protocols.console.source import Source
from protocols.console.statement import describe_error
from protocols.terminal.line import MAX_LINE, History
from protocols.terminal.lines import Completion, EndOfInput, LineInterrupted, LineRefused, LineTerminal

if typing.TYPE_CHECKING:
    from types import CodeType

    from portable.clock import Clock
    from portable.deferred import Deferred
    from portable.reactor import Threads
    from protocols.console.runner import Slots
    from protocols.servers.telnet.login import Login
    from protocols.telnet.server import TelnetServer

    class Loop(Clock, Threads, typing.Protocol):
        """What is needed of a reactor."""


__all__ = ["Shell"]

# As the interpreter's own.
_PROMPT = ">>> "
_MORE = "... "
_GOODBYE = "The server is stopping.\n"

_log = logging.getLogger("protocols.telnet")


class Shell:
    """What sits at a telnet server's terminal (`protocols.telnet.server.TerminalUser`).

    Args:
        screen: the other end.
        login: asks who it is.
        namespace: of the console.
        slots: for its statements.
        in_thread: see `Runner`.
        closed: called when the connection is gone.
    """

    def __init__(
        self,
        screen: TelnetServer,
        loop: Loop,
        login: Login,
        namespace: dict[str, typing.Any],
        slots: Slots,
        *,
        in_thread: bool,
        closed: typing.Callable[[], object],
    ) -> None:
        self._closed = closed
        self._screen = screen
        self._login = login
        self._namespace = namespace
        self._source = Source()
        self._history = History()
        self._terminal = LineTerminal(screen, loop, self._interrupt)
        self._runner = Runner(loop, screen.transport, self._terminal.write, slots, in_thread=in_thread)
        self._draining = False
        ensure_deferred(self._serve()).add_callbacks(self._over, self._failed)

    # For the telnet server.

    def data_received(self, data: bytes) -> None:
        """See `TerminalUser.data_received`."""
        self._terminal.data_received(data)

    def input_ended(self) -> None:
        """See `TerminalUser.input_ended`."""
        self._terminal.input_ended()

    def terminal_changed(self) -> None:
        """See `TerminalUser.terminal_changed`."""
        self._terminal.screen_changed()

    def pause_writing(self) -> None:
        """See `Protocol.pause_writing`."""
        self._terminal.pause_writing()
        self._runner.pause_writing()

    def resume_writing(self) -> None:
        """See `Protocol.resume_writing`."""
        self._runner.resume_writing()
        self._terminal.resume_writing()

    def connection_lost(self) -> None:
        """Stop what is running."""
        self._runner.close()
        self._terminal.connection_lost()
        self._closed()

    def drain(self) -> None:
        """Let a statement that is running end, say goodbye, close."""
        self._draining = True
        if not self._runner.running:
            self._say_goodbye()

    # The session.

    async def _serve(self) -> None:
        name = await self._login.ask(self._terminal, self._screen.peer)
        if name:
            self._terminal.write(
                f"Python {sys.version.split()[0]}. ^C stops a statement, ^D ends the session.\n"
            )
            await self._read_and_run(name)
            _log.info("logout: %s", escaped(name))

    async def _read_and_run(self, name: str) -> None:
        going_on = True
        while going_on and not self._draining:
            try:
                line = await self._terminal.read_line(
                    _MORE if self._source.pending else _PROMPT, history=self._history, complete=self._complete
                )
            except EndOfInput:
                return
            except (LineInterrupted, LineRefused) as error:
                self._source.reset()
                self._terminal.write(_NOT_A_LINE[type(error)])
                continue
            self._history.add(line)
            code = self._compile(line)
            if code is not None:
                _log.info("statement: %s: %s", escaped(name), escaped(self._source.text))
                going_on = await self._runner.run(code, self._namespace)
        if self._draining:
            self._say_goodbye()

    def _compile(self, line: str) -> CodeType | None:
        """Return a statement; None if it is not complete, or wrong: then the user has been told."""
        try:
            # The compiler may warn.
            return run_for(_Notes(self._terminal.write), self._source.add, line)
        except (SyntaxError, ValueError, OverflowError, MemoryError, RecursionError) as error:
            self._terminal.write(describe_error(error.with_traceback(None)))
            return None

    def _complete(self, before: str) -> Deferred[Completion]:
        found = self._runner.complete(before, self._namespace)
        return found.add_callback(lambda found: Completion(*found))

    def _interrupt(self) -> None:
        self._runner.interrupt()

    def _say_goodbye(self) -> None:
        self._terminal.say_goodbye(_GOODBYE)
        self._screen.close()

    def _over(self, _: None) -> None:
        self._screen.close()

    def _failed(self, error: Exception) -> None:
        _log.error("a session failed: %s", error, exc_info=error)
        self._screen.close()


_NOT_A_LINE: dict[type[Exception], str] = {
    LineInterrupted: "KeyboardInterrupt\n",
    LineRefused: f"A line of more than {MAX_LINE} characters is refused.\n",
}


class _Notes:
    """Takes the compiler's warnings."""

    def __init__(self, write: typing.Callable[[str], object]) -> None:
        self.write = write

    def display(self, value: object) -> None:
        """Never called: nothing is executed."""
