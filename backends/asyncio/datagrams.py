"""Our datagram sockets under protocols of asyncio's."""

from __future__ import annotations

import asyncio
import typing

from backends.asyncio.translating import system_error
from portable.protocol import DatagramProtocol
from portable.transport import Address

if typing.TYPE_CHECKING:
    from backends.asyncio.baseloop import BaseLoop
    from portable.errors import TransportError
    from portable.transport import DatagramTransport

__all__ = ["DatagramBridge"]


class DatagramBridge(DatagramProtocol):
    """Between a datagram transport of ours and a protocol of asyncio's.

    Attributes:
        made: done when the protocol has had its `connection_made`.
    """

    def __init__(self, loop: BaseLoop, protocol: asyncio.DatagramProtocol) -> None:
        self.loop = loop
        self.protocol = protocol
        self.made: asyncio.Future[None] = loop.create_future()
        self.raw: DatagramTransport
        self.transport: _Transport

    def connection_made(self, transport: DatagramTransport) -> None:
        self.raw = transport
        self.transport = _Transport(self)
        self.loop.bridges.add(self)
        self._tell("connection_made", self.transport)
        if not self.made.done():
            self.made.set_result(None)

    def datagram_received(self, data: bytes, addr: Address) -> None:
        self._tell("datagram_received", data, addr)

    def error_received(self, exc: TransportError) -> None:
        self._tell("error_received", system_error(exc))

    def connection_lost(self, exc: TransportError | None) -> None:
        self.loop.bridges.discard(self)
        self._tell("connection_lost", system_error(exc))

    def pause_writing(self) -> None:
        self._tell("pause_writing")

    def resume_writing(self) -> None:
        self._tell("resume_writing")

    def detach(self) -> None:
        """Close the socket without a word to the protocol: its loop is closed."""
        self.protocol = asyncio.DatagramProtocol()
        self.raw.abort()

    def _tell(self, method: str, *args: object) -> None:
        try:
            self.loop.within(getattr(self.protocol, method), *args)
        except Exception as exc:
            context = {"message": f"protocol.{method}() call failed.", "exception": exc}
            self.loop.call_exception_handler({**context, "protocol": self.protocol})


class _Transport(asyncio.DatagramTransport):
    """What the protocol sees."""

    def __init__(self, bridge: DatagramBridge) -> None:
        super().__init__()
        self._bridge = bridge

    def sendto(self, data: bytes | bytearray | memoryview, addr: typing.Any = None) -> None:
        self._bridge.raw.sendto(data, None if addr is None else Address(addr[0], addr[1]))

    def get_extra_info(self, name: str, default: typing.Any = None) -> typing.Any:
        return self._bridge.raw.get_extra_info(name, default)

    def is_closing(self) -> bool:
        return self._bridge.raw.is_closing()

    def close(self) -> None:
        self._bridge.raw.close()

    def abort(self) -> None:
        self._bridge.raw.abort()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._bridge.protocol = typing.cast("asyncio.DatagramProtocol", protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._bridge.protocol
