"""The boundary where the system's errors become the framework's."""

from __future__ import annotations

import errno
import os
import socket
import typing

from backends.sockets.names import MAX_PORT
from portable.errors import (
    ConnectError,
    ConnectionLost,
    ListenError,
    connect_error,
    connection_lost_error,
    describe,
    listen_error,
)

if typing.TYPE_CHECKING:
    from portable.errors import TransportError

__all__ = [
    "OUT_OF_RESOURCES",
    "check_path",
    "check_port",
    "connect_failure",
    "connection_failure",
    "error_code",
    "listen_failure",
]

# What accept says when this process or this machine has run out: waiting helps, closing the listener does not.
OUT_OF_RESOURCES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

# Bytes in the path of a Unix socket, on Linux; elsewhere a few less, which the system then says.
_LONGEST_PATH = 107

# Windows has numbers of its own for what everybody else calls by these names.
_WINDOWS_PREFIX = "WSA"


def error_code(error: OSError) -> str:
    """Return the errno name of `error`, such as "ECONNRESET"."""
    if isinstance(error, socket.gaierror):
        return "ENODEV"  # nothing but literal addresses is looked up here, so it is the scope that is wrong
    if error.errno is None and "path too long" in str(error):  # CPython's, of a Unix socket's
        return "ENAMETOOLONG"
    name = errno.errorcode.get(error.errno or 0, "EIO")
    return name.removeprefix(_WINDOWS_PREFIX)


def check_port(port: int, address: str) -> None:
    """Do nothing if `port` is one that can be connected to.

    Raises:
        ConnectError: it is not.
    """
    if not 0 <= port <= MAX_PORT:
        raise connect_error("EINVAL", f"cannot connect to {address}: ports go from 0 to {MAX_PORT}")


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


def connect_failure(error: OSError, address: str) -> ConnectError:
    """Return the error for a failed attempt to connect to `address`."""
    code = error_code(error)
    return connect_error(code, f"cannot connect to {address}: {describe(code)}")


def listen_failure(error: OSError, address: str) -> ListenError:
    """Return the error for a failed attempt to bind `address`."""
    code = error_code(error)
    return listen_error(code, f"cannot listen on {address}: {describe(code)}")


def connection_failure(error: OSError) -> ConnectionLost:
    """Return the error for a connection that broke."""
    return connection_lost_error(error_code(error))
