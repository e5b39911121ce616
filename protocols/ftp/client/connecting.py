"""Connecting to an FTP server, with TLS or without."""

from __future__ import annotations

import typing

from portable.errors import LocalProtocolError
from portable.tls import tls_factory
from protocols.ftp.client.channels import ActiveMode, PassiveMode
from protocols.ftp.client.client import FTPClient
from protocols.ftp.client.control import ControlConnection
from protocols.ftp.client.data import DataConnection
from protocols.ftp.client.replies import expect
from protocols.ftp.client.transfers import Transfers

if typing.TYPE_CHECKING:
    from portable.deferred import Deferred
    from portable.endpoints import TCPClientEndpoint
    from portable.reactor import Reactor
    from portable.tls import TLSOptions, TLSTransport
    from protocols.ftp.client.channels import Connect, Mode

__all__ = ["DATA_TIMEOUT", "REPLY_TIMEOUT", "connect_ftp"]

# Seconds. Servers may look long for a file, or delay the answer to a wrong password; not longer than a minute.
REPLY_TIMEOUT = 60.0
# Seconds without a byte on a data connection. As long as TCP takes to get over a bad moment of the network.
DATA_TIMEOUT = 60.0


async def connect_ftp(
    reactor: Reactor,
    endpoint: TCPClientEndpoint,
    *,
    tls: TLSOptions | None = None,
    implicit_tls: bool = False,
    connect: Connect | None = None,
    active: bool = False,
    encoding: str = "utf-8",
    reply_timeout: float = REPLY_TIMEOUT,
    data_timeout: float = DATA_TIMEOUT,
) -> FTPClient:
    """Connect to a server and return the client, once it was greeted; log in next.

    Args:
        reactor: runs it all.
        endpoint: where the server is. Its time-out holds for data connections as well.
        tls: speak TLS with these options, made by `client_options`, before anything is said: by AUTH TLS (RFC
            4217). A server that will not is an error, never a reason to go on in clear.
        implicit_tls: speak TLS from the first byte on instead, as on port 990.
        connect: opens control and data connections instead of the reactor, such as through a proxy.
        active: have the server open the data connections. Not through a proxy.
        encoding: of paths and names. "latin-1" can express any bytes.
        reply_timeout: seconds within which a reply must come, and a server in active mode connect.
        data_timeout: seconds that a data connection may be quiet.

    Fails with a ConnectError, a TLSError, CommandRefused, TimedOut.
    """
    if active and connect is not None:
        raise LocalProtocolError("in active mode the server connects to us, which goes through no proxy")
    if implicit_tls and tls is None:
        raise LocalProtocolError("implicit TLS needs options for TLS")

    def connect_directly(
        factory: typing.Callable[[], typing.Any], host: str, port: int
    ) -> Deferred[typing.Any]:
        return reactor.connect(factory, host, port, timeout=endpoint.timeout)

    dial = connect or connect_directly
    control = ControlConnection(reactor, reply_timeout)
    try:
        if implicit_tls and tls is not None:
            wrapped: TLSTransport = await dial(tls_factory(lambda: control, tls), endpoint.host, endpoint.port)
            await wrapped.handshake.timeout(endpoint.timeout, reactor).add_errback(_aborting(wrapped))
        else:
            await dial(lambda: control, endpoint.host, endpoint.port)
        greeting = await control.next_reply()
        expect("connect", greeting, (220,))
        own, peer = control.addresses()

        def make_data() -> DataConnection:
            return DataConnection(reactor, data_timeout)

        mode: Mode
        if active:
            mode = ActiveMode(reactor, own.host, peer.host, make_data)
        else:
            # What a proxy's connection says of its peer is the proxy.
            mode = PassiveMode(dial, endpoint.host if connect is not None else peer.host, make_data)
        transfers = Transfers(control, reactor, mode, reply_timeout)
        client = FTPClient(reactor, control, transfers, greeting, encoding)
        control.end_turn()
        if tls is not None:
            await client.start_tls(tls)
    except Exception:
        control.abort()
        raise
    return client


def _aborting(transport: TLSTransport) -> typing.Callable[[Exception], typing.NoReturn]:
    def failed(error: Exception) -> typing.NoReturn:
        transport.abort()
        raise error

    return failed
