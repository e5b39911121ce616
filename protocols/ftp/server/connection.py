"""The control connection: commands come in, are done one after the other, and answered in that order.

A command that takes time holds back those behind it, and so does a transfer, but for ABOR, STAT and QUIT;
meanwhile the client is not read from, so that what it sends waits in the network and not here.
"""

from __future__ import annotations

import logging
import typing

from portable.deferred import ensure_deferred
from portable.errors import FileError, RemoteProtocolError
from portable.flow import Pacer
from portable.protocol import Protocol
from protocols.ftp.server.commands import MAX_COMMAND, CommandParser
from protocols.ftp.server.session import Refusal, Session, refusal_of
from protocols.ftp.server.states import missing, state_after
from protocols.ftp.server.verbs import find_verb

if typing.TYPE_CHECKING:
    from portable.clock import Timer
    from portable.errors import TransportError
    from portable.transport import Transport
    from protocols.ftp.server.commands import Command
    from protocols.ftp.server.site import Site
    from protocols.ftp.server.verbs import Verb, Work

__all__ = ["FTPServer"]

_log = logging.getLogger("protocols.ftp")


class FTPServer(Protocol):
    """One control connection of `site`."""

    _session: Session
    _pacer: Pacer

    def __init__(self, site: Site) -> None:
        self._site = site
        self._parser = CommandParser()
        self._next: Command | None = None  # taken from the parser, and not begun
        self._busy = False  # a command is being done
        self._gated = False  # reading is paused
        self._ended = False  # the client will send no more
        self._draining = False
        self._lost = False
        self._nonsense = 0
        self._timer: Timer | None = None

    def connection_made(self, transport: Transport) -> None:
        """See `Protocol.connection_made`. Says hello."""
        site = self._site
        self._session = Session(site, transport, self._unread, self._transfer_ended)
        self._pacer = Pacer(transport, site.network, self._step)
        self._set_timer(site.limits.login)
        self._session.reply(220, site.greeting)

    def data_received(self, data: bytes) -> None:
        """See `Protocol.data_received`."""
        self._parser.receive_data(data)
        refusals = self._parser.take_refusals()
        if refusals:
            self._session.transport.write(refusals)
        self._pacer.wake()
        if len(self._parser) > MAX_COMMAND and not self._gated:
            # Only now: telling the system for each command costs more than most commands.
            self._gated = True
            self._session.transport.pause_reading()

    def eof_received(self) -> bool:
        """See `Protocol.eof_received`. A client that has said all still wants to hear what comes of it."""
        self._ended = True
        self._pacer.wake()
        return True

    def pause_writing(self) -> None:
        """See `Protocol.pause_writing`."""
        self._pacer.pause_writing()

    def resume_writing(self) -> None:
        """See `Protocol.resume_writing`."""
        self._pacer.resume_writing()

    def connection_lost(self, exc: TransportError | None) -> None:
        """See `Protocol.connection_lost`. Ends the transfer under way."""
        self._set_timer(0.0)
        self._lost = True
        self._pacer.stop()
        self._session.close()

    def drain(self) -> None:
        """Take no further command; say goodbye when what is under way is done. See `SupportsDrain.drain`."""
        self._draining = True
        if self._is_idle():
            self._goodbye()

    def _is_idle(self) -> bool:
        return not self._busy and self._session.transfer is None

    def _goodbye(self) -> None:
        """Close in good order, for whatever reason there is."""
        if self._session.closed:
            return
        if self._draining:
            self._close(421, "The server is being stopped.")
        else:
            self._close(221, "Goodbye.")

    def _close(self, code: int, text: str) -> None:
        self._session.leave(code, text)
        self._closing()

    def _closing(self) -> None:
        """Give the client a while to take what was written last."""
        self._set_timer(self._site.limits.close)

    def _unread(self) -> int:
        return len(self._parser)

    # Commands.

    def _step(self) -> bool:
        """Do one command; return whether there may be another one."""
        session = self._session
        if session.leaving or self._draining:
            return False
        command = self._next
        if command is None:
            try:
                command = self._parser.next_command()
            except RemoteProtocolError as error:
                _log.info("closed the connection of %s, which sent %s", session.peer, error)
                self._close(500, "That is no command.")
                return False
            if command is None:
                self._open_gate()
                if self._ended and self._is_idle():
                    self._goodbye()
                return False
        self._next = None
        verb = find_verb(command.verb)
        if session.transfer is not None and (verb is None or not verb.at_once):
            self._next = command
            self._pacer.hold()
            return False
        self._put_off_idle()
        if verb is None:
            self._unknown(command)
        else:
            self._nonsense = 0
            self._do(verb, command)
        return True

    def _open_gate(self) -> None:
        if self._gated:
            self._gated = False
            self._session.transport.resume_reading()

    def _unknown(self, command: Command) -> None:
        self._nonsense += 1
        if self._nonsense >= self._site.limits.nonsense:
            _log.info("closed the connection of %s, which does not speak FTP", self._session.peer)
            self._close(421, "This is an FTP server.")
        else:
            self._session.reply(500, "There is no such command.")

    def _do(self, verb: Verb, command: Command) -> None:
        session = self._session
        logged_in = session.account is not None
        try:
            argument = None if command.argument is None else command.argument.decode("utf-8")
            verb.check_argument(argument)
            needed = missing(session.state, verb.name)
            session.state = state_after(session.state, verb.name)
            if session.account is None and not verb.before_login:
                raise Refusal(530, "Log in first.")
            if needed is not None:
                raise Refusal(503, needed)
            if verb.permission:
                session.require(verb.permission)
            doing = verb.handle(session, argument or "")
        except UnicodeDecodeError:
            session.reply(501, "That is not UTF-8.")
        except Refusal as refusal:
            session.reply(refusal.code, str(refusal))
        except RemoteProtocolError as error:
            _log.warning("closed the connection of %s: %s", session.peer, error)
            session.transport.abort()
        else:
            if doing is not None:
                self._wait_for(doing)
            self._pacer.transport = session.transport
            if logged_in and session.account is None:
                # By USER, REIN or AUTH. Whoever is not logged in yet puts nothing off by these.
                self._set_timer(self._site.limits.login)
            if session.closed:
                self._closing()

    def _wait_for(self, doing: Work) -> None:
        """Do nothing else until a command is done."""
        self._busy = True
        self._pacer.hold()
        ensure_deferred(doing).add_errback(self._failed).add_both(self._done)

    def _failed(self, error: Exception) -> None:
        if isinstance(error, FileError):
            error = refusal_of(error)
        if isinstance(error, Refusal):
            self._session.reply(error.code, str(error))
            return
        self._session.reply(451, "The server has failed.")
        raise error

    def _done(self, result: object) -> None:
        self._busy = False
        # A login may have been in it, and a command takes its time.
        self._put_off_idle()
        self._go_on()
        if isinstance(result, Exception):
            raise result

    def _transfer_ended(self) -> None:
        self._put_off_idle()
        if not self._busy:
            self._go_on()

    def _go_on(self) -> None:
        session = self._session
        if session.closed:
            self._closing()
        elif (session.leaving or self._draining) and self._is_idle():
            self._goodbye()
        else:
            self._pacer.release()
            self._pacer.wake()

    # Time.

    def _put_off_idle(self) -> None:
        if self._session.account is not None:
            self._set_timer(self._site.limits.idle)

    def _set_timer(self, seconds: float) -> None:
        """Have `_time_out` called in so many seconds; 0 for never."""
        timer = self._timer
        if timer is not None and timer.active():
            if seconds:
                timer.reset(seconds)
            else:
                timer.cancel()
        elif seconds and not self._lost:
            self._timer = self._site.network.call_later(seconds, self._time_out)

    def _time_out(self) -> None:
        session = self._session
        if session.closed:
            session.transport.abort()
            return
        if session.account is None:
            self._close(421, "The login took too long.")
        elif self._is_idle():
            self._close(421, "Nothing was asked for too long.")
        else:
            # The end of what is under way puts it off.
            self._set_timer(self._site.limits.idle)
