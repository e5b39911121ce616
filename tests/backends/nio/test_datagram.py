"""UDP sockets of Java's that are full: on the loopback none ever is, so Java's word for it is made up."""

from __future__ import annotations

import typing

from backends.nio.bridge import WRITABLE
from portable.protocol import DatagramProtocol

if typing.TYPE_CHECKING:
    from backends.nio.reactor import NioReactor


class Recorder(DatagramProtocol):
    def __init__(self) -> None:
        self.calls: list[str] = []

    def pause_writing(self) -> None:
        self.calls.append("pause")

    def resume_writing(self) -> None:
        self.calls.append("resume")


def test_a_full_socket_pauses_writing(nio: NioReactor) -> None:
    protocol = Recorder()
    transport = nio.listen_datagram(lambda: protocol, "127.0.0.1")
    nio.step()
    transport.on_event(WRITABLE, 0, b"")
    assert protocol.calls == ["pause"]
    transport.on_event(WRITABLE, 1, b"")
    assert protocol.calls == ["pause", "resume"]
