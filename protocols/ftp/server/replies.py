"""Replies of the control connection (RFC 959 4.2)."""

from __future__ import annotations

import typing

from portable.framing import encode_line

if typing.TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["encode_multiline", "encode_reply"]


def encode_reply(code: int, text: str) -> bytes:
    """Return one line.

    Raises:
        LocalProtocolError: `text` has a CR or LF inside.
    """
    return encode_line(f"{code} {text}".encode())


def encode_multiline(code: int, first: str, lines: Iterable[bytes], last: str) -> bytes:
    """Return a reply of several lines. Those between the first and the last must not begin with a digit.

    Raises:
        LocalProtocolError: a line has a CR or LF inside.
    """
    encoded = [encode_line(f"{code}-{first}".encode())]
    encoded += [encode_line(line) for line in lines]
    encoded.append(encode_reply(code, last))
    return b"".join(encoded)
