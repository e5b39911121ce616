"""Transfers: a command on the control connection, and what it has pass over a data connection (RFC 959 3)."""

from __future__ import annotations

import typing

from portable.errors import Cancelled, FrameworkError, TimedOut, TransportError
from protocols.ftp.client.control import encode_command
from protocols.ftp.client.replies import CommandRefused, Reply, expect

if typing.TYPE_CHECKING:
    from portable.clock import Clock
    from portable.deferred import Deferred
    from portable.tls import TLSOptions
    from protocols.ftp.client.channels import Channel, Mode
    from protocols.ftp.client.control import ControlConnection
    from protocols.ftp.client.data import DataConnection

    # Receives or sends over the connection, and gives the number of bytes.
    Work = typing.Callable[[DataConnection], Deferred[int]]

__all__ = ["Transferred", "Transfers"]


class Transferred(typing.NamedTuple):
    """A transfer that both sides call complete.

    Attributes:
        size: bytes that have passed.
        first: the preliminary reply.
        final: the last reply.
    """

    size: int
    first: Reply
    final: Reply


class Transfers:
    """Runs transfers, one at a time.

    Args:
        control: where the commands go.
        clock: for time-outs.
        mode: how data connections come about.
        connect_timeout: seconds that the server may take to connect, where it does.

    Attributes:
        mode: may be changed between two transfers.
        tls: what data connections speak TLS with; None for clear text.
    """

    def __init__(self, control: ControlConnection, clock: Clock, mode: Mode, connect_timeout: float) -> None:
        self.mode = mode
        self.tls: TLSOptions | None = None
        self._control = control
        self._clock = clock
        self._connect_timeout = connect_timeout
        self._type = "A"  # what a server begins with (RFC 959 5.1)
        self._marked = False  # whether the server may have a marker of REST that no transfer has used
        self._channel: Channel | None = None

    def forget_type(self) -> None:
        """Have the next transfer say its type: a login may change what the server has."""
        self._type = ""

    def abort(self) -> None:
        """Have the transfer that is under way, if there is one, fail with Cancelled."""
        if self._channel is not None:
            self._channel.abort(Cancelled("the transfer was aborted"))

    async def run(
        self, verb: str, argument: bytes | None, work: Work, *, offset: int = 0, text: bool = False
    ) -> Transferred:
        """Run one transfer.

        If it fails or is cancelled on its way, the data connection is dropped and the server told to abort
        (ABOR). Telnet's IP and Synch (RFC 959 4.1.3) do not go before that: they need urgent data, and what
        makes today's servers look at the control connection during a transfer is that the data connection
        breaks.

        Args:
            verb: RETR, STOR, MLSD or the like.
            argument: of the command.
            work: called once, when the data connection is open and the server has agreed.
            offset: where in the file to begin, in bytes (REST).
            text: transfer in type A, with CR LF at the ends of lines, rather than the bytes as they are.

        Fails with CommandRefused, a TransportError, TimedOut, RemoteProtocolError, or what `work` fails with.
        """
        control = self._control
        # Raises before anything is sent: a marker of REST must not be left to another transfer.
        encode_command(verb, argument)
        await control.take_turn()
        started = False
        final: Deferred[Reply] | None = None
        try:
            await self.set_type("A" if text else "I")
            channel = self._channel = await self.mode.open(control)
            if offset or self._marked:
                self._marked = True
                reply = await control.exchange("REST", str(offset).encode("ascii"))
                expect("REST", reply, (350,))
            self._marked = False
            started = True
            first = await control.exchange(verb, argument, final=False)
            if not first.preliminary:
                raise CommandRefused(verb, first)
            final = control.next_reply(timed=False)
            _abort_on_refusal(final, channel, verb)
            count = await self._move(verb, channel, final, work)
            control.time_reply()
            reply = await final
            expect(verb, reply, range(200, 300))
            return Transferred(count, first, reply)
        finally:
            if final is not None:
                final.cancel()
                final.add_errback(_drop)
            try:
                await self._close_channel()
            finally:
                if started and control.owed and not control.closed:
                    control.send("ABOR")
                control.end_turn()

    async def set_type(self, letter: str) -> None:
        """Have the server transfer in type "A" or "I" from now on. Only in one's turn of the connection."""
        if self._type != letter:
            # If this is cancelled, who knows which it is.
            self._type = ""
            reply = await self._control.exchange("TYPE", letter.encode("ascii"))
            expect("TYPE", reply, (200,))
            self._type = letter

    async def _close_channel(self) -> None:
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.abort()
            await channel.over()

    async def _move(self, verb: str, channel: Channel, final: Deferred[Reply], work: Work) -> int:
        """Have the data pass. If that fails, what the server says about it is the better error."""
        try:
            connection = await channel.connected().timeout(self._connect_timeout, self._clock)
            if self.tls is not None:
                await connection.start_tls(self._resumed(self.tls)).timeout(self._connect_timeout, self._clock)
            return await work(connection)
        except (TransportError, TimedOut) as exc:
            problem = exc
        channel.abort()
        self._control.time_reply()
        try:
            reply = await final
        except Cancelled:
            raise
        except FrameworkError:
            raise problem from None
        if reply.refusal:
            raise CommandRefused(verb, reply) from problem
        raise problem

    def _resumed(self, tls: TLSOptions) -> TLSOptions:
        """Servers ask for the TLS session of the control connection to be resumed, as a proof that both
        connections come from the same client.
        """
        control = self._control.transport
        return tls if control is None else tls.resuming(control.get_extra_info("ssl_object"))


def _abort_on_refusal(final: Deferred[Reply], channel: Channel, verb: str) -> None:
    """Have the data connection fail as soon as the server says that the transfer has."""

    def on_reply(reply: Reply) -> Reply:
        if reply.refusal:
            channel.abort(CommandRefused(verb, reply))
        return reply

    def on_error(error: Exception) -> typing.NoReturn:
        channel.abort(error)
        raise error

    final.add_callbacks(on_reply, on_error)


def _drop(_: Exception) -> None:
    return None
