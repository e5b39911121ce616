"""A tree with something to steal beside it, and both ways of walking it."""

from __future__ import annotations

import typing

import pytest

from portable.files import system

if typing.TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(params=["openat", "by path"])
def walk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways of walking: the safe one, and that of systems without `openat`."""
    monkeypatch.setattr(system, "HAS_DIR_FD", request.param == "openat")
    return str(request.param)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A tree with something to steal beside it."""
    (tmp_path / "secret").write_text("secret")
    top = tmp_path / "root"
    (top / "a" / "b").mkdir(parents=True)
    (top / "hello").write_text("hello")
    (top / "a" / "b" / "deep").write_text("deep")
    return top
