"""Clients of all manners, as fast as they are served: those that ask, download, give up, and read slowly."""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import threading
import typing

if typing.TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["BIG", "BODY", "Clients"]

BODY = b"<h1>hello</h1>\n"
BIG = 4_000_000  # bytes of the file "big.bin"

_TIMEOUT = 20.0
_RESET = struct.pack("ii", 1, 0)
_LETTER = bytes(range(256)) * 400


class Clients:
    """So many of them, each in a thread, each with one thing after the other.

    Attributes:
        done: how often each thing was done.
        failures: what went wrong; nothing should.
    """

    def __init__(self, count: int, web: int, echo: int, datagrams: int) -> None:
        self.done: dict[str, int] = {}
        self.failures: list[str] = []
        self._web = web
        self._echo = echo
        self._datagrams = datagrams
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(count)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Let each finish what it is at."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def _run(self, number: int) -> None:
        things = (
            self._ask,
            self._ask,
            self._download,
            self._give_up,
            self._read_slowly,
            self._talk,
            self._send,
        )
        chance = random.Random(number)
        while not self._stopping.is_set():
            thing = chance.choice(things)
            try:
                thing()
            except Exception as error:  # noqa: BLE001 - whatever it is, it is told at the end
                with self._lock:
                    self.failures.append(f"{thing.__name__.strip('_')}: {error!r}")
                return
            with self._lock:
                name = thing.__name__.strip("_")
                self.done[name] = self.done.get(name, 0) + 1

    @contextlib.contextmanager
    def _connected(self, port: int) -> Iterator[socket.socket]:
        with socket.create_connection(("127.0.0.1", port), _TIMEOUT) as sock:
            yield sock
            # Reset rather than closed, or the ports in TIME-WAIT would run out.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)

    def _request(self, sock: socket.socket, path: str) -> None:
        sock.sendall(f"GET /{path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())

    def _ask(self) -> None:
        """Fifty times on one connection."""
        with self._connected(self._web) as sock:
            for _ in range(50):
                self._request(sock, "index.html")
                answer = b""
                while not answer.endswith(BODY):
                    answer += _some(sock)

    def _download(self) -> None:
        with self._connected(self._web) as sock:
            self._request(sock, "big.bin")
            self._take(sock, BIG)

    def _give_up(self) -> None:
        with self._connected(self._web) as sock:
            self._request(sock, "big.bin")
            self._take(sock, BIG // 10)

    def _read_slowly(self) -> None:
        """A little now and then: what the server has to wait with."""
        with self._connected(self._web) as sock:
            self._request(sock, "big.bin")
            for _ in range(20):
                self._take(sock, 50_000)
                self._stopping.wait(0.02)

    def _talk(self) -> None:
        with self._connected(self._echo) as sock:
            for _ in range(10):
                sock.sendall(_LETTER)
                self._take(sock, len(_LETTER))

    def _send(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.connect(("127.0.0.1", self._datagrams))
            sock.settimeout(0.05)
            # The server answers only so many of one address in a second.
            with contextlib.suppress(TimeoutError):
                for _ in range(20):
                    sock.send(b"datagram")
                    sock.recv(100)

    @staticmethod
    def _take(sock: socket.socket, count: int) -> None:
        while count > 0:
            count -= len(_some(sock, count))


def _some(sock: socket.socket, most: int = 65536) -> bytes:
    data = sock.recv(min(most, 65536))
    if not data:
        raise ConnectionError("the server has closed the connection")
    return data
