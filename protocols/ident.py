"""Ident (RFC 1413), client side: asks a machine which of its users has a connection to us.

The answer is worth as much as that machine is trusted.
"""

from __future__ import annotations

import re
import typing
from dataclasses import dataclass

from portable.deferred import Deferred, ensure_deferred
from portable.errors import ConnectionLost, RemoteProtocolError
from portable.framing import LineEnding, LineReader
from portable.protocol import Protocol

if typing.TYPE_CHECKING:
    from portable.clock import Clock
    from portable.errors import TransportError
    from portable.reactor import Streams
    from portable.transport import Address, Transport

    class StreamsAndClock(Streams, Clock, typing.Protocol):
        """What is needed of a reactor."""


__all__ = ["MAX_LINE", "PORT", "Identified", "NotIdentified", "ask", "encode_query", "parse_answer"]

PORT = 113
# Bytes; RFC 1413 6, note 2, lets a client give up after as many.
MAX_LINE = 1000
# Seconds for everything. RFC 1413 2 would wait 30, but whoever asks has a client waiting.
TIMEOUT = 10.0

# White space may stand around every token, and is part of a user id (RFC 1413 6, note 1).
_ANSWER = re.compile(
    rb"[ \t]*([0-9]{1,5})[ \t]*,[ \t]*([0-9]{1,5})[ \t]*:[ \t]*"
    rb"(?:(USERID)[ \t]*:[ \t]*([^:, \t][^:,]*?)[ \t]*(?:,[^:]*)?:([^\0\r]+)"
    rb"|(ERROR)[ \t]*:[ \t]*([^ \t:]+)[ \t]*)\Z",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Identified:
    """The connection is a user's.

    Attributes:
        system: "UNIX", or "OTHER" where the user id is no login name.
        user: one character for each octet, without the space that most servers put before it.
    """

    system: str
    user: str


@dataclass(frozen=True, slots=True)
class NotIdentified:
    """The server does not say. `reason` is its word: NO-USER, HIDDEN-USER, INVALID-PORT, UNKNOWN-ERROR, X..."""

    reason: str


def encode_query(server_port: int, client_port: int) -> bytes:
    """Return the question who has the connection between a port of the server's machine and one of ours."""
    return f"{server_port}, {client_port}\r\n".encode("ascii")


def parse_answer(line: bytes, server_port: int, client_port: int) -> Identified | NotIdentified:
    """Return what an answer, without its line ending, says.

    Raises:
        RemoteProtocolError: it is none, or one to another question.
    """
    found = _ANSWER.match(line)
    if found is None:
        raise RemoteProtocolError(f"not an answer of an identd: {line[:80]!r}")
    if (int(found.group(1)), int(found.group(2))) != (server_port, client_port):
        raise RemoteProtocolError("an identd answered another question")
    if found.group(3):
        user = found.group(5).decode("latin-1")
        return Identified(found.group(4).decode("latin-1").upper(), user[1:] if user[0] == " " else user)
    return NotIdentified(found.group(7).decode("latin-1").upper())


class _Question(Protocol):
    """One question on a connection of its own."""

    def __init__(self, server_port: int, client_port: int) -> None:
        self.answer: Deferred[Identified | NotIdentified] = Deferred()
        self.transport: Transport
        self._ports = (server_port, client_port)
        self._lines = LineReader(MAX_LINE, LineEnding.LENIENT)

    def connection_made(self, transport: Transport) -> None:
        """Ask."""
        self.transport = transport
        transport.write(encode_query(*self._ports))

    def data_received(self, data: bytes) -> None:
        """Take the answer; what follows it is dropped."""
        if self.answer.called:
            return
        self._lines.receive_data(data)
        try:
            line = self._lines.next_line()
            if line is not None:
                self.answer.callback(parse_answer(line, *self._ports))
        except RemoteProtocolError as error:
            self.answer.errback(error)

    def connection_lost(self, exc: TransportError | None) -> None:
        """Say so, if there was no answer."""
        if not self.answer.called:
            self.answer.errback(exc or ConnectionLost("the identd ended the connection without an answer"))


def ask(
    reactor: StreamsAndClock, peer: Address, local: Address, *, port: int = PORT, timeout: float = TIMEOUT
) -> Deferred[Identified | NotIdentified]:
    """Ask the machine of `peer` who has its connection to `local`, which is one of our addresses.

    Args:
        port: of the identd.
        timeout: seconds for everything.

    Returns:
        The answer. Fails with a TransportError or TimedOut if there is none, with RemoteProtocolError if it
        makes no sense.
    """

    async def run() -> Identified | NotIdentified:
        # From the address that the peer is connected to: that is how an identd finds the connection.
        question = await reactor.connect(
            lambda: _Question(peer.port, local.port), peer.host, port, timeout=timeout, local_host=local.host
        )
        try:
            return await question.answer
        finally:
            question.transport.close()

    return ensure_deferred(run()).timeout(timeout, reactor)
