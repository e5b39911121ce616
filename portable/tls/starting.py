"""How a connection comes to speak TLS: from its first byte on, or from somewhere in its middle."""

from __future__ import annotations

import typing

from portable.errors import LocalProtocolError, RemoteProtocolError
from portable.tls.transport import TLSTransport

if typing.TYPE_CHECKING:
    from portable.protocol import ProtocolFactory
    from portable.tls.options import TLSOptions
    from portable.transport import Transport

__all__ = ["tls_factory", "upgrade"]


def tls_factory(factory: ProtocolFactory, options: TLSOptions) -> typing.Callable[[], TLSTransport]:
    """Return a factory for listeners and connects whose connections speak TLS from the first byte on.

    What it makes sits between the raw transport and the protocol from `factory`, which is called when the
    handshake is done, so that `connection_made` can ask for `alpn_protocol`, `server_name` and `peercert`. If
    the handshake fails, `factory` is not called and the log tells why. Whoever connects waits for `handshake`:

        tls = await reactor.connect(tls_factory(factory, options), host, port)
        await tls.handshake
        protocol = tls.get_protocol()
    """

    def make() -> TLSTransport:
        return TLSTransport(options, factory=factory)

    return make


def upgrade(transport: Transport, options: TLSOptions, unread: int) -> TLSTransport:
    """Speak TLS from the next byte on: what backends do in `Transport.start_tls`, which see.

    Raises:
        RemoteProtocolError: `unread` is not 0. The connection must be closed.
        LocalProtocolError: `transport` is closing, speaks TLS already, or does not know its reactor.
    """
    protocol = transport.get_protocol()
    if isinstance(protocol, TLSTransport) or transport.get_extra_info("tls_version") is not None:
        raise LocalProtocolError("the connection speaks TLS already")
    if transport.is_closing():
        raise LocalProtocolError("the connection is closing: too late for TLS")
    if unread:
        # CVE-2011-0411: they came in clear, and anyone on the path may have added them.
        raise RemoteProtocolError(f"{unread} bytes came in clear after the request to begin TLS")
    tls = TLSTransport(options, protocol=protocol)
    transport.set_protocol(tls)
    tls.connection_made(transport)
    return tls
