"""An FTP server on a reactor, and a client that says what a test wants, byte for byte."""

from __future__ import annotations

import typing

import pytest

from portable.attempts import LoginAttempts
from portable.deferred import succeed
from portable.protocol import Protocol
from portable.testing import wait_for, wait_until
from portable.transport import Address
from protocols.ftp.server import ALL, Account, FTPServer, Limits, Site
from protocols.servers.ftp.memory import MemoryFiles

if typing.TYPE_CHECKING:
    from collections.abc import Callable

    from portable.deferred import Deferred
    from portable.errors import TransportError
    from portable.reactor import Reactor
    from portable.transport import Transport

NOW = 1_700_000_000.0  # 2023-11-14 22:13:20 UTC


class Line(Protocol):
    """One connection of the client."""

    transport: Transport

    def __init__(self, *, reading: bool = True) -> None:
        self.received = b""
        self.ended = False
        self.lost = False
        self.reason: TransportError | None = None
        self._reading = reading

    def connection_made(self, transport: Transport) -> None:
        self.transport = transport
        if not self._reading:
            transport.pause_reading()

    def data_received(self, data: bytes) -> None:
        self.received += data

    def eof_received(self) -> bool:
        self.ended = True
        return True

    def connection_lost(self, exc: TransportError | None) -> None:
        self.lost = True
        self.reason = exc


class Client:
    """A control connection, and the data connections that go with it."""

    def __init__(self, reactor: Reactor, port: int) -> None:
        self.reactor = reactor
        self.control = Line()
        wait_for(reactor, reactor.connect(lambda: self.control, "127.0.0.1", port))
        self.seen = 0
        self.greeting = self.read()

    def send(self, text: str | bytes) -> None:
        """Send bytes as they are."""
        self.control.transport.write(text.encode() if isinstance(text, str) else text)

    def read(self) -> str:
        """Return the next reply, whole, with "\\n" between its lines."""
        wait_until(self.reactor, lambda: self._reply() is not None or self.control.ended, what="a reply")
        reply = self._reply()
        assert reply is not None, f"the server has closed the connection after {self.control.received[-200:]!r}"
        self.seen += len(reply.encode()) + reply.count("\n")
        return reply.rstrip("\n")

    def _reply(self) -> str | None:
        """Return the reply that begins at `seen`, if it is complete."""
        lines = self.control.received[self.seen :].decode().split("\r\n")
        if len(lines) < 2:
            return None
        code = lines[0][:4]
        if code[3:] != "-":
            return lines[0] + "\n"
        for number, line in enumerate(lines[1:-1], 2):
            if line.startswith(code[:3] + " "):
                return "\n".join(lines[:number]) + "\n"
        return None

    def ask(self, command: str | bytes) -> str:
        """Send a command, and return the reply."""
        self.send((command.encode() if isinstance(command, str) else command) + b"\r\n")
        return self.read()

    def log_in(self, name: str = "tom") -> Client:
        assert self.ask(f"USER {name}").startswith("331")
        assert self.ask("PASS right").startswith("230")
        return self

    def connect(self, *, reading: bool = True, local_host: str = "") -> Line:
        """Open a data connection by EPSV."""
        reply = self.ask("EPSV")
        assert reply.startswith("229"), reply
        line = Line(reading=reading)
        connecting = self.reactor.connect(
            lambda: line, "127.0.0.1", int(reply.split("|")[3]), local_host=local_host
        )
        return wait_for(self.reactor, connecting)

    def fetch(self, command: str) -> bytes:
        """Return what a command sends by a data connection."""
        line = self.connect()
        assert self.ask(command).startswith("150")
        reply = self.read()
        assert reply.startswith("226"), reply
        wait_until(self.reactor, lambda: line.ended, what="the end of the data")
        line.transport.close()
        return line.received

    def store(self, command: str, data: bytes) -> str:
        """Send data for a command, and return the last reply."""
        line = self.connect()
        reply = self.ask(command)
        if not reply.startswith("150"):
            line.transport.close()
            return reply
        line.transport.write(data)
        line.transport.close()
        return self.read()

    def wait_for_end(self) -> None:
        """Wait until the server has closed the connection."""
        wait_until(self.reactor, lambda: self.control.ended or self.control.lost, what="the end")
        self.control.transport.close()


class Case:
    """A server, whose site can be changed, and its clients."""

    def __init__(self, reactor: Reactor) -> None:
        self.reactor = reactor
        self.files = MemoryFiles(lambda: NOW)
        self.permissions = ALL
        self.authenticate: Callable[[str, str], Deferred[Account | None]] = self._authenticate
        self.site = Site(
            reactor,
            lambda name, password: self.authenticate(name, password),  # noqa: PLW0108 -- tests change it
            LoginAttempts(reactor),
            now=lambda: NOW,
            unique_name=lambda: "unique",
        )
        self.servers: list[FTPServer] = []
        self._listener = reactor.listen(self._make, "127.0.0.1")
        address = self._listener.address
        assert isinstance(address, Address)
        self.port = address.port

    def _authenticate(self, name: str, password: str) -> Deferred[Account | None]:
        return succeed(Account(self.files, self.permissions) if password == "right" else None)

    def _make(self) -> FTPServer:
        server = FTPServer(self.site)
        self.servers.append(server)
        return server

    def limit(self, **limits: float) -> None:
        self.site.limits = Limits(**limits)  # type: ignore[arg-type]  # counts, too

    def client(self) -> Client:
        return Client(self.reactor, self.port)

    def user(self) -> Client:
        return self.client().log_in()


@pytest.fixture
def case(reactor: Reactor) -> Case:
    return Case(reactor)
