from __future__ import annotations

from portable import attempts
from portable.attempts import FORGET, MAX_PEERS, LoginAttempts
from portable.testing import ManualClock
from portable.transport import Address

PEER = Address("192.0.2.1", 1000)


def test_each_failure_doubles_the_wait() -> None:
    logins = LoginAttempts(ManualClock())
    waits = []
    for _ in range(7):
        waits.append(logins.wait(PEER))
        logins.failed(PEER)
    assert waits == [0, 1, 2, 4, 8, 16, 16]
    assert logins.wait(Address("192.0.2.1", 2000)) == 16
    assert logins.wait(Address("192.0.2.2", 1000)) == 0


def test_a_peer_is_refused_after_many_failures_until_they_are_forgotten() -> None:
    clock = ManualClock()
    logins = LoginAttempts(clock, most=3)
    for _ in range(3):
        assert not logins.refused(PEER)
        logins.failed(PEER)
    assert logins.refused(PEER)
    clock.advance(FORGET - 1)
    assert logins.refused(PEER)
    clock.advance(1)
    assert not logins.refused(PEER)
    assert logins.wait(PEER) == 0


def test_a_login_forgets_the_failures() -> None:
    logins = LoginAttempts(ManualClock())
    logins.failed(PEER)
    logins.succeeded(PEER)
    assert logins.wait(PEER) == 0


def test_a_million_peers_take_no_more_memory_than_the_limit() -> None:
    logins = LoginAttempts(ManualClock())
    first = Address("2001:db8::1", 1)
    logins.failed(first)
    for number in range(MAX_PEERS):
        logins.failed(Address(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", 1))
    assert logins.wait(first) == 0
    assert logins.wait(Address("10.0.0.0", 1)) == attempts.FIRST_DELAY


def test_addresses_of_one_ipv6_network_are_one_peer() -> None:
    logins = LoginAttempts(ManualClock())
    logins.failed(Address("2001:db8::1", 1))
    assert logins.wait(Address("2001:db8::2", 1)) == 1
    assert logins.wait(Address("2001:db8:0:1::2", 1)) == 0
