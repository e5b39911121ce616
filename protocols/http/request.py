"""What a resource is given: one request and its body, which is read on demand."""

from __future__ import annotations

import re
import typing

from portable.deferred import Deferred, ensure_deferred, fail, succeed
from protocols.http.headers import Headers
from protocols.http.rules import RefusedRequest

if typing.TYPE_CHECKING:
    from portable.clock import Clock
    from portable.transport import Address

__all__ = ["EMPTY_BODY", "BodySource", "Request", "RequestBody", "decode_segments"]

# Any percent sign that does not begin an escape (RFC 3986 2.1).
_BAD_ESCAPE = re.compile("%(?![0-9A-Fa-f]{2})")
_ESCAPE = re.compile("%([0-9A-Fa-f]{2})")
# What must not come out of an escape: control characters (NUL ends file names, LF forges logs) and separators.
_BAD_IN_SEGMENT = re.compile(r"[\x00-\x1f\x7f/\\]")


def _octet(match: re.Match[str]) -> str:
    return chr(int(match.group(1), 16))


def decode_segments(path: str) -> list[str]:
    """Return the segments of `path`, each percent-decoded once, as UTF-8.

    A slash at the end adds nothing: "/a/b" and "/a/b/" both give ["a", "b"], "/" gives []. No segment is empty,
    "." or "..", or has a slash, backslash or control character, however it was written.

    Raises:
        RefusedRequest: the path cannot be given such segments.
    """
    if path == "/":
        return []
    parts = path.split("/")[1:]
    if parts and not parts[-1]:
        parts.pop()
    if "%" in path:
        if _BAD_ESCAPE.search(path):
            raise RefusedRequest("path-encoding")
        try:
            parts = [_ESCAPE.sub(_octet, part).encode("latin-1").decode("utf-8") for part in parts]
        except UnicodeDecodeError as error:
            raise RefusedRequest("path-encoding") from error
    for part in parts:
        if part == ".." or _BAD_IN_SEGMENT.search(part):
            raise RefusedRequest("path-escape")
    if "" in parts or "." in parts:
        raise RefusedRequest("path-empty")
    return parts


class BodySource(typing.Protocol):
    """Where a body comes from: the connection."""

    def next_body_chunk(self, body: RequestBody) -> Deferred[bytes]:
        """Return the next bytes of `body`, b"" at its end."""

    def body_trailers(self) -> Headers:
        """Return the trailers that came after the body."""


class RequestBody:
    """The body of a request, read by the resource at its own pace: what it does not ask for is not received.

    A client that waits for "100 Continue" gets it at the first `next_chunk`.
    """

    __slots__ = ("_ended", "_source", "length")

    def __init__(self, source: BodySource | None, length: int | None) -> None:
        self._source = source
        self._ended = source is None
        # The body's length in bytes as the client announced it, 0 without a body; None if it is sent in chunks.
        self.length = length

    def next_chunk(self) -> Deferred[bytes]:
        """Give the next bytes, b"" at the end and ever after. Only one may be waited for at a time.

        Fails with RefusedRequest if the client breaks a rule or a limit (let it pass: the server answers with
        the right status), with ConnectionLost if the client is gone, with LocalProtocolError if the answer is
        complete already.
        """
        if self._ended or self._source is None:
            return succeed(b"")
        return self._source.next_body_chunk(self).add_callback(self._note_end)

    def _note_end(self, chunk: bytes) -> bytes:
        if not chunk:
            self._ended = True
        return chunk

    def read(self, limit: int) -> Deferred[bytes]:
        """Give the rest of the body at once. Fails as `next_chunk`.

        Args:
            limit: bytes; a longer body fails with RefusedRequest("body-too-large").
        """
        if self.length is not None and self.length > limit:
            return fail(RefusedRequest("body-too-large"))
        return ensure_deferred(self._read(limit))

    async def _read(self, limit: int) -> bytes:
        chunks: list[bytes] = []
        size = 0
        while True:
            chunk = await self.next_chunk()
            if not chunk:
                return b"".join(chunks)
            size += len(chunk)
            if size > limit:
                raise RefusedRequest("body-too-large")
            chunks.append(chunk)

    @property
    def trailers(self) -> Headers:
        """The trailer fields after a chunked body (RFC 9110 6.5); empty before its end was read."""
        if self._source is None or not self._ended:
            return Headers()
        return self._source.body_trailers()


# The body of every request that has none.
EMPTY_BODY = RequestBody(None, 0)


class Request:
    """One request that broke no rule.

    Attributes:
        method: a token, such as "GET". HEAD is rendered like GET; the server leaves the body out.
        target: as it stood in the request line.
        path: the target's path, percent-encoded as sent, without query; "*" for "OPTIONS *".
        query: what follows "?", as sent; "" without.
        version: (1, 1) or (1, 0).
        headers: the fields, names in lower case.
        host: the Host field or the authority of the target, checked and in lower case; "" only in HTTP/1.0. It
            is the client's word: decide nothing by it but which site is meant.
        keep_alive: whether the client wants the connection to go on.
        content_length: bytes, 0 without a body, -1 if it is chunked.
        expects_continue: whether the client waits for "100 Continue" before it sends the body.
        peer: where the client is, as the transport says.
        local: which of our addresses it has connected to, likewise.
        depth: how many segments of the path stand for the root of the site: 0, but behind a relay.
        redirects: how often this server itself has sent the request on to another path.
        secure: whether the request came through TLS.
        body: read on demand.
        clock: for resources that wait.
    """

    __slots__ = (
        "_segments",
        "body",
        "clock",
        "content_length",
        "depth",
        "expects_continue",
        "headers",
        "host",
        "keep_alive",
        "local",
        "method",
        "path",
        "peer",
        "query",
        "redirects",
        "secure",
        "target",
        "version",
    )

    clock: Clock

    def __init__(self, method: str, target: str, headers: Headers, version: tuple[int, int] = (1, 1)) -> None:
        self.method = method
        self.target = target
        self.path, _, self.query = target.partition("?")
        self.version = version
        self.headers = headers
        self.host = ""
        self.keep_alive = True
        self.content_length = 0
        self.expects_continue = False
        self.peer: Address | str | None = None
        self.local: Address | str | None = None
        self.depth = 0
        self.redirects = 0
        self.secure = False
        self.body = EMPTY_BODY
        self._segments: list[str] | None = None

    @property
    def segments(self) -> list[str]:
        """The path's segments, decoded and checked: see `decode_segments`.

        Raises:
            RefusedRequest: the path has none. A resource is never rendered with such a path.
        """
        if self._segments is None:
            self._segments = decode_segments(self.path)
        return self._segments

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.target}>"
