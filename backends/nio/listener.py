"""Listening sockets of the pump."""

from __future__ import annotations

import contextlib
import logging
import os
import typing

from backends.nio.addresses import parse_address
from backends.nio.bridge import CLOSED, STARVED, PumpError
from backends.nio.stream import NioStream
from backends.sockets.arguments import bindable, check_path
from backends.sockets.listener import remove_stale
from backends.sockets.oserrors import listen_failure as system_listen_failure
from portable.errors import FAILURES, describe, listen_error
from portable.transport import Address

if typing.TYPE_CHECKING:
    from collections.abc import Iterator

    from backends.nio.pumpreactor import PumpReactor
    from portable.errors import ListenError
    from portable.protocol import ProtocolFactory

__all__ = ["NioListener", "check_address", "listen_failure", "listen_tcp", "listen_unix"]

_log = logging.getLogger("portable.nio")

# Seconds without accepting when there are no descriptors left.
_PAUSE_WITHOUT_RESOURCES = 1.0


def listen_failure(error: PumpError, address: str) -> ListenError:
    """Return the error for a failed attempt to bind `address`."""
    return listen_error(error.code, f"cannot listen on {address}: {describe(error.code)}")


def check_address(host: str, port: int) -> tuple[str, str]:
    """Return the host to give to Java, and the address as errors name it.

    Raises:
        ListenError: `host` is a name, or there is no such port.
    """
    bound = bindable(host, port)[1]
    return ("" if not host else bound), str(Address(bound, port))


def listen_tcp(
    reactor: PumpReactor, factory: ProtocolFactory, host: str, port: int, backlog: int, reuse_port: bool
) -> NioListener:
    """See `Streams.listen`."""
    host, target = check_address(host, port)
    try:
        ident = reactor.bridge.listen_tcp(host, port, backlog, reuse_port)
        address = parse_address(reactor.bridge.local_address(ident))
    except PumpError as exc:
        raise listen_failure(exc, target) from exc
    return NioListener(reactor, ident, factory, address)


def listen_unix(
    reactor: PumpReactor, factory: ProtocolFactory, path: str, backlog: int, mode: int | None
) -> NioListener:
    """See `UnixSockets.listen_unix`."""
    check_path(path, system_listen_failure, str.encode)
    with contextlib.suppress(OSError):  # what is wrong there, binding will say
        remove_stale(path)
    try:
        with _nobody_may_connect_but(mode):
            ident = reactor.bridge.listen_unix(path, backlog)
    except PumpError as exc:
        raise listen_failure(exc, path) from exc
    try:
        if mode is not None:
            os.chmod(path, mode)
    except OSError as exc:
        reactor.bridge.close_listener(ident)
        os.unlink(path)
        raise system_listen_failure(exc, path) from exc
    return NioListener(reactor, ident, factory, path)


@contextlib.contextmanager
def _nobody_may_connect_but(mode: int | None) -> Iterator[None]:
    """Have a socket made in this block let nobody connect whom `mode` does not.

    Java binds and listens in one step, so a chmod comes too late, and the umask is the whole process's.
    Files that other threads make meanwhile only get too few permissions, never too many; their owners keep all
    of them, and the others as a rule, too: the right to write, which connecting takes, they seldom have.
    """
    if mode is None:
        yield
        return
    before = os.umask(0o077)  # there is no way to ask without setting it
    os.umask(before | 0o222 & ~mode)
    try:
        yield
    finally:
        os.umask(before)


class NioListener:
    """A `Listener` of the pump."""

    def __init__(
        self, reactor: PumpReactor, ident: int, factory: ProtocolFactory, address: Address | str
    ) -> None:
        self.id = ident
        self._reactor = reactor
        self._factory = factory
        self._address = address
        self._file = self._file_id() if isinstance(address, str) else None
        self._paused = False  # by its owner
        self._accepting = False  # as Java knows
        self._starved = False
        self._closed = False
        # Accepted by Java in the turn in which the owner paused: they wait as if still in the system's queue.
        self._waiting: list[NioStream] = []
        reactor.exchange.channels[ident] = self
        self._accept()

    @property
    def address(self) -> Address | str:
        """See `Listener.address`."""
        return self._address

    def on_accepted(self, ident: int, peer: str) -> None:
        """See `PumpChannel.on_accepted`."""
        self._starved = False
        # Unix sockets that accept have the listener's path, whatever Java would say.
        sockname = self._address if isinstance(self._address, str) else None
        stream = NioStream(self._reactor, ident, peer, sockname)
        if self._paused or self._waiting:
            stream.pause_reading()
            self._waiting.append(stream)
        else:
            self._begin(stream)

    def _begin(self, stream: NioStream) -> None:
        try:
            protocol = self._factory()
        except FAILURES:
            _log.exception("the protocol factory of %s failed; a connection is dropped", self._address)
            stream.abort()
        else:
            stream.start(protocol)

    def _admit(self) -> None:
        """Begin the connections that wait."""
        while self._waiting and not self._paused:
            stream = self._waiting.pop(0)
            if not stream.is_closing():
                stream.resume_reading()
                self._begin(stream)

    def on_data(self, data: bytes) -> None:
        """See `PumpChannel.on_data`. Listeners get none."""

    def on_event(self, kind: int, arg: int, data: bytes) -> None:
        """See `PumpChannel.on_event`."""
        if kind == STARVED:
            if not self._starved:
                self._starved = True
                _log.error(
                    "%s accepts no connections until there are resources again: %s",
                    self._address,
                    describe(data.decode()),
                )
            self._accepting = False
            self._reactor.call_later(_PAUSE_WITHOUT_RESOURCES, self._accept)
        elif kind == CLOSED:
            self.close()

    def pause_accepting(self) -> None:
        """See `Listener.pause_accepting`."""
        self._paused = True
        if self._accepting:
            self._accepting = False
            self._reactor.bridge.pause_accepting(self.id)

    def resume_accepting(self) -> None:
        """See `Listener.resume_accepting`."""
        if self._paused:
            self._paused = False
            if self._waiting:
                self._reactor.call_soon(self._admit)
            self._accept()

    def _accept(self) -> None:
        if not (self._paused or self._accepting or self._closed):
            self._accepting = True
            self._reactor.bridge.resume_accepting(self.id)

    def close(self) -> None:
        """See `Listener.close`."""
        if self._closed:
            return
        self._closed = True
        self._accepting = False
        for stream in self._waiting:
            stream.abort()
        self._waiting.clear()
        self._reactor.exchange.channels.pop(self.id, None)
        if self._file is not None and self._file == self._file_id():
            with contextlib.suppress(OSError):
                os.unlink(str(self._address))
        with contextlib.suppress(PumpError):  # it is closed already
            self._reactor.bridge.close_listener(self.id)

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
