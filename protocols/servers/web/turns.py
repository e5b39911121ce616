"""Few at a time, and the others in line: for what is too dear to be done as often as it is asked for."""

from __future__ import annotations

import collections
import typing

from portable.deferred import Deferred, fail, succeed
from portable.errors import FrameworkError

if typing.TYPE_CHECKING:
    from portable.clock import Clock

__all__ = ["MAX_WAITING", "WAIT_SECONDS", "NoTurn", "Turns"]

# Requests in line. Each holds a connection, and nobody waits for a hundredth of that long.
MAX_WAITING = 100
# Seconds in line, after which a client had better be told to come again.
WAIT_SECONDS = 10.0


class NoTurn(FrameworkError):
    """There are too many in line already, or it took too long."""


class Turns:
    """Gives out turns in the order in which they are asked for.

    Args:
        clock: for WAIT_SECONDS.
        most: turns that may be taken at a time.

    Attributes:
        taken: and not given back yet.
    """

    def __init__(self, clock: Clock, most: int) -> None:
        self.taken = 0
        self._clock = clock
        self._most = most
        self._waiting: collections.deque[Deferred[None]] = collections.deque()

    def take(self) -> Deferred[None]:
        """Fire when it is the caller's turn, who then has to `give_back`. Fails with NoTurn."""
        if self.taken < self._most:
            self.taken += 1
            return succeed(None)
        if len(self._waiting) >= MAX_WAITING:
            return fail(NoTurn(f"{len(self._waiting)} are waiting"))
        turn: Deferred[None] = Deferred(self._waiting.remove)
        self._waiting.append(turn)
        timer = self._clock.call_later(WAIT_SECONDS, self._wait_is_over, turn)

        def settled(result: typing.Any) -> typing.Any:
            timer.cancel()
            if isinstance(result, Exception):
                raise result
            return result

        return turn.add_both(settled)

    def give_back(self) -> None:
        """Let the next one in line have the turn."""
        if self._waiting:
            self._waiting.popleft().callback(None)
        else:
            self.taken -= 1

    def _wait_is_over(self, turn: Deferred[None]) -> None:
        self._waiting.remove(turn)
        turn.errback(NoTurn(f"not in {WAIT_SECONDS:g} seconds"))
