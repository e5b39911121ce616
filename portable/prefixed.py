"""A connection that is handed over in the middle, together with what has already been received of it."""

from __future__ import annotations

import typing

from portable.wrapping import WrappedTransport

if typing.TYPE_CHECKING:
    from portable.clock import Clock
    from portable.transport import Transport

__all__ = ["PrefixedTransport"]


class PrefixedTransport(WrappedTransport):
    """A transport whose next protocol first gets what the one before it has received and not used.

    A protocol that pauses reading, or closes, in its `connection_made` gets nothing, as from every transport.
    So whoever hands the connection over gives this to the new protocol as its transport, and calls `deliver`
    when its `connection_made` has returned.

    Args:
        below: its protocol is the new one already, or passes data on to that.
        received: bytes, possibly none.
    """

    __slots__ = ("_clock", "_reading", "_received")

    def __init__(self, below: Transport, received: bytes, clock: Clock) -> None:
        super().__init__(below)
        self._received = received
        self._clock = clock
        self._reading = True

    def deliver(self) -> None:
        """Give the protocol what was received, if it reads. If not, it comes when the protocol resumes."""
        received = self._received
        if not received or not self.is_reading():
            return
        self._received = b""
        self.below.get_protocol().data_received(received)
        if self._reading:
            self.below.resume_reading()

    def pause_reading(self) -> None:
        """See `Transport.pause_reading`."""
        self._reading = False
        self.below.pause_reading()

    def resume_reading(self) -> None:
        """See `Transport.resume_reading`."""
        self._reading = True
        if self._received:
            # From the loop: nothing is ever delivered from inside this method. Until then what comes later must
            # wait, and it does: the transport below is still paused.
            self._clock.call_soon(self._deliver_later)
        else:
            self.below.resume_reading()

    def is_reading(self) -> bool:
        """See `Transport.is_reading`."""
        return self._reading and not self.is_closing()

    def _deliver_later(self) -> None:
        try:
            self.deliver()
        except BaseException:
            # As any exception that leaves a protocol: the reactor logs it.
            self.abort()
            raise
