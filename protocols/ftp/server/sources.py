"""Listings as they are sent: read and written a piece at a time, so that no folder is too large."""

from __future__ import annotations

import typing

from portable.deferred import Deferred, succeed
from protocols.ftp.server.paths import is_sayable

if typing.TYPE_CHECKING:
    from collections.abc import Callable

    from protocols.ftp.server.filesystem import Item, OpenFolder
    from protocols.ftp.server.listing import Line

__all__ = ["PIECE", "FolderSource", "LineSource"]

# Items read and written at once: about a millisecond of work. A folder that fits is shown in order; a larger
# one as the file system has it, because sorting would need all of it at once.
PIECE = 256


class FolderSource:
    """The lines of a folder. See `transfers.Source`.

    Names that a client could not ask for are left out (`paths.is_sayable`).

    Args:
        folder: closed in the end.
        line: makes each line.
        matches: which names to show; None for all.
    """

    def __init__(self, folder: OpenFolder, line: Line, matches: Callable[[str], bool] | None = None) -> None:
        self._folder = folder
        self._line = line
        self._matches = matches

    def read(self) -> Deferred[bytes | None]:
        """Give the lines of the next items; None at the end."""
        return self._folder.read(PIECE).add_callback(self._encode)

    def _encode(self, items: list[Item]) -> bytes | None:
        if not items:
            return None
        if len(items) < PIECE:
            items.sort()
        matches = self._matches
        return b"".join(
            [
                self._line(item) + b"\r\n"
                for item in items
                if is_sayable(item.name) and (matches is None or matches(item.name))
            ]
        )

    def close(self) -> None:
        """Close the folder."""
        self._folder.close()


class LineSource:
    """One line: of a file that was asked for by name."""

    def __init__(self, line: bytes) -> None:
        self._line: bytes | None = line + b"\r\n"

    def read(self) -> Deferred[bytes | None]:
        """Give the line, then None."""
        line, self._line = self._line, None
        return succeed(line)

    def close(self) -> None:
        """Do nothing."""
