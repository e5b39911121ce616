"""The text of an endpoint string: fields by position, options by name, and how a colon is written in them.

See `portable.endpoints` for what they mean.
"""

from __future__ import annotations

import ipaddress
import typing

from portable.errors import ConfigurationError

if typing.TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["BACKLOG", "CONNECT_TIMEOUT", "Fields", "escape", "is_number", "pair_certificates"]

# Connections that may wait in the system's queue; as `Streams.listen`.
BACKLOG = 1024
# Seconds; as `Streams.connect`.
CONNECT_TIMEOUT = 30.0
# Of a time-out, before the point and behind it: down to a nanosecond.
TIMEOUT_DIGITS = 9
# The largest backlog that every system takes without cutting it off in silence.
MAX_BACKLOG = 65535

_COLONS = "write a value that has colons in brackets: [::1]"


def pair_certificates(
    certificates: Sequence[str], privkeys: Sequence[str], where: str
) -> list[tuple[str, str]]:
    """Return each certificate with its private key, "" for one in the same file.

    Raises:
        ConfigurationError: there are some keys, but not as many; `where` names the place.
    """
    if privkeys and len(privkeys) != len(certificates):
        raise ConfigurationError(
            "there must be as many privkey as certificate, or none if the keys are in those files", where
        )
    return list(zip(certificates, privkeys or [""] * len(certificates), strict=True))


class Fields:
    """The fields of one endpoint string: some by position, the rest `key=value`.

    Every method raises ConfigurationError, which says what is wrong and shows the string.
    """

    def __init__(self, text: str) -> None:
        self._where = f"endpoint {text!r}"
        self._fields = _split(text)
        self._options: dict[str, list[str]] | None = None

    def error(self, message: str) -> ConfigurationError:
        """Return the error to be raised."""
        return ConfigurationError(message, self._where)

    def take(self, what: str) -> str:
        """Return the next field by position, never empty."""
        value = _unescape(self._fields.pop(0)) if self._fields else ""
        if not value:
            raise self.error(f"{what} is missing")
        return value

    def option(self, key: str) -> str:
        """Return the value of an option, "" if it is not there. The fields by position were all taken."""
        values = self.options(key)
        if len(values) > 1:
            raise self.error(f"option {key!r} is given twice")
        return values[0] if values else ""

    def options(self, key: str) -> list[str]:
        """Return the values of an option that may be given several times."""
        if self._options is None:
            self._options = self._read_options()
        return self._options.pop(key, [])

    def _read_options(self) -> dict[str, list[str]]:
        options: dict[str, list[str]] = {}
        for field in self._fields:
            key, equals, value = field.partition("=")
            if not equals or not key:
                raise self.error(f"{field!r} is not of the form key=value; {_COLONS}")
            if not value:
                raise self.error(f"option {key!r} has no value; {_COLONS}")
            options.setdefault(key, []).append(_unescape(value))
        self._fields = []
        return options

    def finish(self) -> None:
        """Refuse whatever nobody has asked for."""
        self.option("")
        if self._options:
            raise self.error(f"unknown option {min(self._options)!r}")

    def number(self, text: str, what: str, lowest: int, highest: int) -> int:
        """Return the number that `text` is; `what` it is for."""
        if not is_number(text) or len(text) > 9 or not lowest <= int(text) <= highest:
            raise self.error(f"{what} must be a number from {lowest} to {highest}, not {text!r}")
        return int(text)

    def port(self, lowest: int = 0) -> int:
        """Return the next field by position, a port."""
        return self.number(self.take("a port"), "the port", lowest, 65535)

    def certificates(self) -> list[tuple[str, str]]:
        """Return the certificates, one at least, and for each its private key, "" for one in the same file."""
        certificates = self.options("certificate")
        if not certificates:
            raise self.error("tls needs a certificate: add :certificate=FILE")
        return pair_certificates(certificates, self.options("privkey"), self._where)

    def backlog(self) -> int:
        """Return the option of this name, BACKLOG without it."""
        text = self.option("backlog")
        return self.number(text, "backlog", 1, MAX_BACKLOG) if text else BACKLOG

    def flag(self, key: str) -> bool:
        """Return whether the option `key` is 1."""
        text = self.option(key)
        if text not in {"", "0", "1"}:
            raise self.error(f"{key} must be 0 or 1, not {text!r}")
        return text == "1"

    def path(self) -> str:
        """Return the next field by position, a path."""
        path = self.take("a path")
        if "\0" in path:
            raise self.error("a path cannot hold a NUL character")
        return path

    def mode(self) -> int | None:
        """Return the option of this name, permissions in octal; None without it."""
        text = self.option("mode")
        if not text:
            return None
        if len(text) > 4 or any(digit not in "01234567" for digit in text) or int(text, 8) > 0o777:
            raise self.error(f"mode must be octal permissions such as 660, not {text!r}")
        return int(text, 8)

    def interface(self) -> str:
        """Return the option of this name, an IP address or "localhost"; "" without it."""
        text = self.option("interface")
        if text in {"", "localhost"}:
            return text
        try:
            ipaddress.ip_address(text)
        except ValueError:
            raise self.error(
                f"interface must be an IP address of this machine, or localhost, not {text!r}"
            ) from None
        return text

    def timeout(self) -> float:
        """Return the option of this name, in seconds; CONNECT_TIMEOUT without it."""
        text = self.option("timeout")
        if not text:
            return CONNECT_TIMEOUT
        whole, _, part = text.partition(".")
        is_plain = is_number(whole) and (not part or is_number(part))
        if not is_plain or max(len(whole), len(part)) > TIMEOUT_DIGITS or float(text) <= 0:
            raise self.error(f"timeout must be a number of seconds above 0, not {text!r}")
        return float(text)


def is_number(text: str) -> bool:
    """Return whether `text` is nothing but ASCII digits."""
    return text.isascii() and text.isdigit()


def _split(text: str) -> list[str]:
    """Cut at the colons that are neither escaped nor inside a bracket; escapes stay in."""
    fields: list[str] = []
    start = 0
    at = 0
    may_open = True
    while at < len(text):
        character = text[at]
        if character == "\\":
            at += 1
            may_open = False
        elif character == ":":
            fields.append(text[start:at])
            start = at + 1
            may_open = True
        elif character == "[" and may_open and "]" in text[at:]:
            at = text.index("]", at)
            may_open = False
        else:
            may_open = character == "=" and "=" not in text[start:at]
        at += 1
    fields.append(text[start:])
    return fields


def _unescape(field: str) -> str:
    """Return what a field, or the value of an option, means."""
    if field[:1] == "[" and field[-1:] == "]" and len(field) > 1 and "]" not in field[:-1]:
        return field[1:-1]
    if "\\" not in field:
        return field
    characters: list[str] = []
    escaped = False
    for character in field:
        if character == "\\" and not escaped:
            escaped = True
        else:
            characters.append(character)
            escaped = False
    if escaped:
        characters.append("\\")
    return "".join(characters)


def escape(value: str) -> str:
    """Return `value` as it must stand in an endpoint string, as a field or after `=`."""
    return value.replace("\\", "\\\\").replace(":", "\\:").replace("[", "\\[")
