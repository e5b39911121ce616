"""The grammar of a request's lines (RFC 9112 3 and 5): checks that name the rule which a line breaks."""

from __future__ import annotations

import re

from protocols.http.rules import RefusedRequest

__all__ = [
    "HEAD_FIELDS",
    "METHODS",
    "PLAIN_REQUEST_LINE",
    "check_field_line",
    "check_host",
    "check_request_line",
    "content_length",
    "refuse_transfer_coding",
    "split_absolute",
    "strip_line_end",
]

# RFC 9110 9, RFC 5789. What is not here gets status 501. CONNECT is no method of an origin server.
METHODS = frozenset(["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"])

_TCHAR = r"!#$%&'*+\-.^_`|~0-9A-Za-z"
# Visible ASCII without what nobody sends unescaped: quotes, angle brackets and the fragment sign. Braces,
# backslash and bars are not allowed by RFC 3986 either, but browsers do send them in queries.
_TARGET = r"!$-;=?-~"

# The two patterns of the quick path: what they accept, the checks below would accept too.
PLAIN_REQUEST_LINE = re.compile(rf"(GET|HEAD|POST|PUT|DELETE|OPTIONS|PATCH) (/[{_TARGET}]*) HTTP/1\.([01])")
HEAD_FIELDS = re.compile(rf"(?:[{_TCHAR}]+:[\t -~\x80-\xff]*\r\n)*")

_TOKEN = re.compile(rf"[{_TCHAR}]+")
_TARGET_CHARACTERS = re.compile(rf"[{_TARGET}]+")
_VERSION = re.compile(r"HTTP/([0-9])\.([0-9])")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_CONTROL_BUT_TAB = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
# RFC 3986 3.2.2 allows more in a name, none of which DNS or a certificate knows, and some of which is markup.
_HOST = re.compile(r"(?:[0-9A-Za-z_](?:[0-9A-Za-z._-]*)|\[[0-9A-Fa-f:.]{2,45}\])(?::([0-9]{1,5}))?")
_ABSOLUTE = re.compile(r"https?://([^/?]*)([/?].*)?", re.IGNORECASE)
# 18 digits hold every length there is, and fit in 64 bits wherever they are read (CVE-2022-24801).
_LENGTH = re.compile(r"[0-9]{1,18}")
_CODINGS = re.compile(rf"[{_TCHAR}]+(?:[ \t]*,[ \t]*[{_TCHAR}]+)*")


def strip_line_end(line: str) -> str:
    """Return `line`, which has lost its LF, without its CR.

    Raises:
        RefusedRequest: it does not end in CR, or has another one inside.
    """
    if line[-1:] != "\r":
        raise RefusedRequest("bare-lf")
    line = line[:-1]
    if "\r" in line:
        raise RefusedRequest("bare-cr")
    return line


def check_request_line(line: str) -> tuple[str, str, int]:
    """Return method, target and minor version.

    Raises:
        RefusedRequest: naming the first rule that the line breaks.
    """
    if not line:
        raise RefusedRequest("empty-line")
    if _CONTROL.search(line):
        raise RefusedRequest("control-character")
    parts = line.split(" ")
    if len(parts) == 2 and "" not in parts:
        raise RefusedRequest("version-missing")
    if len(parts) != 3 or "" in parts:
        raise RefusedRequest("request-line")
    method, target, version = parts
    if not _TOKEN.fullmatch(method):
        raise RefusedRequest("method-syntax")
    found = _VERSION.fullmatch(version)
    if not found:
        raise RefusedRequest("version-syntax")
    if found.group(1) != "1":
        raise RefusedRequest("version-unsupported")
    if method == "CONNECT":
        raise RefusedRequest("target-authority")
    if method not in METHODS:
        raise RefusedRequest("method-unknown")
    if not _TARGET_CHARACTERS.fullmatch(target):
        raise RefusedRequest("target-character")
    if target == "*":
        if method != "OPTIONS":
            raise RefusedRequest("target-asterisk")
    elif target[0] != "/":
        absolute = _ABSOLUTE.fullmatch(target)
        if not absolute or not _valid_host(absolute.group(1)):
            raise RefusedRequest("target-form")
    # RFC 9110 2.5: a higher minor version is spoken as the highest one known.
    return method, target, min(int(found.group(2)), 1)


def check_field_line(line: str) -> tuple[str, str]:
    """Return name, in lower case, and value of a header field or trailer.

    Raises:
        RefusedRequest: naming the first rule that the line breaks.
    """
    if line[:1] in {" ", "\t"}:
        raise RefusedRequest("header-folded")
    if _CONTROL_BUT_TAB.search(line):
        raise RefusedRequest("control-character")
    name, colon, value = line.partition(":")
    if not colon:
        raise RefusedRequest("header-no-colon")
    if name[-1:] in {" ", "\t"}:
        raise RefusedRequest("header-name-space")
    if not _TOKEN.fullmatch(name):
        raise RefusedRequest("header-name")
    return name.lower(), value.strip(" \t")


def _valid_host(host: str) -> bool:
    found = _HOST.fullmatch(host)
    return found is not None and int(found.group(1) or 1) in range(1, 65536)


def check_host(host: str) -> str:
    """Return the value of a Host field in lower case.

    Raises:
        RefusedRequest: it is not a name or address (IPv6 in brackets), with or without a port.
    """
    if not _valid_host(host):
        raise RefusedRequest("host-syntax")
    return host.lower()


def split_absolute(target: str) -> tuple[str, str]:
    """Return authority, in lower case, and path with query of a target that is an http or https URL."""
    rest = target.partition("://")[2]
    authority = re.split("[/?]", rest, maxsplit=1)[0]
    rest = rest[len(authority) :]
    return authority.lower(), rest if rest[:1] == "/" else "/" + rest


def content_length(value: str) -> int:
    """Return the number in a Content-Length field.

    Raises:
        RefusedRequest: it is anything but up to 18 decimal digits.
    """
    if not _LENGTH.fullmatch(value):
        raise RefusedRequest("length-syntax")
    return int(value)


def refuse_transfer_coding(value: str) -> RefusedRequest:
    """Return why a Transfer-Encoding that is not just "chunked" is refused.

    RFC 9112 6.1 and 6.3: 501 for a well-formed list whose codings we do not know, as long as the body's end
    could be found; 400 otherwise.
    """
    if _CODINGS.fullmatch(value):
        codings = [coding.strip(" \t").lower() for coding in value.split(",")]
        if "chunked" not in codings[:-1] and len(codings) + (codings[-1] != "chunked") > 1:
            return RefusedRequest("transfer-coding-unknown")
    return RefusedRequest("transfer-coding-syntax")
