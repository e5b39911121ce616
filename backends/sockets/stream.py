"""One open byte stream over a non-blocking descriptor: a TCP or Unix socket, or (see `process`) a pipe.

The life of a connection, and which turn of the loop does what:

- `write` only adds to `_chunks`. What the protocol writes while it is told about data is sent when it returns,
  everything in one system call: sixteen answers to sixteen pipelined lines cost one. Who writes at any other
  time puts the connection on the reactor's dirty list, and `flush` sends at the end of the turn.
- What the kernel does not take stays in `_chunks`, and the descriptor is watched for writability until it has
  gone. No descriptor is watched for writability at any other time.
- `close`, `abort` and a failed `send` never call the protocol themselves; that is left to `flush` too. So
  nothing re-enters a protocol, and no descriptor number is given back to the system while another event of the
  same turn may still name it: a turn brings one event for each descriptor.
"""

from __future__ import annotations

import logging
import os
import socket
import struct
import typing

from backends.sockets.buffered import BufferedStream
from backends.sockets.oserrors import connection_failure
from backends.sockets.reactor import READ, WRITE
from backends.sockets.regions import FileRegion
from portable.errors import FAILURES, ConnectionAborted, TransportError
from portable.transport import Address, normalise_host

if typing.TYPE_CHECKING:
    from backends.sockets.reactor import SocketReactor
    from portable.protocol import StreamProtocol
    from portable.transport import Buffer

__all__ = ["SocketStream", "Stream", "address_of", "have_close_reset"]

_log = logging.getLogger("portable.sockets")

# Bytes. The C library maps and unmaps memory for every object of 128 KB and more; asking for 256 KB made
# reading 64 bytes cost 18 us instead of 3, and reading 64 KB 60 us instead of 11.
_READ_SIZE = 64 * 1024
# Bytes joined into one send. Joining more costs more in copying than it saves in system calls.
_SEND_SIZE = 256 * 1024

# Linux; 0 elsewhere.
_TCP_CORK: int = getattr(socket, "TCP_CORK", 0)
_UCRED = struct.Struct("iii")  # process, user and group id
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


def address_of(raw: typing.Any) -> Address | str:
    """Return the framework's form of an address as the socket module gives it."""
    if isinstance(raw, tuple):
        host = normalise_host(raw[0])
        # Scoped addresses come as ("fe80::1%eth0", ...) from the name functions, as a number from accept.
        if len(raw) == 4 and raw[3] and "%" not in host:
            host = f"{host}%{_interface_name(raw[3])}"
        return Address(host, raw[1])
    if isinstance(raw, bytes):
        return os.fsdecode(raw)
    return str(raw or "")


def _interface_name(index: int) -> str:
    try:
        return socket.if_indextoname(index)
    except OSError:
        return str(index)


def have_close_reset(sock: socket.SocketType) -> None:
    """Have the close of a connection reset it, where there is such a thing: it frees the buffers at once, and
    cannot be taken for a regular end.
    """
    if sock.family != socket.AF_UNIX:
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        except OSError as exc:
            _log.debug("no SO_LINGER on descriptor %d: %s", sock.fileno(), exc)


class StreamIO(typing.Protocol):
    """What a stream needs of its descriptor's owner: a socket's methods."""

    def fileno(self) -> int:
        """Return the descriptor."""

    def recv(self, size: int, /) -> bytes:
        """Return at most `size` bytes, b"" at the end."""

    def send(self, data: Buffer, /) -> int:
        """Send what the system takes of `data`; return how many bytes that was."""

    def close(self) -> None:
        """Close the descriptor."""


class Stream(BufferedStream):
    """A `Transport` over something with a socket's methods."""

    __slots__ = ("_io", "_mask", "_sent", "fd")

    _reactor: SocketReactor

    def __init__(
        self,
        reactor: SocketReactor,
        io: StreamIO,
        protocol: StreamProtocol,
    ) -> None:
        super().__init__(reactor, protocol)
        self.fd = io.fileno()
        self._io = io
        self._sent = 0
        self._mask = 0  # what the poller watches now

    def start(self) -> None:
        """Make the connection known to its protocol and to the loop. Call once, from the loop."""
        self._reactor.channels[self.fd] = self
        try:
            self._protocol.connection_made(self)
        except FAILURES:
            self._protocol_failed()
        self._watch()

    # Events from the loop.

    def on_event(self, flags: int) -> None:
        """Take what the poller reported."""
        # The two are tested for being the only bit: any other means a failure, which the next call explains.
        # Whoever was told something earlier in this turn may have paused or closed us.
        if flags != WRITE and self._mask & READ and not self._closing:
            try:
                data = self._io.recv(_READ_SIZE)
            except (BlockingIOError, InterruptedError):
                pass
            except OSError as exc:
                self._lose(connection_failure(exc))
                return
            else:
                # What is written meanwhile need not go by the dirty list.
                self._dirty = True
                try:
                    if data:
                        self._received += len(data)
                        self._protocol.data_received(data)
                    else:
                        self._end_reading()
                except FAILURES:
                    self._protocol_failed()
                finally:
                    self.flush()
        if flags != READ and self._mask & WRITE:
            self._blocked = False
            self.flush()

    def _end_reading(self) -> None:
        """The peer has ended its direction."""
        self._ended = True
        if self._protocol.eof_received():
            self._watch()
        else:
            self.close()

    def flush(self) -> None:
        """Send what waits; then, if that was all, do what was waiting for it. The loop calls this."""
        self._dirty = False
        chunks = self._chunks
        if chunks and not self._blocked and not self._lost:
            try:
                data = chunks[0]
                if type(data) is bytes and len(chunks) == 1:
                    # One answer, taken whole, is nearly every message: worth being treated on the way.
                    sent = self._io.send(data)
                    self._sent += sent
                    self._size -= sent
                    if self._size:
                        chunks[0] = memoryview(data)[sent:]
                        self._blocked = True
                    else:
                        chunks.clear()
                else:
                    self._send_chunks()
            except (BlockingIOError, InterruptedError):
                self._blocked = True
            except OSError as exc:
                self._lose(connection_failure(exc))
            if self._blocked or self._mask & WRITE:
                self._watch()
        if self._lost:
            self._finish()
        elif not self._writable:
            self._flush_end()
        elif self._size > self._high:
            if not self._writing_paused:
                self._writing_paused = True
                self._tell(self._protocol.pause_writing)
        elif self._writing_paused and self._size <= self._low:
            self._writing_paused = False
            self._tell(self._protocol.resume_writing)

    def _flush_end(self) -> None:
        """Do what `close` or `write_eof` asked for, if everything was sent."""
        if self._chunks:
            self._watch()
        elif self._closing:
            self._lost = True
            self._finish()
        elif not self._eof_sent:
            self._eof_sent = True
            self._shut_down_writing()

    def _tell(self, method: typing.Callable[[], object]) -> None:
        if self._closing:
            return
        try:
            method()
        except FAILURES:
            self._protocol_failed()

    def _send_chunks(self) -> None:
        """Send what the kernel takes.

        Raises:
            OSError: it takes no more now, or never again.
        """
        chunks = self._chunks
        while chunks and not self._blocked:
            data = chunks[0]
            if isinstance(data, FileRegion):
                self._send_region(data)
                continue
            if len(chunks) > 1:
                data = self._join()
            sent = self._io.send(data)
            self._sent += sent
            self._size -= sent
            if sent == len(data):
                del chunks[0]
            else:
                chunks[0] = memoryview(data)[sent:]
                self._blocked = True

    def _join(self) -> bytes | bytearray | memoryview:
        """Make one of the leading chunks, about _SEND_SIZE bytes, up to a file; return it."""
        parts: list[bytes | bytearray | memoryview] = []
        size = 0
        for chunk in self._chunks:
            if isinstance(chunk, FileRegion) or size >= _SEND_SIZE:
                break
            parts.append(chunk)
            size += len(chunk)
        joined = b"".join(parts) if len(parts) > 1 else parts[0]
        self._chunks[: len(parts)] = [joined]
        return joined

    def _send_region(self, region: FileRegion) -> None:
        """Send of `region` what the kernel takes."""
        if not region.begun:
            region.begun = True
            self._hold_partial_segments(True)
        sent = region.send_to(self.fd, self._io.send)
        self._sent += sent
        self._size -= sent
        if region.done:
            # What the file turned out to lack is not waiting any more.
            self._size -= region.left
            del self._chunks[0]
            self._hold_partial_segments(False)
            self._finish_soon(region)
        else:
            self._blocked = True

    # The Transport's methods: see portable.transport.

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            self._writable = False
            # If nothing is left to send this turn ends it, and the poller need not be told.
            self._mark_dirty()

    def abort(self) -> None:
        if not self._lost:
            self._reset_peer()
            self._lose(None)

    def is_closing(self) -> bool:
        return self._closing or self._lost

    def pause_reading(self) -> None:
        if not self._paused:
            self._paused = True
            self._watch()

    def resume_reading(self) -> None:
        if self._paused:
            self._paused = False
            self._watch()

    def get_extra_info(self, name: str, default: typing.Any = None) -> typing.Any:
        if name == "reactor":
            return self._reactor
        if name == "bytes_received":
            return self._received
        if name == "bytes_sent":
            return self._sent
        return default

    # The end.

    def _watch(self) -> None:
        """Have the poller watch for exactly what is wanted now."""
        if self._lost:
            mask = 0
        elif self._paused or self._ended or self._closing:
            mask = WRITE if self._blocked else 0
        else:
            mask = READ | WRITE if self._blocked else READ
        old = self._mask
        if mask == old:
            return
        poller = self._reactor.poller
        try:
            if not old:
                poller.register(self.fd, mask)
            elif not mask:
                poller.unregister(self.fd)
            else:
                poller.modify(self.fd, mask)
        except TransportError as exc:  # the poller is full
            _log.error("the connection of %s is dropped: %s", self.describe_peer(), exc)
            self._lose(exc)
        else:
            self._mask = mask

    def _protocol_failed(self) -> None:
        _log.exception("the protocol of %s failed; its connection is dropped", self.describe_peer())
        self._reset_peer()
        self._lose(ConnectionAborted("an error in the protocol ended the connection"))

    def _lose(self, error: TransportError | None) -> None:
        """Stop everything. The protocol is told when the loop flushes."""
        if self._lost:
            return
        self._lost = True
        self._closing = True
        self._writable = False
        self._error = error
        self._mark_dirty()

    def _finish(self) -> None:
        """Give everything back and tell the protocol. Called by `flush` only."""
        channels = self._reactor.channels
        if channels.get(self.fd) is not self:
            return
        del channels[self.fd]
        if self._mask:
            self._mask = 0
            self._reactor.poller.forget(self.fd)
        if self._chunks or self._finished:
            self._drop_chunks()
        self._io.close()
        self._tell_end()

    def describe_peer(self) -> str:
        """Return how to name this connection in the log."""
        return f"descriptor {self.fd}"

    def _reset_peer(self) -> None:
        """Arrange that the peer does not take what it got for all."""

    def _hold_partial_segments(self, hold: bool) -> None:
        """Have the system send full segments only, or also what it held back."""

    def _shut_down_writing(self) -> None:
        """End our direction of the stream."""
        raise NotImplementedError


class SocketStream(Stream):
    """A stream over a connected socket."""

    __slots__ = ("_peer", "_sock")

    def __init__(
        self, reactor: SocketReactor, sock: socket.SocketType, protocol: StreamProtocol, peer: typing.Any
    ) -> None:
        super().__init__(reactor, sock, protocol)
        self._sock = sock
        self._peer = peer

    def get_extra_info(self, name: str, default: typing.Any = None) -> typing.Any:
        """See `Transport.get_extra_info`; "socket" gives the socket, which must not be used for I/O."""
        if name == "peername":
            return address_of(self._peer)
        if name == "sockname":
            try:
                return address_of(self._sock.getsockname())
            except OSError:  # closed
                return default
        if name == "peer_uid":
            return self._ask_peer_uid(default)
        if name == "socket":
            return self._sock
        return super().get_extra_info(name, default)

    def describe_peer(self) -> str:
        """Return how to name this connection in the log."""
        return str(address_of(self._peer)) or "a Unix socket"

    def _ask_peer_uid(self, default: typing.Any) -> typing.Any:
        """Return the user id at the other end (SO_PEERCRED, unix(7))."""
        if not hasattr(socket, "SO_PEERCRED") or self._sock.family != socket.AF_UNIX:
            return default
        try:
            credentials = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
        except OSError:  # closed
            return default
        return _UCRED.unpack(credentials)[1]

    def _reset_peer(self) -> None:
        have_close_reset(self._sock)

    def _hold_partial_segments(self, hold: bool) -> None:
        # The kernel hands a file on in pieces of 64 KB. Where each is sent as soon as it can be (TCP_NODELAY),
        # a gigabyte costs half as much time again as in full segments.
        if _TCP_CORK and self._sock.family != socket.AF_UNIX:
            try:
                self._sock.setsockopt(socket.IPPROTO_TCP, _TCP_CORK, hold)
            except OSError as exc:  # the peer is gone already
                _log.debug("no TCP_CORK on %s: %s", self.describe_peer(), exc)

    def _shut_down_writing(self) -> None:
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError as exc:  # the peer is gone already
            self._lose(connection_failure(exc))
