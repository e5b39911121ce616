"""How a data connection comes about: announced by EPSV, PASV, EPRT or PORT, opened by the client or by us.

Whom it goes to is decided here, and nowhere else. A passive listener takes a connection from the peer of the
control connection only, drops those of all others and waits on (RFC 2577 8); an active connection goes to
that peer only and to no port below 1024 (RFC 2577 3), so that nobody can use this server to attack another.
"""

from __future__ import annotations

import logging
import secrets
import typing

from portable.deferred import Deferred, fail
from portable.errors import AddressInUse, ConnectionLost, ConnectTimedOut, TransportError
from portable.protocol import Protocol
from portable.throttle import ThrottledTransport
from portable.transport import Address

if typing.TYPE_CHECKING:
    from collections.abc import Callable

    from portable.clock import Clock
    from portable.reactor import Listener, Streams
    from portable.transport import Transport

    class Network(Clock, Streams, typing.Protocol):
        """What is needed of a reactor."""


__all__ = ["ActiveChannel", "Channel", "PassiveChannel", "PassivePorts"]

_log = logging.getLogger("protocols.ftp")

# Connections of strangers that a passive listener drops before it gives up. They cost little, and a listener
# that anybody could end would be worse than one that waits out its time.
MAX_STRANGERS = 1000
# RFC 6335 6: the ports that are nobody's.
FIRST_DYNAMIC = 49152
LAST_DYNAMIC = 65535
# Ports tried for one listener. Each costs some microseconds, and in a range of which a hundred in a row are
# in use the next would be, too.
MAX_TRIES = 100
# Connections that may wait to be looked at: room for some strangers before the right one.
_BACKLOG = 16


class PassivePorts:
    """The ports for passive listeners, taken at random, so that the next one is hard to guess (RFC 2577 8).

    Choosing is not left to the system: after some thousand transfers it spends a millisecond on finding a
    port that no recent connection had, and which nothing keeps us from using.

    Args:
        first, last: the range, inclusive; such as a firewall lets through.
        random: gives a number of 0 or more, below its argument.
    """

    def __init__(
        self,
        first: int = FIRST_DYNAMIC,
        last: int = LAST_DYNAMIC,
        random: Callable[[int], int] = secrets.randbelow,
    ) -> None:
        self._first = first
        self._count = last - first + 1
        self._random = random
        self._used: set[int] = set()

    def listen(self, network: Network, factory: Callable[[], Protocol], host: str) -> Listener:
        """Return a new listener on the address `host`.

        Raises:
            ListenError: none can be had; AddressInUse if all ports are in use, or so many that none was found.
        """
        start = self._random(self._count)
        for step in range(min(self._count, MAX_TRIES)):
            port = self._first + (start + step) % self._count
            if port in self._used:
                continue
            try:
                listener = network.listen(factory, host, port, backlog=_BACKLOG)
            except AddressInUse:
                continue
            self._used.add(port)
            return listener
        raise AddressInUse("all passive ports are in use")

    def release(self, listener: Listener) -> None:
        """Close a listener, and let others have its port."""
        address = listener.address
        listener.close()
        if isinstance(address, Address):
            self._used.discard(address.port)


class _Idle(Protocol):
    """A data connection before its transfer begins. What is sent meanwhile waits in the system's buffers."""

    _transport: Transport

    def __init__(self, channel: Channel, throttle: int, clock: Clock) -> None:
        self._channel = channel
        self._throttle = throttle
        self._clock = clock

    def connection_made(self, transport: Transport) -> None:
        if self._throttle:
            throttled = ThrottledTransport(transport, self, self._throttle, self._clock)
            transport.set_protocol(throttled)
            transport = throttled
        self._transport = transport
        transport.pause_reading()
        self._channel.opened(transport)

    def eof_received(self) -> bool:
        # An empty file is sent so.
        return True

    def connection_lost(self, exc: TransportError | None) -> None:
        self._channel.lost(self._transport)


class Channel:
    """One data connection that was announced, up to the beginning of its transfer. Used for one transfer.

    Args:
        network: makes it.
        throttle: bytes per second in each direction; 0 for no limit.
        patience: seconds for the transfer to begin after the announcement, and for the connection to come about
            after that. Then all of it is given up: ports are few.
    """

    def __init__(self, network: Network, throttle: int, patience: float) -> None:
        self._network = network
        self._throttle = throttle
        self._patience = patience
        self._transport: Transport | None = None
        self._ended = False
        self._wanted: Deferred[Transport] | None = None
        self._timer = network.call_later(patience, self._timed_out)

    def take(self) -> Deferred[Transport]:
        """Give the connection, to whoever transfers something on it; reading is paused. Called once.

        Fails with a TransportError if it does not come about, or was lost already.
        """
        if self._ended:
            return fail(ConnectionLost("the data connection was closed before the transfer"))
        wanted: Deferred[Transport] = Deferred()
        self._wanted = wanted
        if self._transport is not None:
            self._deliver(self._transport)
        else:
            self._timer.reset(self._patience)
            self._open()
        return wanted

    def close(self) -> None:
        """Drop the connection if nobody has taken it, and open none any more. Idempotent."""
        self._end(ConnectionLost("the data connection is not wanted any more"))

    def opened(self, transport: Transport) -> None:
        """Take a new connection."""
        self._transport = transport
        if self._wanted is not None:
            self._deliver(transport)

    def lost(self, transport: Transport) -> None:
        """Learn that a connection has ended before its transfer."""
        if transport is self._transport:
            self._transport = None
            self.close()

    def _open(self) -> None:
        """Begin to connect, if that is up to us."""

    def _stop(self) -> None:
        """Open no connection any more."""

    def _deliver(self, transport: Transport) -> None:
        wanted, self._wanted = self._wanted, None
        self._transport = None
        self._ended = True
        self._timer.cancel()
        if wanted is not None:
            wanted.callback(transport)

    def _end(self, error: TransportError) -> None:
        if self._ended:
            return
        self._ended = True
        self._timer.cancel()
        self._stop()
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abort()
        wanted, self._wanted = self._wanted, None
        if wanted is not None:
            wanted.errback(error)

    def _timed_out(self) -> None:
        self._end(ConnectTimedOut("there is no data connection"))


class PassiveChannel(Channel):
    """Waits for the client on a port of its own, which is closed as soon as the client has connected.

    Args:
        ports: where the port comes from.
        host: our address on the control connection.
        peer: who may connect.

    Attributes:
        port: to be told to the client.

    Raises:
        ListenError: there is no port.
    """

    def __init__(
        self, network: Network, throttle: int, patience: float, ports: PassivePorts, host: str, peer: str
    ) -> None:
        self._ports = ports
        self._peer = peer
        self._strangers = 0
        self._listener: Listener | None = ports.listen(network, self._accept, host)
        address = self._listener.address
        self.port = address.port if isinstance(address, Address) else 0
        super().__init__(network, throttle, patience)

    def _accept(self) -> Protocol:
        return _Idle(self, self._throttle, self._network)

    def opened(self, transport: Transport) -> None:
        """Take the connection if it comes from the right peer, and is the first."""
        peername = transport.get_extra_info("peername")
        if self._listener is None:
            transport.abort()
        elif isinstance(peername, Address) and peername.host == self._peer:
            self._stop()
            super().opened(transport)
        else:
            _log.warning("dropped a data connection from %s: it belongs to %s", peername, self._peer)
            transport.abort()
            self._strangers += 1
            if self._strangers >= MAX_STRANGERS:
                self.close()

    def _stop(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            self._ports.release(listener)


class ActiveChannel(Channel):
    """Connects to the client when the transfer begins.

    Args:
        host: our address on the control connection, to connect from.
        target: where to; the caller has checked that it may be.
    """

    def __init__(self, network: Network, throttle: int, patience: float, host: str, target: Address) -> None:
        super().__init__(network, throttle, patience)
        self._host = host
        self._target = target
        self._connecting: Deferred[_Idle] | None = None

    def _open(self) -> None:
        self._connecting = self._network.connect(
            lambda: _Idle(self, self._throttle, self._network),
            self._target.host,
            self._target.port,
            local_host=self._host,
        )
        self._connecting.add_callbacks(self._connected, self._failed)

    def _connected(self, _: _Idle) -> None:
        self._connecting = None

    def _failed(self, error: Exception) -> None:
        self._connecting = None
        if not isinstance(error, TransportError):
            raise error
        self._end(error)

    def _stop(self) -> None:
        connecting, self._connecting = self._connecting, None
        if connecting is not None:
            connecting.cancel()
