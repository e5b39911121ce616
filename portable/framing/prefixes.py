"""Frames with their length before them: an unsigned integer of 1, 2 or 4 bytes, most significant first."""

from __future__ import annotations

import struct

from portable.errors import LocalProtocolError
from portable.framing.reader import Reader

__all__ = ["PrefixReader", "encode_prefixed"]

_PREFIXES = {1: struct.Struct(">B"), 2: struct.Struct(">H"), 4: struct.Struct(">I")}


class PrefixReader(Reader):
    """Cuts a stream into frames with a length before them.

    Args:
        size: bytes of the length: 1, 2 or 4.
        max_length: bytes that a frame may have, the length itself not counted; judged before anything of the
            frame is kept.
    """

    def __init__(self, size: int, max_length: int) -> None:
        super().__init__()
        self._prefix = _prefix(size)
        self._size = size
        if not 0 <= max_length < 1 << 8 * size:
            raise ValueError(f"max_length of a frame with {size} bytes of length: {max_length}")
        self._max_length = max_length

    def next_frame(self) -> bytes | None:
        """Return the next frame, or None until it is complete.

        Raises:
            RemoteProtocolError: the length is above `max_length`. An earlier error, again.
        """
        self._check()
        size = self._size
        if len(self) < size:
            return None
        start = self._pos
        length = int(self._prefix.unpack(bytes(self._data[start : start + size]))[0])
        if length > self._max_length:
            raise self._fail(f"a frame of {length} bytes, where {self._max_length} are allowed")
        if len(self) < size + length:
            return None
        self._pos = self._pos + size
        return self._take(length)


def encode_prefixed(frame: bytes, size: int) -> bytes:
    """Return `frame` with its length before it, in `size` bytes (1, 2 or 4).

    Raises:
        LocalProtocolError: the length does not fit into `size` bytes.
    """
    prefix = _prefix(size)
    if len(frame) >> 8 * size:
        raise LocalProtocolError(f"a frame of {len(frame)} bytes does not fit a length of {size} bytes")
    return prefix.pack(len(frame)) + frame


def _prefix(size: int) -> struct.Struct:
    prefix = _PREFIXES.get(size)
    if prefix is None:
        raise ValueError(f"size of a length must be 1, 2 or 4: {size}")
    return prefix
