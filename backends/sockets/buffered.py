"""What a stream is above its system: what was written and waits, the water marks, and how it is told to end."""

from __future__ import annotations

import logging
import typing

from backends.sockets.regions import FileRegion
from portable.deferred import Deferred, fail
from portable.errors import FAILURES, ConnectionLost, TransportError
from portable.protocol import Protocol
from portable.transport import HIGH_WATER

if typing.TYPE_CHECKING:
    from portable.protocol import StreamProtocol
    from portable.tls import TLSOptions, TLSTransport
    from portable.transport import Buffer

__all__ = ["NOBODY", "BufferedStream"]

_log = logging.getLogger("portable.stream")

# Bytes. While the kernel is full, smaller writes are gathered in a bytearray of about that size.
_GATHER_SIZE = 64 * 1024
# Bytes. A file no longer than this goes out with what precedes it, as an ordinary write.
_SMALL_FILE = 64 * 1024

# The protocol of a stream that has none: the two hold each other; freed by counting, connections cost the
# collector of cycles nothing.
NOBODY = Protocol()


class StreamOwner(typing.Protocol):
    """What it needs of its reactor."""

    @property
    def dirty(self) -> list[typing.Any]:
        """What has to `flush` at the end of the turn."""

    def call_soon(self, callback: typing.Callable[..., object], *args: object) -> object:
        """See `Clock.call_soon`."""


class BufferedStream:
    """The part of a `Transport` that touches no system. A subclass has `flush`, which the loop calls."""

    __slots__ = (
        "_blocked",
        "_chunks",
        "_closing",
        "_dirty",
        "_ended",
        "_eof_sent",
        "_error",
        "_finished",
        "_high",
        "_lost",
        "_low",
        "_paused",
        "_protocol",
        "_reactor",
        "_received",
        "_size",
        "_writable",
        "_writing_paused",
    )

    _reactor: StreamOwner

    def __init__(self, reactor: StreamOwner, protocol: StreamProtocol) -> None:
        self._reactor = reactor
        self._protocol = protocol
        self._chunks: list[bytes | bytearray | memoryview | FileRegion] = []
        self._size = 0  # of the chunks
        self._high = HIGH_WATER
        self._low = HIGH_WATER // 4
        self._received = 0
        self._paused = False  # the protocol wants no data now
        self._ended = False  # the peer has ended its direction
        self._blocked = False  # the kernel took less than we gave
        self._dirty = False  # on the reactor's list of streams to flush
        self._eof_sent = False
        self._closing = False
        self._writable = True  # none of: write_eof, close, abort, connection lost
        self._lost = False  # nothing more may be sent or received: `_error` says why
        self._error: TransportError | None = None
        self._finished: tuple[FileRegion, ...] = ()  # files that have been sent, and nobody told
        self._writing_paused = False

    # The Transport's methods: see portable.transport.

    def write(self, data: Buffer) -> None:
        if type(data) is not bytes:
            if not isinstance(data, (bytes, bytearray, memoryview)):
                raise TypeError(f"write() takes bytes, bytearray or memoryview, not {type(data).__name__}")
            data = bytes(data)
        if not data or not self._writable:
            return
        self._size += len(data)
        if self._blocked and len(data) < _GATHER_SIZE:
            last = self._chunks[-1] if self._chunks else None
            if type(last) is bytearray and len(last) < _GATHER_SIZE:
                last += data
            else:
                self._chunks.append(bytearray(data))
        else:
            self._chunks.append(data)
        if not self._dirty:
            self._dirty = True
            self._reactor.dirty.append(self)

    def writelines(self, chunks: typing.Iterable[Buffer]) -> None:
        self.write(b"".join(chunks))

    def write_eof(self) -> None:
        if self._writable:
            self._writable = False
            self._mark_dirty()

    def can_write_eof(self) -> bool:
        return True

    def is_reading(self) -> bool:
        return not (self._paused or self._ended or self._closing)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        if high is None:
            high = HIGH_WATER if low is None else 4 * low
        if low is None:
            low = high // 4
        if not 0 <= low <= high:
            raise ValueError(f"water marks must be 0 <= low <= high, not low={low}, high={high}")
        self._high = high
        self._low = low
        if self.get_write_buffer_size():
            self._mark_dirty()

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._low, self._high

    def get_write_buffer_size(self) -> int:
        return self._size

    def set_protocol(self, protocol: StreamProtocol) -> None:
        self._protocol = protocol

    def get_protocol(self) -> StreamProtocol:
        return self._protocol

    def start_tls(self, options: TLSOptions, unread: int) -> TLSTransport:
        # Here, so that only those who speak TLS load it.
        from portable.tls import upgrade

        return upgrade(typing.cast("typing.Any", self), options, unread)

    def send_file(self, file: typing.BinaryIO, offset: int, count: int) -> Deferred[int]:
        if not self._writable:
            return fail(ConnectionLost("the connection is closing", "ECONNABORTED"))
        region = FileRegion(file, offset, count)
        small = region.read_small(_SMALL_FILE)
        if small is None:
            self._chunks.append(region)
            self._size += region.left
            self._mark_dirty()
        else:
            self.write(small)
            self._finish_soon(region)
        return region.sent

    # The rest

    def _mark_dirty(self) -> None:
        """Have the loop call `flush`."""
        if not self._dirty:
            self._dirty = True
            self._reactor.dirty.append(self)

    def _finish_soon(self, region: FileRegion) -> None:
        """Tell whoever sent `region` how it went: in the next turn, or before `connection_lost`."""
        if not self._finished:
            self._reactor.call_soon(self._tell_finished)
        self._finished += (region,)

    def _tell_finished(self) -> None:
        finished, self._finished = self._finished, ()
        for region in finished:
            region.finish()

    def _drop_chunks(self, regions: typing.Iterable[FileRegion] = ()) -> None:
        """Forget what was not sent, and tell whoever waits for files: these `regions`, and those that wait."""
        self._tell_finished()
        waiting = [*regions, *(chunk for chunk in self._chunks if isinstance(chunk, FileRegion))]
        self._chunks.clear()
        self._size = 0
        for region in waiting:
            region.finish(ConnectionLost("the connection ended before the file was sent"))

    def describe_peer(self) -> str:
        """Return how to name this connection in the log."""
        raise NotImplementedError  # left to the subclass

    def _tell_end(self) -> None:
        """Call the protocol's `connection_lost`, and let go of it."""
        protocol = self._protocol
        self._protocol = NOBODY
        try:
            protocol.connection_lost(self._error)
        except FAILURES:
            _log.exception("connection_lost of %s failed", self.describe_peer())
