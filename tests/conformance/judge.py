"""Protocols that judge the transport which calls them, and ways to connect two of them."""

from __future__ import annotations

import socket
import struct
import typing

from portable.protocol import Protocol
from portable.testing import wait_for, wait_until

if typing.TYPE_CHECKING:
    from collections.abc import Callable

    from portable.errors import TransportError
    from portable.reactor import Listener, Reactor
    from portable.transport import Transport

__all__ = ["End", "Guard", "connected", "raw_client", "raw_server", "reset"]


class Guard:
    """A transport that notes while one of its methods is running, so that re-entrant calls are seen."""

    def __init__(self, transport: Transport, end: End) -> None:
        self._transport = transport
        self._end = end

    def __getattr__(self, name: str) -> typing.Any:
        method = getattr(self._transport, name)

        def guarded(*args: object, **kwargs: object) -> object:
            self._end.inside = name
            try:
                return method(*args, **kwargs)
            finally:
                self._end.inside = ""

        return guarded


class End(Protocol):
    """One end of a stream. It records every call, and raises AssertionError, which the backend logs and the
    `reactor` fixture finds, if the order is not `connection_made data_received* eof_received?
    connection_lost`, if `pause_writing` and `resume_writing` do not alternate, or if a call comes from inside
    a transport's method.

    Args:
        keep_open: what `eof_received` returns.
        on_made, on_data, on_eof, on_lost: called with this object (and the data) after the check.
    """

    def __init__(
        self,
        *,
        keep_open: bool | None = None,
        on_made: Callable[[End], object] | None = None,
        on_data: Callable[[End, bytes], object] | None = None,
        on_eof: Callable[[End], object] | None = None,
        on_lost: Callable[[End], object] | None = None,
    ) -> None:
        self.keep_open = keep_open
        self.calls: list[str] = []
        self.data = bytearray()
        self.reason: TransportError | None = None
        self.lost = False
        self.paused = False
        self.inside = ""
        self.transport: Transport
        self._on_made = on_made
        self._on_data = on_data
        self._on_eof = on_eof
        self._on_lost = on_lost

    @property
    def made(self) -> bool:
        return bool(self.calls)

    @property
    def eof(self) -> bool:
        return "eof" in self.calls

    def connection_made(self, transport: Transport) -> None:
        assert not self.calls, f"connection_made after {self.calls}"
        self.calls.append("made")
        self.transport = typing.cast("Transport", Guard(transport, self))
        if self._on_made is not None:
            self._on_made(self)

    def data_received(self, data: bytes) -> None:
        self._check("data")
        assert not self.eof, "data_received after eof_received"
        assert type(data) is bytes, type(data)
        assert data, "data_received without data"
        assert self.transport.is_reading(), "data_received while reading is paused or the transport closing"
        self.data += data
        if self._on_data is not None:
            self._on_data(self, data)

    def eof_received(self) -> bool | None:
        self._check("eof")
        assert self.calls.count("eof") == 1, "eof_received twice"
        if self._on_eof is not None:
            self._on_eof(self)
        return self.keep_open

    def connection_lost(self, exc: TransportError | None) -> None:
        self._check("lost")
        self.lost = True
        self.reason = exc
        assert self.transport.is_closing(), "is_closing() is False in connection_lost"
        if self._on_lost is not None:
            self._on_lost(self)

    def pause_writing(self) -> None:
        self._check("pause")
        assert not self.paused, "pause_writing twice"
        self.paused = True

    def resume_writing(self) -> None:
        self._check("resume")
        assert self.paused, "resume_writing without pause_writing"
        self.paused = False

    def _check(self, call: str) -> None:
        assert not self.inside, f"{call} from inside {self.inside}()"
        assert self.calls, f"{call} before connection_made"
        assert not self.lost, f"{call} after connection_lost"
        # Runs of data are one entry: how the network cuts is nobody's business.
        if call != "data" or self.calls[-1] != "data":
            self.calls.append(call)


def connected(reactor: Reactor, client: End, server: End, *, keep: bool = False) -> Listener:
    """Join two ends over TCP on the loopback, and see to it that both have had their `connection_made`."""
    listener = reactor.listen(lambda: server, "127.0.0.1")
    assert wait_for(reactor, reactor.connect(lambda: client, "127.0.0.1", port_of(listener))) is client
    wait_until(reactor, lambda: server.made)
    if not keep:
        listener.close()
    return listener


def port_of(listener: Listener) -> int:
    """Return the number of the TCP port."""
    assert not isinstance(listener.address, str)
    return listener.address.port


def raw_client(reactor: Reactor, server: End, *, receive_buffer: int = 0) -> socket.socket:
    """Join `server` to a blocking socket, which is returned. No call on it may need the reactor to turn."""
    listener = reactor.listen(lambda: server, "127.0.0.1")
    peer = socket.socket()
    peer.settimeout(10)
    if receive_buffer:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    peer.connect(("127.0.0.1", port_of(listener)))
    wait_until(reactor, lambda: server.made)
    listener.close()
    return peer


def raw_server() -> tuple[socket.socket, int]:
    """Return a blocking socket that listens on the loopback, and its port."""
    listening = socket.create_server(("127.0.0.1", 0))
    listening.settimeout(10)
    return listening, listening.getsockname()[1]


def reset(peer: socket.socket) -> None:
    """Close `peer` with a TCP reset."""
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()
