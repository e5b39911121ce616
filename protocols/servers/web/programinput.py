"""What goes into a program, and what comes out on the side: the request's body, and its standard error."""

from __future__ import annotations

import logging
import typing

from portable.flow import Pacer

if typing.TYPE_CHECKING:
    from portable.clock import Clock
    from portable.deferred import Deferred
    from portable.transport import Transport

__all__ = ["MAX_ERRORS", "MAX_ERROR_LINE", "MAX_ERROR_LINES", "ErrorLines", "Feeder"]

# Of one run's standard error. Bytes of a line, bytes in all, lines: enough for a traceback, not for filling a
# disk. Each line gets a time and the program's name, so that many short ones would be much.
MAX_ERROR_LINE = 1000
MAX_ERRORS = 16 * 1024
MAX_ERROR_LINES = 200

_log = logging.getLogger("protocols.servers.web")


class Feeder:
    """Writes a request's body to a program, as fast as that reads it.

    Args:
        next_chunk: gives the next bytes, b"" at the end.
        on_error: called when the body cannot be read to its end.
    """

    def __init__(
        self,
        clock: Clock,
        next_chunk: typing.Callable[[], Deferred[bytes]],
        on_error: typing.Callable[[Exception], object],
    ) -> None:
        self._clock = clock
        self._next_chunk = next_chunk
        self._on_error = on_error
        self._pacer: Pacer | None = None
        self._reading: Deferred[bytes] | None = None

    def start(self, stdin: Transport) -> None:
        """Begin; `stdin` is closed at the end."""
        self._pacer = Pacer(stdin, self._clock, self._step)
        self._pacer.wake()

    def pause(self) -> None:
        """See `Pacer.pause_writing`."""
        if self._pacer is not None:
            self._pacer.pause_writing()

    def resume(self) -> None:
        """See `Pacer.resume_writing`."""
        if self._pacer is not None:
            self._pacer.resume_writing()

    def stop(self) -> None:
        """Read no more of the body. Idempotent."""
        pacer, self._pacer = self._pacer, None
        if pacer is not None:
            pacer.stop()
            pacer.transport.close()
        reading, self._reading = self._reading, None
        if reading is not None:
            reading.cancel()

    def _step(self) -> bool:
        pacer = self._pacer
        if pacer is None:
            return False
        pacer.hold()
        reading = self._next_chunk()
        self._reading = reading
        reading.add_callbacks(self._read, self._failed)
        return True

    def _read(self, chunk: bytes) -> None:
        self._reading = None
        pacer = self._pacer
        if pacer is None:
            return
        if not chunk:
            self.stop()
        else:
            pacer.transport.write(chunk)
            pacer.release()

    def _failed(self, error: Exception) -> None:
        self._reading = None
        if self._pacer is not None:
            self.stop()
            self._on_error(error)


class ErrorLines:
    """Puts what a program says on its standard error into the log: in lines, escaped, and so much of it."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._line = b""
        self._left = MAX_ERRORS
        self._lines_left = MAX_ERROR_LINES

    def receive(self, data: bytes) -> None:
        """Take the next bytes."""
        if self._left <= 0 or self._lines_left <= 0:
            return
        lines = (self._line + data[: self._left]).split(b"\n")
        self._left -= len(data)
        self._line = lines.pop()[:MAX_ERROR_LINE]
        for line in lines[: self._lines_left]:
            self._say(line)
        self._lines_left -= len(lines)
        if self._lines_left <= 0:
            self._line = b""
        if self._left <= 0 or self._lines_left <= 0:
            self.end()
            _log.warning("%r says more, which is not shown", self._name)

    def end(self) -> None:
        """Log a last line without end."""
        line, self._line = self._line, b""
        if line:
            self._say(line)

    def _say(self, line: bytes) -> None:
        text = line[:MAX_ERROR_LINE].rstrip(b"\r").decode("utf-8", "replace")
        # Whoever reads the log must not be deceived by a line end or a terminal's escapes.
        _log.warning("%r says: %s", self._name, text.encode("unicode_escape").decode("ascii"))
