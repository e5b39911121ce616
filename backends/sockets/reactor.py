"""What the sockets need of the reactor that they belong to."""

from __future__ import annotations

import typing

if typing.TYPE_CHECKING:
    from portable.clock import Call, Timer
    from portable.deferred import Deferred

__all__ = ["READ", "WRITE", "Channel", "Flushable", "SocketReactor", "Watcher"]

# The bits of poll(2). Any other bit of an event means error or hang-up, which the next read or write explains.
READ = 1
WRITE = 4

T = typing.TypeVar("T")


class Channel(typing.Protocol):
    """Whoever owns a descriptor that is watched."""

    def on_event(self, flags: int) -> None:
        """Take what was seen. A report that is out of date must do no harm."""

    def abort(self) -> None:
        """Close, because the reactor does."""


class Flushable(typing.Protocol):
    """Whoever has something to send or to end, soon."""

    def flush(self) -> None:
        """Do it."""


class Watcher(typing.Protocol):
    """Watches descriptors, level-triggered. One that is registered is always watched for something."""

    def register(self, fd: int, mask: int, /) -> None:
        """Watch `fd` for READ, WRITE or both.

        Raises:
            TransportError: there is no room for it.
        """

    def modify(self, fd: int, mask: int, /) -> None:
        """Watch the registered `fd` for `mask` instead."""

    def unregister(self, fd: int, /) -> None:
        """Stop watching the registered `fd`."""

    def forget(self, fd: int, /) -> None:
        """Stop watching the registered `fd`, which its owner is about to close."""


class SocketReactor(typing.Protocol):
    """A reactor that calls `on_event` of the channel of a descriptor that is ready.

    Attributes:
        poller: where channels register their descriptors.
        channels: the channel of each descriptor; those here are aborted when the reactor closes.
        dirty: the streams to `flush`, once, soon after the calls under way.
    """

    @property
    def poller(self) -> Watcher:
        """See above."""

    @property
    def channels(self) -> dict[int, Channel]:
        """See above."""

    @property
    def dirty(self) -> list[Flushable]:
        """See above."""

    def time(self) -> float:
        """See `Clock.time`."""

    def call_soon(self, callback: typing.Callable[..., object], *args: object) -> Call:
        """See `Clock.call_soon`."""

    def call_later(self, delay: float, callback: typing.Callable[..., object], *args: object) -> Timer:
        """See `Clock.call_later`."""

    def call_at(self, when: float, callback: typing.Callable[..., object], *args: object) -> Timer:
        """See `Clock.call_at`."""

    def call_soon_threadsafe(self, callback: typing.Callable[..., object], *args: object) -> Call:
        """See `Threads.call_soon_threadsafe`."""

    def run_in_thread(self, function: typing.Callable[..., T], *args: object) -> Deferred[T]:
        """See `Threads.run_in_thread`."""

    def resolve(self, host: str) -> Deferred[list[str]]:
        """See `Names.resolve`."""
