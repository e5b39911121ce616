"""The web server: static files, listings, access log, HTTPS."""

from protocols.servers.web.kind import KIND, make_service

__all__ = ["KIND", "make_service"]
