"""Reading requests (RFC 9112): strict, since whoever is in front of us must see the same requests.

Bytes go in, requests and pieces of their bodies are pulled out:

    parser.receive_data(data)
    request = parser.next_request()         # None: more bytes are needed
    while not parser.body_ended:
        chunk = parser.next_body()          # None: more bytes are needed; b"" once, at the end

A head that is whole and plain, as nearly all are, is checked by two patterns. Any other is checked line by
line, as far as it has come, so that a faulty one is refused at its first faulty line, for the same reason
however the network cut it.
"""

from __future__ import annotations

import re
import typing

from protocols.http.chunked import check_trailer, parse_chunk_line
from protocols.http.grammar import (
    HEAD_FIELDS,
    PLAIN_REQUEST_LINE,
    check_field_line,
    check_host,
    check_request_line,
    content_length,
    refuse_transfer_coding,
    split_absolute,
    strip_line_end,
)
from protocols.http.headers import Headers, list_members
from protocols.http.request import Request
from protocols.http.rules import RefusedRequest

if typing.TYPE_CHECKING:
    from protocols.http.limits import Limits

__all__ = ["RequestParser"]

_TCHAR_OR_LINE_END = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z\r\n]")
# The fields that frame the message, and the rule that a second one breaks; those with "" are lists.
_FRAMING = {
    "connection": "",
    "content-length": "length-repeated",
    "expect": "",
    "host": "host-repeated",
    "transfer-encoding": "transfer-coding-repeated",
}
# Never added to: each chunked body gets its own.
_NO_TRAILERS = Headers()

# What comes next inside a chunked body, where it is not the rest of a chunk's data.
_SIZE_LINE = 0
_CHUNK_END = -1
_TRAILERS = -2


class RequestParser:
    """Turns bytes into requests. Knows no transport and no clock.

    After an error it must not be used any further.
    """

    __slots__ = (
        "_buffer",
        "_chunked",
        "_extensions",
        "_left",
        "_limits",
        "_line",
        "_lines",
        "_pos",
        "_received",
        "_scan",
        "_skipped",
        "_trailer_bytes",
        "body_ended",
        "refused",
        "trailers",
    )

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._buffer: bytes | bytearray = b""
        # Everything before this index is used up; the next three count from here.
        self._pos = 0
        # Where the unfinished line begins, how far it was searched, and how many lines came before it.
        self._line = 0
        self._scan = 0
        self._lines = 0
        # Whether the one empty line that may come before a request was skipped.
        self._skipped = False
        self._chunked = False
        # Bytes left of the body, or of the chunk; or one of the three constants above.
        self._left = 0
        # Bytes of the chunks so far, of their extensions, of the trailers.
        self._received = 0
        self._extensions = 0
        self._trailer_bytes = 0
        # Whether the body of the last request was taken whole. True before the first request.
        self.body_ended = True
        self.trailers = _NO_TRAILERS
        # The request whose lines break no rule, but which was refused for what they mean together.
        self.refused: Request | None = None

    def receive_data(self, data: bytes) -> None:
        """Buffer `data`. Never raises: see `next_request` and `next_body`."""
        if self._pos == len(self._buffer):
            self._buffer = data
        else:
            if self._pos or not isinstance(self._buffer, bytearray):
                self._buffer = bytearray(self._buffer[self._pos :])
            self._buffer += data
        self._pos = 0

    @property
    def buffered(self) -> int:
        """The number of bytes received and not used yet."""
        return len(self._buffer) - self._pos

    @property
    def body_left(self) -> int:
        """How many bytes of the body are still to be taken; -1 if only the chunks will tell."""
        if self.body_ended:
            return 0
        return -1 if self._chunked else self._left

    def _use(self, end: int) -> None:
        """Take everything before index `end` of the buffer as used."""
        if end == len(self._buffer):
            # An idle connection must not hold on to what it has received last.
            self._buffer = b""
            end = 0
        self._pos = end
        self._line = 0
        self._scan = 0

    def next_request(self) -> Request | None:
        """Return the next request, or None if more bytes are needed.

        Its body must be taken before the next call.

        Raises:
            RefusedRequest: the head breaks a rule or a limit.
        """
        buffer = self._buffer
        pos = self._pos
        if pos == len(buffer):
            return None
        if not self._skipped and buffer[pos] == 13 and buffer[pos + 1 : pos + 2] == b"\n":
            # RFC 9112 2.2: one empty line, which careless clients send after a body.
            self._skipped = True
            self._use(pos + 2)
            return self.next_request()
        end = -1
        limits = self._limits
        if not self._lines:
            end = buffer.find(b"\r\n\r\n", max(pos, pos + self._scan - 3))
        if end >= 0 and end - pos + 3 <= limits.max_head:
            text = buffer[pos : end + 2].decode("latin-1")
            first = text.find("\r\n")
            plain = PLAIN_REQUEST_LINE.fullmatch(text, 0, first)
            if (
                plain is not None
                and first <= limits.max_request_line
                and HEAD_FIELDS.fullmatch(text, first + 2)
            ):
                lines = text[first + 2 : -2].split("\r\n") if first + 2 < len(text) else []
                if len(lines) <= limits.max_headers:
                    self._use(end + 4)
                    return self._request(plain.group(1), plain.group(2), plain.group(3) == "1", lines)
        end = self._check_lines()
        if end < 0:
            return None
        lines = buffer[pos:end].decode("latin-1").split("\r\n")
        self._use(end)
        method, target, minor = check_request_line(lines[0])
        return self._request(method, target, minor == 1, lines[1:-2])

    def _check_lines(self) -> int:
        """Check the lines that are complete; return the index after the head, or -1 if it is not complete.

        Raises:
            RefusedRequest: for the first faulty line, or for what is too long already.
        """
        buffer = self._buffer
        start = self._pos
        line = start + self._line
        limits = self._limits
        if not self._lines and not _TCHAR_OR_LINE_END.match(buffer, start):
            # Not HTTP at all, such as a TLS handshake, whose sender may wait for us without sending a line end.
            raise RefusedRequest("method-syntax")
        while True:
            newline = buffer.find(b"\n", max(line, start + self._scan))
            stop = newline if newline >= 0 else len(buffer)
            if not self._lines:
                if stop - line > limits.max_request_line + 1:
                    raise RefusedRequest("target-too-long")
            elif stop - start > limits.max_head:
                raise RefusedRequest("headers-too-large")
            if newline < 0:
                self._line = line - start
                self._scan = stop - start
                return -1
            text = strip_line_end(buffer[line:newline].decode("latin-1"))
            line = newline + 1
            if not self._lines:
                check_request_line(text)
            elif not text:
                self._lines = 0
                return line
            elif self._lines > limits.max_headers:
                raise RefusedRequest("headers-too-many")
            else:
                check_field_line(text)
            self._lines += 1

    def _request(self, method: str, target: str, is_1_1: bool, lines: list[str]) -> Request:
        """Return the request made of lines that were checked one by one; check what they mean together."""
        items: list[tuple[str, str]] = []
        framing: dict[str, str] = {}
        for line in lines:
            name, _, value = line.partition(":")
            name = name.lower()
            value = value.strip(" \t")
            items.append((name, value))
            if name in _FRAMING:
                if name in framing:
                    if _FRAMING[name]:
                        raise RefusedRequest(_FRAMING[name])
                    value = framing[name] + "," + value
                framing[name] = value
        request = Request(method, target, Headers(items), (1, 1) if is_1_1 else (1, 0))
        try:
            if "host" in framing:
                request.host = check_host(framing["host"])
            elif is_1_1:
                raise RefusedRequest("host-missing")
            if target[0] not in "/*":
                host, rest = split_absolute(target)
                if request.host and request.host != host:
                    raise RefusedRequest("target-host-mismatch")
                request.host = host
                request.path, _, request.query = rest.partition("?")
            self._frame(request, framing)
            connection = framing.get("connection")
            if connection is None:
                request.keep_alive = is_1_1
            else:
                options = list_members(connection)
                request.keep_alive = "close" not in options and (is_1_1 or "keep-alive" in options)
        except RefusedRequest:
            self.refused = request
            raise
        self._skipped = False
        return request

    def _frame(self, request: Request, framing: dict[str, str]) -> None:
        """Find out how long the body is (RFC 9112 6.3)."""
        is_1_1 = request.version == (1, 1)
        length = 0
        coding = framing.get("transfer-encoding")
        if coding is not None:
            if "content-length" in framing:
                raise RefusedRequest("length-and-transfer-coding")
            if not is_1_1:
                raise RefusedRequest("transfer-coding-version")
            if coding.lower() != "chunked":
                raise refuse_transfer_coding(coding)
            length = -1
        elif "content-length" in framing:
            length = content_length(framing["content-length"])
            if length > self._limits.max_body:
                raise RefusedRequest("body-too-large")
        if is_1_1 and "expect" in framing:
            # RFC 9110 10.1.1; a client of HTTP/1.0 cannot mean it.
            if framing["expect"].lower() != "100-continue":
                raise RefusedRequest("expectation-unknown")
            request.expects_continue = length != 0
        if length:
            request.content_length = length
            self._chunked = length < 0
            self._left = length if length > 0 else _SIZE_LINE
            self._received = self._extensions = self._trailer_bytes = 0
            self.body_ended = False
            self.trailers = Headers()

    def next_body(self) -> bytes | None:
        """Return the next bytes of the body, None if more bytes are needed, b"" at its end.

        Raises:
            RefusedRequest: the chunked coding is broken, or the body is larger than the limit.
        """
        if self.body_ended:
            return b""
        if self._chunked and self._left <= 0 and not self._begin_chunk():
            return self._end_of_body()
        pos = self._pos
        data = bytes(self._buffer[pos : pos + self._left])
        if not data:
            return None
        self._use(pos + len(data))
        self._left -= len(data)
        if not self._left:
            if self._chunked:
                self._left = _CHUNK_END
            else:
                self.body_ended = True
        return data

    def _end_of_body(self) -> bytes | None:
        return b"" if self.body_ended else None

    def _begin_chunk(self) -> bool:
        """Read up to the data of the next chunk; return False if it is not there yet, or the body has ended."""
        if self._left == _CHUNK_END:
            end = bytes(self._buffer[self._pos : self._pos + 2])
            if end != b"\r\n"[: len(end)]:
                raise RefusedRequest("chunk-end")
            if len(end) < 2:
                return False
            self._use(self._pos + 2)
            self._left = _SIZE_LINE
        limits = self._limits
        if self._left == _SIZE_LINE:
            line = self._next_line(limits.max_chunk_line, "chunk-line-too-long")
            if line is None:
                return False
            size, extensions = parse_chunk_line(line)
            self._extensions += extensions
            if self._extensions > limits.max_chunk_extensions:
                raise RefusedRequest("chunk-overhead")
            self._received += size
            if self._received > limits.max_body:
                raise RefusedRequest("body-too-large")
            self._left = size or _TRAILERS
            if size:
                return True
        while True:
            line = self._next_line(limits.max_trailer_bytes - self._trailer_bytes, "trailers-too-large")
            if line is None:
                return False
            self._trailer_bytes += len(line) + 1
            line = strip_line_end(line)
            if not line:
                self.body_ended = True
                return False
            if len(self.trailers) >= limits.max_trailers:
                raise RefusedRequest("trailers-too-many")
            name, value = check_trailer(line)
            self.trailers.add(name, value)

    def _next_line(self, limit: int, rule: str) -> str | None:
        """Return the next line of a chunked body without its LF, or None if it is not complete.

        Raises:
            RefusedRequest: `rule`, if it has more than `limit` bytes and a CR.
        """
        pos = self._pos
        newline = self._buffer.find(b"\n", pos + self._scan)
        stop = newline if newline >= 0 else len(self._buffer)
        if stop - pos > limit + 1:
            raise RefusedRequest(rule)
        if newline < 0:
            self._scan = stop - pos
            return None
        line = self._buffer[pos:newline].decode("latin-1")
        self._use(newline + 1)
        return line
