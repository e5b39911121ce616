"""The response as a publisher sees it: an object whose methods it calls."""

from __future__ import annotations

import collections
import logging
import math
import re
import typing

from portable.deferred import Deferred, fail, succeed
from portable.errors import ConnectionLost, FrameworkError, TimedOut
from protocols.http.dates import format_date
from protocols.http.encoder import encode_fields
from protocols.http.grammar import content_length
from protocols.http.headers import Headers
from protocols.http.messages import Response
from protocols.pb import Error, NoSuchMethod, Referenceable, RemoteReference
from protocols.servers.web.distributed.cookies import set_cookie
from protocols.servers.web.distributed.forms import HOP_BY_HOP

if typing.TYPE_CHECKING:
    from portable.clock import Clock, Timer
    from protocols.pb import Broker

__all__ = ["BadPage", "ResponseView"]

# Bytes of a body that wait for the client; above it the publisher is not read. A piece may have 640 KB itself.
HIGH_WATER = 256 * 1024
# All fields of a head, as what a request may have.
MAX_FIELDS = 100
MAX_HEAD = 32 * 1024  # bytes

_log = logging.getLogger("protocols.servers.web")
_ENTITY_TAG = re.compile(r'(?:W/)?"[!#-~\x80-\xff]*"')
# Seconds since 1970: the years 1970 to 9999.
_LAST_SECOND = 253_402_300_799


class BadPage(FrameworkError):
    """A publisher broke a rule of HTTP, or a limit."""


class ResponseView(Referenceable):
    """Takes a publisher's calls until its page is complete.

    The head is known with the first `write`, or with `finish`. Any call that breaks a rule makes the page fail.

    Args:
        broker: the connection, which is closed when the page is complete and passed on, or not wanted.
        clock: for the limit on silence.
        silence: seconds in which the publisher has to say something while it is waited for.

    Attributes:
        head: fires when the head is known; fails if it never will be.
    """

    def __init__(self, broker: Broker, clock: Clock, silence: float) -> None:
        self.head: Deferred[None] = Deferred()
        self._broker = broker
        self._clock = clock
        self._silence = silence
        self._timer: Timer | None = None
        self._heard = 0.0
        self._status = 200
        self._headers = Headers()
        self._size = 0
        self._length: int | None = None
        # The body: what waits for the client, who waits for it, and how it ended.
        self._pieces: collections.deque[bytes] = collections.deque()
        self._waiting = 0
        self._received = 0
        self._reader: Deferred[bytes] | None = None
        self._finished = False
        self._error: Exception | None = None
        self._producer: RemoteReference | None = None
        self._streaming = False
        self._asked = False  # a pull producer was asked for more, and nothing has come since
        self._held = False

    # What the relay calls.

    def start(self) -> None:
        """The request is sent: wait for the publisher from now on."""
        self._broker.on_disconnect(self._disconnected)
        self._heard = self._clock.time()
        self._timer = self._clock.call_later(self._silence, self._check_silence)

    def fail(self, error: Exception) -> None:
        """The page will never be complete."""
        if self._finished or self._error is not None:
            return
        self._error = error
        self._stop_timer()
        if not self.head.called:
            self.head.errback(error)
            return
        _log.warning("a page broke off: %s", error)
        self._pieces.clear()
        self._broker.abort()
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.errback(ConnectionLost(f"the page broke off: {error}"))

    def response(self) -> Response:
        """Return the response, once the head is known. Its body is this object."""
        if self._status in {204, 304}:
            self.close()
            return Response(self._status, self._headers)
        return Response(self._status, self._headers, self)

    # What the HTTP server calls: see BodyStream.

    @property
    def length(self) -> int | None:
        """See `BodyStream.length`."""
        return self._length

    def next_chunk(self) -> Deferred[bytes]:
        """See `BodyStream.next_chunk`."""
        if self._pieces:
            piece = self._pieces.popleft()
            self._waiting -= len(piece)
            self._adjust()
            return succeed(piece)
        if self._error is not None:
            return fail(ConnectionLost(f"the page broke off: {self._error}"))
        if self._finished:
            if self._length is not None and self._received != self._length:
                return fail(ConnectionLost(f"a page of {self._length} bytes ended after {self._received}"))
            return succeed(b"")
        self._heard = self._clock.time()
        reader: Deferred[bytes] = Deferred(self._forget_reader)
        self._reader = reader
        return reader

    def close(self) -> None:
        """See `BodyStream.close`."""
        self._stop_timer()
        self._pieces.clear()
        if self._finished:
            # Flushes the answers to its last calls.
            self._broker.resume_calls()
            self._broker.close()
        else:
            self._finished = True
            self._broker.abort()

    # What the publisher calls.

    def message_received(
        self, name: str, args: tuple[typing.Any, ...], kwargs: dict[str, typing.Any]
    ) -> object:
        """See `Referenceable.message_received`."""
        self._heard = self._clock.time()
        if self._finished or self._error is not None:
            raise Error("the page is complete, or not wanted any more")
        try:
            return super().message_received(name, args, kwargs)
        except NoSuchMethod:
            # Something that a later version may know.
            raise
        except Error as error:
            self.fail(BadPage(str(error)))
            raise

    def remote_setResponseCode(self, status: object, message: object = None) -> None:
        """Set the status. The phrase is the server's."""
        self._check_head()
        if not isinstance(status, int) or status not in range(200, 600):
            # Not shown: a list that has the same list in it many times takes for ever to be written out.
            raise Error("no page has that status")
        self._status = int(status)

    def remote_setHeader(self, name: object, value: object) -> None:
        """Replace a field."""
        self._check_head()
        self._set(_text(name).lower(), _text(value), replace=True)

    def remote_setLastModified(self, when: object) -> None:
        """Set Last-Modified, in seconds since 1970."""
        self._check_head()
        if not isinstance(when, (int, float)) or not math.isfinite(when) or not 0 <= when <= _LAST_SECOND:
            raise Error("no time")
        self._set("last-modified", format_date(int(when)), replace=True)

    def remote_setETag(self, tag: object) -> None:
        """Set ETag."""
        self._check_head()
        text = _text(tag)
        if not _ENTITY_TAG.fullmatch(text):
            raise Error("no entity tag")
        self._set("etag", text, replace=True)

    def remote_addCookie(self, name: object, value: object, **words: object) -> None:
        """Add a cookie."""
        self._check_head()
        self._set("set-cookie", set_cookie(name, value, words), replace=False)

    def remote_write(self, data: object) -> None:
        """Add to the body."""
        if not isinstance(data, bytes):
            raise Error("a body is bytes")
        self._received += len(data)
        if self._length is not None and self._received > self._length:
            raise Error(f"more than the {self._length} bytes that were announced")
        self._asked = False
        if data:
            self._add(data)
        self._know_head()
        self._adjust()

    def remote_finish(self) -> None:
        """End the page."""
        self._finished = True
        self._stop_timer()
        self._producer = None
        self._know_head()
        reader, self._reader = self._reader, None
        if reader is not None:
            # Not b"", as the length may be wrong.
            self.next_chunk().add_callbacks(reader.callback, reader.errback)

    def remote_registerProducer(self, producer: object, streaming: object) -> None:
        """Have `producer` write the body: when it is asked, or (`streaming`) until it is told to pause."""
        if not isinstance(producer, RemoteReference) or self._producer is not None:
            raise Error("no producer, or a second one")
        self._producer = producer
        self._streaming = bool(streaming)
        self._adjust()

    def remote_unregisterProducer(self) -> None:
        """Have nobody write the body any more."""
        self._producer = None

    # Inside.

    def _check_head(self) -> None:
        if self.head.called:
            raise Error("the head is sent already")

    def _set(self, name: str, value: str, replace: bool) -> None:
        try:
            encode_fields([(name, value)])
            if name == "content-length":
                self._length = content_length(value)
        except FrameworkError as error:
            raise Error(f"field {name!r:.100} cannot be sent") from error
        self._size += len(name) + len(value)
        if self._size > MAX_HEAD or len(self._headers) >= MAX_FIELDS:
            raise Error(f"more than {MAX_FIELDS} fields or {MAX_HEAD} bytes in one head")
        if name in HOP_BY_HOP or name == "content-length":
            # Ours to say.
            return
        if replace:
            self._headers.set(name, value)
        else:
            self._headers.add(name, value)

    def _know_head(self) -> None:
        if not self.head.called:
            if self._status == 304 and self._length is not None:
                self._headers.set("content-length", str(self._length))
            self.head.callback(None)

    def _add(self, data: bytes) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.callback(data)
        else:
            self._pieces.append(data)
            self._waiting += len(data)

    def _adjust(self) -> None:
        """Have the publisher go on, or wait, as the client takes what it gives."""
        full = self._waiting > HIGH_WATER
        producer = self._producer
        if producer is not None and not self._streaming:
            if not full and not self._asked:
                self._asked = True
                _tell(producer, "resumeProducing")
        elif producer is not None and full is not self._held:
            _tell(producer, "pauseProducing" if full else "resumeProducing")
        if full is not self._held:
            self._held = full
            if full:
                self._broker.pause_calls()
            else:
                self._broker.resume_calls()

    def _forget_reader(self, reader: Deferred[bytes]) -> None:
        self._reader = None

    def _disconnected(self) -> None:
        self.fail(ConnectionLost("the publisher has gone"))

    def _check_silence(self) -> None:
        """Fail if the publisher is waited for and has said nothing; else look again later."""
        now = self._clock.time()
        waited_for = not self.head.called or self._reader is not None
        if not waited_for:
            self._heard = now
        left = self._heard + self._silence - now
        if left <= 0:
            self.fail(TimedOut(f"the publisher said nothing for {self._silence:g} seconds"))
        else:
            self._timer = self._clock.call_later(left, self._check_silence)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _text(value: object) -> str:
    """Return a name or a value as a header field has it."""
    if isinstance(value, str):
        # Twisted's setHeader takes both.
        value = value.encode("utf-8", "replace")
    if not isinstance(value, bytes):
        raise Error("a field is bytes")
    return value.decode("latin-1").strip(" \t")


def _tell(producer: RemoteReference, name: str) -> None:
    """Call a producer, whose answer says nothing: it writes, or it does not."""
    producer.call_remote(name).add_errback(_ignore)


def _ignore(error: Exception) -> None:
    """A producer that is gone writes no more, which is noticed anyway."""
