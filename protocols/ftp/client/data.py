"""The client's end of a data connection: a file or a listing passes, one way, to the end of the stream."""

from __future__ import annotations

import typing

from portable.deferred import Deferred, succeed
from portable.errors import (
    ConnectionAborted,
    ConnectionLost,
    FileError,
    LocalProtocolError,
    RemoteProtocolError,
    TimedOut,
)
from portable.flow import Pacer
from portable.protocol import Protocol

if typing.TYPE_CHECKING:
    from portable.clock import Clock, Timer
    from portable.errors import TransportError
    from portable.tls import TLSOptions
    from portable.transport import Transport

    # Takes the next bytes. If it returns a Deferred, nothing more is read until that fires.
    Consumer = typing.Callable[[bytes], Deferred[None] | None]
    # Gives the next bytes, b"" at the end. Asked no sooner than the peer can take them. A Deferred is cancelled
    # if the connection ends.
    Producer = typing.Callable[[], bytes | Deferred[bytes]]

__all__ = ["DataConnection", "FilePart"]


class FilePart(typing.NamedTuple):
    """A part of an open file, to be sent without passing through Python where the system can."""

    file: typing.BinaryIO
    offset: int
    length: int


class DataConnection(Protocol):
    """One data connection. Reads nothing until `receive`; ends with the one transfer that it is for.

    Args:
        clock: for the time-out.
        quiet_timeout: seconds without a byte in either direction after which the transfer fails with TimedOut.
            The time that a consumer or producer of our own takes does not count.
    """

    def __init__(self, clock: Clock, quiet_timeout: float) -> None:
        self._clock = clock
        self._quiet_timeout = quiet_timeout
        self._transport: Transport | None = None
        self._consumer: Consumer | None = None
        self._producer: Producer | None = None
        self._producing: Deferred[bytes] | None = None
        self._pacer: Pacer | None = None
        self._done: Deferred[int] | None = None
        self._timer: Timer | None = None
        self._seen = (0, 0, 0)  # the progress when the timer was started
        self._count = 0  # bytes consumed or produced
        self._ours = False  # whether a Deferred of our own side is being waited for
        self._sending = False  # whether the transport reads a file of ours
        self._over: Deferred[None] = Deferred()
        self._complete = False  # all was received, or all was handed to the transport
        self._ended = False
        self._error: Exception | None = None

    # What the client calls.

    def start_tls(self, options: TLSOptions) -> Deferred[None]:
        """Speak TLS before anything else; fires when the handshake is done, or fails with a TransportError.

        It must be waited for: the end of an empty file would overtake it.
        """
        transport = self._open()
        if transport.is_closing():
            # What is to pass over it will tell why.
            return succeed(None)
        tls = transport.start_tls(options, 0)
        self._transport = tls
        return tls.handshake

    def receive(self, consumer: Consumer) -> Deferred[int]:
        """Pass what the peer sends to `consumer`, and give the number of bytes at the end of the stream.

        Fails with a TransportError if the stream breaks off (TLSTruncated if it ends without TLS's farewell),
        with TimedOut, with what `consumer` raises or fails with. Cancelling drops the connection.
        """
        self._consumer = consumer
        done = self._begin()
        if self._transport is not None:
            self._transport.resume_reading()
        return done

    def send(self, source: Producer | FilePart) -> Deferred[int]:
        """Send what `source` gives, then end the stream; give the number of bytes when all is sent. What the
        server got of it only the reply on the control connection can tell.

        Fails as `receive`, and with ConnectionLost if the peer closes before the end.
        """
        done = self._begin()
        if self._ended:
            return done
        transport = self._open()
        # To hear of the peer's end. It has nothing to say.
        transport.resume_reading()
        if isinstance(source, FilePart):
            self._sending = True
            sending = transport.send_file(source.file, source.offset, source.length)
            sending.add_callbacks(lambda count: self._part_sent(count, source.length), self._part_not_sent)
        else:
            self._producer = source
            self._pacer = Pacer(transport, self._clock, self._produce)
            self._clock.call_soon(self._wake)
        return done

    def abort(self, error: Exception | None = None) -> None:
        """Drop the connection; a transfer under way fails with `error` or a ConnectionAborted. Idempotent."""
        self._fail(error or ConnectionAborted("the transfer was aborted"))

    def over(self) -> Deferred[None]:
        """Fire when the connection has ended, and neither consumer, producer nor file is in use any more. Only
        for one that was open, and only once.
        """
        return self._over

    # What the transport calls.

    def connection_made(self, transport: Transport) -> None:
        """See `Protocol.connection_made`."""
        self._transport = transport
        if self._error is not None:
            transport.abort()
        else:
            transport.pause_reading()

    def data_received(self, data: bytes) -> None:
        """See `Protocol.data_received`."""
        if self._consumer is None:
            self._fail(RemoteProtocolError("the server sends data where it should receive some"))
            return
        if self._error is not None:
            return
        self._count += len(data)
        try:
            pending = self._consumer(data)
        except Exception as exc:  # noqa: BLE001 -- whatever it is, the Deferred tells it
            self._fail(exc)
            return
        if pending is not None:
            self._ours = True
            self._open().pause_reading()
            pending.add_callbacks(self._consumed, self._not_consumed)

    def eof_received(self) -> bool | None:
        """See `Protocol.eof_received`."""
        if self._consumer is not None:
            self._complete = True
        return None

    def pause_writing(self) -> None:
        """See `Protocol.pause_writing`."""
        if self._pacer is not None:
            self._pacer.pause_writing()

    def resume_writing(self) -> None:
        """See `Protocol.resume_writing`."""
        if self._pacer is not None:
            self._pacer.resume_writing()

    def connection_lost(self, exc: TransportError | None) -> None:
        """See `Protocol.connection_lost`."""
        self._ended = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._pacer is not None:
            self._pacer.stop()
        if self._error is None:
            self._error = exc
        if self._error is None and not self._complete:
            self._error = ConnectionLost("the data connection ended too early", "ECONNABORTED")
        if self._producing is not None:
            self._producing.cancel()
        self._settle()

    # Receiving.

    def _consumed(self, _: None) -> None:
        self._ours = False
        if self._ended or self._error is not None:
            self._settle()
        else:
            self._open().resume_reading()

    def _not_consumed(self, error: Exception) -> None:
        self._ours = False
        self._fail(error)
        self._settle()

    # Sending.

    def _wake(self) -> None:
        if self._pacer is not None:
            self._pacer.wake()

    def _produce(self) -> bool:
        """Ask for one piece and write it."""
        if self._producer is None:
            return False
        try:
            piece = self._producer()
        except Exception as exc:  # noqa: BLE001 -- whatever it is, the Deferred tells it
            self._fail(exc)
            return False
        if not isinstance(piece, Deferred):
            return self._write(piece)
        self._ours = True
        if self._pacer is not None:
            self._pacer.hold()
        self._producing = piece
        piece.add_callbacks(self._produced, self._not_consumed)
        return True

    def _produced(self, piece: bytes) -> None:
        self._ours = False
        if self._ended or self._error is not None:
            self._settle()
        elif self._write(piece) and self._pacer is not None:
            self._pacer.release()

    def _write(self, piece: bytes) -> bool:
        if not piece:
            self._sent()
            return False
        self._count += len(piece)
        self._open().write(piece)
        return True

    def _part_not_sent(self, error: Exception) -> None:
        self._sending = False
        self._fail(error)
        self._settle()

    def _part_sent(self, count: int, wanted: int) -> None:
        self._sending = False
        if count < wanted:
            self._fail(FileError("the file became shorter while it was sent", "EIO"))
        else:
            self._count = count
            self._sent()

    def _sent(self) -> None:
        self._complete = True
        self._open().close()

    # Ends.

    def _begin(self) -> Deferred[int]:
        if self._done is not None:
            raise LocalProtocolError("a data connection is for one transfer")
        done: Deferred[int] = Deferred(lambda _: self.abort())
        self._done = done
        if self._ended:
            self._clock.call_soon(self._settle)
        else:
            self._watch()
        return done

    def _watch(self) -> None:
        """Look again in `quiet_timeout` seconds whether a byte has moved."""
        self._seen = self._progress()
        self._timer = self._clock.call_later(self._quiet_timeout, self._check)

    def _check(self) -> None:
        self._timer = None
        if self._ours or self._progress() != self._seen:
            self._watch()
        else:
            self._fail(TimedOut(f"no data for {self._quiet_timeout:g} seconds"))

    def _progress(self) -> tuple[int, int, int]:
        """Return what changes with every byte that moves. TLS counts bytes as sent when they are encrypted:
        that they leave only shows in what is buffered.
        """
        transport = self._open()
        info = transport.get_extra_info
        return info("bytes_received", 0), info("bytes_sent", 0), transport.get_write_buffer_size()

    def _fail(self, error: Exception) -> None:
        if self._error is None:
            self._error = error
        if self._transport is not None:
            self._transport.abort()

    def _settle(self) -> None:
        """Fire when the connection has ended and our own side is not busy with it any more."""
        if not self._ended or self._ours or self._sending:
            return
        done = self._done
        if done is not None and not done.called:
            if self._error is None:
                done.callback(self._count)
            else:
                done.errback(self._error)
        if not self._over.called:
            self._over.callback(None)

    def _open(self) -> Transport:
        if self._transport is None:
            raise LocalProtocolError("the data connection is not open yet")
        return self._transport
