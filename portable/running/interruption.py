"""Stopping code that runs in another thread.

CPython raises an exception in a thread that did not ask for it, between two steps of its byte code. So a loop
without end stops at once; a call that waits in C, such as `time.sleep`, stops when it returns. Other Pythons
may have no such thing: `interrupt` then says so.
"""

from __future__ import annotations

import threading
import time
import typing

try:
    import ctypes
except ImportError:  # a Python without it
    _set_exception: typing.Any = None
else:
    _set_exception = getattr(ctypes.pythonapi, "PyThreadState_SetAsyncExc", None)

__all__ = ["Interrupted", "Interruptible"]

R = typing.TypeVar("R")

# Seconds. The lock is held for moments; but if an interrupted thread should ever keep it, the loop must not
# wait.
_PATIENCE = 1.0
# Seconds between two exceptions in one thread. They must not come faster than it can take itself out of reach.
_PAUSE = 0.05
# Steps of byte code in which an exception that was raised in a thread is sure to come.
_STEPS = 100


class Interrupted(Exception):
    """The call was stopped from outside, or ended by what would end the loop, too: SystemExit."""


class Interruptible:
    """One call in a thread, in which `interrupt` raises a KeyboardInterrupt.

    `run` is for the thread, `interrupt` for any other. An exception that comes too late is caught, so
    that it does not hit what the thread does next.
    """

    def __init__(self, function: typing.Callable[[], R]) -> None:
        self._function = function
        self._lock = threading.Lock()
        self._thread: int | None = None
        self._interrupted = False
        self._raised_at = 0.0

    def run(self) -> typing.Any:
        """Return what the function returns, or raise the Exception that it raises.

        Raises:
            Interrupted: `interrupt` was called before or during the call; or it raised what is no Exception.
                That must not come out: it would go on from the result of the thread into the loop, and end it.
        """
        result: object = None
        error: BaseException | None = None
        try:
            with self._lock:
                if self._interrupted:
                    raise KeyboardInterrupt
                self._thread = threading.get_ident()
            result = self._function()
        except BaseException as raised:  # noqa: BLE001 - it is raised again below
            error = raised
        # An exception on its way comes when a function is entered, among others: so this is in none of its own.
        while True:
            try:
                with self._lock:
                    self._thread = None
                # One that is on its way comes now. To take it back, by raising nothing, has CPython 3.11 loop
                # for ever in a thread that is traced.
                for _ in range(_STEPS):
                    pass
            except KeyboardInterrupt:
                # It came between the end of the function and here.
                continue
            break
        if error is None:
            return result
        if isinstance(error, Exception):
            raise error
        raise Interrupted from error

    def interrupt(self) -> bool:
        """End the call, or have it not begin.

        Does nothing once it has ended, or before its thread can have acted on the last time.

        Returns:
            Whether this Python can do it.
        """
        if not self._lock.acquire(timeout=_PATIENCE):
            return False
        try:
            self._interrupted = True
            now = time.monotonic()
            if self._thread is None or now - self._raised_at < _PAUSE:
                return True
            self._raised_at = now
            return _raise_in(self._thread, KeyboardInterrupt)
        finally:
            self._lock.release()


def _raise_in(thread: int, error: type[BaseException]) -> bool:
    """Have `error` raised in a thread; return whether this Python can."""
    if _set_exception is None:
        return False
    _set_exception(ctypes.c_ulong(thread), ctypes.py_object(error))
    return True
