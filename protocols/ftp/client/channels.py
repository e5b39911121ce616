"""How a data connection comes about: we connect (passive), or the server does (active). Either way the other
end is the host that the control connection goes to, whatever address anybody names.
"""

from __future__ import annotations

import logging
import typing

from portable.deferred import Deferred, succeed
from portable.errors import ConnectionAborted, LocalProtocolError
from portable.protocol import Protocol
from portable.transport import Address
from protocols.ftp.addresses import (
    IPV6,
    decode_227,
    decode_229,
    encode_eprt,
    encode_port,
    network_protocol,
)
from protocols.ftp.client.replies import CommandRefused, expect

if typing.TYPE_CHECKING:
    from portable.reactor import Listener, Streams
    from portable.transport import Transport
    from protocols.ftp.client.control import ControlConnection
    from protocols.ftp.client.data import DataConnection

    # Makes one end of a data connection.
    MakeData = typing.Callable[[], DataConnection]
    # Opens a connection to a host and port; `Streams.connect` does, and what goes through a proxy.
    Connect = typing.Callable[[typing.Callable[[], typing.Any], str, int], Deferred[typing.Any]]

__all__ = ["ActiveChannel", "ActiveMode", "PassiveChannel", "PassiveMode"]

logger = logging.getLogger("protocols.ftp")


class PassiveChannel:
    """A data connection that we have opened."""

    def __init__(self, connection: DataConnection) -> None:
        self._connection = connection

    def connected(self) -> Deferred[DataConnection]:
        """Give the connection."""
        return succeed(self._connection)

    def abort(self, error: Exception | None = None) -> None:
        """Drop the connection. Does nothing to one that has ended."""
        self._connection.abort(error)

    def over(self) -> Deferred[None]:
        """Fire when the connection has ended, and nothing of ours is in use any more."""
        return self._connection.over()


class PassiveMode:
    """EPSV (RFC 2428), or PASV for servers that do not know it.

    Args:
        connect: opens connections.
        host: where the server is, as `connect` takes it.
        make: makes our end.
    """

    def __init__(self, connect: Connect, host: str, make: MakeData) -> None:
        self._connect = connect
        self._host = host
        self._make = make
        self._extended = True

    async def open(self, control: ControlConnection) -> PassiveChannel:
        """Return a channel that is connected.

        Fails with CommandRefused, with RemoteProtocolError if the reply has no address, with a ConnectError.
        """
        port = await self._port(control)
        connection = await self._connect(self._make, self._host, port)
        return PassiveChannel(connection)

    async def _port(self, control: ControlConnection) -> int:
        if self._extended:
            reply = await control.exchange("EPSV")
            if reply.code == 229:
                return decode_229(reply.text)
            if reply.code < 500 or network_protocol(self._host) == IPV6:
                raise CommandRefused("EPSV", reply)
            self._extended = False
        reply = await control.exchange("PASV")
        expect("PASV", reply, (227,))
        address = decode_227(reply.text)
        if address.host != self._host:
            # Behind address translation this is common. Elsewhere somebody may want us to reach what only we
            # can reach, or a third party: the address is never used.
            logger.info("PASV names %s, but the server is %s: using that", address.host, self._host)
        return address.port


class ActiveChannel:
    """A listener that waits for the one connection of the server."""

    def __init__(self, reactor: Streams, own_host: str, peer_host: str, make: MakeData) -> None:
        self._peer_host = peer_host
        self._make = make
        self._connection: DataConnection | None = None
        self._error: Exception | None = None
        self._waiter: Deferred[DataConnection] | None = None
        self._listener: Listener | None = reactor.listen(lambda: _Door(self), own_host, 0)

    @property
    def address(self) -> Address:
        """Where it listens."""
        address = None if self._listener is None else self._listener.address
        if not isinstance(address, Address):
            raise LocalProtocolError("the channel was closed")
        return address

    def connected(self) -> Deferred[DataConnection]:
        """Give the connection, once the server has made it. Fails with what `abort` is given."""
        if self._connection is not None:
            return succeed(self._connection)
        self._waiter = Deferred()
        if self._error is not None:
            self._waiter.errback(self._error)
        return self._waiter

    def abort(self, error: Exception | None = None) -> None:
        """Drop the connection, or stop waiting for it. Does nothing to one that has ended."""
        self._close_listener()
        if self._connection is not None:
            self._connection.abort(error)
        elif self._error is None:
            self._error = error or ConnectionAborted("the transfer was aborted")
            if self._waiter is not None and not self._waiter.called:
                self._waiter.errback(self._error)

    def over(self) -> Deferred[None]:
        """Fire when the connection has ended, if there was one, and nothing of ours is in use any more."""
        return succeed(None) if self._connection is None else self._connection.over()

    def admit(self, transport: Transport) -> None:
        """Take the first connection that comes from the server, and turn everybody else away."""
        peer = transport.get_extra_info("peername")
        if not isinstance(peer, Address) or peer.host != self._peer_host or self._listener is None:
            logger.warning("refused a data connection from %s: the server is %s", peer, self._peer_host)
            transport.abort()
            return
        self._close_listener()
        connection = self._connection = self._make()
        transport.set_protocol(connection)
        connection.connection_made(transport)
        if self._waiter is not None:
            self._waiter.callback(connection)

    def _close_listener(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None


class _Door(Protocol):
    """What stands at the other end of an accepted connection until it is known who that is."""

    def __init__(self, channel: ActiveChannel) -> None:
        self._channel = channel

    def connection_made(self, transport: Transport) -> None:
        """See `Protocol.connection_made`."""
        self._channel.admit(transport)


class ActiveMode:
    """EPRT (RFC 2428), or PORT for servers that do not know it.

    Args:
        reactor: listens.
        own_host: our literal address, as the server must be told.
        peer_host: the literal address of the server.
        make: makes our end.
    """

    def __init__(self, reactor: Streams, own_host: str, peer_host: str, make: MakeData) -> None:
        self._reactor = reactor
        self._own_host = own_host
        self._peer_host = peer_host
        self._make = make
        self._extended = True

    async def open(self, control: ControlConnection) -> ActiveChannel:
        """Return a channel that listens, and whose address the server knows.

        Fails with CommandRefused, with a ListenError.
        """
        channel = ActiveChannel(self._reactor, self._own_host, self._peer_host, self._make)
        try:
            await self._announce(control, channel.address)
        except Exception:
            channel.abort()
            raise
        return channel

    async def _announce(self, control: ControlConnection, address: Address) -> None:
        if self._extended:
            reply = await control.exchange("EPRT", encode_eprt(address).encode("ascii"))
            if not reply.refusal:
                return
            if reply.code < 500 or network_protocol(address.host) == IPV6:
                raise CommandRefused("EPRT", reply)
            self._extended = False
        reply = await control.exchange("PORT", encode_port(address).encode("ascii"))
        expect("PORT", reply, (200,))


if typing.TYPE_CHECKING:
    Channel = PassiveChannel | ActiveChannel
    Mode = PassiveMode | ActiveMode
