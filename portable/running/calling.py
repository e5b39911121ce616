"""Calling from a thread into the loop, and waiting for the result."""

from __future__ import annotations

import threading
import typing
from collections.abc import Coroutine

from portable.deferred import Deferred, ensure_deferred

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
        errors: list[BaseException] = []
        done = threading.Lock()
        done.acquire()

        async def call() -> None:
            try:
                result = function(*args)
                if isinstance(result, (Deferred, Coroutine)):
                    result = await result
                results.append(result)
            except BaseException as error:  # noqa: BLE001 - it is raised where it is waited for; SystemExit, too
                errors.append(error)
            finally:
                done.release()

        self._reactor.call_soon_threadsafe(lambda: ensure_deferred(call()))
        while not done.acquire(timeout=_LOOK):
            pass
        if errors:
            raise errors[0]
        return results[0]
