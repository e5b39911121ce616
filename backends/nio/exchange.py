"""The traffic with Java: operations out, events in, once a turn.

Everything here is paid for by every message that a server handles; it was measured. Decoding a header by
`iter_unpack` costs 36 ns, cutting a small payload out of one bytes object 38 ns.
"""

from __future__ import annotations

import struct
import typing

from backends.nio.bridge import ABORT, ACCEPTED, DATA, REFUSED

if typing.TYPE_CHECKING:
    from backends.nio.bridge import Bridge
    from portable.transport import Buffer

__all__ = ["Exchange", "PumpChannel"]

_HEADER = struct.Struct("4i")
_COUNT_MASK = REFUSED - 1
# Bytes. Payloads that are longer on average are copied one by one; shorter ones all at once and then cut.
_LONG = 2048


class PumpChannel(typing.Protocol):
    """Whoever owns something that the pump has an id for."""

    def on_data(self, data: bytes, /) -> None:
        """Take a DATA event."""

    def on_accepted(self, ident: int, peer: str, /) -> None:
        """Take an ACCEPTED event of this listener."""

    def on_event(self, kind: int, arg: int, data: bytes, /) -> None:
        """Take any other event."""

    def abort(self) -> None:
        """Close, because the reactor does."""


class PumpWriter(PumpChannel, typing.Protocol):
    """A channel that puts WRITE or SENDTO operations."""

    def on_refused(self, data: Buffer, count: int, arg: int, /) -> None:
        """Take back the last `count` bytes of the `data` of an operation that was put with this `arg`."""


class Exchange:
    """Batches of operations and events.

    Attributes:
        ops: the headers of the operations to come, flat: kind, id, arg, length of the payload, four by four.
        payloads: their payloads; none for a length of 0.
        channels: who is told about the events of an id.
    """

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge
        self.channels: dict[int, PumpChannel] = {}
        self.ops: list[int] = []
        self.payloads: list[Buffer] = []
        self._poll = bridge.poll
        self._event_headers = bridge.event_headers
        self._event_payloads = bridge.event_payloads
        self._op_headers = bridge.op_headers
        self._op_payloads = bridge.op_payloads
        self._most_ops = len(self._op_headers) // _HEADER.size
        self._long = 0  # bytes for which `make_room` was called since operations were handed over
        # Owner, payload, how many bytes of it were not taken, and `arg`, in the order of the operations.
        self._refused: list[tuple[int, Buffer, int, int]] = []
        # Unlike a selector, Java tells everything once only: so that nothing is lost to a KeyboardInterrupt,
        self._turn = 0  # as Java counts them,
        self._result = 0  # of the last poll, until `deliver` has begun,
        self._left: list[tuple[int, int, int, bytes]] = []  # and events that an exception has left behind

    def put(self, kind: int, ident: int, arg: int = 0, data: Buffer = b"") -> None:
        """Add one operation."""
        self.ops += (kind, ident, arg, len(data))
        if data:
            self.payloads.append(data)

    def poll(self, timeout: int) -> None:
        """Hand over all operations and wait at most `timeout` milliseconds for something to `deliver`."""
        if self._result & _COUNT_MASK:
            self._keep(self._result)
        ops = self.ops
        if not ops:
            try:
                result = self._poll(0 if self._left else timeout, 0)
            except BaseException:
                self._interrupted([], [])
                raise
            self._turn += 1
            self._result = result
            return
        payloads = self.payloads
        size = sum(ops[3::4])
        count = len(ops) // 4
        fits = size <= len(self._op_payloads) and count <= self._most_ops
        # From here to where exceptions are caught nothing is called if all fits, so nothing can be interrupted.
        self.ops = []
        self.payloads = []
        self._long = 0
        if not fits:
            ops, payloads = self._apply_first(ops, payloads)
            count = len(ops) // 4
            size = sum(ops[3::4])
            if self._refused:
                timeout = 0  # whoever is told may have work
        try:
            self._copy(ops, payloads, size)
            result = self._poll(0 if self._left else timeout, count)
        except BaseException:
            self._interrupted(ops, payloads)
            raise
        self._turn += 1
        self._result = result
        if result & REFUSED:
            self._find_refused(ops, payloads)
        if self._refused:
            self._take_back()

    def _interrupted(self, ops: list[int], payloads: list[Buffer]) -> None:
        """Save what a poll that ended with an exception, on the way there or back, has done or not."""
        turn, events, size, refused = _HEADER.unpack_from(self._event_headers, len(self._event_headers) - 16)
        if (turn - self._turn) & _COUNT_MASK:
            self._turn += 1
            self._keep(events | size << 32)
            if refused:
                self._find_refused(ops, payloads)
            self._take_back()
        else:
            self.ops[:0] = ops
            self.payloads[:0] = payloads

    def _copy(self, ops: list[int], payloads: list[Buffer], size: int) -> None:
        """Fill the shared buffers."""
        struct.pack_into(f"{len(ops)}i", self._op_headers, 0, *ops)
        if not size:
            return
        if len(payloads) == 1:
            self._op_payloads[:size] = payloads[0]
        elif size > _LONG * len(payloads):
            position = 0
            for data in payloads:
                end = position + len(data)
                self._op_payloads[position:end] = data
                position = end
        else:
            self._op_payloads[:size] = b"".join(payloads)

    def _apply_first(self, ops: list[int], payloads: list[Buffer]) -> tuple[list[int], list[Buffer]]:
        """Apply operations until the rest fits the buffers, and return that."""
        start = payload_start = payload = size = 0
        room = len(self._op_payloads)
        for index in range(0, len(ops), 4):
            length = ops[index + 3]
            if index - start >= 4 * self._most_ops or size + length > room:
                self._apply(ops[start:index], payloads[payload_start:payload], size)
                start, payload_start, size = index, payload, 0
            size += length
            if length:
                payload += 1
        return ops[start:], payloads[payload_start:]

    def apply(self) -> None:
        """Hand over all operations without waiting. Events they cause come with the next `poll`."""
        ops, self.ops = self.ops, []
        payloads, self.payloads = self.payloads, []
        self._long = 0
        if ops:
            ops, payloads = self._apply_first(ops, payloads)
            self._apply(ops, payloads, sum(ops[3::4]))
            self._take_back()

    def _apply(self, ops: list[int], payloads: list[Buffer], size: int) -> None:
        self._copy(ops, payloads, size)
        if self._bridge.apply(len(ops) // 4):
            self._find_refused(ops, payloads)

    def _find_refused(self, ops: list[int], payloads: list[Buffer]) -> None:
        """See what of these operations, the last that Java had, was not taken."""
        headers = struct.unpack_from(f"{len(ops)}i", self._op_headers)
        payload = 0
        for index in range(0, len(ops), 4):
            length = ops[index + 3]
            if length:
                if headers[index + 3] < length:
                    refused = length - headers[index + 3]
                    self._refused.append((ops[index + 1], payloads[payload], refused, ops[index + 2]))
                payload += 1

    def _take_back(self) -> None:
        """Give what was not taken back to its owners, the last of it first."""
        while self._refused:
            ident, data, count, arg = self._refused.pop()
            writer = self.channels.get(ident)
            if writer is not None:
                typing.cast("PumpWriter", writer).on_refused(data, count, arg)

    def make_room(self, size: int) -> None:
        """Prepare for a long WRITE of at most `size` bytes.

        Hands over what waits if that would be more than is handed over at once, so that what many streams have
        to write in one turn does not pile up here.
        """
        if self._long + size > len(self._op_payloads):
            self.apply()
        self._long += size

    def deliver(self) -> None:
        """Tell the channels about the events that `poll` has brought."""
        if self._left:
            self._deliver_left()
        result = self._result
        count = result & _COUNT_MASK
        if not count:
            return
        size = result >> 32
        payloads: typing.Any = self._event_payloads
        long = size > _LONG * count
        if not long:
            payloads = payloads[:size].tobytes()
        position = 0
        channels = self.channels
        records = _HEADER.iter_unpack(self._event_headers[: 16 * count])
        try:
            self._result = 0
            for kind, ident, arg, length in records:
                data = b""
                if length:
                    end = position + length
                    data = payloads[position:end]
                    if long:
                        data = bytes(data)
                    position = end
                channel = channels.get(ident)
                if channel is not None:
                    if kind == DATA:
                        channel.on_data(data)
                    else:
                        channel.on_event(kind, arg, data)
                elif kind == ACCEPTED:
                    self._accepted(ident, arg, data)
        except BaseException:
            self._leave(records, payloads, position)
            raise

    def _keep(self, result: int) -> None:
        """Save the events of a poll with this result for the next `deliver`."""
        self._result = 0
        count = result & _COUNT_MASK
        self._leave(_HEADER.iter_unpack(self._event_headers[: 16 * count]), self._event_payloads, 0)

    def _leave(
        self, records: typing.Iterator[tuple[int, ...]], payloads: bytes | memoryview, position: int
    ) -> None:
        for kind, ident, arg, length in records:
            end = position + length
            self._left.append((kind, ident, arg, bytes(payloads[position:end])))
            position = end

    def _deliver_left(self) -> None:
        left = self._left
        while left:
            kind, ident, arg, data = left.pop(0)
            channel = self.channels.get(ident)
            if channel is None:
                if kind == ACCEPTED:
                    self._accepted(ident, arg, data)
            elif kind == DATA:
                channel.on_data(data)
            else:
                channel.on_event(kind, arg, data)

    def _accepted(self, ident: int, listener_id: int, peer: bytes) -> None:
        listener = self.channels.get(listener_id)
        if listener is None:  # it was closed by a call in this very turn
            self.put(ABORT, ident)
        else:
            listener.on_accepted(ident, peer.decode())

    def close(self) -> None:
        """Give the buffers back."""
        self.ops.clear()
        self.payloads.clear()
        for view in (self._op_headers, self._op_payloads, self._event_headers, self._event_payloads):
            view.release()
