"""The messages of a stream, awaited one by one."""

from __future__ import annotations

import typing

from portable.deferred import Deferred
from portable.framing import Reader

if typing.TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Incoming"]

T = typing.TypeVar("T")


class Incoming:
    """Turns received bytes into messages, for whoever awaits the next one."""

    def __init__(self) -> None:
        self._reader = Reader()
        self._read: Callable[[Reader], typing.Any] | None = None
        self._waiter: Deferred[typing.Any] = Deferred()

    def receive_data(self, data: bytes) -> None:
        """Take bytes. Whoever waits for the message that they complete gets it before this returns."""
        self._reader.receive_data(data)
        self._try()

    def next(self, read: Callable[[Reader], T | None]) -> Deferred[T]:
        """Give the next message, as `read` takes it from a reader; or what `read` raises.

        One may be awaited at a time.
        """
        waiter: Deferred[T] = Deferred(lambda _: self._forget())
        self._read = read
        self._waiter = waiter
        self._try()
        return waiter

    def fail(self, error: Exception) -> None:
        """Say that no more will come: whoever waits gets `error`."""
        if self._read is not None:
            self._forget()
            self._waiter.errback(error)

    def take_remainder(self) -> bytes:
        """Return what has come and belongs to no message that was awaited."""
        return self._reader.take_remainder()

    def _forget(self) -> None:
        self._read = None

    def _try(self) -> None:
        if self._read is None:
            return
        try:
            message = self._read(self._reader)
        except Exception as error:  # noqa: BLE001 - whoever awaits the message is told
            self._forget()
            self._waiter.errback(error)
            return
        if message is not None:
            self._forget()
            self._waiter.callback(message)
