"""The proxy's end of a SOCKS connection.

One coroutine for each connection goes through

    negotiate   the request, and before that in SOCKS 5 how the client says who it is    limits.request
    open        CONNECT: look up, check and connect                                      limits.connect
                BIND: listen, say where, wait for the peer and check who it is           limits.bind
    relay       `portable.flow.join`

and whatever goes wrong on the way is raised, told to the client in its version's words and recorded. What the
client sends behind its request waits, within the bounds of `RelayEnd`, and is the first thing that the target
gets.
"""

from __future__ import annotations

import typing

from portable.addresses import literal, meanings
from portable.deferred import ensure_deferred
from portable.errors import (
    Cancelled,
    ConnectionRefused,
    ConnectTimedOut,
    FrameworkError,
    NameNotFound,
    TimedOut,
    Unreachable,
)
from portable.flow import RelayEnd, join
from portable.happyeyeballs import connect_to_addresses, interleave
from portable.transport import Address
from protocols.socks import v4, v5
from protocols.socks.bind import PeerWait
from protocols.socks.incoming import Incoming
from protocols.socks.messages import Command, Outcome, Refused, Reply
from protocols.socks.proxy import Record

if typing.TYPE_CHECKING:
    from portable.clock import Timer
    from portable.deferred import Deferred
    from portable.errors import TransportError
    from portable.framing import Reader
    from portable.transport import Transport
    from protocols.socks.messages import Request
    from protocols.socks.proxy import SharedState

__all__ = ["SocksServer"]

_UNSPECIFIED = "0.0.0.0"  # noqa: S104 -- said in replies that have no address to tell


class SocksServer(RelayEnd):
    """A client's connection. See above."""

    def __init__(self, proxy: SharedState) -> None:
        super().__init__(proxy.reactor)
        self._proxy = proxy
        self._peer: Address | str | None = None
        self._local: Address | str | None = None
        # None once the request has come: the rest is for the target.
        self._incoming: Incoming | None = Incoming()
        self._work: Deferred[None] | None = None
        self._waiting = False  # for the peer of a BIND request
        # How to answer at this point of the conversation; None while the client would understand nothing.
        self._encode: typing.Callable[[Reply], bytes] | None = None
        self._ended_by_refusal = False
        self._farewell: Timer | None = None
        # For the record.
        self._started = 0.0
        self._since = 0.0
        self._request: Request | None = None
        self._user = ""
        self._identified = False
        self._target: RelayEnd | None = None
        self._code: int | None = None
        self._result = "the client left"

    # What the transport calls.

    def connection_made(self, transport: Transport) -> None:
        """See `Protocol.connection_made`."""
        super().connection_made(transport)
        self._peer = transport.get_extra_info("peername")
        self._local = transport.get_extra_info("sockname")
        self._started = self._proxy.wall_clock()
        self._since = self._clock.time()
        work = ensure_deferred(self._serve(transport))
        self._work = work
        work.add_errback(self._broke)

    def data_received(self, data: bytes) -> None:
        """See `Protocol.data_received`."""
        if self._incoming is not None:
            self._incoming.receive_data(data)
        elif not self._ended_by_refusal:
            super().data_received(data)

    def eof_received(self) -> bool | None:
        """See `Protocol.eof_received`. Before the whole request it is the end."""
        if self._incoming is not None or self._ended_by_refusal:
            return None
        if self._waiting and self._work is not None:
            # Slots are few, and a client that does not wait any more needs none.
            self._work.cancel()
            return None
        return super().eof_received()

    def connection_lost(self, exc: TransportError | None) -> None:
        """See `Protocol.connection_lost`."""
        super().connection_lost(exc)
        if self._work is not None:
            self._work.cancel()
        if self._farewell is not None:
            self._farewell.cancel()
        self._record()

    def drain(self) -> None:
        """Finish what is being relayed or connected; close where nothing is. See `SupportsDrain.drain`."""
        if self.transport is None:
            return
        if self._incoming is not None or self._waiting or self._ended_by_refusal:
            self._result = "the proxy stopped"
            self.transport.close()
        else:
            self.close_when_quiet()

    # The conversation.

    async def _serve(self, transport: Transport) -> None:
        proxy = self._proxy
        try:
            if not proxy.policy.serves(self._peer):
                raise Refused("the client may not use this proxy", Outcome.FORBIDDEN)
            request = await ensure_deferred(self._negotiate(transport)).timeout(
                proxy.limits.request, self._clock
            )
            self._request = request
            self._keep_early_data()
            if request.version != "5":
                await self._check_user(request)
            await self._fulfil(transport, request)
        except Cancelled:
            pass  # the client has gone
        except FrameworkError as error:
            self._refuse(transport, error)

    async def _negotiate(self, transport: Transport) -> Request:
        """Return the client's request, once the client is who it should be."""
        incoming = self._incoming
        if incoming is None:
            raise AssertionError("a second negotiation")
        version = await incoming.next(_peek_version)
        if version not in self._proxy.policy.speaks:
            raise Refused(f"the client speaks version {version}, which is not served here")
        if version == v4.VERSION:
            self._encode = v4.encode_reply
            request = await incoming.next(v4.read_request)
            self._user = request.user
            return request
        await self._log_in(transport, incoming)
        self._encode = v5.encode_reply
        return await incoming.next(v5.read_request)

    async def _log_in(self, transport: Transport, incoming: Incoming) -> None:
        """Agree on a method of SOCKS 5, and go through it."""
        self._encode = _no_method
        methods = await incoming.next(v5.read_methods)
        check = self._proxy.policy.check_password
        wanted = v5.NO_AUTHENTICATION if check is None else v5.PASSWORD
        if wanted not in methods:
            raise Refused(f"the client offers the methods {list(methods)} and not {wanted}")
        transport.write(v5.encode_method(wanted))
        if check is None:
            return
        self._encode = _no_login
        login = await incoming.next(v5.read_login)
        self._user = login.name.decode("latin-1")
        # What the client sends meanwhile can wait in its system.
        transport.pause_reading()
        good = await check(self._peer, login.name, login.password)
        transport.resume_reading()
        if not good:
            raise Refused("wrong name or password", Outcome.FORBIDDEN)
        transport.write(v5.encode_login_reply(True))

    def _keep_early_data(self) -> None:
        """From here on, what comes is for the target."""
        if self._incoming is not None:
            early = self._incoming.take_remainder()
            self._incoming = None
            if early:
                super().data_received(early)

    async def _check_user(self, request: Request) -> None:
        check = self._proxy.policy.check_user
        if check is not None:
            self._identified = await check(self._peer, self._local, request.user)

    async def _fulfil(self, transport: Transport, request: Request) -> None:
        limits = self._proxy.limits
        if request.command == Command.CONNECT:
            opening = ensure_deferred(self._connect(request))
            end = await opening.timeout(limits.connect, self._clock)
            # SOCKS 4 lets clients ignore the address; some take it for their own, and name it in a PORT of FTP.
            self._reply(transport, Outcome.GRANTED, _transport_of(end).get_extra_info("sockname"))
        elif request.command == Command.BIND:
            end = await self._bind(transport, request)
        else:
            raise Refused(f"command {request.command} is not supported", Outcome.UNKNOWN_COMMAND)
        self._target = end
        join(self, end)

    async def _permitted(self, request: Request) -> list[str]:
        """Return the addresses of the target that the client may be connected to, at least one."""
        rules = self._proxy.policy.rules
        if not rules.may_ask_for(request.host, request.port):
            raise Refused("denied by the rules", Outcome.FORBIDDEN)
        addresses = await self._proxy.reactor.resolve(request.host)
        permitted = [each for each in addresses if rules.may_connect(request.host, each, request.port)]
        if not permitted:
            raise Refused(f"denied by the rules: {', '.join(addresses[:3])}", Outcome.FORBIDDEN)
        return interleave(permitted)[: self._proxy.limits.addresses]

    async def _connect(self, request: Request) -> RelayEnd:
        proxy = self._proxy
        hosts = await self._permitted(request)
        end = await connect_to_addresses(
            proxy.reactor, self._make_end, hosts, request.port, timeout=proxy.limits.connect
        )
        transport = _transport_of(end)
        peer = transport.get_extra_info("peername")
        if proxy.is_itself(peer, transport.get_extra_info("sockname")):
            transport.abort()
            raise Refused("the target is this proxy", Outcome.FORBIDDEN)
        return end

    async def _bind(self, transport: Transport, request: Request) -> RelayEnd:
        proxy = self._proxy
        looking_up = ensure_deferred(self._permitted(request))
        hosts = await looking_up.timeout(proxy.limits.connect, self._clock)
        if self.ended:
            raise Refused("the client left")
        if proxy.waiting >= proxy.limits.binds:
            raise Refused("too many BIND requests wait")
        proxy.waiting += 1
        self._waiting = True
        try:
            wait = PeerWait(proxy.reactor, proxy.bind_host or self._bind_host(hosts[0]))
            self._reply(transport, Outcome.GRANTED, wait.address)
            end = await wait.arrival.timeout(proxy.limits.bind, self._clock)
        finally:
            proxy.waiting -= 1
            self._waiting = False
        arrived = _transport_of(end)
        peer = arrived.get_extra_info("peername")
        expected = [each for host in hosts for each in meanings(host)]
        if literal(peer.host) not in expected:
            # Both are closed, says SOCKS 4. Waiting on would let a stranger try again and again.
            arrived.abort()
            raise Refused(f"{peer.host} came instead of {request.host}", Outcome.FORBIDDEN)
        self._reply(transport, Outcome.GRANTED, peer)
        return end

    def _bind_host(self, peer: str) -> str:
        """Return the address that the client is connected to, or every one if its family is not the peer's."""
        local = self._local
        if isinstance(local, Address) and (":" in local.host) == (":" in peer):
            return local.host
        return "::" if ":" in peer else _UNSPECIFIED

    def _make_end(self) -> RelayEnd:
        return RelayEnd(self._clock)

    # Answers.

    def _reply(self, transport: Transport, outcome: Outcome, address: Address | str | None = None) -> None:
        if self._encode is None:
            raise AssertionError("a reply before the version is known")
        if isinstance(address, Address):
            reply = Reply(outcome, address.host, address.port)
        else:
            reply = Reply(outcome, _UNSPECIFIED, 0)
        data = self._encode(reply)
        self._code = data[1]
        transport.write(data)

    def _refuse(self, transport: Transport, error: FrameworkError) -> None:
        """Say no, if the client can be told, and end the connection."""
        self._result = str(error)
        self._incoming = None
        self._ended_by_refusal = True
        outcome = _outcome_of(error)
        # Whoever speaks a version that is not served cannot be told; whoever set this up should be.
        if outcome is Outcome.FORBIDDEN or (self._encode is None and isinstance(error, Refused)):
            self._proxy.log_refusal(self._peer, error)
        if self._encode is None:
            transport.abort()
            return
        self._reply(transport, outcome)
        self._farewell = self._clock.call_later(self._proxy.limits.linger, transport.abort)
        if self.ended or not transport.can_write_eof():
            transport.close()
            return
        # Closed with data unread, a system may drop what it has not sent: the reply. So take what still comes.
        transport.write_eof()
        transport.resume_reading()

    def _broke(self, error: Exception) -> typing.NoReturn:
        """End a connection whose conversation has a bug."""
        self._result = "an error in the proxy"
        if self.transport is not None:
            self.transport.abort()
        raise error

    def _record(self) -> None:
        request = self._request
        target = self._target
        self._proxy.record(
            Record(
                peer=self._peer,
                started=self._started,
                duration=self._clock.time() - self._since,
                version="" if request is None else request.version,
                command=0 if request is None else request.command,
                host="" if request is None else request.host,
                port=0 if request is None else request.port,
                user=self._user,
                identified=self._identified,
                address=None if target is None else _transport_of(target).get_extra_info("peername"),
                code=self._code,
                sent=0 if target is None else self.received,
                received=0 if target is None else target.received,
                result=self._result if target is None else _end_of_relay(self, target),
            )
        )


def _transport_of(end: RelayEnd) -> Transport:
    if end.transport is None:
        raise AssertionError("connected without a transport")
    return end.transport


def _end_of_relay(client: RelayEnd, target: RelayEnd) -> str:
    """Return what has come of two streams that were passed on to each other: "ok" if they came to their end."""
    # If both broke, the target did so first: the client's end has let us look.
    for name, end in (("target", target), ("client", client)):
        if end.error is not None:
            return f"the connection to the {name} broke: {end.error}"
    if client.ended and target.ended:
        return "ok"
    # Where one direction cannot be ended alone (TLS), the end of either is that of both.
    halves = _transport_of(client).can_write_eof() and _transport_of(target).can_write_eof()
    if (client.ended or target.ended) and not halves:
        return "ok"
    return "the proxy closed the connection"


def _peek_version(reader: Reader) -> int | None:
    """Return the first byte, which stays."""
    data = reader.peek(1)
    return data[0] if data else None


def _no_method(_reply: Reply) -> bytes:
    return v5.encode_method(v5.NO_ACCEPTABLE_METHOD)


def _no_login(_reply: Reply) -> bytes:
    return v5.encode_login_reply(False)


def _outcome_of(error: FrameworkError) -> Outcome:
    """Return what a client is told of an error."""
    if isinstance(error, Refused):
        return error.outcome
    if isinstance(error, (TimedOut, ConnectTimedOut)):
        return Outcome.TIMED_OUT
    if isinstance(error, ConnectionRefused):
        return Outcome.CONNECTION_REFUSED
    if isinstance(error, Unreachable):
        return Outcome.NETWORK_UNREACHABLE if error.code == "ENETUNREACH" else Outcome.HOST_UNREACHABLE
    return Outcome.HOST_UNREACHABLE if isinstance(error, NameNotFound) else Outcome.FAILED
