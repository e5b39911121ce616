"""The contract of threads, names and signals."""

from __future__ import annotations

import contextvars
import os
import signal
import threading
import typing

import pytest

from portable.deferred import gather
from portable.errors import Cancelled, CapabilityMissing, NameNotFound
from portable.testing import wait_for, wait_until

if typing.TYPE_CHECKING:
    from collections.abc import Iterator

    from portable.reactor import Reactor
    from tests.backends_under_test import Backend


def test_call_soon_threadsafe_wakes_an_idle_loop(reactor: Reactor) -> None:
    """The call is made in the reactor's thread though nothing else happens."""
    seen: list[threading.Thread] = []
    for expected in range(1, 20):
        thread = threading.Thread(
            target=reactor.call_soon_threadsafe, args=(lambda: seen.append(threading.current_thread()),)
        )
        thread.start()
        while len(seen) < expected:
            reactor.step(None)
        thread.join()
    assert set(seen) == {threading.current_thread()}


def test_many_threads_at_once(reactor: Reactor) -> None:
    """No call is lost, each thread's calls keep their order, and no wake-up is lost between two waits."""
    seen: list[tuple[int, int]] = []

    def note(name: int, number: int) -> None:
        seen.append((name, number))
        if len(seen) == 2000:
            reactor.stop()

    def work(name: int) -> None:
        for number in range(500):
            reactor.call_soon_threadsafe(note, name, number)

    threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    reactor.run()
    for thread in threads:
        thread.join()
    for name in range(4):
        assert [number for which, number in seen if which == name] == list(range(500))


def test_what_is_no_error_of_the_loop_stays_with_who_waits_for_it(reactor: Reactor) -> None:
    """A KeyboardInterrupt or SystemExit that ends a call in a thread is its result, and ends no loop."""

    def leave(error: BaseException) -> None:
        raise error

    for error in (KeyboardInterrupt(), SystemExit(3)):
        told: list[BaseException] = []
        reactor.run_in_thread(leave, error).add_errback(told.append)
        wait_until(reactor, told.__len__)
        assert told == [error]


def test_call_soon_threadsafe_can_be_cancelled(reactor: Reactor) -> None:
    """From the reactor's thread, before it is made."""
    seen: list[int] = []
    reactor.call_soon_threadsafe(seen.append, 1).cancel()
    reactor.call_soon_threadsafe(seen.append, 2)
    wait_until(reactor, lambda: seen)
    assert seen == [2]


def test_run_in_thread(reactor: Reactor) -> None:
    """The result comes in the reactor's thread; the function ran in another."""
    told: list[threading.Thread] = []
    deferred = reactor.run_in_thread(threading.current_thread)

    def note(thread: threading.Thread) -> threading.Thread:
        told.append(threading.current_thread())
        return thread

    deferred.add_callback(note)
    worker = wait_for(reactor, deferred)
    assert worker is not threading.current_thread()
    assert told == [threading.current_thread()]
    assert wait_for(reactor, reactor.run_in_thread(divmod, 7, 2)) == (3, 1)


def test_run_in_thread_has_the_context_of_its_caller(reactor: Reactor) -> None:
    """And what it changes there is its own."""
    variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable", default=0)

    def work() -> int:
        value = variable.get()
        variable.set(99)
        return value

    deferreds = []
    for number in (1, 2):
        variable.set(number)
        deferreds.append(reactor.run_in_thread(work))
    assert [wait_for(reactor, deferred) for deferred in deferreds] == [1, 2]
    assert variable.get() == 2


def test_run_in_thread_gives_the_exception(reactor: Reactor) -> None:
    """Whatever the function raised."""
    with pytest.raises(ZeroDivisionError):
        wait_for(reactor, reactor.run_in_thread(divmod, 7, 0))


def test_run_in_thread_does_not_block_the_loop(reactor: Reactor) -> None:
    """The loop goes on while the function waits for it."""
    event = threading.Event()
    deferred = reactor.run_in_thread(event.wait, 30)
    reactor.call_soon(event.set)
    assert wait_for(reactor, deferred) is True


def test_many_calls_in_threads(reactor: Reactor) -> None:
    """More than the pool has threads: they wait in order, and all come."""
    results = wait_for(reactor, gather([reactor.run_in_thread(pow, number, 2) for number in range(200)]))
    assert results == [number**2 for number in range(200)]


def test_cancelling_run_in_thread_drops_the_result(reactor: Reactor) -> None:
    """The Deferred fails with Cancelled; the call runs to its end."""
    event, ended = threading.Event(), threading.Event()

    def work() -> None:
        event.wait(30)
        ended.set()

    deferred = reactor.run_in_thread(work)
    reactor.step(0.01)
    deferred.cancel()
    with pytest.raises(Cancelled):
        wait_for(reactor, deferred)
    event.set()
    wait_until(reactor, ended.is_set)


def test_resolve_literals(reactor: Reactor) -> None:
    """A literal address gives itself."""
    assert wait_for(reactor, reactor.resolve("192.0.2.1")) == ["192.0.2.1"]
    assert wait_for(reactor, reactor.resolve("2001:db8::1")) == ["2001:db8::1"]


def test_resolve_names(reactor: Reactor) -> None:
    """Each address once."""
    addresses = wait_for(reactor, reactor.resolve("localhost"))
    assert "127.0.0.1" in addresses or "::1" in addresses
    assert len(addresses) == len(set(addresses))


@pytest.mark.parametrize(
    "name", ["nobody.invalid", "", "a" * 300, "\x00", "localhost\x00.invalid", "a..b", "ü" * 100]
)
def test_resolve_what_has_no_address(reactor: Reactor, name: str) -> None:
    """NameNotFound, whatever is wrong with the name."""
    with pytest.raises(NameNotFound):
        wait_for(reactor, reactor.resolve(name), seconds=30)


@pytest.fixture
def signals(reactor: Reactor) -> Iterator[Reactor]:
    if "signals" not in reactor.capabilities:
        pytest.skip("no signals here")
    before = signal.getsignal(signal.SIGUSR1)
    yield reactor
    reactor.remove_signal_handler(signal.SIGUSR1)
    assert signal.getsignal(signal.SIGUSR1) is before


def test_signals(signals: Reactor) -> None:
    """The callback is called from the loop, each time; a later one replaces it; removing restores."""
    seen: list[str] = []
    signals.add_signal_handler(signal.SIGUSR1, seen.append, "first")
    for expected in (1, 2):
        os.kill(os.getpid(), signal.SIGUSR1)
        wait_until(signals, lambda: len(seen) == expected)  # noqa: B023 - asked in this round
    signals.add_signal_handler(signal.SIGUSR1, seen.append, "second")
    os.kill(os.getpid(), signal.SIGUSR1)
    wait_until(signals, lambda: seen == ["first", "first", "second"])
    signals.remove_signal_handler(signal.SIGUSR1)
    signals.remove_signal_handler(signal.SIGUSR1)


def test_a_signal_wakes_an_idle_loop(signals: Reactor) -> None:
    """However long the loop would have waited."""
    signals.add_signal_handler(signal.SIGUSR1, signals.stop)
    timer = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGUSR1))
    timer.start()
    signals.run()
    timer.join()


def test_a_missing_capability_is_told(reactor: Reactor, backend: Backend) -> None:
    """CapabilityMissing names the backend and what it cannot do: here signals, off the main thread."""

    def elsewhere() -> CapabilityMissing | None:
        other: Reactor = backend.make()
        try:
            assert "signals" not in other.capabilities
            other.add_signal_handler(signal.SIGUSR1, int)
        except CapabilityMissing as exc:
            return exc
        finally:
            other.close()
        return None

    error = wait_for(reactor, reactor.run_in_thread(elsewhere))
    assert error is not None
    assert (error.backend, error.capability) == (reactor.name, "signals")
    assert "signals" in str(error)
