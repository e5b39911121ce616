"""Running statements for one user: off the loop, with their output streamed, and stopped when asked.

A statement runs in a thread of the reactor's, so that whatever it does the loop goes on. Two kinds do not:

- one that awaits (`await service.stop(0)`) runs on the loop, since what it awaits lives there;
- all of them, for an application that says so: to look at live protocols without a race.

Those hold the loop up until they wait or end, and cannot be interrupted in between.
"""

from __future__ import annotations

import typing

from portable.deferred import Deferred, ensure_deferred, fail, succeed
from portable.errors import Cancelled
from portable.flow import Pacer
from portable.running.interruption import Interrupted, Interruptible
from portable.running.streams import run_for
from portable.running.textpipe import TextPipe
from protocols.console.completion import complete
from protocols.console.statement import Statement

if typing.TYPE_CHECKING:
    from types import CodeType

    from portable.clock import Clock
    from portable.reactor import Threads
    from portable.running.streams import Audience
    from portable.transport import Transport

    class Loop(Clock, Threads, typing.Protocol):
        """What is needed of a reactor."""


__all__ = ["GRACE", "MAX_RUNNING", "Runner", "Slots"]

T = typing.TypeVar("T")

# Statements that have threads at one time, of all users of a service. The reactor's pool is small, and needed
# for passwords, names and files too.
MAX_RUNNING = 3
# Seconds for a statement to end that was interrupted. Beyond, the next interruption leaves it behind: it
# waits for something in C.
GRACE = 1.0


class Slots:
    """How many statements may have threads, shared by the runners of a service."""

    def __init__(self, most: int = MAX_RUNNING) -> None:
        self._free = most

    def take(self) -> bool:
        """Take one; return whether there was one."""
        if self._free <= 0:
            return False
        self._free -= 1
        return True

    def give_back(self) -> None:
        """Give one back."""
        self._free += 1


class Runner:
    """Runs one statement at a time.

    Args:
        transport: output waits while its buffer is full.
        write: shows output to the user. Called in the loop's thread.
        slots: shared with other users.
        in_thread: whether statements that do not await run in threads.
    """

    def __init__(
        self,
        loop: Loop,
        transport: Transport,
        write: typing.Callable[[str], object],
        slots: Slots,
        *,
        in_thread: bool = True,
    ) -> None:
        self._loop = loop
        self._write = write
        self._slots = slots
        self._in_thread = in_thread
        self._pacer = Pacer(transport, loop, self._pass_on)
        # Of the statement that is running.
        self._pipe: TextPipe | None = None
        self._stop: typing.Callable[[], object] | None = None
        self._give_up: typing.Callable[[], object] | None = None
        self._stopped_at: float | None = None

    @property
    def running(self) -> bool:
        """Whether a statement is under way."""
        return self._pipe is not None

    async def run(self, code: CodeType, namespace: dict[str, typing.Any]) -> bool:
        """Execute a statement; return whether to go on: not after SystemExit. Its errors are output."""
        pipe = TextPipe(lambda: self._loop.call_soon_threadsafe(self._pacer.wake))
        statement = Statement(code, namespace, pipe.write)
        self._pipe = pipe
        self._stopped_at = None
        going_on = True
        try:
            going_on = await self._start(statement)
        except Interrupted:
            pipe.write("KeyboardInterrupt\n")
        except Cancelled:
            pipe.write("(left behind: it is still running)\n")
        except TooManyRunning as error:
            pipe.write(f"{error}\n")
        text = pipe.read()
        pipe.close()
        if self._pipe is pipe:
            self._pipe = self._stop = self._give_up = None
            self._write(text)
            if pipe.lost:
                self._write(f"\n... ({pipe.lost} characters more, written faster than they could be sent)\n")
        return going_on

    def complete(
        self, before: str, namespace: typing.Mapping[str, typing.Any]
    ) -> Deferred[tuple[int, list[str]]]:
        """Complete a name where statements run: see `completion.complete`. Cancelling stops it."""
        return self._call(_Nobody(), lambda: complete(before, namespace))[1]

    def interrupt(self) -> None:
        """Stop what is running, and drop the output that waits; if that was asked for before, and GRACE has not
        sufficed, leave it behind.
        """
        if self._pipe is None or self._stop is None:
            return
        self._pipe.read()
        now = self._loop.time()
        if self._give_up is not None and self._stopped_at is not None and now - self._stopped_at >= GRACE:
            self._give_up()
            return
        if self._stopped_at is None:
            self._stopped_at = now
        self._stop()

    def pause_writing(self) -> None:
        """See `Protocol.pause_writing`."""
        self._pacer.pause_writing()

    def resume_writing(self) -> None:
        """See `Protocol.resume_writing`."""
        self._pacer.resume_writing()

    def close(self) -> None:
        """Stop what is running, and take no more of its output: the user is gone."""
        self._pacer.stop()
        pipe, self._pipe = self._pipe, None
        if pipe is not None:
            pipe.close()
            if self._stop is not None:
                self._stop()

    def _start(self, statement: Statement) -> Deferred[bool]:
        if statement.awaits:
            running = run_for(statement, ensure_deferred, statement.execute_awaiting())
            self._stop = running.cancel
            return running
        stop, running = self._call(statement, statement.execute)
        self._stop = stop
        self._give_up = running.cancel
        return running

    def _call(
        self, audience: Audience, function: typing.Callable[[], T]
    ) -> tuple[typing.Callable[[], object], Deferred[T]]:
        """Call where statements run; return what interrupts the call, and its result."""
        if not self._in_thread:
            return _nothing, succeed(run_for(audience, function))
        if not self._slots.take():
            return _nothing, fail(TooManyRunning(f"{MAX_RUNNING} statements are running; wait for one to end"))
        call = Interruptible(lambda: run_for(audience, function))
        # Cancelled, this forgets the call, which keeps its slot until it ends.
        result: Deferred[T] = Deferred(lambda _: call.interrupt())

        def ended(value: T) -> None:
            self._slots.give_back()
            result.callback(value)

        def failed(error: Exception) -> None:
            self._slots.give_back()
            result.errback(error)

        self._loop.run_in_thread(call.run).add_callbacks(ended, failed)
        return call.interrupt, result

    def _pass_on(self) -> bool:
        text = "" if self._pipe is None else self._pipe.read()
        if text:
            self._write(text)
        return bool(text)


class TooManyRunning(Exception):
    """There is no thread for another statement."""


class _Nobody:
    """Takes what a completion prints."""

    def write(self, text: str) -> None:
        pass

    def display(self, value: object) -> None:
        pass


def _nothing() -> None:
    pass
