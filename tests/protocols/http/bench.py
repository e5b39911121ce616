"""One connection to the server over a memory transport, and what its resource and its log have seen."""

from __future__ import annotations

import typing

from portable.deferred import Deferred
from portable.testing import ManualClock, MemoryTransport
from protocols.http.limits import Limits
from protocols.http.messages import Response
from protocols.http.resource import Page
from protocols.http.server import AccessRecord, Site

if typing.TYPE_CHECKING:
    from protocols.http.connection import HTTPServer
    from protocols.http.request import Request
    from protocols.http.resource import Rendered, Resource

__all__ = ["ALL", "EPOCH", "Bench", "Counting", "body_of", "dechunk", "echo", "hello"]

ALL = ("GET", "POST", "PUT")
EPOCH = 784111777.0


class Bench:
    """One server connection, and what its resource and log have seen."""

    def __init__(
        self,
        answer: typing.Callable[[Request], Rendered] | Resource,
        *,
        window: int | None = None,
        **limits: float,
    ) -> None:
        self.clock = ManualClock()
        self.records: list[AccessRecord] = []
        resource: Resource = Page(answer, ALL) if callable(answer) else answer
        self.site = Site(
            resource,
            clock=self.clock,
            limits=Limits(**limits),  # type: ignore[arg-type]  # some are int
            access_log=self.records.append,
            wall_clock=lambda: EPOCH + self.clock.time(),
        )
        self.window = window
        self.transport = self.connect()

    def connect(self) -> MemoryTransport:
        self.server: HTTPServer = self.site()
        return MemoryTransport(self.server, self.clock, window=self.window)

    def send(self, data: bytes) -> bytes:
        self.transport.receive(data)
        return self.transport.take()

    def get(self, path: str = "/", *fields: str, method: str = "GET", version: str = "1.1") -> bytes:
        lines = "".join(f"{field}\r\n" for field in fields)
        return self.send(f"{method} {path} HTTP/{version}\r\nHost: a\r\n{lines}\r\n".encode())

    def statuses(self) -> list[int]:
        return [record.status for record in self.records]


class Counting:
    """A BodyStream of `chunks`, that says what happened to it."""

    def __init__(
        self, chunks: typing.Iterable[bytes], length: int | None = None, *, later: bool = False
    ) -> None:
        self.chunks = list(chunks)
        self.length = length
        self.later = later
        self.asked = 0
        self.closed = 0
        self.pending: Deferred[bytes] | None = None

    def next_chunk(self) -> bytes | Deferred[bytes]:
        self.asked += 1
        assert not self.closed
        if self.later:
            self.pending = Deferred()
            return self.pending
        return self.chunks.pop(0) if self.chunks else b""

    def close(self) -> None:
        self.closed += 1


def hello(request: Request) -> Response:
    return Response(200, [("Content-Type", "text/plain")], f"{request.method} {request.target}".encode())


def dechunk(body: bytes) -> bytes:
    data = b""
    while True:
        size, _, body = body.partition(b"\r\n")
        count = int(size, 16)
        if not count:
            assert body == b"\r\n"
            return data
        data += body[:count]
        assert body[count : count + 2] == b"\r\n"
        body = body[count + 2 :]


def body_of(answer: bytes) -> bytes:
    head, _, body = answer.partition(b"\r\n\r\n")
    return dechunk(body) if b"Transfer-Encoding: chunked" in head else body


async def echo(request: Request) -> Response:
    body = await request.body.read(100000)
    return Response(200, body=body)
