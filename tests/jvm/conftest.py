from __future__ import annotations

import typing

import pytest

from tests.jvm import hosts

if typing.TYPE_CHECKING:
    import pathlib


@pytest.fixture(scope="session")
def class_path(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The class path with our jar, Jep's, the example and the scenarios."""
    return hosts.compile_classes(tmp_path_factory.mktemp("classes"))


@pytest.fixture
def site(tmp_path: pathlib.Path) -> pathlib.Path:
    folder = tmp_path / "www"
    folder.mkdir()
    (folder / "index.html").write_text("hello\n")
    with (folder / "big.bin").open("wb") as file:
        file.truncate(hosts.BIG)
    return folder


@pytest.fixture
def tap(tmp_path: pathlib.Path, site: pathlib.Path) -> pathlib.Path:
    return hosts.write_tap(tmp_path / "web.tap", site)
