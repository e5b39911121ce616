"""A piece of a file on its way to Java, by and by."""

from __future__ import annotations

from backends.sockets.regions import FileRegion

__all__ = ["PIECE", "PumpedRegion"]

# Bytes read at once, on the loop.
PIECE = 128 * 1024


class PumpedRegion(FileRegion):
    """A region that is read rather than sent."""

    __slots__ = ()

    def take(self, size: int) -> bytes:
        """Return the next bytes, at most `size`; b"" when there are no more, with `done` set."""
        data = self._read(min(self.left, size)) if self.left else b""
        if data:
            self._advance(len(data))
        else:
            self.done = True
        return data
