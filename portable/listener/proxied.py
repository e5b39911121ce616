"""A connection that came through a proxy, for the protocol behind the listener."""

from __future__ import annotations

import typing

from portable.wrapping import WrappedTransport

if typing.TYPE_CHECKING:
    from portable.listener.proxyheader import ProxyHeader
    from portable.transport import Transport

__all__ = ["ProxiedTransport"]


class ProxiedTransport(WrappedTransport):
    """A connection that a proxy relays, seen as if its client were directly connected."""

    __slots__ = ("_header",)

    def __init__(self, below: Transport, header: ProxyHeader) -> None:
        super().__init__(below)
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
