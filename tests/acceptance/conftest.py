from __future__ import annotations

import typing

import pytest

from tests.acceptance.shell import Shell

if typing.TYPE_CHECKING:
    import pathlib
    from collections.abc import Iterator


@pytest.fixture
def shell(tmp_path: pathlib.Path) -> Iterator[Shell]:
    """A folder of its own in which commands are typed; what they leave running is ended."""
    made = Shell(tmp_path)
    try:
        yield made
    finally:
        made.clean()
