"""Waiting for descriptors of Python's, such as pipes to children, which Java cannot select.

A thread of its own waits for them with poll(2), tells the loop what is ready, and waits on only when the loop
has dealt with that. So a child that writes faster than its protocol reads is held up by its pipe.
"""

from __future__ import annotations

import select
import socket
import threading
import typing

from backends.sockets.reactor import READ

if typing.TYPE_CHECKING:
    from backends.sockets.reactor import Channel
    from portable.reactor import Threads

__all__ = ["PipeWatcher"]


class PipeWatcher:
    """A `backends.sockets.reactor.Watcher`.

    Args:
        reactor: its `call_soon_threadsafe` is used.
        channels: the channel of each descriptor.
    """

    def __init__(self, reactor: Threads, channels: dict[int, Channel]) -> None:
        self._reactor = reactor
        self._channels = channels
        # Read by the thread while the loop changes it: copied before each wait.
        self._masks: dict[int, int] = {}
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        self._answered = threading.Event()
        self._waiting = False
        self._closed = False
        self._thread = threading.Thread(target=self._watch, name="portable-pipes", daemon=True)
        self._thread.start()

    def register(self, fd: int, mask: int) -> None:
        """See `Watcher.register`."""
        self._masks[fd] = mask
        self._wake()

    modify = register

    def unregister(self, fd: int) -> None:
        """See `Watcher.unregister`."""
        del self._masks[fd]
        self._wake()

    forget = unregister

    def _wake(self) -> None:
        if self._waiting:
            self._waiting = False
            try:
                self._writer.send(b"\0")
            except BlockingIOError:  # it is full, so it will wake
                return

    def _watch(self) -> None:
        while not self._closed:
            # From here on a change must wake us; those before it are in the copy.
            self._waiting = True
            poller = select.poll()
            poller.register(self._reader, READ)
            for fd, mask in self._masks.copy().items():
                poller.register(fd, mask)
            events = poller.poll()
            self._waiting = False
            wake_up = self._reader.fileno()
            ready = [event for event in events if event[0] != wake_up]
            if len(ready) < len(events):
                self._reader.recv(4096)
            self._answered.clear()  # before looking at _closed, which `close` sets before it answers
            if ready and not self._closed:
                self._reactor.call_soon_threadsafe(self._deliver, ready)
                self._answered.wait()

    def _deliver(self, events: list[tuple[int, int]]) -> None:
        try:
            for fd, flags in events:
                if fd in self._channels and fd in self._masks:
                    self._channels[fd].on_event(flags)
        finally:
            # When what they wrote and closed has been dealt with too.
            self._reactor.call_soon_threadsafe(self._answered.set)

    def close(self) -> None:
        """End the thread."""
        self._closed = True
        self._answered.set()
        self._writer.close()  # readable, for poll: the end
        self._thread.join()
        self._reader.close()
