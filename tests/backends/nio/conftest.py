"""A reactor over java.nio, for tests of what only it has."""

from __future__ import annotations

import typing

import pytest

from tests.backends_under_test import BACKENDS

if typing.TYPE_CHECKING:
    from collections.abc import Iterator

    from backends.nio.reactor import NioReactor


@pytest.fixture
def nio() -> Iterator[NioReactor]:
    (backend,) = (backend for backend in BACKENDS if backend.name == "nio")
    backend.require()
    reactor = typing.cast("NioReactor", backend.make())
    yield reactor
    reactor.close()


@pytest.fixture
def narrow(nio: NioReactor) -> Iterator[NioReactor]:
    """One with the smallest buffers for events, and room for one write in those for operations."""
    bridge: typing.Any = nio.bridge
    reactor = type(nio)(type(bridge)(type(bridge._pump)(64, 128 * 1024, 8, 256 * 1024)))
    yield reactor
    reactor.close()
