"""The size of the client's window (RFC 1073), in characters."""

from __future__ import annotations

import struct
import typing

from portable.errors import RemoteProtocolError

__all__ = ["WindowSize", "decode_naws", "encode_naws"]

_SIZE = struct.Struct("!HH")


class WindowSize(typing.NamedTuple):
    """0 means that the client does not say, and leaves it to us."""

    columns: int
    rows: int


def decode_naws(payload: bytes) -> WindowSize:
    """Return the size in a sub-negotiation's payload.

    Raises:
        RemoteProtocolError: it is not four bytes long.
    """
    if len(payload) != _SIZE.size:
        raise RemoteProtocolError(f"a window size (NAWS) of {len(payload)} bytes instead of {_SIZE.size}")
    columns, rows = _SIZE.unpack(payload)
    return WindowSize(columns, rows)


def encode_naws(size: WindowSize) -> bytes:
    """Return the payload for a size. A byte of it may be 255: `parser.subnegotiation` doubles that.

    Raises:
        ValueError: a number is not from 0 to 65535.
    """
    if not (0 <= size.columns <= 0xFFFF and 0 <= size.rows <= 0xFFFF):
        raise ValueError(f"a window of {size.columns} times {size.rows} characters")
    return _SIZE.pack(size.columns, size.rows)
