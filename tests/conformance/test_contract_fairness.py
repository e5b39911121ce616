"""The contract of sharing: who sends much does not starve who sends as much, or who comes late."""

from __future__ import annotations

import socket
import typing

from portable.protocol import Protocol
from portable.testing import wait_until

if typing.TYPE_CHECKING:
    import pathlib

    from portable.reactor import Reactor

CONNECTIONS = 60
# What each has sent on average when it is judged: many times what a turn of the loop reads from one of them.
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


def test_bulk_connections_share_and_a_newcomer_gets_in(reactor: Reactor, tmp_path: pathlib.Path) -> None:
    """Of sixty that always have more, the slowest gets four fifths of what the fastest gets, or more."""
    counts: list[Count] = []

    def factory() -> Count:
        counts.append(Count())
        return counts[-1]

    # By TCP, the system's acknowledgements would now and then leave all but one of them waiting.
    path = str(tmp_path / "x")
    reactor.listen_unix(factory, path)
    socks: list[socket.socket] = []

    def add() -> None:
        socks.append(socket.socket(socket.AF_UNIX))
        socks[-1].connect(path)
        socks[-1].setblocking(False)

    try:
        for _ in range(CONNECTIONS):
            add()
            wait_until(reactor, lambda: len(counts) == len(socks))
        add()
        socks[-1].sendall(b"hello")
        while sum(count.received for count in counts) < CONNECTIONS * EACH:
            for sock in socks[:CONNECTIONS]:
                fill(sock)
            reactor.step(0)
        received = [count.received for count in counts]
        assert received.pop() == 5
        assert min(received) >= 0.8 * max(received), sorted(received)
    finally:
        for sock in socks:
            sock.close()
