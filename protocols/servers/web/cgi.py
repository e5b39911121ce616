"""Running programs that answer requests by CGI (`protocols.cgi`), each in a process of its own.

A program begins when the whole of the request's body is here (`spool`): few may run at a time, and a client
that sends its body slowly must not be one of the few. So a program is not heard before its client has sent
everything; what it puts out then leaves no faster than the client takes it. A program ends by itself, or is
ended with all that it has started: when its client goes, when it breaks a rule, when its time is over. What it
writes to its standard error stands in the log.
"""

from __future__ import annotations

import logging
import posixpath
import typing

from portable.deferred import ensure_deferred
from portable.errors import FrameworkError
from protocols.cgi import PATH, environment, redirected
from protocols.http.messages import Response
from protocols.http.resource import error_page, redirect
from protocols.http.rules import RefusedRequest
from protocols.servers.web.programrun import Output, ProgramFailed, Run
from protocols.servers.web.spool import NoRoom, Spool
from protocols.servers.web.turns import NoTurn, Turns

if typing.TYPE_CHECKING:
    from portable.clock import Clock
    from portable.files import OpenFile
    from portable.reactor import Processes, Threads
    from protocols.http.request import Request
    from protocols.http.resource import Rendered
    from protocols.servers.web.processors import Answer, Program

    class Host(Clock, Processes, Threads, typing.Protocol):
        """What running programs needs of a reactor."""

    # Renders a request that a program has sent on to another path of this server.
    Render = typing.Callable[[Request], Rendered]

__all__ = ["DEFAULT_SECONDS", "MAX_REDIRECTS", "MAX_RUNNING", "CGIPrograms"]

# Seconds that a program may take for everything, its client's slowness in taking the answer included.
DEFAULT_SECONDS = 60.0
# At the same time. Each is a process: more of them would not become faster by being run together.
MAX_RUNNING = 20
# How often programs may send a request on to each other.
MAX_REDIRECTS = 5

_log = logging.getLogger("protocols.servers.web")


class CGIPrograms:
    """Runs the programs of one site.

    Args:
        host: the reactor.
        render: for local redirects.
        seconds: that a program may take.
        max_body: bytes of the longest body that the site takes.
        most: how many may run at a time. Further requests wait, and get status 503 if that is too long.
        interpreter: what to start instead of the file itself; it finds the file's name in SCRIPT_FILENAME.
        extra: more variables.
    """

    def __init__(
        self,
        host: Host,
        render: Render,
        *,
        seconds: float = DEFAULT_SECONDS,
        max_body: int = 0,
        most: int = MAX_RUNNING,
        interpreter: str = "",
        extra: typing.Mapping[str, str] | None = None,
    ) -> None:
        self._host = host
        self._render = render
        self._seconds = seconds
        self._interpreter = interpreter
        self._extra = dict(extra or {})
        self._turns = Turns(host, most)
        self._spool = Spool(host, max_body)

    def render(self, request: Request, program: Program, opened: OpenFile) -> Answer:
        """See `Processor.render`."""
        # It was opened to see that it is there and may be reached. A process finds it by its name: whoever can
        # exchange it in between could have changed it before.
        opened.close()
        return ensure_deferred(self._answer(request, program))

    async def _answer(self, request: Request, program: Program) -> Response:
        """Run `program`, and return its answer, or a page that says no more than that there is none."""
        try:
            run = await ensure_deferred(self._start(request, program))
            head = await run.head
            if head.redirect or head.status in {204, 304}:
                # There is no body to send, but the program may not have read all of the request's yet.
                await run.drain()
        except NoTurn as error:
            _log.warning("%r is not run, as so many others are: %s", program.path, error)
            return error_page(503, headers=[("Retry-After", "1")])
        except NoRoom as error:
            _log.warning("%r is not run, as there is no room for its input: %s", program.path, error)
            return error_page(503, headers=[("Retry-After", "1")])
        except ProgramFailed as error:
            _log.warning("%r: %s", program.path, error)
            return error_page(error.status)
        if head.redirect:
            return await ensure_deferred(self._redirect(request, program, head.redirect))
        if head.status in {204, 304}:
            return Response(head.status, head.headers)
        return Response(head.status, head.headers, Output(run, head.length, request.method == "HEAD"))

    async def _start(self, request: Request, program: Program) -> Run:
        """Receive the body, wait for a turn, and start `program`."""
        body = await ensure_deferred(self._spool.receive(request.body))
        try:
            await self._turns.take()
        except BaseException:
            body.close()
            raise

        def ended() -> None:
            self._turns.give_back()
            body.close()

        environ = environment(
            request,
            script_name=program.script_name,
            path_info=program.path_info,
            root=program.root,
            filename=program.path,
            body_length=body.length,
        )
        environ.update(self._extra)
        run = Run(self._host, body, program.path, self._seconds, ended)
        try:
            # No words of the query string: programs have taken them for options (CVE-2012-1823).
            self._host.spawn(
                lambda: run,
                [self._interpreter or program.path],
                env=environ,
                cwd=posixpath.dirname(program.path),
            )
        except FrameworkError as error:
            ended()
            raise ProgramFailed(500, f"cannot be run: {error} (programs are looked for in {PATH})") from error
        return run

    def _redirect(self, request: Request, program: Program, target: str) -> Rendered:
        """Return the answer to another request instead (RFC 3875 6.2.2)."""
        if request.redirects >= MAX_REDIRECTS:
            _log.warning("%r: the %dth redirect of one request", program.path, MAX_REDIRECTS + 1)
            return error_page(500)
        try:
            made = redirected(request, target)
            if made.segments[: made.depth] != request.segments[: made.depth]:
                # Elsewhere on the relay before us: only the client can ask for it.
                return redirect(target, 302)
            return self._render(made)
        except RefusedRequest as error:
            _log.warning("%r: redirects to what cannot be: %s", program.path, error)
            return error_page(502)
