"""The options of a server kind, declared once.

From one `Option` come the flag of `mktap` and its line of `--help`, the field of the `.tap` file, and the check
of both. Its name is the same everywhere: "max-connections" is the flag `--max-connections`, the field
`"max-connections"` and the key in the mapping that `Kind.make_service` gets.

Types, what a person writes, and the value that a service gets:

    str, choice      text                                             str
    int, float       a number                                         int, float
    bool             --name / --no-name                               bool
    path             a path, relative to the folder mktap runs in     str, absolute
    port             0 (any free one) to 65535                        int
    size             "4096", "64k", "10M", "1G" (powers of 1024)      int, bytes
    duration         "10", "500ms", "10s", "5m", "2h", "1d"           float, seconds
    endpoint         where to listen: "tcp:8080:interface=127.0.0.1"  str, checked
    client-endpoint  where to connect: "tcp:host:port"                str, checked
    network          "10.0.0.0/8", "::1", or one of the choices       str, normalised
    interface        an IP address, "localhost", "" for every one     str
    account          "NAME:PASSWORD" or "NAME:HASH"                   str, "NAME:HASH"
    password         a password, or its hash                          str, the hash

Files named in an endpoint are made absolute as a path is.

An option that was not given and has no default is None; a repeatable one is a tuple, () when not given.
"""

from __future__ import annotations

import ipaddress
import os
import re
import typing
from dataclasses import dataclass, replace

from portable import endpoints
from portable.errors import ConfigurationError
from portable.passwords import normal_account, split_account

if typing.TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from portable.service import Service

__all__ = ["TYPES", "Kind", "Option", "check_values", "format_duration", "format_size"]

TYPES = (
    "str",
    "int",
    "float",
    "bool",
    "path",
    "port",
    "size",
    "duration",
    "choice",
    "endpoint",
    "client-endpoint",
    "network",
    "interface",
    "account",
    "password",
)
# Characters. Long enough for any path; a .tap is no place for documents.
MAX_TEXT = 4096
MAX_REPEATS = 1000

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*\Z")
_UNUSABLE = re.compile("[\x00\ud800-\udfff]")
_SIZE = re.compile(r"([0-9]{1,18})([kKmMgG]?)(?:i?[bB])?\Z")
_SIZE_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_DURATION = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,6})?)(ms|s|m|h|d)?\Z")
_DURATION_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
# In front of a password alone, which is checked as that of an account.
_ANYBODY = "anybody"
# Beyond what any counter holds, and what every number type still takes.
_HUGE = 1 << 63
_TEXT_TYPES = (
    "str",
    "choice",
    "path",
    "endpoint",
    "client-endpoint",
    "network",
    "interface",
    "account",
    "password",
)


@dataclass(frozen=True)
class Option:
    """One option of a server kind.

    Attributes:
        name: lower-case words joined by hyphens.
        type: one of TYPES.
        default: the value when it is not given, of the type; None for "nothing"; a tuple if repeatable.
        help: one line, without the default and the unit, which are added.
        short: one letter, for "-p"; "" for none. "h" is taken by help.
        metavar: how help calls the value; "" for one that goes with the type.
        repeatable: may be given several times; the value is a tuple.
        secret: never shown in a log or a listing.
        choices: the words allowed where type is "choice", and beside networks where it is "network".
        minimum, maximum: limits of a number, inclusive.
        unit: what a number counts, for help: "seconds", "bytes", "connections".
        required: must be given.
        unless: the name of another option: if that one is given, there is no default.
        must_exist: a path that must be there and readable when the file is made and when it is run.
        writes: a path at which a file may be made, whose folder must be there likewise.
    """

    name: str
    type: str
    default: typing.Any
    help: str
    short: str = ""
    metavar: str = ""
    repeatable: bool = False
    secret: bool = False
    choices: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    unit: str = ""
    required: bool = False
    unless: str = ""
    must_exist: bool = False
    writes: bool = False

    def __post_init__(self) -> None:
        """Refuse a declaration that cannot work: ValueError, a bug of the kind's author."""
        if _NAME.match(self.name) is None:
            raise ValueError(f"option {self.name!r}: a name is lower-case words joined by hyphens")
        if self.type not in TYPES:
            raise ValueError(f"option {self.name!r}: unknown type {self.type!r}")
        if self.short and (len(self.short) != 1 or not self.short.isalpha() or self.short == "h"):
            raise ValueError(f"option {self.name!r}: {self.short!r} cannot be a short flag")
        if self.type != "network" and (self.type == "choice") != bool(self.choices):
            raise ValueError(f"option {self.name!r}: choices go with type 'choice'")
        if self.type == "bool" and (self.repeatable or self.default not in (True, False)):
            raise ValueError(f"option {self.name!r}: a bool is True or False, once")
        if self.repeatable and not isinstance(self.default, tuple):
            raise ValueError(f"option {self.name!r}: the default of a repeatable option is a tuple")
        if self.type in {"account", "password"} and not self.secret:
            raise ValueError(f"option {self.name!r}: an account or a password is secret")
        if (self.must_exist or self.writes) and self.type != "path":
            raise ValueError(f"option {self.name!r}: only a path can be asked to exist, or be written")

    def parse(self, text: str, where: str = "") -> typing.Any:
        """Return the value that a person wrote as `text` (one of them, if repeatable).

        Raises:
            ConfigurationError: it is none; `where` (by default the flag) names the place.
        """
        where = where or f"--{self.name}"
        # The system's functions for paths and names raise errors of their own for such text.
        _check_usable(text, where)
        value: typing.Any = text
        if self.type in {"int", "port"}:
            if re.match(r"[+-]?[0-9]{1,18}\Z", text) is None:
                raise ConfigurationError(f"{text!r} is not a whole number", where)
            value = int(text)
        elif self.type == "float":
            if re.match(r"[+-]?[0-9]{1,18}(\.[0-9]{1,18})?\Z", text) is None:
                raise ConfigurationError(f"{text!r} is not a number", where)
            value = float(text)
        elif self.type == "size":
            value = _parse_size(text, where)
        elif self.type == "duration":
            value = _parse_duration(text, where)
        elif self.type == "bool":
            if text.lower() not in {"true", "false", "yes", "no", "1", "0"}:
                raise ConfigurationError(f"{text!r} is neither true nor false", where)
            value = text.lower() in {"true", "yes", "1"}
        elif self.type == "path":
            if not text:
                raise ConfigurationError("the path is empty", where)
            value = _absolute(text)
        elif self.type in {"endpoint", "client-endpoint"}:
            value = _absolute_endpoint(text, self.type, where)
        elif self.type == "account":
            value = _account(text, where)
        elif self.type == "password":
            value = _account(f"{_ANYBODY}:{text}", where).removeprefix(f"{_ANYBODY}:")
        return self._check_one(value, where)

    def check(self, value: typing.Any, where: str) -> typing.Any:
        """Return `value`, as it stands in a `.tap` file, as the value that a service gets.

        Raises:
            ConfigurationError: wrong type or beyond a limit; `where` names the place.
        """
        if value is None:
            if self.required:
                raise ConfigurationError("a value is needed", where)
            if self.default is not None:
                raise ConfigurationError(f"null is no {self.type}", where)
            return None
        if not self.repeatable:
            return self._check_one(value, where)
        if not isinstance(value, (list, tuple)):
            # In a file made before the option became repeatable.
            return (self._check_one(value, where),)
        if len(value) > MAX_REPEATS:
            raise ConfigurationError(f"more than {MAX_REPEATS} values", where)
        if self.required and not value:
            raise ConfigurationError("at least one value is needed", where)
        return tuple([self._check_one(one, f"{where}[{index}]") for index, one in enumerate(value)])

    def _check_one(self, value: typing.Any, where: str) -> typing.Any:
        if self.type == "bool":
            if not isinstance(value, bool):
                raise ConfigurationError(f"expected true or false, got {_json_type(value)}", where)
            return value
        if self.type in _TEXT_TYPES:
            return self._check_text(value, where)
        whole = self.type in {"int", "port", "size"}
        if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
            wanted = "a whole number" if whole else "a number"
            raise ConfigurationError(f"expected {wanted}, got {_json_type(value)}", where)
        low, high = self.limits()
        if not abs(value) < _HUGE and value - value == 0:
            raise ConfigurationError("the number is too large", where)
        # Written so that NaN, which is neither below nor above, is refused too.
        if not ((low is None or value >= low) and (high is None or value <= high)) or value - value != 0:
            raise ConfigurationError(f"{value} is not {_range_text(low, high)}", where)
        return value if whole else float(value)

    def _check_text(self, value: typing.Any, where: str) -> str:
        if not isinstance(value, str):
            raise ConfigurationError(f"expected a text, got {_json_type(value)}", where)
        if len(value) > MAX_TEXT:
            raise ConfigurationError(f"longer than {MAX_TEXT} characters", where)
        _check_usable(value, where)
        if self.type == "choice" and value not in self.choices:
            raise ConfigurationError(f"{value!r} is none of {', '.join(self.choices)}", where)
        if self.type == "path" and not os.path.isabs(value):
            raise ConfigurationError(f"{value!r} is not an absolute path", where)
        if self.type == "network":
            return value if value in self.choices else _check_network(value, where)
        if self.type == "interface":
            _check_interface(value, where)
        if self.type == "account":
            _check_account(value, where)
        if self.type == "password":
            _check_account(f"{_ANYBODY}:{value}", where)
        if self.type in {"endpoint", "client-endpoint"}:
            _parse_endpoint(value, self.type, where)
        return value

    def limits(self) -> tuple[float | None, float | None]:
        """Return the inclusive limits of a number, None for none: those declared, or those of the type."""
        low, high = self.minimum, self.maximum
        if self.type == "port":
            return (0 if low is None else low), (65535 if high is None else high)
        if self.type in {"size", "duration"}:
            return (0 if low is None else low), high
        return low, high

    def format(self, value: typing.Any) -> str:
        """Return `value` as a person would write it; stars if it is secret."""
        if self.secret:
            return "***"
        if isinstance(value, tuple):
            return ", ".join([self.format(one) for one in value])
        if self.type == "bool":
            return "yes" if value else "no"
        if self.type == "size":
            return format_size(value)
        if self.type == "duration":
            return format_duration(value)
        return f"{value:g}" if self.type == "float" else str(value)


@dataclass(frozen=True)
class Kind:
    """One kind of server: what `mktap NAME` makes and `twistd` runs.

    Attributes:
        name: the word after `mktap`.
        version: of the meaning of the options; raised when old files can no longer be read as they are.
        summary: one line for `mktap --list`.
        options: in the order of `--help`.
        make_service: makes the service from the checked values of all options. Opens nothing: `Service.bind`
            and `Service.start` do that, perhaps with another root folder. Raises ConfigurationError for values
            that make no sense, alone or together.
        check: looks at the machine when the file is made and before it is run: whether a file can be used,
            say. Raises ConfigurationError.
    """

    name: str
    version: int
    summary: str
    options: tuple[Option, ...]
    make_service: Callable[[Mapping[str, typing.Any]], Service]
    check: Callable[[Mapping[str, typing.Any]], object] | None = None

    def __post_init__(self) -> None:
        """Refuse a declaration that cannot work: ValueError, a bug of the kind's author."""
        if _NAME.match(self.name) is None:
            raise ValueError(f"kind {self.name!r}: a name is lower-case words joined by hyphens")
        flags: set[str] = set()
        for option in self.options:
            names = [option.name, "no-" + option.name] if option.type == "bool" else [option.name]
            for flag in names + ([option.short] if option.short else []):
                if flag in flags:
                    raise ValueError(f"kind {self.name!r}: two options are called {flag!r}")
                flags.add(flag)

    def option(self, name: str) -> Option:
        """Return the option called `name`.

        Raises:
            KeyError: there is none.
        """
        for option in self.options:
            if option.name == name:
                return option
        raise KeyError(name)


def check_values(
    options: tuple[Option, ...], values: Mapping[str, typing.Any], where: str = "options"
) -> dict[str, typing.Any]:
    """Return the value of every option, from `values` or by default.

    Raises:
        ConfigurationError: an unknown name, a missing one that is required, or a wrong value; its `where`
            names the field, such as "services[0].options.port".
    """
    known = {option.name for option in options}
    for name in values:
        if name not in known:
            raise ConfigurationError("there is no such option", f"{where}.{_shown_name(name)}")
    checked: dict[str, typing.Any] = {}
    for option in options:
        place = f"{where}.{option.name}"
        if option.name in values:
            checked[option.name] = option.check(values[option.name], place)
        elif option.required:
            raise ConfigurationError("this option is required", place)
        elif option.unless and option.unless in values:
            checked[option.name] = () if option.repeatable else None
        else:
            checked[option.name] = option.default
    return checked


def format_size(count: int) -> str:
    """Return a number of bytes as "64k", in the largest unit that divides it."""
    for unit, factor in (("G", 1 << 30), ("M", 1 << 20), ("k", 1 << 10)):
        if count and count % factor == 0:
            return f"{count // factor}{unit}"
    return str(count)


def format_duration(seconds: float) -> str:
    """Return seconds as "10s", "5m" or "1.5s": in the largest unit that divides them."""
    for unit, factor in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds and seconds % factor == 0:
            return f"{int(seconds // factor)}{unit}"
    return f"{seconds:.12g}s"


def _parse_size(text: str, where: str) -> int:
    found = _SIZE.match(text)
    if found is None:
        raise ConfigurationError(f"{text!r} is not a size such as 4096, 64k or 10M", where)
    return int(found.group(1)) * _SIZE_UNITS[found.group(2).lower()]


def _parse_duration(text: str, where: str) -> float:
    found = _DURATION.match(text)
    if found is None:
        raise ConfigurationError(f"{text!r} is not a time such as 10, 500ms, 10s or 5m", where)
    return float(found.group(1)) * _DURATION_UNITS[found.group(2) or "s"]


def _check_usable(text: str, where: str) -> None:
    if _UNUSABLE.search(text) is not None:
        raise ConfigurationError("has a NUL character, or bytes that are no UTF-8", where)


def _check_network(text: str, where: str) -> str:
    try:
        return str(ipaddress.ip_network(text))
    except ValueError as error:
        try:
            advice = f"; {ipaddress.ip_network(text, strict=False)} is one"
        except ValueError:
            advice = " such as 10.0.0.0/8"
        raise ConfigurationError(f"{text!r} is no IP network{advice}", where) from error


def _check_interface(text: str, where: str) -> None:
    if text in {"", "localhost"}:
        return
    try:
        ipaddress.ip_address(text)
    except ValueError as error:
        raise ConfigurationError(f"{text!r} is neither an IP address nor localhost", where) from error


def _account(text: str, where: str) -> str:
    try:
        return normal_account(text)
    except ConfigurationError as error:
        raise ConfigurationError(str(error), where) from error


def _check_account(value: str, where: str) -> None:
    try:
        _, hashed = split_account(value)
    except ConfigurationError as error:
        raise ConfigurationError(str(error), where) from error
    if not hashed.startswith("$scrypt$"):
        # Someone typed it into the file, which may be read by more people than they think.
        raise ConfigurationError("the password is in clear; mktap --hash-password makes a hash of it", where)


def _absolute(text: str) -> str:
    return os.path.abspath(os.path.expanduser(text))


def _parse_endpoint(text: str, kind: str, where: str) -> typing.Any:
    try:
        return endpoints.parse_endpoint(text) if kind == "endpoint" else endpoints.parse_client_endpoint(text)
    except ConfigurationError as error:
        raise ConfigurationError(str(error), where) from error


def _absolute_endpoint(text: str, kind: str, where: str) -> str:
    endpoint = _parse_endpoint(text, kind, where)
    changes: dict[str, typing.Any] = {}
    for name in ("path", "certificate", "privkey", "clientca", "ca"):
        value = getattr(endpoint, name, "")
        # A leading NUL or "@" would name an abstract socket, which has no folder.
        if value and value[0] != "@":
            changes[name] = _absolute(value)
    if isinstance(endpoint, endpoints.TLSEndpoint):
        changes["others"] = tuple(
            [
                (_absolute(certificate), privkey and _absolute(privkey))
                for certificate, privkey in endpoint.others
            ]
        )
    return str(replace(endpoint, **changes))


def _json_type(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, (int, float)):
        return "a number"
    if isinstance(value, str):
        return "a text"
    return "an object" if isinstance(value, dict) else "a list"


def _shown_name(name: str) -> str:
    # A name from a damaged file may be anything; the message stays one line.
    return name if _NAME.match(name) else repr(name[:60])


def _range_text(low: float | None, high: float | None) -> str:
    if low is None and high is None:
        return "finite"
    if high is None:
        return f"{low:g} or more"
    return f"{high:g} or less" if low is None else f"from {low:g} to {high:g}"
