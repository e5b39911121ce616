"""A connection that came through a proxy, for the protocol behind the listener."""

from __future__ import annotations

import typing

from portable.prefixed import PrefixedTransport

if typing.TYPE_CHECKING:
    from portable.clock import Clock
    from portable.listener.proxyheader import ProxyHeader
    from portable.transport import Transport

__all__ = ["ProxiedTransport"]


class ProxiedTransport(PrefixedTransport):
    """A connection that a proxy relays, seen as if its client were directly connected.

    Args:
        header: what the proxy told.
        received: what came behind the header.
    """

    __slots__ = ("_header",)

    def __init__(self, below: Transport, header: ProxyHeader, received: bytes, clock: Clock) -> None:
        super().__init__(below, received, clock)
        self._header = header

    def get_extra_info(self, name: str, default: typing.Any = None) -> typing.Any:
        """See `Transport.get_extra_info`: the addresses are those that the proxy told, if it told any."""
        if name == "peername" and self._header.source is not None:
            return self._header.source
        if name == "sockname" and self._header.destination is not None:
            return self._header.destination
        if name == "proxied":
            return self._header.source is not None
        return self.below.get_extra_info(name, default)
