"""What has become of a Deferred."""

from __future__ import annotations

import typing

if typing.TYPE_CHECKING:
    from portable.deferred import Deferred

__all__ = ["outcome", "outcome_later"]


def outcome(deferred: Deferred[typing.Any]) -> object:
    """Return what `deferred` has now: its result, its error, or "nothing yet"."""
    seen: list[object] = []
    deferred.add_both(seen.append)
    if not seen:
        return "nothing yet"
    return seen[0]


def outcome_later(deferred: Deferred[typing.Any]) -> list[object]:
    """Return a list that the result will be in."""
    seen: list[object] = []

    def note(result: object) -> object:
        seen.append(result)
        return result

    deferred.add_callback(note)
    return seen
