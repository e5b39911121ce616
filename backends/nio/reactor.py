"""The loop over Java's selector, and the capabilities it offers.

`portable.reactor` states what each method does and in what order a turn of the loop does its work. Sockets are
Java's; timers, threads, names, signals and child processes are Python's, as on every backend.
"""

from __future__ import annotations

import math
import signal
import threading
import time
import typing

from backends.nio import connector, listener
from backends.nio.bridge import PumpError, find_bridge, what_is_missing
from backends.nio.datagram import NioDatagrams, connected_datagrams, listening_datagrams
from backends.nio.exchange import Exchange
from backends.nio.wakeup import WakeUp
from backends.sockets.front import Front, QueuedCall
from portable.errors import CapabilityMissing, ConfigurationError, LocalProtocolError
from portable.timers import TimerHeap

if typing.TYPE_CHECKING:
    from backends.nio.bridge import Bridge
    from backends.nio.pipes import PipeWatcher
    from portable.deferred import Deferred
    from portable.protocol import DatagramProtocol, ProtocolFactory, StreamProtocol
    from portable.reactor import Listener

__all__ = ["NioReactor"]

_now = time.monotonic

# Seconds. Java takes milliseconds in an int; waking up in between costs nothing.
_LONGEST_WAIT = 24 * 3600.0
P = typing.TypeVar("P", bound="StreamProtocol")


def _cannot_start(reason: Exception) -> ConfigurationError:
    return ConfigurationError(f"the nio reactor cannot start: {reason}")


class NioReactor(Front):
    """A `portable.reactor.Reactor` over java.nio.

    Args:
        bridge: the way to a pump of this reactor's own; None finds one, and starts a JVM if there is none yet.
            After that this process must not fork.

    Raises:
        ConfigurationError: there is no JVM, or something else is missing (see `missing`), such as descriptors.
    """

    name = "nio"

    def __init__(self, bridge: Bridge | None = None) -> None:
        super().__init__()
        try:
            self.bridge = find_bridge().make_bridge() if bridge is None else bridge
        except OSError as exc:  # no descriptor to read our own modules
            raise _cannot_start(exc) from exc
        self.exchange = Exchange(self.bridge)
        self._poll = self.exchange.poll
        self._timers = TimerHeap(_now)
        try:
            self._wake_up = WakeUp(self.bridge, self.exchange)
        except (OSError, PumpError) as exc:
            self.exchange.close()
            self.bridge.close()
            raise _cannot_start(exc) from exc
        self._pipes: PipeWatcher | None = None
        self._stopping = False
        self._turning = False
        self._old_wakeup_fd: int | None = None
        self._busy_since = _now()

    @staticmethod
    def missing() -> str:
        """Return why this reactor cannot run here, in one line; "" if it can. Starts no JVM."""
        return what_is_missing()

    # Life

    def _lacking(self) -> set[str]:
        return {"adopt"}

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
            raise LocalProtocolError("the reactor is running: it turns by itself until it is told to stop")
        if self._turning:
            raise LocalProtocolError(
                "the reactor is running one turn: this was called from it, and would begin another"
            )

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
            self._poll(wait)
            self._busy_since = now = _now()
            self.exchange.deliver()
            if due is not None and due <= now:
                self._timers.run_due(now)
        finally:
            self._turning = False

    def close(self) -> None:
        """See `Life.close`."""
        if self._closed:
            return
        self._check_idle()
        self._closed = True
        for signum in list(self._signals):
            self.remove_signal_handler(signum)
        del self.exchange.channels[self._wake_up.id]
        self._end_everything()
        if self._pipes is not None:
            self._pipes.close()
        self._wake_up.abort()
        self.exchange.close()
        self.bridge.close()
        self.exchange.channels.clear()
        self.channels.clear()
        self._ready.clear()

    def _abort_all(self) -> None:
        for channel in list(self.exchange.channels.values()):
            channel.abort()
        super()._abort_all()

    def _settle(self) -> None:
        self.exchange.apply()
        for channel in list(self.exchange.channels.values()):
            if isinstance(channel, NioDatagrams):
                channel.end()

    def _anything_open(self) -> bool:
        return bool(self.exchange.channels) or super()._anything_open()

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
        return self._awaiting(connector.connect(self, factory, host, port, timeout, local_host))

    def listen_unix(
        self, factory: ProtocolFactory, path: str, *, backlog: int = 1024, mode: int | None = None
    ) -> listener.NioListener:
        """See `UnixSockets.listen_unix`."""
        return listener.listen_unix(self, factory, path, backlog, mode)

    def connect_unix(self, factory: typing.Callable[[], P], path: str, *, timeout: float = 30.0) -> Deferred[P]:
        """See `UnixSockets.connect_unix`."""
        return self._awaiting(connector.connect_unix(self, factory, path, timeout))

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

    # Threads

    def call_soon_threadsafe(self, callback: typing.Callable[..., object], *args: object) -> QueuedCall:
        """See `Threads.call_soon_threadsafe`."""
        call = QueuedCall(callback, args)
        self._ready.append(call)
        self._wake_up.wake()
        return call

    # Descriptors and signals

    @property
    def poller(self) -> PipeWatcher:
        """What waits for descriptors of Python's: see backends.sockets.reactor."""
        if self._pipes is None:
            from backends.nio.pipes import PipeWatcher

            self._pipes = PipeWatcher(self, self.channels)
        return self._pipes

    def add_signal_handler(self, signum: int, callback: typing.Callable[..., object], *args: object) -> None:
        """See `Signals.add_signal_handler`."""
        self._require_signals()
        if signum not in self._signals:
            # First, because it refuses what is no signal or cannot be caught.
            self._old_handlers[signum] = signal.signal(signum, self._on_signal)
        self._wake_on_signals()
        self._signals[signum] = (callback, args)

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
