"""The client's end of SOCKS: an endpoint by which any protocol connects through a proxy.

    proxy = TCPClientEndpoint("192.0.2.1", 1080)
    endpoint = SocksEndpoint(proxy, "example.com", 80)
    protocol = await endpoint.connect(reactor, factory)

TLS with the target goes through it as well:

    secure = tls_factory(factory, client_options("example.com"))
    tls = await SocksEndpoint(proxy, "example.com", 443).connect(reactor, secure)
    await tls.handshake

The proxy can itself be behind TLS, a Unix socket, or another SOCKS proxy: any endpoint with `connect` will do.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import typing

from portable.addresses import literal
from portable.deferred import Deferred, ensure_deferred
from portable.endpoints import CONNECT_TIMEOUT
from portable.errors import (
    ConnectError,
    ConnectTimedOut,
    RemoteProtocolError,
    TimedOut,
    TransportError,
    connect_error,
)
from portable.prefixed import PrefixedTransport
from portable.protocol import Protocol
from portable.transport import Address
from protocols.socks import v4, v5
from protocols.socks.incoming import Incoming
from protocols.socks.messages import Command, Outcome, Request

if typing.TYPE_CHECKING:
    from portable.clock import Clock
    from portable.protocol import StreamProtocol
    from portable.reactor import Reactor
    from portable.transport import Transport

    class Connects(typing.Protocol):
        """What is needed of the endpoint of the proxy."""

        def connect(self, reactor: Reactor, factory: typing.Callable[[], P]) -> Deferred[P]:
            """See `TCPClientEndpoint.connect`."""


__all__ = ["SocksEndpoint"]

P = typing.TypeVar("P", bound="StreamProtocol")

# A failure is the same class with the same code whether it happened here or at the proxy.
_ERRNO = {
    Outcome.FORBIDDEN: "EACCES",
    Outcome.NETWORK_UNREACHABLE: "ENETUNREACH",
    Outcome.HOST_UNREACHABLE: "EHOSTUNREACH",
    Outcome.CONNECTION_REFUSED: "ECONNREFUSED",
    Outcome.TIMED_OUT: "ETIMEDOUT",
    Outcome.NO_IDENT: "EACCES",
    Outcome.WRONG_USER: "EACCES",
}


@dataclasses.dataclass(frozen=True)
class SocksEndpoint:
    """Connect to a TCP port through a SOCKS proxy.

    Attributes:
        proxy: how to connect to the proxy.
        host: a literal address or a name. The proxy looks names up, except in version 4, which knows no names:
            then we do, and take the first IPv4 address.
        port: of `host`.
        version: "4", "4a" or "5".
        username: of version 5, who we are, asked for by the proxy or not; "" offers no login. Of 4 and 4a, the
            user id, which the proxy may ask an identd about.
        password: of version 5.
        timeout: seconds for everything.

    Raises:
        ValueError: `version` is none of these.
    """

    proxy: Connects
    host: str
    port: int
    version: str = "5"
    username: str = ""
    password: str = dataclasses.field(default="", repr=False)
    timeout: float = CONNECT_TIMEOUT

    def __post_init__(self) -> None:
        """Check the version."""
        if self.version not in {"4", "4a", "5"}:
            raise ValueError(f"there is no version {self.version!r} of SOCKS")

    def connect(self, reactor: Reactor, factory: typing.Callable[[], P]) -> Deferred[P]:
        """Open a connection: see `Streams.connect`. `peername` is the proxy's address.

        Fails with a ConnectError, whose class and code say what the proxy said as far as it did: of SOCKS 4 not
        much. With LocalProtocolError if the version has no way to say what was asked for.
        """

        def explain(error: Exception) -> typing.NoReturn:
            target = f"cannot connect to {Address(self.host, self.port)} by SOCKS {self.version}"
            if isinstance(error, TimedOut):
                raise ConnectTimedOut(f"{target}: no answer in {self.timeout:g} seconds") from error
            if isinstance(error, TransportError) and not isinstance(error, ConnectError):
                raise connect_error(error.code, f"{target}: the proxy ended the connection: {error}") from error
            if isinstance(error, RemoteProtocolError):
                raise connect_error("EPROTO", f"{target}: {error}") from error
            raise error

        connecting = ensure_deferred(self._connect(reactor, factory))
        return connecting.timeout(self.timeout, reactor).add_errback(explain)

    async def _connect(self, reactor: Reactor, factory: typing.Callable[[], P]) -> P:
        request = Request(self.version, Command.CONNECT, self.host, self.port, self.username)
        if self.version == "4" and literal(self.host) is None:
            address = await _resolve_v4(reactor, self.host)
            request = dataclasses.replace(request, host=address)
        negotiation = await self.proxy.connect(reactor, _Negotiation)
        try:
            if self.version == "5":
                await negotiation.request_v5(request, self._login())
            else:
                await negotiation.request_v4(request)
            return negotiation.hand_over(factory, reactor)
        except Exception:
            negotiation.transport.abort()
            raise

    def _login(self) -> v5.Login | None:
        if not self.username:
            return None
        return v5.Login(self.username.encode("utf-8"), self.password.encode("utf-8"))


async def _resolve_v4(reactor: Reactor, host: str) -> str:
    addresses = await reactor.resolve(host)
    for address in addresses:
        if isinstance(literal(address), ipaddress.IPv4Address):
            return address
    raise connect_error("ENOTFOUND", f"{host!r} has no IPv4 address, and SOCKS 4 knows no others; 4a does")


class _Negotiation(Protocol):
    """The connection to the proxy, until it is one to the target."""

    def __init__(self) -> None:
        self.transport: Transport
        self._incoming = Incoming()
        self._handed_over: PrefixedTransport | None = None

    def connection_made(self, transport: Transport) -> None:
        """See `Protocol.connection_made`."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """See `Protocol.data_received`."""
        self._incoming.receive_data(data)
        if self._handed_over is not None:
            # Whoever waited for the connection has it by now.
            self._handed_over.deliver()

    def connection_lost(self, exc: TransportError | None) -> None:
        """See `Protocol.connection_lost`."""
        self._incoming.fail(exc or TransportError("it gave no reply", "ECONNRESET"))

    async def request_v4(self, request: Request) -> None:
        """Ask for a connection. Raises what `SocksEndpoint.connect` fails with."""
        self.transport.write(v4.encode_request(request))
        reply = await self._incoming.next(v4.read_reply)
        _check(reply.outcome)

    async def request_v5(self, request: Request, login: v5.Login | None) -> None:
        """Likewise, after saying who we are, if the proxy asks for that."""
        asked = v5.encode_request(request)
        told = b"" if login is None else v5.encode_login(login)
        offered = (v5.NO_AUTHENTICATION,) if login is None else (v5.NO_AUTHENTICATION, v5.PASSWORD)
        self.transport.write(v5.encode_methods(bytes(offered)))
        method = await self._incoming.next(v5.read_method)
        if method == v5.NO_ACCEPTABLE_METHOD:
            raise connect_error("EACCES", "the SOCKS proxy wants another authentication than we offer")
        if method not in offered:
            raise RemoteProtocolError(f"the proxy chose method {method}, which was not offered")
        if method == v5.PASSWORD:
            self.transport.write(told)
            good = await self._incoming.next(v5.read_login_reply)
            if not good:
                raise connect_error("EACCES", "the SOCKS proxy refused user name or password")
        self.transport.write(asked)
        reply = await self._incoming.next(v5.read_reply)
        _check(reply.outcome)

    def hand_over(self, factory: typing.Callable[[], P], clock: Clock) -> P:
        """Give the connection to a new protocol."""
        protocol = factory()
        transport = self.transport
        # The target may be the one that speaks first.
        early = self._incoming.take_remainder()
        if early:
            transport = self._handed_over = PrefixedTransport(transport, early, clock)
        self.transport.set_protocol(protocol)
        protocol.connection_made(transport)
        return protocol


def _check(outcome: Outcome) -> None:
    """Raise ConnectError unless the request is granted."""
    if outcome is not Outcome.GRANTED:
        raise connect_error(_ERRNO.get(outcome, "EIO"), f"the SOCKS proxy says: {outcome.value}")
