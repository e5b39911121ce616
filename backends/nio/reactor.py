"""The loop over Java's selector, and the capabilities it offers.

`portable.reactor` states what each method does and in what order a turn of the loop does its work. Sockets are
Java's; timers, threads, names, signals and child processes are Python's, as on every backend.
"""

from __future__ import annotations

import collections
import logging
import math
import os
import signal
import threading
import time
import typing

from backends.nio import connector, listener
from backends.nio.bridge import find_bridge, what_is_missing
from backends.nio.datagram import NioDatagrams, connected_datagrams, listening_datagrams
from backends.nio.exchange import Exchange
from backends.nio.wakeup import WakeUp
from backends.sockets import names
from backends.sockets.threads import ThreadPool
from portable.errors import CapabilityMissing, LocalProtocolError
from portable.reactor import CAPABILITIES
from portable.timers import TimerHeap

if typing.TYPE_CHECKING:
    from backends.nio.bridge import Bridge
    from backends.nio.pipes import PipeWatcher
    from backends.sockets.process import ChildProcess
    from backends.sockets.reactor import Channel
    from portable.deferred import Deferred
    from portable.process import ProcessFactory
    from portable.protocol import DatagramProtocol, ProtocolFactory, StreamProtocol
    from portable.reactor import Listener, Timer

__all__ = ["NioReactor"]

_log = logging.getLogger("portable.nio")

_now = time.monotonic

# Seconds. Java takes milliseconds in an int; waking up in between costs nothing.
_LONGEST_WAIT = 24 * 3600.0
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


class _Flushable(typing.Protocol):
    def flush(self) -> None:
        """Send what waits."""


class NioReactor:
    """A `portable.reactor.Reactor` over java.nio.

    Args:
        bridge: the way to a pump of this reactor's own; None finds one, and starts a JVM if there is none yet.
            After that this process must not fork.

    Raises:
        ConfigurationError: there is no JVM, or something else is missing: see `missing`.
    """

    name = "nio"

    def __init__(self, bridge: Bridge | None = None) -> None:
        self.bridge = find_bridge().make_bridge() if bridge is None else bridge
        self.exchange = Exchange(self.bridge)
        self._poll = self.exchange.poll
        # Of descriptors of Python's, such as pipes to children: see backends.sockets.reactor.
        self.channels: dict[int, Channel] = {}
        # Streams of ours, and of pipes.
        self.dirty: list[typing.Any] = []
        self._ready: collections.deque[_Call] = collections.deque()
        self._timers = TimerHeap(_now)
        self._wake_up = WakeUp(self.bridge, self.exchange)
        self._pool = ThreadPool(self)
        self._pipes: PipeWatcher | None = None
        self._stopping = False
        self._running = False
        self._turning = False
        self._closed = False
        self._signals: dict[int, tuple[typing.Callable[..., object], tuple[object, ...]]] = {}
        self._old_handlers: dict[int, typing.Any] = {}
        self._old_wakeup_fd: int | None = None
        self._busy_since = _now()
        self._lag = 0.0

    @staticmethod
    def missing() -> str:
        """Return why this reactor cannot run here, in one line; "" if it can. Starts no JVM."""
        return what_is_missing()

    # Life

    @property
    def capabilities(self) -> frozenset[str]:
        """See `Life.capabilities`."""
        missing = {"adopt"}
        if os.name != "posix":
            missing.add("processes")
        if threading.current_thread() is not threading.main_thread():
            missing.add("signals")
        return frozenset(CAPABILITIES) - missing

    @property
    def running(self) -> bool:
        """See `Life.running`."""
        return self._running

    def run(self) -> None:
        """See `Life.run`."""
        self._check_idle()
        self._running = True
        self._stopping = False
        self._busy_since = _now()
        woken = self._wake_on_signals()
        try:
            while not self._stopping:
                self._turn(None)
        finally:
            self._running = False
            if woken:
                self._stop_waking_on_signals()

    def stop(self) -> None:
        """See `Life.stop`."""
        self._stopping = True

    def step(self, timeout: float | None = 0.0) -> None:
        """See `Life.step`."""
        self._check_idle()
        # What the host did between two steps is not our lag.
        self._busy_since = _now()
        self._stopping = False
        self._turn(timeout)

    def _check_idle(self) -> None:
        if self._running:
            raise LocalProtocolError("the reactor is running: it turns by itself")
        if self._turning:
            raise LocalProtocolError("this was called from a turn of the loop, and would begin another")

    def _turn(self, timeout: float | None) -> None:
        ready = self._ready
        self._turning = True
        try:
            if ready:
                for _ in range(len(ready)):
                    ready.popleft().run()
            if self.dirty:
                self._flush()
            now = _now()
            due = self._timers.next_time()
            if ready or self.dirty or self._stopping:
                wait = 0
            else:
                if due is not None and (timeout is None or due - now < timeout):
                    timeout = due - now
                # Rounded up, or the loop would turn idly until the time has come.
                wait = -1 if timeout is None else math.ceil(1000 * min(timeout, _LONGEST_WAIT))
                if timeout is not None and wait < 0:
                    wait = 0
            if now - self._busy_since > self._lag:  # noqa: PLR1730 - max() would cost a call in every turn
                self._lag = now - self._busy_since
            result = self._poll(wait)
            self._busy_since = now = _now()
            self.exchange.deliver(result)
            if due is not None and due <= now:
                self._timers.run_due(now)
        finally:
            self._turning = False

    def _flush(self) -> None:
        dirty: typing.Iterator[_Flushable] = iter(self.dirty)
        self.dirty = []
        try:
            for stream in dirty:
                stream.flush()
        except BaseException:
            # Such as KeyboardInterrupt. Streams know that they are on the list, and would not come back to it.
            self.dirty.extend(dirty)
            raise

    def loop_lag(self) -> float:
        """See `Life.loop_lag`."""
        lag, self._lag = self._lag, 0.0
        return lag

    def close(self) -> None:
        """See `Life.close`."""
        if self._closed:
            return
        self._closed = True
        for signum in list(self._signals):
            self.remove_signal_handler(signum)
        pumped = self.exchange.channels
        del pumped[self._wake_up.id]
        for _ in range(_MOST_CLOSING_TURNS):
            for channel in list(pumped.values()):
                channel.abort()
            for pipe in list(self.channels.values()):
                pipe.abort()
            for _ in range(len(self._ready)):
                self._ready.popleft().run()
            self._flush()
            self.exchange.apply()
            for channel in list(pumped.values()):
                if isinstance(channel, NioDatagrams):
                    channel.end()
            if not (pumped or self.channels or self._ready or self.dirty):
                break
        self._pool.close()
        if self._pipes is not None:
            self._pipes.close()
        self._wake_up.abort()
        self.exchange.close()
        self.bridge.close()
        pumped.clear()
        self.channels.clear()
        self._ready.clear()

    # Time

    def time(self) -> float:
        """See `Clock.time`."""
        return _now()

    def call_soon(self, callback: typing.Callable[..., object], *args: object) -> _Call:
        """See `Clock.call_soon`."""
        call = _Call(callback, args)
        self._ready.append(call)
        return call

    def call_later(self, delay: float, callback: typing.Callable[..., object], *args: object) -> Timer:
        """See `Clock.call_later`."""
        return self._timers.call_at(_now() + delay, callback, args)

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
    ) -> listener.NioListener:
        """See `Streams.listen`."""
        return listener.listen_tcp(self, factory, host, port, backlog, reuse_port)

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
    ) -> listener.NioListener:
        """See `UnixSockets.listen_unix`."""
        return listener.listen_unix(self, factory, path, backlog, mode)

    def connect_unix(self, factory: typing.Callable[[], P], path: str, *, timeout: float = 30.0) -> Deferred[P]:
        """See `UnixSockets.connect_unix`."""
        return connector.connect_unix(self, factory, path, timeout)

    def adopt_listener(self, factory: ProtocolFactory, fd: int) -> Listener:
        """See `Adoption.adopt_listener`. Java cannot."""
        advice = "Java opens its sockets itself; let it bind the port, or run on the 'select' reactor"
        raise CapabilityMissing(self.name, "adopt", advice)

    # Datagrams

    def listen_datagram(
        self,
        factory: typing.Callable[[], DatagramProtocol],
        host: str = "",
        port: int = 0,
        *,
        reuse_port: bool = False,
    ) -> NioDatagrams:
        """See `Datagrams.listen_datagram`."""
        return listening_datagrams(self, factory, host, port, reuse_port=reuse_port)

    def connect_datagram(
        self, factory: typing.Callable[[], DatagramProtocol], host: str, port: int
    ) -> NioDatagrams:
        """See `Datagrams.connect_datagram`."""
        return connected_datagrams(self, factory, host, port)

    # Threads and names

    def call_soon_threadsafe(self, callback: typing.Callable[..., object], *args: object) -> _Call:
        """See `Threads.call_soon_threadsafe`."""
        call = _Call(callback, args)
        self._ready.append(call)
        self._wake_up.wake()
        return call

    def run_in_thread(self, function: typing.Callable[..., T], *args: object) -> Deferred[T]:
        """See `Threads.run_in_thread`."""
        return self._pool.run(function, *args)

    def resolve(self, host: str) -> Deferred[list[str]]:
        """See `Names.resolve`."""
        return names.resolve(self, host)

    # Processes and signals

    @property
    def poller(self) -> PipeWatcher:
        """What waits for descriptors of Python's: see backends.sockets.reactor."""
        if self._pipes is None:
            from backends.nio.pipes import PipeWatcher

            self._pipes = PipeWatcher(self, self.channels)
        return self._pipes

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
        if "processes" not in self.capabilities:
            raise CapabilityMissing(self.name, "processes", "this system does not have it")
        from backends.sockets.process import ChildProcess

        return ChildProcess(self, factory(), argv, env, cwd, merge_stderr=merge_stderr)

    def add_signal_handler(self, signum: int, callback: typing.Callable[..., object], *args: object) -> None:
        """See `Signals.add_signal_handler`."""
        if threading.current_thread() is not threading.main_thread():
            raise CapabilityMissing(self.name, "signals", "signals come to the main thread only; run it there")
        if signum not in self._signals:
            # First, because it refuses what is no signal or cannot be caught.
            self._old_handlers[signum] = signal.signal(signum, self._on_signal)
        self._wake_on_signals()
        self._signals[signum] = (callback, args)

    def _on_signal(self, signum: int, _frame: object) -> None:
        entry = self._signals.get(signum)
        if entry is not None:
            self.call_soon_threadsafe(entry[0], *entry[1])

    def remove_signal_handler(self, signum: int) -> None:
        """See `Signals.remove_signal_handler`."""
        if self._signals.pop(signum, None) is None:
            return
        signal.signal(signum, self._old_handlers.pop(signum))
        if not self._signals and not self._running:
            self._stop_waking_on_signals()

    def _wake_on_signals(self) -> bool:
        """Have signals end the wait, which alone they do not; return whether they did not do so before."""
        if self._old_wakeup_fd is not None or threading.current_thread() is not threading.main_thread():
            return False
        self._old_wakeup_fd = signal.set_wakeup_fd(self._wake_up.writer_fd, warn_on_full_buffer=False)
        return True

    def _stop_waking_on_signals(self) -> None:
        if self._old_wakeup_fd is not None and not self._signals:
            signal.set_wakeup_fd(self._old_wakeup_fd)
            self._old_wakeup_fd = None
