"""Driving a reactor from a test until something has happened."""

from __future__ import annotations

import typing

if typing.TYPE_CHECKING:
    from portable.deferred import Deferred

__all__ = ["wait_for", "wait_until"]

T = typing.TypeVar("T")

# Seconds. A predicate may depend on what no event announces, such as another process's file.
LONGEST_STEP = 0.02


class Steppable(typing.Protocol):
    """What is needed of a reactor here; `ManualClock` has it too."""

    def time(self) -> float:
        """See `portable.clock.Clock.time`."""

    def step(self, timeout: float | None = 0.0) -> None:
        """See `portable.reactor.Life.step`."""


def wait_for(reactor: Steppable, deferred: Deferred[T], seconds: float = 10.0) -> T:
    """Run turns of `reactor` until `deferred` has fired, and return its result.

    Raises:
        AssertionError: it did not fire within `seconds`. It has been cancelled then.
        Exception: what the Deferred failed with.
    """
    results: list[T] = []
    errors: list[BaseException] = []
    described = repr(deferred)
    deferred.add_callbacks(results.append, errors.append)
    deadline = reactor.time() + seconds
    while not results and not errors:
        remaining = deadline - reactor.time()
        if remaining <= 0:
            deferred.cancel()
            raise AssertionError(f"waited {seconds} s in vain for {described}")
        # What fires it may be queued already, and nothing else may happen for long after that.
        reactor.step(min(remaining, LONGEST_STEP))
    if errors:
        raise errors[0]
    return results[0]


def wait_until(
    reactor: Steppable, predicate: typing.Callable[[], object], seconds: float = 10.0, what: str = ""
) -> None:
    """Run turns of `reactor` until `predicate()` is true. It is asked after every turn, and 50 times a second.

    Args:
        what: named in the error; by default the predicate is.

    Raises:
        AssertionError: it did not come true within `seconds`.
    """
    deadline = reactor.time() + seconds
    while not predicate():
        remaining = deadline - reactor.time()
        if remaining <= 0:
            raise AssertionError(f"waited {seconds} s in vain for {what or _describe(predicate)}")
        reactor.step(min(remaining, LONGEST_STEP))


def _describe(predicate: typing.Callable[[], object]) -> str:
    code = getattr(predicate, "__code__", None)
    if code is None:
        return repr(predicate)
    return f"{predicate!r} of {code.co_filename}:{code.co_firstlineno}"
