"""Telling systemd how we are (sd_notify(3)): one datagram per message to the socket in NOTIFY_SOCKET."""

from __future__ import annotations

import logging
import os
import socket
import time
import typing

if typing.TYPE_CHECKING:
    from collections.abc import MutableMapping

    from portable.reactor import Reactor

__all__ = ["Notifier", "adopt_sockets"]

_log = logging.getLogger("twistd")


class Notifier:
    """Says nothing where systemd did not ask to be told."""

    def __init__(self, environ: MutableMapping[str, str]) -> None:
        """Take the variables out of `environ`, so that no child speaks in our name."""
        self._address = environ.pop("NOTIFY_SOCKET", "")
        self._interval = _watchdog_seconds(environ.pop("WATCHDOG_USEC", ""), environ.pop("WATCHDOG_PID", ""))
        self._failed = False
        # Connected now: after chroot the path means something else, and later we may not be allowed to.
        self._socket = self._connect() if self._address[:1] in {"/", "@"} else None

    def _connect(self) -> socket.socket | None:
        notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        address = self._address
        try:
            notify.connect("\0" + address[1:] if address[0] == "@" else address)
        except OSError as error:
            _log.warning("cannot reach systemd at %s: %s", address, error.strerror)
            notify.close()
            return None
        notify.setblocking(False)
        return notify

    def ready(self) -> None:
        """The ports are bound."""
        self._send(f"READY=1\nMAINPID={os.getpid()}")

    def reloading(self) -> None:
        """A reload begins; `ready` ends it."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """The stop has begun."""
        self._send("STOPPING=1")

    def watch(self, reactor: Reactor) -> None:
        """Report from the loop, at twice the rate that was asked for, that it still turns."""
        if self._socket is not None and self._interval:
            self._send("WATCHDOG=1")
            reactor.call_later(self._interval / 2, self.watch, reactor)

    def _send(self, text: str) -> None:
        if self._socket is None:
            return
        try:
            self._socket.send(text.encode())
        except OSError as error:
            if not self._failed:
                self._failed = True
                _log.warning("systemd does not take our messages: %s", error.strerror)

    def close(self) -> None:
        """Say no more. Idempotent."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _watchdog_seconds(microseconds: str, pid: str) -> float:
    if not (microseconds.isascii() and microseconds.isdigit()) or (pid and pid != str(os.getpid())):
        return 0.0
    return int(microseconds) / 1_000_000


def adopt_sockets(environ: MutableMapping[str, str], former: int) -> None:
    """Make the sockets that systemd gave to process `former` ours, who is its daemon."""
    if environ.get("LISTEN_PID") == str(former):
        environ["LISTEN_PID"] = str(os.getpid())
