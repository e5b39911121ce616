"""What daytime, time, quote of the day and finger have in common: connect, get one answer, and that was it.

Of the first three, the server sends its answer without being asked and closes; what the client sends is thrown
away (RFC 865, 867 and 868, "TCP Based ... Service").
"""

from __future__ import annotations

import typing

from portable.deferred import Deferred
from portable.errors import RemoteProtocolError
from portable.protocol import Protocol

if typing.TYPE_CHECKING:
    from portable.clock import Clock, Timer
    from portable.errors import TransportError
    from portable.reactor import Streams
    from portable.transport import Transport

    class Network(Clock, Streams, typing.Protocol):
        """What a client needs of a reactor."""


__all__ = ["LINGER", "FetchOne", "OneAnswer", "fetch"]

# Seconds. A connection closed with bytes unread is reset by TCP, which can destroy an answer on its way; so we
# wait, that long and no longer, for the client to close first.
LINGER = 2.0


class OneAnswer(Protocol):
    """Sends one answer, ends the stream and closes.

    Args:
        answer: called for each connection. b"" closes without a word.
        clock: for LINGER.
    """

    def __init__(self, answer: typing.Callable[[], bytes], clock: Clock) -> None:
        self._answer = answer
        self._clock = clock
        self._linger: Timer | None = None

    def connection_made(self, transport: Transport) -> None:
        """Send the answer."""
        transport.write(self._answer())
        if transport.can_write_eof():
            transport.write_eof()
            self._linger = self._clock.call_later(LINGER, transport.close)
        else:
            transport.close()

    def connection_lost(self, exc: TransportError | None) -> None:
        """See `Protocol.connection_lost`."""
        if self._linger is not None:
            self._linger.cancel()


class FetchOne(Protocol):
    """Client side: collects what comes until the server closes.

    Args:
        limit: bytes an answer may have.
        request: sent first.

    Attributes:
        answer: fires with the answer. Fails with RemoteProtocolError if it is longer than `limit`, and with
            the TransportError of a connection that broke. Cancelling aborts the connection.
    """

    def __init__(self, limit: int, request: bytes = b"") -> None:
        self.answer: Deferred[bytes] = Deferred(self._cancelled)
        self._limit = limit
        self._request = request
        self._chunks: list[bytes] = []
        self._size = 0
        self._done = False
        self._transport: Transport | None = None

    def connection_made(self, transport: Transport) -> None:
        """Send the request."""
        self._transport = transport
        if self._request:
            transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Keep `data`, within the limit."""
        self._chunks.append(data)
        self._size += len(data)
        if self._size > self._limit and not self._done:
            self._done = True
            self._abort()
            self.answer.errback(RemoteProtocolError(f"an answer of more than {self._limit} bytes"))

    def connection_lost(self, exc: TransportError | None) -> None:
        """Give the answer, or the reason why there is none."""
        if self._done:
            return
        self._done = True
        if exc is None:
            self.answer.callback(b"".join(self._chunks))
        else:
            self.answer.errback(exc)

    def _cancelled(self, answer: Deferred[bytes]) -> None:
        self._done = True
        self._abort()

    def _abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()


def fetch(
    reactor: Network, host: str, port: int, limit: int, seconds: float, request: bytes = b""
) -> Deferred[bytes]:
    """Connect, and return what the server sends until it closes.

    Args:
        limit: bytes that the answer may have.
        seconds: for everything; after that the Deferred fails with TimedOut or ConnectTimedOut.
        request: sent first.

    Returns:
        The answer. Fails as `Streams.connect` and `FetchOne.answer`.
    """

    def make() -> FetchOne:
        return FetchOne(limit, request)

    def connected(client: FetchOne) -> Deferred[bytes]:
        return client.answer

    answer: Deferred[bytes] = reactor.connect(make, host, port, timeout=seconds).add_callback(connected)
    return answer.timeout(seconds, reactor)
