"""One session: what a control connection has been told so far, and what is under way for it."""

from __future__ import annotations

import logging
import typing

from portable.deferred import Deferred
from portable.errors import Cancelled, FileError, RemoteProtocolError, TransportError, describe
from portable.transport import Address
from protocols.ftp.server.listing import FACTS
from protocols.ftp.server.paths import ROOT, resolve
from protocols.ftp.server.replies import encode_multiline, encode_reply
from protocols.ftp.server.states import State

if typing.TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from portable.tls import TLSOptions
    from portable.transport import Transport
    from protocols.ftp.server.account import Account
    from protocols.ftp.server.channels import Channel
    from protocols.ftp.server.filesystem import FileSystem
    from protocols.ftp.server.paths import Path
    from protocols.ftp.server.site import Site
    from protocols.ftp.server.transfers import Transfer

__all__ = ["Refusal", "Session", "refusal_of"]

_log = logging.getLogger("protocols.ftp")

# What is there and must not be reached, such as links and devices, looks like what is not there.
_HIDDEN = frozenset(["ELOOP", "EINVAL", "ENXIO"])
_FULL = frozenset(["ENOSPC", "EDQUOT", "EFBIG"])
# Our own trouble, which may pass.
_TROUBLE = frozenset(["EMFILE", "ENFILE", "ENOMEM", "EIO", "EBUSY", "ESTALE"])


class Refusal(RemoteProtocolError):
    """A command that is answered with an error, and has no other effect.

    Attributes:
        code: of the reply; the message is its text.
    """

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


def refusal_of(error: FileError) -> Refusal:
    """Return how the failure of a file operation is told. Nothing of it names a path of this machine."""
    if error.code in _FULL:
        return Refusal(552, "There is no space left.")
    if error.code in _TROUBLE:
        _log.error("a file operation failed: %s", error)
        return Refusal(451, "The server is in trouble; try again later.")
    text = describe("ENOENT" if error.code in _HIDDEN else error.code)
    return Refusal(550, f"{text[:1].upper()}{text[1:]}.")


class Session:
    """The state of one control connection, and how to answer on it.

    Args:
        transport: of the control connection.
        unread: tells how many bytes have come that are no command yet.
        transfer_ended: called after the reply that ends a transfer.

    Attributes:
        site, transport: as given; the transport changes with AUTH.
        peer: the client's address.
        state: see `states`.
        name: what USER said.
        account: who is logged in; None for nobody.
        folder: the working folder.
        binary: TYPE I; otherwise texts are converted.
        restart_at: bytes, from REST; counts in the state RESTARTING.
        rename_from: from RNFR; counts in the state RENAMING.
        only_epsv: after EPSV ALL.
        secure: the control connection is protected.
        buffered: PBSZ was given.
        protected: PROT P: data connections are protected.
        facts: what MLST and MLSD show.
        failures: wrong passwords so far.
        checking: the check of the last password.
        transfer: under way; None for none.
        leaving: QUIT came during the transfer.
        closed: the control connection is gone, or about to.
    """

    def __init__(
        self,
        site: Site,
        transport: Transport,
        unread: Callable[[], int],
        transfer_ended: Callable[[], object],
    ) -> None:
        self.site = site
        self.transport = transport
        self._unread = unread
        self._transfer_ended = transfer_ended
        self.peer: Address | str | None = transport.get_extra_info("peername")
        self._own: Address | str | None = transport.get_extra_info("sockname")
        self.secure = transport.get_extra_info("tls_version") is not None
        self.only_epsv = False
        self.failures = 0
        self.leaving = False
        self.closed = False
        self.transfer: Transfer | None = None
        self.checking: Deferred[Account | None] | None = None
        self._channel: Channel | None = None
        self._waiting: list[Deferred[None]] = []
        self.buffered = False
        # TLS from the first byte on is meant for everything.
        self.protected = self.secure
        self.reset()

    def reset(self) -> None:
        """Log out, and forget all that was asked for but the protection of connections."""
        self.log_out()
        self.binary = False
        self.only_epsv = False
        self.facts = frozenset(FACTS)
        self.set_channel(None)

    def log_out(self) -> None:
        """Forget who is logged in."""
        self.state = State.GREETED
        self.name = ""
        self.account: Account | None = None
        self.folder: Path = ROOT
        self.restart_at = 0
        self.rename_from: Path = ROOT

    def addresses(self) -> tuple[str, str]:
        """Return our host and the client's, which data connections go between.

        Raises:
            Refusal: the control connection has no addresses.
        """
        if not isinstance(self.peer, Address) or not isinstance(self._own, Address):
            raise Refusal(425, "There are no data connections on this kind of connection.")
        return self._own.host, self.peer.host

    # Answers.

    def reply(self, code: int, text: str) -> None:
        """Answer with one line."""
        self.transport.write(encode_reply(code, text))

    def reply_lines(self, code: int, first: str, lines: Iterable[bytes], last: str) -> None:
        """Answer with several lines."""
        self.transport.write(encode_multiline(code, first, lines, last))

    def leave(self, code: int, text: str) -> None:
        """Answer, and close the connection. What is under way is ended."""
        self.reply(code, text)
        self.transport.close()
        self.close()

    def start_tls(self, options: TLSOptions) -> None:
        """Agree to AUTH, and protect the connection. Whoever was logged in is not any more (RFC 4217 4).

        Raises:
            RemoteProtocolError: the client has sent more in clear: anybody may have added it.
        """
        self.reply(234, "Go on with TLS.")
        self.transport = self.transport.start_tls(options, self._unread())
        self.secure = True
        self.reset()

    # Files.

    @property
    def files(self) -> FileSystem:
        """The file system of whoever is logged in."""
        if self.account is None:
            raise AssertionError("a command for files before the login")
        return self.account.files

    def may(self, letter: str) -> bool:
        """Return whether the account has a permission."""
        return self.account is not None and letter in self.account.permissions

    def require(self, letter: str) -> None:
        """Raise a Refusal unless the account has a permission."""
        if not self.may(letter):
            raise Refusal(550, "Permission denied.")

    def resolve(self, text: str) -> Path:
        """Return the path that the client means.

        Raises:
            Refusal: it is none.
        """
        try:
            return resolve(self.folder, text)
        except RemoteProtocolError as error:
            raise Refusal(553, "That cannot be the name of a file.") from error

    # Data connections and transfers.

    def set_channel(self, channel: Channel | None) -> None:
        """Have the next transfer use `channel`; one that was announced before is given up."""
        if self._channel is not None:
            self._channel.close()
        self._channel = channel

    @property
    def data_tls(self) -> TLSOptions | None:
        """What protects data connections; None if nothing does."""
        return self.site.tls if self.protected else None

    def check_channel(self) -> None:
        """Raise a Refusal unless there is something to transfer by."""
        if self.site.require_tls and not self.protected:
            raise Refusal(521, "Data connections must be protected: PROT P.")
        if self._channel is None:
            raise Refusal(425, "Use EPSV or PASV first.")

    def take_restart(self) -> int:
        """Return where the transfer begins, and have the next one begin at 0."""
        offset, self.restart_at = self.restart_at, 0
        if self.state is State.RESTARTING:
            self.state = State.READY
            return offset
        return 0

    def begin(self, transfer: Transfer, what: str, done: str = "Transfer complete.") -> None:
        """Begin a transfer, and reply to that; its end is replied to, too.

        Args:
            what: the text of the first reply.
            done: the text of the last one, if all goes well.
        """
        channel, self._channel = self._channel, None
        if channel is None or self.closed:
            transfer.done.add_both(lambda _: None)
            transfer.abort()
            if channel is None:
                raise Refusal(425, "The data connection is gone.")
            return
        self.transfer = transfer
        # In this order a small file leaves before the reply, and that together with the reply to its end.
        transfer.start(channel)
        # Not 125 where the client has connected already: what is said must not depend on which came first.
        self.reply(150, what)
        transfer.done.add_callbacks(lambda _: self.reply(226, done), self._transfer_failed).add_both(
            self._ended
        )

    def _transfer_failed(self, error: Exception) -> None:
        if isinstance(error, FileError):
            refusal = refusal_of(error)
            # RFC 959 5.4 has no 550 after the first reply.
            self.reply(552 if refusal.code == 552 else 451, str(refusal))
        elif isinstance(error, Cancelled):
            self.reply(426, "Transfer aborted.")
        elif isinstance(error, TransportError):
            opened = self.transfer is not None and self.transfer.was_open
            self.reply(426 if opened else 425, f"The data connection failed: {describe(error.code)}.")
        else:
            self.reply(451, "The server has failed.")
            raise error

    def _ended(self, result: object) -> None:
        self.transfer = None
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            waiter.callback(None)
        self._transfer_ended()
        if isinstance(result, Exception):
            raise result

    def transfer_end(self) -> Deferred[None]:
        """Fires when the transfer under way has ended and that was replied to."""
        waiter: Deferred[None] = Deferred()
        self._waiting.append(waiter)
        return waiter

    def close(self) -> None:
        """End what is under way: the control connection is gone."""
        self.closed = True
        self.set_channel(None)
        if self.checking is not None:
            # Checks are dear, and wait for each other.
            self.checking.cancel()
        if self.transfer is not None:
            self.transfer.abort()
