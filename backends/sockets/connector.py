"""Opening connections: one non-blocking connect as a Deferred."""

from __future__ import annotations

import errno
import os
import socket
import typing

from backends.sockets.arguments import check_literal, check_path, check_port
from backends.sockets.names import LITERAL
from backends.sockets.oserrors import connect_failure
from backends.sockets.reactor import WRITE
from backends.sockets.stream import SocketStream, have_close_reset
from portable.deferred import Deferred, ensure_deferred, fail
from portable.errors import FAILURES, ConnectError, TransportError, connect_error
from portable.happyeyeballs import connect_to_name
from portable.transport import Address

if typing.TYPE_CHECKING:
    from backends.sockets.reactor import SocketReactor
    from portable.protocol import StreamProtocol

__all__ = ["connect", "connect_unix"]

P = typing.TypeVar("P", bound="StreamProtocol")

# A Unix listener with a full queue refuses at once instead of letting us wait; so we try again, this often.
_UNIX_RETRY_DELAY = 0.02

_IN_PROGRESS = frozenset({errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EINTR})


class _Attempt:
    """One connect under way; `result` gives the connected socket."""

    def __init__(self, reactor: SocketReactor, target: str, sock: socket.socket) -> None:
        self._reactor = reactor
        self._target = target
        self._sock = sock
        self.fd = sock.fileno()
        self.result: Deferred[socket.socket] = Deferred(lambda _deferred: self.abort())

    def start(self, address: typing.Any, local: typing.Any) -> None:
        """Begin. Outcomes that are known at once are told too."""
        sock = self._sock
        try:
            sock.setblocking(False)
            if sock.family != socket.AF_UNIX:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
            if local is not None:
                sock.bind(local)
            code = sock.connect_ex(address)
            if code and (code not in _IN_PROGRESS or sock.family == socket.AF_UNIX):
                raise OSError(code, os.strerror(code))
            # Even a connect that succeeded at once is reported by the poller: one path for both.
            self._reactor.poller.register(self.fd, WRITE)
        except OSError as exc:
            self._fail(exc)
        except TransportError as exc:
            sock.close()
            self.result.errback(connect_error(exc.code, f"cannot connect to {self._target}: {exc}"))
        else:
            self._reactor.channels[self.fd] = self

    def on_event(self, flags: int) -> None:
        """Take the outcome."""
        code = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if not code:
            try:
                self._sock.getpeername()
            except OSError:
                return  # still under way: the event was meant for a socket that had our number before
        self._detach()
        if code:
            self._fail(OSError(code, os.strerror(code)))
        else:
            self.result.callback(self._sock)

    def _fail(self, exc: OSError) -> None:
        self._sock.close()
        error = connect_failure(exc, self._target)
        error.__cause__ = exc
        self.result.errback(error)

    def _detach(self) -> None:
        if self._reactor.channels.get(self.fd) is self:
            del self._reactor.channels[self.fd]
            self._reactor.poller.unregister(self.fd)

    def abort(self) -> None:
        """Give up."""
        self._detach()
        self._sock.close()


def _open(
    reactor: SocketReactor, family: socket.AddressFamily, address: typing.Any, local: typing.Any, target: str
) -> Deferred[socket.socket]:
    result: Deferred[socket.socket] = Deferred()
    try:
        sock = socket.socket(family, socket.SOCK_STREAM)
    except OSError as exc:  # no descriptors left
        result.errback(connect_failure(exc, target))
        return result
    attempt = _Attempt(reactor, target, sock)
    attempt.start(address, local)
    return attempt.result


def _finish(reactor: SocketReactor, factory: typing.Callable[[], P], target: str, sock: socket.socket) -> P:
    """Make the connection of a connected socket."""
    try:
        peer = sock.getpeername()
        protocol = factory()
    except OSError as exc:  # it was reset in the meantime
        sock.close()
        raise connect_failure(exc, target) from exc
    except FAILURES:
        have_close_reset(sock)
        sock.close()
        raise
    SocketStream(reactor, sock, protocol, peer).start()
    return protocol


def connect(
    reactor: SocketReactor,
    factory: typing.Callable[[], P],
    host: str,
    port: int,
    timeout: float,
    local_host: str,
) -> Deferred[P]:
    """See `Streams.connect`."""
    local = (local_host, 0) if local_host else None
    try:
        check_port(port, str(Address(host, port)))
        if local_host:
            check_literal(local_host, f"from {local_host!r}")
    except ConnectError as exc:
        return fail(exc)

    def attempt(literal: str) -> Deferred[socket.socket]:
        family = socket.AF_INET6 if ":" in literal else socket.AF_INET
        address: typing.Any = (literal, port)
        if "%" in literal:  # a scope, which the socket wants as a number
            try:
                address = socket.getaddrinfo(literal, port, family, socket.SOCK_STREAM, 0, LITERAL)[0][4]
            except OSError as exc:
                return fail(connect_failure(exc, str(Address(literal, port))))
        return _open(reactor, family, address, local, str(Address(literal, port)))

    connected = connect_to_name(reactor, attempt, host, port, timeout, local_host)
    return connected.add_callback(lambda sock: _finish(reactor, factory, str(Address(host, port)), sock))


def connect_unix(
    reactor: SocketReactor, factory: typing.Callable[[], P], path: str, timeout: float
) -> Deferred[P]:
    """See `UnixSockets.connect_unix`."""
    deadline = reactor.time() + timeout
    try:
        check_path(path, connect_failure)
    except ConnectError as exc:
        return fail(exc)

    async def keep_trying() -> socket.socket:
        while True:
            try:
                return await _open(reactor, socket.AF_UNIX, path, None, path)
            except ConnectError as exc:
                if exc.code != "EAGAIN" or reactor.time() >= deadline:
                    raise
            pause: Deferred[None] = Deferred()
            timer = reactor.call_later(_UNIX_RETRY_DELAY, pause.callback, None)
            try:
                await pause
            finally:
                timer.cancel()

    connected = ensure_deferred(keep_trying())
    return connected.add_callback(lambda sock: _finish(reactor, factory, path, sock))
