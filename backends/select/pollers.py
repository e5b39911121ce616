"""Ways to wait for many descriptors at once: one class for each system call.

What a poller must supply is `Poller`. An event is (descriptor, flags) with the bits of poll(2), which epoll
shares: READ and WRITE; any other bit means error or hang-up, which the next read or write will explain.
A descriptor registered for nothing would still report hang-ups, again and again, so such a one is not
registered at all: that is the caller's duty.
"""

from __future__ import annotations

import contextlib
import math
import select
import sys
import typing

from backends.sockets.oserrors import error_code
from backends.sockets.reactor import READ, WRITE
from portable.errors import ConfigurationError, TransportError

__all__ = ["READ", "WRITE", "Poller", "make_poller"]

# Events taken in one turn. More would only delay the writes of the first ones.
_MAX_EVENTS = 1024


class Poller(typing.Protocol):
    """Waits until one of many descriptors is ready. Level-triggered."""

    name: str

    def register(self, fd: int, mask: int) -> None:
        """Watch `fd` for READ, WRITE or both.

        Raises:
            TransportError: the poller has no room for it.
        """

    def modify(self, fd: int, mask: int) -> None:
        """Watch the registered `fd` for `mask` instead."""

    def unregister(self, fd: int) -> None:
        """Stop watching the registered `fd`."""

    def forget(self, fd: int) -> None:
        """Stop watching the registered `fd`, which its owner is about to close."""

    def wait(self, timeout: float | None) -> typing.Sequence[tuple[int, int]]:
        """Return the events that are there, after waiting at most `timeout` seconds (None: for ever)."""

    def close(self) -> None:
        """Free the poller."""


class EpollPoller:
    """Linux. The masks are epoll's own."""

    name = "epoll"

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self.modify = self._epoll.modify
        self.unregister = self._epoll.unregister
        self.close = self._epoll.close
        # It takes None for ever, rounds up to a millisecond, and brings 1,023 events at most.
        self.wait = self._epoll.poll

    def register(self, fd: int, mask: int) -> None:
        """See `Poller.register`."""
        try:
            self._epoll.register(fd, mask)
        except OSError as exc:  # ENOSPC: the user's limit of watches, see epoll(7)
            raise TransportError(f"epoll takes no more descriptors: {exc.strerror}", error_code(exc)) from exc

    def forget(self, fd: int) -> None:
        """See `Poller.forget`. The kernel does it when the descriptor is closed: one system call less."""


class PollPoller:
    """Any Unix. Costs time proportional to the number of descriptors."""

    name = "poll"

    def __init__(self) -> None:
        self._poll = select.poll()
        self.register = self._poll.register
        self.modify = self._poll.modify
        self.unregister = self.forget = self._poll.unregister

    def wait(self, timeout: float | None) -> typing.Sequence[tuple[int, int]]:
        """See `Poller.wait`."""
        return self._poll.poll(None if timeout is None else math.ceil(timeout * 1000))

    def close(self) -> None:
        """See `Poller.close`."""


class SelectPoller:
    """Everywhere, Windows included; there it takes sockets only. Few descriptors (often 1,024) and slow."""

    name = "select"
    # FD_SETSIZE of every common Unix. CPython refuses larger descriptors with a ValueError, at the next wait,
    # which would end the loop: refuse them when they come.
    limit = sys.maxsize if sys.platform == "win32" else 1024

    def __init__(self) -> None:
        self._read: set[int] = set()
        self._write: set[int] = set()

    def register(self, fd: int, mask: int) -> None:
        """See `Poller.register`."""
        if fd >= self.limit:
            message = f"select() takes descriptors below {self.limit} only; use a reactor with epoll or poll"
            raise TransportError(message, "EMFILE")
        self.modify(fd, mask)

    def modify(self, fd: int, mask: int) -> None:
        """See `Poller.modify`."""
        self.unregister(fd)
        if mask & READ:
            self._read.add(fd)
        if mask & WRITE:
            self._write.add(fd)

    def unregister(self, fd: int) -> None:
        """See `Poller.unregister`."""
        self._read.discard(fd)
        self._write.discard(fd)

    forget = unregister

    def wait(self, timeout: float | None) -> typing.Sequence[tuple[int, int]]:
        """See `Poller.wait`."""
        # Windows reports a refused connect in the third set only. The loop's own wake-up socket is always in
        # the first set, so the three are never all empty, which Windows would refuse.
        readable, writable, failed = select.select(self._read, self._write, self._write, timeout)
        flags = dict.fromkeys(readable, READ)
        for fd in writable + failed:
            flags[fd] = flags.get(fd, 0) | WRITE
        return list(flags.items())

    def close(self) -> None:
        """See `Poller.close`."""
        self._read.clear()
        self._write.clear()


if sys.platform != "linux" and sys.platform != "win32":

    class KqueuePoller:
        """The BSDs and macOS. One filter for each direction."""

        name = "kqueue"

        def __init__(self) -> None:
            self._kqueue = select.kqueue()
            self._masks: dict[int, int] = {}

        def register(self, fd: int, mask: int) -> None:
            """See `Poller.register`."""
            self._masks[fd] = 0
            self.modify(fd, mask)

        def modify(self, fd: int, mask: int) -> None:
            """See `Poller.modify`."""
            changed = self._masks[fd] ^ mask
            for bit, event_filter in ((READ, select.KQ_FILTER_READ), (WRITE, select.KQ_FILTER_WRITE)):
                if changed & bit:
                    action = select.KQ_EV_ADD if mask & bit else select.KQ_EV_DELETE
                    # A deletion fails if the other side has closed: there is nothing left to delete.
                    with contextlib.suppress(FileNotFoundError):
                        self._kqueue.control([select.kevent(fd, event_filter, action)], 0)
            self._masks[fd] = mask

        def unregister(self, fd: int) -> None:
            """See `Poller.unregister`."""
            self.modify(fd, 0)
            del self._masks[fd]

        forget = unregister

        def wait(self, timeout: float | None) -> typing.Sequence[tuple[int, int]]:
            """See `Poller.wait`."""
            flags: dict[int, int] = {}
            for event in self._kqueue.control(None, _MAX_EVENTS, timeout):
                bit = READ if event.filter == select.KQ_FILTER_READ else WRITE
                flags[event.ident] = flags.get(event.ident, 0) | bit
            return list(flags.items())

        def close(self) -> None:
            """See `Poller.close`."""
            self._kqueue.close()


def _available() -> dict[str, typing.Callable[[], Poller]]:
    """Return this system's pollers by name, the best first."""
    pollers: dict[str, typing.Callable[[], Poller]] = {}
    if sys.platform == "linux":
        pollers["epoll"] = EpollPoller
    elif sys.platform != "win32":
        pollers["kqueue"] = KqueuePoller
    if hasattr(select, "poll"):
        pollers["poll"] = PollPoller
    pollers["select"] = SelectPoller
    return pollers


def make_poller(name: str | None = None) -> Poller:
    """Return a new poller: the named one, or the best that this system has.

    Raises:
        ConfigurationError: this system has none of that name.
    """
    pollers = _available()
    if name is None:
        name = next(iter(pollers))
    if name not in pollers:
        message = f"this system has no poller {name!r}; it has {', '.join(pollers)}"
        raise ConfigurationError(message)
    return pollers[name]()
