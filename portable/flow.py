"""Back-pressure: work that goes on only while the peer takes what it causes, and two streams glued together.

A transport's `pause_writing` comes at the end of a loop turn, never from inside `write`. Whoever writes more
than once in one call must therefore look at `get_write_buffer_size` as well, and must go on by itself if the
buffer then turns out to have been sent without a pause. `Pacer` does both.
"""

from __future__ import annotations

import typing

from portable.errors import FAILURES
from portable.protocol import Protocol
from portable.transport import HIGH_WATER

if typing.TYPE_CHECKING:
    from portable.clock import Call, Clock, Timer
    from portable.errors import TransportError
    from portable.transport import Transport

__all__ = ["BURST", "LINGER", "QUIET", "Pacer", "RelayEnd", "join"]

# Steps in one turn of the loop. A peer that takes everything at once, or that sent a thousand requests in one
# packet, must not keep the others waiting.
BURST = 256
# Seconds in which a connection that is being closed must have sent something of what is left.
LINGER = 30.0
# Seconds without a byte after which a pair of connections that is to end counts as idle. Nobody but the two
# peers knows whether an exchange is over; half a second between request and answer is common.
QUIET = 1.0


class Pacer:
    """Repeats `step` for as long as there is work and nothing forbids it.

    One for each connection that may have to stop in the middle of its work: a producer without end, whose step
    writes one piece; or a protocol that takes lines (requests, ...) from a buffer, whose step takes one and
    answers it. The protocol passes on `pause_writing` and `resume_writing`, and calls `wake` when there is
    work: when data came, or a file was opened.

    The steps stop, and go on by themselves, while

    - the transport's write buffer is above its high-water mark, told by `pause_writing` or not;
    - `hold` was called, because an answer is being made and the next one must not overtake it;
    - BURST steps were made in this turn of the loop.

    They stop for good when the transport is closing. An exception from `step` aborts the connection if no
    protocol method is there to pass it to; it is raised in either case.

    Args:
        transport: the one whose buffer counts; after `start_tls`, set the attribute to the new one.
        clock: for going on in a later turn.
        step: does one piece of work and returns whether there may be more; if not, only `wake` continues.
        gate_reading: pause reading while steps are stopped with work left, so that a peer that sends requests
            but does not read answers is held off by the network and not by our memory.
    """

    def __init__(
        self,
        transport: Transport,
        clock: Clock,
        step: typing.Callable[[], bool],
        *,
        gate_reading: bool = False,
    ) -> None:
        self.transport = transport
        self._clock = clock
        self._step = step
        self._gate_reading = gate_reading
        self._gated = False
        self._paused = False
        self._held = False
        self._running = False
        self._woken = False  # during a step
        self._later: Call | None = None

    @property
    def held(self) -> bool:
        """Whether `hold` was called, and not `release` since."""
        return self._held

    def wake(self) -> None:
        """Say that there is work. Steps are made before this returns, unless it is called from a step."""
        if self._running:
            self._woken = True
        elif self._later is None:
            self._run()

    def pause_writing(self) -> None:
        """Stop: the peer does not take what we write. To be called by the protocol's method of this name."""
        self._paused = True
        self._cancel_later()

    def resume_writing(self) -> None:
        """Go on. To be called by the protocol's method of this name."""
        self._paused = False
        self.wake()

    def hold(self) -> None:
        """Stop until `release`. Idempotent."""
        self._held = True
        self._cancel_later()

    def release(self) -> None:
        """Go on after `hold`. Idempotent."""
        if self._held:
            self._held = False
            self.wake()

    def stop(self) -> None:
        """Make no step ever again, and forget what the step would keep alive. For `connection_lost`."""
        self._cancel_later()
        self._step = _no_step

    def _run(self) -> None:
        self._running = True
        try:
            finished = self._make_steps()
        finally:
            self._running = False
        self._set_gate(not finished)

    def _make_steps(self) -> bool:
        """Make steps; return whether the work is done."""
        transport = self.transport
        _, high = transport.get_write_buffer_limits()
        for _ in range(BURST):
            if transport.is_closing():
                return True
            if self._paused or self._held:
                return False
            if transport.get_write_buffer_size() > high:
                break
            self._woken = False
            more = self._step()
            if self.transport is not transport:
                if self._gated:
                    # The new transport reads through the old one.
                    transport.resume_reading()
                    self._gated = False
                transport = self.transport
                _, high = transport.get_write_buffer_limits()
            if not more and not self._woken:
                # A step that ends in `hold` has more to do, even if it does not know that yet.
                return not self._held
        # If the buffer is not sent in this turn, pause_writing comes and cancels this.
        self._later = self._clock.call_soon(self._go_on)
        return False

    def _go_on(self) -> None:
        self._later = None
        try:
            self._run()
        except FAILURES:
            self.transport.abort()
            raise

    def _cancel_later(self) -> None:
        if self._later is not None:
            self._later.cancel()
            self._later = None

    def _set_gate(self, gated: bool) -> None:
        if self._gate_reading and gated is not self._gated:
            self._gated = gated
            if gated:
                self.transport.pause_reading()
            else:
                self.transport.resume_reading()


class RelayEnd(Protocol):
    """One of two connections whose streams are passed on to each other. See `join`.

    Until it is joined it keeps what it receives, at most about HIGH_WATER bytes and one read more, and then
    pauses reading; over TLS it pauses after the first data. Each end's reading is paused while the other's
    write buffer is above its high-water mark, so memory stays flat whichever is slower. An end of stream is
    passed on as such, and the pair is closed when it has come from both; if the other transport cannot
    half-close (TLS), it is closed. A connection that is lost takes the other with it; what was received before
    is still sent, for as long as its peer takes some of it every LINGER seconds. If it broke before its peer
    had ended the stream, the other is then aborted rather than closed, so that nobody takes the beginning of a
    stream for all of it.

    Args:
        clock: for LINGER.

    Attributes:
        transport: None before `connection_made`.
        ended: whether its peer has said that it will send no more.
        lost: whether `connection_lost` was called.
        error: what it was called with.
        received: bytes, ever.
    """

    def __init__(self, clock: Clock) -> None:
        self.transport: Transport | None = None
        self.ended = False
        self.lost = False
        self.error: TransportError | None = None
        self.received = 0
        self._clock = clock
        self._linger: Timer | None = None
        self._quiet: Timer | None = None
        self._partner: RelayEnd | None = None
        self._early: list[bytes] = []
        self._writing_paused = False
        self._breaking = False  # to be aborted when everything was sent

    @property
    def partner(self) -> RelayEnd | None:
        """The other end; None before `join` and after the end of either."""
        return self._partner

    def connection_made(self, transport: Transport) -> None:
        """See `Protocol.connection_made`."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """See `Protocol.data_received`."""
        self.received += len(data)
        if self._partner is not None:
            _transport(self._partner).write(data)
            return
        self._early.append(data)
        transport = _transport(self)
        # What cannot half-close (TLS) goes with the end of its input, and what came before would be lost.
        if self.received >= HIGH_WATER or not transport.can_write_eof():
            transport.pause_reading()

    def eof_received(self) -> bool | None:
        """See `Protocol.eof_received`."""
        self.ended = True
        if self._partner is not None:
            self._pass_end(self._partner)
        return True

    def pause_writing(self) -> None:
        """See `Protocol.pause_writing`."""
        self._writing_paused = True
        if self._partner is not None:
            _transport(self._partner).pause_reading()

    def resume_writing(self) -> None:
        """See `Protocol.resume_writing`."""
        self._writing_paused = False
        if self._breaking:
            _transport(self).abort()
        elif self._partner is not None:
            _transport(self._partner).resume_reading()

    def connection_lost(self, exc: TransportError | None) -> None:
        """See `Protocol.connection_lost`."""
        self.lost = True
        self.error = exc
        self._early = []
        if self._linger is not None:
            self._linger.cancel()
            self._linger = None
        if self._quiet is not None:
            self._quiet.cancel()
        partner, self._partner = self._partner, None
        if partner is not None:
            broken = exc is not None and not self.ended
            partner._finish(broken=broken)  # noqa: SLF001 -- the other half of this object

    def close_when_quiet(self) -> None:
        """Close the pair as soon as no byte has passed for QUIET seconds: what a relay does to drain.

        An end that is not joined yet goes on until it is.
        """
        self._wait_for_quiet(-1)

    def _wait_for_quiet(self, before: int) -> None:
        """Close if nothing has happened since the sum was `before`; else look again later."""
        transport = self.transport
        if transport is None or self.lost or transport.is_closing():
            return
        partner = self._partner
        now = before
        if partner is not None:
            now = self.received + partner.received
            waiting = transport.get_write_buffer_size() + _transport(partner).get_write_buffer_size()
            if now == before and not waiting:
                transport.close()
                return
        self._quiet = self._clock.call_later(QUIET, self._wait_for_quiet, now)

    def _finish(self, *, broken: bool) -> None:
        """The partner is gone. Send what is left; then close, or abort if that is not all of its stream."""
        self._partner = None
        transport = _transport(self)
        if not broken:
            transport.close()
        elif not transport.is_closing():
            self._breaking = True
            transport.pause_reading()
            transport.set_write_buffer_limits(0)
            self._abort_when_sent()
        self._linger = self._clock.call_later(LINGER, self._check_progress, transport.get_write_buffer_size())

    def _abort_when_sent(self) -> None:
        """Abort now, or have `resume_writing` do it."""
        transport = _transport(self)
        if not transport.get_write_buffer_size():
            transport.abort()
        elif not self._writing_paused and not self.lost:
            # What was written in this turn is sent at its end, and the pause comes only if that was not all.
            self._clock.call_soon(self._abort_when_sent)

    def _check_progress(self, before: int) -> None:
        transport = _transport(self)
        size = transport.get_write_buffer_size()
        if size < before:
            self._linger = self._clock.call_later(LINGER, self._check_progress, size)
        else:
            self._linger = None
            transport.abort()

    def _pass_end(self, partner: RelayEnd) -> None:
        transport = _transport(partner)
        if partner.ended or not transport.can_write_eof():
            transport.close()
            if partner.ended:
                _transport(self).close()
        else:
            transport.write_eof()

    def _join(self, partner: RelayEnd) -> None:
        self._partner = partner
        early, self._early = self._early, []
        if early:
            _transport(partner).writelines(early)

    def _joined(self, partner: RelayEnd) -> None:
        if self.ended:
            self._pass_end(partner)
        _transport(self).resume_reading()


def join(one: RelayEnd, other: RelayEnd) -> None:
    """Pass everything that `one` receives, or has received, on to `other`, and the reverse.

    Both must be connected. If one is lost already, the other is closed.
    """
    if one.lost or other.lost:
        for end in (one, other):
            _transport(end).close()
        return
    one._join(other)  # noqa: SLF001 -- the only way in
    other._join(one)  # noqa: SLF001 -- likewise
    one._joined(other)  # noqa: SLF001 -- likewise
    other._joined(one)  # noqa: SLF001 -- likewise


def _transport(end: RelayEnd) -> Transport:
    transport = end.transport
    if transport is None:
        raise AssertionError("a RelayEnd is not connected")
    return transport


def _no_step() -> bool:
    return False
