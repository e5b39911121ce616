"""Perspective Broker, the connection (version 6): calls in both directions, each answered once.

    server: [pb, none]                 the dialects it speaks
    client: pb                         the one that is spoken from here on
    both:   [version, 6]
    then    [message, request, object, name, answer wanted, arguments, keyword arguments]
            [answer, request, value]   [error, request, failure]   [decref, object]
            [didNotUnderstand, command]

Both sides call and both are called. Objects are called by number, but the server's first one, called "root".

Not spoken: the dialect "none"; cachemessage, decache and uncache, which are answered with didNotUnderstand.
"""

from __future__ import annotations

import logging
import typing

from portable.deferred import Deferred, ensure_deferred, fail
from portable.errors import Cancelled, ConnectionLost, FrameworkError, RemoteProtocolError
from portable.logpace import LogPace
from portable.protocol import Protocol
from protocols.pb.banana import NO_WORDS, PB_WORDS, BananaReader, encode
from protocols.pb.failures import FAILURE, Error, NoSuchMethod, RemoteError, failure_state, remote_error
from protocols.pb.intake import Intake
from protocols.pb.jelly import InsecureJelly, from_jelly, text_keys, to_jelly
from protocols.pb.references import MAX_NAME, RemoteReference
from protocols.pb.registry import Registry
from protocols.pb.tables import ReferenceTable

if typing.TYPE_CHECKING:
    from portable.clock import Clock, Timer
    from portable.errors import TransportError
    from portable.transport import Address, Transport
    from protocols.pb.banana import Expression
    from protocols.pb.references import Referenceable

__all__ = ["MAX_CALLS", "Broker", "DeadReference"]

VERSION = 6
# Seconds from the connection to the peer's version. Only programs connect, and they have nothing to wait for.
HANDSHAKE_TIMEOUT = 30.0
# Calls of the peer that are not answered yet. Each keeps its arguments alive; who calls more waits for answers.
MAX_CALLS = 1024
# Seconds that what is left at the end may take to leave.
CLOSE_TIMEOUT = 30.0

_ROOT = b"root"
_log = logging.getLogger("protocols.pb")


class DeadReference(ConnectionLost):
    """A call was to be made on a connection that has ended."""


class Broker(Protocol):
    """One connection, either end of it.

    Args:
        clock: for time limits.
        client: whether we opened the connection.
        root: our object that the peer may call without having been given it; for servers.
        registry: which copies may be sent and received; by default none.

    Attributes:
        transport: None before `connection_made`.
        remote_root: the peer's root. May be called at once: calls wait until both sides agree on a dialect.
    """

    # From `connection_made` on.
    _intake: Intake
    _timer: Timer

    def __init__(
        self,
        clock: Clock,
        *,
        client: bool = False,
        root: Referenceable | None = None,
        registry: Registry | None = None,
    ) -> None:
        self.transport: Transport | None = None
        self.remote_root = RemoteReference(self, _ROOT)
        self._clock = clock
        self._client = client
        self._root = root
        self._reader = BananaReader()
        self._objects = ReferenceTable(self, Registry() if registry is None else registry)
        self._agreed = False  # on the dialect
        self._greeted = False  # by the peer's version
        self._lost = False
        self._draining = False
        self._unsent: list[bytes] = []
        # Our calls that wait for an answer, and the peer's that we have not answered.
        self._calls: dict[int, Deferred[typing.Any]] = {}
        self._last_call = 0
        self._work: dict[int, Deferred[typing.Any]] = {}
        self._last_work = 0
        self._on_disconnect: list[typing.Callable[[], object]] = []
        self._refusals = LogPace()
        self._complaints = LogPace()
        self._commands: dict[bytes, typing.Callable[[list[Expression]], None]] = {
            b"message": self._take_message,
            b"answer": self._take_answer,
            b"error": self._take_error,
            b"decref": self._take_decref,
            b"didNotUnderstand": self._take_complaint,
        }

    # What the transport calls.

    def connection_made(self, transport: Transport) -> None:
        """See `Protocol.connection_made`."""
        self.transport = transport
        self._intake = Intake(transport, self._clock, self._step)
        self._timer = self._clock.call_later(HANDSHAKE_TIMEOUT, self._time_is_up)
        if not self._client:
            self._write(encode([b"pb", b"none"], NO_WORDS))

    def data_received(self, data: bytes) -> None:
        """See `Protocol.data_received`."""
        self._reader.receive_data(data)
        self._intake.wake()

    def eof_received(self) -> None:
        """See `Protocol.eof_received`. It is the end of both directions."""
        self.close()

    def pause_writing(self) -> None:
        """See `Protocol.pause_writing`. A peer that does not read its answers may not call, either."""
        self._intake.pause_writing()

    def resume_writing(self) -> None:
        """See `Protocol.resume_writing`."""
        self._intake.resume_writing()

    def connection_lost(self, exc: TransportError | None) -> None:
        """See `Protocol.connection_lost`. Our calls fail, and what the peer had called is cancelled."""
        self._lost = True
        self._timer.cancel()
        self._intake.stop()
        self._unsent = []
        self._objects.clear()
        # First, or a method that waits for an answer of its caller would seem to have failed.
        work, self._work = self._work, {}
        for each in work.values():
            each.cancel()
        calls, self._calls = self._calls, {}
        for call in calls.values():
            call.errback(ConnectionLost("the connection ended before the answer"))
        notices, self._on_disconnect = self._on_disconnect, []
        for notice in notices:
            notice()

    # What others call.

    @property
    def connected(self) -> bool:
        """Whether calls can be made, or will be once the connection is open."""
        return not self._lost and (self.transport is None or not self.transport.is_closing())

    def close(self) -> None:
        """Send what was written, then close; who does not take it in CLOSE_TIMEOUT seconds is aborted."""
        if self.transport is not None and not self._lost:
            self.transport.close()
            self._reset_timer(CLOSE_TIMEOUT)

    def abort(self) -> None:
        """Close at once."""
        if self.transport is not None:
            self.transport.abort()

    def on_disconnect(self, function: typing.Callable[[], object]) -> None:
        """Call `function` when the connection has ended; at once if it has."""
        if self._lost:
            function()
        else:
            self._on_disconnect.append(function)

    def pause_calls(self) -> None:
        """Take nothing from the peer until `resume_calls`, answers neither: it is to wait. Idempotent."""
        self._intake.hold()

    def resume_calls(self) -> None:
        """Undo `pause_calls`. Idempotent."""
        self._intake.release()

    def drain(self) -> None:
        """See `SupportsDrain.drain`: refuse calls of our root, answer the others, then close."""
        self._draining = True
        self._finish_drain()

    def call(
        self, luid: int | bytes, name: str, args: tuple[typing.Any, ...], kwargs: dict[str, typing.Any]
    ) -> Deferred[typing.Any]:
        """See `RemoteReference.call_remote`."""
        if not self.connected:
            return fail(DeadReference("the connection has ended"))
        request = self._last_call + 1
        self._send([b"message", request, luid, name.encode("ascii"), 1], args, kwargs)
        self._last_call = request
        answer: Deferred[typing.Any] = Deferred()
        self._calls[request] = answer
        return answer

    def drop(self, luid: int, count: int) -> None:
        """See `references.Caller.drop`. The peer is told when we next have something to do."""
        self._objects.drop(luid, count)

    # Expressions.

    def _step(self) -> bool:
        try:
            expression = self._reader.next_expression()
            if expression is not None:
                self._take(expression)
        except RemoteProtocolError as error:
            self._refuse(str(error))
            return False
        for luid in self._objects.dropped():
            self._send([b"decref", luid])
        self._finish_drain()
        return expression is not None

    def _refuse(self, reason: str) -> None:
        _log.info("%s: %s", self.peer, reason)
        self.close()

    def _take(self, expression: Expression) -> None:
        if not self._agreed:
            self._agree(expression)
        elif not isinstance(expression, list) or not expression or not isinstance(expression[0], bytes):
            raise RemoteProtocolError("something that is no command")
        elif not self._greeted:
            if expression != [b"version", VERSION]:
                raise RemoteProtocolError("the peer does not speak version 6")
            self._greeted = True
            self._timer.cancel()
        else:
            command = self._commands.get(expression[0])
            if command is None:
                self._send([b"didNotUnderstand", [expression[0][:MAX_NAME]]])
            else:
                command(expression)

    def _agree(self, expression: Expression) -> None:
        if self._client:
            if not isinstance(expression, list) or b"pb" not in expression:
                raise RemoteProtocolError("the server does not speak the dialect pb")
            self._write(encode(b"pb", NO_WORDS))
        elif expression != b"pb":
            raise RemoteProtocolError("the client did not choose the dialect pb")
        self._agreed = True
        self._reader.set_words(PB_WORDS)
        unsent, self._unsent = self._unsent, []
        self._write(b"".join([encode([b"version", VERSION], PB_WORDS), *unsent]))

    def _take_message(self, expression: list[Expression]) -> None:
        if len(expression) != 7:
            raise RemoteProtocolError("a message that has not seven parts")
        request, luid, name, wanted = expression[1:5]
        if not isinstance(request, int) or not isinstance(name, bytes):
            raise RemoteProtocolError("a message without number or name")
        self._last_work += 1
        work = self._last_work
        try:
            result = self._perform(luid, name, expression[5], expression[6])
        except Exception as error:  # noqa: BLE001 - whatever a method raises, it is the answer
            self._failed(request, bool(wanted), error)
            return
        if not isinstance(result, Deferred):
            self._answer(request, bool(wanted), result)
            return
        self._work[work] = result

        def done(value: object) -> None:
            if self._work.pop(work, None) is not None:
                self._answer(request, bool(wanted), value)
                self._finish_drain()

        def failed(error: Exception) -> None:
            if self._work.pop(work, None) is not None:
                self._failed(request, bool(wanted), error)
                self._finish_drain()
            elif not isinstance(error, Cancelled):
                _log.warning("%s: a method failed after its caller had gone", self.peer, exc_info=error)

        result.add_callbacks(done, failed)

    def _perform(self, luid: Expression, name: bytes, args: Expression, kwargs: Expression) -> object:
        if len(self._work) >= MAX_CALLS:
            raise Error(f"{MAX_CALLS} calls are not answered yet")
        # Taken apart even if there is no such object, as references in it have been counted by the peer.
        positional = from_jelly(args, self._objects)
        named = text_keys(from_jelly(kwargs, self._objects))
        if not isinstance(positional, tuple):
            raise InsecureJelly("arguments that are no tuple")
        target = self._target(luid)
        result = target.message_received(name.decode("ascii", "replace"), positional, named)
        return ensure_deferred(result) if hasattr(result, "__await__") else result

    def _target(self, luid: Expression) -> Referenceable:
        if luid != _ROOT:
            return self._objects.local(luid)
        if self._root is None:
            raise NoSuchMethod("there is no root")
        if self._draining:
            raise Error("this server is stopping")
        return self._root

    def _answer(self, request: int, wanted: bool, value: object) -> None:
        if not wanted:
            return
        try:
            self._send([b"answer", request], value)
        except FrameworkError as error:
            self._failed(request, wanted, error)

    def _failed(self, request: int, wanted: bool, error: Exception) -> None:
        if isinstance(error, (Error, InsecureJelly, RemoteError)):
            count = self._refusals.count(self._clock.time())
            if count:
                _log.info("%s: %d call(s) refused, the last one: %s", self.peer, count, error)
        else:
            _log.error("%s: a remote method failed", self.peer, exc_info=error)
        if wanted:
            state = to_jelly(failure_state(error), self._objects)
            self._send([b"error", request, [FAILURE, state]])

    def _take_answer(self, expression: list[Expression]) -> None:
        answer = self._called(expression)
        if answer is None:
            return
        try:
            value = from_jelly(expression[2], self._objects)
        except InsecureJelly as error:
            answer.errback(error)
        else:
            answer.callback(value)

    def _take_error(self, expression: list[Expression]) -> None:
        answer = self._called(expression)
        if answer is None:
            return
        failure = expression[2]
        try:
            if not isinstance(failure, list) or len(failure) != 2:
                raise InsecureJelly("an error that is no failure")
            # Twisted has several classes of failures, and their subclasses: all have the same attributes.
            state = text_keys(from_jelly(failure[1], self._objects))
        except InsecureJelly as error:
            answer.errback(error)
        else:
            answer.errback(remote_error(state))

    def _called(self, expression: list[Expression]) -> Deferred[typing.Any] | None:
        """Return what waits for this answer; None if it was given up."""
        if len(expression) != 3 or not isinstance(expression[1], int):
            raise RemoteProtocolError("an answer that has not three parts")
        request = expression[1]
        if not 0 < request <= self._last_call:
            raise RemoteProtocolError("an answer to a call that was not made")
        return self._calls.pop(request, None)

    def _take_decref(self, expression: list[Expression]) -> None:
        if len(expression) != 2 or not isinstance(expression[1], int):
            raise RemoteProtocolError("a decref of no object")
        self._objects.decref(expression[1])

    def _take_complaint(self, expression: list[Expression]) -> None:
        count = self._complaints.count(self._clock.time())
        if count:
            _log.info("%s: did not understand us %d time(s), at last %.200r", self.peer, count, expression[1:])

    # Sending.

    def _send(self, command: list[typing.Any], *values: object) -> None:
        """Send a command that ends with `values`, or nothing at all.

        Raises:
            LocalProtocolError: a value cannot be sent.
            Error: the peer would hold too many of our objects.
        """
        try:
            data = encode([*command, *[to_jelly(value, self._objects) for value in values]], PB_WORDS)
        except FrameworkError:
            self._objects.settle(sent=False)
            raise
        self._objects.settle(sent=True)
        if self._agreed:
            self._write(data, answer=command[0] != b"message")
        else:
            self._unsent.append(data)

    def _write(self, data: bytes, answer: bool = False) -> None:
        self._intake.write(data, answer)

    # The end.

    def _finish_drain(self) -> None:
        if self._draining and not self._work and not self._calls:
            self.close()

    def _reset_timer(self, seconds: float) -> None:
        self._timer.cancel()
        self._timer = self._clock.call_later(seconds, self._time_is_up)

    def _time_is_up(self) -> None:
        if not self._greeted:
            _log.info("%s: no version in %g seconds", self.peer, HANDSHAKE_TIMEOUT)
        self.abort()

    @property
    def peer(self) -> Address | str | None:
        """The address at the other end, as the transport says."""
        return None if self.transport is None else self.transport.get_extra_info("peername")
