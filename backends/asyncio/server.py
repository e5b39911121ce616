"""What `create_server` gives: an `asyncio.AbstractServer` over listeners of ours."""

from __future__ import annotations

import asyncio
import typing

from backends.asyncio.socketview import SocketView

if typing.TYPE_CHECKING:
    import socket

    from backends.asyncio.baseloop import BaseLoop
    from backends.asyncio.streams import StreamBridge
    from portable.reactor import Listener

__all__ = ["Server"]


class Server(asyncio.AbstractServer):
    """Listeners that are started and closed together.

    Args:
        sock: what the program has given us to listen on, closed with the server.
    """

    def __init__(self, loop: BaseLoop, sock: socket.socket | None = None) -> None:
        self._loop = loop
        self._sock = sock
        self._listeners: list[Listener] = []
        self._sockets: tuple[SocketView, ...] = ()
        self._connections: set[StreamBridge] = set()
        self._serving = False
        self._closed = False
        self._waiters: list[asyncio.Future[None]] = []
        self._serve_forever: asyncio.Future[None] | None = None

    def add(self, listener: Listener) -> None:
        """Take over a new listener, which accepts nothing before `start_serving`."""
        listener.pause_accepting()
        self._listeners.append(listener)
        self._sockets += (SocketView(listener.address),)

    def connected(self, bridge: StreamBridge) -> None:
        """See `StreamServer.connected`."""
        self._connections.add(bridge)

    def disconnected(self, bridge: StreamBridge) -> None:
        """See `StreamServer.disconnected`."""
        self._connections.discard(bridge)
        self._wake()

    def _wake(self) -> None:
        if self._closed and not self._connections:
            waiters, self._waiters = self._waiters, []
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(None)

    @property
    def sockets(self) -> tuple[SocketView, ...]:
        """What stands for the sockets; empty when closed."""
        return self._sockets

    def get_loop(self) -> asyncio.AbstractEventLoop:
        return self._loop

    def is_serving(self) -> bool:
        return self._serving

    def start(self) -> None:
        """Accept connections from now on."""
        if self._closed:
            raise RuntimeError(f"server {self!r} is closed")
        self._serving = True
        for listener in self._listeners:
            listener.resume_accepting()

    async def start_serving(self) -> None:
        self.start()

    async def serve_forever(self) -> None:
        if self._serve_forever is not None:
            raise RuntimeError(f"server {self!r} is already being awaited on serve_forever()")
        self.start()
        self._serve_forever = self._loop.create_future()
        try:
            await self._serve_forever
        finally:
            self._serve_forever = None
            self.close()

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._serving = False
        self._sockets = ()
        self._loop.servers.discard(self)
        for listener in self._listeners:
            listener.close()
        if self._sock is not None:
            self._sock.close()
        if self._serve_forever is not None and not self._serve_forever.done():
            self._serve_forever.cancel()
        self._wake()

    def close_clients(self) -> None:
        """Close every connection, flushing first."""
        for bridge in list(self._connections):
            bridge.raw.close()

    def abort_clients(self) -> None:
        """Drop every connection."""
        for bridge in list(self._connections):
            bridge.raw.abort()

    async def wait_closed(self) -> None:
        """Wait until the server is closed and its last connection has ended."""
        if not self._closed or self._connections:
            waiter = self._loop.create_future()
            self._waiters.append(waiter)
            await waiter
