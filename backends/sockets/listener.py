"""Listening sockets: binding, accepting in batches, and surviving a lack of descriptors."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
import stat
import typing

from backends.sockets.arguments import bindable, check_path
from backends.sockets.names import LITERAL
from backends.sockets.oserrors import OUT_OF_RESOURCES, error_code, listen_failure
from backends.sockets.reactor import READ
from backends.sockets.stream import SocketStream, address_of, have_close_reset
from portable.errors import FAILURES, FrameworkError, TransportError, describe, listen_error
from portable.transport import Address

if typing.TYPE_CHECKING:
    from backends.sockets.reactor import SocketReactor
    from portable.protocol import ProtocolFactory

__all__ = ["SocketListener", "adopt", "bind_stream", "bind_unix", "remove_stale"]

_log = logging.getLogger("portable.sockets")

# Connections accepted in one turn; the rest comes in the next, after the first ones had theirs.
_MOST_ACCEPTS = 256
# Seconds without accepting when there are no descriptors left. Trying again at once would fill the processor,
# because the waiting connection keeps the listener readable.
_PAUSE_WITHOUT_RESOURCES = 1.0


def bind_inet(host: str, port: int, kind: socket.SocketKind, *, reuse_port: bool) -> socket.socket:
    """Return a non-blocking socket of `kind` bound to `host` and `port`, as `Streams.listen` describes.

    Raises:
        ListenError: the address cannot be bound.
    """
    family, host = bindable(host, port)
    try:
        sock = socket.socket(family, kind)
    except OSError as exc:
        raise listen_failure(exc, str(Address(host, port))) from exc
    try:
        sock.setblocking(False)
        if os.name == "posix" and kind == socket.SOCK_STREAM:
            # Without it a restart would have to wait for old connections' TIME-WAIT to pass. On Windows the
            # option means something else, and dangerous.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(host != "::"))
        if family == socket.AF_INET:
            sock.bind((host, port))
        else:
            # Finds out what a scope means.
            sock.bind(socket.getaddrinfo(host, port, family, kind, 0, LITERAL)[0][4])
    except OSError as exc:
        sock.close()
        raise listen_failure(exc, str(Address(host, port))) from exc
    return sock


def bind_stream(host: str, port: int, *, backlog: int, reuse_port: bool) -> socket.socket:
    """Return a listening TCP socket.

    Raises:
        ListenError: the address cannot be bound.
    """
    sock = bind_inet(host, port, socket.SOCK_STREAM, reuse_port=reuse_port)
    try:
        # Accepted sockets inherit both, which saves system calls for each of them.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
        sock.listen(backlog)
    except OSError as exc:
        sock.close()
        raise listen_failure(exc, str(Address(host, port))) from exc
    return sock


def bind_unix(path: str, *, backlog: int, mode: int | None) -> socket.socket:
    """Return a listening Unix socket.

    Raises:
        ListenError: the path cannot be bound.
    """
    check_path(path, listen_failure)
    with contextlib.ExitStack() as undo:
        try:
            sock = undo.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            sock.setblocking(False)
            remove_stale(path)
            sock.bind(path)
            undo.callback(os.unlink, path)
            if mode is not None:
                # Nobody can connect before listen(), so there is no moment with the wrong permissions.
                os.chmod(path, mode)
            sock.listen(backlog)
        except OSError as exc:
            raise listen_failure(exc, path) from exc
        undo.pop_all()
    return sock


def remove_stale(path: str) -> None:
    """Remove the socket file `path` if nobody listens on it; leave everything else alone."""
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            return
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        if probe.connect_ex(path) == errno.ECONNREFUSED:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)


def adopt(fd: int) -> socket.socket:
    """Return the listening stream socket that has the descriptor `fd`.

    Raises:
        ListenError: it is something else.
    """
    try:
        sock = socket.socket(fileno=fd)
    except OSError as exc:
        raise listen_failure(exc, f"descriptor {fd}") from exc
    listening = sock.type == socket.SOCK_STREAM and sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    if not listening:
        sock.detach()
        raise listen_error("EINVAL", f"descriptor {fd} is not a listening stream socket")
    sock.setblocking(False)
    return sock


class SocketListener:
    """A `Listener` over a listening socket."""

    def __init__(
        self, reactor: SocketReactor, sock: socket.socket, factory: ProtocolFactory, *, unlink: bool = False
    ) -> None:
        self.fd = sock.fileno()
        self._reactor = reactor
        self._sock = sock
        self._factory = factory
        self._address = address_of(sock.getsockname())
        self._file = self._file_id() if unlink else None
        self._paused = False  # by its owner
        self._accepting = False  # watched by the poller
        self._starved = False
        # How many connections to take at the next event. It doubles while there are that many and shrinks to
        # what there were, because the accept that finds nothing costs as much as one that succeeds.
        self._batch = 1
        self._kind = (sock.family.value, sock.type.value, sock.proto)
        try:
            self._watch()
        except FrameworkError as exc:
            self.close()
            if isinstance(exc, TransportError):  # the poller is full
                raise listen_error(exc.code, f"cannot listen on {self._address}: {exc}") from exc
            raise
        reactor.channels[self.fd] = self

    @property
    def address(self) -> Address | str:
        """See `Listener.address`."""
        return self._address

    def on_event(self, flags: int) -> None:
        """Accept what waits."""
        taken = 0
        while taken < self._batch and self._accepting:
            try:
                # socket.accept() makes a socket of the class that converts its constants to enums and back.
                fd, peer = self._sock._accept()  # type: ignore[attr-defined]  # noqa: SLF001
            except (BlockingIOError, InterruptedError):
                self._batch = max(1, taken)
                return
            except OSError as exc:
                if exc.errno in OUT_OF_RESOURCES:
                    self._starve(exc)
                    return
                # The connection at the head of the queue failed before we took it; the next may be fine.
                _log.debug("accept on %s: %s", self._address, error_code(exc))
                taken += 1
                continue
            taken += 1
            self._starved = False
            sock = socket.SocketType(*self._kind, fd)
            sock.setblocking(False)
            try:
                protocol = self._factory()
            except FAILURES:
                _log.exception("the protocol factory of %s failed; a connection is dropped", self._address)
                have_close_reset(sock)
                sock.close()
                continue
            SocketStream(self._reactor, sock, protocol, peer).start()
        self._batch = min(2 * self._batch, _MOST_ACCEPTS)

    def _starve(self, exc: OSError) -> None:
        if not self._starved:
            self._starved = True
            _log.error(
                "%s accepts no connections until there are resources again: %s",
                self._address,
                describe(error_code(exc)),
            )
        self._watch(accepting=False)
        self._reactor.call_later(_PAUSE_WITHOUT_RESOURCES, self._watch)

    def pause_accepting(self) -> None:
        """See `Listener.pause_accepting`."""
        self._paused = True
        self._watch()

    def resume_accepting(self) -> None:
        """See `Listener.resume_accepting`."""
        self._paused = False
        self._watch()

    def _watch(self, *, accepting: bool = True) -> None:
        """Have the poller watch, unless the owner has paused us."""
        wanted = accepting and not self._paused and self._sock.fileno() >= 0
        if wanted != self._accepting:
            if wanted:
                self._reactor.poller.register(self.fd, READ)
            else:
                self._reactor.poller.unregister(self.fd)
            self._accepting = wanted

    def close(self) -> None:
        """See `Listener.close`."""
        if self._sock.fileno() < 0:
            return
        self.pause_accepting()
        self._reactor.channels.pop(self.fd, None)
        if self._file is not None and self._file == self._file_id():
            with contextlib.suppress(OSError):
                os.unlink(str(self._address))
        # Events of this turn may still name the number. Whoever gets it next finds nothing to read: harmless.
        self._sock.close()

    def abort(self) -> None:
        """Close, because the reactor does."""
        self.close()

    def _file_id(self) -> tuple[int, int] | None:
        """Return what tells our socket file from one that replaced it."""
        try:
            info = os.lstat(str(self._address))
        except OSError:
            return None
        return info.st_dev, info.st_ino
