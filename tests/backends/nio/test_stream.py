"""Streams over java.nio: what only they have."""

from __future__ import annotations

import socket
import typing

from portable.testing import wait_until
from tests.conformance.judge import End

if typing.TYPE_CHECKING:
    import pathlib

    from backends.nio.reactor import NioReactor

# Java gives an id again after so many connections in the same place.
GENERATIONS = 2047


def test_a_connection_that_has_ended_leaves_those_alone_that_have_its_id(
    nio: NioReactor, tmp_path: pathlib.Path
) -> None:
    """A protocol may hold a transport for as long as it likes, and still tell it to go on reading, say."""
    path = str(tmp_path / "socket")
    servers: list[End] = []

    def made() -> End:
        servers.append(End())
        return servers[-1]

    def dial() -> socket.socket:
        before = len(servers)
        peer = socket.socket(socket.AF_UNIX)
        peer.connect(path)
        wait_until(nio, lambda: len(servers) > before)
        return peer

    nio.listen_unix(made, path)
    for _ in range(GENERATIONS):
        dial().close()
        wait_until(nio, lambda: servers[-1].lost)
    with dial() as peer:
        old, new = servers[0], servers[-1]
        old.transport.pause_reading()
        nio.step()
        old.transport.resume_reading()
        nio.step()
        peer.sendall(b"still there")
        wait_until(nio, lambda: new.data or new.lost)
        assert new.data == b"still there"
