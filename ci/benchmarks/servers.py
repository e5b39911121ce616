"""The servers that are compared, each in a process of its own: `python -m ci.benchmarks.servers PEER SCENARIO`.

Each prints its port when it listens and then serves until it is killed. The work is the same for all peers,
written as each peer's documentation suggests.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import tempfile
import typing

if typing.TYPE_CHECKING:
    from portable.transport import Transport
    from protocols.http.request import Request
    from protocols.http.resource import Resource

BODY = b"hello, world\n"
LARGE = 256 * 1024 * 1024  # bytes


def announce(port: int) -> None:
    print(port, flush=True)


# Portable


def portable_streams(scenario: str, reactor_name: str = "select") -> None:
    from portable.framing import LineReader
    from portable.kinds import find_reactor
    from portable.protocol import Protocol

    class Echo(Protocol):
        __slots__ = ("transport",)

        def connection_made(self, transport: Transport) -> None:
            self.transport = transport

        def data_received(self, data: bytes) -> None:
            self.transport.write(data)

    class Lines(Protocol):
        def connection_made(self, transport: Transport) -> None:
            self.transport = transport
            self.reader = LineReader(1024)

        def data_received(self, data: bytes) -> None:
            reader = self.reader
            reader.receive_data(data)
            line = reader.next_line()
            while line is not None:
                self.transport.write(line + b"\r\n")
                line = reader.next_line()

    reactor = find_reactor(reactor_name)()
    listener = reactor.listen(Lines if scenario == "lines" else Echo, "127.0.0.1", 0)
    announce(typing.cast("typing.Any", listener.address).port)
    reactor.run()


def portable_port() -> None:
    """As `portable_streams`, behind the limits and counters that every server has."""
    from backends.select import SelectReactor
    from portable.endpoints import TCPEndpoint
    from portable.listener import ListenerOptions, ServerPort
    from portable.protocol import Protocol

    class Echo(Protocol):
        __slots__ = ("transport",)

        def connection_made(self, transport: Transport) -> None:
            self.transport = transport

        def data_received(self, data: bytes) -> None:
            self.transport.write(data)

    reactor = SelectReactor()
    options = ListenerOptions(max_connections=20_000, max_per_peer=20_000, idle_timeout=300)
    port = ServerPort("echo", Echo, TCPEndpoint(port=0, interface="127.0.0.1"), options)
    port.bind(reactor)
    port.start()
    announce(typing.cast("typing.Any", port.address).port)
    reactor.run()


def portable_http() -> None:
    from backends.select import SelectReactor
    from protocols.http.messages import Response
    from protocols.http.server import Site

    class Hello:
        def child(self, segment: str, request: Request) -> Resource | None:
            return None

        def render(self, request: Request) -> Response:
            return Response(200, [("Content-Type", "text/plain")], BODY)

    reactor = SelectReactor()
    listener = reactor.listen(Site(Hello(), clock=reactor), "127.0.0.1", 0)
    announce(typing.cast("typing.Any", listener.address).port)
    reactor.run()


def make_ftp_root(folder: str) -> None:
    """Write what is fetched: small files, and a large one that takes no room."""
    for number in range(100):
        with open(f"{folder}/small{number}", "wb") as file:
            file.write(bytes(1000))
    with open(f"{folder}/large", "wb") as file:
        file.truncate(LARGE)


def portable_ftp(folder: str) -> None:
    from backends.select import SelectReactor
    from portable.attempts import LoginAttempts
    from portable.deferred import succeed
    from protocols.ftp.server import Account, FTPServer, Site
    from protocols.servers.ftp.folder import RealFolder

    reactor = SelectReactor()
    account = Account(RealFolder(folder, reactor))
    site = Site(reactor, lambda _name, _password: succeed(account), LoginAttempts(reactor))
    listener = reactor.listen(lambda: FTPServer(site), "127.0.0.1", 0)
    announce(typing.cast("typing.Any", listener.address).port)
    reactor.run()


# pyftpdlib


def pyftpdlib_ftp(folder: str) -> None:
    import logging

    from pyftpdlib.authorizers import DummyAuthorizer
    from pyftpdlib.handlers import FTPHandler
    from pyftpdlib.servers import FTPServer

    logging.disable()
    FTPHandler.authorizer = DummyAuthorizer()
    FTPHandler.authorizer.add_user("user", "password", folder, perm="elradfmwMT")
    server = FTPServer(("127.0.0.1", 0), FTPHandler)
    announce(server.socket.getsockname()[1])
    server.serve_forever()


# asyncio


class AsyncioEcho(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = typing.cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


class AsyncioLines(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = typing.cast("asyncio.Transport", transport)
        self.buffer = b""

    def data_received(self, data: bytes) -> None:
        *lines, self.buffer = (self.buffer + data).split(b"\r\n")
        for line in lines:
            self.transport.write(line + b"\r\n")


def asyncio_streams(scenario: str, *, uvloop: bool = False) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        factory = AsyncioLines if scenario == "lines" else AsyncioEcho
        server = await loop.create_server(factory, "127.0.0.1", 0, backlog=1024)
        announce(server.sockets[0].getsockname()[1])
        await asyncio.Event().wait()

    if uvloop:
        import uvloop as uv

        uv.run(main())
    else:
        asyncio.run(main())


# Twisted


def twisted_streams(scenario: str) -> None:
    from twisted.internet import epollreactor

    epollreactor.install()
    from twisted.internet import protocol, reactor
    from twisted.protocols.basic import LineReceiver

    class Echo(protocol.Protocol):  # type: ignore[misc]  # Twisted has no types here
        def dataReceived(self, data: bytes) -> None:  # noqa: N802 - Twisted's name
            self.transport.write(data)

    class Lines(LineReceiver):  # type: ignore[misc]
        def lineReceived(self, line: bytes) -> None:  # noqa: N802
            self.sendLine(line)

    factory = protocol.Factory.forProtocol(Lines if scenario == "lines" else Echo)
    factory.noisy = False
    listening = reactor.listenTCP(0, factory, interface="127.0.0.1", backlog=1024)
    announce(listening.getHost().port)
    reactor.run()


def twisted_http() -> None:
    from twisted.internet import epollreactor

    epollreactor.install()
    from twisted.internet import reactor
    from twisted.web import resource, server

    class Hello(resource.Resource):  # type: ignore[misc]
        isLeaf = True  # noqa: N815

        def render_GET(self, request: typing.Any) -> bytes:  # noqa: N802
            request.setHeader(b"content-type", b"text/plain")
            return BODY

    site = server.Site(Hello())
    listening = reactor.listenTCP(0, site, interface="127.0.0.1", backlog=1024)
    announce(listening.getHost().port)
    reactor.run()


def main() -> None:
    peer, scenario = sys.argv[1:]
    gc.collect()
    if scenario == "http":
        {"portable": portable_http, "twisted": twisted_http}[peer]()
    elif scenario == "ftp":
        with tempfile.TemporaryDirectory() as folder:
            make_ftp_root(folder)
            {"portable": portable_ftp, "pyftpdlib": pyftpdlib_ftp}[peer](folder)
    elif peer == "portable":
        portable_streams(scenario)
    elif peer == "portable-nio":
        portable_streams(scenario, "nio")
    elif peer == "portable-port":
        portable_port()
    elif peer == "twisted":
        twisted_streams(scenario)
    else:
        asyncio_streams(scenario, uvloop=peer == "uvloop")


if __name__ == "__main__":
    main()
