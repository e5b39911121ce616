"""The server kind `ftp`: a folder by FTP."""

from __future__ import annotations

from protocols.servers.ftp.kind import KIND

__all__ = ["KIND"]
