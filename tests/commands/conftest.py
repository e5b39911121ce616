from __future__ import annotations

import typing

import pytest

from tests.commands.processes import Folder

if typing.TYPE_CHECKING:
    import pathlib
    from collections.abc import Iterator


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> Iterator[Folder]:
    """A folder of its own for commands; what they leave running is ended."""
    made = Folder(tmp_path)
    yield made
    made.clean()
