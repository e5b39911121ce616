"""Relaying a request to a publisher (see `forms`), and its page to the client.

Each request has a connection of its own, made when the whole body is here (`spool`), and closed when the page
is complete or not wanted any more. So a client that sends slowly holds up nobody, and a publisher that
stalls nobody else's page; a client that reads slowly slows its own publisher, by not reading from it; and a
client that goes away takes its request with it.

The publisher is not trusted: it can decide the status, the fields and the body of its page, and nothing else.
"""

from __future__ import annotations

import logging
import typing

from portable.deferred import ensure_deferred
from portable.errors import ConnectError, ConnectionLost, RemoteProtocolError, TimedOut
from protocols.http.resource import error_page
from protocols.pb import Broker, Error, Referenceable, RemoteError
from protocols.servers.web.distributed.forms import SentRequest, relay_registry
from protocols.servers.web.distributed.view import BadPage, ResponseView
from protocols.servers.web.spool import NoRoom, Spool

if typing.TYPE_CHECKING:
    from portable.deferred import Deferred
    from portable.reactor import Reactor
    from protocols.http.messages import Response
    from protocols.http.request import Request
    from protocols.servers.web.spool import SpooledBody

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
        max_body: bytes of the longest body that the site takes.
        silence: seconds in which a publisher has to say something while it is waited for.
    """

    def __init__(self, reactor: Reactor, *, max_body: int = 0, silence: float = SILENCE) -> None:
        self._reactor = reactor
        self._silence = silence
        self._spool = Spool(reactor, max_body)
        self._under_way: dict[str, int] = {}

    async def render(
        self, request: Request, path: str, depth: int, trusted: typing.Collection[int]
    ) -> Response:
        """Return the page that a publisher gives.

        Args:
            path: the publisher's Unix socket.
            depth: how many segments of the request's path stand for the publisher itself.
            trusted: the user ids whose server it may be, where the transport can tell.

        Raises:
            ConnectError: nobody answers at `path`, or somebody else does.
            RefusedRequest, ConnectionLost: the client broke a rule while it sent the body, or has gone.
        """
        try:
            body = await ensure_deferred(self._spool.receive(request.body))
        except NoRoom as error:
            _log.warning("%s: not relayed: %s", request.target, error)
            return _busy()
        if self.under_way(path) >= MAX_REQUESTS:
            body.close()
            return _busy()
        self._under_way[path] = self.under_way(path) + 1

        def done() -> None:
            self._done(path)
            body.close()

        connecting = self._reactor.connect_unix(self._make_broker, path, timeout=CONNECT_TIMEOUT)
        try:
            broker = await connecting
            _check_owner(broker, path, trusted)
        except BaseException:
            done()
            raise
        broker.on_disconnect(done)
        view = ResponseView(broker, self._reactor, self._silence)
        try:
            response = await ensure_deferred(_ask(request, body, broker, view, depth))
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


def _check_owner(broker: Broker, path: str, trusted: typing.Collection[int]) -> None:
    """Refuse whoever listens at a path that was another's when it was looked at."""
    uid = None if broker.transport is None else broker.transport.get_extra_info("peer_uid")
    if uid is not None and uid not in trusted:
        broker.abort()
        raise ConnectError(f"user {uid} listens at {path!r}", "EACCES")


def _busy() -> Response:
    return error_page(503, "This server is busy.", [("Retry-After", "5")])


async def _ask(request: Request, body: SpooledBody, broker: Broker, view: ResponseView, depth: int) -> Response:
    """Send the request, and return the response as soon as its head is known."""
    inline = body.length <= MAX_INLINE
    try:
        if inline:
            content = await ensure_deferred(body.read())
            asked = broker.remote_root.call_remote("request", SentRequest(request, depth, content, view))
        else:
            sent = SentRequest(request, depth, b"", view)
            asked = broker.remote_root.call_remote("request_streamed", sent, _BodyReader(body, view))
        asked.add_errback(view.fail)
        view.start()
        await view.head
    except TimedOut:
        _log.warning("%s: the publisher did not answer in time", request.target)
        view.close()
        return error_page(504, "The server behind this one does not answer.")
    except RemoteError as error:
        view.close()
        if not inline and error.check("twisted.spread.flavors.NoSuchMethod"):
            return error_page(413, f"The server behind this one takes {MAX_INLINE} bytes at most.")
        _log.warning("%s: the publisher failed: %s", request.target, error)
        return error_page(502, "The server behind this one failed.")
    except (ConnectionLost, RemoteProtocolError, BadPage) as error:
        _log.warning("%s: the publisher failed: %s", request.target, error)
        view.close()
        return error_page(502, "The server behind this one failed.")
    return view.response()


class _BodyReader(Referenceable):
    """The request's body, of which the publisher gets the next piece when it asks for it."""

    def __init__(self, body: SpooledBody, view: ResponseView) -> None:
        self._body = body
        self._view = view
        self._busy = False

    def remote_read(self) -> Deferred[bytes]:
        """Give the next piece, b"" at the end."""
        if self._busy:
            raise Error("one piece at a time")
        self._busy = True
        return self._body.next_chunk().add_callbacks(self._arrived, self._failed)

    def _arrived(self, piece: bytes) -> bytes:
        self._busy = False
        return piece

    def _failed(self, error: Exception) -> typing.NoReturn:
        self._view.fail(error)
        raise Error("the rest of the body is lost") from error
