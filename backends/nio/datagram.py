"""UDP sockets of the pump."""

from __future__ import annotations

import logging
import typing

from backends.nio.addresses import format_address, parse_address
from backends.nio.bridge import ABORT, CLOSE, CLOSED, DATAGRAM, ERROR, SENDTO, WRITABLE, PumpError
from backends.nio.connector import connect_failure
from backends.nio.listener import check_address, listen_failure
from backends.sockets.arguments import check_literal, check_port, check_receiver
from portable.errors import FAILURES, connection_lost_error
from portable.transport import Address

if typing.TYPE_CHECKING:
    from backends.nio.pumpreactor import PumpReactor
    from portable.protocol import DatagramProtocol
    from portable.transport import Buffer

__all__ = ["NioDatagrams", "connected_datagrams", "listening_datagrams"]

_log = logging.getLogger("portable.nio")

# Senders' addresses remembered in both forms, so that a busy peer's is not parsed for every datagram.
_MOST_KNOWN = 1024
# Bytes; the longest datagram that UDP can carry is shorter.
_TOO_LONG = 64 * 1024


class NioDatagrams:
    """A `DatagramTransport` of the pump."""

    def __init__(
        self,
        reactor: PumpReactor,
        ident: int,
        protocol: DatagramProtocol,
        sockname: Address | str,
        peer: Address | None = None,
    ) -> None:
        self.id = ident
        self._reactor = reactor
        self._protocol = protocol
        self._sockname = sockname
        self._peer = peer
        self._known: dict[bytes, Address] = {}
        self._received = 0
        self._sent = 0
        self._closing = False
        self._early: list[tuple[int, int, bytes]] | None = []  # until the protocol knows us
        reactor.exchange.channels[ident] = self
        reactor.call_soon(self._start)

    def _start(self) -> None:
        self._call(self._protocol.connection_made, self)
        early, self._early = self._early or [], None
        for event in early:
            self.on_event(*event)

    def _call(self, method: typing.Callable[..., object], *args: object) -> None:
        try:
            method(*args)
        except FAILURES:
            _log.exception("the datagram protocol of %s failed; its socket is closed", self._sockname)
            self.abort()

    def on_data(self, data: bytes) -> None:
        """See `PumpChannel.on_data`. Datagrams come with their sender."""

    def on_accepted(self, ident: int, peer: str) -> None:
        """See `PumpChannel.on_accepted`. We are no listener."""

    def on_event(self, kind: int, arg: int, data: bytes) -> None:
        """See `PumpChannel.on_event`."""
        if self._early is not None:
            self._early.append((kind, arg, data))
        elif kind == CLOSED:
            self._end()
        elif self._closing:
            return
        elif kind == DATAGRAM:
            datagram = data[arg:]
            self._received += len(datagram)
            self._call(self._protocol.datagram_received, datagram, self._address(data[:arg]))
        elif kind == ERROR:
            self._call(self._protocol.error_received, connection_lost_error(data.decode()))
        elif kind == WRITABLE:
            self._call(self._protocol.resume_writing if arg else self._protocol.pause_writing)

    def on_refused(self, data: Buffer, count: int, arg: int) -> None:
        """See `PumpWriter.on_refused`. The datagram is lost."""
        self._sent -= count - arg

    def _address(self, raw: bytes) -> Address:
        address = self._known.get(raw)
        if address is None:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            parsed = parse_address(raw.decode()) if raw else self._peer
            address = self._known[raw] = typing.cast("Address", parsed)
        return address

    def sendto(self, data: Buffer, addr: Address | None = None) -> None:
        """See `DatagramTransport.sendto`."""
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(f"sendto() takes bytes, bytearray or memoryview, not {type(data).__name__}")
        # A name would be looked up by Java, with everything else waiting for the name server.
        head = format_address(check_receiver(addr)) if self._peer is None else b""
        if self._closing:
            return
        # Of what is too long, enough that the system says so, and no more than the operations have room for.
        datagram = bytes(data)[:_TOO_LONG]
        self._sent += len(datagram)
        self._reactor.exchange.put(SENDTO, self.id, len(head), head + datagram)

    def close(self) -> None:
        """See `DatagramTransport.close`."""
        self._finish_by(CLOSE)

    def abort(self) -> None:
        """See `DatagramTransport.abort`."""
        self._finish_by(ABORT)

    def _finish_by(self, operation: int) -> None:
        if not self._closing:
            self._closing = True
            self._reactor.exchange.put(operation, self.id)

    def end(self) -> None:
        """Tell the protocol about the end, because the reactor closes."""
        self._closing = True
        self._end()

    def _end(self) -> None:
        if self._reactor.exchange.channels.pop(self.id, None) is None:
            return
        self._closing = True
        try:
            self._protocol.connection_lost(None)
        except FAILURES:
            _log.exception("connection_lost of a datagram protocol failed")

    def is_closing(self) -> bool:
        """See `DatagramTransport.is_closing`."""
        return self._closing

    def get_extra_info(self, name: str, default: typing.Any = None) -> typing.Any:
        """See `DatagramTransport.get_extra_info`."""
        known: dict[str, typing.Any] = {
            "sockname": self._sockname,
            "reactor": self._reactor,
            "bytes_received": self._received,
            "bytes_sent": self._sent,
        }
        if self._peer is not None:
            known["peername"] = self._peer
        return known.get(name, default)


def listening_datagrams(
    reactor: PumpReactor,
    factory: typing.Callable[[], DatagramProtocol],
    host: str,
    port: int,
    *,
    reuse_port: bool,
) -> NioDatagrams:
    """See `Datagrams.listen_datagram`."""
    host, target = check_address(host, port)
    try:
        ident = reactor.bridge.bind_udp(host, port, reuse_port)
    except PumpError as exc:
        raise listen_failure(exc, target) from exc
    return _make(reactor, ident, factory, None)


def connected_datagrams(
    reactor: PumpReactor, factory: typing.Callable[[], DatagramProtocol], host: str, port: int
) -> NioDatagrams:
    """See `Datagrams.connect_datagram`."""
    target = Address(host, port)
    check_port(port, str(target), least=1)
    check_literal(host, f"to {target}")
    try:
        ident = reactor.bridge.connect_udp(host, port)
    except PumpError as exc:
        raise connect_failure(exc.code, str(target)) from exc
    return _make(reactor, ident, factory, target)


def _make(
    reactor: PumpReactor, ident: int, factory: typing.Callable[[], DatagramProtocol], peer: Address | None
) -> NioDatagrams:
    try:
        protocol = factory()
    except FAILURES:
        reactor.exchange.put(ABORT, ident)
        raise
    sockname = parse_address(reactor.bridge.local_address(ident))
    return NioDatagrams(reactor, ident, protocol, sockname, peer)
