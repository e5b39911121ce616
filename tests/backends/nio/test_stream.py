"""Streams over java.nio: what only they have."""

from __future__ import annotations

import socket
import typing

import pytest

from portable.testing import wait_until
from tests.conformance.judge import End
from tests.conformance.test_contract_random import play

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


@pytest.mark.parametrize("seed", range(20))
def test_whatever_the_ends_do_with_small_buffers(narrow: NioReactor, seed: int, tmp_path: pathlib.Path) -> None:
    """Operations are handed over in several parts, and events of one turn come in several."""
    play(narrow, seed, tmp_path)
