"""An asyncio event loop over any of our reactors, so that asyncio programs run on them, in a JVM too.

    run(main(), reactor)                 # as asyncio.run
    loop = ReactorEventLoop(reactor)     # or by hand

What the reactor has no interface for raises NotImplementedError, which asyncio's documentation lets loops do:
`add_reader`, the `sock_...` methods, sockets that are connected already (aiohttp's client makes such), pipes
and subprocesses. The reactor is borrowed: closing the loop drops the connections and servers made through it,
and nothing else.

Where the reactor is run by its owner (`reactor.run()`), callbacks, tasks and protocols of this loop work all
the same; only `run_forever` and `run_until_complete` then cannot be used.
"""

from __future__ import annotations

import asyncio
import os
import typing

from backends.asyncio import networking
from backends.asyncio.baseloop import BaseLoop
from backends.asyncio.streams import StreamTransport
from backends.asyncio.translating import future_of, tls_options

if typing.TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Coroutine

    from backends.asyncio.server import Server
    from portable.reactor import Reactor

__all__ = ["ReactorEventLoop", "run"]

T = typing.TypeVar("T")


class ReactorEventLoop(BaseLoop):
    """An asyncio loop.

    Args:
        reactor: does the work. It must not be run by others while `run_forever` is under way.

    Attributes:
        reactor: see above.
    """

    # The signatures are asyncio's, which typeshed spells as overloads.

    async def create_server(  # type: ignore[override] # see above
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        host: typing.Any = None,
        port: int | None = None,
        *,
        sock: socket.socket | None = None,
        backlog: int = 100,
        ssl: typing.Any = None,
        reuse_port: bool | None = None,
        ssl_handshake_timeout: float | None = None,
        start_serving: bool = True,
        **ignored: typing.Any,
    ) -> Server:
        """Listen. `ssl` may be an SSLContext or our TLSOptions; `family`, `flags`, `reuse_address`,
        `keep_alive` and `ssl_shutdown_timeout` change nothing.
        """
        listens: list[networking.Listen]
        if sock is not None:
            if host is not None or port is not None:
                raise ValueError("host/port and sock can not be specified at the same time")
            listens = [networking.adopted(self, sock, backlog)]
        elif host is None and port is None:
            raise ValueError("Neither host/port nor sock were specified")
        else:

            def bind(address: str) -> networking.Listen:
                return lambda made: self.reactor.listen(
                    made, address, port or 0, backlog=backlog, reuse_port=bool(reuse_port)
                )

            listens = [bind(address) for address in await networking.listening_on(self, host)]
        return networking.listening(
            self, protocol_factory, listens, ssl, ssl_handshake_timeout, start=start_serving, sock=sock
        )

    async def create_unix_server(  # type: ignore[override] # see above
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        path: typing.Any = None,
        *,
        sock: socket.socket | None = None,
        backlog: int = 100,
        ssl: typing.Any = None,
        ssl_handshake_timeout: float | None = None,
        start_serving: bool = True,
        **ignored: typing.Any,
    ) -> Server:
        """Listen on the Unix socket `path`. Arguments as `create_server`."""
        listen: networking.Listen
        if sock is not None:
            listen = networking.adopted(self, sock, backlog)
        else:

            def listen(made: typing.Any) -> typing.Any:
                return self.reactor.listen_unix(made, os.fsdecode(path), backlog=backlog)

        return networking.listening(
            self, protocol_factory, [listen], ssl, ssl_handshake_timeout, start=start_serving, sock=sock
        )

    async def create_connection(  # type: ignore[override] # see above
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        host: str | None = None,
        port: int | None = None,
        *,
        ssl: typing.Any = None,
        sock: socket.socket | None = None,
        local_addr: tuple[str, int] | None = None,
        server_hostname: str | None = None,
        ssl_handshake_timeout: float | None = None,
        **ignored: typing.Any,
    ) -> tuple[StreamTransport, asyncio.BaseProtocol]:
        """Connect, to the first address of `host` that answers (RFC 8305). `ssl` as for `create_server`, or
        True; `family`, `proto`, `flags`, `happy_eyeballs_delay`, `interleave` and `all_errors` change nothing.
        """
        if sock is not None or host is None or port is None:
            raise NotImplementedError("this loop connects to a host and port, not with sockets made elsewhere")
        if local_addr is not None and local_addr[1]:
            raise NotImplementedError("this loop connects from any port of local_addr, not from a certain one")
        name = host if server_hostname is None else server_hostname
        options = tls_options(ssl, server_side=False, server_name=name)
        local = local_addr[0] if local_addr else ""

        def connect(made: Callable[[], typing.Any]) -> typing.Any:
            return self.reactor.connect(made, host, port, timeout=networking.CONNECT_TIMEOUT, local_host=local)

        return await networking.connected(self, protocol_factory, connect, options, ssl_handshake_timeout)

    async def create_unix_connection(  # type: ignore[override] # see above
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        path: typing.Any = None,
        *,
        ssl: typing.Any = None,
        sock: socket.socket | None = None,
        server_hostname: str | None = None,
        ssl_handshake_timeout: float | None = None,
        **ignored: typing.Any,
    ) -> tuple[StreamTransport, asyncio.BaseProtocol]:
        """Connect to the Unix socket `path`."""
        if sock is not None or path is None:
            raise NotImplementedError("this loop connects to a path, not with sockets made elsewhere")
        options = tls_options(ssl, server_side=False, server_name=server_hostname or "")

        def connect(made: Callable[[], typing.Any]) -> typing.Any:
            return self.reactor.connect_unix(made, os.fsdecode(path), timeout=networking.CONNECT_TIMEOUT)

        return await networking.connected(self, protocol_factory, connect, options, ssl_handshake_timeout)

    async def create_datagram_endpoint(  # type: ignore[override] # see above
        self,
        protocol_factory: Callable[[], asyncio.DatagramProtocol],
        local_addr: tuple[str, int] | None = None,
        remote_addr: tuple[str, int] | None = None,
        *,
        reuse_port: bool | None = None,
        sock: socket.socket | None = None,
        **ignored: typing.Any,
    ) -> tuple[asyncio.DatagramTransport, asyncio.DatagramProtocol]:
        """Open a UDP socket, bound to `local_addr` or connected to `remote_addr`."""
        if sock is not None:
            raise NotImplementedError("this loop makes its datagram sockets itself: give local_addr")
        return await networking.connected_datagrams(
            self, protocol_factory, local_addr, remote_addr, reuse_port=bool(reuse_port)
        )

    async def start_tls(
        self,
        transport: asyncio.BaseTransport,
        protocol: asyncio.BaseProtocol,
        sslcontext: typing.Any,
        *,
        server_side: bool = False,
        server_hostname: str | None = None,
        ssl_handshake_timeout: float | None = None,
        **ignored: typing.Any,
    ) -> StreamTransport:
        """Speak TLS from now on. The program must have acted on all that it has received (CVE-2011-0411)."""
        options = tls_options(sslcontext, server_side=server_side, server_name=server_hostname or "")
        if options is None:
            raise TypeError("start_tls() needs an ssl.SSLContext or portable.tls.TLSOptions")
        return await networking.upgraded(self, transport, protocol, options, ssl_handshake_timeout)

    async def sendfile(
        self,
        transport: asyncio.WriteTransport,
        file: typing.IO[bytes],
        offset: int = 0,
        count: int | None = None,
        *,
        fallback: bool = True,
    ) -> int:
        """Send a file by the reactor's `send_file`. Gives the number of bytes, and leaves the file's position
        behind them.
        """
        if not isinstance(transport, StreamTransport):
            raise TypeError(f"transport {transport!r} is not supported by sendfile()")
        if transport.is_closing():
            raise RuntimeError("Transport is closing")
        if count is None:
            count = max(0, file.seek(0, os.SEEK_END) - offset)
        sending = transport.raw.send_file(typing.cast("typing.BinaryIO", file), offset, count)
        sent = await future_of(self, sending)
        file.seek(offset + sent)
        return sent


def run(main: Coroutine[typing.Any, typing.Any, T], reactor: Reactor, *, debug: bool | None = None) -> T:
    """Run `main` on `reactor` and return its result, as `asyncio.run` does with a loop of its own. The reactor
    stays open.
    """
    with asyncio.Runner(debug=debug, loop_factory=lambda: ReactorEventLoop(reactor)) as runner:
        return runner.run(main)
