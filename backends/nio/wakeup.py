"""Ending Java's wait from other threads and from signal handlers.

A signal does not interrupt a selector of Java's, and a thread that calls into Java leaves a trace there that
lasts. A byte on a loopback connection does for both, without Java knowing: one end is a connection of the pump,
the other a socket of Python's, whose descriptor `signal.set_wakeup_fd` takes.
"""

from __future__ import annotations

import logging
import socket
import typing

if typing.TYPE_CHECKING:
    from backends.nio.bridge import Bridge
    from backends.nio.exchange import Exchange

__all__ = ["WakeUp"]

_log = logging.getLogger("portable.nio")

# Seconds for a connection to ourselves.
_PATIENCE = 10.0


class WakeUp:
    """A connection from Java to Python."""

    def __init__(self, bridge: Bridge, exchange: Exchange) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            listening.settimeout(_PATIENCE)
            self.id = bridge.connect_tcp("127.0.0.1", listening.getsockname()[1], "127.0.0.1")
            ours = bridge.local_address(self.id).rpartition("\n")[2]
            while True:
                self._writer, peer = listening.accept()
                if str(peer[1]) == ours:
                    break
                self._writer.close()  # somebody tries all ports of this machine
        self._writer.setblocking(False)
        self._writer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.writer_fd = self._writer.fileno()
        self._pending = False
        exchange.channels[self.id] = self

    def wake(self) -> None:
        """End the wait, now or the next one. From any thread."""
        if not self._pending:
            self._pending = True
            try:
                self._writer.send(b"\0")
            except OSError as exc:  # full, so it will wake; or closed, so there is nobody to wake
                _log.debug("wake-up: %s", exc)

    def on_data(self, data: bytes) -> None:
        """See `PumpChannel.on_data`. Signals write too, and are not counted by `_pending`."""
        # Who sees the old value has queued its call already, and the loop looks at the queue before it waits.
        self._pending = False

    def on_accepted(self, ident: int, peer: str) -> None:
        """See `PumpChannel.on_accepted`. We are no listener."""

    def on_event(self, kind: int, arg: int, data: bytes) -> None:
        """See `PumpChannel.on_event`. That it is connected, we know."""

    def abort(self) -> None:
        """Close our end; the pump closes its own."""
        self._writer.close()
