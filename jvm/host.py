"""The Python half of a server inside a Java program: what a `portable.jvm.PortableServer` runs in its thread.

It is a program of its own, as the commands are; Java starts it through Jep and calls `serve`. There are no
signals here and the process is not ours: the host's Java side asks for everything by requests, which the loop
takes between two turns.
"""

from __future__ import annotations

import importlib
import logging
import os
import traceback
import typing

from backends.nio.jepbridge import JepBridge
from backends.nio.reactor import NioReactor
from jvm.hostlog import HostLog
from portable.commands.loading import load_tap_file
from portable.deferred import ensure_deferred
from portable.errors import ConfigurationError
from portable.listener import ServerPort

if typing.TYPE_CHECKING:
    from collections.abc import Callable

    from portable.commands.loading import Application

__all__ = ["serve"]

DEFAULT_DRAIN = 10.0  # seconds
# Seconds beyond those for work in flight that a service gets to report that it has stopped.
GRACE = 5.0

# Requests taken in one turn of the loop; those that each bring another would leave the sockets no turn.
_MOST_REQUESTS = 64

# Of what a HostLoop's `poll` gives; the sign bit is left for requests.
_EVENTS = (1 << 63) - 1

_log = logging.getLogger("portable.host")
_records = HostLog()


def serve(loop: typing.Any, tap: str, drain: float, debug: bool) -> None:
    """Run the servers of the file `tap` until Java asks for their end.

    Args:
        loop: the portable.jvm.HostLoop of this thread.
        drain: seconds for the work in flight; below 0: as the file says.
        debug: log debug messages and tracebacks.

    Raises:
        RuntimeError: they do not start, or break. Java has been told all about it.
    """
    try:
        _records.attach(loop, debug)
        try:
            _Host(loop).run(tap, drain)
        finally:
            _records.detach()
    except BaseException as exc:
        loop.failed(*_told(exc))
        # Jep would take SystemExit as it is, and end the process of the Java program.
        raise RuntimeError("the server failed") from exc


class _HostBridge(JepBridge):
    """The pump of a HostLoop, which says in `poll` that Java wants something."""

    def __init__(self, loop: typing.Any, on_request: Callable[[], object]) -> None:
        super().__init__(loop.pump())
        turn: Callable[[int, int], int] = loop.poll

        def poll(timeout: int, ops: int) -> int:
            told = turn(timeout, ops)
            if told < 0:
                told &= _EVENTS
                on_request()
            return told

        self.poll = poll


class _Host:
    def __init__(self, loop: typing.Any) -> None:
        self._loop = loop
        self._stopping = False
        self._taking = False
        self._reactor = NioReactor(_HostBridge(loop, self._on_request))

    def run(self, tap: str, drain: float) -> None:
        """Load, bind, start, run, end."""
        try:
            application = load_tap_file(tap)
            application.verify()
            _records.hide(application.secrets)
            self._check_identity(application)
            self._service = application.service
            given = drain if drain >= 0 else application.drain
            self._drain = DEFAULT_DRAIN if given is None else given
            self._service.bind(self._reactor)
            self._service.start()
            addresses = self._service.addresses()
            for address in addresses:
                _log.info("listening: %s", address)
            self._loop.started("\n".join(addresses), self._drain)
            self._reactor.run()
            self._loop.finished(self._snapshot())
        finally:
            self._reactor.close()

    def _check_identity(self, application: Application) -> None:
        if application.uid is not None or application.gid is not None:
            if os.geteuid() == 0:
                raise ConfigurationError(
                    "the file names a user to run as, and a Java program cannot become another one: "
                    "start it as that user"
                )
            _log.info("the user and group that the file names are left to the Java program")

    # Called in `poll`, where nothing may be changed: the loop does it in its next turn.

    def _on_request(self) -> None:
        if not self._taking:
            self._taking = True
            self._reactor.call_soon(self._take_requests)

    def _take_requests(self) -> None:
        self._taking = False
        for _ in range(_MOST_REQUESTS):
            request = self._loop.next()
            if request is None:
                return
            try:
                self._take(request)
            except BaseException as exc:  # noqa: BLE001 - whoever asked is told, and the loop goes on
                request.fail(*_told(exc))
        self._on_request()

    def _take(self, request: typing.Any) -> None:
        kind = request.kind()
        if kind == "run":
            request.run()
        elif kind == "stop":
            self._stop(request.argument(0))
            request.complete(None)
        elif kind == "reload":
            self._service.reload()
            request.complete(None)
        elif kind == "snapshot":
            request.complete(self._snapshot())
        else:
            self._call(request)

    def _call(self, request: typing.Any) -> None:
        function = _find_function(request.function())
        arguments = [request.argument(index) for index in range(request.count())]

        def done(value: object) -> None:
            request.complete(_plain(value))

        def failed(error: Exception) -> None:
            request.fail(*_told(error))

        ensure_deferred(function(self._service, *arguments)).add_callback(done).add_errback(failed)

    def _snapshot(self) -> list[int]:
        ports = [port for port in self._service.ports() if isinstance(port, ServerPort)]
        return [
            sum(port.open for port in ports),
            sum(port.accepted for port in ports),
            sum(port.refused for port in ports),
            sum(port.bytes_received for port in ports),
            sum(port.bytes_sent for port in ports),
        ]

    def _stop(self, seconds: float) -> None:
        if seconds < 0:
            seconds = self._drain
        if not self._stopping:
            self._stopping = True
            self._loop.stopping()
            _log.info("stopping; work in flight has %g seconds", seconds)
        # Asked again, a service takes the shorter time.
        self._reactor.call_later(seconds + GRACE if seconds else 0.0, self._give_up, seconds)
        self._service.stop(seconds).add_callbacks(self._stopped, self._stopped_badly)

    def _stopped(self, _: object) -> None:
        self._reactor.stop()

    def _stopped_badly(self, error: BaseException) -> None:
        _log.error("a service did not stop cleanly", exc_info=error)
        self._reactor.stop()

    def _give_up(self, seconds: float) -> None:
        if seconds:
            _log.error("a service did not stop in %g seconds", seconds + GRACE)
        self._reactor.stop()


def _find_function(name: str) -> Callable[..., object]:
    module, _, path = name.partition(":")
    if not module or not path:
        raise ConfigurationError(f"{name!r} is not of the form module:function")
    found: typing.Any = importlib.import_module(module)
    for part in path.split("."):
        found = getattr(found, part)
    if not callable(found):
        raise ConfigurationError(f"{name!r} cannot be called")
    return typing.cast("Callable[..., object]", found)


def _plain(value: object) -> object:
    """Return `value`, of types that Java has too and that outlive the interpreter."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    raise TypeError(f"Java has nothing for a result of type {type(value).__name__}: {value!r}")


def _told(error: BaseException) -> tuple[str, str, str, object]:
    """Return the class, the text, the traceback and Java's exception, if there is one."""
    kind = f"{type(error).__module__}.{type(error).__qualname__}"
    # SystemExit's text is a number, and KeyboardInterrupt has none.
    text = str(error) if isinstance(error, Exception) else repr(error)
    return kind, text or kind, "".join(traceback.format_exception(error)), _java_cause(error)


def _java_cause(error: BaseException | None) -> object:
    """Return the exception of Java's that `error` comes from; None if there is none."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        # Jep puts it there.
        if error.args and callable(getattr(error.args[0], "printStackTrace", None)):
            return typing.cast("object", error.args[0])
        error = error.__cause__ or error.__context__
    return None
