"""What a client has at hand: the server's addresses, programs, sockets, and a place to say what it saw."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import time
import typing

from ci.acceptance.record import Failed
from ci.acceptance.runtimes import environment

if typing.TYPE_CHECKING:
    import pathlib
    from collections.abc import Callable, Mapping

    from ci.acceptance.relay import DatagramRelay, StreamRelay

__all__ = ["Stage", "free_ports", "read_all", "read_answer", "read_some"]

SECONDS = 20.0


class Stage:
    """One client's view of a running server.

    Args:
        folder: where the server was prepared; programs run here.
        relays: by the name of the `Port`.
        log: returns what the server has logged.
        signal_server: sends it a signal.

    Attributes:
        relays: as given.
        seen: what the client told, to be compared.
    """

    def __init__(
        self,
        folder: pathlib.Path,
        relays: Mapping[str, StreamRelay | DatagramRelay],
        log: Callable[[], str],
        signal_server: Callable[[int], None],
    ) -> None:
        self.folder = folder
        self.seen = bytearray()
        self.relays = relays
        self._log = log
        self._signal = signal_server
        self._open = contextlib.ExitStack()

    def port(self, name: str) -> int:
        """Return the port to connect to, which is the same for every runtime."""
        return self.relays[name].port

    def url(self, path: str = "/", port: str = "web", scheme: str = "http", host: str = "127.0.0.1") -> str:
        """Return a URL of the server."""
        return f"{scheme}://{host}:{self.port(port)}{path}"

    def see(self, what: str | bytes) -> None:
        """Note something that has to be the same for every runtime."""
        self.seen += what.encode() if isinstance(what, str) else what

    @staticmethod
    def check(condition: object, what: str) -> None:
        """Fail unless the condition holds, whatever other runtimes do."""
        if not condition:
            raise Failed(what)

    def run(self, program: str, *words: str, typed: bytes = b"", status: int = 0, note: bool = True) -> bytes:
        """Run a program to its end and return its standard output, which is noted.

        Raises:
            Failed: it is not installed, takes too long, or ends with another status.
        """
        with self._start(program, *words) as process:
            try:
                output, errors = process.communicate(typed, timeout=SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                raise Failed(f"{program} {' '.join(words)}: more than {SECONDS:g} seconds") from None
        if process.returncode != status:
            said = errors.decode(errors="replace").strip() or output[-200:].decode(errors="replace")
            raise Failed(f"{program} {' '.join(words)}: exit status {process.returncode}, not {status}: {said}")
        if note:
            self.see(output)
        return output

    def curl(self, *words: str, status: int = 0) -> bytes:
        """Run curl, with the answer's head in its output."""
        return self.run("curl", "-sS", "-i", "--max-time", "15", *words, status=status)

    def _start(self, program: str, *words: str) -> subprocess.Popen[bytes]:
        found = shutil.which(program)
        if found is None:
            raise Failed(f"{program} is not installed")
        environ = {**environment(), "HOME": str(self.folder)}
        return subprocess.Popen(
            [found, *words],
            cwd=self.folder,
            env=environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def connect(self, name: str, buffer: int = 0) -> socket.socket:
        """Return a connection, closed at the end; `buffer` limits what it takes unread, in bytes."""
        sock = self._open.enter_context(socket.socket())
        if buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        sock.settimeout(SECONDS)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.connect(("127.0.0.1", self.port(name)))
        return sock

    def datagrams(self, name: str) -> socket.socket:
        """Return a UDP socket connected to the server, closed at the end of the client."""
        sock = self._open.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        sock.settimeout(5.0)
        sock.connect(("127.0.0.1", self.port(name)))
        return sock

    def ask(self, name: str, request: bytes, half_close: bool = False) -> bytes:
        """Send something on a new connection, and return all that comes until the server ends it."""
        sock = self.connect(name)
        sock.sendall(request)
        if half_close:
            sock.shutdown(socket.SHUT_WR)
        return read_all(sock)

    def wait_for_log(self, pattern: str) -> None:
        """Wait until the pattern finds something in the server's log."""
        deadline = time.monotonic() + SECONDS
        while not re.search(pattern, self._log()):
            self.check(time.monotonic() < deadline, f"the log does not say {pattern!r} in {SECONDS:g} seconds")
            time.sleep(0.01)

    def terminate(self) -> None:
        """Send SIGTERM to the server, and return when it says that it is stopping."""
        self._signal(signal.SIGTERM)
        # A Java program first says that there is a signal, and then as we do.
        self.wait_for_log("stopping: SIGTERM|stopping; work")

    def close(self) -> None:
        """Close what the client has left open."""
        self._open.close()


def read_all(sock: socket.socket) -> bytes:
    """Return everything up to the end of the stream."""
    parts = []
    while part := sock.recv(65536):
        parts.append(part)
    return b"".join(parts)


def read_some(sock: socket.socket, count: int) -> bytes:
    """Return exactly `count` bytes.

    Raises:
        Failed: the stream ended before.
    """
    data = bytearray()
    while len(data) < count:
        part = sock.recv(min(65536, count - len(data)))
        if not part:
            raise Failed(f"the stream ended after {len(data)} of {count} bytes")
        data += part
    return bytes(data)


def read_answer(sock: socket.socket) -> bytes:
    """Return one HTTP answer with a Content-Length.

    Raises:
        Failed: the stream ended before, or there is no length.
    """
    head = bytearray()
    while not head.endswith(b"\r\n\r\n"):
        head += read_some(sock, 1)
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return bytes(head) + read_some(sock, int(value))
    raise Failed(f"no Content-Length in {bytes(head)!r}")


def free_ports(*offsets: int) -> int:
    """Return a number that, added to each of `offsets`, gives ports free for TCP and UDP.

    Outside the range of which systems take ports for clients.
    """
    for base in range(12_000 + os.getpid() % 9000, 32_000, 101):
        with contextlib.ExitStack() as stack:
            try:
                for offset in offsets:
                    stack.enter_context(socket.create_server(("127.0.0.1", base + offset)))
                    datagram = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
                    datagram.bind(("127.0.0.1", base + offset))
            except OSError:
                continue
            return base
    raise Failed("no such ports are free")
