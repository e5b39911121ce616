"""Says whether two transcripts are the same, and shows a person where they are not."""

from __future__ import annotations

import difflib
import hashlib
import typing

if typing.TYPE_CHECKING:
    from ci.acceptance.record import Conversation, Transcript

__all__ = ["difference", "render"]

# Of a longer stream only so much around the first difference is shown. Bytes.
LONG = 262144
AROUND = 1024
# Characters.
WIDTH = 100
MAX_LINES = 200


def render(transcript: Transcript, other: Transcript | None = None) -> list[str]:
    """Return the transcript as lines of text; of long streams only the part that differs from `other`."""
    lines = []
    others = other.conversations if other else ()
    for number, each in enumerate(transcript.conversations):
        lines += _conversation(number + 1, each, others[number] if number < len(others) else None)
    if transcript.seen:
        lines.append("== what the client saw")
        lines += _stream(transcript.seen, other.seen if other else None)
    return lines


def difference(first: Transcript, second: Transcript, first_name: str, second_name: str) -> list[str]:
    """Return a unified diff; nothing where they are equal, byte for byte."""
    if first == second:
        return []
    ours, theirs = render(first, second), render(second, first)
    lines = list(difflib.unified_diff(ours, theirs, first_name, second_name, lineterm=""))
    if not lines:
        # Never let what a person cannot see pass for equal.
        lines = [f"--- {first_name}", f"+++ {second_name}", f"-{first!r}"[:WIDTH], f"+{second!r}"[:WIDTH]]
    if len(lines) > MAX_LINES:
        lines[MAX_LINES:] = [f"... and {len(lines) - MAX_LINES} more lines"]
    return lines


def _conversation(number: int, each: Conversation, other: Conversation | None) -> list[str]:
    lines = [f"== conversation {number}: {each.port} {each.protocol}"]
    for mark, pieces, others in (
        (">>", each.sent, other.sent if other else None),
        ("<<", each.received, other.received if other else None),
    ):
        for place, piece in enumerate(pieces):
            if piece or each.protocol == "udp":
                lines.append(f"{mark} {len(piece)} bytes")
                lines += _stream(piece, others[place] if others and place < len(others) else None)
    if each.end:
        lines.append(f"<< {each.end}")
    return lines


def _stream(data: bytes, other: bytes | None) -> list[str]:
    start, stop = 0, len(data)
    if len(data) > LONG:
        at = 0 if other is None else _first_difference(data, other)
        start, stop = max(0, at - AROUND), min(len(data), at + AROUND)
    lines = []
    if start:
        lines.append(f"   ... {start} bytes before, SHA-256 {hashlib.sha256(data[:start]).hexdigest()[:16]}")
    for line in data[start:stop].splitlines(keepends=True):
        text = "".join(chr(byte) if 32 <= byte < 127 and byte != 92 else _escape(byte) for byte in line)
        lines += ["   " + text[place : place + WIDTH] for place in range(0, len(text), WIDTH)]
    if stop < len(data):
        rest = data[stop:]
        lines.append(f"   ... {len(rest)} bytes after, SHA-256 {hashlib.sha256(rest).hexdigest()[:16]}")
    return lines


def _escape(byte: int) -> str:
    return {9: "\\t", 10: "\\n", 13: "\\r", 92: "\\\\"}.get(byte, f"\\x{byte:02x}")


def _first_difference(data: bytes, other: bytes) -> int:
    """Return the first place where they differ, by halving: bytes compare faster in one piece."""
    low, high = 0, min(len(data), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if data[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
