"""A folder with programs, served on a real reactor."""

from __future__ import annotations

import re
import socket
import threading
import typing

from portable.testing import wait_until
from protocols.servers.web.kind import WebService
from tests.protocols.servers.web.test_web import Running

if typing.TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from portable.reactor import Reactor

__all__ = ["GATE", "SECRET", "Answer", "Site"]

# Stands in every program: whoever gets it has seen the source.
SECRET = "the-password-in-the-source"

# What Python pages of tests may wait for.
GATE = threading.Event()

T = typing.TypeVar("T")


class Answer(typing.NamedTuple):
    """An HTTP answer, taken apart."""

    status: int
    head: str
    body: bytes


class Site(Running):
    """A web server for `folder`."""

    def __init__(self, reactor: Reactor, folder: Path, **options: typing.Any) -> None:
        super().__init__(reactor, path=str(folder), **options)
        self.folder = folder

    def put(self, name: str, text: str, mode: int = 0o755) -> Path:
        """Write a file."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
        return path

    def shell(self, name: str, script: str, mode: int = 0o755) -> Path:
        """Write a program in sh."""
        return self.put(name, f"#!/bin/sh\n# {SECRET}\n{script}\n", mode)

    def connect(self) -> socket.socket:
        """Return a connection to the server."""
        host, _, port = self.address().rpartition(":")
        return socket.create_connection((host, int(port)), timeout=20)

    def beside(self, function: Callable[[], T]) -> T:
        """Run something that blocks while the loop turns, and return its result."""
        results: list[T] = []
        thread = threading.Thread(target=lambda: results.append(function()))
        thread.start()
        wait_until(self.reactor, lambda: not thread.is_alive(), 40)
        thread.join()
        return results[0]

    def ask(self, target: str, method: str = "GET", body: bytes | None = None, *fields: str) -> Answer:
        """Send one request on a connection of its own."""
        lines = [f"{method} {target} HTTP/1.1", "Host: localhost", "Connection: close", *fields]
        if body is not None:
            lines.append(f"Content-Length: {len(body)}")
        return self.send("\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b""))

    def send(self, request: bytes) -> Answer:
        """Send these bytes, and return the answer."""

        def talk() -> bytes:
            with self.connect() as sock:
                sock.sendall(request)
                data = b""
                while piece := sock.recv(65536):
                    data += piece
                return data

        return _take_apart(self.beside(talk))

    def get_until_broken(self, target: str) -> bytes:
        """Ask for `target`, and return what comes until the connection ends or is reset."""

        def talk() -> bytes:
            with self.connect() as sock:
                sock.sendall(f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
                data = b""
                try:
                    while piece := sock.recv(65536):
                        data += piece
                except ConnectionResetError:
                    pass
                return data

        return self.beside(talk)

    def running(self) -> int:
        """Return how many CGI and PHP programs run."""
        service = self.service
        assert isinstance(service, WebService)
        folder = service._folder
        assert folder is not None
        assert folder.processors is not None
        made: typing.Any = folder.processors._processors
        return sum(made[name]._turns.taken for name in ("cgi", "php") if name in made)

    def settle(self) -> None:
        """Wait until no program runs."""
        wait_until(self.reactor, lambda: self.running() == 0, 20)


def _take_apart(data: bytes) -> Answer:
    head, _, body = data.partition(b"\r\n\r\n")
    text = head.decode("latin-1")
    if "transfer-encoding: chunked" in text.lower():
        whole = b""
        while match := re.match(rb"([0-9a-f]+)\r\n", body):
            size = int(match.group(1), 16)
            start = match.end()
            whole += body[start : start + size]
            body = body[start + size + 2 :]
            if not size:
                break
        else:
            text += "\r\nx-cut: yes"
        body = whole
    return Answer(int(text[9:12] or 0) if text else 0, text, body)
