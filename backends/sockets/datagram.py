"""UDP sockets."""

from __future__ import annotations

import collections
import contextlib
import errno
import logging
import socket
import typing

from backends.sockets.arguments import check_literal, check_port, check_receiver
from backends.sockets.listener import bind_inet
from backends.sockets.names import LITERAL
from backends.sockets.oserrors import connect_failure, connection_failure
from backends.sockets.reactor import READ, WRITE
from backends.sockets.stream import address_of
from portable.errors import FAILURES, TransportError, connect_error, listen_error
from portable.transport import Address, normalise_host

if typing.TYPE_CHECKING:
    from backends.sockets.reactor import SocketReactor
    from portable.protocol import DatagramProtocol
    from portable.transport import Buffer

__all__ = ["SocketDatagrams", "connected_datagrams", "listening_datagrams"]

_log = logging.getLogger("portable.sockets")

# The longest datagram that UDP can carry is shorter.
_READ_SIZE = 64 * 1024
# Datagrams taken from one socket in one turn, so that a flood leaves the others their share.
_READS_PER_TURN = 64
# Bytes waiting for the system to take them. Datagrams may be lost anyway; a queue without end helps nobody.
_MOST_WAITING = 64 * 1024


class SocketDatagrams:
    """A `DatagramTransport` over a socket."""

    def __init__(
        self,
        reactor: SocketReactor,
        sock: socket.socket,
        protocol: DatagramProtocol,
        peer: Address | None = None,
    ) -> None:
        self.fd = sock.fileno()
        self._reactor = reactor
        self._sock = sock
        self._protocol = protocol
        self._peer = peer
        self._sockname = address_of(sock.getsockname())
        self._waiting: collections.deque[tuple[bytes, typing.Any]] = collections.deque()
        self._waiting_size = 0
        self._received = 0
        self._sent = 0
        self._mask = READ
        self._paused = False
        self._closing = False
        self._ended = False
        reactor.poller.register(self.fd, READ)
        reactor.call_soon(self._start)

    def _start(self) -> None:
        # Not before: a datagram may have come by now, and would be delivered before `connection_made`.
        self._reactor.channels[self.fd] = self
        self._call(self._protocol.connection_made, self)

    def _call(self, method: typing.Callable[..., object], *args: object) -> None:
        try:
            method(*args)
        except FAILURES:
            _log.exception("the datagram protocol of %s failed; its socket is closed", self._sockname)
            self.abort()

    def on_event(self, flags: int) -> None:
        """Take what the poller reported."""
        if flags & ~WRITE and not self._closing:
            self._on_readable()
        if flags & WRITE and self._mask & WRITE:
            self._send_waiting()

    def _on_readable(self) -> None:
        for _ in range(_READS_PER_TURN):
            if self._closing:
                return
            try:
                data, raw = self._sock.recvfrom(_READ_SIZE)
            except (BlockingIOError, InterruptedError):
                return
            except OSError as exc:
                self._call(self._protocol.error_received, connection_failure(exc))
                continue
            self._received += len(data)
            peer = address_of(raw)
            self._call(self._protocol.datagram_received, data, peer)

    def sendto(self, data: Buffer, addr: Address | None = None) -> None:
        """See `DatagramTransport.sendto`."""
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(f"sendto() takes bytes, bytearray or memoryview, not {type(data).__name__}")
        # A name would be looked up here and now, with everything else waiting for the name server.
        receiver = check_receiver(addr) if self._peer is None else None
        if self._closing:
            return
        try:
            raw = None if receiver is None else self._raw(receiver)
        except OSError as exc:
            self._reactor.call_soon(self._report, self._protocol.error_received, connection_failure(exc))
            return
        if self._waiting:
            self._queue(bytes(data), raw)
        elif not self._send(data, raw):
            self._queue(bytes(data), raw)
            self._watch(READ | WRITE)

    def _queue(self, data: bytes, raw: typing.Any) -> None:
        if self._waiting_size + len(data) > _MOST_WAITING:
            return
        self._waiting.append((data, raw))
        self._waiting_size += len(data)
        if not self._paused:
            self._paused = True
            self._reactor.call_soon(self._report, self._protocol.pause_writing)

    def _send(self, data: Buffer, raw: typing.Any) -> bool:
        """Send one datagram to `raw`, or to the peer; return whether the system took it, or never will."""
        try:
            self._sent += self._sock.send(data) if raw is None else self._sock.sendto(data, raw)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError as exc:
            self._reactor.call_soon(self._report, self._protocol.error_received, connection_failure(exc))
        return True

    def _raw(self, addr: Address) -> typing.Any:
        """Return `addr` as the socket module wants it.

        Raises:
            OSError: port 0, the other family's address, or a scope that this machine does not have.
        """
        host, port = normalise_host(addr[0]), addr[1]
        if not port:
            raise OSError(errno.EINVAL, "nobody has port 0")
        if self._sock.family == socket.AF_INET6:
            if ":" not in host:
                return f"::ffff:{host}", port
            if "%" in host:
                return socket.getaddrinfo(host, port, socket.AF_INET6, socket.SOCK_DGRAM, 0, LITERAL)[0][4]
        elif ":" in host:
            raise OSError(errno.EAFNOSUPPORT, "an IPv4 socket")
        return host, port

    def _report(self, method: typing.Callable[..., object], *args: object) -> None:
        if not self._ended:
            self._call(method, *args)

    def _send_waiting(self) -> None:
        while self._waiting:
            data, raw = self._waiting[0]
            if not self._send(data, raw):
                return
            self._waiting.popleft()
            self._waiting_size -= len(data)
        self._watch(READ)
        if self._closing:
            self._end()
        elif self._paused:
            self._paused = False
            # Like the pause, which may still be on its way: it would come second, and hold for ever.
            self._reactor.call_soon(self._report, self._protocol.resume_writing)

    def _watch(self, mask: int) -> None:
        if self._closing:
            mask &= ~READ
        if mask == self._mask or self._ended:
            return
        poller = self._reactor.poller
        if not mask:
            poller.unregister(self.fd)
        elif not self._mask:
            poller.register(self.fd, mask)
        else:
            poller.modify(self.fd, mask)
        self._mask = mask

    def close(self) -> None:
        """See `DatagramTransport.close`."""
        if self._closing:
            return
        self._closing = True
        self._watch(self._mask)
        if not self._waiting:
            self._reactor.call_soon(self._end)

    def abort(self) -> None:
        """See `DatagramTransport.abort`."""
        self._closing = True
        self._waiting.clear()
        self._watch(0)
        self._reactor.call_soon(self._end)

    def _end(self) -> None:
        if self._ended:
            return
        self._watch(0)
        self._ended = True
        del self._reactor.channels[self.fd]
        self._sock.close()
        try:
            self._protocol.connection_lost(None)
        except FAILURES:
            _log.exception("connection_lost of a datagram protocol failed")

    def is_closing(self) -> bool:
        """See `DatagramTransport.is_closing`."""
        return self._closing

    def get_extra_info(self, name: str, default: typing.Any = None) -> typing.Any:
        """See `DatagramTransport.get_extra_info`."""
        if name == "peername":
            return self._peer if self._peer is not None else default
        if name == "sockname":
            return self._sockname
        known = {"reactor": self._reactor, "bytes_received": self._received, "bytes_sent": self._sent}
        known["socket"] = self._sock
        return known.get(name, default)


def listening_datagrams(
    reactor: SocketReactor,
    factory: typing.Callable[[], DatagramProtocol],
    host: str,
    port: int,
    *,
    reuse_port: bool,
) -> SocketDatagrams:
    """See `Datagrams.listen_datagram`."""
    sock = bind_inet(host, port, socket.SOCK_DGRAM, reuse_port=reuse_port)
    try:
        return SocketDatagrams(reactor, sock, factory())
    except TransportError as exc:  # the poller is full
        sock.close()
        raise listen_error(exc.code, f"cannot listen on {Address(host, port)}: {exc}") from exc
    except FAILURES:
        sock.close()
        raise


def connected_datagrams(
    reactor: SocketReactor, factory: typing.Callable[[], DatagramProtocol], host: str, port: int
) -> SocketDatagrams:
    """See `Datagrams.connect_datagram`."""
    target = Address(host, port)
    check_port(port, str(target), least=1)
    check_literal(host, f"to {target}")
    with contextlib.ExitStack() as undo:
        try:
            info = socket.getaddrinfo(host, port, 0, socket.SOCK_DGRAM, 0, LITERAL)[0]
            sock = undo.enter_context(socket.socket(info[0], socket.SOCK_DGRAM))
            sock.setblocking(False)
            sock.connect(info[4])
            transport = SocketDatagrams(reactor, sock, factory(), target)
        except OSError as exc:
            raise connect_failure(exc, str(target)) from exc
        except TransportError as exc:  # the poller is full
            raise connect_error(exc.code, f"cannot connect to {target}: {exc}") from exc
        undo.pop_all()
    return transport
