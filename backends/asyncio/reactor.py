"""Our `Reactor` interface on an asyncio event loop, so that our protocols run inside an asyncio program.

The sockets are ours, and their code is that of the other backend for CPython; the loop only says when they are
ready (`add_reader`, `add_writer`). Transports of asyncio's own differ between loops in what they do in many
places where `portable.transport` promises one thing: an end of stream while reading is paused, a pause from
inside `write`, writing after `close`, what an error is called. Nothing of that shows here.

A reactor may share its loop with anything. Then the loop runs as its owner says (`asyncio.run`), and `run`,
`stop` and `step` of the reactor are not for use. Where nobody runs the loop, they work as everywhere, with two
limits: `step` goes on waiting while only what is not ours happens in the loop, until its timeout; and
`loop_lag` knows the longest of our own calls only.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import os
import signal
import time
import typing

from backends.asyncio.timers import LoopTimers
from backends.asyncio.watcher import LoopWatcher
from backends.sockets.front import QueuedCall, SocketFront
from portable.errors import ConfigurationError, LocalProtocolError

if typing.TYPE_CHECKING:
    from backends.sockets.stream import Stream

__all__ = ["AsyncioReactor", "UvloopReactor"]

_log = logging.getLogger("portable.asyncio")

_NO_UVLOOP = "the package uvloop is not installed; pip install uvloop brings it"


class _Dirty(list["Stream"]):
    """The streams to flush. Anybody may write at any time, so the first one asks for a turn."""

    __slots__ = ("_wanted",)

    def __init__(self, wanted: typing.Callable[[], None]) -> None:
        super().__init__()
        self._wanted = wanted

    def append(self, stream: Stream) -> None:
        super().append(stream)
        self._wanted()


class AsyncioReactor(SocketFront):
    """A `portable.reactor.Reactor` on an asyncio loop.

    Args:
        loop: whose it is to close. None: the running loop, or a new one that `close` closes if none runs.

    Attributes:
        loop: the loop.
    """

    name = "asyncio"
    _timers: LoopTimers

    def __init__(self, loop: asyncio.AbstractEventLoop | None = None) -> None:
        super().__init__()
        self._owns_loop = False
        if loop is None:
            try:
                loop = asyncio.get_running_loop()
            except RuntimeError:
                loop = self._new_loop()
                self._owns_loop = True
        self.loop = loop
        self._poller = LoopWatcher(loop, self._on_event)
        self.dirty = _Dirty(self._want_turn)
        self._timers = LoopTimers(loop, self._on_timer)
        # Whoever's task happens to write or to call us first must not lend its variables to all others.
        self._context = contextvars.copy_context()
        self._turn_wanted = False
        self._inside = False  # in a call from the loop, which looks at what is left when it ends
        self._stepping = False
        self._stopping = False

    @staticmethod
    def _new_loop() -> asyncio.AbstractEventLoop:
        return asyncio.new_event_loop()

    # What the loop calls

    def _want_turn(self) -> None:
        if not self._turn_wanted and not self._inside:
            self._turn_wanted = True
            self.loop.call_soon(self._turn, context=self._context)

    def _turn(self) -> None:
        """Run what was queued, and send."""
        self._turn_wanted = False
        if self._stopping:  # the loop's last turn is over; this is for when it runs again
            self._want_turn()
            return
        began = self._enter()
        try:
            ready = self._ready
            for _ in range(len(ready)):
                if ready:  # not if one of them closed us
                    ready.popleft().run()
        finally:
            self._leave(began)

    def _woken(self) -> None:
        self._turn()
        self._end_step()

    def _on_event(self, fd: int, flags: int) -> None:
        channel = self.channels.get(fd)
        if channel is None:
            return
        began = self._enter()
        try:
            channel.on_event(flags)
        finally:
            self._leave(began)
            self._end_step()

    def _on_timer(self) -> None:
        began = self._enter()
        try:
            self._timers.run()
        finally:
            self._leave(began)
            self._end_step()

    def _enter(self) -> float:
        self._inside = True
        return time.monotonic()

    def _leave(self, began: float) -> None:
        try:
            if self.dirty:
                self._flush()
        finally:
            self._inside = False
            self._lag = max(self._lag, time.monotonic() - began)
            if (self._ready or self.dirty) and not self._closed:
                self._want_turn()
                self._end_step()

    # Life

    @property
    def poller(self) -> LoopWatcher:
        """What watches the descriptors."""
        return self._poller

    def _lacking(self) -> set[str]:
        missing = super()._lacking()
        if os.name != "posix":
            missing.add("signals")
        return missing

    def run(self) -> None:
        """See `Life.run`. Not where somebody else runs the loop."""
        self._refuse_nesting()
        self._running = True
        self._stopping = False
        try:
            self.loop.run_forever()
        finally:
            self._running = False
            self._stopping = False

    def stop(self) -> None:
        """See `Life.stop`. Does nothing where somebody else runs the loop."""
        if self._running:
            self._stop_loop()

    def _stop_loop(self) -> None:
        # Once only: some loops keep a second request for the next time they run.
        if not self._stopping:
            self._stopping = True
            self.loop.stop()

    def step(self, timeout: float | None = 0.0) -> None:
        """See `Life.step`. Calls that are the loop's own do not end the wait. Not where somebody else runs the
        loop.
        """
        self._refuse_nesting()
        self._stepping = True
        self._stopping = False
        limit: asyncio.TimerHandle | None = None
        if timeout is not None and timeout <= 0:
            # A loop stopped in advance makes one turn without waiting.
            self.loop.stop()
        elif timeout is not None:
            limit = self.loop.call_later(timeout, self._end_step)
        try:
            self.loop.run_forever()
        finally:
            self._stepping = False
            self._stopping = False
            if limit is not None:
                limit.cancel()

    def _end_step(self) -> None:
        if self._stepping:
            self._stop_loop()

    def _refuse_nesting(self) -> None:
        if self._running or self._stepping or self.loop.is_running():
            raise LocalProtocolError("the loop is running: it turns by itself")

    def close(self) -> None:
        """See `Life.close`. The loop is closed too if it was made here, unless it is running."""
        if self._closed:
            return
        if self._running or self._stepping:  # by us: see `Life.close`
            self._refuse_nesting()
        self._closed = True
        for signum in list(self._signals):
            self.remove_signal_handler(signum)
        self._inside = True
        self._end_everything()
        self._timers.close()
        self.channels.clear()
        self._ready.clear()
        if self._owns_loop and not self.loop.is_running():
            self.loop.close()

    # Calls

    def call_soon(self, callback: typing.Callable[..., object], *args: object) -> QueuedCall:
        """See `Clock.call_soon`."""
        call = super().call_soon(callback, *args)
        self._want_turn()
        return call

    def call_soon_threadsafe(self, callback: typing.Callable[..., object], *args: object) -> QueuedCall:
        """See `Threads.call_soon_threadsafe`."""
        call = super().call_soon(callback, *args)
        try:
            self.loop.call_soon_threadsafe(self._woken, context=self._context)
        except RuntimeError as exc:  # the loop is closed: there is nobody to make the call
            _log.debug("a call from a thread came too late: %s", exc)
        return call

    # Signals

    def add_signal_handler(self, signum: int, callback: typing.Callable[..., object], *args: object) -> None:
        """See `Signals.add_signal_handler`."""
        self._require_signals()
        self._signals[signum] = (callback, args)
        if signum not in self._old_handlers:
            self._old_handlers[signum] = signal.getsignal(signum)
            # So that the loop wakes up. Some loops lose signals between two runs, so the rest is ours.
            self.loop.add_signal_handler(signum, int)
            signal.signal(signum, self._on_signal)

    def remove_signal_handler(self, signum: int) -> None:
        """See `Signals.remove_signal_handler`."""
        if self._signals.pop(signum, None) is None:
            return
        if not self.loop.is_closed():
            self.loop.remove_signal_handler(signum)
        signal.signal(signum, self._old_handlers.pop(signum))


class UvloopReactor(AsyncioReactor):
    """An `AsyncioReactor` that makes its new loop with uvloop, an optional package."""

    name = "uvloop"

    @staticmethod
    def missing() -> str:
        """Return why it cannot run here, "" if it can."""
        try:
            import uvloop  # noqa: F401 - optional, and only asked for
        except ImportError:
            return _NO_UVLOOP
        return ""

    @staticmethod
    def _new_loop() -> asyncio.AbstractEventLoop:
        try:
            import uvloop
        except ImportError as exc:
            raise ConfigurationError(_NO_UVLOOP) from exc
        loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
        return loop
