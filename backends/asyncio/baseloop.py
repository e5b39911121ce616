"""The part of our asyncio event loop that is not sockets: life, calls, tasks, threads, signals and errors."""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
import socket
import sys
import threading
import typing
import weakref

from backends.asyncio.translating import future_of
from backends.asyncio.unsupported import UnsupportedLoop
from portable.errors import CapabilityMissing

if typing.TYPE_CHECKING:
    import concurrent.futures
    import contextvars
    from collections.abc import AsyncGenerator, Callable

    from portable.clock import Timer
    from portable.reactor import Reactor

__all__ = ["BaseLoop", "Bridge"]

_log = logging.getLogger("asyncio")

T = typing.TypeVar("T")
Args = typing.TypeVarTuple("Args")


class _TimerHandle(asyncio.TimerHandle):
    """A handle that takes its timer along when it is cancelled."""

    timer: Timer | None = None

    def cancel(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
        super().cancel()


class Bridge(typing.Protocol):
    """Between a transport of ours and a protocol of asyncio's."""

    def detach(self) -> None:
        """Drop the connection without a word to the protocol: its loop is closed."""


class BaseLoop(UnsupportedLoop):
    """The part of `ReactorEventLoop` that is not sockets.

    Args:
        reactor: see there.

    Attributes:
        reactor: see there.
        bridges, servers: what is open, and ends when the loop is closed.
    """

    def __init__(self, reactor: Reactor) -> None:
        self.reactor = reactor
        self.bridges: set[Bridge] = set()
        self.servers: set[asyncio.AbstractServer] = set()
        self.slow_callback_duration = 0.1
        self._running = False
        # Raised by a callback, on its way to who runs the loop.
        self._exit: SystemExit | None = None
        self._stop_soon = False
        self._closed = False
        self._debug = sys.flags.dev_mode or bool(os.environ.get("PYTHONASYNCIODEBUG"))
        self._thread: int | None = None
        self._exception_handler: Callable[..., object] | None = None
        self._task_factory: typing.Any = None
        self._executor: concurrent.futures.Executor | None = None
        self._in_threads: set[asyncio.Future[typing.Any]] = set()
        self._executor_shut_down = False
        self._asyncgens: weakref.WeakSet[AsyncGenerator[typing.Any, typing.Any]] = weakref.WeakSet()
        self._asyncgens_shut_down = False
        self._signals: set[int] = set()

    def __repr__(self) -> str:
        state = "closed" if self._closed else "running" if self._running else "idle"
        return f"<{type(self).__name__} on {self.reactor.name!r}, {state}>"

    # Life

    def _check_idle(self) -> None:
        self._check_open()
        if self._running:
            raise RuntimeError("This event loop is already running")
        if asyncio._get_running_loop() is not None:  # noqa: SLF001 - asyncio offers it to loops
            raise RuntimeError("Cannot run the event loop while another loop is running")

    def run_forever(self) -> None:
        self._check_idle()
        if self._stop_soon:
            self._stop_soon = False
            self.reactor.call_soon(self.reactor.stop)
        self._running = True
        self._thread = threading.get_ident()
        hooks = sys.get_asyncgen_hooks()
        sys.set_asyncgen_hooks(firstiter=self._asyncgen_begins, finalizer=self._asyncgen_forgotten)
        try:
            self.reactor.run()
        finally:
            sys.set_asyncgen_hooks(*hooks)
            self._running = False
            self._thread = None
        if self._exit is not None:
            leaving, self._exit = self._exit, None
            raise leaving

    def run_until_complete(self, future: typing.Any) -> typing.Any:
        # Before there is a task, which the running loop would take up.
        self._check_idle()
        made_here = not asyncio.isfuture(future)
        task = asyncio.ensure_future(future, loop=self)

        def done(_: object) -> None:
            self.stop()

        task.add_done_callback(done)
        try:
            self.run_forever()
        except BaseException:
            if made_here and task.done() and not task.cancelled():
                # Raised by the coroutine and on its way through us: it is not lost.
                task.exception()
            raise
        finally:
            task.remove_done_callback(done)
        if not task.done():
            raise RuntimeError("Event loop stopped before Future completed.")
        return task.result()

    def stop(self) -> None:
        if self._running:
            self.reactor.stop()
        else:
            self._stop_soon = True

    def is_running(self) -> bool:
        return self._running or asyncio._get_running_loop() is self  # noqa: SLF001 - asyncio offers it to loops

    def is_closed(self) -> bool:
        return self._closed

    def close(self) -> None:
        """Close the loop, its servers and its connections; the reactor stays open."""
        if self._running:
            raise RuntimeError("Cannot close a running event loop")
        if self._closed:
            return
        self._closed = True
        for server in list(self.servers):
            server.close()
        for bridge in list(self.bridges):
            bridge.detach()
        if self._executor is not None:
            self._executor.shutdown(wait=False)

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeError("Event loop is closed")

    def within(self, function: Callable[..., T], *args: object) -> T:
        """Return `function(*args)`, called as from this loop: `asyncio.get_running_loop` gives it."""
        running = asyncio._get_running_loop()  # noqa: SLF001 - asyncio offers both to loops
        if running is self:
            return function(*args)
        asyncio._set_running_loop(self)  # noqa: SLF001 - likewise
        try:
            return function(*args)
        finally:
            asyncio._set_running_loop(running)  # noqa: SLF001 - likewise

    # Asynchronous generators

    def _asyncgen_begins(self, generator: AsyncGenerator[typing.Any, typing.Any]) -> None:
        if self._asyncgens_shut_down:
            _log.warning("asynchronous generator %r began after loop.shutdown_asyncgens()", generator)
        self._asyncgens.add(generator)

    def _asyncgen_forgotten(self, generator: AsyncGenerator[typing.Any, typing.Any]) -> None:
        self._asyncgens.discard(generator)
        if not self._closed:
            self.call_soon_threadsafe(self.create_task, generator.aclose())

    async def shutdown_asyncgens(self) -> None:
        self._asyncgens_shut_down = True
        generators = list(self._asyncgens)
        self._asyncgens.clear()
        results = await asyncio.gather(*(one.aclose() for one in generators), return_exceptions=True)
        for generator, result in zip(generators, results, strict=True):
            if isinstance(result, Exception):
                message = f"an error occurred during closing of asynchronous generator {generator!r}"
                self.call_exception_handler({"message": message, "exception": result, "asyncgen": generator})

    # Calls

    def time(self) -> float:
        return self.reactor.time()

    def _check_call(self, callback: object) -> None:
        self._check_open()
        if inspect.iscoroutine(callback) or inspect.iscoroutinefunction(callback):
            raise TypeError("a coroutine cannot be called by the loop: make it a task")
        if not callable(callback):
            raise TypeError(f"a callable object was expected, got {callback!r}")

    def _run_handle(self, handle: asyncio.Handle) -> None:
        if not handle.cancelled() and not self._closed:
            began = self.time() if self._debug else None
            # A handle's own method, as every loop uses it: it knows the context and reports errors.
            try:
                self.within(handle._run)  # noqa: SLF001 - as every loop does
            except SystemExit as exc:
                # It ends an asyncio program, but not what else the reactor serves: to that it is an error.
                if not self._running:
                    raise
                self._exit = exc
                self.reactor.stop()
            if began is not None and self.time() - began >= self.slow_callback_duration:
                self._log_slow(handle, self.time() - began)

    def _log_slow(self, handle: asyncio.Handle, seconds: float) -> None:
        # A task's step says nothing of its own; whose it is tells a field of the handle that no stub has.
        owner = getattr(handle._callback, "__self__", None)  # type: ignore[attr-defined]  # noqa: SLF001
        _log.warning("Executing %r took %.3f s", owner if isinstance(owner, asyncio.Task) else handle, seconds)

    def call_soon(
        self, callback: Callable[[*Args], object], *args: *Args, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        self._check_call(callback)
        if self._debug and self._thread not in (None, threading.get_ident()):
            raise RuntimeError("Non-thread-safe operation invoked on an event loop other than the current one")
        handle = asyncio.Handle(callback, args, self, context)
        self.reactor.call_soon(self._run_handle, handle)
        return handle

    def call_soon_threadsafe(
        self, callback: Callable[[*Args], object], *args: *Args, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        self._check_call(callback)
        handle = asyncio.Handle(callback, args, self, context)
        self.reactor.call_soon_threadsafe(self._run_handle, handle)
        return handle

    def call_later(
        self,
        delay: float,
        callback: Callable[[*Args], object],
        *args: *Args,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[[*Args], object],
        *args: *Args,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        self._check_call(callback)
        handle = _TimerHandle(when, callback, args, self, context)
        handle.timer = self.reactor.call_at(when, self._run_handle, handle)
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Nothing is left to do: see _TimerHandle."""

    def create_future(self) -> asyncio.Future[typing.Any]:
        return asyncio.Future(loop=self)

    def create_task(self, coro: typing.Any, **kwargs: typing.Any) -> asyncio.Task[typing.Any]:
        self._check_open()
        task: asyncio.Task[typing.Any]
        if self._task_factory is not None:
            name = kwargs.pop("name", None)
            task = self._task_factory(self, coro, **kwargs)
            if name is not None:
                task.set_name(name)
        else:
            task = asyncio.Task(coro, loop=self, **kwargs)
        return task

    def set_task_factory(self, factory: typing.Any) -> None:
        if factory is not None and not callable(factory):
            raise TypeError("task factory must be a callable or None")
        self._task_factory = factory

    def get_task_factory(self) -> typing.Any:
        return self._task_factory

    # Threads and names

    def run_in_executor(
        self, executor: concurrent.futures.Executor | None, func: Callable[[*Args], T], *args: *Args
    ) -> asyncio.Future[T]:
        """Call `func(*args)` in a thread: of `executor`, of the one that was set, or else of the reactor."""
        self._check_call(func)
        chosen = executor or self._executor
        if chosen is not None:
            return asyncio.wrap_future(chosen.submit(func, *args), loop=self)
        if self._executor_shut_down:
            raise RuntimeError("Executor shutdown has been called")
        future = future_of(self, self.reactor.run_in_thread(func, *args))
        self._in_threads.add(future)
        future.add_done_callback(self._in_threads.discard)
        return future

    def set_default_executor(self, executor: typing.Any) -> None:
        self._executor = executor

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        self._executor_shut_down = True
        if self._executor is not None:
            executor, self._executor = self._executor, None
            await future_of(self, self.reactor.run_in_thread(executor.shutdown))
        elif self._in_threads:
            await asyncio.wait(list(self._in_threads), timeout=timeout)

    async def getaddrinfo(
        self,
        host: typing.Any,
        port: typing.Any,
        *,
        family: int = 0,
        type: int = 0,  # noqa: A002 - asyncio's name
        proto: int = 0,
        flags: int = 0,
    ) -> list[typing.Any]:
        return await self.run_in_executor(None, socket.getaddrinfo, host, port, family, type, proto, flags)

    async def getnameinfo(self, sockaddr: typing.Any, flags: int = 0) -> tuple[str, str]:
        return await self.run_in_executor(None, socket.getnameinfo, sockaddr, flags)

    # Signals

    def add_signal_handler(self, sig: int, callback: Callable[[*Args], object], *args: *Args) -> None:
        self._check_call(callback)
        try:
            self.reactor.add_signal_handler(sig, self._run_handle, asyncio.Handle(callback, args, self))
        except CapabilityMissing as exc:
            raise NotImplementedError(str(exc)) from exc
        self._signals.add(sig)

    def remove_signal_handler(self, sig: int) -> bool:
        known = sig in self._signals
        self._signals.discard(sig)
        self.reactor.remove_signal_handler(sig)
        return known

    # Errors

    def set_exception_handler(self, handler: typing.Any) -> None:
        if handler is not None and not callable(handler):
            raise TypeError(f"A callable object or None is expected, got {handler!r}")
        self._exception_handler = handler

    def get_exception_handler(self) -> typing.Any:
        return self._exception_handler

    def default_exception_handler(self, context: dict[str, typing.Any]) -> None:
        """Log `context["message"]`, the exception, and whatever else is in `context`."""
        lines = [str(context.get("message") or "Unhandled exception in event loop")]
        lines += [f"{key}: {context[key]!r}" for key in sorted(context) if key not in {"message", "exception"}]
        _log.error("\n".join(lines), exc_info=context.get("exception"))

    def call_exception_handler(self, context: dict[str, typing.Any]) -> None:
        if self._exception_handler is None:
            self.default_exception_handler(context)
            return
        try:
            self._exception_handler(self, context)
        except Exception as exc:
            message = "Unhandled error in exception handler"
            self.default_exception_handler({"message": message, "exception": exc, "context": context})

    def get_debug(self) -> bool:
        return self._debug

    def set_debug(self, enabled: bool) -> None:
        self._debug = enabled
