"""The contract of sharing: who sends much does not starve who sends as much, or who comes late."""

from __future__ import annotations

import socket
import typing

from portable.protocol import Protocol
from portable.testing import wait_until
from tests.conformance.judge import port_of

if typing.TYPE_CHECKING:
    from portable.reactor import Reactor

CONNECTIONS = 60
# Bytes from each on average: the system's buffers grow first; then they count, many times what a turn reads
# from one.
WARM_UP = 3_000_000
EACH = 6_000_000
PIECE = bytes(65536)


class Count(Protocol):
    """Counts what it gets."""

    def __init__(self) -> None:
        self.received = 0

    def data_received(self, data: bytes) -> None:
        self.received += len(data)


def fill(sock: socket.socket) -> None:
    """Send until nothing more goes in."""
    try:
        while sock.send(PIECE):
            pass
    except BlockingIOError:
        return


def test_bulk_connections_share_and_a_newcomer_gets_in(reactor: Reactor) -> None:
    """Of sixty that always have more, the slowest gets four fifths of what the fastest gets, or more."""
    counts: list[Count] = []

    def factory() -> Count:
        counts.append(Count())
        return counts[-1]

    port = port_of(reactor.listen(factory, "127.0.0.1"))
    socks = []
    try:
        for _ in range(CONNECTIONS):
            socks.append(socket.create_connection(("127.0.0.1", port), 10))
            socks[-1].setblocking(False)
            reactor.step(0)
        wait_until(reactor, lambda: len(counts) == CONNECTIONS)

        def send_on(total: int) -> list[int]:
            while sum(received := [count.received for count in counts[:CONNECTIONS]]) < CONNECTIONS * total:
                for sock in socks[:CONNECTIONS]:
                    fill(sock)
                reactor.step(0)
            return received

        before = send_on(WARM_UP)
        socks.append(socket.create_connection(("127.0.0.1", port), 10))
        socks[-1].sendall(b"hello")
        after = send_on(WARM_UP + EACH)
        assert [count.received for count in counts[CONNECTIONS:]] == [5]
        speeds = [late - early for early, late in zip(before, after, strict=True)]
        assert min(speeds) >= 0.8 * max(speeds), sorted(speeds)
    finally:
        for sock in socks:
            sock.close()
