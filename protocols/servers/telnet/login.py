"""Asking who is there: name, hidden password, and time lost for every wrong one."""

from __future__ import annotations

import logging
import typing

from portable.deferred import Deferred
from portable.errors import TimedOut
from portable.logs import escaped
from protocols.terminal.lines import EndOfInput, LineInterrupted, LineRefused

if typing.TYPE_CHECKING:
    from portable.accounts import Accounts
    from portable.attempts import LoginAttempts
    from portable.clock import Clock
    from portable.reactor import Threads
    from portable.transport import Address
    from protocols.terminal.lines import LineTerminal

    class Loop(Clock, Threads, typing.Protocol):
        """What is needed of a reactor."""


__all__ = ["LOGIN_SECONDS", "MAX_TRIES", "Login"]

# Wrong passwords on one connection. Who needs more has to connect again, and is remembered.
MAX_TRIES = 3
# Seconds for a name, and for a password: a connection that has proved nothing costs memory.
LOGIN_SECONDS = 60.0

_log = logging.getLogger("protocols.telnet")


class Login:
    """Lets people in.

    Args:
        accounts: who may.
        attempts: remembers who failed.
    """

    def __init__(self, loop: Loop, accounts: Accounts, attempts: LoginAttempts) -> None:
        self._loop = loop
        self._accounts = accounts
        self._attempts = attempts

    async def ask(self, terminal: LineTerminal, peer: Address | str | None) -> str:
        """Return the name of whoever has logged in, "" for nobody. The user has been told."""
        for _ in range(MAX_TRIES):
            if self._attempts.refused(peer):
                break
            try:
                name = await terminal.read_line("login: ").timeout(LOGIN_SECONDS, self._loop)
                reading = terminal.read_line("password: ", hidden=True)
                password = await reading.timeout(LOGIN_SECONDS, self._loop)
            except (EndOfInput, LineInterrupted):
                return ""
            except TimedOut:
                terminal.say_goodbye("It took too long.\n")
                return ""
            except LineRefused:
                name = password = ""
            right = await self._accounts.check(self._loop, name, password)
            # Others may have failed from there in the meantime.
            if right and not self._attempts.refused(peer):
                self._attempts.succeeded(peer)
                _log.info("login: %s from %s", escaped(name), _shown(peer))
                return name
            self._attempts.failed(peer)
            # What is no name may be a password, typed too early.
            known = escaped(name) if name in self._accounts.names() else "an unknown name"
            _log.warning("failed login: %s from %s", known, _shown(peer))
            await self._pause(self._attempts.wait(peer))
            terminal.write("Login incorrect\n")
        _log.warning("too many failed logins from %s", _shown(peer))
        terminal.write("Too many failed logins.\n")
        return ""

    def _pause(self, seconds: float) -> Deferred[None]:
        over: Deferred[None] = Deferred(lambda _: timer.cancel())
        timer = self._loop.call_later(seconds, over.callback, None)
        return over


def _shown(peer: Address | str | None) -> str:
    return str(peer) if peer else "a Unix socket"
