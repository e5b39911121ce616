"""Byte ranges (RFC 9110 14): parts of a representation, asked for by position.

Pure functions. `select_ranges` decides, `content_range` and `multipart` word the answer.
"""

from __future__ import annotations

import re
import secrets
import typing

__all__ = [
    "MAX_RANGES",
    "MAX_SPECS",
    "ByteRange",
    "content_range",
    "multipart",
    "new_boundary",
    "select_ranges",
    "unsatisfied_range",
]

# Ranges in one answer, after merging. Readers of documents ask for some at a time; hundreds are an attack, or
# a client that is served better by the whole (RFC 9110 14.2 allows to ignore the field).
MAX_RANGES = 16
# Ranges looked at in one request, before merging.
MAX_SPECS = 200

_SPEC = re.compile("([0-9]*)-([0-9]*)")
# More digits than any file's size has. Python takes quadratic time to read a number, so none longer is read.
_MAX_DIGITS = 18


class ByteRange(typing.NamedTuple):
    """The bytes from `first` to `last`, both included, counted from 0."""

    first: int
    last: int

    @property
    def length(self) -> int:
        """How many bytes that is."""
        return self.last - self.first + 1


def select_ranges(value: str, size: int) -> list[ByteRange] | None:
    """Return the ranges to send of a representation of `size` bytes, given the value of a Range field.

    Ranges that overlap or touch are merged, and then all are in ascending order; otherwise they stay in
    the order of the request, which may have a reason.

    Returns:
        None: send the whole with status 200, because the field is malformed, has another unit, asks for more
        than MAX_RANGES ranges, or for the end of an empty representation. An empty list: status 416.
        Otherwise at least one range: status 206.
    """
    unit, equals, rest = value.partition("=")
    if unit.strip(" \t").lower() != "bytes" or not equals:
        return None
    ranges: list[ByteRange] = []
    seen = 0
    for spec in rest.split(","):
        spec = spec.strip(" \t")
        if not spec:
            continue
        seen += 1
        match = _SPEC.fullmatch(spec)
        if match is None or seen > MAX_SPECS:
            return None
        first, last = match.group(1), match.group(2)
        if not first and not last:
            return None
        if first:
            start = _number(first)
            end = _number(last) if last else size - 1
            if last and end < start:
                return None
        elif size == 0 and _number(last) > 0:
            # Satisfiable, but Content-Range has no words for it.
            return None
        else:
            start = max(size - _number(last), 0)
            end = size - 1
        if start < size:
            ranges.append(ByteRange(start, min(end, size - 1)))
    if not seen:
        return None
    merged = _merged(ranges)
    if len(merged) > MAX_RANGES:
        return None
    return merged if len(merged) < len(ranges) else ranges


def _number(digits: str) -> int:
    digits = digits.lstrip("0") or "0"
    return int(digits) if len(digits) <= _MAX_DIGITS else 10**_MAX_DIGITS


def _merged(ranges: list[ByteRange]) -> list[ByteRange]:
    merged: list[ByteRange] = []
    for current in sorted(ranges):
        if merged and current.first <= merged[-1].last + 1:
            merged[-1] = ByteRange(merged[-1].first, max(merged[-1].last, current.last))
        else:
            merged.append(current)
    return merged


def content_range(part: ByteRange, size: int) -> str:
    """Return the value of Content-Range for one part (RFC 9110 14.4)."""
    return f"bytes {part.first}-{part.last}/{size}"


def unsatisfied_range(size: int) -> str:
    """Return the value of Content-Range for status 416."""
    return f"bytes */{size}"


def new_boundary() -> str:
    """Return a boundary that nobody can have put into a file beforehand."""
    return secrets.token_hex(16)


def multipart(ranges: list[ByteRange], size: int, content_type: str, boundary: str) -> list[bytes | ByteRange]:
    """Return the body of a multipart/byteranges answer (RFC 9110 14.6), in order.

    The bytes are to be sent as they are, the ranges are to be taken from the representation.

    Args:
        content_type: the representation's own.
        boundary: also to be named in the answer's "Content-Type: multipart/byteranges; boundary=...".
    """
    pieces: list[bytes | ByteRange] = []
    line_end = ""
    for part in ranges:
        head = (
            f"{line_end}--{boundary}\r\nContent-Type: {content_type}\r\n"
            f"Content-Range: {content_range(part, size)}\r\n\r\n"
        )
        pieces += [head.encode("ascii"), part]
        line_end = "\r\n"
    pieces.append(f"\r\n--{boundary}--\r\n".encode("ascii"))
    return pieces
