"""The server kind `finger`."""

from protocols.servers.finger.kind import KIND, make_service

__all__ = ["KIND", "make_service"]
