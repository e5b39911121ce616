"""A connection that carries so many bytes per second and no more."""

from __future__ import annotations

import collections
import typing

from portable.deferred import Deferred
from portable.errors import ConnectionLost
from portable.transport import HIGH_WATER
from portable.wrapping import WrappedTransport

if typing.TYPE_CHECKING:
    from portable.clock import Call, Clock, Timer
    from portable.errors import TransportError
    from portable.protocol import StreamProtocol
    from portable.transport import Buffer, Transport

__all__ = ["ThrottledTransport"]

# Seconds. What a connection carries in one go: short enough to look like a slow line, long enough that 10,000
# throttled connections do not keep the loop busy.
SLICE = 0.1
# Seconds that the loop may be late without a connection carrying less than its rate. After a longer rest
# nothing is made up for: a quiet hour does not buy a burst.
CREDIT = 2 * SLICE


class Gate:
    """Says when how many bytes may pass. Rests (no timers, no calls) while nothing wants to.

    Args:
        rate: bytes per second, above 0.
        move: called with the most bytes that may pass now; returns how many did. 0 puts the gate to rest.
    """

    __slots__ = ("_clock", "_free_at", "_move", "_rate", "_running", "_slice", "_timer")

    def __init__(self, clock: Clock, rate: float, move: typing.Callable[[int], int]) -> None:
        self._clock = clock
        self._rate = rate
        self._slice = max(int(rate * SLICE), 1)
        self._move = move
        self._free_at = clock.time()
        self._timer: Timer | None = None
        self._running = False

    def open(self) -> None:
        """Something wants to pass: let it, now if it may, else when it may."""
        if self._timer is None and not self._running:
            self._run()

    def _run(self) -> None:
        self._timer = None
        self._running = True
        now = self._clock.time()
        self._free_at = max(self._free_at, now - CREDIT)
        moved = 1
        try:
            while moved and self._free_at <= now:
                moved = self._move(self._slice)
                self._free_at += moved / self._rate
        finally:
            self._running = False
        if moved:
            self._timer = self._clock.call_at(self._free_at, self._run)

    def close(self) -> None:
        """Let nothing pass any more, unless `open` is called again."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class _FilePart:
    """A `send_file` that waits its turn."""

    __slots__ = ("done", "file", "left", "offset", "sent")

    def __init__(self, file: typing.BinaryIO, offset: int, count: int) -> None:
        self.file = file
        self.offset = offset
        self.left = count
        self.sent = 0
        self.done: Deferred[int] = Deferred()


class ThrottledTransport(WrappedTransport):
    """A transport for the protocol above it, a protocol for the transport below it, and slower than that.

    Each direction carries `rate` bytes per second, correct over any second or more. What the peer sends faster
    waits here (one read of the transport at most) and then in the system's buffers, so that the peer is slowed
    down; what we write faster waits here and counts against the water marks.
    """

    __slots__ = (
        "_above",
        "_check",
        "_clock",
        "_closing",
        "_eof_wanted",
        "_file_busy",
        "_full_below",
        "_high",
        "_in",
        "_in_gate",
        "_in_passed",
        "_lost",
        "_low",
        "_out",
        "_out_gate",
        "_out_size",
        "_pause_told",
        "_reading",
    )

    def __init__(self, below: Transport, above: StreamProtocol, rate: float, clock: Clock) -> None:
        super().__init__(below)
        self._above = above
        self._clock = clock
        self._in: collections.deque[bytes | memoryview] = collections.deque()
        self._in_gate = Gate(clock, rate, self._move_in)
        self._in_passed = 0
        self._reading = True
        self._out: collections.deque[bytes | memoryview | _FilePart] = collections.deque()
        self._out_gate = Gate(clock, rate, self._move_out)
        self._out_size = 0
        self._eof_wanted = False
        self._file_busy = False
        self._full_below = False
        self._closing = False
        self._lost = False
        self._low = HIGH_WATER // 4
        self._high = HIGH_WATER
        self._pause_told = False
        self._check: Call | None = None
        # What the system does not take waits here, not below, so that it is told when all below has left.
        below.set_write_buffer_limits(0)

    # The transport that the protocol above sees.

    def write(self, data: Buffer) -> None:
        """See `Transport.write`."""
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(f"write takes bytes, bytearray or memoryview, not {type(data).__name__}")
        if data and not self._closing and not self._eof_wanted:
            copied = bytes(data)
            self._out.append(copied)
            self._out_size += len(copied)
            self._out_gate.open()
            self._check_marks_soon()

    def writelines(self, chunks: typing.Iterable[Buffer]) -> None:
        """See `Transport.writelines`."""
        self.write(b"".join(chunks))

    def write_eof(self) -> None:
        """See `Transport.write_eof`."""
        if not self._closing and not self._eof_wanted:
            self._eof_wanted = True
            self._end_output()

    def close(self) -> None:
        """See `Transport.close`."""
        if not self._closing:
            self._closing = True
            self._drop_input()
            self._end_output()

    def abort(self) -> None:
        """See `Transport.abort`."""
        self._closing = True
        self._drop_input()
        self._drop_output(None)
        self.below.abort()

    def drain(self) -> None:
        """See `SupportsDrain.drain`: passed on to the protocol above, or `close`."""
        goodbye = getattr(self._above, "drain", None)
        if goodbye is None:
            self.close()
        else:
            goodbye()

    def is_closing(self) -> bool:
        """See `Transport.is_closing`."""
        return self._closing or self.below.is_closing()

    def pause_reading(self) -> None:
        """See `Transport.pause_reading`."""
        self._reading = False
        self.below.pause_reading()

    def resume_reading(self) -> None:
        """See `Transport.resume_reading`."""
        if not self._reading:
            self._reading = True
            # From the loop: nothing is ever delivered from inside this method.
            self._clock.call_soon(self._go_on_reading)

    def is_reading(self) -> bool:
        """See `Transport.is_reading`."""
        return self._reading and not self.is_closing()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """See `Transport.set_write_buffer_limits`."""
        if high is None:
            high = HIGH_WATER if low is None else 4 * low
        if low is None:
            low = high // 4
        if not 0 <= low <= high:
            raise ValueError(f"the water marks must be 0 <= low <= high, not low {low} and high {high}")
        self._low = low
        self._high = high
        self._check_marks_soon()

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """See `Transport.get_write_buffer_limits`."""
        return self._low, self._high

    def get_write_buffer_size(self) -> int:
        """See `Transport.get_write_buffer_size`."""
        return self._out_size + self.below.get_write_buffer_size()

    def get_extra_info(self, name: str, default: typing.Any = None) -> typing.Any:
        """See `Transport.get_extra_info`. Bytes count as received when the protocol above gets them."""
        return self._in_passed if name == "bytes_received" else self.below.get_extra_info(name, default)

    def set_protocol(self, protocol: StreamProtocol) -> None:
        """See `Transport.set_protocol`."""
        self._above = protocol

    def get_protocol(self) -> StreamProtocol:
        """See `Transport.get_protocol`."""
        return self._above

    def send_file(self, file: typing.BinaryIO, offset: int, count: int) -> Deferred[int]:
        """See `Transport.send_file`."""
        part = _FilePart(file, offset, count)
        if self._closing or self._eof_wanted:
            part.done.errback(ConnectionLost("the connection is closing", "ECONNABORTED"))
        else:
            self._out.append(part)
            self._out_gate.open()
        return part.done

    # The protocol that the transport below sees.

    def connection_made(self, transport: Transport) -> None:
        """See `Protocol.connection_made`. Tells the protocol above, which gets this object as its transport."""
        self._above.connection_made(self)

    def data_received(self, data: bytes) -> None:
        """See `Protocol.data_received`."""
        if not self._closing:
            self._in.append(data)
            self._go_on_reading()

    def eof_received(self) -> bool | None:
        """See `Protocol.eof_received`."""
        # Nothing waits to be passed up: the transport below is paused as long as something does. What waits to
        # be passed down does not leave if it closes now, so that is left to our `close`.
        if not self._closing and not self._above.eof_received():
            self.close()
        return True

    def connection_lost(self, exc: TransportError | None) -> None:
        """See `Protocol.connection_lost`."""
        self._lost = True
        self._closing = True
        self._drop_input()
        self._drop_output(exc)
        if self._check is not None:
            self._check.cancel()
        self._above.connection_lost(exc)

    def pause_writing(self) -> None:
        """See `Protocol.pause_writing`."""
        self._full_below = True

    def resume_writing(self) -> None:
        """See `Protocol.resume_writing`."""
        self._full_below = False
        self._out_gate.open()
        self._check_marks_soon()

    # Input.

    def _go_on_reading(self) -> None:
        if self._wants_input():
            self._in_gate.open()
        if self._in:
            self.below.pause_reading()
        elif self._wants_input():
            self.below.resume_reading()

    def _wants_input(self) -> bool:
        return self._reading and not self._closing

    def _move_in(self, most: int) -> int:
        """Pass at most so many bytes up; return how many."""
        if not self._in or not self._wants_input():
            return 0
        data = _cut(self._in.popleft(), most, self._in)
        self._in_passed += len(data)
        self._tell(self._above.data_received, data if isinstance(data, bytes) else bytes(data))
        if not self._in and self._wants_input():
            self.below.resume_reading()
        return len(data)

    def _drop_input(self) -> None:
        self._in.clear()
        self._in_gate.close()

    # Output.

    def _move_out(self, most: int) -> int:
        """Pass at most so many bytes down; return how many."""
        if not self._out or self._full_below or self._file_busy:
            return 0
        item = self._out[0]
        if isinstance(item, _FilePart):
            return self._send_part(item, min(most, item.left))
        self._out.popleft()
        item = _cut(item, most, self._out)
        self._out_size -= len(item)
        self.below.write(item)
        self._check_marks_soon()
        if not self._out:
            self._end_output()
        return len(item)

    def _send_part(self, part: _FilePart, count: int) -> int:
        self._file_busy = True
        self.below.send_file(part.file, part.offset + part.sent, count).add_callbacks(
            lambda sent: self._part_sent(part, sent, count), lambda error: self._part_failed(part, error)
        )
        return count

    def _part_sent(self, part: _FilePart, sent: int, wanted: int) -> None:
        self._file_busy = False
        part.sent += sent
        part.left -= sent
        if not self._out or self._out[0] is not part:
            return  # aborted meanwhile, and told so
        if sent < wanted or not part.left:
            self._out.popleft()
            part.done.callback(part.sent)
        self._check_marks_soon()
        if self._out:
            self._out_gate.open()
        else:
            self._end_output()

    def _part_failed(self, part: _FilePart, error: Exception) -> None:
        self._file_busy = False
        if self._out and self._out[0] is part:
            self._out.popleft()
            part.done.errback(error)
            self._check_marks_soon()
            self._out_gate.open()
            self._end_output()

    def _end_output(self) -> None:
        """Do what waited for the output's end, if this is it."""
        if self._out or self._lost:
            return
        if self._closing:
            self.below.close()
        elif self._eof_wanted:
            self.below.write_eof()

    def _drop_output(self, exc: TransportError | None) -> None:
        self._out_gate.close()
        waiting = self._out
        self._out = collections.deque()
        self._out_size = 0
        for item in waiting:
            if isinstance(item, _FilePart):
                reason = exc if isinstance(exc, ConnectionLost) else ConnectionLost("the connection was closed")
                item.done.errback(reason)

    def _check_marks_soon(self) -> None:
        if self._check is None and (self._pause_told or self.get_write_buffer_size() > self._high):
            self._check = self._clock.call_soon(self._check_marks)

    def _check_marks(self) -> None:
        self._check = None
        if self.is_closing():
            return
        size = self.get_write_buffer_size()
        if not self._pause_told and size > self._high:
            self._pause_told = True
            self._tell(self._above.pause_writing)
        elif self._pause_told and size <= self._low:
            self._pause_told = False
            self._tell(self._above.resume_writing)
        if self._pause_told and not (self._out or self._full_below or self._eof_wanted):
            # The transport below sends at the end of this turn, and only then tells whether that was all (after
            # `write_eof` it tells nothing).
            self._check_marks_soon()

    def _tell(self, method: typing.Callable[..., object], *args: object) -> None:
        """Call the protocol above. From a timer, nobody else would end a connection whose protocol fails."""
        try:
            method(*args)
        except BaseException:
            self.abort()
            raise


def _cut(item: bytes | memoryview, most: int, rest: collections.deque[typing.Any]) -> bytes | memoryview:
    """Return at most `most` bytes of `item`; put what is left, uncopied, at the front of `rest`."""
    if len(item) <= most:
        return item
    view = memoryview(item)
    rest.appendleft(view[most:])
    return view[:most]
