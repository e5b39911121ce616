"""The log of several servers in one process, with a list in the place of Java's half."""

from __future__ import annotations

import contextvars
import logging
import threading
import typing

import pytest

from backends.select import SelectReactor
from jvm.hostlog import HostLog
from portable.testing import wait_for

if typing.TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_log = logging.getLogger("tests.hostlog")


class Loop:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def log(self, level: int, name: str, message: str) -> None:
        if name == _log.name:
            self.told.append(f"{level} {message}")


class Server:
    """What runs in a server's thread."""

    def __init__(self, log: HostLog, *, debug: bool = False) -> None:
        self.loop = Loop()
        self.run = contextvars.copy_context().run
        self._log = log
        self.run(log.attach, self.loop, debug)

    def end(self) -> None:
        self.run(self._log.detach)


@pytest.fixture
def top() -> Iterator[logging.Logger]:
    logger = logging.getLogger()
    before = logger.level
    yield logger
    logger.setLevel(before)


def in_thread(call: Callable[..., object], *args: object) -> None:
    thread = threading.Thread(target=call, args=args)
    thread.start()
    thread.join()


def test_a_record_goes_to_the_server_whose_code_made_it() -> None:
    log = HostLog()
    first, second = Server(log), Server(log)

    def work() -> None:
        reactor = SelectReactor()
        wait_for(reactor, reactor.run_in_thread(_log.warning, "from its pool"))
        reactor.close()

    second.run(_log.warning, "from its loop")
    second.run(work)
    in_thread(_log.warning, "from nobody's thread")
    second.end()
    first.end()
    assert second.loop.told == ["30 from its loop", "30 from its pool"]
    assert first.loop.told == ["30 from nobody's thread"]


def test_each_has_a_level_of_its_own_and_gives_it_back(top: logging.Logger) -> None:
    top.setLevel(logging.WARNING)
    log = HostLog()
    plain = Server(log)
    levels = [top.level]
    talkative = Server(log, debug=True)
    levels.append(top.level)
    for server in (plain, talkative):
        server.run(_log.debug, "a detail")
        server.run(_log.info, "a fact")
    talkative.end()
    levels.append(top.level)
    plain.end()
    levels.append(top.level)
    assert plain.loop.told == ["20 a fact"]
    assert talkative.loop.told == ["10 a detail", "20 a fact"]
    assert levels == [logging.INFO, logging.DEBUG, logging.INFO, logging.WARNING]
    assert log not in top.handlers


def test_the_secrets_of_one_are_hidden_in_the_log_of_the_other() -> None:
    log = HostLog()
    first, second = Server(log), Server(log)
    first.run(log.hide, ("correct horse",))
    second.run(log.hide, ("battery staple",))
    second.run(_log.warning, "correct horse, battery staple")
    first.end()
    second.run(_log.warning, "correct horse, battery staple")
    second.end()
    assert [line.count("***") for line in second.loop.told] == [2, 1]


def test_only_a_debug_server_shows_tracebacks() -> None:
    log = HostLog()
    servers = [Server(log), Server(log, debug=True)]
    try:
        raise ValueError("on purpose")
    except ValueError:
        for server in servers:
            server.run(_log.exception, "it failed")
    for server in servers:
        server.end()
    assert ["Traceback" in line for server in servers for line in server.loop.told] == [False, True]
    assert "  | ValueError: on purpose" in servers[0].loop.told[0]
