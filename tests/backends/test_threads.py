"""Calls in threads: when threads are short, when they hang, and what waits for them."""

from __future__ import annotations

import threading
import time
import typing

import pytest

from backends.select import SelectReactor
from backends.sockets import front, names
from portable.testing import wait_until

if typing.TYPE_CHECKING:
    from portable.reactor import Reactor


def test_without_a_thread_a_call_fails_and_the_next_does_not(
    reactor: Reactor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    errors: list[Exception] = []
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        reactor.run_in_thread(len, "x").add_errback(errors.append)
    assert [type(error) for error in errors] == [RuntimeError]
    lengths: list[int] = []
    reactor.run_in_thread(len, "ab").add_callback(lengths.append)
    wait_until(reactor, lambda: lengths == [2])


def test_look_ups_without_an_answer_hold_up_nothing_else(
    reactor: Reactor, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = threading.Event()
    monkeypatch.setattr(names, "_look_up", lambda _host: release.wait(20))
    for number in range(100):
        reactor.resolve(f"host{number}.example").add_errback(lambda _error: None)
    lengths: list[int] = []
    reactor.run_in_thread(len, "ab").add_callback(lengths.append)
    wait_until(reactor, lambda: lengths == [2])
    release.set()


def test_close_waits_for_no_look_up() -> None:
    reactor = SelectReactor()
    release = threading.Event()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(names, "_look_up", lambda _host: release.wait(20))
        reactor.resolve("host.example").add_errback(lambda _error: None)
    began = time.monotonic()
    reactor.close()
    assert time.monotonic() - began < front._PATIENCE / 2
    release.set()


def test_close_waits_for_all_threads_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front, "_PATIENCE", 0.2)
    reactor = SelectReactor()
    release = threading.Event()
    for _ in range(4):
        reactor.run_in_thread(release.wait)
    began = time.monotonic()
    reactor.close()
    assert time.monotonic() - began < 0.6
    release.set()
