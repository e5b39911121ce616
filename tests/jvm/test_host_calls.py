"""What becomes of what a Java program asks of its server."""

from __future__ import annotations

import sys
import typing

import pytest

from tests.jvm.hosts import java, told, with_modules

if typing.TYPE_CHECKING:
    import pathlib

MODULE = """
from portable.deferred import Deferred

def answer(service):
    return 42

def never(service):
    return Deferred()

calls = 0

def count(service):
    global calls
    calls += 1
    return calls

def fail(service):
    return 1 / 0

def fail_in_java(service):
    from java.util import ArrayList
    ArrayList().get(5)

async def fail_in_java_later(service):
    try:
        fail_in_java(service)
    except Exception as exc:
        raise ValueError("no such thing") from exc

def interrupt():
    raise KeyboardInterrupt

def interrupt_the_loop(service):
    service.reactor.call_soon(interrupt)
"""


@pytest.fixture
def env(tmp_path: pathlib.Path) -> dict[str, str]:
    return with_modules(tmp_path, called=MODULE)


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


def test_the_error_of_a_call_shows_the_stacks_of_both_languages(
    class_path: str, tap: pathlib.Path, env: dict[str, str]
) -> None:
    of_java, later, of_python = java(class_path, "Calls", "stack", tap, env=env).split("----\n")[:3]
    for text in (of_java, later):
        assert told(text)["cause"] == "java.lang.IndexOutOfBoundsException"
        assert "at java.base/java.util.ArrayList.get(" in text
        assert "Suppressed: in Python: Traceback (most recent call last)" in text
        assert "in fail_in_java\n" in text
    assert "ValueError: no such thing" in later
    assert "Caused by: in Python: Traceback (most recent call last)" in of_python
    assert "Suppressed" not in of_python


def test_what_is_cancelled_before_its_turn_is_not_done(
    class_path: str, tap: pathlib.Path, env: dict[str, str]
) -> None:
    assert told(java(class_path, "Calls", "cancel", tap, env=env)) == {
        "call": "true",
        "submit": "true",
        "count": "1",
    }


def test_what_a_program_may_do_unexpectedly(class_path: str, tap: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """The noisy Python is the same by another name, and talks before it answers."""
    noisy = tmp_path / "python"
    noisy.write_text(f'#!/bin/sh\necho "a warning" >&2\necho "a greeting"\nexec {sys.executable} "$@"\n')
    noisy.chmod(0o755)
    assert told(java(class_path, "Calls", "faults", tap, sys.executable, noisy)) == {
        "root": "portable.errors.ConfigurationError",
        "closed": "the server was closed",
        "log": "RUNNING",
        "python": "RUNNING",
        "states": "STOPPED STOPPED",
    }


def test_what_hangs_on_an_answer_may_wait_for_the_server(
    class_path: str, tap: pathlib.Path, env: dict[str, str]
) -> None:
    assert told(java(class_path, "Calls", "continue", tap, env=env)) == {
        "0": "submitted",
        "1": "42",
        "2": "42",
        "3": "null",
        "last": "null",
        "end": "null",
        "elsewhere": "true",
        "state": "STOPPED",
    }


def test_requests_that_bring_others_leave_the_sockets_their_turns(
    class_path: str, tap: pathlib.Path, env: dict[str, str]
) -> None:
    assert told(java(class_path, "Calls", "flood", tap, env=env)) == {"served": "hello", "state": "STOPPED"}
