"""The server kind `telnet`: a Python console for people with an account."""

from __future__ import annotations

from protocols.servers.telnet.kind import KIND, TelnetService

__all__ = ["KIND", "TelnetService"]
