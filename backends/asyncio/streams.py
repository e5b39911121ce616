"""Our streams under protocols of asyncio's.

`StreamBridge` is a protocol of ours that hands on to one of asyncio's; `StreamTransport` is the transport that
this one sees. They differ from ours where asyncio's promise differs: `pause_writing` comes from inside `write`,
because `StreamWriter.drain` looks for it there; errors are OSErrors; a `BufferedProtocol` lends its buffer.
"""

from __future__ import annotations

import asyncio
import typing

from backends.asyncio.socketview import SocketView
from backends.asyncio.translating import system_error
from portable.protocol import Protocol

if typing.TYPE_CHECKING:
    from backends.asyncio.baseloop import BaseLoop
    from portable.errors import TransportError
    from portable.transport import Transport

__all__ = ["StreamBridge", "StreamTransport"]


class StreamServer(typing.Protocol):
    """Whoever counts the streams that it has accepted."""

    def connected(self, bridge: StreamBridge) -> None:
        """Count a connection."""

    def disconnected(self, bridge: StreamBridge) -> None:
        """Count it no longer."""


class StreamBridge(Protocol):
    """Between a transport of ours and a protocol of asyncio's."""

    def __init__(
        self, loop: BaseLoop, protocol: asyncio.BaseProtocol, server: StreamServer | None = None
    ) -> None:
        self.loop = loop
        self.protocol: typing.Any = protocol
        self.server = server
        self.raw: Transport
        self.transport: StreamTransport
        self._error: BaseException | None = None
        self._lost = False
        # Whether the protocol was told to pause, and whether our transport wants it to.
        self._paused = False
        self._raw_paused = False

    def connection_made(self, transport: Transport) -> None:
        self.raw = transport
        self.transport = StreamTransport(self)
        self.loop.bridges.add(self)
        if self.server is not None:
            self.server.connected(self)
        self._tell("connection_made", self.transport)

    def data_received(self, data: bytes) -> None:
        if isinstance(self.protocol, asyncio.BufferedProtocol):
            self._tell_buffered(data)
        else:
            self._tell("data_received", data)

    def _tell_buffered(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest and not self.raw.is_closing():
            buffer = self._tell("get_buffer", len(rest))
            if buffer is None:
                return
            view = memoryview(buffer).cast("B")
            size = min(len(view), len(rest))
            if not size:
                self._failed(RuntimeError("get_buffer() returned an empty buffer"), "get_buffer")
                return
            view[:size] = rest[:size]
            rest = rest[size:]
            self._tell("buffer_updated", size)

    def eof_received(self) -> bool | None:
        return bool(self._tell("eof_received"))

    def connection_lost(self, exc: TransportError | None) -> None:
        self._lost = True
        self.loop.bridges.discard(self)
        self._tell("connection_lost", self._error or system_error(exc))
        if self.server is not None:
            self.server.disconnected(self)

    def detach(self) -> None:
        """Drop the connection without a word to the protocol: its loop is closed."""
        self.protocol = asyncio.Protocol()
        self.raw.abort()

    def _tell(self, method: str, *args: object) -> typing.Any:
        try:
            return self.loop.within(getattr(self.protocol, method), *args)
        except Exception as exc:
            self._failed(exc, method)
            return None

    def _failed(self, exc: Exception, method: str) -> None:
        self.loop.call_exception_handler(
            {
                "message": f"Fatal error: protocol.{method}() call failed.",
                "exception": exc,
                "transport": self.transport,
                "protocol": self.protocol,
            }
        )
        if self._error is None and not self._lost:
            self._error = exc
            self.raw.abort()

    # Water marks.

    def check_pause(self) -> None:
        """Tell the protocol to pause, now, if too much was written."""
        if not self._paused and not self.raw.is_closing():
            _, high = self.raw.get_write_buffer_limits()
            if self.raw.get_write_buffer_size() > high:
                self._pause()
                # Our transport sends at the end of the turn, and may find that there is nothing to pause for.
                self.loop.reactor.call_soon(self._check_resume)

    def _check_resume(self) -> None:
        if not self._paused or self._raw_paused or self._lost or self.raw.is_closing():
            return
        if self.raw.get_write_buffer_size() > self.raw.get_write_buffer_limits()[1]:
            self.loop.reactor.call_soon(self._check_resume)  # it was not sent yet
        else:
            self._resume()

    def _pause(self) -> None:
        self._paused = True
        self._tell("pause_writing")

    def _resume(self) -> None:
        self._paused = False
        self._tell("resume_writing")

    def pause_writing(self) -> None:
        self._raw_paused = True
        if not self._paused:
            self._pause()

    def resume_writing(self) -> None:
        self._raw_paused = False
        if self._paused:
            self._resume()


class StreamTransport(asyncio.Transport):
    """What a protocol of asyncio's sees of a transport of ours."""

    def __init__(self, bridge: StreamBridge) -> None:
        super().__init__()
        self.bridge = bridge
        self._eof = False

    @property
    def raw(self) -> Transport:
        """Our transport."""
        return self.bridge.raw

    def __repr__(self) -> str:
        state = "closing" if self.is_closing() else "open"
        return f"<StreamTransport {state} {self.raw.get_extra_info('peername')}>"

    def get_extra_info(self, name: str, default: typing.Any = None) -> typing.Any:
        """Return what is known under one of asyncio's names, or ours."""
        if name in {"sslcontext", "cipher", "compression"}:
            tls = self.raw.get_extra_info("ssl_object")
            if tls is None:
                return default
            return tls.context if name == "sslcontext" else getattr(tls, name)()
        if name == "socket":
            return self.raw.get_extra_info(name) or self._view()
        return self.raw.get_extra_info(name, default)

    def _view(self) -> SocketView:
        # Java's sockets are no objects of Python's, and some programs, anyio for one, ask without looking.
        address, peer = (self.raw.get_extra_info(name, "") for name in ("sockname", "peername"))
        return SocketView(address, peer)

    def is_closing(self) -> bool:
        return self.raw.is_closing()

    def close(self) -> None:
        self.raw.close()

    def abort(self) -> None:
        self.raw.abort()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.bridge.protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        protocol: asyncio.BaseProtocol = self.bridge.protocol
        return protocol

    def is_reading(self) -> bool:
        return self.raw.is_reading()

    def pause_reading(self) -> None:
        self.raw.pause_reading()

    def resume_reading(self) -> None:
        self.raw.resume_reading()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.raw.set_write_buffer_limits(high, low)
        self.bridge.check_pause()

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self.raw.get_write_buffer_limits()

    def get_write_buffer_size(self) -> int:
        return self.raw.get_write_buffer_size()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._eof:
            raise RuntimeError("Cannot call write() after write_eof()")
        self.raw.write(data)
        self.bridge.check_pause()

    def writelines(self, list_of_data: typing.Iterable[bytes | bytearray | memoryview]) -> None:
        self.write(b"".join(list_of_data))

    def can_write_eof(self) -> bool:
        return self.raw.can_write_eof()

    def write_eof(self) -> None:
        if not self.can_write_eof():
            raise NotImplementedError("TLS connections cannot be half-closed")
        self._eof = True
        self.raw.write_eof()
