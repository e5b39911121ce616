"""What a protocol is: the calls a transport makes.

The names and meanings are asyncio's, so a subclass of `asyncio.Protocol` runs on our reactors and ours run on
an asyncio loop. Subclassing is a convenience: a transport only needs an object with these methods.

Order of calls, the same on every backend:

    stream:    connection_made data_received* eof_received? connection_lost
    datagram:  connection_made (datagram_received | error_received)* connection_lost

`pause_writing` and `resume_writing` come in pairs, anywhere between `connection_made` and `connection_lost`.
Nothing is called after `connection_lost`. Nothing is ever called from inside a transport's method: `write`,
`close` or `abort` return first, the calls they cause come from the loop later. All calls come from the
reactor's thread. An exception that leaves one of these methods, SystemExit too, is logged and aborts the
connection.
"""

from __future__ import annotations

import typing

if typing.TYPE_CHECKING:
    from portable.errors import TransportError
    from portable.transport import Address, DatagramTransport, Transport

__all__ = ["DatagramProtocol", "Protocol", "ProtocolFactory", "StreamProtocol", "SupportsDrain"]


class Protocol:
    """One end of a byte stream. Every method does nothing until it is overridden."""

    def connection_made(self, transport: Transport) -> None:
        """Called once, first. Keep `transport`: it is how to write and close."""

    def data_received(self, data: bytes) -> None:
        """Called with the next bytes (never empty), cut wherever the network cut them."""

    def eof_received(self) -> bool | None:
        """Called at most once, when the peer has said that it will send no more.

        Returns:
            True to keep the connection open for writing (half-close); the protocol must then `close` it.
            None or False to have the transport flush and close itself. TLS transports always close.
        """
        return None

    def connection_lost(self, exc: TransportError | None) -> None:
        """Called once, last.

        Args:
            exc: None after a regular end (our `close`, the peer's end of stream, or our `abort`); otherwise
                why the connection broke.
        """

    def pause_writing(self) -> None:
        """Called when the transport's buffer is above its high-water mark: stop producing."""

    def resume_writing(self) -> None:
        """Called when the buffer has sunk to the low-water mark, or below: produce again."""


class DatagramProtocol:
    """One datagram socket. Every method does nothing until it is overridden."""

    def connection_made(self, transport: DatagramTransport) -> None:
        """Called once, first."""

    def datagram_received(self, data: bytes, addr: Address) -> None:
        """Called with one datagram, whole (possibly empty), and its sender."""

    def error_received(self, exc: TransportError) -> None:
        """Called when an earlier send or receive failed, such as ECONNREFUSED from a connected peer."""

    def connection_lost(self, exc: TransportError | None) -> None:
        """Called once, last."""

    def pause_writing(self) -> None:
        """Called when the transport's buffer is above its high-water mark: stop producing."""

    def resume_writing(self) -> None:
        """Called when the buffer has sunk to the low-water mark, or below: produce again."""


class StreamProtocol(typing.Protocol):
    """The structural form of `Protocol`, which `asyncio.Protocol` has too."""

    def connection_made(self, transport: typing.Any) -> None:
        """See `Protocol.connection_made`."""

    def data_received(self, data: bytes) -> None:
        """See `Protocol.data_received`."""

    def eof_received(self) -> bool | None:
        """See `Protocol.eof_received`."""

    def connection_lost(self, exc: typing.Any) -> None:
        """See `Protocol.connection_lost`."""

    def pause_writing(self) -> None:
        """See `Protocol.pause_writing`."""

    def resume_writing(self) -> None:
        """See `Protocol.resume_writing`."""


@typing.runtime_checkable
class SupportsDrain(typing.Protocol):
    """A protocol that can finish what it is doing and then say goodbye.

    A listener that drains calls `drain` once on each of its connections whose protocol has it, and `close` on
    the transports of the others.
    """

    def drain(self) -> None:
        """Take no new work, complete the work in flight, say goodbye as the protocol says it, then close the
        transport. Returns at once. Whoever has not closed by the listener's deadline is aborted.
        """


if typing.TYPE_CHECKING:
    # Makes the protocol of one new connection.
    ProtocolFactory = typing.Callable[[], StreamProtocol]
