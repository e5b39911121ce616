"""Relaying a request to a publisher (see `forms`), and its page to the client.

Each request has a connection of its own, which is closed when the page is complete or not wanted any more. So a
publisher that stalls holds up nobody else's page; a client that reads slowly slows its own publisher, by not
reading from it; and a client that goes away takes its request with it.

The publisher is not trusted: it can decide the status, the fields and the body of its page, and nothing else.
"""

from __future__ import annotations

import logging
import typing

from portable.deferred import Deferred, ensure_deferred, succeed
from portable.errors import ConnectionLost, RemoteProtocolError, TimedOut
from protocols.http.resource import error_page
from protocols.http.rules import RefusedRequest
from protocols.pb import Broker, Error, Referenceable, RemoteError
from protocols.servers.web.distributed.forms import MAX_PIECE, SentRequest, relay_registry
from protocols.servers.web.distributed.view import BadPage, ResponseView

if typing.TYPE_CHECKING:
    from portable.reactor import Reactor
    from protocols.http.messages import Response
    from protocols.http.request import Request

__all__ = ["CONNECT_TIMEOUT", "MAX_INLINE", "Relay"]

# Seconds for opening a Unix socket: only a full queue of its listener makes us wait at all.
CONNECT_TIMEOUT = 10.0
# Seconds in which a publisher has to say something while it is waited for. As nginx's proxy_read_timeout.
SILENCE = 60.0
# Bytes of a body that goes with its request: the longest string of Perspective Broker.
MAX_INLINE = 640 * 1024
# Requests to one publisher at one time. Each is a connection, for both; and a publisher that stalls must not
# take the descriptors that the others' need.
MAX_REQUESTS = 64

_log = logging.getLogger("protocols.servers.web")


class Relay:
    """Passes requests on to publishers. One for all of a server's.

    Args:
        reactor: makes the connections.
        silence: seconds in which a publisher has to say something while it is waited for.
    """

    def __init__(self, reactor: Reactor, *, silence: float = SILENCE) -> None:
        self._reactor = reactor
        self._silence = silence
        self._under_way: dict[str, int] = {}

    async def render(self, request: Request, path: str, depth: int) -> Response:
        """Return the page that a publisher gives.

        Args:
            path: the publisher's Unix socket.
            depth: how many segments of the request's path stand for the publisher itself.

        Raises:
            ConnectError: nobody answers at `path`.
            RefusedRequest: the client broke a rule while it sent the body.
        """
        if self.under_way(path) >= MAX_REQUESTS:
            return error_page(503, "This server is busy.", [("Retry-After", "5")])
        self._under_way[path] = self.under_way(path) + 1
        connecting = self._reactor.connect_unix(self._make_broker, path, timeout=CONNECT_TIMEOUT)
        try:
            broker = await connecting
        except BaseException:
            self._done(path)
            raise
        broker.on_disconnect(lambda: self._done(path))
        view = ResponseView(broker, self._reactor, self._silence)
        try:
            response = await ensure_deferred(_ask(request, broker, view, depth))
        except BaseException:
            view.close()
            raise
        return response

    def under_way(self, path: str) -> int:
        """Return how many requests the publisher at `path` is working on."""
        return self._under_way.get(path, 0)

    def _make_broker(self) -> Broker:
        return Broker(self._reactor, client=True, registry=relay_registry())

    def _done(self, path: str) -> None:
        self._under_way[path] -= 1
        if not self._under_way[path]:
            del self._under_way[path]


async def _ask(request: Request, broker: Broker, view: ResponseView, depth: int) -> Response:
    """Send the request, and return the response as soon as its head is known."""
    reader = _BodyReader(request, view)
    content: bytes = await ensure_deferred(reader.begin())
    try:
        if reader.ended:
            sent = SentRequest(request, depth, content, view)
            asked = broker.remote_root.call_remote("request", sent)
        else:
            reader.keep(content)
            sent = SentRequest(request, depth, b"", view)
            asked = broker.remote_root.call_remote("request_streamed", sent, reader)
        asked.add_errback(view.fail)
        view.start()
        await view.head
    except RefusedRequest:
        raise
    except TimedOut:
        _log.warning("%s: the publisher did not answer in time", request.target)
        view.close()
        return error_page(504, "The server behind this one does not answer.")
    except RemoteError as error:
        view.close()
        if not reader.ended and error.check("twisted.spread.flavors.NoSuchMethod"):
            return error_page(413, f"The server behind this one takes {MAX_INLINE} bytes at most.")
        _log.warning("%s: the publisher failed: %s", request.target, error)
        return error_page(502, "The server behind this one failed.")
    except (ConnectionLost, RemoteProtocolError, BadPage) as error:
        _log.warning("%s: the publisher failed: %s", request.target, error)
        view.close()
        return error_page(502, "The server behind this one failed.")
    return view.response()


class _BodyReader(Referenceable):
    """The request's body: its beginning, and then what the publisher asks for."""

    def __init__(self, request: Request, view: ResponseView) -> None:
        self.ended = False
        self._body = request.body
        self._view = view
        self._kept = b""

    async def begin(self) -> bytes:
        """Return the whole body if it is no longer than MAX_INLINE, otherwise its beginning or nothing."""
        chunks: list[bytes] = []
        size = 0
        if self._body.length is not None and self._body.length > MAX_INLINE:
            return b""
        while size <= MAX_INLINE:
            chunk = await self._body.next_chunk()
            if not chunk:
                self.ended = True
                break
            chunks.append(chunk)
            size += len(chunk)
        return b"".join(chunks)

    def keep(self, data: bytes) -> None:
        """Give `data` to the publisher before the rest of the body."""
        self._kept = data

    def remote_read(self) -> Deferred[bytes]:
        """Give the next piece, b"" at the end."""
        if self._kept:
            return succeed(self._take())
        self._view.wait_for_client(True)
        return self._body.next_chunk().add_callbacks(self._arrived, self._failed)

    def _arrived(self, chunk: bytes) -> bytes:
        self._view.wait_for_client(False)
        self._kept = chunk
        return self._take()

    def _failed(self, error: Exception) -> typing.NoReturn:
        self._view.wait_for_client(False)
        self._view.fail(error)
        raise Error("the client did not send the whole body")

    def _take(self) -> bytes:
        piece, self._kept = self._kept[:MAX_PIECE], self._kept[MAX_PIECE:]
        return piece
