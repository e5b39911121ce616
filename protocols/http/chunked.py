"""Reading the chunked coding (RFC 9112 7.1)."""

from __future__ import annotations

import re

from protocols.http.grammar import check_field_line, strip_line_end
from protocols.http.rules import RefusedRequest

__all__ = ["FORBIDDEN_TRAILERS", "check_trailer", "parse_chunk_line"]

_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"  # noqa: S105 - a grammar's token, not a password
_QUOTED = r'"(?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*"'
_SIZE = re.compile(r"[0-9A-Fa-f]+")
_EXTENSIONS = re.compile(rf"(?:[ \t]*;[ \t]*{_TOKEN}(?:[ \t]*=[ \t]*(?:{_TOKEN}|{_QUOTED}))?)*")
# Sixteen digits are 64 bits; with more a reader that wraps around sees another size.
_MAX_SIZE_DIGITS = 16

# RFC 9110 6.5.1: fields that frame, route, authenticate or describe the content mean nothing after it, and
# whoever merges trailers into the header section would be misled.
FORBIDDEN_TRAILERS = frozenset(
    [
        "authorization",
        "connection",
        "content-encoding",
        "content-length",
        "content-range",
        "content-type",
        "cookie",
        "expect",
        "host",
        "keep-alive",
        "max-forwards",
        "proxy-authorization",
        "proxy-connection",
        "range",
        "set-cookie",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ]
)


def parse_chunk_line(line: str) -> tuple[int, int]:
    """Return the size of a chunk and the number of characters its extensions take.

    Args:
        line: without its LF.

    Raises:
        RefusedRequest: naming the first rule that the line breaks.
    """
    line = strip_line_end(line)
    found = _SIZE.match(line)
    if found is None:
        raise RefusedRequest("chunk-size")
    digits = found.end()
    if digits > _MAX_SIZE_DIGITS:
        raise RefusedRequest("chunk-size-digits")
    if digits != len(line):
        if line[digits] not in " \t;":
            raise RefusedRequest("chunk-size")
        if not _EXTENSIONS.fullmatch(line, digits):
            raise RefusedRequest("chunk-extension")
    return int(found.group(), 16), len(line) - digits


def check_trailer(line: str) -> tuple[str, str]:
    """Return name, in lower case, and value of a trailer.

    Raises:
        RefusedRequest: naming the first rule that the line breaks.
    """
    name, value = check_field_line(line)
    if name in FORBIDDEN_TRAILERS:
        raise RefusedRequest("trailer-forbidden")
    return name, value
