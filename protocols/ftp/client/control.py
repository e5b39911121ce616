"""The control connection of a client: commands one after the other, and whose turn it is.

Replies carry nothing that says which command they answer, but their order. So one operation has the connection
to itself from `take_turn` to `end_turn`; if it was given up with replies still to come (cancelled, say), those
are read and dropped before the next one begins.
"""

from __future__ import annotations

import collections
import logging
import re
import typing

from portable.deferred import Deferred
from portable.errors import ConnectionAborted, ConnectionLost, LocalProtocolError, RemoteProtocolError, TimedOut
from portable.protocol import Protocol
from portable.tls import TLSTransport
from portable.transport import Address
from protocols.ftp.client.replies import MAX_REPLY, CommandRefused, Reply, ReplyParser

if typing.TYPE_CHECKING:
    from portable.clock import Clock, Timer
    from portable.errors import FrameworkError, TransportError
    from portable.tls import TLSOptions
    from portable.transport import Transport

__all__ = ["MAX_PRELIMINARY", "ControlConnection", "encode_command"]

logger = logging.getLogger("protocols.ftp")

# Replies 1yz to one command. RFC 959 knows of one.
MAX_PRELIMINARY = 16
_CLOSING = 421  # the server closes the control connection (RFC 959 4.2.1)
_VERB = re.compile("[A-Z]{3,8}")
_IAC = b"\xff"


def encode_command(verb: str, argument: bytes | None = None) -> bytes:
    """Return the line of a command, CR LF included.

    Raises:
        LocalProtocolError: `argument` has CR, LF or NUL inside. The first two would let a file's name send
            commands
            of its own; NUL stands for a CR on some servers, and ends the name on others.
    """
    if not _VERB.fullmatch(verb):
        raise LocalProtocolError(f"not a command of FTP: {verb!r}")
    line = verb.encode("ascii")
    if argument is not None:
        if b"\r" in argument or b"\n" in argument or b"\0" in argument:
            raise LocalProtocolError(f"the argument of {verb} has CR, LF or NUL inside")
        # RFC 2640 3.1: Telnet's escape character is doubled.
        line = line + b" " + argument.replace(_IAC, _IAC + _IAC)
    return line + b"\r\n"


class ControlConnection(Protocol):
    """The client's end of a control connection. Who makes it has the first turn, and is owed a greeting.

    Args:
        clock: for time-outs.
        reply_timeout: seconds within which a reply must come, once it is waited for. After that the connection
            is aborted: nobody could say any more what the next reply means.

    Attributes:
        transport: None before `connection_made`.
    """

    def __init__(self, clock: Clock, reply_timeout: float) -> None:
        self.transport: Transport | None = None
        self._clock = clock
        self._reply_timeout = reply_timeout
        self._parser = ReplyParser()
        self._waiter: Deferred[Reply] | None = None
        self._wants_final = True
        self._timer: Timer | None = None
        # Final replies that are still to come; the greeting is the first.
        self._owed = 1
        self._preliminary = 0
        self._busy = True  # whoever opened the connection has the first turn
        self._queue: collections.deque[Deferred[None]] = collections.deque()
        self._error: FrameworkError | None = None

    @property
    def owed(self) -> int:
        """How many final replies are still to come."""
        return self._owed

    @property
    def closed(self) -> bool:
        """Whether no command can be sent any more."""
        return self._error is not None or self.transport is None or self.transport.is_closing()

    @property
    def secure(self) -> bool:
        """Whether it speaks TLS."""
        return isinstance(self.transport, TLSTransport)

    def addresses(self) -> tuple[Address, Address]:
        """Return the address of our end and that of the server's.

        Raises:
            LocalProtocolError: it does not go over IP, so there are no data connections.
        """
        transport = self._open()
        own, peer = transport.get_extra_info("sockname"), transport.get_extra_info("peername")
        if not isinstance(own, Address) or not isinstance(peer, Address):
            raise LocalProtocolError("FTP needs a control connection over IP")
        return own, peer

    # What an operation calls.

    def take_turn(self) -> Deferred[None]:
        """Fire when the connection is ours alone. Fails with a ConnectionLost if it ends before that."""
        turn: Deferred[None] = Deferred(self._leave_queue)
        self._queue.append(turn)
        self._next_turn()
        return turn

    def end_turn(self) -> None:
        """Let the next operation begin, as soon as the replies that are owed have come."""
        self._busy = False
        if self._waiter is None and self._owed and not self._error:
            self._start_timer()
            self._pull()
        self._next_turn()

    def send(self, verb: str, argument: bytes | None = None) -> None:
        """Send one command. Its reply is the next final one of `next_reply`.

        Raises:
            LocalProtocolError: as `encode_command`.
            ConnectionLost: the connection has ended.
            CommandRefused: the server has announced with 421 that it goes.
            RemoteProtocolError: the server has sent a reply that belongs to no command. Each later one would be
                taken for the reply to another command: the connection has been aborted.
        """
        line = encode_command(verb, argument)
        if not self._owed and len(self._parser):
            self._judge_unasked(verb)
        self._raise_if_lost()
        self._owed += 1
        self._preliminary = 0
        self._open().write(line)

    def next_reply(self, *, final: bool = True, timed: bool = True) -> Deferred[Reply]:
        """Give the next reply to the last command; if `final`, preliminary ones are passed over.

        Fails with TimedOut after `reply_timeout` if `timed`, with ConnectionLost, with RemoteProtocolError. In
        all these cases the connection is of no more use.
        """
        if self._waiter is not None:
            raise LocalProtocolError("somebody waits for the reply already")
        waiter: Deferred[Reply] = Deferred(self._forget_waiter)
        self._waiter = waiter
        self._wants_final = final
        if self._error is not None:
            self._fail_waiter()
            return waiter
        if timed:
            self._start_timer()
        self._pull()
        return waiter

    def time_reply(self) -> None:
        """Have the reply that is waited for untimed come within `reply_timeout` from now."""
        if self._waiter is not None:
            self._start_timer()

    async def exchange(self, verb: str, argument: bytes | None = None, *, final: bool = True) -> Reply:
        """Send a command and return its reply. Fails as `send` and `next_reply` do."""
        self.send(verb, argument)
        return await self.next_reply(final=final)

    def start_tls(self, options: TLSOptions) -> Deferred[None]:
        """Speak TLS from now on; fires when the handshake is done. To be called before anything else happens
        after the reply to AUTH. Fails with a TLSError or with TimedOut; the connection is gone then.

        Raises:
            RemoteProtocolError: more was received in clear than that reply. Anyone on the path could have
                added it, to have it taken for protected (CVE-2011-0411). The connection has been aborted.
        """
        transport = self._open()
        try:
            tls = transport.start_tls(options, len(self._parser))
        except RemoteProtocolError as exc:
            self._abort(exc)
            raise
        self.transport = tls

        def failed(error: Exception) -> typing.NoReturn:
            tls.abort()
            raise error

        return tls.handshake.timeout(self._reply_timeout, self._clock).add_errback(failed)

    def close(self) -> None:
        """Close the connection. Idempotent."""
        if self.transport is not None:
            self.transport.close()

    def abort(self) -> None:
        """Drop the connection. Idempotent."""
        self._abort(ConnectionAborted("the control connection was aborted"))

    # What the transport calls.

    def connection_made(self, transport: Transport) -> None:
        """See `Protocol.connection_made`."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """See `Protocol.data_received`."""
        self._parser.receive_data(data)
        if self._owed:
            self._pull()
        elif len(self._parser) > MAX_REPLY:
            self._abort(RemoteProtocolError("the server talks without being asked"))

    def connection_lost(self, exc: TransportError | None) -> None:
        """See `Protocol.connection_lost`."""
        if self._error is None and not self._owed:
            self._note_farewell()
        self._lose(exc or ConnectionLost("the server closed the control connection"))

    # Replies.

    def _pull(self) -> None:
        """Hand the next replies to whoever waits, or drop them where the operation that asked is over."""
        while self._error is None and (self._waiter is not None or (self._owed and not self._busy)):
            try:
                reply = self._parser.next_reply()
                if reply is None:
                    return
                self._count(reply)
            except RemoteProtocolError as exc:
                self._abort(exc)
                return
            if reply.code == _CLOSING:
                self._lose(CommandRefused("the server closes the control connection", reply))
                self.close()
                return
            if reply.preliminary and (self._waiter is None or self._wants_final):
                continue
            waiter = self._take_waiter()
            if waiter is not None:
                waiter.callback(reply)
            elif self._owed:
                self._start_timer()
            else:
                self._next_turn()

    def _count(self, reply: Reply) -> None:
        if not reply.preliminary:
            self._owed -= 1
            return
        self._preliminary += 1
        if self._preliminary > MAX_PRELIMINARY:
            raise RemoteProtocolError(f"more than {MAX_PRELIMINARY} preliminary replies to one command")

    def _judge_unasked(self, verb: str) -> None:
        self._note_farewell()
        if self._error is None:
            error = RemoteProtocolError(f"a reply came before the command {verb} was sent")
            self._abort(error)
            raise error

    def _note_farewell(self) -> None:
        """If what was received unasked is a 421, have that be why the connection is of no use any more."""
        try:
            reply = self._parser.next_reply()
        except RemoteProtocolError:
            return
        if reply is not None and reply.code == _CLOSING:
            self._lose(CommandRefused("the server closes the control connection", reply))
            self.close()

    def _take_waiter(self) -> Deferred[Reply] | None:
        waiter, self._waiter = self._waiter, None
        self._stop_timer()
        return waiter

    def _forget_waiter(self, waiter: Deferred[Reply]) -> None:
        if self._waiter is waiter:
            self._take_waiter()

    def _fail_waiter(self) -> None:
        waiter = self._take_waiter()
        if waiter is not None and self._error is not None:
            waiter.errback(self._error)

    # Turns.

    def _next_turn(self) -> None:
        while self._queue and self._error is not None:
            self._queue.popleft().errback(self._error)
        if self._queue and not self._busy and not self._owed:
            self._busy = True
            self._queue.popleft().callback(None)

    def _leave_queue(self, turn: Deferred[None]) -> None:
        if turn in self._queue:
            self._queue.remove(turn)

    # Ends.

    def _start_timer(self) -> None:
        self._stop_timer()
        self._timer = self._clock.call_later(self._reply_timeout, self._timed_out)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _timed_out(self) -> None:
        self._timer = None
        self._abort(TimedOut(f"no reply in {self._reply_timeout:g} seconds"))

    def _abort(self, error: FrameworkError) -> None:
        self._lose(error)
        if self.transport is not None:
            self.transport.abort()

    def _lose(self, error: FrameworkError) -> None:
        """Have everything fail from now on with `error`."""
        if self._error is None:
            self._error = error
        self._stop_timer()
        self._fail_waiter()
        self._next_turn()

    def _raise_if_lost(self) -> None:
        if self._error is not None:
            # Without the traceback of the last time, or each time would make it longer.
            raise self._error.with_traceback(None)

    def _open(self) -> Transport:
        self._raise_if_lost()
        if self.transport is None:
            raise LocalProtocolError("the control connection is not open yet")
        return self.transport
