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
import collections
import contextvars
import logging
import os
import signal
import socket
import threading
import time
import typing

from backends.asyncio.timers import LoopTimers
from backends.asyncio.watcher import LoopWatcher
from backends.sockets import connector, listener, names
from backends.sockets.datagram import connected_datagrams, listening_datagrams
from backends.sockets.process import ChildProcess
from backends.sockets.threads import ThreadPool
from portable.errors import CapabilityMissing, ConfigurationError, LocalProtocolError
from portable.reactor import CAPABILITIES

if typing.TYPE_CHECKING:
    from backends.sockets.datagram import SocketDatagrams
    from backends.sockets.stream import Stream
    from portable.deferred import Deferred
    from portable.process import ProcessFactory
    from portable.protocol import DatagramProtocol, ProtocolFactory, StreamProtocol
    from portable.reactor import Timer

__all__ = ["AsyncioReactor", "UvloopReactor"]

_log = logging.getLogger("portable.asyncio")

# Turns that `close` gives to connections which end by opening others.
_MOST_CLOSING_TURNS = 10

T = typing.TypeVar("T")
P = typing.TypeVar("P", bound="StreamProtocol")


class _Call:
    """What `call_soon` gives."""

    __slots__ = ("_args", "_callback")

    def __init__(self, callback: typing.Callable[..., object], args: tuple[object, ...]) -> None:
        self._callback: typing.Callable[..., object] | None = callback
        self._args = args

    def cancel(self) -> None:
        """See `Call.cancel`."""
        self._callback = None
        self._args = ()

    def run(self) -> None:
        """Make the call, unless it was cancelled."""
        callback = self._callback
        if callback is not None:
            args = self._args
            self.cancel()
            try:
                callback(*args)
            except Exception:
                _log.exception("a call from the loop failed")


class _Dirty(list["Stream"]):
    """The streams to flush. Anybody may write at any time, so the first one asks for a turn."""

    __slots__ = ("_wanted",)

    def __init__(self, wanted: typing.Callable[[], None]) -> None:
        super().__init__()
        self._wanted = wanted

    def append(self, stream: Stream) -> None:
        super().append(stream)
        self._wanted()


class AsyncioReactor:
    """A `portable.reactor.Reactor` on an asyncio loop.

    Args:
        loop: whose it is to close. None: the running loop, or a new one that `close` closes if none runs.

    Attributes:
        loop: the loop.
    """

    name = "asyncio"

    def __init__(self, loop: asyncio.AbstractEventLoop | None = None) -> None:
        self._owns_loop = False
        if loop is None:
            try:
                loop = asyncio.get_running_loop()
            except RuntimeError:
                loop = self._new_loop()
                self._owns_loop = True
        self.loop = loop
        self.poller = LoopWatcher(loop, self._on_event)
        self.channels: dict[int, typing.Any] = {}
        self.dirty: list[Stream] = _Dirty(self._want_turn)
        self._ready: collections.deque[_Call] = collections.deque()
        self._timers = LoopTimers(loop, self._on_timer)
        self._pool = ThreadPool(self)
        # Whoever's task happens to write or to call us first must not lend its variables to all others.
        self._context = contextvars.copy_context()
        self._turn_wanted = False
        self._inside = False  # in a call from the loop, which looks at what is left when it ends
        self._running = False
        self._stepping = False
        self._stopping = False
        self._closed = False
        self._signals: dict[int, tuple[typing.Callable[..., object], tuple[object, ...]]] = {}
        self._old_handlers: dict[int, typing.Any] = {}
        self._lag = 0.0

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

    def _flush(self) -> None:
        dirty = iter(self.dirty)
        self.dirty = _Dirty(self._want_turn)
        try:
            for stream in dirty:
                stream.flush()
        except BaseException:
            # Such as KeyboardInterrupt. Streams know that they are on the list and would not come back to it.
            self.dirty.extend(dirty)
            raise

    # Life

    @property
    def capabilities(self) -> frozenset[str]:
        """See `Life.capabilities`."""
        missing = set()
        if not hasattr(socket, "AF_UNIX"):
            missing.add("unix")
        if os.name != "posix":
            missing.update({"adopt", "processes", "signals"})
        if threading.current_thread() is not threading.main_thread():
            missing.add("signals")
        return frozenset(CAPABILITIES) - missing

    @property
    def running(self) -> bool:
        """See `Life.running`."""
        return self._running

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

    def loop_lag(self) -> float:
        """See `Life.loop_lag`. Of the loop's turns only our own calls are known."""
        lag, self._lag = self._lag, 0.0
        return lag

    def close(self) -> None:
        """See `Life.close`. The loop is closed too if it was made here, unless it is running."""
        if self._closed:
            return
        self._closed = True
        for signum in list(self._signals):
            self.remove_signal_handler(signum)
        self._inside = True
        for _ in range(_MOST_CLOSING_TURNS):
            for channel in list(self.channels.values()):
                channel.abort()
            for _ in range(len(self._ready)):
                self._ready.popleft().run()
            self._flush()
            if not (self.channels or self._ready or self.dirty):
                break
        self._pool.close()
        self._timers.close()
        self.channels.clear()
        self._ready.clear()
        if self._owns_loop and not self.loop.is_running():
            self.loop.close()

    # Time

    def time(self) -> float:
        """See `Clock.time`."""
        return time.monotonic()

    def call_soon(self, callback: typing.Callable[..., object], *args: object) -> _Call:
        """See `Clock.call_soon`."""
        call = _Call(callback, args)
        self._ready.append(call)
        self._want_turn()
        return call

    def call_later(self, delay: float, callback: typing.Callable[..., object], *args: object) -> Timer:
        """See `Clock.call_later`."""
        return self._timers.call_at(time.monotonic() + delay, callback, args)

    def call_at(self, when: float, callback: typing.Callable[..., object], *args: object) -> Timer:
        """See `Clock.call_at`."""
        return self._timers.call_at(when, callback, args)

    # Streams

    def listen(
        self,
        factory: ProtocolFactory,
        host: str = "",
        port: int = 0,
        *,
        backlog: int = 1024,
        reuse_port: bool = False,
    ) -> listener.SocketListener:
        """See `Streams.listen`."""
        sock = listener.bind_stream(host, port, backlog=backlog, reuse_port=reuse_port)
        return listener.SocketListener(self, sock, factory)

    def connect(
        self,
        factory: typing.Callable[[], P],
        host: str,
        port: int,
        *,
        timeout: float = 30.0,
        local_host: str = "",
    ) -> Deferred[P]:
        """See `Streams.connect`."""
        return connector.connect(self, factory, host, port, timeout, local_host)

    def listen_unix(
        self, factory: ProtocolFactory, path: str, *, backlog: int = 1024, mode: int | None = None
    ) -> listener.SocketListener:
        """See `UnixSockets.listen_unix`."""
        self._require("unix")
        sock = listener.bind_unix(path, backlog=backlog, mode=mode)
        return listener.SocketListener(self, sock, factory, unlink=True)

    def connect_unix(self, factory: typing.Callable[[], P], path: str, *, timeout: float = 30.0) -> Deferred[P]:
        """See `UnixSockets.connect_unix`."""
        self._require("unix")
        return connector.connect_unix(self, factory, path, timeout)

    def adopt_listener(self, factory: ProtocolFactory, fd: int) -> listener.SocketListener:
        """See `Adoption.adopt_listener`."""
        self._require("adopt")
        return listener.SocketListener(self, listener.adopt(fd), factory)

    # Datagrams

    def listen_datagram(
        self,
        factory: typing.Callable[[], DatagramProtocol],
        host: str = "",
        port: int = 0,
        *,
        reuse_port: bool = False,
    ) -> SocketDatagrams:
        """See `Datagrams.listen_datagram`."""
        return listening_datagrams(self, factory, host, port, reuse_port=reuse_port)

    def connect_datagram(
        self, factory: typing.Callable[[], DatagramProtocol], host: str, port: int
    ) -> SocketDatagrams:
        """See `Datagrams.connect_datagram`."""
        return connected_datagrams(self, factory, host, port)

    # Threads and names

    def call_soon_threadsafe(self, callback: typing.Callable[..., object], *args: object) -> _Call:
        """See `Threads.call_soon_threadsafe`."""
        call = _Call(callback, args)
        self._ready.append(call)
        try:
            self.loop.call_soon_threadsafe(self._woken, context=self._context)
        except RuntimeError as exc:  # the loop is closed: there is nobody to make the call
            _log.debug("a call from a thread came too late: %s", exc)
        return call

    def run_in_thread(self, function: typing.Callable[..., T], *args: object) -> Deferred[T]:
        """See `Threads.run_in_thread`."""
        return self._pool.run(function, *args)

    def resolve(self, host: str) -> Deferred[list[str]]:
        """See `Names.resolve`."""
        return names.resolve(self, host)

    # Processes and signals

    def spawn(
        self,
        factory: ProcessFactory,
        argv: typing.Sequence[str],
        *,
        env: typing.Mapping[str, str],
        cwd: str | None = None,
        merge_stderr: bool = False,
    ) -> ChildProcess:
        """See `Processes.spawn`."""
        self._require("processes")
        return ChildProcess(self, factory(), argv, env, cwd, merge_stderr=merge_stderr)

    def add_signal_handler(self, signum: int, callback: typing.Callable[..., object], *args: object) -> None:
        """See `Signals.add_signal_handler`."""
        if "signals" not in self.capabilities:
            raise CapabilityMissing(self.name, "signals", "signals come to the main thread only; run it there")
        self._signals[signum] = (callback, args)
        if signum not in self._old_handlers:
            self._old_handlers[signum] = signal.getsignal(signum)
            # So that the loop wakes up. Some loops lose signals between two runs, so the rest is ours.
            self.loop.add_signal_handler(signum, int)
            signal.signal(signum, self._on_signal)

    def _on_signal(self, signum: int, _frame: object) -> None:
        entry = self._signals.get(signum)
        if entry is not None:
            self.call_soon_threadsafe(entry[0], *entry[1])

    def remove_signal_handler(self, signum: int) -> None:
        """See `Signals.remove_signal_handler`."""
        if self._signals.pop(signum, None) is None:
            return
        if not self.loop.is_closed():
            self.loop.remove_signal_handler(signum)
        signal.signal(signum, self._old_handlers.pop(signum))

    def _require(self, capability: str) -> None:
        if capability not in self.capabilities:
            raise CapabilityMissing(self.name, capability, "this system does not have it")


class UvloopReactor(AsyncioReactor):
    """An `AsyncioReactor` that makes its new loop with uvloop, an optional package."""

    name = "uvloop"

    @staticmethod
    def missing() -> str:
        """Return why it cannot run here, "" if it can."""
        try:
            import uvloop  # noqa: F401 - optional, and only asked for
        except ImportError:
            return "the package uvloop is not installed"
        return ""

    @staticmethod
    def _new_loop() -> asyncio.AbstractEventLoop:
        try:
            import uvloop
        except ImportError as exc:
            raise ConfigurationError("the package uvloop is not installed") from exc
        loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
        return loop
