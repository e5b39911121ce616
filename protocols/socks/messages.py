"""What all versions of SOCKS have in common: a request, and what becomes of it."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass

from portable.errors import RemoteProtocolError

__all__ = ["MAX_HOST", "Command", "Outcome", "Refused", "Reply", "Request", "read_host"]

# Bytes. What one octet of SOCKS 5 can count (RFC 1928 5), and as long as a name in the DNS can be (RFC 1035
# 2.3.4); SOCKS 4a sets no limit.
MAX_HOST = 255

# A resolver may know names that are not host names, and write others into its queries and logs as they are. The
# colon is for IPv6 addresses given as a name.
_HOST = re.compile(rb"[A-Za-z0-9._:-]+\Z")


class Command(enum.IntEnum):
    """What a client wants."""

    CONNECT = 1
    BIND = 2
    UDP_ASSOCIATE = 3  # SOCKS 5 only


class Outcome(enum.Enum):
    """What has come of a request. SOCKS 4 tells these apart only in part."""

    GRANTED = "granted"
    FAILED = "general failure"
    FORBIDDEN = "not allowed by the rules"
    NETWORK_UNREACHABLE = "the network cannot be reached"
    HOST_UNREACHABLE = "the host cannot be reached"
    CONNECTION_REFUSED = "the connection was refused"
    TIMED_OUT = "it took too long"
    UNKNOWN_COMMAND = "the command is not supported"
    UNKNOWN_ADDRESS_TYPE = "the type of address is not supported"
    NO_IDENT = "the client's identd cannot be asked"
    WRONG_USER = "the client's identd names another user"


class Refused(RemoteProtocolError):
    """The peer asked for what it does not get.

    Attributes:
        outcome: what it is told.
    """

    def __init__(self, reason: str, outcome: Outcome = Outcome.FAILED) -> None:
        super().__init__(reason)
        self.outcome = outcome


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asks for.

    Attributes:
        version: "4", "4a" or "5".
        command: one of `Command`, or a number that means nothing.
        host: a literal address or a name, as it was sent. Of BIND: whose connection to wait for.
        port: of that host.
        user: of SOCKS 4: who the client says its user is, one character for each octet.
    """

    version: str
    command: int
    host: str
    port: int
    user: str = ""


@dataclass(frozen=True, slots=True)
class Reply:
    """What a proxy answers.

    Attributes:
        outcome: what has come of the request.
        host: the proxy's address towards the target; of BIND: where it waits, and then who came.
        port: likewise.
    """

    outcome: Outcome
    host: str
    port: int


def read_host(data: bytes) -> str:
    """Return the host that a client has named.

    Raises:
        Refused: it is empty, too long, or has an octet that stands in no host name, NUL for one.
    """
    if len(data) > MAX_HOST or _HOST.match(data) is None:
        raise Refused(f"not the name of a host: {data[:MAX_HOST]!r}")
    return data.decode("ascii")
