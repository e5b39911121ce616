from __future__ import annotations

import typing

import pytest

from tests.backends_under_test import BACKENDS
from tests.commands.processes import TALK, Folder

if typing.TYPE_CHECKING:
    import pathlib
    from collections.abc import Iterator


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> Iterator[Folder]:
    """A folder of its own for commands; what they leave running is ended."""
    made = Folder(tmp_path)
    yield made
    made.clean()


@pytest.fixture
def talk(folder: Folder) -> Folder:
    """A folder with app.py, whose server says hello and echoes."""
    folder.program(TALK)
    return folder


# Of the backends under test, those that twistd knows by name.
@pytest.fixture(params=["select", "nio"])
def each_reactor(request: pytest.FixtureRequest, folder: Folder) -> None:
    """Have the test's twistd run on each reactor in turn."""
    (backend,) = (one for one in BACKENDS if one.name == request.param)
    backend.require()
    folder.reactor = backend.name
