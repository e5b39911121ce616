"""The boundary where the system's errors become the framework's."""

from __future__ import annotations

import errno
import socket

from portable.errors import (
    ConnectError,
    ConnectionLost,
    ListenError,
    connect_error,
    connection_lost_error,
    describe,
    listen_error,
)

__all__ = [
    "OUT_OF_RESOURCES",
    "connect_failure",
    "connection_failure",
    "error_code",
    "listen_failure",
]

# What accept says when this process or this machine has run out: waiting helps, closing the listener does not.
OUT_OF_RESOURCES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

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
