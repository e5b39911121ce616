"""Type A: the lines of a text end with CR LF on the wire, and with LF here (RFC 959 3.1.1.1)."""

from __future__ import annotations

import typing

if typing.TYPE_CHECKING:
    from portable.deferred import Deferred
    from protocols.ftp.server.filesystem import Readable

__all__ = ["TextDecoder", "TextSource", "encode_text"]

# Bytes of a file that are read and converted at once: a fraction of a millisecond.
PIECE = 64 * 1024


def encode_text(piece: bytes, after_cr: bool) -> bytes:
    """Return `piece` with CR LF for every LF that has no CR before it.

    Args:
        after_cr: whether what came before `piece` ended with a CR.
    """
    encoded = piece.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    if after_cr and piece.startswith(b"\n"):
        return encoded[1:]
    return encoded


class TextSource:
    """Reads a file as a text to be sent. See `transfers.Source`."""

    def __init__(self, file: Readable) -> None:
        self._file = file
        self._offset = 0
        self._after_cr = False

    def read(self) -> Deferred[bytes | None]:
        """Give the next piece; None at the end."""
        return self._file.read(self._offset, PIECE).add_callback(self._encode)

    def _encode(self, piece: bytes) -> bytes | None:
        if not piece:
            return None
        self._offset += len(piece)
        encoded = encode_text(piece, self._after_cr)
        self._after_cr = piece.endswith(b"\r")
        return encoded

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class TextDecoder:
    """Takes CR LF for a line's end, and every other CR for itself."""

    def __init__(self) -> None:
        self._held = b""

    def decode(self, piece: bytes | None) -> bytes:
        """Return what to write of the next piece; None for the end."""
        if piece is None:
            held, self._held = self._held, b""
            return held
        piece = self._held + piece
        # Half of an ending, perhaps.
        self._held = b"\r" if piece.endswith(b"\r") else b""
        if self._held:
            piece = piece[:-1]
        return piece.replace(b"\r\n", b"\n")
