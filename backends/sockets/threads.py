"""A small pool of threads for what blocks."""

from __future__ import annotations

import contextlib
import contextvars
import os
import queue
import threading
import time
import typing

from portable.deferred import Deferred

if typing.TYPE_CHECKING:
    from portable.reactor import Threads

__all__ = ["ThreadPool"]

T = typing.TypeVar("T")

_MOST_THREADS = min(32, (os.cpu_count() or 1) + 4)


class ThreadPool:
    """Starts a thread when a call finds none idle, up to a limit.

    The threads are daemons: a name server that does not answer must not keep the process from ending, which is
    why this is not `concurrent.futures`.
    """

    def __init__(self, reactor: Threads, most: int = _MOST_THREADS) -> None:
        self._reactor = reactor
        self._most = most
        self._work: queue.SimpleQueue[typing.Callable[[], None] | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._idle = threading.Semaphore(0)

    def run(self, function: typing.Callable[..., T], *args: object) -> Deferred[T]:
        """See `Threads.run_in_thread`."""
        wanted = True

        def forget(_deferred: Deferred[T]) -> None:
            nonlocal wanted
            wanted = False

        result: Deferred[T] = Deferred(forget)

        def deliver(value: T | None, error: BaseException | None) -> None:
            if result.called:
                return
            if error is not None:
                result.errback(error)
            else:
                result.callback(typing.cast("T", value))

        context = contextvars.copy_context()

        def work() -> None:
            if not wanted:
                return
            try:
                value = context.run(function, *args)
            except BaseException as exc:
                self._reactor.call_soon_threadsafe(deliver, None, exc)
            else:
                self._reactor.call_soon_threadsafe(deliver, value, None)

        self._work.put(work)
        if not self._idle.acquire(blocking=False) and len(self._threads) < self._most:
            try:
                self._start_thread()
            except RuntimeError as exc:  # the system has no more of them
                if not self._threads:
                    result.errback(exc)
                    wanted = False
        return result

    def _start_thread(self) -> None:
        thread = threading.Thread(target=self._serve, name=f"portable-{len(self._threads)}", daemon=True)
        thread.start()
        self._threads.append(thread)

    def _serve(self) -> None:
        while True:
            work = self._work.get()
            if work is None:
                return
            work()
            # Dropped before waiting, or it would keep its arguments alive until the next call.
            del work
            self._idle.release()

    def close(self, patience: float) -> None:
        """Drop what waits, finish what runs if `patience` seconds are enough for it, and end the threads."""
        with contextlib.suppress(queue.Empty):
            while True:  # not until empty(): a thread may take the last one in between
                self._work.get_nowait()
        for _ in self._threads:
            self._work.put(None)
        deadline = time.monotonic() + patience
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        self._threads.clear()
