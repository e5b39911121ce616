"""Calling from a thread into the loop, and waiting for the result."""

from __future__ import annotations

import threading
import typing

from portable.deferred import ensure_deferred

if typing.TYPE_CHECKING:
    from portable.reactor import Threads

__all__ = ["LoopCaller"]

# Seconds after which a waiting thread looks up. It can only be interrupted when it does (see interruption).
_LOOK = 0.1


class LoopCaller:
    """Makes calls in the thread that it was made in, which is the reactor's."""

    def __init__(self, reactor: Threads) -> None:
        self._reactor = reactor
        self._loop = threading.get_ident()

    def __call__(self, function: typing.Callable[..., typing.Any], *args: object) -> typing.Any:
        """Return what `function(*args)` returns in the reactor's thread, or raise what it raises.

        A Deferred or coroutine is waited for; but not by the reactor's own thread, which gets it as it is.
        """
        if threading.get_ident() == self._loop:
            return function(*args)
        results: list[object] = []
        errors: list[Exception] = []
        done = threading.Lock()
        done.acquire()

        def call() -> None:
            try:
                waiting = ensure_deferred(function(*args)).add_callbacks(results.append, errors.append)
            except Exception as error:  # noqa: BLE001 - it is raised where it is waited for
                errors.append(error)
                done.release()
            else:
                waiting.add_both(lambda _: done.release())

        self._reactor.call_soon_threadsafe(call)
        while not done.acquire(timeout=_LOOK):
            pass
        if errors:
            raise errors[0]
        return results[0]
