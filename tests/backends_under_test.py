"""The backends that every test with a `reactor` runs on, found by name: a backend adds one entry here.

Another project names its own on the command line: `pytest tests/conformance --backend NAME=MODULE:CALLABLE`.
"""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass, field
from typing import Any

import pytest

__all__ = ["BACKENDS", "CONFORMANCE_BACKENDS", "Backend", "parse_backend"]


@dataclass(frozen=True)
class Backend:
    """How to make a reactor, and what it declares about itself.

    Attributes:
        name: for `--reactor` and `-k`.
        target: "module:callable", imported when the first test needs it.
        arguments: keyword arguments for the callable.
        most_descriptors: how many descriptors it can watch; None if only the system limits it.
        cannot: tests of the contract that do not hold for it, each with the reason.
    """

    name: str
    target: str
    arguments: dict[str, object] = field(default_factory=dict)
    most_descriptors: int | None = None
    cannot: dict[str, str] = field(default_factory=dict)

    def make(self) -> Any:
        """Return a new reactor."""
        return self._maker()(**self.arguments)

    def missing(self) -> str:
        """Return why it cannot run here; "" if it can."""
        ask = getattr(self._maker(), "missing", None)
        return str(ask()) if callable(ask) else ""

    def require(self) -> None:
        """Skip the test if it cannot run here; in CI that is a failure."""
        missing = self.missing()
        if missing and os.environ.get("CI"):
            pytest.fail(f"{self.name} cannot run here: {missing}")
        if missing:
            pytest.skip(f"{self.name} cannot run here: {missing}")

    def _maker(self) -> Any:
        module, _, name = self.target.partition(":")
        return getattr(importlib.import_module(module), name)


_ADOPTING = (
    "test_adopting_a_tcp_listener",
    "test_adopting_a_unix_listener",
    "test_what_cannot_be_adopted",
    "test_a_socket_bound_by_the_program",
)

BACKENDS = [
    Backend("select", "backends.select:SelectReactor"),
    # What Windows uses.
    Backend("select-plain", "backends.select:SelectReactor", {"poller": "select"}, most_descriptors=1024),
    # Skipped where there is no JVM, except in CI.
    Backend("nio", "backends.nio:NioReactor", cannot=dict.fromkeys(_ADOPTING, "Java opens its sockets itself")),
]

# These share the code of their sockets with the first, so only the contract itself is tested on them.
CONFORMANCE_BACKENDS = [
    Backend("asyncio", "backends.asyncio:AsyncioReactor"),
    Backend(
        "uvloop",
        "backends.asyncio:UvloopReactor",
        cannot={"test_out_of_descriptors": "uvloop opens two sockets each time it begins to run, as by `step`"},
    ),
]


def parse_backend(text: str) -> Backend:
    """Return the backend that the command line says: "NAME=MODULE:CALLABLE"."""
    name, _, target = text.partition("=")
    return Backend(name, target)
