"""What an access log is told."""

from __future__ import annotations

import typing

if typing.TYPE_CHECKING:
    from portable.transport import Address

__all__ = ["AccessRecord"]


class AccessRecord(typing.NamedTuple):
    """One request as it went, for an access log. Escape what the client said: target, referer and user agent.

    Attributes:
        peer: the client's address, as the transport says.
        time: when the request's head was complete, in seconds since 1970.
        method, target: "" where a line of the head was refused, or the time was up before it was whole.
        version: "HTTP/1.1", "HTTP/1.0" or "".
        status: of the answer; 499 if the client was gone before there was one.
        bytes_sent: of the body, without head and coding.
        referer, user_agent: None where the request has none.
        duration: seconds from `time` until the answer was complete and with the transport.
    """

    peer: Address | str | None
    time: float
    method: str
    target: str
    version: str
    status: int
    bytes_sent: int
    referer: str | None
    user_agent: str | None
    duration: float
