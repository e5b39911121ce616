"""Who is logged in, and what that allows."""

from __future__ import annotations

import typing
from dataclasses import dataclass

if typing.TYPE_CHECKING:
    from protocols.ftp.server.filesystem import FileSystem

__all__ = ["ALL", "PERMISSIONS", "READING", "Account"]

# The letters are those that administrators of pyftpdlib know.
PERMISSIONS = {
    "e": "change the working folder",
    "l": "list folders, and ask for times and sizes",
    "r": "read files",
    "a": "append to files",
    "d": "remove files and folders",
    "f": "rename files and folders",
    "m": "make folders",
    "w": "write files",
    "M": "change the permission bits of files",
    "T": "change the times of files",
}
ALL = frozenset(PERMISSIONS)
READING = frozenset("elr")


@dataclass(frozen=True)
class Account:
    """One login.

    Attributes:
        files: what it can reach; the root is its working folder at first.
        permissions: letters of PERMISSIONS.
        proven: the login took a password that not everybody knows.
    """

    files: FileSystem
    permissions: frozenset[str] = ALL
    proven: bool = True
