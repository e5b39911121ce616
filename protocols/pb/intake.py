"""Back-pressure where both sides call and answer: a peer that does not read our answers may not call.

What we call by ourselves does not count. It is our own doing how much that is; and if it kept us from
reading, two peers that both have much to say would wait for each other for ever.
"""

from __future__ import annotations

import collections
import logging
import typing

from portable.flow import BURST

if typing.TYPE_CHECKING:
    from portable.clock import Call, Clock
    from portable.transport import Transport

__all__ = ["ANSWER_TIMEOUT", "MAX_ANSWERS", "Intake"]

_log = logging.getLogger("protocols.pb")

# Bytes of answers that wait for the peer. One may have 4 MB itself; above this no further call is looked at.
MAX_ANSWERS = 64 * 1024
# Seconds in which a peer must take some of more than that. Otherwise one that has called for a few long answers
# and reads nothing could hold them for ever.
ANSWER_TIMEOUT = 60.0


class Intake:
    """Repeats `step` for as long as there is work, and the peer takes what it causes.

    It stops, and reads no more from the transport, while more than MAX_ANSWERS bytes of answers are not sent,
    and between `hold` and `release`; after BURST steps it goes on in the next turn of the loop. Whoever takes
    none of so much in ANSWER_TIMEOUT seconds is aborted.

    Args:
        step: takes one thing from what was received; returns whether there may be more.
    """

    def __init__(self, transport: Transport, clock: Clock, step: typing.Callable[[], bool]) -> None:
        self._transport = transport
        self._clock = clock
        self._step: typing.Callable[[], bool] | None = step
        self._written = 0
        # The answers that may not be sent yet: where in the stream each ends, and its size.
        self._answers: collections.deque[tuple[int, int]] = collections.deque()
        self._unsent = 0
        self._paused = False
        self._held = False
        self._running = False
        self._gated = False
        self._later: Call | None = None
        self._look: Call | None = None

    def write(self, data: bytes, answer: bool) -> None:
        """Write `data`; note whether it is an answer."""
        self._written += len(data)
        if answer:
            self._answers.append((self._written, len(data)))
            self._unsent += len(data)
        self._transport.write(data)
        if answer and self._look is None and self._is_full():
            self._look_later()

    def wake(self) -> None:
        """Say that something was received."""
        if self._running:
            return
        self._running = True
        try:
            stopped = self._make_steps()
        finally:
            self._running = False
        if stopped is not self._gated:
            self._gated = stopped
            if stopped:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()

    def hold(self) -> None:
        """Stop until `release`. Idempotent."""
        self._held = True
        self.wake()

    def release(self) -> None:
        """Go on after `hold`. Idempotent."""
        if self._held:
            self._held = False
            self.wake()

    def pause_writing(self) -> None:
        """See `Protocol.pause_writing`."""
        self._paused = True

    def resume_writing(self) -> None:
        """See `Protocol.resume_writing`."""
        self._paused = False
        self.wake()

    def stop(self) -> None:
        """Make no step ever again. For `connection_lost`."""
        self._step = None
        for call in (self._later, self._look):
            if call is not None:
                call.cancel()
        self._later = self._look = None

    def _make_steps(self) -> bool:
        """Return whether there may be work that has to wait."""
        for _ in range(BURST):
            if self._step is None or self._transport.is_closing():
                return False
            if self._held:
                return True
            if self._is_full():
                # A transport that is not paused sends in this turn: look again in the next.
                if not self._paused:
                    self._go_on_later()
                return True
            if not self._step():
                return self._held
        self._go_on_later()
        return True

    def _is_full(self) -> bool:
        waiting = self._transport.get_write_buffer_size()
        while self._answers and self._answers[0][0] <= self._written - waiting:
            self._unsent -= self._answers.popleft()[1]
        # The first of them may have left but for its end. Counted as a whole it would have us look again in
        # every turn, as the transport has no reason to pause any more.
        return min(self._unsent, waiting) > MAX_ANSWERS

    def _look_later(self) -> None:
        sent = self._written - self._transport.get_write_buffer_size()
        self._look = self._clock.call_later(ANSWER_TIMEOUT, self._look_for_progress, sent)

    def _look_for_progress(self, sent: int) -> None:
        self._look = None
        if not self._is_full():
            return
        if self._written - self._transport.get_write_buffer_size() > sent:
            self._look_later()
            return
        _log.info("%s: does not take its answers", self._transport.get_extra_info("peername"))
        self._transport.abort()

    def _go_on_later(self) -> None:
        if self._later is None:
            self._later = self._clock.call_soon(self._go_on)

    def _go_on(self) -> None:
        self._later = None
        try:
            self.wake()
        except Exception:
            # No method of a protocol is there to pass it to, which would have the transport do this.
            self._transport.abort()
            raise
