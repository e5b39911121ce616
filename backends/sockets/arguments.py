"""What is refused before a system sees it, because each would say something else, or ask a name server."""

from __future__ import annotations

import errno
import functools
import os
import socket
import typing

from portable.errors import connect_error, listen_error
from portable.transport import normalise_host

if typing.TYPE_CHECKING:
    from portable.errors import TransportError
    from portable.transport import Address

__all__ = [
    "bindable",
    "check_literal",
    "check_path",
    "check_port",
    "check_receiver",
    "family_of",
]

_MAX_PORT = 65535

# Bytes in the path of a Unix socket, on Linux; elsewhere a few less, which the system then says.
_LONGEST_PATH = 107


# A server's peers come again and again, and each datagram to one is asked about.
@functools.lru_cache(maxsize=1024)
def family_of(host: str) -> socket.AddressFamily | None:
    """Return the family of a literal IP address, None for anything else."""
    try:
        socket.inet_pton(socket.AF_INET, host)
    except (OSError, ValueError):  # ValueError: a NUL
        pass
    else:
        return socket.AF_INET
    try:
        socket.inet_pton(socket.AF_INET6, host.partition("%")[0])
    except (OSError, ValueError):
        return None
    return socket.AF_INET6


def bindable(host: str, port: int) -> tuple[socket.AddressFamily, str]:
    """Return the literal address to bind for `host`, and before it its family.

    Raises:
        ListenError: `host` is a name, which could mean several addresses, or there is no such port.
    """
    if not 0 <= port <= _MAX_PORT:  # the system would take the lower 16 bits
        raise listen_error("EINVAL", f"cannot listen on port {port}: ports go from 0 to {_MAX_PORT}")
    if host == "localhost":
        return socket.AF_INET, "127.0.0.1"
    if not host:
        dual = socket.has_ipv6 and socket.has_dualstack_ipv6()
        return (socket.AF_INET6, "::") if dual else (socket.AF_INET, "0.0.0.0")  # noqa: S104 - asked for
    literal = normalise_host(host)
    family = family_of(literal)
    if family is None:
        raise listen_error("EADDRNOTAVAIL", f"cannot listen on {host!r}: give an IP address, not a name")
    return family, literal


def check_literal(host: str, direction: str) -> None:
    """Do nothing if `host` is an IP address.

    Args:
        direction: for the message: "to" or "from" what.

    Raises:
        ConnectError: it is a name, EADDRNOTAVAIL.
    """
    if family_of(host) is None:
        message = f"cannot connect {direction}: give an IP address, not a name"
        raise connect_error("EADDRNOTAVAIL", message)


def check_port(port: int, address: str, *, least: int = 0) -> None:
    """Do nothing if `port` is one that can be connected to.

    Raises:
        ConnectError: it is not, EINVAL.
    """
    if not least <= port <= _MAX_PORT:
        raise connect_error("EINVAL", f"cannot connect to {address}: ports go from {least} to {_MAX_PORT}")


def check_receiver(addr: Address | None) -> Address:
    """Return `addr` if it is what an unconnected socket can send a datagram to.

    Raises:
        ValueError: it is missing, or has a name for a host, or no such port.
    """
    if addr is None:
        raise ValueError("sendto() needs an address: this socket is not connected")
    if not 0 <= addr[1] <= _MAX_PORT or family_of(addr[0]) is None:
        raise ValueError(f"sendto() takes a literal address and a port, not {addr}")
    return addr


def check_path(
    path: str,
    failure: typing.Callable[[OSError, str], TransportError],
    encode: typing.Callable[[str], bytes] = os.fsencode,
) -> None:
    """Do nothing if a Unix socket may have `path`.

    Without a path, Linux makes one up for who binds; with a NUL before it, it is no file. We know neither.

    Args:
        failure: makes the error, such as `listen_failure`.
        encode: makes what the system is given; raises UnicodeEncodeError for what it cannot be given.

    Raises:
        TransportError: EINVAL or ENAMETOOLONG.
    """
    try:
        raw = encode(path)
    except UnicodeEncodeError as exc:
        raise failure(OSError(errno.EINVAL, str(exc)), repr(path)) from exc
    if not raw or b"\0" in raw:
        raise failure(OSError(errno.EINVAL, "not a path"), repr(path))
    if len(raw) > _LONGEST_PATH:
        raise failure(OSError(errno.ENAMETOOLONG, "too long"), path)
