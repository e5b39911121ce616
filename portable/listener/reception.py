"""What a new connection goes through before its protocol: limits, PROXY header, TLS, throttle."""

from __future__ import annotations

import functools
import logging
import typing

from portable.errors import RemoteProtocolError
from portable.listener.proxied import ProxiedTransport
from portable.listener.proxyheader import ProxyHeaderParser
from portable.logpace import LogPace
from portable.protocol import Protocol
from portable.throttle import ThrottledTransport
from portable.tls import TLSTransport

if typing.TYPE_CHECKING:
    from portable.clock import Clock, Timer
    from portable.listener.guard import Guard
    from portable.listener.proxyheader import ProxyHeader
    from portable.listener.table import ConnectionTable
    from portable.peers import PeerSet
    from portable.protocol import ProtocolFactory, StreamProtocol
    from portable.tls import TLSOptions
    from portable.transport import Transport

__all__ = ["HeaderReader", "Reception"]

_log = logging.getLogger("portable.listener")


class HeaderReader(Protocol):
    """Reads a PROXY header and hands the connection on.

    Args:
        drop: ends the connection, for a reason that is to be logged at that level.
        done: called with the transport, the header and the bytes that came after it.
    """

    def __init__(
        self,
        drop: typing.Callable[[Transport, int, str], object],
        done: typing.Callable[[Transport, ProxyHeader, bytes], object],
    ) -> None:
        self._drop = drop
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
            self._drop(self._transport, logging.WARNING, f"PROXY header: {exc}")
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
        self._drops = LogPace()

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
            guard.serve(transport, HeaderReader(self._drop, functools.partial(self._header_read, guard)))
        else:
            self._start_tls(guard, transport, tls, from_proxy)

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
            self._drop(guard.transport, logging.INFO, "no TLS handshake or PROXY header in time")

    def _drop(self, transport: Transport, level: int, why: str) -> None:
        count = self._drops.count(self._clock.time())
        if count:
            peer = transport.get_extra_info("peername")
            _log.log(level, "%s: dropped %d connection(s), the last from %s: %s", self._name, count, peer, why)
        transport.abort()

    def _protocol(self, transport: Transport) -> StreamProtocol:
        protocol = self._factory()
        if not self._throttle:
            return protocol
        return ThrottledTransport(transport, protocol, self._throttle, self._clock)

    def _proxied(
        self, guard: Guard, transport: Transport, header: ProxyHeader, rest: bytes
    ) -> ProxiedTransport | None:
        """Return the transport for what a header tells; None if its client has too many connections."""
        if not self._table.admit_peer(guard, header.source):
            transport.abort()
            return None
        return ProxiedTransport(transport, header, rest, self._clock)

    def _header_read(self, guard: Guard, transport: Transport, header: ProxyHeader, rest: bytes) -> None:
        proxied = self._proxied(guard, transport, header, rest)
        if proxied is None:
            return
        if self._tls is not None:
            self._start_tls(guard, proxied, self._tls, False)
        else:
            self._received(guard)
            guard.serve(proxied, self._protocol(proxied))
        proxied.deliver()

    def _start_tls(self, guard: Guard, transport: Transport, options: TLSOptions, header_follows: bool) -> None:
        factory = functools.partial(self._shaken_hands, guard, header_follows)
        guard.serve(transport, TLSTransport(options, factory=factory))

    def _shaken_hands(self, guard: Guard, header_follows: bool) -> StreamProtocol:
        if header_follows:
            return HeaderReader(self._drop, functools.partial(self._header_read_in_tls, guard))
        self._received(guard)
        return self._protocol(typing.cast("TLSTransport", guard.protocol))

    def _header_read_in_tls(self, guard: Guard, tls: Transport, header: ProxyHeader, rest: bytes) -> None:
        proxied = self._proxied(guard, tls, header, rest)
        if proxied is None:
            return
        self._received(guard)
        protocol = self._protocol(proxied)
        tls.set_protocol(protocol)
        protocol.connection_made(proxied)
        proxied.deliver()
