"""What the reactor needs of the Java side, however Python reaches it.

Java's `portable.jvm.Pump` owns the selector and every channel. Four buffers are shared with it: headers and
payloads of events, headers and payloads of operations. A header is four native 32-bit integers: `kind, id, arg,
len`. Payloads follow each other in the order of the headers. `poll` hands over operations and brings back
events, so a turn of the loop crosses into Java once, whatever happens in it.
"""

from __future__ import annotations

import importlib
import typing

__all__ = [
    "ABORT",
    "ACCEPTED",
    "CLOSE",
    "CLOSED",
    "CONNECTED",
    "DATA",
    "DATAGRAM",
    "EOF",
    "ERROR",
    "PAUSE_READ",
    "REFUSED",
    "RESUME_READ",
    "SENDTO",
    "STARVED",
    "WRITABLE",
    "WRITE",
    "WRITE_EOF",
    "Bridge",
    "PumpError",
    "find_bridge",
    "what_is_missing",
]

# Events.
ACCEPTED = 1  # id of the new connection; arg: of its listener; payload: the peer
CONNECTED = 2  # payload: the peer
DATA = 3
EOF = 4
CLOSED = 5  # arg 0: because we asked; 1: payload is the errno name
WRITABLE = 6  # arg 1: the kernel takes something again; 0, of a datagram socket: it does not
DATAGRAM = 7  # arg: length of the sender's address at the start of the payload
ERROR = 8  # of a datagram socket, which goes on; payload is the errno name
STARVED = 9  # a listener has paused itself for want of descriptors; payload is the errno name

# Operations.
WRITE = 1  # what is not taken, and all that follows until WRITABLE, stays with us: see REFUSED
CLOSE = 2  # ignored while WRITABLE is to come
ABORT = 3
PAUSE_READ = 4
RESUME_READ = 5
WRITE_EOF = 6  # ignored while WRITABLE is to come
SENDTO = 7  # arg: length of the address at the start of the payload; 0 on a connected socket

# In the result of `poll`: the lengths in the headers of operations, in `op_headers`, are not all what they
# were. That of a WRITE is now what was taken; that of a SENDTO which failed or found a full queue is 0.
REFUSED = 1 << 31

# The modules that know one bridge each, the first that can be used is taken. Inside a Java program it must be
# Jep, and everywhere else importing that one fails.
_BRIDGES = ("backends.nio.jepbridge", "backends.nio.jpypebridge")


class PumpError(Exception):
    """Java refused.

    Attributes:
        code: the errno name.
    """

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Bridge(typing.Protocol):
    """One pump. Calls come from the loop's thread, which is the one that made it.

    Addresses are texts: see `addresses`. Every method but `poll`, `apply` and `close` may raise PumpError.

    Attributes:
        event_headers, event_payloads: what the last `poll` has brought. The last header, on top of those of
            events, is not one: it has the number of polls so far, and of the last one the number of events,
            the length of their payloads, and whether anything was REFUSED, for those who lost the result.
        op_headers, op_payloads: where to put the operations, of bytes.
    """

    event_headers: memoryview
    event_payloads: memoryview
    op_headers: memoryview
    op_payloads: memoryview

    def poll(self, timeout: int, ops: int, /) -> int:
        """Apply `ops` operations, wait at most `timeout` milliseconds (-1: for ever) for events, and return
        the number of events, plus the length of their payloads times 2**32, plus perhaps REFUSED.
        """

    def apply(self, ops: int, /) -> bool:
        """Apply `ops` operations, because more are to come than the buffers hold; return whether any was
        REFUSED.
        """

    def listen_tcp(self, host: str, port: int, backlog: int, reuse_port: bool, /) -> int:
        """Return the id of a listener that does not accept yet."""

    def listen_unix(self, path: str, backlog: int, /) -> int:
        """Return the id of a listener that does not accept yet."""

    def resume_accepting(self, listener: int, /) -> None:
        """Accept."""

    def pause_accepting(self, listener: int, /) -> None:
        """Leave connections to the kernel's queue."""

    def close_listener(self, listener: int, /) -> None:
        """Close it now."""

    def connect_tcp(self, host: str, port: int, local_host: str, /) -> int:
        """Return the id of a connection that will be CONNECTED or CLOSED."""

    def connect_unix(self, path: str, /) -> int:
        """Return the id of a connection that will be CONNECTED or CLOSED."""

    def bind_udp(self, host: str, port: int, reuse_port: bool, /) -> int:
        """Return the id of a datagram socket."""

    def connect_udp(self, host: str, port: int, /) -> int:
        """Return the id of a datagram socket with one peer."""

    def local_address(self, ident: int, /) -> str:
        """Return our end's address."""

    def close(self) -> None:
        """Close every channel and give the buffers back. No events follow."""


class _BridgeModule(typing.Protocol):
    def missing(self) -> str:
        """Return why the bridge cannot be used here, in one line; "" if it can."""

    def make_bridge(self) -> Bridge:
        """Return a new bridge, starting a JVM if there is none.

        Raises:
            ConfigurationError: there is no JVM, no Java side of ours, or no descriptor for it.
        """


def find_bridge() -> _BridgeModule:
    """Return the module that makes bridges in this process.

    Raises:
        ImportError: nothing that reaches Java is installed.
    """
    try:
        return importlib.import_module(_BRIDGES[0])
    except ImportError:  # we are not inside a Java program
        return importlib.import_module(_BRIDGES[1])


def what_is_missing() -> str:
    """Return why there can be no bridge, in one line; "" if there can. Starts nothing."""
    try:
        return find_bridge().missing()
    except ImportError as exc:
        return f"{exc}; pip install jpype1 brings it"
