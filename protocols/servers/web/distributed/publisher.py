"""Publishing a site over Perspective Broker: a relay asks, and gets the page by calls of its own.

Each request takes the way it would take in the HTTP server: parsed as strictly, rendered by the same resources,
cancelled when the relay is gone. What is written waits until the relay has taken what came before.
"""

from __future__ import annotations

import logging
import typing

from portable.deferred import Deferred, ensure_deferred, succeed
from portable.errors import Cancelled, ConnectionLost, RemoteProtocolError
from protocols.http.headers import Headers
from protocols.http.messages import Response
from protocols.http.request import BodySource, RequestBody
from protocols.http.resource import error_page
from protocols.http.rules import RULES, RefusedRequest
from protocols.http.sending import close_body
from protocols.pb import Broker, Referenceable, RemoteError
from protocols.servers.web.distributed.forms import (
    NOT_DONE_YET,
    ReceivedRequest,
    parse_request,
    publisher_registry,
)
from protocols.servers.web.distributed.sending import ResponseSender

if typing.TYPE_CHECKING:
    from portable.reactor import Threads
    from protocols.http.request import Request
    from protocols.http.site import SiteState
    from protocols.pb import RemoteReference

__all__ = ["Publisher", "publishing_broker"]

_log = logging.getLogger("protocols.servers.web")


def publishing_broker(site: SiteState, threads: Threads | None) -> Broker:
    """Return the protocol of one connection from a relay.

    Args:
        site: what is published.
        threads: where files are read; None reads them on the loop.
    """
    return Broker(site.clock, root=Publisher(site, threads), registry=publisher_registry())


class Publisher(Referenceable):
    """The root that relays call."""

    def __init__(self, site: SiteState, threads: Threads | None) -> None:
        self._site = site
        self._threads = threads

    def remote_request(self, received: object) -> typing.Coroutine[typing.Any, typing.Any, int]:
        """Render a request whose body is with it. The answer comes when the page is complete."""
        received = _checked(received)
        return self._serve(received, _Inline(received.content), len(received.content))

    def remote_request_streamed(
        self, received: object, reader: object
    ) -> typing.Coroutine[typing.Any, typing.Any, int]:
        """Render a request whose body is read piece by piece."""
        if not hasattr(reader, "call_remote"):
            raise RemoteProtocolError("a body that cannot be read")
        body = _Streamed(typing.cast("RemoteReference", reader), self._site.limits.max_body)
        return self._serve(_checked(received), body, None)

    async def _serve(self, received: ReceivedRequest, body: BodySource, length: int | None) -> int:
        site = self._site
        began = site.wall_clock()
        sender = ResponseSender(received.remote, self._threads)
        request: Request | None = None
        response: Response | None = None
        try:
            try:
                request = parse_request(received)
                request.clock = site.clock
                if length is not None and length > site.limits.max_body:
                    raise RefusedRequest("body-too-large")
                if length != 0:
                    request.content_length = -1 if length is None else length
                    request.body = RequestBody(body, length)
                response = await ensure_deferred(_render(site, request))
            except RefusedRequest as error:
                response = error_page(error.status, RULES[error.rule].reason)
            except Cancelled:
                raise
            except Exception as error:  # noqa: BLE001 - the resource's fault costs its own request only
                if received.remote.connected:
                    _log.error("%s failed", request, exc_info=error)
                response = error_page(500)
            await ensure_deferred(sender.send(response, "GET" if request is None else request.method))
        except (Cancelled, ConnectionLost):
            # The relay has gone, or has no more use for the page.
            sender.stop()
        finally:
            if response is not None:
                close_body(response.body)
            peer = None if request is None else request.peer
            site.log_access(request, peer, began, sender.status or 499, sender.sent)
        return NOT_DONE_YET


def _checked(received: object) -> ReceivedRequest:
    if not isinstance(received, ReceivedRequest):
        raise RemoteProtocolError("something that is no request")
    return received


async def _render(site: SiteState, request: Request) -> Response:
    response: object = await ensure_deferred(site.render(request))
    if not isinstance(response, Response):
        raise TypeError(f"a resource gave no Response but {response!r}")
    return response


class _Inline:
    """A body that came with its request."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def next_body_chunk(self, body: RequestBody) -> Deferred[bytes]:
        """See `BodySource.next_body_chunk`."""
        content, self._content = self._content, b""
        return succeed(content)

    def body_trailers(self) -> Headers:
        """See `BodySource.body_trailers`."""
        return Headers()


class _Streamed:
    """A body that the relay gives piece by piece.

    Args:
        limit: bytes of it that are taken. The relay has one of its own, which may be another.
    """

    def __init__(self, reader: RemoteReference, limit: int) -> None:
        self._reader = reader
        self._left = limit

    def next_body_chunk(self, body: RequestBody) -> Deferred[bytes]:
        """See `BodySource.next_body_chunk`."""
        return self._reader.call_remote("read").add_callbacks(self._piece, _cut)

    def _piece(self, piece: object) -> bytes:
        if not isinstance(piece, bytes):
            raise RefusedRequest("body-cut")
        self._left -= len(piece)
        if self._left < 0:
            raise RefusedRequest("body-too-large")
        return piece

    def body_trailers(self) -> Headers:
        """See `BodySource.body_trailers`."""
        return Headers()


def _cut(error: Exception) -> typing.NoReturn:
    """The client broke off, or the relay has gone."""
    if isinstance(error, RemoteError):
        raise RefusedRequest("body-cut") from error
    raise error
