"""What a resource answers with: a status, header fields and a body."""

from __future__ import annotations

import typing
from dataclasses import dataclass

from protocols.http.headers import Headers

if typing.TYPE_CHECKING:
    from portable.deferred import Deferred

__all__ = ["REASONS", "BodyStream", "FileBody", "FilePiece", "Response"]

# RFC 9110 15, RFC 6585. The phrase has no meaning on the wire; it is for people who read a trace.
REASONS: dict[int, str] = {
    100: "Continue",
    200: "OK",
    201: "Created",
    202: "Accepted",
    203: "Non-Authoritative Information",
    204: "No Content",
    205: "Reset Content",
    206: "Partial Content",
    207: "Multi-Status",
    300: "Multiple Choices",
    301: "Moved Permanently",
    302: "Found",
    303: "See Other",
    304: "Not Modified",
    307: "Temporary Redirect",
    308: "Permanent Redirect",
    400: "Bad Request",
    401: "Unauthorized",
    402: "Payment Required",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    406: "Not Acceptable",
    408: "Request Timeout",
    409: "Conflict",
    410: "Gone",
    411: "Length Required",
    412: "Precondition Failed",
    413: "Content Too Large",
    414: "URI Too Long",
    415: "Unsupported Media Type",
    416: "Range Not Satisfiable",
    417: "Expectation Failed",
    421: "Misdirected Request",
    422: "Unprocessable Content",
    426: "Upgrade Required",
    428: "Precondition Required",
    429: "Too Many Requests",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    501: "Not Implemented",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
    505: "HTTP Version Not Supported",
}


@dataclass(frozen=True, slots=True)
class FilePiece:
    """`count` bytes of an open file from `offset`."""

    file: typing.BinaryIO
    offset: int
    count: int


class FileBody:
    """A body made of bytes and of pieces of files, which the transport sends itself.

    Owns the files: `close` closes each of them once. The server calls it when the body is sent, is not wanted
    (HEAD) or the client is gone.
    """

    __slots__ = ("length", "pieces")

    def __init__(self, pieces: typing.Sequence[bytes | FilePiece]) -> None:
        self.pieces = list(pieces)
        self.length = sum(piece.count if isinstance(piece, FilePiece) else len(piece) for piece in self.pieces)

    def close(self) -> None:
        """Close the files. Idempotent."""
        for piece in self.pieces:
            if isinstance(piece, FilePiece):
                piece.file.close()
        self.pieces = []


class BodyStream(typing.Protocol):
    """A body made while it is sent.

    The server asks for the next chunk when the transport has room for it, never for two at once, so a slow
    client slows the stream and nothing piles up.
    """

    @property
    def length(self) -> int | None:
        """How many bytes there will be in all, or None if that is not known: the body is then sent chunked."""

    def next_chunk(self) -> bytes | Deferred[bytes] | typing.Coroutine[typing.Any, typing.Any, bytes]:
        """Return the next bytes, now or later; b"" at the end. Not called again after that, or after `close`.

        An error ends the connection without the mark of a complete body, so the client knows that part of it
        is missing.
        """

    def close(self) -> None:
        """Called once, when no more chunks are wanted: at the end, for HEAD, or when the client is gone."""


class Response:
    """One answer. The server adds Date, Server, the length and Connection.

    Attributes:
        status: 200 to 599.
        headers: fields to send. Names and values with characters that could break out of their line are
            refused when the response is sent (LocalProtocolError, which the client sees as status 500).
            Transfer-Encoding is the server's; Content-Length may be given only if it is the body's, or for
            status 304; "Connection: close" closes the connection afterwards.
        body: bytes, a FileBody or a BodyStream.
        trailers: fields sent after a body of unknown length (RFC 9110 6.5), looked at when the body has ended.
            Dropped where the client speaks HTTP/1.0.
    """

    __slots__ = ("body", "headers", "status", "trailers")

    def __init__(
        self,
        status: int = 200,
        headers: Headers | typing.Iterable[tuple[str, str]] = (),
        body: bytes | FileBody | BodyStream = b"",
    ) -> None:
        self.status = status
        self.headers = headers if isinstance(headers, Headers) else Headers(headers)
        self.body = body
        self.trailers: Headers | None = None

    def __repr__(self) -> str:
        return f"Response({self.status}, {self.headers!r})"
