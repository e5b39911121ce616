"""The clients, so that no peer is measured by its own tools.

What comes in small pieces is sent by a program in C (`load.c`, or wrk): a client in Python is no faster than
the servers, which then get one message or two at a time, and are measured waiting.
"""

from __future__ import annotations

import atexit
import functools
import pathlib
import shutil
import socket
import subprocess
import tempfile
import time

_TIMEOUT = 20.0


def _connect(port: int) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port), timeout=_TIMEOUT)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


@functools.cache
def _fast_client() -> str:
    """Compile `load.c`; return the path of the program."""
    source = pathlib.Path(__file__).with_name("load.c")
    program = pathlib.Path(tempfile.mkdtemp(prefix="portable-bench-")) / "load"
    atexit.register(shutil.rmtree, program.parent)
    try:
        subprocess.run(["cc", "-O2", "-Wall", "-Wextra", "-o", program, source], check=True)
    except FileNotFoundError:
        raise SystemExit("ci/bench: the load is made by a C program, and there is no cc; install gcc") from None
    except subprocess.CalledProcessError:
        raise SystemExit("ci/bench: the load does not compile; install gcc and libc6-dev") from None
    return str(program)


def _run_fast_client(kind: str, port: int, seconds: float, connections: int, request: bytes) -> int:
    command = [_fast_client(), kind, str(port), str(seconds), str(connections)]
    return int(subprocess.run(command, input=request, check=True, stdout=subprocess.PIPE).stdout)


def ping_pong(port: int, seconds: float, request: bytes, connections: int = 100) -> int:
    """Send `request` on each connection whenever the whole of it has come back; return how often it did."""
    return _run_fast_client("ping-pong", port, seconds, connections, request)


def connect_echo_close(port: int, seconds: float, concurrent: int = 16) -> int:
    """Open a connection, send 64 bytes, read them back, close; `concurrent` at a time. Return how often."""
    return _run_fast_client("connect", port, seconds, concurrent, b"x" * 64)


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
