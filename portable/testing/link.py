"""Two protocols joined in memory, and everything that a network may do to them."""

from __future__ import annotations

import itertools
import typing

from portable.errors import ConnectionReset
from portable.testing.clock import ManualClock
from portable.testing.memory import MemoryTransport
from portable.transport import Address

if typing.TYPE_CHECKING:
    from portable.protocol import StreamProtocol

__all__ = ["Link", "connect_in_memory"]

A_ADDRESS = Address("192.0.2.1", 40000)
B_ADDRESS = Address("192.0.2.2", 80)
# Bytes that wait at an end which has paused reading before its peer's writes wait too: a socket's buffer.
SOCKET_BUFFER = 64 * 1024


class _Direction:
    """What one end has written on its way to the other."""

    def __init__(self, source: MemoryTransport, target: MemoryTransport) -> None:
        self.source = source
        self.target = target
        self.passed = 0
        self.limit: int | None = None
        self.reset_at: int | None = None
        self.stalled = False
        self.eof_passed = False


class Link:
    """A connection between protocol `a` and protocol `b`; `connect_in_memory` makes one.

    Nothing moves until `flush`, so that a test chooses how the bytes are cut and when. What one end writes
    stays in its write buffer until the other has room, so both see water marks as on a network.

    Attributes:
        a, b: the two MemoryTransports, the first being the client's by convention.
        clock: the ManualClock of both.
    """

    def __init__(self, a: MemoryTransport, b: MemoryTransport) -> None:
        self.a = a
        self.b = b
        self.clock = a.clock
        self._to_b = _Direction(a, b)
        self._to_a = _Direction(b, a)

    def flush(self, chunk: int | typing.Iterable[int] | None = None, turns: int = 1_000_000) -> None:
        """Move bytes both ways, and let both ends act on them, until neither has anything to say.

        No time passes.

        Args:
            chunk: how many bytes one `data_received` gets: one size for all; sizes to be used one after the
                other, and then over again; or None for all there is.
            turns: give up after as many exchanges.

        Raises:
            AssertionError: they still talk after `turns` exchanges.
        """
        if chunk is None or isinstance(chunk, int):
            sizes: typing.Iterator[int | None] = itertools.repeat(chunk)
        else:
            sizes = itertools.cycle(list(chunk))
        self._settle()
        for _ in range(turns):
            moved = self._move(self._to_b, sizes)
            if not self._move(self._to_a, sizes) and not moved:
                return
        raise AssertionError(f"the two ends still talk after {turns} exchanges")

    def flush_once(self, chunk: int | None = None) -> bool:
        """Move at most `chunk` bytes each way, first to `b`; return whether anything moved."""
        self._settle()
        moved = self._move(self._to_b, itertools.repeat(chunk))
        return self._move(self._to_a, itertools.repeat(chunk)) or moved

    def short_writes(self, count: int | None) -> None:
        """From now on each end takes at most `count` bytes at a time from the other (None: all there are)."""
        self._to_a.limit = self._to_b.limit = count

    def stall(self, transport: MemoryTransport) -> None:
        """From now on the end with `transport` (`a` or `b`) takes nothing, until `unstall`: its peer's writes
        pile up. What it writes itself is still delivered.
        """
        self._towards(transport).stalled = True

    def unstall(self, transport: MemoryTransport) -> None:
        """Undo `stall`."""
        self._towards(transport).stalled = False

    def reset_after(self, transport: MemoryTransport, count: int) -> None:
        """Break the connection when the end with `transport` (`a` or `b`) has received `count` bytes in all:
        both ends get a ConnectionReset. With 0, the next `flush` does it.
        """
        self._towards(transport).reset_at = count

    def reset(self) -> None:
        """Break the connection now: both ends get a ConnectionReset."""
        for transport in (self.a, self.b):
            transport.lose(ConnectionReset("the connection was reset"))

    def _towards(self, transport: MemoryTransport) -> _Direction:
        if transport is self.b:
            return self._to_b
        if transport is self.a:
            return self._to_a
        raise ValueError("that transport is neither end of this link")

    def _settle(self) -> None:
        self.a.settle()
        self.b.settle()

    def _move(self, way: _Direction, sizes: typing.Iterator[int | None]) -> bool:
        """Move one chunk one way; return whether anything moved."""
        if way.passed == way.reset_at:
            way.reset_at = None
            self.reset()
            return True
        return self._move_end(way) or self._move_bytes(way, sizes)

    def _move_bytes(self, way: _Direction, sizes: typing.Iterator[int | None]) -> bool:
        room = SOCKET_BUFFER - way.target.unread
        waiting = way.source.waiting
        if way.stalled or room <= 0 or not waiting:
            return False
        count = min(room, waiting)
        size = next(sizes)
        bounds = [size, way.limit, None if way.reset_at is None else way.reset_at - way.passed]
        count = min([count, *(bound for bound in bounds if bound is not None)])
        way.source.allow(count)
        data = way.source.take()
        way.source.window = 0  # A file may have been shorter than was said.
        way.passed += len(data)
        if way.target.ended:
            # The peer has gone: its system answers with a reset.
            way.source.lose(ConnectionReset("the peer has closed the connection"))
        else:
            way.target.receive(data)
        return True

    def _move_end(self, way: _Direction) -> bool:
        """Tell the target of the end of the stream, or of its break, once."""
        if way.eof_passed or way.source.waiting:
            return False
        if way.source.aborted or way.source.lost_reason is not None:
            way.eof_passed = True
            way.target.lose(ConnectionReset("the peer reset the connection"))
            return True
        if not way.source.eof_written or way.stalled:
            return False
        way.eof_passed = True
        way.target.receive_eof()
        return True


def connect_in_memory(a: StreamProtocol, b: StreamProtocol, clock: ManualClock | None = None) -> Link:
    """Join two protocols, `a` as the client at 192.0.2.1:40000 and `b` as the server at 192.0.2.2:80.

    Their `connection_made` is called, `b`'s first, but no byte has moved yet: see `Link.flush`.
    """
    clock = ManualClock() if clock is None else clock
    server = MemoryTransport(None, clock, extra={"peername": A_ADDRESS, "sockname": B_ADDRESS}, window=0)
    client = MemoryTransport(None, clock, extra={"peername": B_ADDRESS, "sockname": A_ADDRESS}, window=0)
    server.connect(b)
    client.connect(a)
    return Link(client, server)
