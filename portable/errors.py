"""Every error the framework raises, and the codes that name transport failures.

```
FrameworkError
├── TransportError          the network said no; `code` is an errno name such as "ECONNREFUSED"
│   ├── ConnectError        a connection could not be opened
│   │   ├── ConnectionRefused, ConnectTimedOut, Unreachable, NameNotFound
│   ├── ListenError         a port could not be bound
│   │   ├── AddressInUse, AddressNotAvailable, AddressForbidden
│   ├── ConnectionLost      an open connection ended otherwise than by a clean end of stream
│   │   ├── ConnectionReset, ConnectionAborted, ConnectionTimedOut
│   └── TLSError            TLS refused, failed or was cut short
│       ├── CertificateError, TLSTruncated
├── ProtocolError           rules broken; never raised itself
│   ├── RemoteProtocolError the peer's fault: log, reply, close
│   └── LocalProtocolError  our caller's fault: let it propagate
├── FileError               a file operation failed; `code` as above
├── ConfigurationError      an option, an endpoint string or a .tap is wrong; `where` names the place
├── CapabilityMissing       this backend cannot do that
├── Cancelled               a Deferred was cancelled
└── TimedOut                a Deferred's time ran out
```

Backends translate what their runtime raises (`OSError`, a Java exception) at the boundary with
`raise ... from`, so no protocol can tell which reactor it runs on: the same failure is the same class with
the same code everywhere.
"""

from __future__ import annotations

__all__ = [
    "FAILURES",
    "AddressForbidden",
    "AddressInUse",
    "AddressNotAvailable",
    "Cancelled",
    "CapabilityMissing",
    "CertificateError",
    "ConfigurationError",
    "ConnectError",
    "ConnectTimedOut",
    "ConnectionAborted",
    "ConnectionLost",
    "ConnectionRefused",
    "ConnectionReset",
    "ConnectionTimedOut",
    "FileError",
    "FrameworkError",
    "ListenError",
    "LocalProtocolError",
    "NameNotFound",
    "ProtocolError",
    "RemoteProtocolError",
    "TLSError",
    "TLSTruncated",
    "TimedOut",
    "TransportError",
    "Unreachable",
    "connect_error",
    "connection_lost_error",
    "describe",
    "listen_error",
]


# What a protocol, a callback or a page may raise without ending more than its own affair. SystemExit is among
# them because the process, which may be a Java program's, is not theirs to end: `reactor.stop()` ends a loop.
# KeyboardInterrupt is not: it comes from whoever ends the process.
FAILURES: tuple[type[Exception], type[SystemExit]] = (Exception, SystemExit)


class FrameworkError(Exception):
    """The base of all errors raised by this framework."""


class TransportError(FrameworkError):
    """The network, or the system underneath it, said no.

    Attributes:
        code: the errno name of the failure ("ECONNREFUSED"), equal on every backend.
    """

    default_code = "EIO"

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code or self.default_code


class ConnectError(TransportError):
    """A connection could not be opened."""


class ConnectionRefused(ConnectError):
    """Nobody listens at that address."""

    default_code = "ECONNREFUSED"


class ConnectTimedOut(ConnectError):
    """The peer did not answer in time."""

    default_code = "ETIMEDOUT"


class Unreachable(ConnectError):
    """There is no way to that network or host."""

    default_code = "EHOSTUNREACH"


class NameNotFound(ConnectError):
    """The host name has no address."""

    default_code = "ENOTFOUND"


class ListenError(TransportError):
    """A port could not be bound."""


class AddressInUse(ListenError):
    """Another socket is bound to that address."""

    default_code = "EADDRINUSE"


class AddressNotAvailable(ListenError):
    """This machine does not have that address."""

    default_code = "EADDRNOTAVAIL"


class AddressForbidden(ListenError):
    """This user may not bind that address (ports below 1024 are often kept for root)."""

    default_code = "EACCES"


class ConnectionLost(TransportError):
    """An open connection ended otherwise than by a clean end of stream."""

    default_code = "ECONNRESET"


class ConnectionReset(ConnectionLost):
    """The peer reset the connection, or it broke while we were writing."""

    default_code = "ECONNRESET"


class ConnectionAborted(ConnectionLost):
    """We dropped the connection with `abort`."""

    default_code = "ECONNABORTED"


class ConnectionTimedOut(ConnectionLost):
    """The connection was idle, or made no progress, for longer than it may."""

    default_code = "ETIMEDOUT"


class TLSError(TransportError):
    """TLS could not be agreed on, or the peer broke it."""

    default_code = "EPROTO"


class CertificateError(TLSError):
    """A certificate was refused, by us or by the peer."""


class TLSTruncated(TLSError):
    """The connection ended without TLS's own farewell: what was read may not be all (RFC 8446 6.1)."""


class ProtocolError(FrameworkError):
    """The rules of a protocol were broken. Never raised itself: see the two subclasses."""


class RemoteProtocolError(ProtocolError):
    """The peer broke the rules. Log it, tell the peer if the protocol can, close."""


class LocalProtocolError(ProtocolError):
    """The caller of a protocol object broke the rules: a bug on this side."""


class FileError(FrameworkError):
    """A file could not be opened, read, written or listed.

    Attributes:
        code: the errno name ("ENOENT", "EACCES", "ELOOP").
    """

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


class ConfigurationError(FrameworkError):
    """An option, an endpoint string or a .tap file is wrong.

    Attributes:
        where: the place of the fault, such as "services[0].options.port"; "" if the message says it all.
    """

    def __init__(self, message: str, where: str = "") -> None:
        super().__init__(f"{where}: {message}" if where else message)
        self.where = where


class CapabilityMissing(FrameworkError):
    """This backend cannot do what was asked.

    Attributes:
        backend: the backend's name, such as "nio".
        capability: the name of what is missing, such as "processes".
    """

    def __init__(self, backend: str, capability: str, advice: str = "") -> None:
        message = f"the {backend!r} reactor has no capability {capability!r}"
        super().__init__(f"{message}: {advice}" if advice else message)
        self.backend = backend
        self.capability = capability


class Cancelled(FrameworkError):
    """The Deferred that would have given a result was cancelled."""


class TimedOut(FrameworkError):
    """The Deferred that would have given a result took too long."""


_CONNECT_CLASSES: dict[str, type[ConnectError]] = {
    "ECONNREFUSED": ConnectionRefused,
    "ETIMEDOUT": ConnectTimedOut,
    "EHOSTUNREACH": Unreachable,
    "ENETUNREACH": Unreachable,
    "ENOTFOUND": NameNotFound,
}
_LISTEN_CLASSES: dict[str, type[ListenError]] = {
    "EADDRINUSE": AddressInUse,
    "EADDRNOTAVAIL": AddressNotAvailable,
    "EACCES": AddressForbidden,
    "EPERM": AddressForbidden,
}
_LOST_CLASSES: dict[str, type[ConnectionLost]] = {
    "ECONNRESET": ConnectionReset,
    "EPIPE": ConnectionReset,
    "ECONNABORTED": ConnectionAborted,
    "ETIMEDOUT": ConnectionTimedOut,
}
# A peer that vanished while we wrote (EPIPE) and one that reset us are one event; which of the two the kernel
# reports depends on timing, so both carry one code.
_SAME_CODE = {"EPIPE": "ECONNRESET"}

# Our own words, because the system's differ between runtimes, systems and languages.
_TEXTS = {
    "EACCES": "permission denied",
    "EADDRINUSE": "another process is using that address",
    "EADDRNOTAVAIL": "this machine does not have that address",
    "ECONNABORTED": "the connection was aborted",
    "ECONNREFUSED": "the connection was refused",
    "ECONNRESET": "the peer reset the connection",
    "EEXIST": "the file exists already",
    "EHOSTUNREACH": "there is no route to the host",
    "EINVAL": "it is not valid",
    "EISDIR": "it is a folder",
    "ELOOP": "it is, or leads through, a symbolic link",
    "EMFILE": "too many open files in this process",
    "EMSGSIZE": "the datagram is too long",
    "EOPNOTSUPP": "this cannot be done with this kind of socket",
    "ENAMETOOLONG": "the name is too long",
    "ENETUNREACH": "the network cannot be reached",
    "ENOENT": "there is no such file or folder",
    "ENOSPC": "there is no space left on the device",
    "ENOTDIR": "it is not a folder",
    "ENOTEMPTY": "the folder is not empty",
    "ENOTFOUND": "the host name has no address",
    "EPERM": "permission denied",
    "EPIPE": "the peer reset the connection",
    "ETIMEDOUT": "it took too long",
}


def describe(code: str) -> str:
    """Return what the errno name `code` means, in the same words on every backend."""
    return _TEXTS.get(code, f"system error {code}")


def connect_error(code: str, message: str) -> ConnectError:
    """Return the error for a failed `connect` with the errno name `code`."""
    return _CONNECT_CLASSES.get(code, ConnectError)(message, code)


def listen_error(code: str, message: str) -> ListenError:
    """Return the error for a failed `listen` with the errno name `code`."""
    return _LISTEN_CLASSES.get(code, ListenError)(message, code)


def connection_lost_error(code: str, message: str = "") -> ConnectionLost:
    """Return the error for a connection that broke with the errno name `code`."""
    return _LOST_CLASSES.get(code, ConnectionLost)(message or describe(code), _SAME_CODE.get(code, code))
