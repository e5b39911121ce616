"""The loop over the system's selector, and the capabilities it offers.

`portable.reactor` states what each method does and in what order a turn of the loop does its work.
"""

from __future__ import annotations

import logging
import signal
import socket
import time
import typing

from backends.select.pollers import READ, Poller, make_poller
from backends.sockets.front import QueuedCall, SocketFront
from backends.sockets.oserrors import error_code
from portable.errors import ConfigurationError, LocalProtocolError, describe
from portable.timers import TimerHeap

__all__ = ["SelectReactor"]

_log = logging.getLogger("portable.select")

_now = time.monotonic

# Seconds. poll and epoll take no more than 24 days, kqueue some years; waking up in between costs nothing.
_LONGEST_WAIT = 24 * 3600.0


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


class SelectReactor(SocketFront):
    """A `portable.reactor.Reactor` for CPython.

    Args:
        poller: "epoll", "kqueue", "poll" or "select"; None takes the best that the system has.

    Raises:
        ConfigurationError: the system has no such poller, or no descriptors left.
    """

    name = "select"

    def __init__(self, poller: str | None = None) -> None:
        super().__init__()
        try:
            self._poller = make_poller(poller)
            self._wake_up = _WakeUp(self)
        except OSError as exc:  # no descriptors left
            raise ConfigurationError(f"the select reactor cannot start: {describe(error_code(exc))}") from exc
        self._wait = self._poller.wait
        self._timers = TimerHeap(_now)
        self._stopping = False
        self._stepping = False
        self._old_wakeup_fd: int | None = None
        self._busy_since = _now()

    # Life

    @property
    def poller(self) -> Poller:
        """What watches the descriptors."""
        return self._poller

    def run(self) -> None:
        """See `Life.run`."""
        self._check_idle()
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
        self._check_idle()
        # What the host did between two steps is not our lag.
        self._busy_since = _now()
        self._stopping = False
        self._stepping = True
        try:
            self._turn(timeout)
        finally:
            self._stepping = False

    def _check_idle(self) -> None:
        if self._running:
            raise LocalProtocolError("the reactor is running: it turns by itself until it is told to stop")
        if self._stepping:
            raise LocalProtocolError(
                "the reactor is running one turn: this was called from it, and would begin another"
            )

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

    def close(self) -> None:
        """See `Life.close`."""
        if self._closed:
            return
        self._check_idle()
        self._closed = True
        for signum in list(self._signals):
            self.remove_signal_handler(signum)
        del self.channels[self._wake_up.fd]
        self._end_everything()
        self._wake_up.abort()
        self._poller.close()
        self.channels.clear()
        self._ready.clear()

    # Threads

    def call_soon_threadsafe(self, callback: typing.Callable[..., object], *args: object) -> QueuedCall:
        """See `Threads.call_soon_threadsafe`."""
        call = QueuedCall(callback, args)
        self._ready.append(call)
        self._wake_up.wake()
        return call

    # Signals

    def add_signal_handler(self, signum: int, callback: typing.Callable[..., object], *args: object) -> None:
        """See `Signals.add_signal_handler`."""
        self._require_signals()
        if signum not in self._signals:
            # First, because it refuses what is no signal or cannot be caught.
            self._old_handlers[signum] = signal.signal(signum, self._on_signal)
        if not self._signals:
            # A signal alone does not end the wait: Python's handler runs, and the wait goes on.
            self._old_wakeup_fd = signal.set_wakeup_fd(self._wake_up.writer_fd, warn_on_full_buffer=False)
        self._signals[signum] = (callback, args)

    def remove_signal_handler(self, signum: int) -> None:
        """See `Signals.remove_signal_handler`."""
        if self._signals.pop(signum, None) is None:
            return
        signal.signal(signum, self._old_handlers.pop(signum))
        if not self._signals and self._old_wakeup_fd is not None:
            signal.set_wakeup_fd(self._old_wakeup_fd)
            self._old_wakeup_fd = None
