"""One server connection over a memory transport, and the answers it gives."""

from __future__ import annotations

import typing
from dataclasses import dataclass

from portable.testing import ManualClock, MemoryTransport
from protocols.http.headers import Headers
from protocols.http.server import Site

if typing.TYPE_CHECKING:
    from protocols.http.access import AccessRecord
    from protocols.http.resource import Resource

__all__ = ["BIG", "SECRET", "Answer", "Bench"]

# What must never come out of a site.
SECRET = b"the secret beside the root"
BIG = bytes(range(256)) * 400  # 102,400 bytes: more than is read at once


@dataclass
class Answer:
    """One answer, taken apart; `body` is without its transfer coding."""

    status: int
    headers: Headers
    body: bytes

    def __getitem__(self, name: str) -> str:
        value = self.headers.get(name)
        assert value is not None, f"no field {name} in {self.headers}"
        return value


def take_apart(data: bytes) -> Answer:
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    headers = Headers([(name, value.strip()) for name, _, value in (line.partition(":") for line in lines[1:])])
    if headers.get("transfer-encoding") == "chunked" and body:
        body = dechunked(body)
    return Answer(int(lines[0].split(" ")[1]), headers, body)


def dechunked(data: bytes) -> bytes:
    whole = b""
    while True:
        size, _, data = data.partition(b"\r\n")
        count = int(size, 16)
        if count == 0:
            assert data == b"\r\n"
            return whole
        whole += data[:count]
        assert data[count : count + 2] == b"\r\n"
        data = data[count + 2 :]


class Bench:
    """A site that serves `resource`."""

    def __init__(self, resource: Resource, *, window: int | None = None) -> None:
        self.clock = ManualClock()
        self.records: list[AccessRecord] = []
        self.site = Site(resource, clock=self.clock, access_log=self.records.append)
        self.window = window
        self.transport = self.connect()

    def connect(self) -> MemoryTransport:
        return MemoryTransport(self.site(), self.clock, window=self.window)

    def send(self, path: str, *fields: str, method: str = "GET") -> bytes:
        """Send one request, path as it is, and return the bytes of the answer."""
        if self.transport.is_closing():
            self.transport = self.connect()
        lines = "".join([f"{field}\r\n" for field in fields])
        self.transport.receive(f"{method} {path} HTTP/1.1\r\nHost: a\r\n{lines}\r\n".encode("latin-1"))
        data = b""
        while True:
            self.clock.advance(0)
            part = self.transport.take()
            if not part:
                return data
            data += part

    def get(self, path: str, *fields: str, method: str = "GET") -> Answer:
        answer = take_apart(self.send(path, *fields, method=method))
        if method != "HEAD" and answer.headers.get("content-length") is not None:
            assert len(answer.body) == int(answer["Content-Length"])
        return answer
