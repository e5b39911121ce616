"""The filter: a protocol towards the raw transport, a transport towards the protocol that speaks through it.

```
inner protocol  <- plain ->  TLSTransport  <- records ->  raw transport  <->  network
```

The inner protocol sees what every transport gives it (see `portable.protocol`). What is special to TLS:

- There is no half-close: `can_write_eof` is False, and when the peer says close_notify the transport closes
  after `eof_received`, whatever that returns.
- A stream that ends without close_notify may have been cut by anyone on the path: `connection_lost` gets
  TLSTruncated, and `eof_received` is not called.
- `close` sends close_notify after everything written, and does not wait for the peer's (RFC 8446 6.1 lets us).
  During the handshake it lets that complete first, in LINGER seconds at most, or FAREWELL if nothing was
  written: before it is done TLS has no farewell, and the peer would have to take the end for a failure. Only a
  server that has not heard anything yet, and has nothing to send, closes at once.
- A client that closes and has not read anything waits for the end of the stream, LINGER seconds at most: the
  server's session tickets may be on their way, and a system that closes with data unread drops what it has not
  sent.

What is written is encrypted at once and handed to the raw transport, which sends once for each turn of the
loop. Calls to the inner protocol that a method such as `resume_reading` causes must come later and from the
loop: they go through `call_soon` of `get_extra_info("reactor")`, which every raw transport must know.
"""

from __future__ import annotations

import logging
import typing

from portable.deferred import Deferred, fail, succeed
from portable.errors import (
    ConnectionAborted,
    ConnectionLost,
    ConnectionTimedOut,
    LocalProtocolError,
    TLSError,
    TLSTruncated,
)
from portable.tls.engine import AGREED, MAX_HANDSHAKE, SLICE, Engine
from portable.tls.sendqueue import SendQueue

if typing.TYPE_CHECKING:
    from portable.clock import Clock, Timer
    from portable.errors import TransportError
    from portable.protocol import ProtocolFactory, StreamProtocol
    from portable.tls.options import TLSOptions
    from portable.transport import Buffer, Transport

__all__ = ["FAREWELL", "LINGER", "UPGRADE_TIMEOUT", "TLSTransport"]

logger = logging.getLogger("portable.tls")

# Seconds. How long a connection that cannot go on may take to say so, one that was closed during the handshake
# to complete it for what was written before, and a client to read what the server sends unasked.
LINGER = 30.0
# Seconds for a handshake to complete if a farewell is all that waits for it: some round trips. A server that
# stops waits as well, and a client that says no more in its handshake must not hold that up for long.
FAREWELL = 2.0
# Seconds for the handshake of a connection that is upgraded: its listener's limit was for its beginning, and
# the protocol hears nothing meanwhile that it could judge by. As asyncio's.
UPGRADE_TIMEOUT = 60.0
# Bytes. Answers to key updates (RFC 8446 4.6.3) that we keep for a peer that does not read them.
MAX_UNREAD_ANSWERS = 64 * 1024


class TLSTransport:
    """TLS on top of another transport. Made by `tls_factory` and `upgrade` (see `portable.tls.starting`).

    Satisfies both `portable.transport.Transport` and `portable.protocol.StreamProtocol`; the latter's methods
    are for the raw transport only.

    Attributes:
        handshake_done: whether the handshake was completed. Stays True after the connection is lost.
    """

    def __init__(
        self,
        options: TLSOptions,
        *,
        factory: ProtocolFactory | None = None,
        protocol: StreamProtocol | None = None,
    ) -> None:
        """Prepare; the handshake begins with `connection_made`.

        Args:
            factory: makes the inner protocol when the handshake is done, or
            protocol: the inner protocol, which has had its `connection_made` already.
        """
        self.handshake_done = False
        self._options = options
        self._factory = factory
        self._protocol = protocol
        self._engine = Engine(options)
        self._raw: Transport
        self._clock: Clock
        self._waiters: list[Deferred[None]] = []
        self._scheduled = False
        self._linger: Timer | None = None
        self._deadline: Timer | None = None  # of the handshake of an upgrade
        # Reading.
        self._handshake_bytes = 0
        self._heard = False
        self._paused = False
        self._raw_eof = False
        self._eof_told = False
        self._bytes_received = 0
        # Writing. The queue holds what waits for the handshake, or behind a file.
        self._queue = SendQueue()
        self._raw_paused = False
        self._pause_told = False
        self._unread_answers = 0
        self._bytes_sent = 0
        # Ending. `_closing`: we were told to end; `_finished`: the raw transport was told; `_lost`: it has
        # ended.
        self._closing = False
        self._finished = False
        self._lost = False
        self._nothing_unsent = False
        self._error: TransportError | None = None

    @property
    def handshake(self) -> Deferred[None]:
        """Fires when the handshake is done and the inner protocol has its `connection_made`; fails with a
        TransportError if the connection ends before that. Each use gives another Deferred.
        """
        if self.handshake_done and self._protocol is not None:
            return succeed(None)
        if self._lost:
            return fail(self._error or ConnectionAborted("closed during the TLS handshake"))
        waiter: Deferred[None] = Deferred()
        self._waiters.append(waiter)
        return waiter

    # What the raw transport calls.

    def connection_made(self, transport: Transport) -> None:
        """Begin the handshake on `transport`.

        Raises:
            LocalProtocolError: `transport` does not know its reactor.
        """
        clock = transport.get_extra_info("reactor")
        if clock is None:
            raise LocalProtocolError('TLS needs a transport whose get_extra_info knows "reactor"')
        self._raw = transport
        self._clock = clock
        if self._protocol is not None:
            self._deadline = self._clock.call_later(UPGRADE_TIMEOUT, self._too_late)
        if self._protocol is not None and not transport.is_reading():
            # Upgraded while paused. The handshake must be read nevertheless; data stays with us until the
            # protocol resumes.
            self._paused = True
            transport.resume_reading()
        self._shake()

    def data_received(self, data: bytes) -> None:
        """Take records from the network."""
        if self.handshake_done:
            self._heard = True
            if self._closing:
                # Read and thrown away: a connection closed with unread data is reset, and what is still on its
                # way to the peer is lost.
                return
        elif self._finished:
            return
        else:
            self._handshake_bytes += len(data)
        self._engine.receive_data(data)
        self._go_on()

    def eof_received(self) -> bool:
        """Take note that the network has no more; keep the raw transport open for what is still to be
        delivered.
        """
        self._raw_eof = True
        if self._finished:
            self._raw.close()
        else:
            self._go_on()
        return True

    def connection_lost(self, exc: TransportError | None) -> None:
        """Tell everybody who waits."""
        self._lost = self._closing = self._finished = True
        for timer in (self._linger, self._deadline):
            if timer is not None:
                timer.cancel()
        if self._error is None and not (self._engine.closed and self._nothing_unsent):
            # If the peer said farewell and we owed it nothing, it does not matter how the connection went down.
            self._error = exc
        error = self._error
        self._queue.clear(error)
        if not self.handshake_done:
            self._log_failure(error)
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            waiter.errback(error or ConnectionAborted("closed during the TLS handshake"))
        if self._protocol is not None:
            self._protocol.connection_lost(error)

    def pause_writing(self) -> None:
        """Take note that the network is slower than we are."""
        self._raw_paused = True
        self._tell_flow()

    def resume_writing(self) -> None:
        """Go on with a file, and tell the protocol to go on."""
        if not self._raw_paused:
            # The pause came before the upgrade and was told to the protocol directly.
            self._pause_told = True
        self._raw_paused = False
        self._unread_answers = 0
        self._pump()
        self._tell_flow()

    def drain(self) -> None:
        """Have the inner protocol finish what it does (see SupportsDrain), or close."""
        goodbye = getattr(self._protocol, "drain", None)
        if goodbye is None:
            self.close()
        else:
            goodbye()

    # What the protocol calls.

    def write(self, data: Buffer) -> None:
        """See `portable.transport.Transport.write`. Before the end of the handshake, data waits for it."""
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(f"write takes bytes, bytearray or memoryview, not {type(data).__name__}")
        if self._closing:
            return
        plain = bytes(data)
        if self._queue or not self.handshake_done:
            if plain:
                self._queue.add(plain)
                self._schedule()
        else:
            self._encrypt(plain)

    def writelines(self, chunks: typing.Iterable[Buffer]) -> None:
        """See `portable.transport.Transport.writelines`."""
        self.write(b"".join(chunks))

    def write_eof(self) -> None:
        """Raise LocalProtocolError: TLS has no half-close that peers understand."""
        raise LocalProtocolError("TLS connections cannot be half-closed: use close")

    def can_write_eof(self) -> bool:
        """Return False."""
        return False

    def close(self) -> None:
        """See `portable.transport.Transport.close`. A handshake that has begun goes on, and what was written
        waits for it, but not longer than LINGER seconds (FAREWELL if nothing was); `abort` does not wait.
        """
        if self._closing:
            return
        self._closing = True
        begun = self._handshake_bytes > 0 or not self._options.server_side
        if not self.handshake_done and (self._queue or begun):
            self._start_linger(LINGER if self._queue else FAREWELL)
        elif self._queue:
            self._schedule()
        else:
            self._finish()

    def abort(self) -> None:
        """See `portable.transport.Transport.abort`."""
        self._closing = self._finished = True
        self._raw.abort()

    def is_closing(self) -> bool:
        """See `portable.transport.Transport.is_closing`."""
        return self._closing or self._raw.is_closing()

    def pause_reading(self) -> None:
        """See `portable.transport.Transport.pause_reading`. A handshake under way goes on."""
        if self._paused or self._closing:
            return
        self._paused = True
        if self.handshake_done:
            self._raw.pause_reading()

    def resume_reading(self) -> None:
        """See `portable.transport.Transport.resume_reading`."""
        if not self._paused or self._closing:
            return
        self._paused = False
        self._raw.resume_reading()
        # We may hold data for which no event will come from the network.
        self._schedule()

    def is_reading(self) -> bool:
        """See `portable.transport.Transport.is_reading`."""
        return not self._paused and not self.is_closing()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """See `portable.transport.Transport.set_write_buffer_limits`."""
        self._raw.set_write_buffer_limits(high, low)
        self._schedule()

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Return (low, high) in bytes."""
        return self._raw.get_write_buffer_limits()

    def get_write_buffer_size(self) -> int:
        """Return the bytes that wait for the handshake or behind a file, plus the records that wait for the
        network. Files count for nothing until they are read.
        """
        return self._queue.size + self._raw.get_write_buffer_size()

    def get_extra_info(self, name: str, default: typing.Any = None) -> typing.Any:
        """See `portable.transport.Transport.get_extra_info`. Besides, "ssl_object" as in asyncio."""
        if name == "bytes_received":
            return self._bytes_received
        if name == "bytes_sent":
            return self._bytes_sent
        if name == "ssl_object":
            return self._engine.tls
        if name not in AGREED:
            return self._raw.get_extra_info(name, default)
        value = AGREED[name](self._engine) if self.handshake_done else None
        return default if value is None else value

    def set_protocol(self, protocol: StreamProtocol) -> None:
        """See `portable.transport.Transport.set_protocol`."""
        self._protocol = protocol

    def get_protocol(self) -> StreamProtocol:
        """Return the inner protocol.

        Raises:
            LocalProtocolError: it is made when the handshake is done, which it is not.
        """
        if self._protocol is None:
            raise LocalProtocolError("the protocol is made when the TLS handshake is done")
        return self._protocol

    def start_tls(self, options: TLSOptions, unread: int) -> TLSTransport:
        """Raise LocalProtocolError: this is TLS already."""
        raise LocalProtocolError("the connection speaks TLS already")

    def send_file(self, file: typing.BinaryIO, offset: int, count: int) -> Deferred[int]:
        """See `portable.transport.Transport.send_file`. The file is read in pieces as the peer takes them, in
        the reactor's thread; the Deferred fires when the last piece was encrypted and most of it taken by the
        system.
        """
        if self._closing:
            return fail(ConnectionLost("the connection is closing", "ECONNABORTED"))
        self._schedule()
        return self._queue.add_file(file, offset, count)

    # Reading.

    def _go_on(self) -> None:
        if not self.handshake_done:
            self._shake()
        if self.handshake_done:
            self._deliver()

    def _shake(self) -> None:
        try:
            done = self._engine.handshake()
        except TLSError as exc:
            self._shake_failed(exc)
            return
        self._flush()
        if done:
            self._begin()
        elif self._handshake_bytes > MAX_HANDSHAKE:
            excess = f"the peer sent more than {MAX_HANDSHAKE} bytes and the handshake is not done"
            self._shake_failed(TLSError(excess))
        elif self._raw_eof:
            self._shake_failed(TLSTruncated("the peer closed the connection during the TLS handshake"))

    def _shake_failed(self, error: TLSError) -> None:
        if self._closing and not self._queue:
            # It went on for the sake of a farewell only. To whoever has closed, this end is as good.
            self._flush()
            self._finish()
        else:
            self._fail(error)

    def _begin(self) -> None:
        """The handshake is done: let everything pass that waited for it."""
        self.handshake_done = True
        for timer in (self._linger, self._deadline):
            if timer is not None:
                timer.cancel()
        self._linger = None
        if self._paused:
            self._raw.pause_reading()
        self._pump()
        if self._factory is not None and not self._closing:
            self._protocol = self._factory()
            self._protocol.connection_made(self)
        self._tell_flow()
        if self._protocol is not None:
            waiters, self._waiters = self._waiters, []
            for waiter in waiters:
                waiter.callback(None)

    def _deliver(self) -> None:
        """Give the protocol what has been received, until it pauses or closes."""
        while not self._paused and not self._closing and self._protocol is not None:
            try:
                data = self._engine.next_data()
            except TLSError as exc:
                self._fail(exc)
                return
            self._unread_answers += self._flush()
            if self._raw_paused and self._unread_answers > MAX_UNREAD_ANSWERS:
                self._fail(TLSError("the peer asks for new keys, but does not read"))
            elif data:
                self._bytes_received += len(data)
                self._protocol.data_received(data)
            elif self._engine.closed:
                self._tell_eof(self._protocol)
            elif self._raw_eof:
                self._fail(TLSTruncated("the connection ended without close_notify: data may be missing"))
            else:
                return

    def _tell_eof(self, protocol: StreamProtocol) -> None:
        self._eof_told = True
        protocol.eof_received()
        self.close()

    # Writing.

    def _encrypt(self, plain: bytes) -> None:
        try:
            for start in range(0, len(plain), SLICE):
                piece = plain if len(plain) <= SLICE else plain[start : start + SLICE]
                self._engine.write(piece)
                self._flush()
        except TLSError as exc:
            self._fail(exc)
            return
        self._bytes_sent += len(plain)

    def _flush(self) -> int:
        """Hand over to the raw transport what the engine wants to send; return how many bytes."""
        data = self._engine.data_to_send()
        if data:
            self._raw.write(data)
        return len(data)

    def _pump(self) -> None:
        """Send what is in the queue, files only as fast as the network takes them."""
        # On a raw transport that is going down, a file would seem to be sent as fast as it can be read.
        while self._queue and self.handshake_done and not self._finished and not self._raw.is_closing():
            if self._queue.file_is_next and not self._has_room():
                return
            self._encrypt(self._queue.take())
        if self._closing and self.handshake_done:
            self._finish()

    def _has_room(self) -> bool:
        """Return whether the network keeps up; if not, `_pump` is called again when it does."""
        if self._raw_paused:
            return False
        if self._raw.get_write_buffer_size() <= self._raw.get_write_buffer_limits()[1]:
            return True
        # The raw transport sends at the end of this turn, and only then knows whether to pause us.
        self._schedule()
        return False

    def _tell_flow(self) -> None:
        """Have the protocol pause or resume writing, unless it has closed anyway. From the loop only."""
        if self._protocol is None or self._closing:
            return
        low, high = self._raw.get_write_buffer_limits()
        if self._pause_told:
            if not self._raw_paused and self._queue.size <= low:
                self._pause_told = False
                self._protocol.resume_writing()
        elif self._raw_paused or self._queue.size > high:
            self._pause_told = True
            self._protocol.pause_writing()

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._clock.call_soon(self._turn)

    def _turn(self) -> None:
        """What a method has put off, so as not to call the protocol before it has returned."""
        self._scheduled = False
        if self._lost:
            return
        try:
            self._pump()
            self._tell_flow()
            if self.handshake_done:
                self._deliver()
        except BaseException:
            # As any exception that leaves a protocol: the reactor logs it.
            self.abort()
            raise

    # Ending.

    def _finish(self) -> None:
        if self._finished:
            return
        self._finished = True
        if self.handshake_done:
            # Session tickets may wait still; nobody misses them.
            self._nothing_unsent = self._bytes_sent == 0 or self._raw.get_write_buffer_size() == 0
            self._engine.close()
            self._flush()
            if self._tickets_may_come() and self._raw.can_write_eof():
                # The server hears what it would hear of a close, and answers it with its own. By then all that
                # it sent has been read.
                self._raw.write_eof()
                self._raw.resume_reading()
                self._start_linger()
                return
        self._raw.close()

    def _tickets_may_come(self) -> bool:
        """Return whether the server may have sent what no protocol ever sees (RFC 8446 4.6.1), still unread."""
        client = not self._options.server_side
        return client and not self._heard and not self._raw_eof and self._engine.tls.version() == "TLSv1.3"

    def _fail(self, error: TLSError) -> None:
        """The connection cannot go on. The protocol hears of it from `connection_lost`."""
        self._error = error
        self._closing = self._finished = True
        # The alert that tells the peer why.
        self._flush()
        self._raw.close()
        self._start_linger()

    def _start_linger(self, seconds: float = LINGER) -> None:
        if self._linger is None:
            self._linger = self._clock.call_later(seconds, self._give_up)

    def _give_up(self) -> None:
        if self._error is None and self.handshake_done:
            self._raw.close()
            return
        if self._error is None and self._queue:
            self._error = ConnectionTimedOut("the TLS handshake was not done in time after close")
        self.abort()

    def _too_late(self) -> None:
        if self._error is None:
            self._error = ConnectionTimedOut(f"the TLS handshake was not done in {UPGRADE_TIMEOUT:g} seconds")
        self.abort()

    def _log_failure(self, error: TransportError | None) -> None:
        # Health checks and port scanners connect and go; that is no news.
        if error is None or not self._handshake_bytes:
            return
        count = self._options.failures.count(self._clock.time())
        if count:
            peer = self._raw.get_extra_info("peername")
            logger.info("%d TLS handshake(s) failed, the last with %s: %s", count, peer, error)
