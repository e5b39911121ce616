"""The `.tap` file: which servers to run, with which options.

It is data, a JSON document, and reading one runs nothing that it says:

    {
      "format": "portable-tap",
      "version": 1,
      "uid": null,
      "gid": null,
      "services": [
        {"kind": "web", "version": 1, "options": {"path": "/srv/www", "port": 8080}}
      ]
    }

Only options that were given are in it. Everything that is unknown, missing, repeated or of the wrong type is
refused with the place where it stands, such as `services[0].options.port`.
"""

from __future__ import annotations

import json
import os
import typing
from dataclasses import dataclass, field

from portable import files
from portable.endpoints import TLSEndpoint, parse_endpoint
from portable.errors import ConfigurationError, FileError
from portable.kinds import find_kind
from portable.options import check_values

if typing.TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from portable.options import Kind
    from portable.service import Service

__all__ = ["MAX_SIZE", "Tap", "TapService", "format_tap", "load_tap", "make_entry", "parse_tap", "save_tap"]

FORMAT = "portable-tap"
VERSION = 1

# Bytes. A file with a thousand services of a kilobyte each; more is a mistake.
MAX_SIZE = 1024 * 1024
# The deepest place that means anything is services[0].options.listen[0].
MAX_DEPTH = 8
MAX_SERVICES = 1000

# What to do about a file that cannot be read, by the code of the error.
_ADVICE = {
    "ENOENT": "; mktap KIND --output FILE makes one",
    "EINVAL": ": it is no regular file",
    "EISDIR": "; name the file in it",
}


@dataclass(frozen=True)
class TapService:
    """One service of a file.

    Attributes:
        kind: what it is.
        given: the options that are in the file, by name, as JSON has them.
        values: the checked value of every option of the kind.
    """

    kind: Kind
    given: Mapping[str, typing.Any]
    values: Mapping[str, typing.Any]

    def verify(self, where: str = "options") -> None:
        """Check what the options need to be there: files, certificates, and what the kind asks for.

        Raises:
            ConfigurationError: something is missing or cannot be used.
        """
        check: Callable[[str, str], None]
        for option in self.kind.options:
            if option.must_exist:
                check = _check_readable
            elif option.writes:
                check = _check_folder
            elif option.type == "endpoint":
                check = _check_certificate
            else:
                continue
            value = self.values[option.name]
            given = value if option.repeatable else () if value is None else (value,)
            for one in given:
                check(one, f"{where}.{option.name}")
        if self.kind.check is not None:
            self.kind.check(self.values)

    def make(self) -> Service:
        """Return the service, not bound yet.

        Raises:
            ConfigurationError: the kind refuses the combination of options.
        """
        return self.kind.make_service(self.values)


@dataclass(frozen=True)
class Tap:
    """The content of a file.

    Attributes:
        services: in the order in which they were added; at least one in a file.
        uid, gid: whom the process becomes once its ports are bound: a name, a number, or None for no change.
    """

    services: tuple[TapService, ...] = field(default=())
    uid: str | int | None = None
    gid: str | int | None = None


def make_entry(kind: Kind, given: Mapping[str, typing.Any], where: str = "options") -> TapService:
    """Return the service of `kind` with the options `given`, the others by default.

    Raises:
        ConfigurationError: an option is wrong; see `check_values`.
    """
    return TapService(kind, dict(given), check_values(kind.options, given, where))


def load_tap(path: str, find: Callable[[str], Kind] = find_kind) -> Tap:
    """Read the file `path`. Arguments and errors as `parse_tap`, and:

    Raises:
        ConfigurationError: it cannot be read, or has more than MAX_SIZE bytes. Its text begins with `path`.
    """
    try:
        data = files.read_file(path, MAX_SIZE)
    except FileError as error:
        raise ConfigurationError(f"{error}{_ADVICE.get(error.code, '')}") from error
    try:
        return parse_tap(data, find)
    except ConfigurationError as error:
        raise ConfigurationError(str(error), path) from error


def save_tap(path: str, tap: Tap) -> None:
    """Write `tap` to `path` with mode 0600, so that a crash leaves the old content or the new, whole.

    Raises:
        FileError: it cannot be written.
    """
    files.write_atomically(path, format_tap(tap), 0o600)


def format_tap(tap: Tap) -> bytes:
    """Return the file's content for `tap`."""
    document = {
        "format": FORMAT,
        "version": VERSION,
        "uid": tap.uid,
        "gid": tap.gid,
        "services": [
            {"kind": service.kind.name, "version": service.kind.version, "options": dict(service.given)}
            for service in tap.services
        ],
    }
    return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode("utf-8")


def parse_tap(data: bytes, find: Callable[[str], Kind] = find_kind) -> Tap:
    """Return what a file with the content `data` says.

    Args:
        find: gives the kind of a name, or raises ConfigurationError.

    Raises:
        ConfigurationError: it is not a .tap file, or something in it is wrong; `where` names the place.
    """
    document = _object(_decode(data), "", ("format", "version", "uid", "gid", "services"))
    if document["format"] != FORMAT:
        raise ConfigurationError(f"expected {FORMAT!r}", "format")
    _check_version(document["version"], VERSION, "version")
    services = document["services"]
    if not isinstance(services, list):
        raise ConfigurationError("expected a list", "services")
    if not 0 < len(services) <= MAX_SERVICES:
        raise ConfigurationError(f"expected from 1 to {MAX_SERVICES} services", "services")
    entries = [_service(value, f"services[{index}]", find) for index, value in enumerate(services)]
    return Tap(tuple(entries), _identity(document["uid"], "uid"), _identity(document["gid"], "gid"))


class _Object(dict[str, typing.Any]):
    """A JSON object that remembers which key, if any, was there twice."""

    repeated: str | None = None


def _pairs(pairs: list[tuple[str, typing.Any]]) -> _Object:
    result = _Object()
    for key, value in pairs:
        if key in result:
            result.repeated = key
        result[key] = value
    return result


def _decode(data: bytes) -> object:
    if len(data) > MAX_SIZE:
        raise ConfigurationError(f"more than {MAX_SIZE} bytes")
    try:
        text = data.decode("utf-8")
    except ValueError as error:
        raise ConfigurationError("not a .tap file: it is not UTF-8 text") from error
    _check_depth(text)
    try:
        document: object = json.loads(text, object_pairs_hook=_pairs, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno} column {error.colno}"
        raise ConfigurationError(f"not a .tap file: {error.msg} at {place}") from error
    except ValueError as error:
        # A number of thousands of digits.
        raise ConfigurationError(f"not a .tap file: {error}") from error
    _check_repeats(document, "")
    return document


def _refuse_constant(name: str) -> object:
    raise ConfigurationError(f"not a .tap file: {name} is no JSON")


def _check_depth(text: str) -> None:
    """Refuse deep nesting before the decoder, which recurses, sees it."""
    depth = 0
    in_string = False
    escaped = False
    for character in text:
        if in_string:
            if escaped:
                escaped = False
            elif character == "\\":
                escaped = True
            elif character == '"':
                in_string = False
        elif character == '"':
            in_string = True
        elif character in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise ConfigurationError(f"not a .tap file: nested deeper than {MAX_DEPTH} levels")
        elif character in "]}":
            depth -= 1


def _check_repeats(value: object, where: str) -> None:
    if isinstance(value, _Object):
        if value.repeated is not None:
            raise ConfigurationError("this field is there twice", _place(where, value.repeated))
        for key, inner in value.items():
            _check_repeats(inner, _place(where, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            _check_repeats(inner, f"{where}[{index}]")


def _place(where: str, key: str) -> str:
    # A key of a damaged file may be anything; the message stays one short line.
    shown = key if key.replace("-", "").isalnum() and len(key) < 60 else repr(key[:60])
    return f"{where}.{shown}" if where else shown


def _object(value: object, where: str, fields: tuple[str, ...]) -> dict[str, typing.Any]:
    """Return `value`, an object with exactly these fields."""
    if not isinstance(value, dict):
        raise ConfigurationError("expected an object", where)
    for key in value:
        if key not in fields:
            raise ConfigurationError("there is no such field", _place(where, key))
    for name in fields:
        if name not in value:
            raise ConfigurationError("this field is missing", _place(where, name))
    return value


def _check_version(value: object, known: int, where: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ConfigurationError("expected a whole number", where)
    if value != known:
        advice = "update Portable to read it" if value > known else "make the file anew with mktap"
        raise ConfigurationError(f"version {value} is not {known}, the one known here: {advice}", where)


def _service(value: object, where: str, find: Callable[[str], Kind]) -> TapService:
    fields = _object(value, where, ("kind", "version", "options"))
    name = fields["kind"]
    if not isinstance(name, str):
        raise ConfigurationError("expected a text", f"{where}.kind")
    try:
        kind = find(name)
    except ConfigurationError as error:
        raise ConfigurationError(str(error), f"{where}.kind") from error
    _check_version(fields["version"], kind.version, f"{where}.version")
    options = fields["options"]
    if not isinstance(options, dict):
        raise ConfigurationError("expected an object", f"{where}.options")
    return make_entry(kind, options, f"{where}.options")


def _identity(value: object, where: str) -> str | int | None:
    if value is None:
        return None
    if isinstance(value, str) and 0 < len(value) <= 256:
        return value
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 32:
        return value
    raise ConfigurationError("expected a name, a number or null", where)


def _check_readable(path: str, where: str) -> None:
    try:
        files.file_status(path)
    except FileError as error:
        advice = _ADVICE["EINVAL"] if error.code == "EINVAL" else ""
        raise ConfigurationError(f"{error}{advice}", where) from error
    if not os.access(path, os.R_OK):
        raise ConfigurationError(f"{path!r}: permission denied", where)


def _check_folder(path: str, where: str) -> None:
    """Refuse a file to be written in what is no folder, and a folder in its place.

    Whether it may be written, who writes it will know.
    """
    folder = os.path.dirname(path)
    try:
        is_dir = files.file_status(folder).is_dir
    except FileError as error:
        raise ConfigurationError(str(error), where) from error
    if not is_dir:
        raise ConfigurationError(f"{folder!r} is not a folder", where)
    if os.path.isdir(path):
        raise ConfigurationError(f"{path!r} is a folder", where)


def _check_certificate(endpoint_text: str, where: str) -> None:
    endpoint = parse_endpoint(endpoint_text)
    if not isinstance(endpoint, TLSEndpoint):
        return
    try:
        endpoint.options()
    except ConfigurationError as error:
        raise ConfigurationError(str(error), where) from error
