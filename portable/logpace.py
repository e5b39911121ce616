"""How often the log is told of what any peer can bring about at will."""

from __future__ import annotations

__all__ = ["INTERVAL", "LogPace"]

# Seconds between two lines. A log is kept up to some size: with a line for each of them, a flood of refused
# connections or requests would take with it, within seconds, all that was written before.
INTERVAL = 1.0


class LogPace:
    """Counts events of one kind, and says when to write a line and of how many.

    Those that come after the last line wait for the next event to be written down with.
    """

    __slots__ = ("_next", "_unwritten")

    def __init__(self) -> None:
        self._next = float("-inf")
        self._unwritten = 0

    def count(self, now: float) -> int:
        """Count one more event, at `now` of a clock.

        Returns:
            How many to write a line about, this one included; 0 if it is too early for a line.
        """
        self._unwritten += 1
        if now < self._next:
            return 0
        self._next = now + INTERVAL
        count = self._unwritten
        self._unwritten = 0
        return count
