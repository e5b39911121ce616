"""Writing a response to a relay, by calls, as it takes them."""

from __future__ import annotations

import collections
import logging
import typing

from portable.deferred import Deferred, ensure_deferred
from portable.errors import ConnectionLost, LocalProtocolError
from protocols.http.encoder import encode_fields
from protocols.http.messages import REASONS, FileBody
from protocols.http.resource import error_page
from protocols.http.sending import close_body
from protocols.pb import Referenceable
from protocols.servers.web.distributed.cookies import cookie_call
from protocols.servers.web.distributed.forms import HOP_BY_HOP, MAX_PIECE

if typing.TYPE_CHECKING:
    from portable.reactor import Threads
    from protocols.http.messages import BodyStream, Response
    from protocols.pb import RemoteReference

__all__ = ["WINDOW", "ResponseSender"]

# Calls of the response that are not answered yet. More would pile up where the relay does not take them; fewer
# would have every piece wait for the one before.
WINDOW = 8

_log = logging.getLogger("protocols.servers.web")


class _Producer(Referenceable):
    """How a relay that knows no other way has us wait: it calls this as its client's connection tells it to."""

    def __init__(self, sender: ResponseSender) -> None:
        self._sender = sender

    def remote_pauseProducing(self) -> None:
        self._sender.pause()

    def remote_resumeProducing(self) -> None:
        self._sender.resume()

    def remote_stopProducing(self) -> None:
        self._sender.stop()


class ResponseSender:
    """Writes one response to a relay.

    Attributes:
        status: 0 before it was sent.
        sent: bytes of the body.
    """

    def __init__(self, remote: RemoteReference, threads: Threads | None) -> None:
        self.status = 0
        self.sent = 0
        self._remote = remote
        self._threads = threads
        self._unanswered: collections.deque[Deferred[typing.Any]] = collections.deque()
        self._error: Exception | None = None
        self._paused = False
        self._waiter: Deferred[None] | None = None

    def pause(self) -> None:
        """Write no more until `resume`."""
        self._paused = True

    def resume(self) -> None:
        """Undo `pause`."""
        self._paused = False
        self._wake()

    def stop(self) -> None:
        """Write no more: nobody wants it."""
        self._error = self._error or ConnectionLost("the relay wants no more")
        self._wake()

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            waiter.callback(None)

    async def send(self, response: Response, method: str) -> None:
        """Send all of it.

        Raises:
            ConnectionLost: the relay has gone, or wants no more.
        """
        try:
            fields = _wire_fields(response)
        except LocalProtocolError as error:
            _log.error("a response cannot be sent", exc_info=error)
            close_body(response.body)
            response = error_page(500)
            fields = _wire_fields(response)
        self.status = response.status
        self._call("setResponseCode", response.status, REASONS.get(response.status, "").encode("ascii"))
        for name, value in fields:
            if name.lower() == "set-cookie":
                cookie, words = cookie_call(value)
                self._call("addCookie", *cookie, **words)
            else:
                self._call("setHeader", name.lower().encode("ascii"), value.encode("latin-1"))
        body = response.body
        if method == "HEAD" or response.status in {204, 304} or body == b"":
            self._call("finish")
        elif isinstance(body, bytes):
            await ensure_deferred(self._write(body))
            self._call("finish")
        else:
            self._call("registerProducer", _Producer(self), True)
            if isinstance(body, FileBody):
                await ensure_deferred(self._send_file(body))
            else:
                await ensure_deferred(self._send_stream(body))
            self._call("unregisterProducer")
            self._call("finish")
        while self._unanswered:
            await self._unanswered.popleft()
        self._check()

    async def _send_file(self, body: FileBody) -> None:
        for piece in body.pieces:
            if isinstance(piece, bytes):
                await ensure_deferred(self._write(piece))
                continue
            offset = piece.offset
            end = offset + piece.count
            while offset < end:
                count = min(MAX_PIECE, end - offset)
                if self._threads is None:
                    data = _read(piece.file, offset, count)
                else:
                    data = await self._threads.run_in_thread(_read, piece.file, offset, count)
                if not data:
                    raise LocalProtocolError("a file was cut while it was sent")
                offset += len(data)
                await ensure_deferred(self._write(data))

    async def _send_stream(self, body: BodyStream) -> None:
        while True:
            data: bytes = await ensure_deferred(body.next_chunk())
            if not data:
                return
            await ensure_deferred(self._write(data))

    async def _write(self, data: bytes) -> None:
        """Write any number of bytes, as the relay takes them."""
        for start in range(0, len(data), MAX_PIECE):
            while self._paused and self._error is None:
                self._waiter = Deferred()
                await self._waiter
            self._check()
            piece = data[start : start + MAX_PIECE]
            self._call("write", piece)
            self.sent += len(piece)
            if len(self._unanswered) >= WINDOW:
                await self._unanswered.popleft()
                self._check()

    def _check(self) -> None:
        if self._error is not None:
            raise self._error

    def _call(self, name: str, *args: object, **kwargs: object) -> None:
        answer = self._remote.call_remote(name, *args, **kwargs)
        self._unanswered.append(answer.add_errback(self._refused))

    def _refused(self, error: Exception) -> None:
        """The relay is gone, or does not like what we say."""
        if self._error is None:
            self._error = error if isinstance(error, ConnectionLost) else ConnectionLost(f"refused: {error}")


def _wire_fields(response: Response) -> list[tuple[str, str]]:
    """Return the fields to send; those of one name as one, as the relay keeps only the last.

    Raises:
        LocalProtocolError: a field could break out of its line.
    """
    fields: dict[str, str] = {}
    cookies: list[tuple[str, str]] = []
    for name, value in response.headers:
        lower = name.lower()
        if lower == "set-cookie":
            cookies.append((name, value))
        elif lower not in HOP_BY_HOP:
            fields[lower] = f"{fields[lower]}, {value}" if lower in fields else value
    body = response.body
    length = len(body) if isinstance(body, bytes) else body.length
    if length is not None and response.status not in {204, 304}:
        fields["content-length"] = str(length)
    pairs = [*fields.items(), *cookies]
    encode_fields(pairs)
    return pairs


def _read(file: typing.BinaryIO, offset: int, count: int) -> bytes:
    file.seek(offset)
    return file.read(count)
