"""Running programs that answer requests by CGI (`protocols.cgi`), each in a process of its own.

The request's body goes in, and the output comes out, no faster than the other side takes them. A program ends
by itself, or is ended with all that it has started: when its client goes, when it breaks a rule, when its time
is over. What it writes to its standard error stands in the log.
"""

from __future__ import annotations

import logging
import posixpath
import typing

from portable.deferred import Deferred, ensure_deferred
from portable.errors import FrameworkError, RemoteProtocolError
from portable.flow import Pacer
from portable.process import SIGKILL, SIGTERM, ProcessProtocol
from portable.transport import HIGH_WATER
from protocols.cgi import Head, HeadParser, environment, redirected
from protocols.http.messages import Response
from protocols.http.resource import error_page
from protocols.http.rules import RefusedRequest

if typing.TYPE_CHECKING:
    from portable.errors import TransportError
    from portable.process import Process
    from portable.reactor import Clock, Processes, Timer
    from protocols.http.request import Request, RequestBody
    from protocols.http.resource import Rendered
    from protocols.servers.web.processors import Program

    class Host(Clock, Processes, typing.Protocol):
        """What running programs needs of a reactor."""

    # Renders a request that a program has sent on to another path of this server.
    Render = typing.Callable[[Request], Rendered]

__all__ = ["DEFAULT_SECONDS", "MAX_REDIRECTS", "MAX_RUNNING", "CGIPrograms"]

# Seconds that a program may take for everything, its client's slowness included.
DEFAULT_SECONDS = 60.0
# At the same time. Each is a process: more of them would not become faster by being run together.
MAX_RUNNING = 20
# How often programs may send a request on to each other.
MAX_REDIRECTS = 5
# Seconds between the polite signal and the other.
KILL_GRACE = 2.0
# Seconds that a program's exit status is waited for after its output has ended. It may go on working by itself.
EXIT_WAIT = 1.0
# Of one run's standard error. Bytes of a line, and in all: enough for a traceback, not for filling a disk.
MAX_ERROR_LINE = 1000
MAX_ERRORS = 16 * 1024

_log = logging.getLogger("protocols.servers.web")


class ProgramFailed(FrameworkError):
    """A program gave no answer; `status` is what its client is told."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class CGIPrograms:
    """Runs the programs of one site.

    Args:
        host: the reactor.
        render: for local redirects.
        seconds: that a program may take.
        most: how many may run at a time; further requests get status 503.
        interpreter: what to start instead of the file itself; it finds the file's name in SCRIPT_FILENAME.
        extra: more variables.
    """

    def __init__(
        self,
        host: Host,
        render: Render,
        *,
        seconds: float = DEFAULT_SECONDS,
        most: int = MAX_RUNNING,
        interpreter: str = "",
        extra: typing.Mapping[str, str] | None = None,
    ) -> None:
        self._host = host
        self._render = render
        self._seconds = seconds
        self._most = most
        self._interpreter = interpreter
        self._extra = dict(extra or {})
        self._running = 0

    async def answer(self, request: Request, program: Program) -> Response:
        """Run `program`, and return its answer, or a page that says no more than that there is none."""
        if request.content_length < 0:
            # CONTENT_LENGTH is how a program finds the end of the body (RFC 3875 4.2).
            raise RefusedRequest("length-required")
        if self._running >= self._most:
            _log.warning("%r is not run: %d others are running", program.path, self._running)
            return error_page(503, headers=[("Retry-After", "1")])
        try:
            run = self._start(request, program)
            head = await run.head
        except ProgramFailed as error:
            _log.warning("%r: %s", program.path, error)
            return error_page(error.status)
        if head.redirect:
            return await ensure_deferred(self._redirect(request, program, head.redirect))
        if head.status in {204, 304}:
            run.discard()
            return Response(head.status, head.headers)
        return Response(head.status, head.headers, Output(run, head.length, request.method == "HEAD"))

    def _start(self, request: Request, program: Program) -> Run:
        environ = environment(
            request,
            script_name=program.script_name,
            path_info=program.path_info,
            root=program.root,
            filename=program.path,
        )
        environ.update(self._extra)
        run = Run(self._host, request.body, program.path, self._seconds, self._ended)
        try:
            # No words of the query string: programs have taken them for options (CVE-2012-1823).
            self._host.spawn(
                lambda: run,
                [self._interpreter or program.path],
                env=environ,
                cwd=posixpath.dirname(program.path),
            )
        except FrameworkError as error:
            raise ProgramFailed(500, f"cannot be run: {error}") from error
        self._running += 1
        return run

    def _ended(self) -> None:
        self._running -= 1

    def _redirect(self, request: Request, program: Program, target: str) -> Rendered:
        """Return the answer to another request instead (RFC 3875 6.2.2)."""
        if request.redirects >= MAX_REDIRECTS:
            _log.warning("%r: the %dth redirect of one request", program.path, MAX_REDIRECTS + 1)
            return error_page(500)
        try:
            return self._render(redirected(request, target))
        except RefusedRequest as error:
            _log.warning("%r: redirects to what cannot be: %s", program.path, error)
            return error_page(502)


class Run(ProcessProtocol):
    """One process from its start to its end.

    Attributes:
        head: fires with what comes before the body. Fails with ProgramFailed, or RefusedRequest where the
            client's body broke a rule. Cancelling kills the process.
    """

    _process: Process

    def __init__(
        self,
        clock: Clock,
        body: RequestBody,
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
        self._feeder = Feeder(clock, body, self._body_failed)
        self._errors = ErrorLines(name)
        self._timer: Timer | None = clock.call_later(seconds, self._time_is_up)
        self._started = False
        self._returncode: int | None = None
        # The output: what nobody has taken yet, who waits for more, whether that is all.
        self._chunks: list[bytes] = []
        self._size = 0
        self._waiter: Deferred[bytes] | None = None
        self._output_ended = False
        self._discarding = False
        self._killed = False
        self._lost = False

    # What the process does.

    def connection_made(self, process: Process) -> None:
        """See `ProcessProtocol.connection_made`."""
        self._process = process
        self._started = True
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
            if self._returncode is None and not self._killed:
                self._clock.call_later(EXIT_WAIT, self._wake)
            else:
                self._wake()

    def process_exited(self, returncode: int) -> None:
        """See `ProcessProtocol.process_exited`."""
        self._returncode = returncode
        if self._output_ended:
            self._wake()

    def connection_lost(self) -> None:
        """See `ProcessProtocol.connection_lost`."""
        self._lost = True
        self._feeder.stop()
        self._errors.end()
        if self._timer is not None:
            self._timer.cancel()
        self._on_end()
        self._fail(ProgramFailed(502, f"exit status {self._returncode}, and no header block"))

    # What is done to it.

    def discard(self) -> None:
        """Let it finish, and take no more of its output."""
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
        self._feeder.stop()
        self.discard()
        if self._started:
            self._kill_now()

    def _kill_now(self) -> None:
        self._process.kill_group(SIGTERM)
        self._clock.call_later(KILL_GRACE, self._kill_for_good)

    def _kill_for_good(self) -> None:
        if not self._lost:
            self._process.kill_group(SIGKILL)

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
        if head.redirect:
            self.discard()
        elif rest:
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
        if self._killed or (self._output_ended and self._returncode is not None and self._returncode < 0):
            raise ProgramFailed(502, f"{self._name!r} was ended before it was done")
        if self._output_ended:
            # Nobody may read the request's body once its answer is complete.
            self._feeder.stop()
            return b""
        self._waiter = Deferred(self._forget_waiter)
        return self._waiter

    def _forget_waiter(self, _: Deferred[bytes]) -> None:
        self._waiter = None

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


class Feeder:
    """Writes a request's body to a program, as fast as that reads it.

    Args:
        on_error: called when the body cannot be read to its end.
    """

    def __init__(self, clock: Clock, body: RequestBody, on_error: typing.Callable[[Exception], object]) -> None:
        self._clock = clock
        self._body = body
        self._on_error = on_error
        self._pacer: Pacer | None = None
        self._reading: Deferred[bytes] | None = None

    def start(self, stdin: typing.Any) -> None:
        """Begin; `stdin` is a Transport, and closed at the end."""
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
        reading = self._body.next_chunk()
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

    def receive(self, data: bytes) -> None:
        """Take the next bytes."""
        if self._left <= 0:
            return
        lines = (self._line + data[: self._left]).split(b"\n")
        self._left -= len(data)
        self._line = lines.pop()[:MAX_ERROR_LINE]
        for line in lines:
            self._say(line)
        if self._left <= 0:
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
