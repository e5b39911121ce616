"""One run of a program: its process, from the start to the end, and its output as the body of an answer."""

from __future__ import annotations

import logging
import typing

from portable.deferred import Deferred, ensure_deferred
from portable.errors import FrameworkError, RemoteProtocolError
from portable.process import SIGKILL, SIGTERM, ProcessProtocol
from portable.transport import HIGH_WATER
from protocols.cgi import Head, HeadParser
from protocols.servers.web.programinput import ErrorLines, Feeder

if typing.TYPE_CHECKING:
    from portable.clock import Clock, Timer
    from portable.errors import TransportError
    from portable.process import Process
    from protocols.servers.web.spool import SpooledBody

__all__ = ["EXIT_WAIT", "KILL_GRACE", "Output", "ProgramFailed", "Run"]

# Seconds between the polite signal and the other.
KILL_GRACE = 2.0
# Seconds that a program's exit status is waited for after its output has ended. It may go on working by itself.
EXIT_WAIT = 1.0

_log = logging.getLogger("protocols.servers.web")


class ProgramFailed(FrameworkError):
    """A program gave no answer; `status` is what its client is told."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Run(ProcessProtocol):
    """One process from its start to its end.

    Attributes:
        head: fires with what comes before the body. Fails with ProgramFailed, or with FileError where the
            request's body cannot be read from the disk. Cancelling kills the process.
    """

    _process: Process

    def __init__(
        self,
        clock: Clock,
        body: SpooledBody,
        name: str,
        seconds: float,
        on_end: typing.Callable[[], object],
    ) -> None:
        self.head: Deferred[Head] = Deferred(lambda _: self.kill())
        self._clock = clock
        self._name = name
        self._seconds = seconds
        self._on_end = on_end
        self._parser: HeadParser | None = HeadParser()
        self._feeder = Feeder(clock, body.next_chunk, self._body_failed)
        self._errors = ErrorLines(name)
        self._timer: Timer | None = None
        self._started = False
        self._returncode: int | None = None
        # The output: what nobody has taken yet, who waits for more, whether that is all, and it is known how
        # the program has ended.
        self._chunks: list[bytes] = []
        self._size = 0
        self._waiter: Deferred[bytes] | None = None
        self._output_ended = False
        self._done = False
        self._discarding = False
        self._killed = False
        self._lost = False

    # What the process does.

    def connection_made(self, process: Process) -> None:
        """See `ProcessProtocol.connection_made`."""
        self._process = process
        self._started = True
        self._timer = self._clock.call_later(self._seconds, self._time_is_up)
        if self._killed:
            self._kill_now()
        else:
            self._feeder.start(process.stdin)

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        """See `ProcessProtocol.pipe_data_received`."""
        if fd == 2:
            self._errors.receive(data)
        elif self._discarding:
            return
        elif self._parser is not None:
            self._read_head(self._parser, data)
        else:
            self._put(data)

    def pause_writing(self) -> None:
        """See `ProcessProtocol.pause_writing`."""
        self._feeder.pause()

    def resume_writing(self) -> None:
        """See `ProcessProtocol.resume_writing`."""
        self._feeder.resume()

    def pipe_connection_lost(self, fd: int, exc: TransportError | None) -> None:
        """See `ProcessProtocol.pipe_connection_lost`."""
        if fd == 0:
            # It does not read its input, or not to the end: that is its affair.
            self._feeder.stop()
        elif fd == 1:
            self._output_ended = True
            if self._returncode is None:
                self._clock.call_later(EXIT_WAIT, self._finish)
            else:
                self._finish()

    def process_exited(self, returncode: int) -> None:
        """See `ProcessProtocol.process_exited`."""
        self._returncode = returncode
        if self._output_ended:
            self._finish()

    def connection_lost(self) -> None:
        """See `ProcessProtocol.connection_lost`."""
        self._lost = True
        self._feeder.stop()
        self._errors.end()
        if self._timer is not None:
            self._timer.cancel()
        self._on_end()

    # What is done to it.

    async def drain(self) -> None:
        """Wait until its output has ended, and drop that.

        Raises:
            ProgramFailed: as `next_chunk`.
        """
        try:
            while True:
                chunk = await ensure_deferred(self.next_chunk())
                if not chunk:
                    return
        except FrameworkError:
            # Its client is gone, too.
            self.kill()
            raise

    def discard(self) -> None:
        """Let it finish, but give it no more of the request's body, and take no more of its output."""
        self._feeder.stop()
        self._discarding = True
        self._chunks = []
        self._size = 0
        if self._started and not self._lost:
            self._process.resume_reading(1)

    def kill(self) -> None:
        """End it, and all that it has started."""
        if self._killed or self._lost:
            return
        self._killed = True
        self.discard()
        if self._started:
            self._kill_now()

    def _kill_now(self) -> None:
        self._process.kill_group(SIGTERM)
        self._clock.call_later(KILL_GRACE, self._kill_for_good)

    def _kill_for_good(self) -> None:
        if not self._lost:
            self._process.kill_group(SIGKILL)
            # What has made itself a daemon is not in the group, and could keep its output, and with that this
            # program's turn, forever.
            self._process.close_pipes()

    def _time_is_up(self) -> None:
        self._timer = None
        _log.warning("%r: not done in %g seconds, and ended", self._name, self._seconds)
        self.kill()
        self._fail(ProgramFailed(504, "no header block in that time"))
        self._wake()

    def _body_failed(self, error: Exception) -> None:
        self.kill()
        self._fail(error)
        self._wake()

    def _fail(self, error: Exception) -> None:
        if not self.head.called:
            self._parser = None
            self.head.errback(error)

    # Its output.

    def _read_head(self, parser: HeadParser, data: bytes) -> None:
        parser.receive_data(data)
        try:
            head = parser.next_head()
            if head is None:
                return
            rest = parser.take_rest()
        except RemoteProtocolError as error:
            self.kill()
            self._fail(ProgramFailed(502, f"its output is not that of a CGI program: {error}"))
            return
        self._parser = None
        if rest:
            self._put(rest)
        self.head.callback(head)

    def _put(self, data: bytes) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            waiter.callback(data)
            return
        self._chunks.append(data)
        self._size += len(data)
        if self._size >= HIGH_WATER:
            self._process.pause_reading(1)

    def next_chunk(self) -> bytes | Deferred[bytes]:
        """See `BodyStream.next_chunk`.

        Raises:
            ProgramFailed: it was ended, so something is missing.
        """
        if self._chunks:
            data = b"".join(self._chunks)
            self._chunks = []
            self._size = 0
            self._process.resume_reading(1)
            return data
        if self._killed or (self._done and self._returncode is not None and self._returncode < 0):
            raise ProgramFailed(502, f"{self._name!r} was ended before it was done")
        if self._done:
            self._feeder.stop()
            return b""
        self._waiter = Deferred(self._forget_waiter)
        return self._waiter

    def _forget_waiter(self, _: Deferred[bytes]) -> None:
        self._waiter = None

    def _finish(self) -> None:
        self._done = True
        status = "still running" if self._returncode is None else f"exit status {self._returncode}"
        self._fail(ProgramFailed(502, f"no header block before the end of its output ({status})"))
        self._wake()

    def _wake(self) -> None:
        """Tell who waits for output that there will be none."""
        waiter = self._waiter
        if waiter is None:
            return
        self._waiter = None
        try:
            last = self.next_chunk()
        except ProgramFailed as error:
            waiter.errback(error)
        else:
            waiter.callback(typing.cast("bytes", last))


class Output:
    """The body of a program's answer: a BodyStream.

    Args:
        length: as the program said.
        is_head: whether the request was HEAD: the program may then finish, unheard (RFC 3875 4.3.3).
    """

    def __init__(self, run: Run, length: int | None, is_head: bool) -> None:
        self._run = run
        self._length = length
        self._is_head = is_head
        self._ended = False

    @property
    def length(self) -> int | None:
        """See `BodyStream.length`."""
        return self._length

    def next_chunk(self) -> bytes | Deferred[bytes]:
        """See `BodyStream.next_chunk`."""
        chunk = self._run.next_chunk()
        if isinstance(chunk, bytes):
            return self._note_end(chunk)
        return chunk.add_callback(self._note_end)

    def _note_end(self, chunk: bytes) -> bytes:
        self._ended = not chunk
        return chunk

    def close(self) -> None:
        """See `BodyStream.close`. A program whose client has gone is ended; one that is done may go on."""
        if self._ended or self._is_head:
            self._run.discard()
        else:
            self._run.kill()
