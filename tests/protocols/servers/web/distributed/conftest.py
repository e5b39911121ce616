"""A town of users for each test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.protocols.servers.web.distributed.people import Town

if TYPE_CHECKING:
    from collections.abc import Iterator

    from portable.reactor import Reactor


@pytest.fixture
def town(reactor: Reactor) -> Iterator[Town]:
    made = Town(reactor)
    yield made
    made.close()
