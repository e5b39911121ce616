"""The life of a server process from its bound ports to its end: signals, reload, drain."""

from __future__ import annotations

import cProfile
import logging
import signal
import typing

if typing.TYPE_CHECKING:
    from portable.commands.logfile import FileLog, StreamLog
    from portable.commands.systemd import Notifier
    from portable.reactor import Reactor
    from portable.service import Service

__all__ = ["DEFAULT_DRAIN", "Server"]

DEFAULT_DRAIN = 10.0  # seconds
# Seconds beyond the drain that a service gets to report that it has stopped. After that we end without it.
GRACE = 5.0
# Seconds. With --debug, a turn of the loop that takes longer is worth a line in the log.
SLOW_TURN = 0.1
LAG_INTERVAL = 1.0

_log = logging.getLogger("twistd")


class Server:
    """A bound service, run until a signal."""

    def __init__(
        self, reactor: Reactor, service: Service, log: FileLog | StreamLog, notifier: Notifier, drain: float
    ) -> None:
        self._reactor = reactor
        self._service = service
        self._log_file = log
        self._notifier = notifier
        self._drain = drain
        self._stopping = False

    def start(self) -> None:
        """Start the service and answer signals from now on.

        Raises:
            FrameworkError: whatever the service cannot do.
        """
        add = self._reactor.add_signal_handler
        add(signal.SIGTERM, self.stop, "SIGTERM")
        add(signal.SIGINT, self.stop, "SIGINT")
        add(signal.SIGHUP, self.reload)
        add(signal.SIGUSR1, self._rotate)
        self._service.start()
        for address in self._service.addresses():
            _log.info("listening: %s", address)

    def run(self, profile: str = "", debug: bool = False) -> None:
        """Run the loop until the service has stopped.

        Args:
            profile: write the profiler's statistics of the loop to this file; "" for none.
            debug: log turns of the loop that are too slow.
        """
        self._notifier.watch(self._reactor)
        if debug:
            self._watch_lag()
        if not profile:
            self._reactor.run()
            return
        profiler = cProfile.Profile()
        try:
            profiler.runcall(self._reactor.run)
        finally:
            profiler.dump_stats(profile)

    def stop(self, why: str) -> None:
        """Finish the work in flight, then end; when called again, end at once."""
        if self._stopping:
            _log.warning("stopping at once: %s again", why)
            self._reactor.stop()
            return
        self._stopping = True
        _log.info("stopping: %s; work in flight has %g seconds", why, self._drain)
        self._notifier.stopping()
        self._reactor.call_later(self._drain + GRACE, self._give_up)
        self._service.stop(self._drain).add_callbacks(self._stopped, self._stopped_badly)

    def _stopped(self, _: object) -> None:
        self._reactor.stop()

    def _stopped_badly(self, error: BaseException) -> None:
        _log.error("a service did not stop cleanly", exc_info=error)
        self._reactor.stop()

    def _give_up(self) -> None:
        _log.error("a service did not stop in %g seconds", self._drain + GRACE)
        self._reactor.stop()

    def reload(self) -> None:
        """Open the log anew, read certificates again, keep what works of both."""
        self._notifier.reloading()
        self._log_file.reopen()
        try:
            complete = self._service.reload()
        except Exception:  # noqa: BLE001 - a failed reload must not end what serves
            _log.exception("the reload failed; what was loaded before stays in use")
        else:
            if complete:
                _log.info("reloaded")
            else:
                _log.error("reloaded in part: what failed (see above) stays in use as it was")
        self._notifier.ready()

    def _rotate(self) -> None:
        if self._log_file.rotate():
            _log.info("log rotated")

    def _watch_lag(self) -> None:
        lag = self._reactor.loop_lag("twistd")
        if lag > SLOW_TURN:
            _log.warning("one turn of the loop took %.3f seconds: a callback blocks", lag)
        self._reactor.call_later(LAG_INTERVAL, self._watch_lag)
