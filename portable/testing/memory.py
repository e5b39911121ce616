"""A transport without a network."""

from __future__ import annotations

import collections
import typing

from portable.errors import ConnectionAborted, ConnectionLost, ConnectionReset, FileError, LocalProtocolError
from portable.testing.clock import ManualClock
from portable.transport import HIGH_WATER, Address

if typing.TYPE_CHECKING:
    from portable.deferred import Deferred
    from portable.errors import TransportError
    from portable.protocol import StreamProtocol
    from portable.tls import TLSOptions, TLSTransport
    from portable.transport import Buffer

__all__ = ["MemoryTransport"]

PEER = Address("192.0.2.1", 40000)
OWN = Address("192.0.2.2", 80)
# Bytes of a file that are read at once.
FILE_PIECE = 64 * 1024


class _File:
    """A `send_file` that waits in the write buffer."""

    def __init__(self, file: typing.BinaryIO, offset: int, count: int, done: Deferred[int]) -> None:
        self.file = file
        self.offset = offset
        self.left = count
        self.sent = 0
        self.done = done


class MemoryTransport:
    """A complete `portable.transport.Transport` whose other end is the test.

    What the peer does is said with `receive`, `receive_eof` and `lose`; what it got is in `written`. By default
    the peer takes everything at once; `window` and `allow` make it slow. Calls that a method of the transport
    causes (such as `connection_lost` after `close`) come from the clock, never from inside it: `receive`
    and the other methods of the test's side let the clock make them before they return, but no time passes.
    After a direct call of a transport's or protocol's method, `settle()` (or `clock.advance`) does it.

    An exception that leaves a protocol's method aborts the connection, as everywhere, and then comes out of
    `receive` or `advance`, so that the test fails where the fault is.

    Args:
        protocol: gets its `connection_made` at once. If None, call `set_protocol` before anything else happens.
        clock: shared by everything in one test; its own if None.
        extra: what `get_extra_info` gives, over "peername" (192.0.2.1:40000), "sockname" (192.0.2.2:80),
            "reactor" (the clock) and the counters "bytes_received" and "bytes_sent".
        window: as the attribute.

    Attributes:
        written: everything the peer got so far, less what `take` took.
        window: how many more bytes the peer takes, or None for any number. What it does not take stays in the
            write buffer and counts against the water marks.
        clock: the ManualClock.
        extra: may be changed at any time.
        eof_written: whether the peer was told the end of our stream, by `write_eof` or `close`.
        aborted: whether the protocol called `abort` (or let an exception go).
        lost: whether `connection_lost` was called.
        lost_reason: what it was called with.
        pauses: how often `pause_writing` was called.
    """

    def __init__(
        self,
        protocol: StreamProtocol | None = None,
        clock: ManualClock | None = None,
        *,
        extra: typing.Mapping[str, object] | None = None,
        window: int | None = None,
    ) -> None:
        self.clock = ManualClock() if clock is None else clock
        self.extra: dict[str, object] = {"peername": PEER, "sockname": OWN, "reactor": self.clock}
        self.extra.update(extra or {})
        self.window = window
        self.written = bytearray()
        self.eof_written = False
        self.aborted = False
        self.lost = False
        self.lost_reason: TransportError | None = None
        self.pauses = 0
        self._protocol: StreamProtocol | None = None
        # Towards the protocol.
        self._inbound: collections.deque[bytes] = collections.deque()
        self._inbound_eof = False
        self._eof_told = False
        self._reading = True
        self._bytes_received = 0
        # Towards the peer.
        self._outbound: collections.deque[bytes | _File] = collections.deque()
        self._outbound_size = 0
        self._bytes_sent = 0
        self._eof_asked = False
        self._closing = False
        self._low = HIGH_WATER // 4
        self._high = HIGH_WATER
        self._paused = False
        self._check_queued = False
        self._ended = False
        if protocol is not None:
            self.connect(protocol)

    # The test's side.

    def connect(self, protocol: StreamProtocol) -> None:
        """Take `protocol` and call its `connection_made`."""
        self._protocol = protocol
        self._call(protocol.connection_made, self)

    def receive(self, data: bytes) -> None:
        """Have the protocol receive `data` (b"" does nothing), at once or when it resumes reading."""
        if data and not self._inbound_eof:
            self._inbound.append(bytes(data))
            self.clock.call_soon(self._deliver)
        self.settle()

    def receive_eof(self) -> None:
        """Tell the protocol that the peer sends no more, once it has read what came before."""
        self._inbound_eof = True
        self.clock.call_soon(self._deliver)
        self.settle()

    def lose(self, exc: TransportError | None = None) -> None:
        """Break the connection, by default with a ConnectionReset, and drop what was under way."""
        self._end(ConnectionReset("the peer reset the connection") if exc is None else exc)
        self.settle()

    def take(self) -> bytes:
        """Return what the peer got since this was last asked, and forget it."""
        taken = bytes(self.written)
        self.written.clear()
        return taken

    def allow(self, count: int | None) -> None:
        """Let the peer take `count` more bytes (None: from now on all) of what waits or will be written."""
        self.window = None if count is None else (self.window or 0) + count
        self._send()
        self.settle()

    def settle(self) -> None:
        """Let the clock make every call that is due now, unless it is doing that already."""
        if not self.clock.advancing:
            self.clock.advance(0)

    @property
    def unread(self) -> int:
        """How many received bytes wait because the protocol has paused reading."""
        return sum(len(chunk) for chunk in self._inbound)

    @property
    def waiting(self) -> int:
        """How many bytes wait for the peer to take them: written ones, and those of files (as asked for)."""
        return sum(item.left if isinstance(item, _File) else len(item) for item in self._outbound)

    @property
    def ended(self) -> bool:
        """Whether the connection is over in both directions; `connection_lost` has been called, or soon is."""
        return self._ended

    # The protocol's side: portable.transport.Transport.

    def write(self, data: Buffer) -> None:
        """See `portable.transport.Transport.write`."""
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(f"write takes bytes, bytearray or memoryview, not {type(data).__name__}")
        if data and not self._eof_asked and not self._closing:
            self._queue(bytes(data))

    def writelines(self, chunks: typing.Iterable[Buffer]) -> None:
        """See `portable.transport.Transport.writelines`."""
        self.write(b"".join(chunks))

    def write_eof(self) -> None:
        """See `portable.transport.Transport.write_eof`."""
        if not self._closing:
            self._eof_asked = True
            self._send()

    def can_write_eof(self) -> bool:
        """Return True."""
        return True

    def close(self) -> None:
        """See `portable.transport.Transport.close`."""
        if not self._closing:
            self._closing = True
            self._eof_asked = True
            self._inbound.clear()
            self._send()

    def abort(self) -> None:
        """See `portable.transport.Transport.abort`."""
        if not self._ended:
            self.aborted = True
            self._end(None)

    def is_closing(self) -> bool:
        """See `portable.transport.Transport.is_closing`."""
        return self._closing

    def pause_reading(self) -> None:
        """See `portable.transport.Transport.pause_reading`."""
        self._reading = False

    def resume_reading(self) -> None:
        """See `portable.transport.Transport.resume_reading`."""
        if not self._reading:
            self._reading = True
            self.clock.call_soon(self._deliver)

    def is_reading(self) -> bool:
        """See `portable.transport.Transport.is_reading`."""
        return self._reading and not self._closing

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """See `portable.transport.Transport.set_write_buffer_limits`."""
        if high is None:
            high = HIGH_WATER if low is None else 4 * low
        if low is None:
            low = high // 4
        if not 0 <= low <= high:
            raise ValueError(f"the water marks must be 0 <= low <= high, not low {low} and high {high}")
        self._low = low
        self._high = high
        self._queue_check()

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Return (low, high) in bytes."""
        return self._low, self._high

    def get_write_buffer_size(self) -> int:
        """See `portable.transport.Transport.get_write_buffer_size`. A file that waits counts for nothing."""
        return self._outbound_size

    def get_extra_info(self, name: str, default: typing.Any = None) -> typing.Any:
        """See `portable.transport.Transport.get_extra_info`."""
        if name == "bytes_received":
            return self.extra.get(name, self._bytes_received)
        if name == "bytes_sent":
            return self.extra.get(name, self._bytes_sent)
        return self.extra.get(name, default)

    def set_protocol(self, protocol: StreamProtocol) -> None:
        """See `portable.transport.Transport.set_protocol`."""
        self._protocol = protocol

    def get_protocol(self) -> StreamProtocol:
        """See `portable.transport.Transport.get_protocol`.

        Raises:
            LocalProtocolError: there is none yet.
        """
        if self._protocol is None:
            raise LocalProtocolError("this MemoryTransport was given no protocol")
        return self._protocol

    def start_tls(self, options: TLSOptions, unread: int) -> TLSTransport:
        """See `portable.transport.Transport.start_tls`."""
        from portable.tls import upgrade

        return upgrade(self, options, unread)

    def send_file(self, file: typing.BinaryIO, offset: int, count: int) -> Deferred[int]:
        """See `portable.transport.Transport.send_file`."""
        from portable.deferred import Deferred

        done: Deferred[int] = Deferred()
        if self._closing or self._eof_asked:
            self.clock.call_soon(done.errback, ConnectionLost("the connection is closing", "ECONNABORTED"))
        else:
            self._outbound.append(_File(file, offset, count, done))
            self._send()
        return done

    # Towards the protocol, always from the clock.

    def _deliver(self) -> None:
        while self._inbound and self.is_reading():
            data = self._inbound.popleft()
            self._bytes_received += len(data)
            self._call(self.get_protocol().data_received, data)
        if self._inbound_eof and not self._eof_told and not self._inbound and self.is_reading():
            self._eof_told = True
            if not self._call(self.get_protocol().eof_received):
                self.close()

    def _call(self, method: typing.Callable[..., object], *args: object) -> object:
        try:
            return method(*args)
        except Exception:
            self.aborted = True
            self._end(ConnectionAborted("an error in the protocol ended the connection"))
            raise

    # Towards the peer.

    def _queue(self, data: bytes) -> None:
        self._outbound.append(data)
        self._outbound_size += len(data)
        self._send()

    def _send(self) -> None:
        """Give the peer what it takes."""
        while self._outbound:
            item = self._outbound[0]
            if self.window == 0 and not (isinstance(item, _File) and item.left == 0):
                break
            if isinstance(item, _File):
                if not self._send_piece(item):
                    self._outbound.popleft()
                continue
            self._outbound.popleft()
            fits = len(item) if self.window is None else min(self.window, len(item))
            if fits < len(item):
                self._outbound.appendleft(item[fits:])
            self._outbound_size -= fits
            self._pass(item[:fits])
        if not self._outbound and self._eof_asked and not self._ended:
            self.eof_written = True
            if self._closing:
                self._end(None)
        self._queue_check()

    def _send_piece(self, item: _File) -> bool:
        """Send the next piece of a file; return whether there may be more."""
        wanted = min(item.left, FILE_PIECE if self.window is None else min(FILE_PIECE, self.window))
        data = b""
        if wanted:
            try:
                item.file.seek(item.offset + item.sent)
                data = item.file.read(wanted)
            except Exception as exc:  # noqa: BLE001 - whatever a file object raises, the Deferred tells it
                self.clock.call_soon(item.done.errback, FileError(f"cannot read the file: {exc}", "EIO"))
                return False
        self._pass(data)
        item.sent += len(data)
        item.left -= len(data)
        if data and item.left:
            return True
        self.clock.call_soon(item.done.callback, item.sent)
        return False

    def _pass(self, data: bytes) -> None:
        self.written += data
        self._bytes_sent += len(data)
        if self.window is not None:
            self.window -= len(data)

    def _queue_check(self) -> None:
        if not self._check_queued:
            self._check_queued = True
            self.clock.call_soon(self._check_marks)

    def _check_marks(self) -> None:
        self._check_queued = False
        if self._ended:
            return
        if not self._paused and self._outbound_size > self._high:
            self._paused = True
            self.pauses += 1
            self._call(self.get_protocol().pause_writing)
        elif self._paused and self._outbound_size <= self._low:
            self._paused = False
            self._call(self.get_protocol().resume_writing)

    def _end(self, exc: TransportError | None) -> None:
        """The connection is over, whatever was still to be sent or read."""
        if self._ended:
            return
        self._ended = True
        self._closing = True
        self._inbound.clear()
        for item in self._outbound:
            if isinstance(item, _File):
                error = exc if isinstance(exc, ConnectionLost) else ConnectionLost("the connection has ended")
                self.clock.call_soon(item.done.errback, error)
        self._outbound.clear()
        self._outbound_size = 0
        self.clock.call_soon(self._tell_lost, exc)

    def _tell_lost(self, exc: TransportError | None) -> None:
        self.lost = True
        self.lost_reason = exc
        self.get_protocol().connection_lost(exc)
