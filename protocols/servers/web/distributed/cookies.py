"""Cookies between a Set-Cookie field and the call of `addCookie` (RFC 6265 4.1.1)."""

from __future__ import annotations

import re
import typing

from protocols.pb import Error

__all__ = ["cookie_call", "set_cookie"]

# RFC 6265 4.1.1, and what browsers send anyway: no control characters, and nothing that ends a value.
_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(rb"[\x20-\x3a\x3c-\x7e\x80-\xff]*")
# The names of the attributes, and those of addCookie's arguments.
_ATTRIBUTES = {
    "expires": "expires",
    "domain": "domain",
    "path": "path",
    "max-age": "max_age",
    "comment": "comment",
    "samesite": "sameSite",
}
_FLAGS = {"secure": "secure", "httponly": "httpOnly"}
_SPELLINGS = {
    "expires": "Expires",
    "domain": "Domain",
    "path": "Path",
    "max_age": "Max-Age",
    "comment": "Comment",
    "sameSite": "SameSite",
}


def cookie_call(field: str) -> tuple[tuple[bytes, bytes], dict[str, typing.Any]]:
    """Return the arguments of addCookie for the value of a Set-Cookie field. Others are dropped."""
    parts = [part.strip(" \t") for part in field.split(";")]
    name, _, value = parts[0].partition("=")
    words: dict[str, typing.Any] = {}
    for part in parts[1:]:
        attribute, _, text = part.partition("=")
        lower = attribute.lower()
        if lower in _FLAGS:
            words[_FLAGS[lower]] = True
        elif lower in _ATTRIBUTES:
            words[_ATTRIBUTES[lower]] = text.encode("latin-1")
    return (name.encode("latin-1"), value.encode("latin-1")), words


def set_cookie(name: object, value: object, words: dict[str, object]) -> str:
    """Return the value of the Set-Cookie field that a call of addCookie means.

    Raises:
        Error: a part of it could break out of its place.
    """
    if not isinstance(name, bytes) or not _NAME.fullmatch(name):
        raise Error("the name of a cookie is not a token")
    parts = [name + b"=" + _part(value)]
    for word in sorted(words):
        given = words[word]
        if word in _SPELLINGS:
            if given is not None:
                parts.append(_SPELLINGS[word].encode("ascii") + b"=" + _part(given))
        elif word == "secure" and given:
            parts.append(b"Secure")
        elif word == "httpOnly" and given:
            parts.append(b"HttpOnly")
    return b"; ".join(parts).decode("latin-1")


def _part(value: object) -> bytes:
    if isinstance(value, str):
        value = value.encode("utf-8", "replace")
    elif isinstance(value, int):
        value = str(value).encode("ascii")
    if not isinstance(value, bytes) or not _VALUE.fullmatch(value):
        raise Error("a part of a cookie has a semicolon or a control character")
    return value
