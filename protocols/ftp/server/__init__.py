"""The server side of FTP: `FTPServer` is the protocol of a control connection, `Site` what they all share."""

from __future__ import annotations

from protocols.ftp.server.account import ALL, PERMISSIONS, READING, Account
from protocols.ftp.server.channels import PassivePorts
from protocols.ftp.server.connection import FTPServer
from protocols.ftp.server.site import Limits, Site

__all__ = ["ALL", "PERMISSIONS", "READING", "Account", "FTPServer", "Limits", "PassivePorts", "Site"]
