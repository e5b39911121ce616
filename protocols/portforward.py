"""Port forwarding: each connection is passed on to another server, in both directions."""

from __future__ import annotations

import logging
import typing

from portable.errors import FrameworkError
from portable.flow import RelayEnd, join

if typing.TYPE_CHECKING:
    from portable.clock import Clock
    from portable.deferred import Deferred
    from portable.errors import TransportError
    from portable.transport import Transport

    # Opens a connection to the server behind; what an endpoint's `connect` does.
    Connect = typing.Callable[[typing.Callable[[], RelayEnd]], Deferred[RelayEnd]]

__all__ = ["ForwardedConnection"]

_log = logging.getLogger("protocols.portforward")


class ForwardedConnection(RelayEnd):
    """The client's end of a pair. Makes the other end itself.

    Until the server behind has answered, what the client sends is kept, within the bounds of `RelayEnd`. If
    there is no server, the client is dropped. If the client goes first, so does the attempt, unless it speaks
    TLS and has sent something: that is delivered first.

    Args:
        connect: called once, with the factory of the other end.
        clock: for the waits at the end.
    """

    def __init__(self, connect: Connect, clock: Clock) -> None:
        super().__init__(clock)
        self._connect = connect
        self._connecting: Deferred[RelayEnd] | None = None

    def connection_made(self, transport: Transport) -> None:
        """Connect to the server behind."""
        super().connection_made(transport)
        connecting = self._connect(self._make_end)
        self._connecting = connecting
        connecting.add_callbacks(self._connected, self._failed)

    def connection_lost(self, exc: TransportError | None) -> None:
        """See `Protocol.connection_lost`."""
        super().connection_lost(exc)
        if self._connecting is not None:
            self._connecting.cancel()

    def drain(self) -> None:
        """Close as soon as no byte has passed for QUIET seconds. See `SupportsDrain.drain`."""
        self.close_when_quiet()

    def _make_end(self) -> RelayEnd:
        return RelayEnd(self._clock)

    def _connected(self, end: RelayEnd) -> None:
        self._connecting = None
        join(self, end)

    def _failed(self, error: Exception) -> None:
        self._connecting = None
        if not isinstance(error, FrameworkError):
            raise error
        if self.lost or self.transport is None:
            return
        _log.warning("cannot forward %s: %s", self.transport.get_extra_info("peername"), error)
        self.transport.abort()
