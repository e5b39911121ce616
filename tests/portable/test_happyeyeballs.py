from __future__ import annotations

import typing

import pytest

from portable.deferred import Deferred, fail, succeed
from portable.errors import (
    Cancelled,
    CertificateError,
    ConnectError,
    ConnectionRefused,
    ConnectTimedOut,
    NameNotFound,
    Unreachable,
)
from portable.happyeyeballs import ATTEMPT_DELAY, connect_to_addresses, connect_to_name, interleave, race
from portable.protocol import Protocol
from portable.testing import ManualClock, wait_for
from portable.transport import Address

if typing.TYPE_CHECKING:
    from portable.reactor import Reactor

V4 = ["192.0.2.1", "192.0.2.2"]
V6 = ["2001:db8::1", "2001:db8::2"]


class Net(ManualClock):
    """A clock, a name server and a network: each attempt waits for the test to end it."""

    def __init__(self, *addresses: str) -> None:
        super().__init__()
        self.names: Deferred[list[str]] = succeed(list(addresses))
        self.asked: list[str] = []
        self.started: list[tuple[float, str]] = []
        self.attempts: dict[str, Deferred[str]] = {}
        self.closed: list[str] = []
        self.at_once: dict[str, str | Exception] = {}

    def resolve(self, host: str) -> Deferred[list[str]]:
        self.asked.append(host)
        return self.names

    def attempt(self, address: str) -> Deferred[str]:
        self.started.append((self.time(), address))
        known = self.at_once.get(address)
        if isinstance(known, Exception):
            return fail(known)
        if known is not None:
            return succeed(known)
        self.attempts[address] = Deferred(lambda _: self.closed.append(address))
        return self.attempts[address]

    def connect(self, timeout: float = 30.0, local_host: str = "") -> Outcome:
        return Outcome(connect_to_name(self, self.attempt, "host.example", 80, timeout, local_host))


class Outcome:
    """What has come of a Deferred: at most one of a result and an error."""

    def __init__(self, deferred: Deferred[str]) -> None:
        self.deferred = deferred
        self.result: str | None = None
        self.error: Exception | None = None
        deferred.add_callbacks(self._succeeded, self._failed)

    def _succeeded(self, result: str) -> None:
        self.result = result

    def _failed(self, error: Exception) -> None:
        self.error = error

    @property
    def pending(self) -> bool:
        return self.result is None and self.error is None


@pytest.mark.parametrize(
    ("addresses", "expected"),
    [
        ([], []),
        (V4, V4),
        ([*V6, *V4], [V6[0], V4[0], V6[1], V4[1]]),
        ([*V4, *V6], [V4[0], V6[0], V4[1], V6[1]]),
        ([*V6, V4[0]], [V6[0], V4[0], V6[1]]),
        ([V6[0], *V4], [V6[0], V4[0], V4[1]]),
    ],
)
def test_families_take_turns_beginning_with_the_preferred(addresses: list[str], expected: list[str]) -> None:
    assert interleave(addresses) == expected


def test_the_next_attempt_starts_a_quarter_of_a_second_after_the_last() -> None:
    net = Net(*V6, *V4)
    outcome = net.connect()
    assert net.asked == ["host.example"]
    net.advance(1.0)
    assert [address for _, address in net.started] == [V6[0], V4[0], V6[1], V4[1]]
    times = [when - net.started[0][0] for when, _ in net.started]
    assert times == pytest.approx([0.0, ATTEMPT_DELAY, 2 * ATTEMPT_DELAY, 3 * ATTEMPT_DELAY])
    assert outcome.pending


def test_the_first_to_answer_wins_and_the_others_are_closed() -> None:
    net = Net(V6[0], V4[0], V4[1])
    outcome = net.connect()
    net.advance(ATTEMPT_DELAY)
    net.attempts[V4[0]].callback("fourth version")
    assert outcome.result == "fourth version"
    assert net.closed == [V6[0]]
    net.advance(60)
    assert len(net.started) == 2
    assert net.next_time() is None


def test_a_slow_first_attempt_may_still_win() -> None:
    net = Net(V6[0], V4[0])
    outcome = net.connect()
    net.advance(ATTEMPT_DELAY)
    net.attempts[V6[0]].callback("slow")
    assert outcome.result == "slow"
    assert net.closed == [V4[0]]


def test_an_answer_at_once_starts_nothing_else() -> None:
    net = Net(V6[0], V4[0])
    net.at_once[V6[0]] = "here"
    assert net.connect().result == "here"
    assert [address for _, address in net.started] == [V6[0]]
    assert net.next_time() is None


def test_a_failure_starts_the_next_attempt_at_once_and_its_delay_anew() -> None:
    net = Net(*V4, "192.0.2.3")
    net.connect()
    net.advance(0.2)
    net.attempts[V4[0]].errback(ConnectionRefused("cannot connect to it"))
    assert [address for _, address in net.started] == V4
    net.advance(0.2)
    assert len(net.started) == 2
    net.advance(0.05)
    assert len(net.started) == 3


def test_failures_at_once_pass_on_to_the_next_address() -> None:
    net = Net(*V4, V6[0])
    net.at_once.update({V4[0]: Unreachable("cannot connect: a"), V6[0]: Unreachable("cannot connect: b")})
    outcome = net.connect()
    assert [address for _, address in net.started] == [V4[0], V6[0], V4[1]]
    net.attempts[V4[1]].callback("there")
    assert outcome.result == "there"


def test_the_error_is_that_of_the_last_to_fail() -> None:
    net = Net(*V4)
    outcome = net.connect()
    net.advance(ATTEMPT_DELAY)
    net.attempts[V4[1]].errback(Unreachable("cannot connect to the second"))
    assert outcome.pending
    net.attempts[V4[0]].errback(ConnectionRefused("cannot connect to the first"))
    assert isinstance(outcome.error, ConnectionRefused)
    assert str(outcome.error) == "cannot connect to the first"


@pytest.mark.parametrize("refused", [0, 1])
def test_a_family_that_leads_nowhere_does_not_hide_what_the_host_said(refused: int) -> None:
    net = Net(V4[0], V6[0])
    hosts = [V4[0], V6[0]]
    net.at_once[hosts.pop(refused)] = ConnectionRefused("cannot connect: nobody listens")
    net.at_once[hosts.pop()] = Unreachable("cannot connect: no network", "ENETUNREACH")
    assert str(net.connect().error) == "cannot connect: nobody listens"


def test_thousands_of_unreachable_addresses_are_no_recursion() -> None:
    addresses = [f"192.0.{number // 256}.{number % 256}" for number in range(4000)]
    net = Net(*addresses)
    net.at_once.update(dict.fromkeys(addresses, Unreachable("cannot connect: no route")))
    outcome = net.connect()
    assert isinstance(outcome.error, Unreachable)
    assert len(net.started) == 4000


def test_cancelling_closes_every_attempt_and_starts_no_more() -> None:
    net = Net(*V6, *V4)
    outcome = net.connect()
    net.advance(ATTEMPT_DELAY)
    outcome.deferred.cancel()
    assert isinstance(outcome.error, Cancelled)
    assert net.closed == [V6[0], V4[0]]
    net.advance(60)
    assert len(net.started) == 2
    assert net.next_time() is None


def test_cancelling_before_the_name_is_resolved_tries_nothing() -> None:
    net = Net()
    net.names = Deferred()
    outcome = net.connect()
    outcome.deferred.cancel()
    assert isinstance(outcome.error, Cancelled)
    net.names.callback(V4)  # too late
    assert net.started == []


def test_the_time_counts_name_resolution_and_all_attempts() -> None:
    net = Net()
    net.names = Deferred()
    outcome = net.connect(timeout=2)
    net.advance(1.5)
    net.names.callback(V4)
    net.advance(0.49)
    assert outcome.pending
    net.advance(0.02)
    assert isinstance(outcome.error, ConnectTimedOut)
    assert str(outcome.error) == "cannot connect to host.example:80: no answer in 2 seconds"
    assert net.closed == V4
    assert net.next_time() is None


def test_success_leaves_no_timer() -> None:
    net = Net(*V4)
    outcome = net.connect()
    net.attempts[V4[0]].callback("there")
    assert outcome.result == "there"
    assert net.next_time() is None


@pytest.mark.parametrize(("local_host", "tried"), [("192.0.2.99", V4), ("2001:db8::99", V6)])
def test_only_the_family_of_the_local_address_is_tried(local_host: str, tried: list[str]) -> None:
    net = Net(*V6, *V4)
    net.connect(local_host=local_host)
    net.advance(5)
    assert [address for _, address in net.started] == tried


def test_no_address_of_the_family_of_the_local_address() -> None:
    outcome = Net(*V6).connect(local_host="192.0.2.99")
    assert isinstance(outcome.error, ConnectError)
    assert outcome.error.code == "EADDRNOTAVAIL"
    assert "family of 192.0.2.99" in str(outcome.error)


def test_a_name_that_is_not_found_is_told_with_the_target() -> None:
    net = Net()
    net.names = fail(NameNotFound("no such host"))
    error = net.connect().error
    assert isinstance(error, NameNotFound)
    assert error.code == "ENOTFOUND"
    assert str(error) == "cannot connect to host.example:80: no such host"


def test_other_errors_pass_unchanged() -> None:
    net = Net(V4[0])
    wrong = CertificateError("expired")
    net.at_once[V4[0]] = wrong
    assert net.connect().error is wrong


def test_an_attempt_that_raises_counts_as_failed() -> None:
    net = Net()

    def broken() -> Deferred[str]:
        raise ZeroDivisionError

    second: Deferred[str] = Deferred()
    outcome = Outcome(race(net, [lambda: second, broken]))
    net.advance(ATTEMPT_DELAY)
    second.errback(ConnectionRefused("no"))
    assert isinstance(outcome.error, ConnectionRefused)
    only = Outcome(race(net, [broken]))
    assert isinstance(only.error, ZeroDivisionError)


def test_a_failure_of_one_does_not_end_the_others() -> None:
    net = Net(*V4)
    outcome = net.connect()
    net.advance(ATTEMPT_DELAY)
    net.attempts[V4[0]].errback(ConnectionRefused("cannot connect"))
    assert outcome.pending
    net.attempts[V4[1]].callback("there")
    assert outcome.result == "there"
    assert net.closed == []


def test_known_addresses_are_raced_without_asking_for_a_name(reactor: Reactor) -> None:
    listener = reactor.listen(Protocol, "127.0.0.1", 0)
    assert isinstance(listener.address, Address)
    # Nobody listens at the first of them, and the others answer.
    hosts = ["127.0.0.2", "127.0.0.1", "127.0.0.1"]
    made: list[Protocol] = []

    def make() -> Protocol:
        made.append(Protocol())
        return made[-1]

    connecting = connect_to_addresses(reactor, make, hosts, listener.address.port)
    assert made == [wait_for(reactor, connecting)]
    listener.close()
    with pytest.raises(ConnectionRefused):
        wait_for(reactor, connect_to_addresses(reactor, make, hosts[:1], listener.address.port))


def test_known_addresses_that_do_not_answer_in_time() -> None:
    class Silent(ManualClock):
        def connect(self, factory: object, host: str, port: int, *, timeout: float) -> Deferred[Protocol]:
            return Deferred()

    net: typing.Any = Silent()
    connecting = connect_to_addresses(net, Protocol, V4, 80, timeout=5.0)
    net.advance(5.0)
    with pytest.raises(ConnectTimedOut, match="no answer in 5 seconds"):
        wait_for(net, connecting)
