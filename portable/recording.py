"""Servers that keep a log with a line for each request or connection."""

from __future__ import annotations

import typing

from portable.errors import ConfigurationError, FileError
from portable.recordlog import RecordLog
from portable.service import PortService

if typing.TYPE_CHECKING:
    from portable.deferred import Deferred
    from portable.listener import DatagramPort, ServerPort
    from portable.reactor import Reactor
    from portable.service import Service

__all__ = ["RecordingService"]

L = typing.TypeVar("L", bound=RecordLog)


class RecordingService(PortService, typing.Generic[L]):
    """A `PortService` whose log is opened first, as its folder may be root's, and closed last, so that it is
    complete when `stop` is done.

    Args:
        open_log: opens the log at a path: a class derived from RecordLog.
        log_path: None for no log.
        log_option: that the path was given with, for errors.

    Attributes:
        log: None before `bind`, or without a path.
    """

    def __init__(
        self,
        name: str,
        ports: typing.Sequence[ServerPort | DatagramPort],
        *,
        open_log: typing.Callable[[str], L],
        log_path: str | None,
        log_option: str,
        children: typing.Sequence[Service] = (),
    ) -> None:
        super().__init__(name, ports, children=children)
        self.log: L | None = None
        self._open_log = open_log
        self._log_path = log_path
        self._log_option = log_option

    def bind(self, reactor: Reactor) -> None:
        """See `Service.bind`.

        Raises:
            ConfigurationError: as there; or the log cannot be opened.
        """
        if self._log_path is not None:
            try:
                self.log = self._open_log(self._log_path)
            except FileError as error:
                raise ConfigurationError(str(error), f"{self.name}: {self._log_option}") from error
        super().bind(reactor)

    def release(self) -> None:
        """See `Service.release`."""
        super().release()
        if self.log is not None:
            self.log.close()

    def give_to(self, uid: int, gid: int) -> None:
        """See `Service.give_to`."""
        super().give_to(uid, gid)
        if self.log is not None:
            self.log.give_to(uid, gid)

    def start(self) -> None:
        """See `Service.start`."""
        reactor = self.reactor
        if reactor is not None and self.log is not None:
            self.log.start(reactor, reactor if "threads" in reactor.capabilities else None)
        super().start()

    def stop(self, seconds: float) -> Deferred[None]:
        """See `Service.stop`."""
        stopping = super().stop(seconds)
        return stopping if self.log is None else stopping.add_both(self.log.close_after)

    def reload(self) -> bool:
        """See `Service.reload`. Opens the log anew: it may have been renamed."""
        complete = super().reload()
        if self.log is not None:
            self.log.reopen()
        return complete
