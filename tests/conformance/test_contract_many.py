"""The contract of large numbers, and what a backend declares about its limits."""

from __future__ import annotations

import resource
import socket
import time
import typing

import pytest

from portable.protocol import Protocol
from portable.testing import wait_until
from tests.conformance.judge import End, port_of

if typing.TYPE_CHECKING:
    from collections.abc import Iterator

    from portable.reactor import Reactor
    from portable.transport import Transport
    from tests.backends_under_test import Backend
    from tests.conftest import ErrorLog


class Counts:
    """How many of the very many there are."""

    def __init__(self) -> None:
        self.made = 0
        self.lost = 0


class Idle(Protocol):
    """One of very many."""

    def __init__(self, counts: Counts) -> None:
        self.counts = counts

    def connection_made(self, transport: Transport) -> None:
        self.transport = transport
        self.counts.made += 1

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)

    def connection_lost(self, exc: object) -> None:
        self.counts.lost += 1


@pytest.fixture
def many_descriptors() -> Iterator[int]:
    """How many descriptors this process may have, raised as far as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_ten_thousand_idle_connections(reactor: Reactor, backend: Backend, many_descriptors: int) -> None:
    """They cost no processor time, and one of them is served as if it were alone."""
    limit = min(many_descriptors, backend.most_descriptors or many_descriptors)
    # Both ends are in this process.
    count = min(10_000, (limit - 200) // 2)
    counts = Counts()
    listener = reactor.listen(lambda: Idle(counts), "127.0.0.1")
    peers: list[socket.socket] = []
    try:
        for _ in range(count // 100):
            peers += [socket.create_connection(("127.0.0.1", port_of(listener)), 10) for _ in range(100)]
            reactor.step()
        wait_until(reactor, lambda: counts.made == len(peers), seconds=60)
        before = time.process_time()
        for _ in range(100):
            reactor.step(0.002)
        assert time.process_time() - before < 0.2
        peers[-1].sendall(b"x")
        peers[-1].setblocking(False)
        wait_until(reactor, lambda: _received(peers[-1]) == b"x")
    finally:
        for peer in peers:
            peer.close()
    wait_until(reactor, lambda: counts.lost == len(peers), seconds=60)


def _received(peer: socket.socket) -> bytes:
    try:
        return peer.recv(10)
    except BlockingIOError:
        return b""


@pytest.mark.backend_declares("most_descriptors")
def test_more_descriptors_than_the_backend_declares(
    reactor: Reactor, backend: Backend, many_descriptors: int, error_log: ErrorLog
) -> None:
    """Those above are refused, which the log tells; the others are served, and the loop stays alive."""
    assert backend.most_descriptors is not None
    assert many_descriptors > backend.most_descriptors + 200
    ends: list[End] = []

    def factory() -> End:
        ends.append(End(on_data=lambda end, data: end.transport.write(data)))
        return ends[-1]

    listener = reactor.listen(factory, "127.0.0.1")
    filler = [socket.socket() for _ in range(backend.most_descriptors)]
    peers = []
    try:
        above = socket.create_connection(("127.0.0.1", port_of(listener)), 10)
        peers.append(above)
        for _ in range(5):
            reactor.step(0.02)
        assert not [end for end in ends if not end.lost]
        for sock in filler:
            sock.close()
        below = socket.create_connection(("127.0.0.1", port_of(listener)), 10)
        peers.append(below)
        below.sendall(b"x")
        wait_until(reactor, lambda: any(end.data for end in ends), seconds=5)
    finally:
        for sock in filler + peers:
            sock.close()
    wait_until(reactor, lambda: all(end.lost for end in ends))
    error_log.expect("", None)


@pytest.mark.parametrize("rounds", [300])
def test_connect_talk_and_close_leaves_nothing(reactor: Reactor, rounds: int) -> None:
    """Descriptor numbers are used again and again: no event of an old connection reaches a new one."""
    live: set[End] = set()

    def factory() -> End:
        end = End(on_data=lambda end, data: end.transport.write(data), on_lost=live.discard)
        live.add(end)
        return end

    listener = reactor.listen(factory, "127.0.0.1")
    port, done = port_of(listener), 0

    def answered(end: End, data: bytes) -> None:
        if len(end.data) == 5:
            end.transport.close()

    def finished(end: End) -> None:
        nonlocal done
        done += 1
        assert end.data == b"hello"
        if done + 9 < rounds:
            begin()

    def begin() -> None:
        reactor.connect(
            lambda: End(on_made=lambda e: e.transport.write(b"hello"), on_data=answered, on_lost=finished),
            "127.0.0.1",
            port,
        )

    for _ in range(10):
        begin()
    wait_until(reactor, lambda: done >= rounds and not live, seconds=20)
