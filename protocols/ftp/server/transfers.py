r"""One transfer: from the data connection that was announced to the end of that connection.

```
            channel.take()          begin()                 transport.close()
    WAITING ---------------> OPEN ----------> (bytes move) -------------------> done
       \________________________\___________________\____ abort, error, stall -> failed
```

A transfer is the protocol of its data connection. It never holds more than a piece of the file or listing,
tells its outcome once, by `done`, and has closed its file by then.
"""

from __future__ import annotations

import typing

from portable.deferred import Deferred
from portable.errors import (
    Cancelled,
    ConnectionLost,
    ConnectionTimedOut,
    FileError,
    FrameworkError,
    TransportError,
)
from portable.protocol import Protocol

if typing.TYPE_CHECKING:
    from collections.abc import Callable

    from portable.clock import Clock, Timer
    from portable.tls import TLSOptions
    from portable.transport import Transport
    from protocols.ftp.server.channels import Channel
    from protocols.ftp.server.filesystem import Readable, Writable
    from protocols.ftp.server.site import Limits

__all__ = ["FileDownload", "Source", "StreamDownload", "Transfer", "Upload"]

# Bytes received that wait to be written before the client has to wait. A disk that is slower than the network
# for a moment does not stop it; a thousand uploads to a dead disk hold half a gigabyte.
MAX_UNWRITTEN = 512 * 1024


class Transfer(Protocol):
    """The common part. A subclass says what to do `begin` with, and calls `finish` or `fail`.

    Args:
        clock: for the time-out.
        limits: `stall` and `min_rate` count.
        tls: protects the data connection; None leaves it in clear.

    Attributes:
        done: gives the bytes that were transferred; fails with TransportError, FileError, Cancelled, or with
            whatever else the file has failed with, which is then a fault of ours.
        was_open: whether there has been a data connection.
    """

    counter = "bytes_sent"  # what its progress is read from

    def __init__(self, clock: Clock, limits: Limits, tls: TLSOptions | None) -> None:
        self.done: Deferred[int] = Deferred()
        self.was_open = False
        self._clock = clock
        self._stall = limits.stall
        self._least = max(1.0, limits.min_rate * limits.stall)  # bytes in `_stall` seconds
        self._tls = tls
        self._channel: Channel | None = None
        self._transport: Transport | None = None
        self._timer: Timer | None = None
        self._seen = 0
        self._waiting = 0  # bytes in the buffer when progress was looked at
        self._error: Exception | None = None
        self._ending = False  # nothing is missing if the connection now ends in the regular way

    @property
    def moved(self) -> int:
        """Bytes that have passed so far, in the direction of the transfer: the client may send on a download,
        but that gets nothing done.
        """
        if self._transport is None:
            return self._seen
        return int(self._transport.get_extra_info(self.counter, 0))

    def start(self, channel: Channel) -> None:
        """Wait for the data connection, then begin."""
        self._channel = channel
        channel.take().add_callbacks(self._connected, self._end)

    def abort(self) -> None:
        """Stop: `done` fails with Cancelled, as soon as the file is closed. Before `start` too. Idempotent."""
        self.fail(Cancelled("the client has aborted the transfer"))

    def fail(self, error: Exception) -> None:
        """Stop because of `error`. The peer sees a reset: what it got must not look complete."""
        if self._error is None:
            self._error = error
        if self._transport is not None:
            self._transport.abort()
        elif self._channel is not None:
            self._channel.close()
        else:
            self._end(error)

    def finish(self) -> None:
        """Close the data connection: everything was transferred."""
        self._ending = True
        if self._transport is not None:
            self._transport.close()

    def begin(self, transport: Transport) -> None:
        """Begin: the data connection is open, and its reading paused."""
        raise NotImplementedError  # left to the subclass

    def release(self) -> Deferred[None] | None:
        """Close the file; None if that is done at once."""
        raise NotImplementedError  # left to the subclass

    def _connected(self, transport: Transport) -> None:
        transport.set_protocol(self)
        self.was_open = True
        self._timer = self._clock.call_later(self._stall, self._check_progress)
        if self._tls is None:
            self._transport = transport
            self.begin(transport)
            return
        secured = transport.start_tls(self._tls, 0)
        self._transport = secured
        # Not before: an empty listing would be over when the client has yet to say hello. A handshake that
        # fails is told by connection_lost.
        secured.handshake.add_callbacks(lambda _: self._secured(secured), _ignore_loss)

    def _secured(self, transport: Transport) -> None:
        # The client's farewell must be read; without TLS, a client that goes away is noticed by writing.
        transport.resume_reading()
        self.begin(transport)

    def _check_progress(self) -> None:
        moved = self.moved
        waiting = 0 if self._transport is None else self._transport.get_write_buffer_size()
        # TLS counts bytes as sent when they are encrypted. That they leave shows in what waits.
        gone = moved - self._seen + max(0, self._waiting - waiting)
        if gone < self._least:
            self._timer = None
            self.fail(ConnectionTimedOut("too little has moved for too long"))
        else:
            self._seen = moved
            self._waiting = waiting
            self._timer = self._clock.call_later(self._stall, self._check_progress)

    def connection_lost(self, exc: TransportError | None) -> None:
        """See `Protocol.connection_lost`."""
        self._seen = self.moved
        self._transport = None
        if exc is None and not self._ending:
            exc = ConnectionLost("the client has closed the data connection")
        self._end(exc)

    def _end(self, exc: Exception | None) -> None:
        """Close the file, then tell the outcome."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._error is None:
            self._error = exc
        released = self.release()
        if released is None:
            self._tell(None)
        else:
            released.add_callbacks(self._tell, self._release_failed)

    def _release_failed(self, error: Exception) -> None:
        # A fault of ours is to be heard of, whatever else has gone wrong.
        if self._error is None or not isinstance(error, FrameworkError):
            self._error = error
        self._tell(None)

    def _tell(self, _: None) -> None:
        if self._error is None:
            self.done.callback(self._seen)
        else:
            self.done.errback(self._error)


def _ignore_loss(error: Exception) -> None:
    """A handshake that failed is told by `connection_lost`."""
    if not isinstance(error, TransportError):
        raise error


class FileDownload(Transfer):
    """Sends a file as it is, by the system's own means where it has them.

    Args:
        file: closed in the end.
        offset: bytes of it to leave out.
    """

    def __init__(
        self, clock: Clock, limits: Limits, tls: TLSOptions | None, file: Readable, offset: int
    ) -> None:
        super().__init__(clock, limits, tls)
        self._file = file
        self._offset = offset
        self._count = max(0, file.size - offset)

    def begin(self, transport: Transport) -> None:
        """See `Transfer.begin`."""
        if self._file.content is not None:
            transport.write(self._file.content[self._offset :])
            self.finish()
        elif self._file.file is not None:
            sending = transport.send_file(self._file.file, self._offset, self._count)
            sending.add_callbacks(self._sent, self._sending_failed)

    def eof_received(self) -> bool:
        """See `Protocol.eof_received`. A client may well end its own direction before."""
        return True

    def release(self) -> None:
        """See `Transfer.release`."""
        self._file.close()

    def _sent(self, count: int) -> None:
        if count < self._count:
            self.fail(FileError("the file was cut while it was sent", "EIO"))
        else:
            self.finish()

    def _sending_failed(self, error: Exception) -> None:
        # That the connection was lost is told by itself.
        if not isinstance(error, TransportError):
            self.fail(error)


class Source(typing.Protocol):
    """What a `StreamDownload` sends."""

    def read(self) -> Deferred[bytes | None]:
        """Give the next piece, possibly empty; None at the end."""

    def close(self) -> None:
        """Close it. Idempotent."""


class StreamDownload(Transfer):
    """Sends what a source gives, one piece in each turn of the loop and only while the client takes it."""

    def __init__(self, clock: Clock, limits: Limits, tls: TLSOptions | None, source: Source) -> None:
        super().__init__(clock, limits, tls)
        self._source = source
        self._paused = False
        self._waiting = False
        self._reading = False

    def begin(self, transport: Transport) -> None:
        """See `Transfer.begin`."""
        self._next()

    def eof_received(self) -> bool:
        """See `Protocol.eof_received`. A client may well end its own direction before."""
        return True

    def pause_writing(self) -> None:
        """See `Protocol.pause_writing`."""
        self._paused = True

    def resume_writing(self) -> None:
        """See `Protocol.resume_writing`."""
        self._paused = False
        if self._waiting:
            self._waiting = False
            self._next()

    def release(self) -> None:
        """See `Transfer.release`."""
        self._source.close()

    def _next(self) -> None:
        if self._paused:
            self._waiting = True
        elif self._transport is not None and not self._reading:
            self._reading = True
            self._source.read().add_callbacks(self._got, self._reading_failed)

    def _got(self, piece: bytes | None) -> None:
        self._reading = False
        if self._transport is None:
            return
        if piece is None:
            self.finish()
        else:
            self._transport.write(piece)
            # In the next turn: others have theirs, and `pause_writing` comes in between.
            self._clock.call_soon(self._next)

    def _reading_failed(self, error: Exception) -> None:
        self._reading = False
        self.fail(error)


class Upload(Transfer):
    """Writes what the client sends. What came before a connection broke is written too: it can be resumed.
    Unless something came, or the end of an empty file, there is no new file and the old one is as it was.

    Args:
        file: closed in the end.
        offset: where to begin, see `Writable.start_at`.
        decode: makes the bytes to write of a piece that was received, and of the end (None).
    """

    counter = "bytes_received"

    def __init__(
        self,
        clock: Clock,
        limits: Limits,
        tls: TLSOptions | None,
        file: Writable,
        offset: int | None,
        decode: Callable[[bytes | None], bytes] | None = None,
    ) -> None:
        super().__init__(clock, limits, tls)
        self._file = file
        self._offset = offset
        self._decode = decode
        self._unwritten: list[bytes] = []
        self._unwritten_size = 0
        self._started = False  # the file was told where to begin
        self._writing = False
        self._complete = False  # the client has sent everything
        self._paused = False
        self._released: Deferred[None] | None = None

    def begin(self, transport: Transport) -> None:
        """See `Transfer.begin`."""
        transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        """See `Protocol.data_received`."""
        self._start()
        if self._decode is not None:
            data = self._decode(data)
        self._take(data)

    def _start(self) -> None:
        """Have a new file made, or the old content go: the first byte has come, or the end of an empty file."""
        if not self._started:
            self._started = True
            self._file.start_at(self._offset)

    def _take(self, data: bytes) -> None:
        if self._error is not None or not data:
            return
        self._unwritten.append(data)
        self._unwritten_size += len(data)
        if self._unwritten_size >= MAX_UNWRITTEN and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()
        self._write()

    def eof_received(self) -> bool:
        """See `Protocol.eof_received`."""
        self._start()
        self._complete = True
        # Over TLS the transport now closes by itself.
        self._ending = True
        if self._decode is not None:
            self._take(self._decode(None))
        self._write()
        return True

    def connection_lost(self, exc: TransportError | None) -> None:
        """See `Protocol.connection_lost`. How a client goes that has sent everything does not matter."""
        super().connection_lost(None if self._complete else exc)

    def release(self) -> Deferred[None]:
        """See `Transfer.release`."""
        released: Deferred[None] = Deferred()
        self._released = released
        self._write()
        return released

    def _write(self) -> None:
        """Write what waits; if nothing does, do what waits for that."""
        if self._writing:
            return
        if self._unwritten:
            data = self._unwritten[0] if len(self._unwritten) == 1 else b"".join(self._unwritten)
            self._unwritten = []
            self._unwritten_size = 0
            self._writing = True
            self._file.write(data).add_callbacks(self._written, self._writing_failed)
        elif self._released is not None:
            released, self._released = self._released, None
            self._file.close().add_callbacks(released.callback, released.errback)
        elif self._complete:
            self.finish()

    def _written(self, _: None) -> None:
        self._writing = False
        if self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()
        self._write()

    def _writing_failed(self, error: Exception) -> None:
        self._writing = False
        self._unwritten = []
        self.fail(error)
        self._write()
