"""What programs of asyncio's are shown in the place of a socket, where there may be none."""

from __future__ import annotations

import socket
import typing

if typing.TYPE_CHECKING:
    from portable.transport import Address

__all__ = ["SocketView"]


class SocketView:
    """What programs ask of a socket of theirs: where it is bound and connected.

    Args:
        address: where it is bound.
        peer: where it is connected, None if it listens.
    """

    def __init__(self, address: Address | str, peer: Address | str | None = None) -> None:
        self._address = address
        self._peer = peer
        self.type = socket.SOCK_STREAM
        self.proto = 0

    @property
    def family(self) -> int:
        """The family of the address."""
        if isinstance(self._address, str):
            return socket.AF_UNIX
        return socket.AF_INET6 if ":" in self._address.host else socket.AF_INET

    def getsockname(self) -> typing.Any:
        """Return the address as the socket module would: four parts for IPv6."""
        return _raw(self._address)

    def getpeername(self) -> typing.Any:
        """Return the peer's address, likewise.

        Raises:
            OSError: there is no peer.
        """
        if self._peer is None:
            raise OSError("this socket is not connected")
        return _raw(self._peer)

    def setsockopt(self, *_args: object) -> None:
        """Do nothing: what programs set, such as TCP_NODELAY, the reactor has set, or there is no way to."""

    def fileno(self) -> int:
        """Return -1: it is not for use."""
        return -1


def _raw(address: Address | str) -> typing.Any:
    if isinstance(address, str):
        return address
    return (*address, 0, 0) if ":" in address.host else tuple(address)
