"""Where the log records of servers inside a Java program go: each to the sink of the server that made it.

All servers of the process share Python's loggers.
"""

from __future__ import annotations

import contextvars
import dataclasses
import logging
import threading
import typing

from portable.logs import TextFormatter

__all__ = ["HostLog"]


@dataclasses.dataclass(eq=False)
class _Server:
    loop: typing.Any
    debug: bool
    secrets: tuple[str, ...] = ()
    formatter: TextFormatter = dataclasses.field(default_factory=TextFormatter)

    @property
    def level(self) -> int:
        return logging.DEBUG if self.debug else logging.INFO


# The server whose code runs. Calls that it has made in a thread of its reactor's pool have this too.
_current: contextvars.ContextVar[_Server | None] = contextvars.ContextVar("server", default=None)


class HostLog(logging.Handler):
    """Gives every record to the server whose code made it; to the oldest if that cannot be known."""

    def __init__(self) -> None:
        super().__init__()
        self._lock_servers = threading.Lock()
        self._servers: list[_Server] = []
        self._level_before = logging.NOTSET

    def attach(self, loop: typing.Any, debug: bool) -> None:
        """Serve `loop`, a portable.jvm.HostLoop, whose thread this is.

        Args:
            loop: its `log` is called from any thread.
            debug: give it debug messages and tracebacks.
        """
        server = _Server(loop, debug)
        with self._lock_servers:
            if not self._servers:
                top = logging.getLogger()
                self._level_before = top.level
                top.addHandler(self)
            self._servers.append(server)
            self._settle()
        _current.set(server)

    def hide(self, secrets: tuple[str, ...]) -> None:
        """Show `secrets` of the calling thread's server no more, in anybody's log."""
        server = _current.get()
        if server is not None:
            with self._lock_servers:
                server.secrets = secrets
                self._settle()

    def detach(self) -> None:
        """Serve the calling thread's loop no more."""
        server = _current.get()
        _current.set(None)
        with self._lock_servers:
            if server in self._servers:
                self._servers.remove(server)
                self._settle()

    def _settle(self) -> None:
        """Do what depends on who is served."""
        top = logging.getLogger()
        if not self._servers:
            top.removeHandler(self)
            top.setLevel(self._level_before)
            return
        top.setLevel(min(self._level_before, *(server.level for server in self._servers)))
        secrets = [secret for server in self._servers for secret in server.secrets]
        for server in self._servers:
            server.formatter = TextFormatter(secrets, tracebacks=server.debug)

    def emit(self, record: logging.LogRecord) -> None:
        """Give it to Java."""
        server = _current.get() or next(iter(self._servers[:1]), None)
        if server is not None and record.levelno >= server.level:
            lines = [server.formatter.message_of(record)]
            lines.extend(f"  | {line}" for line in server.formatter.traceback_of(record))
            server.loop.log(record.levelno, record.name, "\n".join(lines))
