"""One open byte stream whose socket is Java's.

What happens to written bytes: `write` keeps them here. At the end of the turn `flush` hands them to Java, which
gives them to the kernel at once. What that does not take comes back in the same turn, by `on_refused`, and
waits here for the WRITABLE event: so a peer that does not read costs Java nothing, and a file on its way to it
costs nobody anything, because its bytes are read again. How much is handed over follows what was taken before.

What was read before the protocol said `pause_reading` is on its way already, and is held here until it is
wanted.
"""

from __future__ import annotations

import logging
import typing

from backends.nio.addresses import parse_address
from backends.nio.bridge import (
    ABORT,
    CLOSE,
    CLOSED,
    EOF,
    PAUSE_READ,
    RESUME_READ,
    WRITABLE,
    WRITE,
    WRITE_EOF,
    PumpError,
)
from backends.sockets.buffered import NOBODY, BufferedStream
from backends.sockets.regions import FileRegion
from portable.errors import FAILURES, ConnectionAborted, TransportError, connection_lost_error

if typing.TYPE_CHECKING:
    from backends.nio.pumpreactor import PumpReactor
    from portable.protocol import StreamProtocol
    from portable.transport import Address, Buffer

__all__ = ["NioStream"]

_log = logging.getLogger("portable.nio")

# Bytes handed over in one turn: the most, and the least after the kernel has refused some.
_HAND_OVER = 256 * 1024
_LEAST_HAND_OVER = 16 * 1024
# The `arg` of a WRITE whose bytes are a file's.
_OF_FILE = 1


class NioStream(BufferedStream):
    """A `Transport` over a connection of the pump.

    It begins without a protocol, and holds what comes until `start`.

    Args:
        peer: the peer's address as Java tells it.
        sockname: our end's, where it is known without asking Java.
    """

    __slots__ = (
        "_close_sent",
        "_eof_held",
        "_finishing",
        "_handed",
        "_held",
        "_holding",
        "_peer",
        "_plain",
        "_region",
        "_sockname",
        "_told_paused",
        "_window",
        "id",
    )

    _reactor: PumpReactor

    def __init__(
        self, reactor: PumpReactor, ident: int, peer: str | Address, sockname: Address | str | None = None
    ) -> None:
        super().__init__(reactor, NOBODY)
        self.id = ident
        self._peer = peer
        self._sockname = sockname
        self._handed = 0  # bytes ever given to Java and not refused
        self._window = _HAND_OVER  # bytes to hand over at most
        self._region: FileRegion | None = None  # whose bytes were handed over last, until after the poll
        self._finishing: list[FileRegion] = []  # handed over whole
        self._told_paused = False  # Java knows that no data is wanted
        self._holding = True  # what comes must not go to the protocol now
        self._held: list[bytes] = []
        self._eof_held = False
        self._plain = True  # there is nothing to do for `flush` but to hand over what was written
        self._close_sent = False
        reactor.exchange.channels[ident] = self

    def start(self, protocol: StreamProtocol) -> None:
        """Make the connection known to its protocol. Call once, from the loop."""
        self._protocol = protocol
        self._holding = bool(self._held or self._eof_held)
        try:
            protocol.connection_made(self)
        except FAILURES:
            self._protocol_failed()
        if self._holding and not self._paused:
            self._reactor.call_soon(self._deliver_held)

    # Events from the loop.

    def on_data(self, data: bytes) -> None:
        """See `PumpChannel.on_data`."""
        if self._holding:
            if not self._closing:
                self._held.append(data)
            return
        self._received += len(data)
        try:
            self._protocol.data_received(data)
        except FAILURES:
            self._protocol_failed()

    def on_event(self, kind: int, arg: int, data: bytes) -> None:
        """See `PumpChannel.on_event`."""
        if kind == WRITABLE:
            self._blocked = False
            self._mark_dirty()
        elif kind == EOF:
            if self._holding:
                self._eof_held = True
            else:
                self._end_reading()
        elif kind == CLOSED:
            if arg and not self._lost:
                self._error = connection_lost_error(data.decode())
            elif self._close_sent and not self._lost:  # all of it was flushed
                self._finish_regions()
            self._finish()

    def on_accepted(self, ident: int, peer: str) -> None:
        """See `PumpChannel.on_accepted`. We are no listener."""

    def _end_reading(self) -> None:
        """The peer has ended its direction."""
        self._ended = True
        try:
            if not self._protocol.eof_received():
                self.close()
        except FAILURES:
            self._protocol_failed()

    def _deliver_held(self) -> None:
        """Give the protocol what came while it wanted nothing."""
        held = self._held
        while held and not self._paused and not self._closing:
            data = held.pop(0)
            self._received += len(data)
            try:
                self._protocol.data_received(data)
            except FAILURES:
                self._protocol_failed()
        if self._closing:
            held.clear()
        elif not self._paused and self._protocol is not NOBODY:
            self._holding = False
            if self._told_paused:
                self._mark_dirty()
            if self._eof_held:
                self._eof_held = False
                self._end_reading()

    def on_refused(self, data: Buffer, count: int, arg: int) -> None:
        """See `PumpWriter.on_refused`. Java has ignored what followed, too."""
        self._handed -= count
        self._size += count
        self._window = min(max(2 * (len(data) - count), _LEAST_HAND_OVER), _HAND_OVER)
        self._blocked = True
        self._plain = False
        self._close_sent = self._eof_sent = False
        region = self._region
        if arg != _OF_FILE or region is None:
            rest = memoryview(data)[-count:]
            # A short rest must not keep the whole.
            self._chunks.insert(0, rest if count > len(data) // 2 else bytes(rest))
        else:
            region.put_back(count)
            if region in self._finishing:
                self._finishing.remove(region)
                self._chunks.insert(0, region)
        if self._writable:
            self._judge()
        else:
            self._mark_dirty()

    def _judge(self) -> None:
        """Tell the protocol if a water mark was passed."""
        size = self._size
        if size > self._high:
            if not self._writing_paused:
                self._writing_paused = True
                self._tell(self._protocol.pause_writing)
        elif self._writing_paused and size <= self._low:
            self._writing_paused = False
            self._tell(self._protocol.resume_writing)

    def _tell(self, method: typing.Callable[[], object]) -> None:
        try:
            method()
        except FAILURES:
            self._protocol_failed()

    # Once a turn.

    def flush(self) -> None:
        """Hand over what waits, and do what was waiting for that. The loop calls this."""
        self._dirty = False
        size = self._size
        if self._plain and 0 < size <= _HAND_OVER:
            exchange = self._reactor.exchange
            exchange.ops += (WRITE, self.id, 0, size)
            chunks = self._chunks
            exchange.payloads.append(b"".join(chunks) if len(chunks) > 1 else chunks[0])  # type: ignore[arg-type] # plain: no region
            chunks.clear()
            self._size = 0
            self._handed += size
        elif self._lost:
            if self._is_known():
                self._reactor.exchange.put(ABORT, self.id)
                self._finish()
        else:
            self._flush_slowly()

    def _flush_slowly(self) -> None:
        exchange = self._reactor.exchange
        if not self._is_known():
            return
        # Reading goes on when the protocol has everything that was read before: behind that there may be a
        # reset, which ends the connection at once.
        pause = self._paused or bool(self._held)
        if self._told_paused != pause and not self._closing:
            self._told_paused = pause
            exchange.put(PAUSE_READ if pause else RESUME_READ, self.id)
        handed = self._hand_over() if self._chunks and not self._blocked else 0
        if self._finishing or (handed and (self._chunks or self._writing_paused)):
            # That the kernel took it is not told: look again after the poll.
            self._reactor.call_soon(self._look_again)
        if not self._writable:
            if not self._chunks:
                self._flush_end()
            elif self._closing and not self._told_paused:
                self._told_paused = True
                exchange.put(PAUSE_READ, self.id)
        elif not handed:
            self._judge()
        self._plain = not (
            self._chunks or self._finishing or self._writing_paused or self._lost or not self._writable
        )

    def _look_again(self) -> None:
        """After the poll."""
        self._region = None
        self._finish_regions()
        if not (self._lost or self._blocked):
            self._window = min(2 * self._window, _HAND_OVER)
            if self._writable:
                self._judge()
            if self._chunks:
                self._mark_dirty()

    def _hand_over(self) -> int:
        """Give Java some of what waits, up to a file or some of that; return how many bytes."""
        exchange = self._reactor.exchange
        exchange.make_room(self._window)
        room = self._window
        chunks = self._chunks
        parts: list[Buffer] = []
        done = 0
        region = None
        while done < len(chunks) and room > 0:
            chunk = chunks[done]
            if isinstance(chunk, FileRegion):
                region = chunk
                break
            if len(chunk) <= room:
                done += 1
                parts.append(chunk)
            else:
                view = memoryview(chunk)
                parts.append(view[:room])
                chunks[done] = view[room:]
            room -= len(parts[-1])
        del chunks[:done]
        if parts:
            exchange.put(WRITE, self.id, 0, b"".join(parts) if len(parts) > 1 else parts[0])
        if region is not None:
            room -= self._hand_over_file(region, room)
        handed = self._window - room
        self._size -= handed
        self._handed += handed
        return handed

    def _hand_over_file(self, region: FileRegion, room: int) -> int:
        """Give Java at most `room` bytes of `region`, which waits first; return how many."""
        data = region.take(room)
        if region.done:
            # What the file turned out to lack is not waiting any more.
            self._size -= region.left
            self._finishing.append(region)
            del self._chunks[0]
        if data:
            self._region = region
            self._reactor.exchange.put(WRITE, self.id, _OF_FILE, data)
        return len(data)

    def _flush_end(self) -> None:
        """Everything was handed over: do what `close` or `write_eof` asked for."""
        if self._closing:
            if not self._close_sent:
                self._close_sent = True
                self._reactor.exchange.put(CLOSE, self.id)
        elif not self._eof_sent:
            self._eof_sent = True
            self._reactor.exchange.put(WRITE_EOF, self.id)

    def _finish_regions(self) -> None:
        """Tell about the files of which the kernel has taken everything."""
        while self._finishing:
            self._finishing.pop(0).finish()

    # The Transport's methods: see portable.transport.

    def close(self) -> None:
        if not self._closing:
            self._stop_reading()
            self._writable = False
            self._mark_dirty()

    def abort(self) -> None:
        self._lose(None)

    def is_closing(self) -> bool:
        return self._closing

    def pause_reading(self) -> None:
        if not self._paused:
            self._paused = self._holding = True
            self._mark_dirty()

    def resume_reading(self) -> None:
        if self._paused:
            self._paused = False
            self._mark_dirty()
            if not self._closing and self._protocol is not NOBODY:
                if self._held or self._eof_held:
                    # Not from inside this call. What comes meanwhile waits behind it.
                    self._reactor.call_soon(self._deliver_held)
                else:
                    self._holding = False

    def get_extra_info(self, name: str, default: typing.Any = None) -> typing.Any:
        if name == "peername":
            if isinstance(self._peer, str):
                self._peer = parse_address(self._peer)
            return self._peer
        if name == "sockname":
            return self._ask_sockname(default)
        if name == "reactor":
            return self._reactor
        if name == "bytes_received":
            return self._received
        if name == "bytes_sent":
            return self._handed
        return default

    def _ask_sockname(self, default: typing.Any) -> typing.Any:
        if self._sockname is None and not self._lost:
            try:
                self._sockname = parse_address(self._reactor.bridge.local_address(self.id))
            except PumpError:  # it is closed, and its last event on the way
                return default
        return default if self._sockname is None else self._sockname

    # The end.

    def _mark_dirty(self) -> None:
        """Have `flush` look at everything."""
        self._plain = False
        super()._mark_dirty()

    def _stop_reading(self) -> None:
        self._closing = True
        self._holding = True
        self._held.clear()

    def _protocol_failed(self) -> None:
        _log.exception("the protocol of %s failed; its connection is dropped", self.describe_peer())
        self._lose(ConnectionAborted("an error in the protocol ended the connection"))

    def describe_peer(self) -> str:
        """Return how to name this connection in the log."""
        return str(self.get_extra_info("peername")) or "a Unix socket"

    def _lose(self, error: TransportError | None) -> None:
        """Stop everything. The protocol is told when the loop flushes."""
        if self._lost:
            return
        self._stop_reading()
        self._lost = True
        self._writable = False
        self._error = error
        self._mark_dirty()

    def _is_known(self) -> bool:
        """Return whether our id is ours still: Java gives it to another connection, some thousands later."""
        return self._reactor.exchange.channels.get(self.id) is self

    def _finish(self) -> None:
        """Give everything back and tell the protocol. Called from the loop only."""
        if not self._is_known():
            return
        del self._reactor.exchange.channels[self.id]
        self._stop_reading()
        self._lost = True
        self._writable = False
        self._plain = False
        regions, self._finishing = self._finishing, []
        self._drop_chunks(regions)
        self._tell_end()
