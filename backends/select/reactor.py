"""The loop over the system's selector, and the capabilities it offers.

`portable.reactor` states what each method does and in what order a turn of the loop does its work.
"""

from __future__ import annotations

import collections
import logging
import os
import signal
import socket
import threading
import time
import typing

from backends.select.pollers import READ, make_poller
from backends.sockets import connector, listener, names
from backends.sockets.datagram import connected_datagrams, listening_datagrams
from backends.sockets.process import ChildProcess
from backends.sockets.threads import ThreadPool
from portable.errors import CapabilityMissing, LocalProtocolError
from portable.reactor import CAPABILITIES
from portable.timers import TimerHeap

if typing.TYPE_CHECKING:
    from backends.sockets.datagram import SocketDatagrams
    from backends.sockets.reactor import Channel
    from backends.sockets.stream import Stream
    from portable.deferred import Deferred
    from portable.process import ProcessFactory
    from portable.protocol import DatagramProtocol, ProtocolFactory, StreamProtocol
    from portable.reactor import Timer

__all__ = ["SelectReactor"]

_log = logging.getLogger("portable.select")

_now = time.monotonic

# Seconds. poll and epoll take no more than 24 days, kqueue some years; waking up in between costs nothing.
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


class _WakeUp:
    """A socket pair whose reading end is always watched: writing to the other ends the wait."""

    def __init__(self, reactor: SelectReactor) -> None:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        self.fd = self._reader.fileno()
        self.writer_fd = self._writer.fileno()
        self._pending = False
        reactor.poller.register(self.fd, READ)
        reactor.channels[self.fd] = self

    def wake(self) -> None:
        """End the wait, now or the next one. From any thread."""
        if not self._pending:
            self._pending = True
            try:
                self._writer.send(b"\0")
            except OSError as exc:  # full, so it will wake; or closed, so there is nobody to wake
                _log.debug("wake-up: %s", exc)

    def on_event(self, flags: int) -> None:
        """Empty the pair. Signals write to it as well, and are not counted by `_pending`."""
        try:
            while len(self._reader.recv(4096)) == 4096:
                pass
        except BlockingIOError:
            pass
        # Only now: a byte sent in between would be taken without being answered, and no other ever sent. Who
        # sees the old value has queued its call already, and the loop looks at the queue before it waits.
        self._pending = False

    def abort(self) -> None:
        """Close both ends."""
        self._reader.close()
        self._writer.close()


class SelectReactor:
    """A `portable.reactor.Reactor` for CPython.

    Args:
        poller: "epoll", "kqueue", "poll" or "select"; None takes the best that the system has.

    Raises:
        ConfigurationError: the system has no such poller.
    """

    name = "select"

    def __init__(self, poller: str | None = None) -> None:
        self.poller = make_poller(poller)
        self._wait = self.poller.wait
        self.channels: dict[int, Channel] = {}
        self.dirty: list[Stream] = []
        self._ready: collections.deque[_Call] = collections.deque()
        self._timers = TimerHeap(_now)
        self._wake_up = _WakeUp(self)
        self._pool = ThreadPool(self)
        self._stopping = False
        self._running = False
        self._closed = False
        self._signals: dict[int, tuple[typing.Callable[..., object], tuple[object, ...]]] = {}
        self._old_handlers: dict[int, typing.Any] = {}
        self._old_wakeup_fd: int | None = None
        self._busy_since = _now()
        self._lag = 0.0

    # Life

    @property
    def capabilities(self) -> frozenset[str]:
        """See `Life.capabilities`."""
        missing = set()
        if not hasattr(socket, "AF_UNIX"):
            missing.add("unix")
        if os.name != "posix":
            missing.update({"adopt", "processes"})
        if threading.current_thread() is not threading.main_thread():
            missing.add("signals")
        return frozenset(CAPABILITIES) - missing

    @property
    def running(self) -> bool:
        """See `Life.running`."""
        return self._running

    def run(self) -> None:
        """See `Life.run`."""
        if self._running:
            raise LocalProtocolError("the reactor is running already")
        self._running = True
        self._stopping = False
        self._busy_since = _now()
        try:
            while not self._stopping:
                self._turn(None)
        finally:
            self._running = False

    def stop(self) -> None:
        """See `Life.stop`."""
        self._stopping = True

    def step(self, timeout: float | None = 0.0) -> None:
        """See `Life.step`."""
        if self._running:
            raise LocalProtocolError("the reactor is running: it turns by itself")
        # What the host did between two steps is not our lag.
        self._busy_since = _now()
        self._stopping = False
        self._turn(timeout)

    def _turn(self, timeout: float | None) -> None:
        ready = self._ready
        if ready:
            for _ in range(len(ready)):
                ready.popleft().run()
        if self.dirty:
            self._flush()
        now = _now()
        due = self._timers.next_time()
        if ready or self.dirty or self._stopping:
            timeout = 0.0
        elif due is not None and (timeout is None or due - now < timeout):
            timeout = due - now if due > now else 0.0
        if timeout is not None and timeout > _LONGEST_WAIT:
            timeout = _LONGEST_WAIT
        if now - self._busy_since > self._lag:  # noqa: PLR1730 - max() would cost a call in every turn
            self._lag = now - self._busy_since
        events = self._wait(timeout)
        self._busy_since = now = _now()
        channels = self.channels
        for fd, flags in events:
            if fd in channels:  # it is not if an event before this one closed it
                channels[fd].on_event(flags)
        if due is not None and due <= now:
            self._timers.run_due(now)

    def _flush(self) -> None:
        dirty = iter(self.dirty)
        self.dirty = []
        try:
            for stream in dirty:
                stream.flush()
        except BaseException:
            # Such as KeyboardInterrupt. Streams know that they are on the list and would not come back to it.
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
        del self.channels[self._wake_up.fd]
        for _ in range(_MOST_CLOSING_TURNS):
            for channel in list(self.channels.values()):
                channel.abort()
            for _ in range(len(self._ready)):
                self._ready.popleft().run()
            self._flush()
            if not (self.channels or self._ready or self.dirty):
                break
        self._pool.close()
        self._wake_up.abort()
        self.poller.close()
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
        self._wake_up.wake()
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
        if threading.current_thread() is not threading.main_thread():
            raise CapabilityMissing(self.name, "signals", "signals come to the main thread only; run it there")
        if signum not in self._signals:
            # First, because it refuses what is no signal or cannot be caught.
            self._old_handlers[signum] = signal.signal(signum, self._on_signal)
        if not self._signals:
            # A signal alone does not end the wait: Python's handler runs, and the wait goes on.
            self._old_wakeup_fd = signal.set_wakeup_fd(self._wake_up.writer_fd, warn_on_full_buffer=False)
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
        if not self._signals and self._old_wakeup_fd is not None:
            signal.set_wakeup_fd(self._old_wakeup_fd)
            self._old_wakeup_fd = None

    def _require(self, capability: str) -> None:
        if capability not in self.capabilities:
            raise CapabilityMissing(self.name, capability, "this system does not have it")
