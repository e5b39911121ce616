"""A datagram socket without a network."""

from __future__ import annotations

import typing

from portable.testing.clock import ManualClock
from portable.transport import Address

if typing.TYPE_CHECKING:
    from portable.errors import TransportError
    from portable.protocol import DatagramProtocol
    from portable.transport import Buffer

__all__ = ["MemoryDatagramTransport"]

PEER = Address("192.0.2.1", 40000)
OWN = Address("192.0.2.2", 53)


class MemoryDatagramTransport:
    """A `portable.transport.DatagramTransport` whose peers are the test.

    Args:
        protocol: gets its `connection_made` at once.
        clock: shared by everything in one test; its own if None.
        extra: what `get_extra_info` gives, over "sockname" (192.0.2.2:53) and "reactor" (the clock).
        peer: where a connected socket sends to; None for an unconnected one.

    Attributes:
        sent: what was sent so far, as (data, address) in order; clear it at will.
        lost: whether `connection_lost` was called.
    """

    def __init__(
        self,
        protocol: DatagramProtocol,
        clock: ManualClock | None = None,
        *,
        extra: typing.Mapping[str, object] | None = None,
        peer: Address | None = None,
    ) -> None:
        self.clock = ManualClock() if clock is None else clock
        self.extra: dict[str, object] = {"sockname": OWN, "reactor": self.clock}
        if peer is not None:
            self.extra["peername"] = peer
        self.extra.update(extra or {})
        self.sent: list[tuple[bytes, Address]] = []
        self.lost = False
        self._protocol = protocol
        self._peer = peer
        self._closing = False
        protocol.connection_made(self)

    def receive(self, data: bytes, addr: Address | None = None) -> None:
        """Have the protocol receive one datagram, by default from the peer, or from 192.0.2.1:40000."""
        self.clock.call_soon(self._deliver, data, addr or self._peer or PEER)
        self._settle()

    def fail(self, exc: TransportError) -> None:
        """Have the protocol's `error_received` called."""
        self.clock.call_soon(self._fail, exc)
        self._settle()

    def take(self) -> list[bytes]:
        """Return the data of what was sent since this was last asked, and forget it."""
        taken = [data for data, _ in self.sent]
        self.sent.clear()
        return taken

    def sendto(self, data: Buffer, addr: Address | None = None) -> None:
        """See `portable.transport.DatagramTransport.sendto`."""
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(f"sendto takes bytes, bytearray or memoryview, not {type(data).__name__}")
        target = addr or self._peer
        if target is None:
            raise ValueError("sendto needs an address on an unconnected socket")
        if not self._closing:
            self.sent.append((bytes(data), target))

    def close(self) -> None:
        """See `portable.transport.DatagramTransport.close`."""
        if not self._closing:
            self._closing = True
            self.clock.call_soon(self._tell_lost)

    def abort(self) -> None:
        """As `close`: nothing ever waits here."""
        self.close()

    def is_closing(self) -> bool:
        """See `portable.transport.DatagramTransport.is_closing`."""
        return self._closing

    def get_extra_info(self, name: str, default: typing.Any = None) -> typing.Any:
        """See `portable.transport.DatagramTransport.get_extra_info`."""
        return self.extra.get(name, default)

    def _settle(self) -> None:
        if not self.clock.advancing:
            self.clock.advance(0)

    def _deliver(self, data: bytes, addr: Address) -> None:
        if not self._closing:
            self._protocol.datagram_received(data, addr)

    def _fail(self, exc: TransportError) -> None:
        if not self._closing:
            self._protocol.error_received(exc)

    def _tell_lost(self) -> None:
        self.lost = True
        self._protocol.connection_lost(None)
