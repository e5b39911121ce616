"""Relays between clients and a server that write down every byte.

A relay keeps its own port for as long as it lives, while the server behind it changes: so clients say and are
told the same about ports, whichever runtime serves. Plain sockets and threads, nothing of what is being tested.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time

from ci.acceptance.record import Conversation

__all__ = ["DatagramRelay", "StreamRelay"]

# Small, so that a client which does not read is felt by the server, not swallowed here. Bytes.
BUFFER = 65536
# Seconds. Nothing that is tested is silent for longer.
PATIENCE = 60.0
# SO_LINGER on, for no time: closing resets.
_RESET = struct.pack("ii", 1, 0)


class _Stream:
    """One connection from a client, the one to the server, and what went through them."""

    def __init__(self, client: socket.socket, target: int | None) -> None:
        self.sent = bytearray()
        self.received = bytearray()
        self.chunks: list[tuple[float, str, int]] = []
        self.began = time.monotonic()
        self.end = "open"
        self.done = threading.Event()
        self._client = client
        self._server = socket.socket()
        self._target = target

    def run(self) -> None:
        """Copy until both directions have ended."""
        try:
            self._connect()
            other = threading.Thread(target=self._copy, args=(self._client, self._server, True), daemon=True)
            other.start()
            self._copy(self._server, self._client, False)
            other.join()
        except ConnectionRefusedError:
            self.end = "refused"
            self.abort()
        except OSError:
            # Accepted, and reset before connect() had looked.
            self.end = "reset"
            self.abort()
        finally:
            self._client.close()
            self._server.close()
            self.done.set()

    def abort(self) -> None:
        """Reset both connections; whoever waits for one wakes."""
        for each in (self._client, self._server):
            with contextlib.suppress(OSError):
                each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RD)

    def _connect(self) -> None:
        if self._target is None:
            raise ConnectionRefusedError
        for each in (self._client, self._server):
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            each.settimeout(PATIENCE)
        self._server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        self._client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
        self._server.connect(("127.0.0.1", self._target))

    def _copy(self, source: socket.socket, sink: socket.socket, from_client: bool) -> None:
        end = self._copy_all(source, sink, from_client)
        if not from_client and self.end == "open":
            self.end = end
        if end == "eof":
            with contextlib.suppress(OSError):
                sink.shutdown(socket.SHUT_WR)
        elif not (from_client and end == "cut"):
            self.abort()
        # Else the server takes no more: how it ended is for the other direction to say.

    def _copy_all(self, source: socket.socket, sink: socket.socket, from_client: bool) -> str:
        record, mark = (self.sent, ">") if from_client else (self.received, "<")
        while True:
            try:
                data = source.recv(BUFFER)
            except OSError:
                return "reset"
            if not data:
                return "eof"
            record += data
            self.chunks.append((time.monotonic(), mark, len(data)))
            try:
                sink.sendall(data)
            except OSError:
                return "cut"


class StreamRelay:
    """Listens on a port of its own and passes each connection on to `target`.

    Attributes:
        name: of the `Port`.
        port: its own.
        target: the server's, or None while there is none: then connections are refused.
    """

    protocol = "tcp"

    def __init__(self, name: str) -> None:
        self.name = name
        self.target: int | None = None
        self._streams: list[_Stream] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            stream = _Stream(client, self.target)
            self._streams.append(stream)
            threading.Thread(target=stream.run, daemon=True).start()

    def take(self, seconds: float) -> list[tuple[float, Conversation, list[tuple[float, str, int]]]]:
        """Return and forget the connections so far: begin, content, and time, direction and size of each chunk.

        Those that have not ended in `seconds` are "open", and are reset.
        """
        deadline = time.monotonic() + seconds
        found = []
        for stream in self._streams:
            stream.done.wait(max(0.0, deadline - time.monotonic()))
            made = Conversation(self.name, "tcp", (bytes(stream.sent),), (bytes(stream.received),), stream.end)
            stream.abort()
            # Connections are accepted in the order in which they were made; the threads of two that say
            # something at once may come in any order.
            found.append((stream.began, made, stream.chunks))
        self._streams = []
        return found

    def close(self) -> None:
        """Refuse connections from now on."""
        with contextlib.suppress(OSError):
            # close() alone would not wake accept().
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for stream in self._streams:
            stream.abort()


class _Flow:
    """All the datagrams of one client address."""

    def __init__(self, target: int) -> None:
        self.sent: list[bytes] = []
        self.received: list[bytes] = []
        self.chunks: list[tuple[float, str, int]] = []
        self.server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.server.connect(("127.0.0.1", target))


class DatagramRelay:
    """As `StreamRelay`, for UDP."""

    protocol = "udp"

    def __init__(self, name: str) -> None:
        self.name = name
        self.target: int | None = None
        self._flows: dict[tuple[str, int], _Flow] = {}
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        threading.Thread(target=self._pass_on, daemon=True).start()

    def _pass_on(self) -> None:
        while True:
            try:
                data, address = self._socket.recvfrom(65536)
            except OSError:
                return
            if self.target is None:
                continue
            flow = self._flows.get(address)
            if flow is None:
                flow = self._flows[address] = _Flow(self.target)
                threading.Thread(target=self._pass_back, args=(flow, address), daemon=True).start()
            flow.sent.append(data)
            flow.chunks.append((time.monotonic(), ">", len(data)))
            with contextlib.suppress(OSError):
                flow.server.send(data)

    def _pass_back(self, flow: _Flow, address: tuple[str, int]) -> None:
        while True:
            try:
                data = flow.server.recv(65536)
                flow.received.append(data)
                flow.chunks.append((time.monotonic(), "<", len(data)))
                self._socket.sendto(data, address)
            except ConnectionRefusedError:
                continue
            except OSError:
                return

    def take(self, seconds: float) -> list[tuple[float, Conversation, list[tuple[float, str, int]]]]:
        """As `StreamRelay.take`; datagrams that come later are lost."""
        found = []
        for flow in self._flows.values():
            made = Conversation(self.name, "udp", tuple(flow.sent), tuple(flow.received), "")
            found.append((flow.chunks[0][0], made, flow.chunks))
            self._end(flow)
        self._flows = {}
        return found

    def close(self) -> None:
        """Take no more datagrams."""
        for each in (self._socket, *(flow.server for flow in self._flows.values())):
            with contextlib.suppress(OSError):
                # Wakes recv(), though it fails with "not connected".
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    @staticmethod
    def _end(flow: _Flow) -> None:
        with contextlib.suppress(OSError):
            flow.server.shutdown(socket.SHUT_RDWR)
        flow.server.close()
