"""The type of the client's terminal (RFC 1091): the server asks by SEND, the client answers IS and a name.

A client with several names gives another at each SEND, and says that it has no more by repeating the last.
"""

from __future__ import annotations

import re

from portable.errors import RemoteProtocolError

__all__ = ["MAX_NAME", "SEND", "decode_ttype", "encode_ttype"]

# RFC 1091 takes the names from the Assigned Numbers, which have up to 40 characters.
MAX_NAME = 40

_IS = 0
_SEND = 1
# The payload of the server's question.
SEND = bytes([_SEND])
# Names end up in logs and on screens.
_NAME = re.compile(rb"[!-~]+\Z")


def decode_ttype(payload: bytes) -> str | None:
    """Return the name in a sub-negotiation's payload, in lower case as terminfo has it; None for SEND.

    Raises:
        RemoteProtocolError: it is neither IS with a name of printing ASCII, nor SEND.
    """
    if payload == SEND:
        return None
    name = payload[1:]
    if payload[:1] != bytes([_IS]) or len(name) > MAX_NAME or _NAME.match(name) is None:
        raise RemoteProtocolError("a terminal type that is no name")
    return name.decode("ascii").lower()


def encode_ttype(name: str) -> bytes:
    """Return the payload that tells a name, in upper case as RFC 1091 has it.

    Raises:
        ValueError: it has no character, more than MAX_NAME, or one that is not printing ASCII.
    """
    data = name.upper().encode("ascii", "replace")
    if len(data) > MAX_NAME or _NAME.match(data) is None or not name.isascii():
        raise ValueError(f"{name!r} is no terminal type")
    return bytes([_IS]) + data
