"""How an asyncio program's servers and connections come from one of our reactors."""

from __future__ import annotations

import os
import typing

from backends.asyncio.datagrams import DatagramBridge
from backends.asyncio.server import Server
from backends.asyncio.streams import StreamBridge, StreamTransport
from backends.asyncio.translating import future_of, system_error, tls_options
from portable.errors import AddressNotAvailable, TransportError
from portable.tls import TLSTransport, tls_factory

if typing.TYPE_CHECKING:
    import asyncio
    import socket

    from backends.asyncio.baseloop import BaseLoop
    from portable.deferred import Deferred
    from portable.protocol import StreamProtocol
    from portable.reactor import Listener
    from portable.tls import TLSOptions

    StreamFactory = typing.Callable[[], asyncio.BaseProtocol]
    Listen = typing.Callable[[typing.Callable[[], StreamProtocol]], Listener]
    Connect = typing.Callable[
        [typing.Callable[[], typing.Any]], Deferred[StreamBridge] | Deferred[TLSTransport]
    ]

__all__ = ["adopted", "connected", "connected_datagrams", "listening", "listening_on", "upgraded"]

# Seconds. asyncio has no limit of its own for a connect; the system gives up after two minutes or so.
CONNECT_TIMEOUT = 130.0
# Seconds, as asyncio's.
HANDSHAKE_TIMEOUT = 60.0


def _bounded(
    loop: BaseLoop, factory: typing.Callable[[], TLSTransport], seconds: float | None
) -> typing.Callable[[], TLSTransport]:
    """Return a factory of the same TLS connections, dropped if the handshake takes longer than `seconds`."""

    def make() -> TLSTransport:
        tls = factory()

        def give_up() -> None:
            if not tls.handshake_done:
                tls.abort()

        timer = loop.reactor.call_later(seconds or HANDSHAKE_TIMEOUT, give_up)
        tls.handshake.add_both(lambda _: timer.cancel())
        return tls

    return make


async def listening_on(loop: BaseLoop, host: object) -> list[str]:
    """Return the literal addresses, or "", that `create_server` means by `host`."""
    if host is None or host == "":
        return [""]
    hosts = [host] if isinstance(host, str) else list(typing.cast("typing.Iterable[str]", host))
    found: list[str] = []
    for name in hosts:
        if name:
            addresses: list[str] = await future_of(loop, loop.reactor.resolve(name))
            found += addresses
        else:
            found.append("")
    return list(dict.fromkeys(found))


def listening(
    loop: BaseLoop,
    factory: StreamFactory,
    listens: typing.Sequence[Listen],
    ssl: object,
    handshake_timeout: float | None,
    *,
    start: bool,
    sock: socket.socket | None = None,
) -> Server:
    """Return a server whose listeners `listens` make.

    Args:
        sock: the program's own, see `adopted`.

    Raises:
        OSError: an address cannot be bound. Those that this machine lacks are left out if it has others.
    """
    options = tls_options(ssl, server_side=True)
    server = Server(loop, sock)

    def make() -> StreamBridge:
        return StreamBridge(loop, loop.within(factory), server)

    made: typing.Callable[[], StreamProtocol] = make
    if options is not None:
        made = _bounded(loop, tls_factory(make, options), handshake_timeout)
    missing: TransportError | None = None
    try:
        for listen in listens:
            try:
                server.add(listen(made))
            except AddressNotAvailable as exc:
                missing = exc
    except TransportError as exc:
        server.close()
        raise typing.cast("OSError", system_error(exc)) from exc
    if missing is not None and not server.sockets:
        raise typing.cast("OSError", system_error(missing)) from missing
    loop.servers.add(server)
    if start:
        server.start()
    return server


async def connected(
    loop: BaseLoop,
    factory: StreamFactory,
    connect: Connect,
    options: TLSOptions | None,
    handshake_timeout: float | None,
) -> tuple[StreamTransport, asyncio.BaseProtocol]:
    """Return the transport and the protocol of a connection that `connect` opens.

    Raises:
        OSError: it cannot be opened.
    """

    def make() -> StreamBridge:
        return StreamBridge(loop, loop.within(factory))

    if options is None:
        bridge = await future_of(loop, typing.cast("Deferred[StreamBridge]", connect(make)))
    else:
        maker = _bounded(loop, tls_factory(make, options), handshake_timeout)
        tls = await future_of(loop, typing.cast("Deferred[TLSTransport]", connect(maker)))
        try:
            await future_of(loop, tls.handshake)
        except BaseException:
            tls.abort()
            raise
        bridge = typing.cast("StreamBridge", tls.get_protocol())
    return bridge.transport, bridge.protocol


async def upgraded(
    loop: BaseLoop,
    transport: object,
    protocol: asyncio.BaseProtocol,
    options: TLSOptions,
    handshake_timeout: float | None,
) -> StreamTransport:
    """Speak TLS on an open connection, see `start_tls`."""
    if not isinstance(transport, StreamTransport):
        raise TypeError(f"transport {transport!r} is not supported by start_tls()")
    bridge = transport.bridge
    bridge.protocol = protocol
    try:
        tls = bridge.raw.start_tls(options, 0)
    except TransportError as exc:
        raise typing.cast("OSError", system_error(exc)) from exc
    bridge.raw = tls
    bridge.transport = StreamTransport(bridge)
    timer = loop.reactor.call_later(handshake_timeout or HANDSHAKE_TIMEOUT, tls.abort)
    try:
        await future_of(loop, tls.handshake)
    except BaseException:
        tls.abort()
        raise
    finally:
        timer.cancel()
    return bridge.transport


def adopted(loop: BaseLoop, sock: socket.socket, backlog: int) -> Listen:
    """Return what listens on a socket that the program has bound. Programs go on looking at it, so it is left
    open: the server closes it.
    """
    sock.listen(backlog)

    def listen(factory: typing.Callable[[], StreamProtocol]) -> Listener:
        fd = os.dup(sock.fileno())
        try:
            return loop.reactor.adopt_listener(factory, fd)
        except BaseException:
            os.close(fd)
            raise

    return listen


async def connected_datagrams(
    loop: BaseLoop,
    factory: typing.Callable[[], asyncio.DatagramProtocol],
    local: tuple[str, int] | None,
    remote: tuple[str, int] | None,
    *,
    reuse_port: bool,
) -> tuple[asyncio.DatagramTransport, asyncio.DatagramProtocol]:
    """Return the transport and the protocol of a datagram socket, see `create_datagram_endpoint`."""
    if local is not None and remote is not None:
        raise NotImplementedError("give local_addr or remote_addr: connected sockets take any port of ours")
    bridge = DatagramBridge(loop, loop.within(factory))
    reactor = loop.reactor
    host, port = remote or local or ("0.0.0.0", 0)  # noqa: S104 - no address means any
    if host:
        host = (await future_of(loop, reactor.resolve(host)))[0]
    try:
        if remote is not None:
            reactor.connect_datagram(lambda: bridge, host, port)
        else:
            reactor.listen_datagram(lambda: bridge, host, port, reuse_port=reuse_port)
    except TransportError as exc:
        raise typing.cast("OSError", system_error(exc)) from exc
    await bridge.made
    return bridge.transport, bridge.protocol
