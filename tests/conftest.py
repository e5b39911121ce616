"""The `reactor` fixture: each test that takes it runs on every backend, and leaves nothing behind."""

from __future__ import annotations

import gc
import logging
import os
import sys
import threading
import time
import typing

import pytest
from hypothesis import settings

from tests.backends_under_test import BACKENDS, CONFORMANCE_BACKENDS, Backend, parse_backend

if typing.TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from portable.reactor import Reactor

# Two slow machines and a coverage tracer must not fail a test that is right.
settings.register_profile("portable", deadline=None)
settings.load_profile("portable")

_DESCRIPTORS = "/proc/self/fd"
# Opened when something in Java first needs a random number, and kept for the life of the process.
_KEPT_BY_JAVA = ("/dev/random", "/dev/urandom")
_begun: set[str] = set()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("portable")
    group.addoption("--reactor", action="append", default=[], metavar="NAME", help="run on this backend only")
    group.addoption(
        "--backend", action="append", default=[], metavar="NAME=MODULE:CALLABLE", help="run on one of your own"
    )
    group.addoption("--rounds", type=int, default=2, help="how often to try what only chance may break (2)")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "backend" not in metafunc.fixturenames:
        return
    own = [parse_backend(text) for text in metafunc.config.getoption("backend")]
    wanted = metafunc.config.getoption("reactor")
    known_backends = own or BACKENDS + CONFORMANCE_BACKENDS
    usual = known_backends if own or "conformance" in metafunc.definition.path.parts else BACKENDS
    chosen = [backend for backend in known_backends if backend.name in wanted] if wanted else usual
    if not chosen:
        known = ", ".join(backend.name for backend in known_backends)
        raise pytest.UsageError(f"no backend is called {' or '.join(wanted)}; there are {known}")
    chosen = [backend for backend in chosen if metafunc.definition.name not in backend.cannot]
    for mark in metafunc.definition.iter_markers("backend_declares"):
        chosen = [backend for backend in chosen if getattr(backend, mark.args[0]) is not None]
    metafunc.parametrize("backend", chosen, ids=[backend.name for backend in chosen], indirect=True)


class ErrorLog(logging.Handler):
    """Collects what the framework logs as an error; a test that means to cause one says so with `expect`."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if record.exc_info:
            message += f"\n{logging.Formatter().formatException(record.exc_info)}"
        self.messages.append(f"{record.name}: {message}")

    def expect(self, text: str, count: int | None = None) -> None:
        """Assert that an error with `text` was logged (`count` times, or at least once), and forgive it."""
        matching = [message for message in self.messages if text in message]
        assert matching, f"no logged error contains {text!r}: {self.messages}"
        assert count is None or len(matching) == count, matching
        self.messages = [message for message in self.messages if text not in message]


@pytest.fixture
def error_log() -> Iterator[ErrorLog]:
    """The errors logged by the framework during the test. Unexpected ones fail a test that takes `reactor`."""
    handler = ErrorLog()
    logger = logging.getLogger("portable")
    logger.addHandler(handler)
    try:
        yield handler
    finally:
        logger.removeHandler(handler)


@pytest.fixture
def untraced_threads() -> Iterator[None]:
    """Keep coverage out of the threads that the test starts, for those that are interrupted.

    An exception that comes just where the tracer gives its lock back leaves it locked for ever, for everybody.
    """
    traced = threading.gettrace()
    threading.settrace(None)
    try:
        yield
    finally:
        threading.settrace(traced)


@pytest.fixture
def untraced(untraced_threads: None) -> Iterator[None]:
    """Keep coverage out of this thread, too: while an exception is on its way to a thread that sleeps, CPython
    3.11 has every traced thread loop on one step.
    """
    traced = sys.gettrace()
    sys.settrace(None)
    try:
        yield
    finally:
        sys.settrace(traced)


@pytest.fixture
def backend(request: pytest.FixtureRequest) -> Backend:
    """The backend under test."""
    chosen: Backend = request.param
    chosen.require()
    if chosen.target not in _begun:
        # What a backend opens once for the whole process is nothing that a test leaves behind.
        _begun.add(chosen.target)
        chosen.make().close()
    return chosen


@pytest.fixture
def reactor(backend: Backend, error_log: ErrorLog) -> Iterator[Reactor]:
    """A new reactor. After the test it is closed, and must have left no descriptor, thread or logged error."""
    threads = set(threading.enumerate())
    descriptors = _open_descriptors()
    made: Reactor = backend.make()
    try:
        yield made
    finally:
        made.close()
    assert not error_log.messages, "\n".join(error_log.messages)
    _assert_soon(lambda: _left_threads(threads), "threads left")
    _assert_soon(lambda: sorted(_open_descriptors() - descriptors), "descriptors left")


def _left_threads(before: set[threading.Thread]) -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread not in before and thread.is_alive()]


def _open_descriptors() -> set[tuple[str, str]]:
    """Return (number, what it is) of every open descriptor; nothing where the system does not tell."""
    found = set()
    if os.path.isdir(_DESCRIPTORS):
        for name in os.listdir(_DESCRIPTORS):
            try:
                target = os.readlink(f"{_DESCRIPTORS}/{name}")
            except OSError:  # the listing's own descriptor
                continue
            if target not in _KEPT_BY_JAVA:
                found.add((name, target))
    return found


def _assert_soon(remaining: Callable[[], list[typing.Any]], what: str) -> None:
    """Assert that `remaining()` becomes empty: threads take a moment to end, cycles wait for the collector."""
    deadline = time.monotonic() + 5
    left = remaining()
    if left:
        gc.collect()
        left = remaining()
    while left and time.monotonic() < deadline:
        time.sleep(0.01)
        left = remaining()
    assert not left, f"{what}: {left}"
