"""The encoding of text (RFC 2066): one side REQUESTs one of a list, the other ACCEPTs one or REJECTs all.

Translation tables are never sent, and rejected when offered: they are for encodings that Python knows anyway.
"""

from __future__ import annotations

import typing
from dataclasses import dataclass

from portable.errors import RemoteProtocolError

__all__ = [
    "KNOWN",
    "MAX_REQUESTS",
    "REJECTED",
    "TTABLE_REJECTED",
    "Accepted",
    "CharsetMessage",
    "CharsetNegotiation",
    "Rejected",
    "Request",
    "TranslationTable",
    "choose",
    "decode_charset",
    "encode_accepted",
    "encode_request",
]

_REQUEST = 1
_ACCEPTED = 2
_REJECTED = 3
_TTABLE_IS = 4
_TTABLE_REJECTED = 5

# Payloads that are always the same.
REJECTED = bytes([_REJECTED])
TTABLE_REJECTED = bytes([_TTABLE_REJECTED])

# What we agree to: the names of the registry of IANA, and what Python calls them. All have ASCII in its
# place, and no state that one character leaves to the next: so keys can be told, and what is cut can be
# decoded.
KNOWN = {
    "utf-8": "utf-8",
    "utf8": "utf-8",
    "us-ascii": "ascii",
    "ascii": "ascii",
    "iso-8859-1": "iso8859-1",
    "latin1": "iso8859-1",
    "iso-8859-15": "iso8859-15",
    "windows-1252": "cp1252",
    "koi8-r": "koi8-r",
}
# Names looked at in one request; each costs a look-up.
MAX_NAMES = 32
# RFC 2066 2: a version and the word, where the sender would take a translation table.
_TTABLE = b"[TTABLE]"
# Requests answered on one connection, so that a peer that does not read cannot make us write without end.
MAX_REQUESTS = 32


@dataclass(frozen=True, slots=True)
class Request:
    """`names` in the order of the sender's preference."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Accepted:
    """`name` is one of those that were asked for, or should be."""

    name: str


@dataclass(frozen=True, slots=True)
class Rejected:
    """None of those that were asked for."""


@dataclass(frozen=True, slots=True)
class TranslationTable:
    """TTABLE-IS, or what follows from one; to be answered with TTABLE-REJECTED if `offered`."""

    offered: bool


def decode_charset(payload: bytes) -> CharsetMessage:
    """Return the message in a sub-negotiation's payload.

    Raises:
        RemoteProtocolError: it is none, or its names are not ASCII.
    """
    kind, rest = payload[:1], payload[1:]
    if kind == bytes([_REQUEST]):
        if rest.startswith(_TTABLE):
            rest = rest[len(_TTABLE) + 1 :]
        separator = rest[:1]
        if not separator:
            raise RemoteProtocolError("a request for a character set that names none")
        names = rest[1:].split(separator, MAX_NAMES)[:MAX_NAMES]
        return Request(tuple([_text(name) for name in names if name]))
    if kind == bytes([_ACCEPTED]):
        return Accepted(_text(rest))
    if payload == REJECTED:
        return Rejected()
    if kind and _TTABLE_IS <= kind[0] <= _TTABLE_IS + 3:
        return TranslationTable(kind[0] == _TTABLE_IS)
    raise RemoteProtocolError("an unknown message about character sets")


def encode_request(names: typing.Sequence[str]) -> bytes:
    """Return the payload that asks for one of `names`, the best first; none has a ";" in it."""
    return bytes([_REQUEST]) + ("".join([";" + name for name in names])).encode("ascii")


def encode_accepted(name: str) -> bytes:
    """Return the payload that accepts `name`, spelled as in the request."""
    return bytes([_ACCEPTED]) + name.encode("ascii")


def choose(names: typing.Iterable[str]) -> tuple[str, str] | None:
    """Return the first of `names` that is in KNOWN, as it is spelled there and as Python calls it."""
    for name in names:
        known = KNOWN.get(name.lower())
        if known is not None:
            return name, known
    return None


class CharsetNegotiation:
    """What both sides do about the encoding.

    Attributes:
        encoding: as Python calls it; UTF-8 until something else is agreed on.
    """

    def __init__(self) -> None:
        self.encoding = "utf-8"
        self._asked: tuple[str, ...] = ()
        self._requests = 0

    def request(self, *names: str) -> bytes:
        """Return the payload that asks the peer for one of `names`, which are keys of KNOWN."""
        self._asked = names
        return encode_request(names)

    def receive(self, payload: bytes) -> bytes | None:
        """Take a message of the peer; return the payload to answer with.

        Raises:
            RemoteProtocolError: it is none, or there were more than MAX_REQUESTS.
        """
        message = decode_charset(payload)
        if isinstance(message, Accepted):
            # An answer to nothing changes nothing.
            chosen = choose([message.name])
            if chosen is not None and message.name.lower() in [name.lower() for name in self._asked]:
                self.encoding = chosen[1]
            self._asked = ()
            return None
        if isinstance(message, Rejected):
            self._asked = ()
            return None
        self._requests += 1
        if self._requests > MAX_REQUESTS:
            raise RemoteProtocolError(f"more than {MAX_REQUESTS} requests for a character set")
        if isinstance(message, TranslationTable):
            return TTABLE_REJECTED if message.offered else None
        # Of two requests that cross each other the server's is answered, and the client's rejected. Only
        # servers ask here.
        chosen = None if self._asked else choose(message.names)
        if chosen is None:
            return REJECTED
        self.encoding = chosen[1]
        return encode_accepted(chosen[0])


def _text(name: bytes) -> str:
    try:
        return name.decode("ascii")
    except UnicodeDecodeError:
        raise RemoteProtocolError("the name of a character set that is not ASCII") from None


if typing.TYPE_CHECKING:
    CharsetMessage = Request | Accepted | Rejected | TranslationTable
