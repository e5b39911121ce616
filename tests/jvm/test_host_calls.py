"""What becomes of what a Java program asks of its server."""

from __future__ import annotations

import typing

import pytest

from tests.jvm.hosts import environment, java, told

if typing.TYPE_CHECKING:
    import pathlib

MODULE = """
from portable.deferred import Deferred

def answer(service):
    return 42

def never(service):
    return Deferred()

def interrupt():
    raise KeyboardInterrupt

def interrupt_the_loop(service):
    service.reactor.call_soon(interrupt)
"""


@pytest.fixture
def env(tmp_path: pathlib.Path) -> dict[str, str]:
    modules = tmp_path / "modules"
    modules.mkdir()
    (modules / "called.py").write_text(MODULE)
    return environment(modules)


def test_a_call_under_way_is_refused_when_the_server_ends(
    class_path: str, tap: pathlib.Path, env: dict[str, str]
) -> None:
    assert told(java(class_path, "Calls", "pending", tap, env=env)) == {
        "running": "42",
        "stopped": "the server has ended",
        "interrupt": "null",
        "failed": "the server has ended",
        "ended": "KeyboardInterrupt()",
        "state": "FAILED",
    }
