"""Writing responses (RFC 9112 4 to 7). Nothing a resource says can break out of its header line."""

from __future__ import annotations

import re
import typing

from portable.errors import LocalProtocolError
from protocols.http.dates import format_date
from protocols.http.headers import list_members
from protocols.http.messages import REASONS, FileBody

if typing.TYPE_CHECKING:
    from protocols.http.headers import Headers
    from protocols.http.messages import Response

__all__ = ["CONTINUE", "Head", "HeadEncoder", "encode_chunk", "encode_fields", "encode_last_chunk"]

# RFC 9110 15.2.1.
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_DIGITS = re.compile("[0-9]+")
_VALUE = re.compile(r"[\t -~\x80-\xff]*")
_STATUS_LINES = {status: f"HTTP/1.1 {status} {reason}\r\n" for status, reason in REASONS.items()}
# Fields that are ours to send, or that have to agree with what we do.
_OURS = frozenset(
    ["connection", "content-length", "date", "keep-alive", "server", "transfer-encoding", "upgrade"]
)


class Head(typing.NamedTuple):
    """An encoded head and what it promised.

    Attributes:
        data: the bytes to send.
        has_body: whether a body follows.
        chunked: whether it is sent in chunks.
        keep_alive: whether the connection goes on afterwards.
    """

    data: bytes
    has_body: bool
    chunked: bool
    keep_alive: bool


def encode_fields(fields: typing.Iterable[tuple[str, str]]) -> str:
    """Return header fields or trailers, each a line.

    Raises:
        LocalProtocolError: a name is not a token, or a value has a line end, another control character, or one
            that is not in ISO 8859-1.
    """
    lines: list[str] = []
    for name, value in fields:
        if not _NAME.fullmatch(name):
            raise LocalProtocolError(f"{name!r} cannot be the name of a header field")
        if not _VALUE.fullmatch(value):
            raise LocalProtocolError(f"header field {name} cannot have the value {value!r}")
        lines.append(f"{name}: {value}\r\n")
    return "".join(lines)


def encode_chunk(data: bytes) -> bytes:
    """Return `data`, not empty, as one chunk."""
    return b"".join([f"{len(data):x}\r\n".encode("ascii"), data, b"\r\n"])


def encode_last_chunk(trailers: Headers | None) -> bytes:
    """Return the end of a chunked body.

    Raises:
        LocalProtocolError: as `encode_fields`.
    """
    fields = "" if trailers is None else encode_fields(trailers)
    return f"0\r\n{fields}\r\n".encode("latin-1")


class HeadEncoder:
    """Encodes the heads of one site.

    Args:
        server: the value of the Server field; "" for none.
        wall_clock: gives the seconds since 1970.
    """

    def __init__(self, server: str, wall_clock: typing.Callable[[], float]) -> None:
        self._server = encode_fields([("Server", server)]) if server else ""
        self._wall_clock = wall_clock
        self._second = -1
        self._ours = ""

    def _date_and_server(self) -> str:
        second = int(self._wall_clock())
        if second != self._second:
            # Formatting a date costs more than the rest of a small answer.
            self._second = second
            self._ours = f"Date: {format_date(second)}\r\n{self._server}"
        return self._ours

    def encode(self, response: Response, *, method: str, is_1_1: bool, keep_alive: bool) -> Head:
        """Return the head of `response`.

        Args:
            method: of the request; the answer to HEAD has no body.
            is_1_1: whether the client speaks HTTP/1.1.
            keep_alive: whether the connection may go on.

        Raises:
            LocalProtocolError: the response is malformed: a field as in `encode_fields`, one that contradicts
                the body, a status out of range, or a body for a status that has none.
        """
        status = response.status
        line = _STATUS_LINES.get(status)
        if line is None or status < 200:
            if status not in range(200, 600):
                raise LocalProtocolError(f"no response has the status {status!r}")
            line = f"HTTP/1.1 {status} \r\n"
        body = response.body
        length = len(body) if isinstance(body, bytes) else body.length
        bodiless = status in {204, 304}
        fields = encode_fields(response.headers)
        ours = self._date_and_server()
        says_close = says_length = False
        for name, value in response.headers:
            lower = name.lower()
            if lower not in _OURS:
                continue
            if lower == "connection":
                if list_members(value) != ["close"]:
                    raise LocalProtocolError(f"Connection is the server's: {value!r}")
                keep_alive = False
                says_close = True
            elif lower == "content-length":
                says_length = True
                if (status != 304 or not _DIGITS.fullmatch(value)) and value != str(length):
                    raise LocalProtocolError(f"Content-Length {value!r} for a body of {length} bytes")
            elif lower == "date":
                ours = self._server
            elif lower == "server":
                ours = ours.replace(self._server, "")
            else:
                raise LocalProtocolError(f"{name} is the server's")
        chunked = False
        framing = ""
        if bodiless:
            if length != 0 and isinstance(body, (bytes, FileBody)):
                raise LocalProtocolError(f"status {status} has no body")
        elif length is None:
            chunked = is_1_1
            if chunked:
                framing = "Transfer-Encoding: chunked\r\n"
            elif method != "HEAD":
                # RFC 9112 6.3: the end of the connection is the end of the body.
                keep_alive = False
        elif not says_length:
            framing = f"Content-Length: {length}\r\n"
        if not keep_alive:
            if not says_close:
                framing += "Connection: close\r\n"
        elif not is_1_1:
            framing += "Connection: keep-alive\r\n"
        data = f"{line}{ours}{fields}{framing}\r\n".encode("latin-1")
        return Head(data, not bodiless and method != "HEAD", chunked, keep_alive)
