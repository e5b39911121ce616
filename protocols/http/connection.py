"""The HTTP/1.1 server (RFC 9112): one connection's requests, answered one at a time and in order.

What a connection is doing, and what limits the time for it:

    IDLE     nothing, or the answer is leaving       idle_timeout
    HEAD     part of a request is here               head_timeout
    RENDER   the resource works                      nothing; half_closed_timeout after the client's end
    BODY     it waits for the request's body         body_grace, min_body_rate
    SEND     a long answer is being sent             write_timeout, min_write_rate: see `_check_progress`
    DISCARD  the body nobody read goes by            body_grace, min_body_rate
    LINGER   what still comes after the last one     linger_timeout, linger_time: see `_linger_on`
    CLOSING  the transport flushes                   write_timeout, min_write_rate
    CLOSED   the connection is lost

The next request is not even parsed before the answer to the last one is complete, so answers cannot change
places (CVE-2023-46137, CVE-2024-41671).
"""

from __future__ import annotations

import logging
import typing

from portable.deferred import Deferred, ensure_deferred, fail, succeed
from portable.errors import FAILURES, Cancelled, ConnectionLost, LocalProtocolError, TransportError
from portable.protocol import Protocol
from protocols.http.encoder import CONTINUE
from protocols.http.messages import FileBody, Response
from protocols.http.parser import RequestParser
from protocols.http.request import RequestBody
from protocols.http.resource import error_page
from protocols.http.rules import RULES, RefusedRequest
from protocols.http.sending import FileSender, StreamSender, close_body

if typing.TYPE_CHECKING:
    from portable.clock import Timer
    from portable.transport import Transport
    from protocols.http.headers import Headers
    from protocols.http.request import Request
    from protocols.http.sending import BodySender
    from protocols.http.site import SiteState

__all__ = ["HTTPServer"]

_log = logging.getLogger("protocols.http")

_IDLE = 0
_HEAD = 1
_RENDER = 2
_BODY = 3
_SEND = 4
_DISCARD = 5
_LINGER = 6
_CLOSING = 7
_CLOSED = 8


class HTTPServer(Protocol):
    """One connection. Made by `Site`."""

    __slots__ = (
        "_answer",
        "_body_got",
        "_body_since",
        "_body_time",
        "_broken",
        "_continue",
        "_discarded",
        "_draining",
        "_eof",
        "_high",
        "_keep_alive",
        "_linger_since",
        "_lingered",
        "_local",
        "_mark",
        "_parser",
        "_paused",
        "_peer",
        "_rendering",
        "_request",
        "_running",
        "_secure",
        "_sender",
        "_sent",
        "_site",
        "_started",
        "_state",
        "_timer",
        "_transport",
        "_waiter",
    )

    _transport: Transport

    def __init__(self, site: SiteState) -> None:
        self._site = site
        self._parser = RequestParser(site.limits)
        self._state = _IDLE
        self._timer: Timer | None = None
        # The request being answered, and what its resource promised.
        self._request: Request | None = None
        self._rendering: Deferred[Response] | None = None
        self._sender: BodySender | None = None
        # The status being sent, 0 before; and the bytes of its body.
        self._answer = 0
        self._sent = 0
        self._started = 0.0
        self._keep_alive = True
        # The body: who waits for it, since when, for how long in all and for how many bytes.
        self._waiter: Deferred[bytes] | None = None
        self._body_since = 0.0
        self._body_time = 0.0
        self._body_got = 0
        self._discarded = 0
        # Whether the client still waits for "100 Continue".
        self._continue = False
        # Why the rest of the body cannot be read.
        self._broken: RefusedRequest | None = None
        self._running = False
        self._paused = False
        self._eof = False
        self._draining = False
        self._linger_since = 0.0
        self._lingered = 0
        # How many bytes had left when we last looked.
        self._mark = 0
        self._high = 0
        self._peer: typing.Any = None
        self._local: typing.Any = None
        self._secure = False

    # What the transport calls.

    def connection_made(self, transport: Transport) -> None:
        """See `Protocol.connection_made`."""
        self._transport = transport
        self._peer = transport.get_extra_info("peername")
        self._local = transport.get_extra_info("sockname")
        self._secure = transport.get_extra_info("tls_version") is not None
        self._high = transport.get_write_buffer_limits()[1]
        self._arm(self._site.limits.idle_timeout)

    def data_received(self, data: bytes) -> None:
        """See `Protocol.data_received`."""
        state = self._state
        if state >= _LINGER:
            if state == _LINGER:
                self._lingered += len(data)
                self._linger_on()
            return
        parser = self._parser
        parser.receive_data(data)
        if self._request is None:
            self._run()
        elif self._waiter is not None:
            self._feed_body(self._waiter)
        elif parser.buffered > self._site.limits.max_pipelined:
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        """See `Protocol.eof_received`."""
        self._eof = True
        if self._state >= _LINGER:
            self._close()
            return False
        if self._request is None:
            # True only if whole requests wait until the client has read the answers to those before.
            if not self._parser.buffered or self._state in {_HEAD, _DISCARD}:
                self._close()
                return False
            return True
        if self._waiter is not None:
            self._break_body("body-cut")
        elif self._state == _RENDER:
            self._wait_for_resource()
        return True

    def connection_lost(self, exc: TransportError | None) -> None:
        """See `Protocol.connection_lost`."""
        self._state = _CLOSED
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._sender is not None:
            self._sender.stop()
            self._sent = self._sender.sent
            self._sender = None
        rendering = self._rendering
        if rendering is not None:
            rendering.cancel()
        waiter = self._waiter
        if waiter is not None:
            self._waiter = None
            waiter.errback(exc if isinstance(exc, ConnectionLost) else ConnectionLost("the client is gone"))
        if self._request is not None:
            self._site.log_access(self._request, self._peer, self._started, self._answer or 499, self._sent)
            self._request = None

    def pause_writing(self) -> None:
        """See `Protocol.pause_writing`."""
        self._paused = True
        if self._sender is not None:
            self._sender.pause()

    def resume_writing(self) -> None:
        """See `Protocol.resume_writing`."""
        self._paused = False
        if self._sender is not None:
            self._sender.resume()
        elif self._request is None:
            self._run()

    def drain(self) -> None:
        """Take no further request; close when the answer under way is complete, at once if there is none."""
        self._draining = True
        if self._request is None and self._state < _LINGER:
            if self._parser.body_ended:
                self._close()
            else:
                self._linger()

    # Requests.

    def _run(self) -> None:
        """Answer what requests there are, for as long as each is answered at once."""
        if self._running:
            return
        self._running = True
        while self._step():
            pass
        self._running = False

    def _step(self) -> bool:
        """Take the next request, or find out why there is none. Return whether to look for another one."""
        if self._request is not None or self._state >= _LINGER:
            return False
        parser = self._parser
        if parser.buffered and self._transport.get_write_buffer_size() > self._high:
            # A client may send many requests for long answers at once: no more than it reads.
            self._state = _IDLE
            self._mark = -1
            self._arm(self._site.limits.idle_timeout)
            if parser.buffered > self._site.limits.max_pipelined:
                self._transport.pause_reading()
            if not self._paused:
                self._site.clock.call_soon(self._run)
            return False
        if not parser.body_ended:
            return self._discard()
        try:
            request = parser.next_request()
        except RefusedRequest as error:
            self._refuse(error)
            return False
        if request is not None:
            self._begin(request)
            return True
        self._transport.resume_reading()
        if self._eof:
            self._close()
        elif not parser.buffered:
            self._state = _IDLE
            self._mark = -1
            self._arm(self._site.limits.idle_timeout)
        elif self._state != _HEAD:
            self._state = _HEAD
            self._arm(self._site.limits.head_timeout)
        return False

    def _begin(self, request: Request) -> None:
        site = self._site
        self._request = request
        request.peer = self._peer
        request.local = self._local
        request.secure = self._secure
        request.clock = site.clock
        self._continue = request.expects_continue
        self._state = _RENDER
        self._answer = self._sent = 0
        if request.content_length:
            length = request.content_length
            request.body = RequestBody(self, length if length > 0 else None)
            self._body_time = 0.0
            self._body_got = self._discarded = 0
        if site.access_log is not None:
            self._started = site.wall_clock()
        try:
            rendered = site.render(request)
        except FAILURES as error:  # the resource's fault costs its own request only
            self._render_failed(error)
            return
        if isinstance(rendered, Response):
            self._respond(rendered)
            return
        self._wait_for_resource()
        rendering: Deferred[Response] = (
            rendered if isinstance(rendered, Deferred) else ensure_deferred(rendered)
        )
        self._rendering = rendering
        rendering.add_callbacks(self._rendered, self._render_failed).add_errback(self._abort)

    def _wait_for_resource(self) -> None:
        """Let it work for as long as it likes, unless the client may be gone."""
        if self._eof:
            self._arm(self._site.limits.half_closed_timeout)

    def _refuse(self, error: RefusedRequest) -> None:
        """Answer something that is no request, or none that we take."""
        request = self._parser.refused
        self._site.log_refusal(self._peer, error, request)
        self._keep_alive = False
        self._answer = self._sent = 0
        site = self._site
        if site.access_log is not None:
            self._started = site.wall_clock()
        self._broken = error
        self._write_answer(request, error_page(error.status, RULES[error.rule].reason))

    def _rendered(self, response: object) -> None:
        if isinstance(response, Response):
            self._respond(response)
        else:
            self._render_failed(TypeError(f"a resource gave no Response but {response!r}"))

    def _abort(self, error: Exception) -> None:
        """An error of our own, or of a log, must not leave the client waiting."""
        _log.error("%s: %s failed", self._peer, self._request, exc_info=error)
        self._transport.abort()

    def _render_failed(self, error: Exception | SystemExit) -> None:
        request = self._request
        if request is None or self._state == _CLOSED:
            if not isinstance(error, Cancelled):
                _log.warning("a resource failed after its client had gone", exc_info=error)
            return
        if isinstance(error, RefusedRequest):
            self._site.log_refusal(self._peer, error, request)
            self._respond(error_page(error.status, RULES[error.rule].reason))
            return
        # The request line is visible ASCII by now: it cannot forge a line of the log.
        _log.error("%s: %s %s failed", self._peer, request.method, request.target, exc_info=error)
        self._respond(error_page(500))

    # Answers.

    def _respond(self, response: Response) -> None:
        """Send the answer to the request."""
        self._rendering = None
        request = self._request
        if request is None or self._state == _CLOSED:
            close_body(response.body)
            return
        self._keep_alive = request.keep_alive and not (self._draining or self._continue or self._broken)
        if self._keep_alive and not self._parser.body_ended:
            self._keep_alive = self._parser.body_left <= self._site.limits.max_unread_body or (
                not isinstance(response.body, (bytes, FileBody))
            )
        self._write_answer(request, response)

    def _write_answer(self, request: Request | None, response: Response) -> None:
        method = "GET" if request is None else request.method
        is_1_1 = request is None or request.version == (1, 1)
        encoder = self._site.encoder
        try:
            head = encoder.encode(response, method=method, is_1_1=is_1_1, keep_alive=self._keep_alive)
        except Exception as error:  # noqa: BLE001 - a resource may have put anything into it
            _log.error("%s: the response to %s cannot be sent", self._peer, request, exc_info=error)
            close_body(response.body)
            response = error_page(500)
            head = encoder.encode(response, method=method, is_1_1=is_1_1, keep_alive=self._keep_alive)
        self._keep_alive = head.keep_alive
        self._answer = response.status
        body = response.body
        if isinstance(body, bytes):
            if head.has_body:
                self._sent = len(body)
                self._transport.write(head.data + body)
            else:
                self._transport.write(head.data)
            self._finish(request)
            return
        self._transport.write(head.data)
        if not head.has_body:
            close_body(response.body)
            self._finish(request)
            return
        self._state = _SEND
        self._mark = self._transport.get_extra_info("bytes_sent", 0)
        self._arm(self._site.limits.write_timeout)
        clock = self._site.clock
        sender: BodySender
        if isinstance(body, FileBody):
            sender = FileSender(self._transport, clock, body, self._body_sent)
        else:
            sender = StreamSender(self._transport, clock, response, head.chunked, self._body_sent)
        self._sender = sender
        if not self._paused:
            sender.resume()
        else:
            sender.pause()

    def _body_sent(self, error: BaseException | None) -> None:
        """The body is with the transport, or never will be."""
        self._sent = self._sender.sent if self._sender is not None else 0
        self._sender = None
        if error is not None:
            if not isinstance(error, (TransportError, Cancelled)):
                _log.error("%s: the body for %s broke off", self._peer, self._request, exc_info=error)
            self._transport.abort()
            return
        self._finish(self._request)

    def _finish(self, request: Request | None) -> None:
        """The answer is complete."""
        self._site.log_access(request, self._peer, self._started, self._answer, self._sent)
        self._request = None
        waiter = self._waiter
        if waiter is not None:
            # Left where it is it would get the body of the next request.
            self._end_wait()
            waiter.errback(LocalProtocolError("the answer to this request is complete"))
        if self._keep_alive and not self._draining and self._broken is None:
            self._run()
            return
        if self._eof or (self._broken is None and self._parser.body_ended and not self._parser.buffered):
            self._close()
        else:
            self._linger()

    # The request's body.

    def next_body_chunk(self, body: RequestBody) -> Deferred[bytes]:
        """See `RequestBody.next_chunk`."""
        if self._broken is not None:
            return fail(self._broken)
        if self._state == _CLOSED:
            return fail(ConnectionLost("the client is gone"))
        if self._request is None or self._request.body is not body:
            return fail(LocalProtocolError("the answer to this request is complete"))
        if self._waiter is not None:
            return fail(LocalProtocolError("a chunk of this body is waited for already"))
        if self._continue:
            self._continue = False
            if not self._answer:
                self._transport.write(CONTINUE)
        try:
            chunk = self._parser.next_body()
        except RefusedRequest as error:
            self._broken = error
            return fail(error)
        if chunk is not None:
            self._body_got += len(chunk)
            return succeed(chunk)
        if self._eof:
            self._broken = RefusedRequest("body-cut")
            return fail(self._broken)
        waiter: Deferred[bytes] = Deferred(self._forget_waiter)
        self._waiter = waiter
        self._transport.resume_reading()
        if self._state == _RENDER:
            self._state = _BODY
        self._wait_for_body()
        return waiter

    def body_trailers(self) -> Headers:
        """See `RequestBody.trailers`."""
        return self._parser.trailers

    def _wait_for_body(self) -> None:
        limits = self._site.limits
        self._body_since = self._site.clock.time()
        allowed = limits.body_grace + self._body_got / limits.min_body_rate
        self._arm(max(0.0, allowed - self._body_time))

    def _forget_waiter(self, waiter: Deferred[bytes]) -> None:
        if self._waiter is waiter:
            self._end_wait()

    def _end_wait(self) -> None:
        self._waiter = None
        self._body_time += self._site.clock.time() - self._body_since
        if self._state == _BODY:
            self._state = _RENDER
            self._wait_for_resource()
        elif self._state == _SEND:
            self._arm(self._site.limits.write_timeout)

    def _feed_body(self, waiter: Deferred[bytes]) -> None:
        try:
            chunk = self._parser.next_body()
        except RefusedRequest as error:
            self._broken = error
            self._end_wait()
            waiter.errback(error)
            return
        if chunk is not None:
            self._body_got += len(chunk)
            self._end_wait()
            waiter.callback(chunk)

    def _break_body(self, rule: str) -> None:
        self._broken = RefusedRequest(rule)
        waiter = self._waiter
        if waiter is not None:
            self._end_wait()
            waiter.errback(self._broken)

    def _discard(self) -> bool:
        """Drop some of the body nobody read. Return whether to go on."""
        try:
            chunk = self._parser.next_body()
        except RefusedRequest as error:
            # Its request is answered: one more answer would be taken for that of the next one.
            self._site.log_refusal(self._peer, error)
            self._linger()
            return False
        if chunk is not None:
            self._discarded += len(chunk)
            self._body_got += len(chunk)
            if self._discarded <= self._site.limits.max_unread_body:
                return True
            self._linger()
        elif self._eof:
            self._close()
        else:
            self._transport.resume_reading()
            if self._state != _DISCARD:
                self._state = _DISCARD
                self._wait_for_body()
        return False

    # The end.

    def _linger(self) -> None:
        """Close so that the client sees the answer (RFC 9112 9.6): first our side, then, when it has, all."""
        if self._transport.can_write_eof():
            self._transport.write_eof()
        self._transport.resume_reading()
        self._parser = RequestParser(self._site.limits)
        self._state = _LINGER
        self._linger_since = self._site.clock.time()
        self._linger_on()

    def _linger_on(self) -> None:
        """Drop what the client still sends, until its end, as long as it sends fast enough."""
        limits = self._site.limits
        allowed = min(limits.linger_timeout + self._lingered / limits.min_body_rate, limits.linger_time)
        left = self._linger_since + allowed - self._site.clock.time()
        self._arm(min(left, limits.linger_timeout))

    def _close(self) -> None:
        """Close, but no sooner than what was written has left."""
        self._state = _CLOSING
        self._mark = -1
        self._arm(self._site.limits.write_timeout)
        self._transport.close()

    # Time.

    def _arm(self, seconds: float) -> None:
        """Have `_time_is_up` called in `seconds`, and not before. Putting it off costs next to nothing."""
        if self._timer is None:
            self._timer = self._site.clock.call_later(seconds, self._time_is_up)
        else:
            self._timer.reset(seconds)

    def _time_is_up(self) -> None:
        self._timer = None
        state = self._state
        if state == _IDLE:
            if self._transport.get_write_buffer_size():
                self._check_progress()
            else:
                self._close()
        elif state == _HEAD:
            self._refuse(RefusedRequest("request-timeout"))
        elif state == _BODY or self._waiter is not None:
            self._break_body("body-timeout")
        elif state == _RENDER:
            if self._eof:
                # The client ended its side long ago, and there is still no answer.
                self._transport.abort()
        elif state == _DISCARD:
            self._linger()
        elif state == _LINGER:
            self._close()
        else:
            self._check_progress()

    def _check_progress(self) -> None:
        """Abort if the client reads too slowly, or not at all; else look again later."""
        limits = self._site.limits
        least = limits.min_write_rate * limits.write_timeout
        if self._sender is not None and self._sender.waits_for_source:
            # A client that ended its side is found to be gone only when something is sent to it.
            least = 1 if self._eof else 0
        sent = self._transport.get_extra_info("bytes_sent", 0)
        if self._mark >= 0 and sent - self._mark < least:
            self._site.log_refusal(self._peer, "reads too slowly, or is gone")
            self._transport.abort()
            return
        self._mark = sent
        self._arm(limits.write_timeout)
