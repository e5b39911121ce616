"""Host names to addresses, by the system's resolver in a thread."""

from __future__ import annotations

import socket
import typing

from backends.sockets.arguments import family_of
from portable.deferred import Deferred, succeed
from portable.errors import NameNotFound
from portable.transport import normalise_host

if typing.TYPE_CHECKING:
    from backends.sockets.threads import ThreadPool

__all__ = ["LITERAL", "resolve"]

# Makes getaddrinfo read literal addresses only, so that it asks nobody and returns at once.
LITERAL = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV


def _look_up(host: str) -> list[str]:
    try:
        if "\0" in host:  # the system would look up what is before it
            raise ValueError("a NUL in a host name")
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError, ValueError) as exc:
        raise NameNotFound(f"the host name {host!r} has no address") from exc
    # A dict keeps the order and drops what comes twice.
    return list(dict.fromkeys(normalise_host(str(address[0])) for *_rest, address in found))


def resolve(threads: ThreadPool, host: str) -> Deferred[list[str]]:
    """See `portable.reactor.Names.resolve`."""
    if family_of(host) is not None:
        return succeed([normalise_host(host)])
    return threads.run(_look_up, host)
