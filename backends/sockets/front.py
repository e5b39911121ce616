"""What every reactor of ours does in the same way, whatever waits for its sockets."""

from __future__ import annotations

import collections
import logging
import os
import socket
import threading
import time
import typing

from backends.sockets import connector, listener, names
from backends.sockets.datagram import connected_datagrams, listening_datagrams
from backends.sockets.threads import ThreadPool
from portable.deferred import fail
from portable.errors import FAILURES, CapabilityMissing
from portable.reactor import CAPABILITIES

if typing.TYPE_CHECKING:
    from backends.sockets.datagram import SocketDatagrams
    from backends.sockets.process import ChildProcess
    from backends.sockets.reactor import Channel, Watcher
    from portable.clock import Timer
    from portable.deferred import Deferred
    from portable.process import ProcessFactory
    from portable.protocol import DatagramProtocol, ProtocolFactory, StreamProtocol
    from portable.timers import TimerHeap

__all__ = ["Front", "QueuedCall", "SocketFront"]

_log = logging.getLogger("portable.reactor")

_now = time.monotonic

# Seconds that `close` waits for all the calls that are under way in threads.
_PATIENCE = 5.0
# Turns that `close` gives to connections which end by opening others.
_MOST_CLOSING_TURNS = 10

T = typing.TypeVar("T")
P = typing.TypeVar("P", bound="StreamProtocol")


class QueuedCall:
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
            except FAILURES:
                _log.exception("a call from the loop failed")


class Front:
    """The part of a `portable.reactor.Reactor` that is not sockets.

    A subclass turns the loop. It runs `_ready` and `_flush`, and `_timers` when they are due, keeps `_lag`, and
    calls `_end_everything` when it closes.

    Attributes:
        poller: what watches descriptors.
        channels: the channel of each descriptor; see `backends.sockets.reactor`.
        dirty: what has to `flush` at the end of the turn.
    """

    name: str
    channels: dict[int, Channel]
    dirty: list[typing.Any]
    _timers: TimerHeap

    def __init__(self) -> None:
        self.channels = {}
        self.dirty = []
        self._ready: collections.deque[QueuedCall] = collections.deque()
        self._pool = ThreadPool(self)
        # Of its own: look-ups that a dead name server does not answer must not hold up files and passwords.
        self._resolver = ThreadPool(self)
        # What somebody waits for, and what `close` cancels.
        self._awaited: set[Deferred[typing.Any]] = set()
        self._running = False
        self._closed = False
        self._signals: dict[int, tuple[typing.Callable[..., object], tuple[object, ...]]] = {}
        self._old_handlers: dict[int, typing.Any] = {}
        self._lag = 0.0
        self._lag_since: dict[str, float] = {}

    @property
    def poller(self) -> Watcher:
        """See above."""
        raise NotImplementedError  # left to the subclass

    def call_soon_threadsafe(self, callback: typing.Callable[..., object], *args: object) -> QueuedCall:
        """See `Threads.call_soon_threadsafe`."""
        raise NotImplementedError  # left to the subclass

    # Life

    @property
    def capabilities(self) -> frozenset[str]:
        """See `Life.capabilities`."""
        missing = self._lacking()
        if os.name != "posix":
            missing.add("processes")
        if threading.current_thread() is not threading.main_thread():
            missing.add("signals")
        return frozenset(CAPABILITIES) - missing

    def _lacking(self) -> set[str]:
        """Return the capabilities that this kind of reactor does not have here."""
        return set()

    def _require(self, capability: str) -> None:
        if capability not in self.capabilities:
            raise CapabilityMissing(self.name, capability, "this system does not have it")

    @property
    def running(self) -> bool:
        """See `Life.running`."""
        return self._running

    def loop_lag(self, asker: str = "") -> float:
        """See `Life.loop_lag`."""
        lag, self._lag = self._lag, 0.0
        for other, earlier in self._lag_since.items():
            self._lag_since[other] = max(earlier, lag)
        answer = self._lag_since.get(asker, lag)
        self._lag_since[asker] = 0.0
        return answer

    def _flush(self) -> None:
        dirty = iter(self.dirty[:])
        self.dirty.clear()
        try:
            for stream in dirty:
                stream.flush()
        except BaseException:
            # Such as KeyboardInterrupt. Streams know that they are on the list and would not come back to it.
            self.dirty.extend(dirty)
            raise

    def _awaiting(self, result: Deferred[T]) -> Deferred[T]:
        """Return `result`, which `close` is to cancel if nothing has come of it until then."""
        self._awaited.add(result)

        def done(value: T) -> T:
            self._awaited.discard(result)
            return value

        def failed(error: Exception) -> Deferred[T]:
            self._awaited.discard(result)
            # Not raised: what is no `Exception`, such as a KeyboardInterrupt in a thread, would end the loop.
            return fail(error)

        result.add_callbacks(done, failed)
        return result

    def _end_everything(self) -> None:
        """Have all that is open end, and tell everybody who waits."""
        for _ in range(_MOST_CLOSING_TURNS):
            self._abort_all()
            for result in list(self._awaited):
                result.cancel()
            for _ in range(len(self._ready)):
                self._ready.popleft().run()
            self._flush()
            self._settle()
            if not (self._anything_open() or self._awaited or self._ready or self.dirty):
                break
        self._resolver.close(0.0)
        self._pool.close(_PATIENCE)

    def _abort_all(self) -> None:
        for channel in list(self.channels.values()):
            channel.abort()

    def _settle(self) -> None:
        """Do what is otherwise left to the wait that follows, where it is more than waiting."""

    def _anything_open(self) -> bool:
        return bool(self.channels)

    # Time

    def time(self) -> float:
        """See `Clock.time`."""
        return _now()

    def call_soon(self, callback: typing.Callable[..., object], *args: object) -> QueuedCall:
        """See `Clock.call_soon`."""
        call = QueuedCall(callback, args)
        self._ready.append(call)
        return call

    def call_later(self, delay: float, callback: typing.Callable[..., object], *args: object) -> Timer:
        """See `Clock.call_later`."""
        return self._timers.call_at(_now() + delay, callback, args)

    def call_at(self, when: float, callback: typing.Callable[..., object], *args: object) -> Timer:
        """See `Clock.call_at`."""
        return self._timers.call_at(when, callback, args)

    # Threads and names

    def run_in_thread(self, function: typing.Callable[..., T], *args: object) -> Deferred[T]:
        """See `Threads.run_in_thread`."""
        return self._awaiting(self._pool.run(function, *args))

    def resolve(self, host: str) -> Deferred[list[str]]:
        """See `Names.resolve`."""
        return self._awaiting(names.resolve(self._resolver, host))

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
        # Here, because systems without child processes cannot load it.
        from backends.sockets.process import ChildProcess

        return ChildProcess(self, factory(), argv, env, cwd, merge_stderr=merge_stderr)

    def _require_signals(self) -> None:
        if "signals" not in self.capabilities:
            raise CapabilityMissing(self.name, "signals", "signals come to the main thread only; run it there")

    def _on_signal(self, signum: int, _frame: object) -> None:
        entry = self._signals.get(signum)
        if entry is not None:
            self.call_soon_threadsafe(entry[0], *entry[1])


class SocketFront(Front):
    """The part of a reactor whose sockets are CPython's: what opens them."""

    def _lacking(self) -> set[str]:
        missing = super()._lacking()
        if not hasattr(socket, "AF_UNIX"):
            missing.add("unix")
        if os.name != "posix":
            missing.add("adopt")
        return missing

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
        return self._awaiting(connector.connect(self, factory, host, port, timeout, local_host))

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
        return self._awaiting(connector.connect_unix(self, factory, path, timeout))

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
