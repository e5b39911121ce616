"""How log records are written: one line each, nothing from a client taken at its word, no secret shown.

What a peer sends may hold line breaks (to forge records), escape sequences (to act on the terminal of whoever
reads the log) or characters that turn the direction of text. `escaped` makes all of them visible. `masked`
hides what follows the words that usually announce a secret; a formatter also hides the secrets it was told of.
"""

from __future__ import annotations

import json
import logging
import re
import time
import typing

from portable.errors import FrameworkError

if typing.TYPE_CHECKING:
    import types
    from collections.abc import Iterable

__all__ = ["MAX_MESSAGE", "JSONFormatter", "TextFormatter", "escaped", "masked"]

# Characters of one record; the rest is cut off, so that one request cannot fill the disk.
MAX_MESSAGE = 16384
# Shorter secrets are not searched for: hiding every "a" helps nobody.
MIN_SECRET = 4
MASK = "***"

# C0 and C1 controls, zero-width and direction marks, line and paragraph separators, the byte order mark, halves
# of surrogate pairs.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]"
)
_SECRETS = re.compile(
    # A header with credentials, whatever its scheme, to the end of the line.
    r"\b((?:proxy-)?authorization|(?:set-)?cookie)([\"']?\s*[:=]\s*)[^\r\n]+"
    # The commands that carry a password: PASS x (FTP, POP3, IRC), AUTH PLAIN x, AUTHINFO PASS x.
    r"|\b(PASS|AUTH\s+[A-Z0-9-]+)(\s+)[^\r\n\s][^\r\n]*"
    # password=x, "token": "x".
    r"|\b(password|passwd|passphrase|secret|token|api[-_]?key)([\"']?\s*[:=]\s*[\"']?)[^\s\"'&;,}]+"
    # scheme://user:x@host
    r"|(://[^\s/:@]*)(:)[^\s/@]+(?=@)",
    re.IGNORECASE,
)
# As `_SECRETS` alternates: the command words are commands only in capitals, "pass the salt" is not one.
_COMMAND_GROUP = 3


def escaped(text: str) -> str:
    """Return `text` on one line; what could deceive a reader is written as the likes of `(backslash)x1b`."""
    return _UNSAFE.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    code = ord(found.group())
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def masked(text: str, secrets: Iterable[str] = ()) -> str:
    """Return `text` with "***" in the place of `secrets`, and of what looks like one: what follows
    `Authorization:`, `Cookie:`, `PASS`, `AUTH PLAIN`, `password=` and the like, and the password of a URL.
    """
    for secret in secrets:
        if len(secret) >= MIN_SECRET:
            text = text.replace(secret, MASK)
    return _SECRETS.sub(_mask, text)


def _mask(found: re.Match[str]) -> str:
    command = found.group(_COMMAND_GROUP)
    if command is not None and not command[:4].isupper():
        return found.group()
    word = [group for group in found.groups() if group is not None]
    return word[0] + word[1] + MASK


class _Formatter(logging.Formatter):
    """What both forms have in common. `secrets` are hidden wherever they appear."""

    def __init__(self, secrets: Iterable[str] = (), *, tracebacks: bool = True) -> None:
        super().__init__()
        self._secrets = tuple(secrets)
        self._tracebacks = tracebacks

    def message_of(self, record: logging.LogRecord) -> str:
        """Return the message, safe to show."""
        try:
            text = record.getMessage()
        except Exception as error:  # noqa: BLE001 - a call that logs wrongly must not lose what it meant to say
            text = f"{record.msg!r} {record.args!r} (cannot be formatted: {error})"
        text = self._safe(text)
        if len(text) > MAX_MESSAGE:
            text = f"{text[:MAX_MESSAGE]}... ({len(text)} characters)"
        return text

    def traceback_of(self, record: logging.LogRecord) -> list[str]:
        """Return the lines of the exception that belongs to `record`, safe to show."""
        if not record.exc_info or record.exc_info[1] is None:
            return []
        if not self._tracebacks:
            error = record.exc_info[1]
            return [self._safe(f"{type(error).__name__}: {error}{_place(error, record.exc_info[2])}")]
        return [self._safe(line) for line in self.formatException(record.exc_info).split("\n")]

    def _safe(self, text: str) -> str:
        return escaped(masked(text, self._secrets))


def _place(error: BaseException, trace: types.TracebackType | None) -> str:
    """Return " (FILE, line NUMBER)" for the place that raised `error`.

    Nothing for our own errors, whose text says it all, and for those of syntax, whose text has the place.
    """
    if trace is None or isinstance(error, (FrameworkError, SyntaxError)):
        return ""
    while trace.tb_next is not None:
        trace = trace.tb_next
    return f" ({trace.tb_frame.f_code.co_filename}, line {trace.tb_lineno})"


class TextFormatter(_Formatter):
    """`2026-11-23 23:31:02.123Z info    portable.commands: listening: web tcp 127.0.0.1:8080`.

    The lines of a traceback follow, each behind "  | ", which no record begins with.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the record's line, or lines, without the last line break."""
        clock = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(record.created))
        head = f"{clock}.{int(record.msecs):03d}Z {record.levelname.lower():<7} {self._safe(record.name)}"
        lines = [f"{head}: {self.message_of(record)}"]
        lines.extend(f"  | {line}" for line in self.traceback_of(record))
        return "\n".join(lines)


class JSONFormatter(_Formatter):
    """One JSON object a line: time (RFC 3339), level, logger, message, and exception where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record's line without the line break. Pure ASCII."""
        clock = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        entry = {
            "time": f"{clock}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": self._safe(record.name),
            "message": self.message_of(record),
        }
        trace = self.traceback_of(record)
        if trace:
            entry["exception"] = "\n".join(trace)
        return json.dumps(entry)
