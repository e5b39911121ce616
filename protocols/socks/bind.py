"""Waiting for the connection that a client expects from somebody else (BIND)."""

from __future__ import annotations

import typing

from portable.deferred import Deferred
from portable.flow import RelayEnd

if typing.TYPE_CHECKING:
    from portable.clock import Clock
    from portable.reactor import Listener, Streams
    from portable.transport import Address, Transport

    class StreamsAndClock(Streams, Clock, typing.Protocol):
        """What is needed of a reactor."""


__all__ = ["PeerWait"]


class PeerWait:
    """A port that takes one connection.

    Args:
        reactor: listens.
        host: a literal address of this machine, or "0.0.0.0" or "::" for every one.

    Attributes:
        arrival: fires with the end of the first connection, whoever it is from. Cancelling ends the wait.

    Raises:
        ListenError: there is no such address, or no port.
    """

    def __init__(self, reactor: StreamsAndClock, host: str) -> None:
        self._reactor = reactor
        self.arrival: Deferred[RelayEnd] = Deferred(lambda _: self._listener.close())
        self._listener: Listener = reactor.listen(self._make_end, host, 0, backlog=1)

    @property
    def address(self) -> Address | str:
        """Return where it waits."""
        return self._listener.address

    def _make_end(self) -> _Arrival:
        return _Arrival(self._reactor, self._arrived)

    def _arrived(self, end: RelayEnd, transport: Transport) -> None:
        # Several may be accepted before the listener is closed.
        self._listener.close()
        if self.arrival.called:
            transport.abort()
        else:
            self.arrival.callback(end)


class _Arrival(RelayEnd):
    """The end of a connection that has just come."""

    def __init__(self, clock: Clock, arrived: typing.Callable[[RelayEnd, Transport], object]) -> None:
        super().__init__(clock)
        self._arrived = arrived

    def connection_made(self, transport: Transport) -> None:
        """Say so."""
        super().connection_made(transport)
        self._arrived(self, transport)
