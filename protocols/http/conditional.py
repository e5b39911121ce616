"""Conditional requests (RFC 9110 13): does the client have it already, or would it overwrite what it never saw?

Pure functions of the request's fields and of what is known about the representation chosen for it. As RFC 9110
13.2.1 asks, call them last, when the answer would otherwise be a success.

Dates are whole seconds since 1970 UTC, as Last-Modified shows them.
"""

from __future__ import annotations

import re
import typing

from protocols.http.dates import parse_date

if typing.TYPE_CHECKING:
    from protocols.http.headers import Headers

__all__ = [
    "MAX_TAGS",
    "EntityTag",
    "failed_precondition",
    "parse_entity_tag",
    "parse_entity_tags",
    "range_allowed",
]

# Entity tags in one field. A cache keeps a few variants of a resource, not hundreds.
MAX_TAGS = 200

# RFC 9110 8.8.3: any visible octet but the quotation mark, and no escapes.
_TAG = re.compile('(W/)?("[\x21\x23-\x7e\x80-\xff]*")')
_SEPARATOR = re.compile("[ \t]*(?:,[ \t,]*|\\Z)")
# A file may change twice in the second its date names, so this date tells versions apart only when it is over.
_STRONG_AFTER = 2  # seconds


class EntityTag(typing.NamedTuple):
    """A name for one version of a representation. `text` is opaque and keeps its quotation marks."""

    text: str
    weak: bool = False

    def __str__(self) -> str:
        """Return it as a field value."""
        return "W/" + self.text if self.weak else self.text

    def matches_strongly(self, other: EntityTag) -> bool:
        """Return whether both are the same octets (RFC 9110 8.8.3.2)."""
        return not self.weak and not other.weak and self.text == other.text

    def matches_weakly(self, other: EntityTag) -> bool:
        """Return whether one may stand for the other (RFC 9110 8.8.3.2)."""
        return self.text == other.text


def parse_entity_tag(value: str) -> EntityTag | None:
    """Return the one entity tag that `value` is, or None."""
    match = _TAG.fullmatch(value)
    return EntityTag(match.group(2), match.group(1) is not None) if match is not None else None


def parse_entity_tags(value: str) -> list[EntityTag] | None:
    """Return the entity tags of an If-Match or If-None-Match field, or None if it is malformed or too long.

    Empty members of the list are skipped (RFC 9110 5.6.1.2); "*" is not a list: ask for it first.
    """
    tags: list[EntityTag] = []
    position = len(value) - len(value.lstrip(" \t,"))
    while position < len(value):
        match = _TAG.match(value, position)
        if match is None or len(tags) >= MAX_TAGS:
            return None
        tags.append(EntityTag(match.group(2), match.group(1) is not None))
        separator = _SEPARATOR.match(value, match.end())
        if separator is None:
            return None
        position = separator.end()
    return tags or None


def failed_precondition(
    method: str, headers: Headers, etag: EntityTag | None, modified: int | None, exists: bool = True
) -> int | None:
    """Return the status that the request's preconditions call for, or None to go on (RFC 9110 13.2.2).

    A malformed If-Match is never true; a malformed If-None-Match is true for GET and HEAD, whose client then
    gets everything, and false for methods that change something. Malformed dates are ignored (RFC 9110
    13.1.3, 13.1.4).

    Args:
        etag: of the current representation; None if it has none.
        modified: its date of change, likewise.
        exists: whether there is a current representation.

    Returns:
        304 (its client has it), 412 (the precondition failed) or None.
    """
    reading = method in {"GET", "HEAD"}
    if_match = headers.get("if-match")
    if if_match is not None:
        if not _names_current(if_match, etag, exists, strongly=True):
            return 412
    else:
        unmodified_since = _date(headers, "if-unmodified-since")
        if unmodified_since is not None and modified is not None and modified > unmodified_since:
            return 412
    if_none_match = headers.get("if-none-match")
    if if_none_match is not None:
        if not reading and if_none_match.strip(" \t") != "*" and parse_entity_tags(if_none_match) is None:
            return 412
        if _names_current(if_none_match, etag, exists, strongly=False):
            return 304 if reading else 412
    elif reading:
        modified_since = _date(headers, "if-modified-since")
        if modified_since is not None and modified is not None and modified <= modified_since:
            return 304
    return None


def _names_current(value: str, etag: EntityTag | None, exists: bool, strongly: bool) -> bool:
    if value.strip(" \t") == "*":
        return exists
    tags = parse_entity_tags(value)
    if tags is None or etag is None:
        return False
    if strongly:
        return any(tag.matches_strongly(etag) for tag in tags)
    return any(tag.matches_weakly(etag) for tag in tags)


def _date(headers: Headers, name: str) -> int | None:
    value = headers.get(name)
    return parse_date(value) if value is not None else None


def range_allowed(headers: Headers, etag: EntityTag | None, modified: int | None, now: int) -> bool:
    """Return whether If-Range lets a Range field count (RFC 9110 13.1.5).

    It does when it is absent, or names exactly the version that we have, by a strong validator. If not, the
    whole representation must be sent.

    Args:
        now: the time of day, in seconds since 1970 UTC.
    """
    value = headers.get("if-range")
    if value is None:
        return True
    tag = parse_entity_tag(value)
    if tag is not None:
        return etag is not None and tag.matches_strongly(etag)
    date = parse_date(value)
    return date is not None and date == modified and now - date >= _STRONG_AFTER
