"""The server kind `socks`: a SOCKS proxy."""

from protocols.servers.socks.kind import KIND

__all__ = ["KIND"]
