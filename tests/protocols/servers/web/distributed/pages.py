"""Resources that our publisher serves in the tests."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from portable.deferred import Deferred
from protocols.http.messages import Response
from protocols.http.resource import Page, Tree
from protocols.servers.web.static import StaticFolder

if TYPE_CHECKING:
    from pathlib import Path

    from protocols.http.request import Request

__all__ = ["BIG", "Endless", "make_pages"]

BIG = bytes(range(256)) * 40960  # 10 MB


def about(request: Request) -> Response:
    told = [
        request.method,
        request.target,
        request.headers.get("x-asked") or "",
        str(request.peer),
        request.host,
    ]
    response = Response(203, [("Content-Type", "text/plain"), ("X-One", "1")], "\n".join(told).encode())
    response.headers.add("Set-Cookie", "first=1; Path=/; HttpOnly; SameSite=Lax")
    response.headers.add("Set-Cookie", "second=2; Max-Age=60; Secure")
    response.headers.add("Vary", "Accept")
    response.headers.add("Vary", "Cookie")
    return response


async def digest(request: Request) -> Response:
    found = hashlib.sha256()
    size = 0
    while True:
        chunk = await request.body.next_chunk()
        if not chunk:
            break
        found.update(chunk)
        size += len(chunk)
    return Response(200, [], f"{size} {found.hexdigest()}".encode())


def boom(request: Request) -> Response:
    raise ValueError("a secret")


def splitting(request: Request) -> Response:
    return Response(200, [("X-Evil", "a\r\nSet-Cookie: b=c")], b"x")


def nothing(request: Request) -> Response:
    return Response(204)


class Endless:
    """A body without end, which counts what is taken of it and tells when nobody wants more."""

    length = None

    def __init__(self) -> None:
        self.given = 0
        self.closed = False

    def next_chunk(self) -> bytes:
        self.given += 65536
        return b"x" * 65536

    def close(self) -> None:
        self.closed = True


class Cut(Endless):
    """Breaks after the first piece."""

    def next_chunk(self) -> bytes:
        if self.given:
            raise ValueError("it broke")
        return super().next_chunk()


def make_pages(folder: Path | None = None) -> tuple[Tree, dict[str, Any]]:
    """Return the root, and what the tests look at: the last "endless" body, and what "never" waits for."""
    seen: dict[str, Any] = {}

    def endless(request: Request) -> Response:
        seen["endless"] = Endless()
        return Response(200, [], seen["endless"])

    def never(request: Request) -> Deferred[Response]:
        seen["never"] = Deferred()
        return seen["never"]  # type: ignore[no-any-return]

    root = Tree(Page(lambda request: Response(200, [], b"the root")))
    root.put_child("about", Page(about))
    root.put_child("digest", Page(digest, ["GET", "POST"]))
    for page in (boom, splitting, nothing, endless, never):
        root.put_child(page.__name__, Page(page))
    root.put_child("cut", Page(lambda request: Response(200, [], Cut())))
    root.put_child("big", Page(lambda request: Response(200, [], BIG)))
    if folder is not None:
        root.put_child("files", StaticFolder(str(folder)))
    return root, seen
