"""What every listener can be told."""

from __future__ import annotations

import dataclasses

__all__ = ["ListenerOptions"]


@dataclasses.dataclass(frozen=True)
class ListenerOptions:
    """What every listener can be told; the defaults limit nothing but the handshake.

    Attributes:
        max_connections: open at one time; 0 means no limit.
        max_per_peer: of these from one address (IPv6: from one /64; Unix: not counted); 0 means no limit.
        idle_timeout: seconds without a byte in either direction before a connection is closed (up to a quarter
            later); 0 means never.
        min_rate: bytes per second that must move while something waits to be sent, or the connection counts as
            idle: a peer that reads a byte now and then cannot hold our memory for ever. 0 asks for one byte.
        handshake_timeout: seconds for the PROXY header and the TLS handshake together; 0 means no limit.
        throttle: bytes per second in each direction of each connection; 0 means no limit.
        proxy_protocol_from: addresses and networks ("10.0.0.0/8", "::1"; "unix" for every Unix peer) that must
            begin their connections with a PROXY protocol header. From others such a header is data.
        proxy_inside_tls: the PROXY header comes after the TLS handshake, not before it.
        alpn: application protocols accepted in TLS, the preferred first.
    """

    max_connections: int = 0
    max_per_peer: int = 0
    idle_timeout: float = 0.0
    # Any line that is worth the name is faster, and 10,000 slow readers cost us 640 KB/s at least.
    min_rate: int = 64
    handshake_timeout: float = 30.0
    throttle: int = 0
    proxy_protocol_from: tuple[str, ...] = ()
    proxy_inside_tls: bool = False
    alpn: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            ValueError: one of them is negative.
        """
        numbers = (
            self.max_connections,
            self.max_per_peer,
            self.idle_timeout,
            self.min_rate,
            self.handshake_timeout,
            self.throttle,
        )
        if min(numbers) < 0:
            raise ValueError(f"no number of the options of a listener may be negative: {self}")
