"""Choosing a content coding (RFC 9110 12.5.3)."""

from __future__ import annotations

import re

__all__ = ["accepted_codings"]

# Members looked at. Real clients send five.
MAX_MEMBERS = 50

_MEMBER = re.compile(
    "[ \t]*([!#$%&'*+.^_`|~0-9A-Za-z-]+)[ \t]*(?:;[ \t]*[qQ]=(0(?:\\.[0-9]{0,3})?|1(?:\\.0{0,3})?)[ \t]*)?"
)
# What old clients call it (RFC 9110 8.4.1.3).
_ALIASES = {"x-gzip": "gzip"}


def accepted_codings(value: str | None, offered: list[str]) -> list[str]:
    """Return which of `offered` a client takes rather than the file as it is, the preferred first.

    The quality counts first, then the order of `offered`. What the client likes less than "identity" is left
    out, and so is everything if it said nothing, or nothing that can be understood.

    Args:
        value: of the field Accept-Encoding; None if there is none.
        offered: content codings in lower case, without "identity".
    """
    qualities: dict[str, float] = {}
    for member in (value or "").split(",", MAX_MEMBERS)[:MAX_MEMBERS]:
        match = _MEMBER.fullmatch(member)
        if match is not None:
            coding = match.group(1).lower()
            qualities[_ALIASES.get(coding, coding)] = float(match.group(2) or 1)
    others = qualities.get("*", 0.0)
    identity = qualities.get("identity", 0.0)
    wanted = [(-qualities.get(coding, others), place) for place, coding in enumerate(offered)]
    return [offered[place] for quality, place in sorted(wanted) if quality < 0 and -quality >= identity]
