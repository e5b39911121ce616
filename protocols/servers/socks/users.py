"""Who may use the proxy: user ids of SOCKS 4, confirmed by an identd or not, and passwords of SOCKS 5."""

from __future__ import annotations

import typing

from portable.attempts import LoginAttempts
from portable.deferred import Deferred, ensure_deferred
from portable.errors import Cancelled, RemoteProtocolError, TimedOut, TransportError
from portable.transport import Address
from protocols import ident
from protocols.socks.messages import Outcome, Refused

if typing.TYPE_CHECKING:
    from portable.accounts import Accounts
    from portable.reactor import Reactor
    from protocols.socks.proxy import Peer

__all__ = ["PasswordCheck", "UserCheck"]


class UserCheck:
    """Checks user ids. Called as `Policy.check_user`.

    Args:
        reactor: connects to identds.
        names: the user ids that are served; () for every one.
        identd: whether an identd on the client's machine has to confirm the user id. Without that it is what
            anybody may claim.
        port: of identds.
    """

    def __init__(
        self, reactor: Reactor, names: typing.Sequence[str], *, identd: bool, port: int = ident.PORT
    ) -> None:
        self._reactor = reactor
        # As they come from the network: one character for each octet.
        self._names = frozenset([name.encode("utf-8").decode("latin-1") for name in names])
        self._identd = identd
        self._port = port

    def __call__(self, peer: Peer, local: Peer, user: str) -> Deferred[bool]:
        """Give whether an identd has confirmed `user`. Fails with Refused."""
        return ensure_deferred(self._check(peer, local, user))

    async def _check(self, peer: Peer, local: Peer, user: str) -> bool:
        if self._names and user not in self._names:
            raise Refused(f"user id {user!r} is not served", Outcome.FORBIDDEN)
        if not self._identd:
            return False
        if not isinstance(peer, Address) or not isinstance(local, Address):
            raise Refused("no identd can be asked about this connection", Outcome.NO_IDENT)
        try:
            answer = await ident.ask(self._reactor, peer, local, port=self._port)
        except (RemoteProtocolError, TimedOut, TransportError) as error:
            raise Refused(f"no answer of the client's identd: {error}", Outcome.NO_IDENT) from error
        if isinstance(answer, ident.NotIdentified):
            raise Refused(f"the client's identd says {answer.reason}", Outcome.NO_IDENT)
        if answer.user != user:
            raise Refused(f"the client's identd says {answer.user!r} and not {user!r}", Outcome.WRONG_USER)
        return True


class PasswordCheck:
    """Checks names and passwords, and makes guessing slow. Called as `Policy.check_password`."""

    def __init__(self, reactor: Reactor, accounts: Accounts) -> None:
        self._reactor = reactor
        self._accounts = accounts
        self._attempts = LoginAttempts(reactor)

    def __call__(self, peer: Peer, name: bytes, password: bytes) -> Deferred[bool]:
        """Give whether they are right; if not, after a while."""
        return ensure_deferred(self._check(peer, name, password))

    async def _check(self, peer: Peer, name: bytes, password: bytes) -> bool:
        attempts = self._attempts
        if attempts.refused(peer):
            return False
        try:
            texts = (name.decode("utf-8"), password.decode("utf-8"))
        except UnicodeDecodeError:
            texts = ("", "")
        try:
            good = await self._accounts.check(self._reactor, *texts)
        except Cancelled:
            # The client is gone. It counts, or nobody would ever be refused who has us check so.
            attempts.failed(peer)
            raise
        # Guesses made on many connections at once were all let through the first question.
        if good and not attempts.refused(peer):
            attempts.succeeded(peer)
            return True
        attempts.failed(peer)
        pause: Deferred[None] = Deferred()
        timer = self._reactor.call_later(attempts.wait(peer), pause.callback, None)
        try:
            await pause
        finally:
            timer.cancel()
        return False
