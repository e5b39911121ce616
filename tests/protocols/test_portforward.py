"""Port forwarding: the pair lives and ends together."""

from __future__ import annotations

import logging
import typing

from portable.deferred import Deferred
from portable.errors import ConnectionRefused
from portable.flow import LINGER, QUIET, RelayEnd
from portable.testing import ManualClock, MemoryTransport
from protocols.portforward import ForwardedConnection

if typing.TYPE_CHECKING:
    import pytest


class Case:
    """One client in front, one server behind that answers when told."""

    def __init__(self, *, connected: bool = True) -> None:
        self.clock = ManualClock()
        self.wanted: Deferred[RelayEnd] = Deferred()
        self.factory: typing.Callable[[], RelayEnd] | None = None
        self.protocol = ForwardedConnection(self._connect, self.clock)
        self.client = MemoryTransport(self.protocol, self.clock)
        self.server: MemoryTransport | None = None
        if connected:
            self.connect()

    def _connect(self, factory: typing.Callable[[], RelayEnd]) -> Deferred[RelayEnd]:
        self.factory = factory
        return self.wanted

    def connect(self) -> MemoryTransport:
        assert self.factory is not None
        end = self.factory()
        self.server = MemoryTransport(end, self.clock)
        self.wanted.callback(end)
        self.clock.advance(0)
        return self.server

    @property
    def behind(self) -> MemoryTransport:
        assert self.server is not None
        return self.server


def test_both_directions_and_early_data() -> None:
    case = Case(connected=False)
    case.client.receive(b"early ")
    case.connect()
    case.client.receive(b"late")
    assert case.behind.take() == b"early late"
    case.behind.receive(b"answer")
    assert case.client.take() == b"answer"
    case.client.receive_eof()
    assert case.behind.eof_written
    case.behind.receive(b"last")
    case.behind.receive_eof()
    assert case.client.take() == b"last"
    assert case.client.lost
    assert case.behind.lost
    assert case.clock.next_time() is None


def test_a_server_that_refuses_costs_the_client_its_connection(caplog: pytest.LogCaptureFixture) -> None:
    case = Case(connected=False)
    with caplog.at_level(logging.WARNING, "protocols.portforward"):
        case.wanted.errback(ConnectionRefused("nobody there"))
        case.clock.advance(0)
    assert case.client.lost
    assert "nobody there" in caplog.text


def test_a_client_that_goes_first_takes_the_attempt_with_it(caplog: pytest.LogCaptureFixture) -> None:
    case = Case(connected=False)
    seen: list[object] = []
    case.wanted.add_errback(seen.append)
    case.client.lose()
    assert caplog.text == ""


def test_a_cancelled_attempt_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    cancelled: list[object] = []
    case = Case(connected=False)
    case.wanted = Deferred(cancelled.append)
    protocol = ForwardedConnection(lambda factory: case.wanted, case.clock)
    client = MemoryTransport(protocol, case.clock)
    client.lose()
    assert cancelled
    assert caplog.text == ""


def test_a_bug_in_connecting_is_not_swallowed() -> None:
    case = Case(connected=False)
    case.wanted.errback(RuntimeError("a bug"))
    seen: list[object] = []
    case.wanted.add_errback(seen.append)
    assert isinstance(seen[0], RuntimeError)


def test_one_end_that_is_lost_takes_the_other() -> None:
    case = Case()
    case.behind.lose()
    assert case.client.lost
    case = Case()
    case.client.lose()
    assert case.behind.lost
    assert case.clock.next_time() is None


def test_a_server_that_does_not_read_cannot_keep_a_dead_pair() -> None:
    case = Case()
    case.behind.window = 0
    case.client.receive(b"x" * 100)
    case.client.lose()
    assert not case.behind.is_reading()
    case.clock.advance(LINGER)
    assert case.behind.aborted


def test_drain_waits_until_the_pair_is_quiet() -> None:
    case = Case()
    case.protocol.drain()
    for _ in range(5):
        case.clock.advance(QUIET / 2)
        case.behind.receive(b"more")
    assert not case.client.is_closing()
    case.client.window = 0
    case.behind.receive(b"last")
    case.clock.advance(5 * QUIET)
    assert not case.client.is_closing()
    case.client.allow(None)
    case.clock.advance(QUIET)
    assert case.client.take().endswith(b"last")
    assert case.client.lost
    assert case.behind.lost
    assert case.clock.next_time() is None


def test_drain_waits_for_the_server_to_be_connected() -> None:
    case = Case(connected=False)
    case.client.receive(b"question")
    case.protocol.drain()
    case.clock.advance(10 * QUIET)
    assert not case.client.is_closing()
    case.connect()
    assert case.behind.take() == b"question"
    case.behind.receive(b"answer")
    case.clock.advance(2 * QUIET)
    assert case.client.take() == b"answer"
    assert case.client.lost


def test_drain_of_a_pair_that_ends_by_itself() -> None:
    case = Case()
    case.protocol.drain()
    case.behind.lose()
    assert case.client.lost
    case.protocol.drain()
    assert case.clock.next_time() is None
