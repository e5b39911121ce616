"""Sending bodies that are not plain bytes, as fast as the client takes them and no faster."""

from __future__ import annotations

import logging
import typing

from portable.deferred import Deferred, ensure_deferred
from portable.errors import FAILURES, LocalProtocolError
from protocols.http.encoder import encode_chunk, encode_last_chunk
from protocols.http.messages import FileBody, FilePiece

if typing.TYPE_CHECKING:
    from portable.clock import Clock
    from portable.transport import Transport
    from protocols.http.messages import BodyStream, Response

__all__ = ["BodySender", "FileSender", "StreamSender", "close_body"]

_log = logging.getLogger("protocols.http")


def close_body(body: bytes | FileBody | BodyStream) -> None:
    """Release what a body is made from. An error in that is logged: the answer does not depend on it."""
    if isinstance(body, bytes):
        return
    try:
        body.close()
    except Exception:  # noqa: BLE001 - see above
        _log.exception("a body could not be closed")


class BodySender:
    """Sends one body, piece by piece. A subclass makes the pieces.

    Args:
        on_end: called once, unless `stop` was called before: with None when the body is complete, or with the
            error that prevents it.

    Attributes:
        sent: bytes of the body given to the transport so far.
    """

    def __init__(
        self, transport: Transport, clock: Clock, on_end: typing.Callable[[BaseException | None], object]
    ) -> None:
        self.sent = 0
        self._transport = transport
        self._clock = clock
        self._on_end = on_end
        self._high = transport.get_write_buffer_limits()[1]
        self._pending: Deferred[typing.Any] | None = None
        self._paused = False
        self._pumping = False
        self._yielding = False
        self._over = False

    def next_piece(self) -> Deferred[typing.Any] | None:
        """Write the next piece, or call `end`; return what must happen before `arrived` and the one after."""
        raise NotImplementedError

    def arrived(self, result: typing.Any) -> None:
        """Take the result of what `next_piece` returned."""

    def release(self) -> None:
        """Close what the body is made from. Called once."""

    @property
    def waits_for_source(self) -> bool:
        """Whether it is not the client's fault that nothing is sent."""
        return self._pending is not None

    def pause(self) -> None:
        """Stop: the transport's buffer is full."""
        self._paused = True

    def resume(self) -> None:
        """Go on, or begin."""
        self._paused = False
        if self._pumping:
            return
        self._pumping = True
        while not (self._over or self._paused or self._pending is not None or self._yielding):
            if self._transport.get_write_buffer_size() > self._high:
                # The transport sends at the end of the turn. If it then is still full it pauses us.
                self._yielding = True
                self._clock.call_soon(self._go_on)
                break
            try:
                pending = self.next_piece()
            except FAILURES as error:  # whatever a stream raises, its body ends
                self.end(error)
                break
            if pending is not None:
                self._pending = pending
                pending.add_callbacks(self._arrived, self._failed)
        self._pumping = False

    def _go_on(self) -> None:
        self._yielding = False
        if not self._paused:
            self.resume()

    def _arrived(self, result: typing.Any) -> None:
        self._pending = None
        if self._over:
            return
        try:
            self.arrived(result)
        except FAILURES as error:  # as above
            self.end(error)
        if not self._paused:
            self.resume()

    def _failed(self, error: Exception) -> None:
        self._pending = None
        self.end(error)

    def end(self, error: BaseException | None) -> None:
        """Report the end, once."""
        if not self._over:
            self._over = True
            self.release()
            self._on_end(error)

    def stop(self) -> None:
        """Send no more and report nothing: the client is gone."""
        if not self._over:
            self._over = True
            pending = self._pending
            if pending is not None:
                pending.cancel()
            self.release()


class StreamSender(BodySender):
    """Sends a BodyStream."""

    def __init__(
        self,
        transport: Transport,
        clock: Clock,
        response: Response,
        chunked: bool,
        on_end: typing.Callable[[BaseException | None], object],
    ) -> None:
        super().__init__(transport, clock, on_end)
        self._response = response
        self._stream = typing.cast("BodyStream", response.body)
        self._chunked = chunked
        self._length = self._stream.length

    def next_piece(self) -> Deferred[bytes] | None:
        """Ask the stream."""
        chunk = self._stream.next_chunk()
        if isinstance(chunk, bytes):
            self.arrived(chunk)
            return None
        return ensure_deferred(chunk)

    def arrived(self, result: bytes) -> None:
        """Write what the stream gave."""
        length = self._length
        if not result:
            if length is not None and self.sent != length:
                raise LocalProtocolError(f"a stream of {length} bytes ended after {self.sent}")
            if self._chunked:
                self._transport.write(encode_last_chunk(self._response.trailers))
            self.end(None)
            return
        self.sent += len(result)
        if length is not None and self.sent > length:
            raise LocalProtocolError(f"a stream gave more than the {length} bytes it has")
        self._transport.write(encode_chunk(result) if self._chunked else result)

    def release(self) -> None:
        """Close the stream."""
        close_body(self._stream)


class FileSender(BodySender):
    """Sends a FileBody."""

    def __init__(
        self,
        transport: Transport,
        clock: Clock,
        body: FileBody,
        on_end: typing.Callable[[BaseException | None], object],
    ) -> None:
        super().__init__(transport, clock, on_end)
        self._body = body
        self._next = 0
        self._expected = 0

    @property
    def waits_for_source(self) -> bool:
        """False: the transport has it all."""
        return False

    def next_piece(self) -> Deferred[int] | None:
        """Give the next piece to the transport."""
        if self._next == len(self._body.pieces):
            self.end(None)
            return None
        piece = self._body.pieces[self._next]
        self._next += 1
        if isinstance(piece, FilePiece):
            self._expected = piece.count
            return self._transport.send_file(piece.file, piece.offset, piece.count)
        self._transport.write(piece)
        self.sent += len(piece)
        return None

    def arrived(self, result: int) -> None:
        """Check that the file was as long as it was."""
        self.sent += result
        if result != self._expected:
            raise LocalProtocolError(f"a file gave {result} bytes of {self._expected}: it was cut meanwhile")

    def release(self) -> None:
        """Close the files."""
        close_body(self._body)
