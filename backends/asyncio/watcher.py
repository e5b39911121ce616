"""Waiting for descriptors by an asyncio loop: what stands in the place of a poller."""

from __future__ import annotations

import select
import typing

from backends.sockets.reactor import READ, WRITE
from portable.errors import CapabilityMissing, TransportError

if typing.TYPE_CHECKING:
    import asyncio

__all__ = ["LoopWatcher"]


class LoopWatcher:
    """Has a loop call `on_event(fd, READ)` or `on_event(fd, WRITE)` while a descriptor is ready.

    Args:
        loop: must have `add_reader` and `add_writer`.
        on_event: called from the loop.
    """

    name = "asyncio"

    def __init__(self, loop: asyncio.AbstractEventLoop, on_event: typing.Callable[[int, int], object]) -> None:
        self._loop = loop
        self._tell = on_event
        is_uvloop = any(base.__module__.partition(".")[0] == "uvloop" for base in type(loop).__mro__)
        self._on_event = self._tell_and_watch_anew if is_uvloop else on_event
        self._masks: dict[int, int] = {}

    def register(self, fd: int, mask: int) -> None:
        """Watch `fd` for READ, WRITE or both.

        Raises:
            TransportError: the loop has no room for it.
            CapabilityMissing: the loop cannot watch descriptors at all.
        """
        self._masks[fd] = 0
        try:
            self.modify(fd, mask)
        except NotImplementedError as exc:
            self._masks.pop(fd)
            advice = "run it on a loop that has add_reader; on Windows that is asyncio.SelectorEventLoop"
            raise CapabilityMissing("asyncio", "streams", advice) from exc
        except (OSError, ValueError) as exc:
            self._masks.pop(fd)
            raise TransportError(f"the event loop does not take descriptor {fd}: {exc}", "EMFILE") from exc

    def modify(self, fd: int, mask: int) -> None:
        """Watch the registered `fd` for `mask` instead."""
        if self._loop.is_closed():  # by its owner, who did not close us before
            return
        changed = self._masks[fd] ^ mask
        loop = self._loop
        if changed & READ:
            if mask & READ:
                loop.add_reader(fd, self._on_event, fd, READ)
            else:
                loop.remove_reader(fd)
        if changed & WRITE:
            if mask & WRITE:
                loop.add_writer(fd, self._on_event, fd, WRITE)
            else:
                loop.remove_writer(fd)
        self._masks[fd] = mask

    def _tell_and_watch_anew(self, fd: int, flags: int) -> None:
        # uvloop tells once of a descriptor with an error, and watches it no more. There may be data before the
        # error, and after it: a UDP socket goes on after ECONNREFUSED. Asking costs 1.5 us for each event.
        poll = select.poll()
        poll.register(fd, 0)
        failed = bool(poll.poll(0))
        self._tell(fd, flags)
        mask = self._masks.get(fd, 0)
        if failed and mask:
            self.modify(fd, 0)
            self.modify(fd, mask)

    def unregister(self, fd: int) -> None:
        """Stop watching the registered `fd`."""
        self.modify(fd, 0)
        del self._masks[fd]

    # Unlike epoll a loop remembers its descriptors by itself.
    forget = unregister
