"""Server kinds and reactors, found by name.

They come from the entry points "portable.servers" (a `Kind`) and "portable.reactors" (a callable that makes a
reactor) of every installed distribution, and from the modules of this distribution when it is not installed but
lies on PYTHONPATH. So nothing in the core ever imports a server or a backend.

An entry that cannot be loaded is named in `broken` with its reason and leaves the others alone.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import pkgutil
import typing
from dataclasses import dataclass

from portable.errors import ConfigurationError
from portable.options import Kind

if typing.TYPE_CHECKING:
    from collections.abc import Callable

    from portable.reactor import Reactor

__all__ = ["Kinds", "ReactorChoice", "find_kind", "find_kinds", "find_reactor", "find_reactors"]

SERVERS_GROUP = "portable.servers"
REACTORS_GROUP = "portable.reactors"
# What this distribution declares in pyproject.toml, for when nobody has installed it.
OWN_SERVERS_PACKAGE = "protocols.servers"
OWN_REACTORS = {
    "asyncio": "backends.asyncio:AsyncioReactor",
    "nio": "backends.nio:NioReactor",
    "select": "backends.select:SelectReactor",
    "uvloop": "backends.asyncio:UvloopReactor",
}


@dataclass(frozen=True)
class Kinds:
    """Every kind there is.

    Attributes:
        kinds: by name, sorted.
        broken: name of an entry point to the reason why it cannot be used.
    """

    kinds: dict[str, Kind]
    broken: dict[str, str]


@dataclass(frozen=True)
class ReactorChoice:
    """One reactor that can be named after `twistd --reactor`.

    Attributes:
        name: its name.
        missing: why it cannot run here, in one line; "" if it can.
    """

    name: str
    missing: str


def find_kinds() -> Kinds:
    """Return every server kind, loading each."""
    kinds: dict[str, Kind] = {}
    broken: dict[str, str] = {}
    for name, targets in sorted(_server_targets().items()):
        try:
            kinds[name] = _load_kind(name, targets)
        except ConfigurationError as error:
            broken[name] = str(error)
    return Kinds(kinds, broken)


def find_kind(name: str) -> Kind:
    """Return the kind called `name`.

    Raises:
        ConfigurationError: there is none, or it cannot be loaded.
    """
    targets = _server_targets()
    if name not in targets:
        known = ", ".join(sorted(targets)) or "none"
        raise ConfigurationError(f"there is no server kind {name!r}; known are: {known}")
    return _load_kind(name, targets[name])


def find_reactors() -> list[ReactorChoice]:
    """Return every reactor by name, and whether it can run here. Makes none."""
    choices: list[ReactorChoice] = []
    for name in sorted(_reactor_targets()):
        try:
            make = _load_reactor(name)
        except ConfigurationError as error:
            choices.append(ReactorChoice(name, str(error)))
        else:
            choices.append(ReactorChoice(name, _what_is_missing(make)))
    return choices


def find_reactor(name: str) -> Callable[[], Reactor]:
    """Return what makes the reactor called `name`. Nothing is started before it is called.

    Raises:
        ConfigurationError: there is none, it cannot be loaded, or it cannot run here.
    """
    make = _load_reactor(name)
    missing = _what_is_missing(make)
    if missing:
        raise ConfigurationError(f"the reactor {name!r} cannot run here: {missing}")
    return make


def _load_kind(name: str, targets: list[str]) -> Kind:
    found = _load("server kind", name, targets)
    if not isinstance(found, Kind):
        raise ConfigurationError(f"server kind {name!r} ({targets[0]}) is no portable.options.Kind")
    if found.name != name:
        raise ConfigurationError(f"server kind {name!r} ({targets[0]}) calls itself {found.name!r}")
    return found


def _load_reactor(name: str) -> Callable[[], Reactor]:
    targets = _reactor_targets()
    if name not in targets:
        raise ConfigurationError(f"there is no reactor {name!r}; known are: {', '.join(sorted(targets))}")
    make = _load("reactor", name, targets[name])
    if not callable(make):
        raise ConfigurationError(f"reactor {name!r} ({targets[name][0]}) cannot be called")
    return typing.cast("Callable[[], Reactor]", make)


def _what_is_missing(make: object) -> str:
    """Ask a reactor's maker, through its optional `missing()`, why it cannot run here; "" if it can."""
    ask = getattr(make, "missing", None)
    return str(ask()) if callable(ask) else ""


def _load(what: str, name: str, targets: list[str]) -> object:
    if len(targets) > 1:
        raise ConfigurationError(f"{what} {name!r} is declared more than once: {', '.join(targets)}")
    module_name, _, attribute = targets[0].partition(":")
    try:
        loaded: object = importlib.import_module(module_name)
        for part in attribute.split("."):
            loaded = getattr(loaded, part)
    except Exception as error:  # others' code: whatever it raises concerns this entry only
        reason = f"{type(error).__name__}: {error}"
        raise ConfigurationError(f"{what} {name!r} ({targets[0]}) cannot be loaded: {reason}") from error
    return loaded


def _reactor_targets() -> dict[str, list[str]]:
    return _with_entry_points(REACTORS_GROUP, dict(OWN_REACTORS))


def _server_targets() -> dict[str, list[str]]:
    own: dict[str, str] = {}
    try:
        package = importlib.import_module(OWN_SERVERS_PACKAGE)
    except ImportError:
        return _with_entry_points(SERVERS_GROUP, own)
    for module in pkgutil.iter_modules(package.__path__):
        if not module.name.startswith("_"):
            own[module.name] = f"{OWN_SERVERS_PACKAGE}.{module.name}:KIND"
    return _with_entry_points(SERVERS_GROUP, own)


def _with_entry_points(group: str, own: dict[str, str]) -> dict[str, list[str]]:
    """Add the entry points of `group` to `own`: name to the list of its different targets."""
    targets = {name: [target] for name, target in own.items()}
    for entry in importlib.metadata.entry_points(group=group):
        known = targets.setdefault(entry.name, [])
        target = entry.value.partition("[")[0].replace(" ", "")
        if target not in known:
            known.append(target)
    return targets
