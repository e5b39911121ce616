"""What stands between a listener's transports and the protocols of its factory."""

from __future__ import annotations

import functools
import logging
import typing

from portable.errors import RemoteProtocolError
from portable.protocol import Protocol
from portable.proxyheader import ProxyHeaderParser
from portable.throttle import ThrottledTransport
from portable.tls import TLSTransport
from portable.wrapping import ProxiedTransport

if typing.TYPE_CHECKING:
    from portable.connections import ConnectionTable
    from portable.errors import TransportError
    from portable.peers import PeerSet
    from portable.protocol import ProtocolFactory, StreamProtocol
    from portable.proxyheader import ProxyHeader
    from portable.reactor import Clock, Timer
    from portable.tls import TLSOptions
    from portable.transport import Transport

__all__ = ["Guard", "HeaderReader", "Reception"]

_log = logging.getLogger("portable.listener")


def _ignore(data: bytes) -> None:
    """Take data that nobody wants any more."""


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
        "_reception",
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

    def __init__(self, reception: Reception) -> None:
        self._reception = reception
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
        self._reception.connection_made(self, transport)

    def serve(self, transport: Transport, protocol: StreamProtocol, received: bytes = b"") -> None:
        """Hand the connection over to `protocol`, which is to use `transport` and gets what was `received`."""
        self.protocol = protocol
        self.data_received = protocol.data_received
        protocol.connection_made(transport)
        if received and not transport.is_closing():
            protocol.data_received(received)

    def eof_received(self) -> bool | None:
        """See `Protocol.eof_received`."""
        return None if self.protocol is None else self.protocol.eof_received()

    def connection_lost(self, exc: TransportError | None) -> None:
        """See `Protocol.connection_lost`."""
        protocol = self.protocol
        self._reception.connection_lost(self)
        self.transport = None
        self.protocol = None
        self.data_received = _ignore
        if protocol is not None:
            protocol.connection_lost(exc)

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
        current = self.transport.get_protocol()
        if isinstance(current, TLSTransport):
            current.close()
        elif isinstance(self.protocol, (TLSTransport, ThrottledTransport)):
            self.protocol.close()
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


class HeaderReader(Protocol):
    """Reads a PROXY header and hands the connection on.

    Args:
        done: called with the transport, the header and the bytes that came after it.
    """

    def __init__(self, name: str, done: typing.Callable[[Transport, ProxyHeader, bytes], object]) -> None:
        self._name = name
        self._done = done
        self._parser = ProxyHeaderParser()
        self._transport: Transport

    def connection_made(self, transport: Transport) -> None:
        """See `Protocol.connection_made`."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """See `Protocol.data_received`."""
        self._parser.receive_data(data)
        try:
            header = self._parser.next_header()
        except RemoteProtocolError as exc:
            peer = self._transport.get_extra_info("peername")
            _log.warning("%s: dropped a connection from the proxy %s: %s", self._name, peer, exc)
            self._transport.abort()
            return
        if header is not None:
            self._done(self._transport, header, self._parser.take_rest())

    def drain(self) -> None:
        """Close: nothing has begun."""
        self._transport.close()


class Reception:
    """Takes the new connections of one listener through limits, PROXY header and TLS to a protocol.

    Args:
        name: of the listener, for the log.
        factory: makes the protocols.
        table: counts the connections.
        tls: to be spoken from the first byte; None for none.
        proxies: who must send PROXY headers.
        inside_tls: whether these come after the handshake.
        timeout: seconds for all of this; 0 means no limit.
        throttle: bytes per second; 0 means no limit.
    """

    def __init__(
        self,
        name: str,
        clock: Clock,
        factory: ProtocolFactory,
        table: ConnectionTable,
        *,
        tls: TLSOptions | None,
        proxies: PeerSet,
        inside_tls: bool,
        timeout: float,
        throttle: float,
    ) -> None:
        self._name = name
        self._clock = clock
        self._factory = factory
        self._table = table
        self._tls = tls
        self._proxies = proxies or None
        self._inside_tls = inside_tls and tls is not None
        self._timeout = timeout
        self._throttle = throttle
        self._timers: dict[Guard, Timer] = {}

    def connection_made(self, guard: Guard, transport: Transport) -> None:
        """Receive a connection."""
        if not self._table.admit(guard):
            transport.abort()
            return
        peer = transport.get_extra_info("peername")
        from_proxy = self._proxies is not None and peer in self._proxies
        # The connections of a proxy are those of its clients.
        if not from_proxy and not self._table.admit_peer(guard, peer):
            transport.abort()
            return
        tls = self._tls
        if tls is None and not from_proxy:
            guard.serve(transport, self._protocol(transport))
            return
        if self._timeout:
            self._timers[guard] = self._clock.call_later(self._timeout, self._too_slow, guard)
        if tls is None or (from_proxy and not self._inside_tls):
            guard.serve(transport, HeaderReader(self._name, functools.partial(self._header_read, guard)))
        else:
            self._start_tls(guard, transport, tls, b"", from_proxy)

    def connection_lost(self, guard: Guard) -> None:
        """Forget a connection."""
        self._received(guard)
        self._table.forget(guard)

    def _received(self, guard: Guard) -> None:
        timer = self._timers.pop(guard, None)
        if timer is not None:
            timer.cancel()

    def _too_slow(self, guard: Guard) -> None:
        del self._timers[guard]
        if guard.transport is not None:
            peer = guard.transport.get_extra_info("peername")
            _log.info("%s: dropped %s, which sent no TLS handshake or PROXY header in time", self._name, peer)
            guard.transport.abort()

    def _protocol(self, transport: Transport) -> StreamProtocol:
        protocol = self._factory()
        if not self._throttle:
            return protocol
        return ThrottledTransport(transport, protocol, self._throttle, self._clock)

    def _proxied(self, guard: Guard, transport: Transport, header: ProxyHeader) -> Transport | None:
        """Return the transport for what a header tells; None if its client has too many connections."""
        if not self._table.admit_peer(guard, header.source):
            transport.abort()
            return None
        # Without a source the proxy speaks for itself.
        return transport if header.source is None else ProxiedTransport(transport, header)

    def _header_read(self, guard: Guard, transport: Transport, header: ProxyHeader, rest: bytes) -> None:
        proxied = self._proxied(guard, transport, header)
        if proxied is None:
            return
        if self._tls is not None:
            self._start_tls(guard, proxied, self._tls, rest, False)
            return
        self._received(guard)
        guard.serve(proxied, self._protocol(proxied), rest)

    def _start_tls(
        self, guard: Guard, transport: Transport, options: TLSOptions, rest: bytes, header_follows: bool
    ) -> None:
        factory = functools.partial(self._shaken_hands, guard, header_follows)
        guard.serve(transport, TLSTransport(options, factory=factory), rest)

    def _shaken_hands(self, guard: Guard, header_follows: bool) -> StreamProtocol:
        if header_follows:
            return HeaderReader(self._name, functools.partial(self._header_read_in_tls, guard))
        self._received(guard)
        return self._protocol(typing.cast("TLSTransport", guard.protocol))

    def _header_read_in_tls(self, guard: Guard, tls: Transport, header: ProxyHeader, rest: bytes) -> None:
        proxied = self._proxied(guard, tls, header)
        if proxied is None:
            return
        self._received(guard)
        protocol = self._protocol(proxied)
        tls.set_protocol(protocol)
        protocol.connection_made(proxied)
        if rest and not proxied.is_closing():
            protocol.data_received(rest)
