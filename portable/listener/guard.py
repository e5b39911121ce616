"""The protocol that every connection of a listener has first, so that it can be counted, watched and closed."""

from __future__ import annotations

import typing

from portable.throttle import ThrottledTransport
from portable.tls import TLSTransport

if typing.TYPE_CHECKING:
    from portable.errors import TransportError
    from portable.protocol import StreamProtocol
    from portable.transport import Transport

__all__ = ["Guard", "Owner"]


def _ignore(data: bytes) -> None:
    """Take data that nobody wants any more."""


class Owner(typing.Protocol):
    """Who is told how the connection of a guard begins and ends: the `Reception` that made the guard."""

    def connection_made(self, guard: Guard, transport: Transport) -> None:
        """There is a connection; decide who serves it."""

    def connection_lost(self, guard: Guard) -> None:
        """It is gone; `guard.transport` is still there to be asked what has passed."""


class Guard:
    """The protocol that a transport of a listener really has; it lets its connection be counted and checked.

    There is one for every connection, so it is small, and it costs nothing per event: `data_received` is not a
    method but the bound method of whoever is to get the data.

    Attributes:
        data_received: where received data go.
        transport: the connection as the reactor made it; None when it is lost.
        protocol: who gets the calls: the factory's protocol, or a `HeaderReader`, `TLSTransport` or
            `ThrottledTransport` before it; None when there is none yet or no more.
        admitted: whether the connection is counted.
        peer: the key that it is counted by as one of its peer's; "" if it is not.
        previous, next: the neighbours in the table's list, which is in order of `due`.
        due: when to look for progress next.
        quiet: how many times there was none.
        seen: bytes in both directions when that was last looked at.
    """

    __slots__ = (
        "_owner",
        "admitted",
        "data_received",
        "due",
        "next",
        "peer",
        "previous",
        "protocol",
        "quiet",
        "seen",
        "transport",
    )

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self.data_received: typing.Callable[[bytes], None] = _ignore
        self.transport: Transport | None = None
        self.protocol: StreamProtocol | None = None
        self.admitted = False
        self.peer = ""
        self.previous: Guard | None = None
        self.next: Guard | None = None
        self.due = 0.0
        self.quiet = 0
        self.seen = 0

    def connection_made(self, transport: Transport) -> None:
        """See `Protocol.connection_made`."""
        self.transport = transport
        self._owner.connection_made(self, transport)

    def serve(self, transport: Transport, protocol: StreamProtocol) -> None:
        """Hand the connection over to `protocol`, which is to use `transport`."""
        self.protocol = protocol
        self.data_received = protocol.data_received
        protocol.connection_made(transport)

    def eof_received(self) -> bool | None:
        """See `Protocol.eof_received`."""
        return None if self.protocol is None else self.protocol.eof_received()

    def connection_lost(self, exc: TransportError | None) -> None:
        """See `Protocol.connection_lost`."""
        protocol = self.protocol
        self.protocol = None
        self.data_received = _ignore
        try:
            if protocol is not None:
                protocol.connection_lost(exc)
        finally:
            # When the last one is gone a server closes its logs, so each must have had its last word before.
            self._owner.connection_lost(self)
            self.transport = None

    def pause_writing(self) -> None:
        """See `Protocol.pause_writing`."""
        if self.protocol is not None:
            self.protocol.pause_writing()

    def resume_writing(self) -> None:
        """See `Protocol.resume_writing`."""
        if self.protocol is not None:
            self.protocol.resume_writing()

    def is_replaced(self) -> bool:
        """Return whether a protocol has put another one in our place (`Transport.set_protocol`): the end of the
        connection will not be told to us then.
        """
        if self.transport is None:
            return False
        current = self.transport.get_protocol()
        if isinstance(current, TLSTransport):  # begun in the middle of the connection
            current = current.get_protocol()
        return current is not self

    def close(self) -> None:
        """Close the connection in the regular way of its uppermost layer: TLS says farewell."""
        if self.transport is None:
            return
        current: StreamProtocol | None = self.transport.get_protocol()
        if current is self:
            current = self.protocol
        if isinstance(current, ThrottledTransport) and isinstance(current.get_protocol(), TLSTransport):
            current = current.get_protocol()
        if isinstance(current, (TLSTransport, ThrottledTransport)):
            current.close()
        else:
            self.transport.close()

    def say_goodbye(self) -> None:
        """Have the protocol drain (see SupportsDrain); `close` if it cannot."""
        protocol = self.protocol
        if self.transport is not None and self.is_replaced():
            protocol = self.transport.get_protocol()
        goodbye = getattr(protocol, "drain", None)
        if goodbye is None:
            self.close()
        else:
            goodbye()

    def meter(self) -> Transport | None:
        """Return the transport whose counters show whether the connection moves."""
        layer = self.protocol
        if isinstance(layer, TLSTransport) and layer.handshake_done and not layer.is_closing():
            layer = layer.get_protocol()
        return layer if isinstance(layer, ThrottledTransport) else self.transport
