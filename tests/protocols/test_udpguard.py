"""UDP answers: no loops, no amplification, bounded memory."""

from __future__ import annotations

import pytest

from portable.testing import ManualClock, MemoryDatagramTransport
from portable.transport import Address
from protocols.echo import echo_answer
from protocols.udpguard import BURST_SECONDS, HEADERS, DatagramAnswers, ReplyGuard


def echo(guard: ReplyGuard) -> MemoryDatagramTransport:
    return MemoryDatagramTransport(DatagramAnswers(echo_answer, guard))


def test_a_client_gets_its_answer() -> None:
    transport = echo(ReplyGuard(ManualClock()))
    transport.receive(b"hello", Address("192.0.2.7", 40001))
    transport.receive(b"", Address("2001:db8::7", 1024))
    assert transport.sent == [
        (b"hello", Address("192.0.2.7", 40001)),
        (b"", Address("2001:db8::7", 1024)),
    ]


@pytest.mark.parametrize("port", [0, 7, 13, 17, 19, 37, 53, 123, 1023])
def test_udp_services_are_never_answered_so_no_loop_begins(port: int) -> None:
    guard = ReplyGuard(ManualClock())
    transport = echo(guard)
    transport.receive(b"hello", Address("192.0.2.7", port))
    assert transport.sent == []
    assert guard.refused == 1
    assert not guard.admit(Address("192.0.2.7", port), 1)
    assert len(guard) == 0


def test_our_own_services_are_never_answered() -> None:
    transport = echo(ReplyGuard(ManualClock(), service_ports=[10_007, 10_019]))
    transport.receive(b"hello", Address("127.0.0.1", 10_019))
    assert transport.sent == []
    transport.receive(b"hello", Address("127.0.0.1", 10_020))
    assert transport.take() == [b"hello"]


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "255.255.255.255", "224.0.0.1", "::", "ff02::1", "ff02::1%eth0", "no address"]
)
def test_addresses_that_are_nobodys_own_are_never_answered(host: str) -> None:
    transport = echo(ReplyGuard(ManualClock()))
    transport.receive(b"hello", Address(host, 40_000))
    assert transport.sent == []


def test_udp_amplification_is_bounded_for_each_victim() -> None:
    clock = ManualClock()
    guard = ReplyGuard(clock, peer_rate=1000, total_rate=1e9)
    transport = MemoryDatagramTransport(DatagramAnswers(lambda data: b"x" * 472, guard), clock)
    victim = Address("192.0.2.7", 40_000)
    sent = 0
    seconds = 60
    for number in range(seconds * 100):
        transport.receive(b"", Address(victim.host, 40_000 + number % 100))  # another port is the same victim
        sent += sum(len(data) + HEADERS for data in transport.take())
        clock.advance(0.01)
    assert (seconds - 1) * 1000 <= sent <= (seconds + BURST_SECONDS) * 1000
    transport.receive(b"", Address("192.0.2.8", 40_000))
    assert len(transport.take()) == 1


def test_a_64_is_one_peer() -> None:
    guard = ReplyGuard(ManualClock(), peer_rate=100)
    assert guard.admit(Address("2001:db8::1", 40_000), 300)
    assert not guard.admit(Address("2001:db8::2%eth0", 40_000), 300)
    assert guard.admit(Address("2001:db8:0:1::1", 40_000), 300)
    assert len(guard) == 2


def test_forged_addresses_without_number_are_bounded_in_bytes_and_memory() -> None:
    clock = ManualClock()
    guard = ReplyGuard(clock, total_rate=1000, max_peers=50)
    admitted = [guard.admit(Address(f"10.0.{n // 250}.{n % 250}", 40_000), 72) for n in range(5000)]
    assert sum(admitted) == 1000 * BURST_SECONDS / 100
    assert len(guard) == 50
    clock.advance(1)
    assert [guard.admit(Address("192.0.2.1", 40_000), 72) for _ in range(11)] == [True] * 10 + [False]


def test_the_peer_heard_of_last_is_remembered() -> None:
    guard = ReplyGuard(ManualClock(), peer_rate=32, max_peers=2)
    first = Address("192.0.2.1", 40_000)
    assert guard.admit(first, 100)
    assert guard.admit(Address("192.0.2.2", 40_000), 100)
    assert not guard.admit(first, 100)
    assert guard.admit(Address("192.0.2.3", 40_000), 100)
    assert not guard.admit(first, 100)
    assert guard.admit(Address("192.0.2.2", 40_000), 100)
