"""Host names to addresses, by the system's resolver in a thread."""

from __future__ import annotations

import socket
import typing

from portable.deferred import Deferred, succeed
from portable.errors import NameNotFound
from portable.transport import normalise_host

if typing.TYPE_CHECKING:
    from backends.sockets.threads import ThreadPool

__all__ = ["LITERAL", "MAX_PORT", "is_literal", "resolve"]

# Makes getaddrinfo read literal addresses only, so that it asks nobody and returns at once.
LITERAL = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
MAX_PORT = 65535


def is_literal(host: str) -> bool:
    """Return whether `host` is an IP address rather than a name."""
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host.partition("%")[0])
        except (OSError, ValueError):
            continue
        return True
    return False


def _look_up(host: str) -> list[str]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError, ValueError) as exc:
        raise NameNotFound(f"the host name {host!r} has no address") from exc
    # A dict keeps the order and drops what comes twice.
    return list(dict.fromkeys(normalise_host(str(address[0])) for *_rest, address in found))


def resolve(threads: ThreadPool, host: str) -> Deferred[list[str]]:
    """See `portable.reactor.Names.resolve`."""
    if is_literal(host):
        return succeed([normalise_host(host)])
    return threads.run(_look_up, host)
