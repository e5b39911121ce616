"""What `twistd` runs: the services of a `.tap` file, or the `application` of a Python file."""

from __future__ import annotations

import contextlib
import importlib
import os
import pkgutil
import runpy
import sys
import typing
from dataclasses import dataclass

from portable.commands.usage import CommandError
from portable.errors import ConfigurationError
from portable.service import Service, ServiceGroup
from portable.tap import load_tap

if typing.TYPE_CHECKING:
    from collections.abc import Callable

    from portable.listener import DatagramPort, ServerPort

__all__ = ["Application", "import_the_rest", "load_python", "load_tap_file", "planned_address"]

# Whose modules a running server may still import: ours, and Python's when somebody names an encoding.
_LATE_PACKAGES = ("backends", "encodings", "portable", "protocols")


@dataclass(frozen=True)
class Application:
    """What was loaded.

    Attributes:
        service: everything, as one.
        verify: checks what the options ask of this machine; raises ConfigurationError.
        uid, gid: whom the file wants the process to become; None for no change.
        drain: seconds that the file wants a stop to wait; None if it does not say.
        secrets: values that no log may show.
    """

    service: Service
    verify: Callable[[], object]
    uid: str | int | None = None
    gid: str | int | None = None
    drain: float | None = None
    secrets: tuple[str, ...] = ()


def load_tap_file(path: str) -> Application:
    """Return what the `.tap` file says.

    Raises:
        ConfigurationError: it cannot be read, or something in it is wrong.
    """
    tap = load_tap(path)

    def verify() -> None:
        for index, entry in enumerate(tap.services):
            where = f"services[{index}].options"
            try:
                entry.verify(where)
            except ConfigurationError as error:
                raise ConfigurationError(str(error), path) from error

    services: list[Service] = []
    secrets: list[str] = []
    drains: list[float] = []
    for index, entry in enumerate(tap.services):
        try:
            services.append(entry.make())
        except ConfigurationError as error:
            raise ConfigurationError(str(error), f"{path}: services[{index}]") from error
        for option in entry.kind.options:
            value = entry.values[option.name]
            if option.secret and value is not None:
                secrets.extend(str(one) for one in (value if option.repeatable else (value,)))
        if entry.values.get("drain") is not None:
            drains.append(entry.values["drain"])
    service = services[0] if len(services) == 1 else ServiceGroup("twistd", services)
    return Application(service, verify, tap.uid, tap.gid, max(drains, default=None), tuple(secrets))


def load_python(path: str) -> Application:
    """Run the Python file `path` and return the service that it calls `application`.

    Raises:
        CommandError: it cannot be read, fails, or defines none.
    """
    if not os.path.isfile(path):
        raise CommandError(f"{path!r}: there is no such file")
    try:
        names = runpy.run_path(path, run_name="__portable__")
    except SystemExit as error:
        raise CommandError(f"{path}: it calls sys.exit; it has to define 'application' and end") from error
    except Exception as error:
        raise CommandError(f"{path}: {type(error).__name__}: {error}") from error
    service = names.get("application")
    if not isinstance(service, Service):
        raise CommandError(f"{path}: it must define 'application', a portable.service.Service")
    return Application(service, lambda: None)


def import_the_rest() -> None:
    """Import what the packages in use import late.

    For a process that is about to change its root folder: from there Python's files cannot be reached.
    """
    for name, package in sorted(sys.modules.items()):
        if name.partition(".")[0] not in _LATE_PACKAGES:
            continue
        for found in pkgutil.iter_modules(getattr(package, "__path__", ()), f"{name}."):
            if not found.ispkg:
                # What cannot be imported here is not going to be.
                with contextlib.suppress(ImportError):
                    importlib.import_module(found.name)


def planned_address(port: ServerPort | DatagramPort) -> str:
    """Return what `port` would listen on: "web tcp:8080:interface=127.0.0.1"."""
    text = str(port.endpoint)
    if port.kind == "udp":
        text = f"udp:{text.partition(':')[2]}"
    return f"{port.name} {text}"
