"""Opening connections: one connect of the pump as a Deferred."""

from __future__ import annotations

import typing

from backends.nio.bridge import ABORT, CLOSED, CONNECTED, PumpError
from backends.nio.stream import NioStream
from backends.sockets.arguments import check_literal, check_path, check_port
from backends.sockets.oserrors import connect_failure as system_connect_failure
from portable.deferred import Deferred, ensure_deferred, fail
from portable.errors import FAILURES, ConnectError, connect_error, describe
from portable.happyeyeballs import connect_to_name
from portable.transport import Address

if typing.TYPE_CHECKING:
    from backends.nio.pumpreactor import PumpReactor
    from portable.protocol import StreamProtocol

__all__ = ["connect", "connect_failure", "connect_unix"]

P = typing.TypeVar("P", bound="StreamProtocol")

# A Unix listener with a full queue refuses at once instead of letting us wait; so we try again, this often.
_UNIX_RETRY_DELAY = 0.02


def connect_failure(code: str, address: str) -> ConnectError:
    """Return the error for a failed attempt to connect to `address`."""
    return connect_error(code, f"cannot connect to {address}: {describe(code)}")


class _Attempt:
    """One connect under way; `result` gives the stream, which has no protocol yet."""

    def __init__(self, reactor: PumpReactor, ident: int, peer: Address | str, sockname: str | None) -> None:
        self._reactor = reactor
        self._id = ident
        self._peer = peer
        self._sockname = sockname
        self.result: Deferred[NioStream] = Deferred(lambda _deferred: self.abort())
        reactor.exchange.channels[ident] = self

    def on_event(self, kind: int, arg: int, data: bytes) -> None:
        """See `PumpChannel.on_event`."""
        if kind == CONNECTED:
            self.result.callback(NioStream(self._reactor, self._id, self._peer, self._sockname))
        elif kind == CLOSED:
            del self._reactor.exchange.channels[self._id]
            self.result.errback(connect_failure(data.decode() or "ECONNABORTED", str(self._peer)))

    def on_data(self, data: bytes) -> None:
        """See `PumpChannel.on_data`. Nothing comes before CONNECTED."""

    def on_accepted(self, ident: int, peer: str) -> None:
        """See `PumpChannel.on_accepted`. We are no listener."""

    def abort(self) -> None:
        """Give up."""
        if self._reactor.exchange.channels.get(self._id) is self:
            del self._reactor.exchange.channels[self._id]
            self._reactor.exchange.put(ABORT, self._id)


def _begin(factory: typing.Callable[[], P], stream: NioStream) -> P:
    """Make the connection of a connected stream."""
    try:
        protocol = factory()
    except FAILURES:
        stream.abort()
        raise
    stream.start(protocol)
    return protocol


def connect(
    reactor: PumpReactor,
    factory: typing.Callable[[], P],
    host: str,
    port: int,
    timeout: float,
    local_host: str,
) -> Deferred[P]:
    """See `Streams.connect`."""
    target = str(Address(host, port))
    try:
        check_port(port, target)
        if local_host:
            check_literal(local_host, f"from {local_host!r}")
    except ConnectError as exc:
        return fail(exc)

    def attempt(literal: str) -> Deferred[NioStream]:
        address = Address(literal, port)
        try:
            ident = reactor.bridge.connect_tcp(literal, port, local_host)
        except PumpError as exc:
            return fail(connect_failure(exc.code, str(address)))
        return _Attempt(reactor, ident, address, None).result

    connected = connect_to_name(reactor, attempt, host, port, timeout, local_host)
    return connected.add_callback(lambda stream: _begin(factory, stream))


def connect_unix(
    reactor: PumpReactor, factory: typing.Callable[[], P], path: str, timeout: float
) -> Deferred[P]:
    """See `UnixSockets.connect_unix`."""
    deadline = reactor.time() + timeout
    try:
        check_path(path, system_connect_failure, str.encode)
    except ConnectError as exc:
        return fail(exc)

    def attempt() -> Deferred[NioStream]:
        try:
            ident = reactor.bridge.connect_unix(path)
        except PumpError as exc:
            return fail(connect_failure(exc.code, path))
        return _Attempt(reactor, ident, path, "").result

    async def keep_trying() -> NioStream:
        while True:
            try:
                return await attempt()
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
    return connected.add_callback(lambda stream: _begin(factory, stream))
