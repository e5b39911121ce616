"""The clients: plain sockets and one epoll, so that no peer is measured by its own tools."""

from __future__ import annotations

import select
import socket
import struct
import subprocess
import time

_TIMEOUT = 20.0
_RESET = struct.pack("ii", 1, 0)


def _connect(port: int) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port), timeout=_TIMEOUT)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def ping_pong(port: int, seconds: float, request: bytes, connections: int = 100) -> int:
    """Send `request` on each connection whenever the whole of it has come back; return how often it did."""
    socks = {sock.fileno(): sock for sock in (_connect(port) for _ in range(connections))}
    poller = select.epoll()
    missing = dict.fromkeys(socks, len(request))
    for fd, sock in socks.items():
        poller.register(fd, select.EPOLLIN)
        sock.sendall(request)
    done = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for fd, _flags in poller.poll(_TIMEOUT):
            sock = socks[fd]
            data = sock.recv(65536)
            if not data:
                raise ConnectionError("the server closed a connection")
            missing[fd] -= len(data)
            if missing[fd] == 0:
                done += 1
                missing[fd] = len(request)
                sock.send(request)
    poller.close()
    for sock in socks.values():
        sock.close()
    return done


def connect_echo_close(port: int, seconds: float, concurrent: int = 16) -> int:
    """Open a connection, send 64 bytes, read them back, close; `concurrent` at a time."""
    request = b"x" * 64
    done = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        socks = [_connect(port) for _ in range(concurrent)]
        for sock in socks:
            sock.sendall(request)
        for sock in socks:
            missing = len(request)
            while missing:
                missing -= len(sock.recv(missing))
            # Reset rather than closed, or the ports in TIME-WAIT would run out; the server sees an end first.
            sock.shutdown(socket.SHUT_WR)
        for sock in socks:
            sock.recv(1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            sock.close()
            done += 1
    return done


def idle_connections(port: int, count: int) -> list[socket.socket]:
    """Open `count` connections, each having exchanged 64 bytes, and return them."""
    socks = []
    for _ in range(count):
        sock = _connect(port)
        sock.sendall(b"x" * 64)
        sock.recv(64)
        socks.append(sock)
    return socks


class FTPClient:
    """A client that is logged in."""

    def __init__(self, port: int) -> None:
        self._control = _connect(port)
        self._replies = self._control.makefile("rb")
        self._reply()
        for command in ("USER user", "PASS password", "TYPE I"):
            self._ask(command)

    def _reply(self) -> bytes:
        line = self._replies.readline()
        if line[:1] not in b"123":
            raise ConnectionError(repr(line))
        return line

    def _ask(self, command: str) -> bytes:
        self._control.sendall(f"{command}\r\n".encode())
        return self._reply()

    def fetch(self, name: str, buffer: bytearray) -> int:
        """Retrieve a file; return its length."""
        with _connect(int(self._ask("EPSV").split(b"|")[3])) as data:
            self._ask(f"RETR {name}")
            length = 0
            while count := data.recv_into(buffer):
                length += count
        self._reply()
        return length


def ftp_small(port: int, seconds: float) -> int:
    """Fetch small files, each by EPSV and RETR; return how many."""
    client, buffer, done = FTPClient(port), bytearray(65536), 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        client.fetch(f"small{done % 100}", buffer)
        done += 1
    return done


def ftp_large(port: int, seconds: float) -> int:
    """Fetch a large file again and again; return the megabytes."""
    client, buffer, megabytes = FTPClient(port), bytearray(256 * 1024), 0
    end = time.monotonic() + seconds
    while time.monotonic() < end or not megabytes:
        megabytes += client.fetch("large", buffer) >> 20
    return megabytes


def http_requests(port: int, seconds: float, connections: int = 50) -> int:
    """Return how many GET requests wrk had answered."""
    url = f"http://127.0.0.1:{port}/"
    command = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", url]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    if "Non-2xx" in output:
        raise ConnectionError(output)
    line = next(line for line in output.splitlines() if "requests in" in line)
    return int(line.split()[0])
