"""The open connections of one listener: how many, from whom, which of them still move, and their farewell."""

from __future__ import annotations

import logging
import typing

from portable.deferred import Deferred
from portable.errors import FAILURES
from portable.logpace import LogPace
from portable.peers import peer_key

if typing.TYPE_CHECKING:
    from portable.clock import Clock, Timer
    from portable.listener.guard import Guard
    from portable.transport import Address

__all__ = ["ConnectionTable"]

_log = logging.getLogger("portable.listener")

# Into how many parts the idle time-out is cut. A connection is looked at once in each and dropped after that
# many looks in a row without progress: between one time-out and a quarter more, with neither a timer per
# connection nor anything at all to do per byte.
IDLE_PARTS = 4
# Seconds between two searches for connections that went away unseen, under a flood.
SEARCH_INTERVAL = 1.0
# Seconds between two looks, while draining, at connections whose protocol put another one in its place.
POLL_INTERVAL = 0.05


class ConnectionTable:
    """Counts connections and enforces the limits on them.

    Attributes:
        open: connections open now.
        accepted: connections taken, ever; those that a proxy relays when it has told whose they are.
        refused: connections closed because of a limit, ever.
    """

    def __init__(
        self,
        name: str,
        clock: Clock,
        *,
        max_connections: int = 0,
        max_per_peer: int = 0,
        idle_timeout: float = 0.0,
        min_rate: int = 0,
    ) -> None:
        self.open = 0
        self.accepted = 0
        self.refused = 0
        self._name = name
        self._clock = clock
        self._max_connections = max_connections
        self._max_per_peer = max_per_peer
        self._interval = idle_timeout / IDLE_PARTS
        self._progress = max(int(min_rate * self._interval), 1)
        self._peers: dict[str, int] = {}
        # The ends of the list of open connections, in order of `due`. Linked by hand: a dict would cost more
        # than the guard itself, and finding the first of a dict that loses its first all the time is slow.
        self._first: Guard | None = None
        self._last: Guard | None = None
        self._timer: Timer | None = None
        self._received = 0
        self._sent = 0
        self._refusals = LogPace()
        self._ends = LogPace()
        self._next_search = float("-inf")
        self._closed = False
        self._draining: list[Deferred[int]] = []
        self._deadline: Timer | None = None
        self._poll: Timer | None = None
        self._aborted = 0

    # Counting.

    def admit(self, guard: Guard) -> bool:
        """Count a new connection. Returns False if there are too many: it must be closed."""
        if self._closed:
            return False
        if self._max_connections and self.open >= self._max_connections:
            self._search()
            if self.open >= self._max_connections:
                self._refuse(f"{self._max_connections} connections are open")
                return False
        self.open += 1
        if self._interval:
            self._append(guard)
            if self._timer is None:
                self._timer = self._clock.call_later(self._interval, self._sweep)
        else:
            self._link(guard)
        return True

    def admit_peer(self, guard: Guard, peer: Address | str | None) -> bool:
        """Count an admitted connection as accepted, and as one of `peer`. Returns False as `admit`."""
        key = peer_key(peer) if self._max_per_peer else ""
        if key and not self._admit_key(guard, key):
            return False
        self.accepted += 1
        return True

    def _admit_key(self, guard: Guard, key: str) -> bool:
        count = self._peers.get(key, 0)
        if count >= self._max_per_peer:
            self._search()
            count = self._peers.get(key, 0)
            if count >= self._max_per_peer:
                self._refuse(f"{count} connections from {key} are open")
                self.forget(guard)
                return False
        self._peers[key] = count + 1
        guard.peer = key
        return True

    def forget(self, guard: Guard) -> None:
        """A connection is lost. Does nothing if it was refused, or forgotten already."""
        if guard.admitted:
            self._forget(guard)
            self._check_drained()

    def _forget(self, guard: Guard) -> None:
        guard.admitted = False
        self._unlink(guard)
        self.open -= 1
        transport = guard.transport
        if transport is not None:
            self._received += transport.get_extra_info("bytes_received", 0)
            self._sent += transport.get_extra_info("bytes_sent", 0)
        if guard.peer:
            count = self._peers[guard.peer]
            if count > 1:
                self._peers[guard.peer] = count - 1
            else:
                del self._peers[guard.peer]
        if self.open == 0 and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _refuse(self, reason: str) -> None:
        self.refused += 1
        count = self._refusals.count(self._clock.time())
        if count:
            _log.warning("%s: refused %d connection(s): %s", self._name, count, reason)

    def bytes_received(self) -> int:
        """Return the bytes received on all connections, ever."""
        return self._received + self._live("bytes_received")

    def bytes_sent(self) -> int:
        """Return the bytes sent on all connections, ever."""
        return self._sent + self._live("bytes_sent")

    def _live(self, name: str) -> int:
        return sum(
            guard.transport.get_extra_info(name, 0) for guard in self.guards() if guard.transport is not None
        )

    def guards(self) -> list[Guard]:
        """Return the open connections."""
        found: list[Guard] = []
        guard = self._first
        while guard is not None:
            found.append(guard)
            guard = guard.next
        return found

    # The list.

    def _append(self, guard: Guard) -> None:
        guard.due = self._clock.time() + self._interval
        self._link(guard)

    def _link(self, guard: Guard) -> None:
        guard.admitted = True
        guard.previous = self._last
        if self._last is None:
            self._first = guard
        else:
            self._last.next = guard
        self._last = guard

    def _unlink(self, guard: Guard) -> None:
        if guard.previous is None:
            self._first = guard.next
        else:
            guard.previous.next = guard.next
        if guard.next is None:
            self._last = guard.previous
        else:
            guard.next.previous = guard.previous
        guard.previous = None
        guard.next = None

    # Protocols that put another one in their place (`Transport.set_protocol`): we get no `connection_lost`.

    def _search(self) -> None:
        """Forget connections that ended unseen. At most once a second: it looks at all of them."""
        now = self._clock.time()
        if now >= self._next_search:
            self._next_search = now + SEARCH_INTERVAL
            self.forget_unseen()

    def forget_unseen(self) -> None:
        """Forget connections that ended after their protocol had put another one in its place."""
        for guard in self.guards():
            if guard.transport is not None and guard.is_replaced() and guard.transport.is_closing():
                self.forget(guard)

    # Idle connections.

    def _sweep(self) -> None:
        self._timer = None
        now = self._clock.time()
        guard = self._first
        while guard is not None and guard.due <= now:
            following = guard.next
            self._look_at(guard)
            guard = following
        if self._first is not None:
            # Not more often than four times per part, so that connections made one after another share a turn.
            delay = max(self._first.due - now, self._interval / 4)
            self._timer = self._clock.call_later(delay, self._sweep)

    def _look_at(self, guard: Guard) -> None:
        meter = guard.meter()
        if meter is None or (guard.is_replaced() and meter.is_closing()):
            self.forget(guard)
            return
        moved = meter.get_extra_info("bytes_received", 0) + meter.get_extra_info("bytes_sent", 0)
        waiting = meter.get_write_buffer_size() > 0
        if moved - guard.seen >= (self._progress if waiting else 1):
            guard.quiet = 0
        else:
            guard.quiet += 1
        guard.seen = moved
        self._unlink(guard)
        self._append(guard)
        if guard.quiet < IDLE_PARTS:
            return
        if waiting or meter.is_closing():
            self._log_end("does not take what we send")
            meter.abort()
        else:
            self._log_end("is idle")
            guard.close()

    def _log_end(self, why: str) -> None:
        count = self._ends.count(self._clock.time())
        if count:
            _log.info("%s: ended %d connection(s), the last of which %s", self._name, count, why)

    # Draining.

    def drain(self, seconds: float) -> Deferred[int]:
        """See `ServerPort.drain`."""
        done: Deferred[int] = Deferred()
        first_call = not self._draining
        self._closed = True
        self._draining.append(done)
        if first_call:
            self._aborted = 0
            for guard in self.guards():
                self._say_goodbye(guard)
            self.forget_unseen()
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        if not self.open:
            self._check_drained()
        elif seconds > 0:
            self._deadline = self._clock.call_later(seconds, self._abort_all)
            self._watch_replaced()
        else:
            self._abort_all()
        return done

    def _say_goodbye(self, guard: Guard) -> None:
        try:
            guard.say_goodbye()
        except FAILURES:  # whatever one protocol raises, the others are to be drained too
            _log.exception("%s: a protocol failed to say goodbye", self._name)
            if guard.transport is not None:
                guard.transport.abort()

    def _watch_replaced(self) -> None:
        self._poll = None
        self.forget_unseen()
        if self._draining and any(guard.is_replaced() for guard in self.guards()):
            self._poll = self._clock.call_later(POLL_INTERVAL, self._watch_replaced)

    def _abort_all(self) -> None:
        self._deadline = None
        for guard in self.guards():
            if guard.transport is not None:
                self._aborted += 1
                guard.transport.abort()
        self.forget_unseen()

    def _check_drained(self) -> None:
        if not self._draining or self.open:
            return
        for timer in (self._deadline, self._poll):
            if timer is not None:
                timer.cancel()
        self._deadline = None
        self._poll = None
        draining = self._draining
        self._draining = []
        for done in draining:
            done.callback(self._aborted)
