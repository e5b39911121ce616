"""Skeleton: final names and signatures."""

from __future__ import annotations

import dataclasses
import typing

if typing.TYPE_CHECKING:
    from portable.deferred import Deferred
    from portable.endpoints import Endpoint, TCPEndpoint
    from portable.protocol import DatagramProtocol, ProtocolFactory
    from portable.reactor import Reactor
    from portable.transport import Address

__all__ = ["DatagramPort", "ListenerOptions", "ServerPort"]


@dataclasses.dataclass(frozen=True)
class ListenerOptions:
    """What every listener can be told; the defaults limit nothing but the handshake.

    Attributes:
        max_connections: open at one time; 0 means no limit.
        max_per_peer: of these from one address (IPv6: from one /64); 0 means no limit.
        idle_timeout: seconds without a byte in either direction before a connection is dropped; 0 never.
        min_rate: bytes per second that must move, averaged over `idle_timeout`, while something waits to be
            sent; slower readers are dropped. 0 asks for one byte in that time.
        handshake_timeout: seconds for the TLS handshake and the PROXY header together; 0 means no limit.
        throttle: bytes per second in each direction of each connection; 0 means no limit.
        proxy_protocol_from: addresses and networks ("10.0.0.0/8", "::1", "unix" for every Unix peer) that must
            begin their connections with a PROXY protocol header.
        proxy_inside_tls: the PROXY header comes after the TLS handshake, not before it.
        alpn: application protocols offered in TLS, the preferred first.
    """

    max_connections: int = 0
    max_per_peer: int = 0
    idle_timeout: float = 0.0
    min_rate: int = 0
    handshake_timeout: float = 30.0
    throttle: int = 0
    proxy_protocol_from: tuple[str, ...] = ()
    proxy_inside_tls: bool = False
    alpn: tuple[str, ...] = ()


class ServerPort:
    """One endpoint with a factory behind it."""

    def __init__(
        self,
        name: str,
        factory: ProtocolFactory,
        endpoint: Endpoint,
        options: ListenerOptions = ListenerOptions(),  # noqa: B008 -- it is frozen
    ) -> None:
        self.name = name
        self.endpoint = endpoint
        self.options = options
        self.accepted = 0  # connections taken, ever
        self.refused = 0  # connections closed because of a limit, ever
        self.open = 0  # connections open now

    @property
    def kind(self) -> str:
        """ "tcp", "tls" or "unix"."""
        raise NotImplementedError

    @property
    def address(self) -> Address | str:
        """Where it is bound, with the real port."""
        raise NotImplementedError

    @property
    def bytes_received(self) -> int:
        """Bytes of payload received on all connections, ever."""
        raise NotImplementedError

    @property
    def bytes_sent(self) -> int:
        """Bytes of payload sent on all connections, ever."""
        raise NotImplementedError

    def describe(self) -> str:
        """Return "web tcp 127.0.0.1:8080"."""
        raise NotImplementedError

    def bind(self, reactor: Reactor, environ: typing.Mapping[str, str] | None = None) -> None:
        """Bind; nothing is accepted before `start`."""
        raise NotImplementedError

    def start(self) -> None:
        """Accept connections."""
        raise NotImplementedError

    def stop_accepting(self) -> None:
        """Stop listening; open connections go on."""
        raise NotImplementedError

    def drain(self, seconds: float) -> Deferred[int]:
        """Stop accepting, let connections finish, abort the rest after `seconds`; gives how many."""
        raise NotImplementedError

    def reload(self) -> None:
        """Read the certificates again."""
        raise NotImplementedError


class DatagramPort:
    """One UDP socket with a protocol behind it."""

    def __init__(
        self, name: str, factory: typing.Callable[[], DatagramProtocol], endpoint: TCPEndpoint
    ) -> None:
        self.name = name
        self.endpoint = endpoint  # the port, interface and reuse_port count
        self.kind = "udp"

    # address, describe, bind, start, stop_accepting, drain, reload as ServerPort
