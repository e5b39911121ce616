"""How often the log is told of what any peer can bring about at will."""

from __future__ import annotations

from portable.logpace import INTERVAL, LogPace


def test_the_first_event_is_told_at_once_and_the_others_in_sum() -> None:
    pace = LogPace()
    assert [pace.count(7.0) for _ in range(5)] == [1, 0, 0, 0, 0]
    assert pace.count(7.0 + INTERVAL / 2) == 0
    assert pace.count(7.0 + INTERVAL) == 6
    assert pace.count(7.0 + 9 * INTERVAL) == 1
