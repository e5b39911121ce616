"""Python files as pages: ".epy", whose output is the page, and ".rpy", which define a resource.

Both are run in this process, and may do whatever the server may. They run in threads, so that a slow one holds
up no connection, and few at a time. One that takes too long is interrupted, which ends a loop without end; only
what waits in C for something that never comes, or defends itself, holds its thread for good, and its turn.
"""

from __future__ import annotations

import functools
import io
import logging
import sys
import types
import typing

from portable.deferred import Deferred, ensure_deferred, succeed
from portable.errors import TimedOut
from portable.running.interruption import Interruptible
from protocols.http.messages import Response
from protocols.http.resource import error_page
from protocols.servers.web.turns import NoTurn, Turns

if typing.TYPE_CHECKING:
    from portable.clock import Clock, Timer
    from portable.files import OpenFile
    from portable.reactor import Threads
    from protocols.http.request import Request
    from protocols.http.resource import Resource
    from protocols.servers.web.processors import Answer, Program

    class Host(Clock, Threads, typing.Protocol):
        """What Python pages need of a reactor."""

    # Whatever a thread gives back.
    T = typing.TypeVar("T")

__all__ = ["MAX_BODY", "MAX_PAGE", "MAX_RUNNING", "MAX_SOURCE", "OutputPages", "ResourcePages"]

# Bytes of a file. It is compiled in memory.
MAX_SOURCE = 1024 * 1024
# Bytes of a request's body that an output page is given, and characters that it may print. Both are in memory.
MAX_BODY = 1024 * 1024
MAX_PAGE = 16 * 1024 * 1024
# Files at a time, of each kind: the pool has a handful of threads, and listings of folders need some, too.
MAX_RUNNING = 2
# Seconds between interruptions of one that goes on: it may have caught the first, to clean up.
INTERRUPT_EVERY = 1.0
# Resources that are kept.
MAX_LOADED = 1000

WHOOPS = (
    "Whoops: the file of this page defines no resource. It is a Python file that must set the name `resource` "
    "to an object with the methods `child` and `render`, as those of protocols.http.resource are."
)

_log = logging.getLogger("protocols.servers.web")


class PageFailed(Exception):
    """A file cannot be run as a page."""


class _Worker:
    """Runs few functions at a time in threads; the others wait for their turn.

    Args:
        host: the reactor.
        seconds: that one may take.
    """

    def __init__(self, host: Host, seconds: float) -> None:
        self._host = host
        self._seconds = seconds
        self._turns = Turns(host, MAX_RUNNING)

    async def run(self, path: str, function: typing.Callable[..., T], *args: object) -> T:
        """Return the result of `function(path, *args)`.

        Raises:
            NoTurn: it is not its turn in time.
            TimedOut: it takes too long. It is interrupted, and keeps its turn until it ends.
            Exception: what the function raises.
        """
        await self._turns.take()
        # Not the thread's own Deferred: cancelling that could be too early or too late to know when it ends.
        result: Deferred[T] = Deferred()
        result.timeout(self._seconds, self._host)
        # Made after that time-out, so it comes after it: what an interrupted call says is not the result.
        call = Interruptible(lambda: function(path, *args))
        limit = _Limit(self._host, self._seconds, call)

        def ended(outcome: typing.Any) -> typing.Any:
            limit.cancel()
            self._turns.give_back()
            if isinstance(outcome, Exception):
                raise outcome
            return outcome

        self._host.run_in_thread(call.run).add_both(ended).add_callbacks(result.callback, result.errback)
        try:
            return await result
        except TimedOut:
            _log.warning("%r: not done in %g seconds, and interrupted", path, self._seconds)
            raise


class _Limit:
    """Interrupts a call when its time is over, and then again and again until it is cancelled."""

    def __init__(self, clock: Clock, seconds: float, call: Interruptible) -> None:
        self._clock = clock
        self._call = call
        self._timer: Timer = clock.call_later(seconds, self._interrupt)

    def _interrupt(self) -> None:
        self._call.interrupt()
        self._timer = self._clock.call_later(INTERRUPT_EVERY, self._interrupt)

    def cancel(self) -> None:
        """The call has ended."""
        self._timer.cancel()


class OutputPages:
    """Runs ".epy" files: what they print is the page, in UTF-8.

    A file is run anew for each request, as `__main__`, with the names `request`, `body` (the request's, as
    bytes), `response` (whose status and headers it may change) and its own `print`.

    Args:
        host: the reactor.
        seconds: that a page may take. Then the client is told so, and the page interrupted.
    """

    def __init__(self, host: Host, seconds: float) -> None:
        self._worker = _Worker(host, seconds)

    def render(self, request: Request, program: Program, opened: OpenFile) -> Answer:
        """See `Processor.render`."""
        return ensure_deferred(self._answer(request, program.path, _read_source(opened)))

    async def _answer(self, request: Request, path: str, source: bytes) -> Response:
        body = await request.body.read(MAX_BODY)
        try:
            return await self._worker.run(path, _print_page, request, source, body)
        except NoTurn as error:
            return _busy(path, error)
        except TimedOut:
            return error_page(504)


class ResourcePages:
    """Runs ".rpy" files: each defines a `resource`, which then answers on the loop, as any other does.

    A file is run when it is first asked for, and again when it has changed, or did not get to its end.

    Args:
        host: the reactor.
        seconds: that a file may take to define its resource. Then who waits for that is told so, and the file
            interrupted.
    """

    def __init__(self, host: Host, seconds: float) -> None:
        self._worker = _Worker(host, seconds)
        # By path: what the file looked like, and what it defines.
        self._loaded: dict[str, tuple[object, Resource | None]] = {}
        self._loading: dict[tuple[str, object], list[Deferred[Resource | None]]] = {}

    def render(self, request: Request, program: Program, opened: OpenFile) -> Answer:
        """See `Processor.render`."""
        path = program.path
        status = opened.status
        stamp = (status.mtime_ns, status.size, status.inode, status.device)
        known = self._loaded.get(path)
        if known is not None and known[0] == stamp:
            opened.close()
            return ensure_deferred(_show(request, program, succeed(known[1])))
        waiting: Deferred[Resource | None] = Deferred()
        source = _read_source(opened)
        if (path, stamp) in self._loading:
            self._loading[path, stamp].append(waiting)
        else:
            self._loading[path, stamp] = [waiting]
            loading = ensure_deferred(self._worker.run(path, _load, source))
            loading.add_both(functools.partial(self._have_loaded, path, stamp))
        return ensure_deferred(_show(request, program, waiting))

    def _have_loaded(self, path: str, stamp: object, result: Resource | Exception | None) -> None:
        waiting = self._loading.pop((path, stamp))
        if isinstance(result, Exception):
            for each in waiting:
                each.errback(result)
            return
        if len(self._loaded) >= MAX_LOADED and path not in self._loaded:
            del self._loaded[next(iter(self._loaded))]
        self._loaded[path] = (stamp, result)
        for each in waiting:
            each.callback(result)


async def _show(request: Request, program: Program, loading: Deferred[Resource | None]) -> Response:
    """Return the answer of a file's resource, or of the one beneath it that the rest of the path leads to."""
    try:
        resource = await loading
    except NoTurn as error:
        return _busy(program.path, error)
    except TimedOut:
        return error_page(504)
    if resource is None:
        _log.warning("%r defines no resource", program.path)
        return error_page(500, WHOOPS)
    for segment in program.path_info.split("/"):
        if segment:
            child = resource.child(segment, request)
            if child is None:
                return error_page(404)
            resource = child
    return await ensure_deferred(resource.render(request))


def _busy(path: str, error: NoTurn) -> Response:
    _log.warning("%r is not run, as others are: %s", path, error)
    return error_page(503, headers=[("Retry-After", "1")])


def _read_source(opened: OpenFile) -> bytes:
    """Return what is in a file, and close it. A megabyte of the system's cache takes less than a thread does.

    Raises:
        FileError: the disk failed.
        PageFailed: it is too long.
    """
    with opened:
        source = opened.read(0, MAX_SOURCE + 1)
    if len(source) > MAX_SOURCE:
        raise PageFailed(f"{opened.path!r}: more than {MAX_SOURCE} bytes")
    return source


def _execute(path: str, source: bytes, namespace: dict[str, typing.Any]) -> None:
    """Run a file. In a thread.

    Raises:
        PageFailed: it has ended itself, by exit() or whatever else would go on to end the server.
        Exception: whatever it raises.
    """
    try:
        exec(compile(source, path, "exec", dont_inherit=True), namespace)  # noqa: S102 - that is what it is for
    except Exception:
        raise
    except BaseException as error:
        raise PageFailed(f"{path!r} has ended itself: {error!r}") from error


class _Page(io.StringIO):
    """What a page prints, up to MAX_PAGE characters."""

    def write(self, text: str) -> int:
        if self.tell() + len(text) > MAX_PAGE:
            raise PageFailed(f"it printed more than {MAX_PAGE} characters")
        return super().write(text)


def _print_page(path: str, request: Request, source: bytes, body: bytes) -> Response:
    """Return what an output page answers. In a thread."""
    page = _Page()
    response = Response(200, [("Content-Type", "text/html; charset=utf-8")])
    namespace: dict[str, typing.Any] = {
        "__file__": path,
        "__name__": "__main__",
        "body": body,
        "print": functools.partial(print, file=page),
        "request": request,
        "response": response,
    }
    _execute(path, source, namespace)
    response.body = page.getvalue().encode("utf-8", "replace")
    return response


def _load(path: str, source: bytes) -> Resource | None:
    """Return the resource that a file defines, None if it defines none. In a thread."""
    module = types.ModuleType(f"rpy:{path}")
    module.__file__ = path
    # Dataclasses, and others that look at their own module, find it there.
    sys.modules[module.__name__] = module
    _execute(path, source, module.__dict__)
    resource: object = getattr(module, "resource", None)
    if not callable(getattr(resource, "render", None)) or not callable(getattr(resource, "child", None)):
        return None
    return typing.cast("Resource", resource)
