"""Finger (RFC 1288): who somebody is, by one line of question and some lines of answer. Server and client.

What may be asked, and what it means, is in `Query`. Nothing that a terminal might obey passes either way: a
query with such a character is refused, and in an answer, whoever wrote it, "?" stands for it (`filter_text`).
"""

from __future__ import annotations

import logging
import typing
import unicodedata
from dataclasses import dataclass

from portable.deferred import ensure_deferred
from portable.errors import LocalProtocolError, RemoteProtocolError
from portable.framing import LineEnding, LineReader
from portable.protocol import Protocol
from protocols.oneanswer import fetch

if typing.TYPE_CHECKING:
    from portable.clock import Clock, Timer
    from portable.deferred import Deferred
    from portable.errors import TransportError
    from portable.transport import Transport
    from protocols.oneanswer import Network

__all__ = [
    "MAX_ANSWER",
    "MAX_QUERY",
    "PORT",
    "FingerParser",
    "FingerServer",
    "Query",
    "decode_answer",
    "encode_answer",
    "encode_query",
    "fetch_finger",
    "filter_text",
]

PORT = 79
# Bytes. RFC 1288 sets no limit. One is needed, or a peer could fill our memory.
MAX_QUERY = 512
# Bytes that a client accepts: a hundred pages, more than anybody's plan.
MAX_ANSWER = 256 * 1024
# Seconds from the connection to the end of the query: time for a person to type it.
QUERY_TIMEOUT = 30.0
# Seconds in which the answer must have been found. Home folders may lie on a network that is down.
ANSWER_TIMEOUT = 20.0
# Seconds that the client has for closing first, so that nothing it sent too much resets the connection.
LINGER = 2.0
# Seconds in which a client must have taken the answer.
SEND_TIMEOUT = 60.0

NOT_A_QUERY = f"A query is one line of at most {MAX_QUERY} bytes, without control characters."
NO_ANSWER = "This cannot be answered now."

# What a terminal might obey, and what shows nothing or another order than it has: control and format
# characters (U+202E turns text around), halves of pairs, private and unassigned ones, line separators.
_UNPRINTABLE = frozenset(["Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"])

_log = logging.getLogger("protocols.finger")


@dataclass(frozen=True, slots=True)
class Query:
    """One question (RFC 1288 2.3).

    Attributes:
        user: who is asked for; "" for everybody who is there, {C}.
        hosts: whom to ask, in the order of the query: "user@a@b" asks b to ask a, {Q2}. () for the server
            itself, {Q1}.
        verbose: whether more than usual is wanted, {W}.
    """

    user: str
    hosts: tuple[str, ...] = ()
    verbose: bool = False

    def __str__(self) -> str:
        """Return the query as it is sent, without its line end."""
        who = "@".join([self.user, *self.hosts])
        return ("/W " + who).rstrip(" ") if self.verbose else who


class FingerParser:
    """Turns bytes into a `Query`. Knows no transport, clock or file."""

    def __init__(self) -> None:
        # RFC 1288 2.3 asks for CR LF; programs that send LF alone are older.
        self._lines = LineReader(MAX_QUERY, LineEnding.LENIENT)

    def receive_data(self, data: bytes) -> None:
        """Buffer `data`. Never raises: see `next_event`."""
        self._lines.receive_data(data)

    def next_event(self) -> Query | None:
        """Return the query, or None if more bytes are needed.

        Raises:
            RemoteProtocolError: it exceeds MAX_QUERY bytes, or has a control character.
        """
        line = self._lines.next_line()
        if line is None:
            return None
        text = line.decode("utf-8", "replace").replace("\t", " ").strip(" ")
        if filter_text(text) != text:
            raise RemoteProtocolError("a query with a control character")
        token, _, rest = text.partition(" ")
        # RFC 1288 2.5.4: "/W" asks for a longer answer.
        verbose = token.upper() == "/W"
        user, *hosts = (rest if verbose else text).strip(" ").split("@")
        return Query(user, tuple(hosts), verbose)


class FingerServer(Protocol):
    """Answers one query and closes.

    Args:
        answer: a coroutine that gives the text, lines separated by LF; it is filtered and encoded here. An
            error is logged, and told to nobody. Cancelled when the client goes, or after ANSWER_TIMEOUT.
        clock: for the time limits.
    """

    _transport: Transport

    def __init__(self, answer: Answer, clock: Clock) -> None:
        self._parser = FingerParser()
        self._answer = answer
        self._clock = clock
        self._timer: Timer | None = None
        self._answering: Deferred[str] | None = None
        self._taken = False
        self._peer_ended = False
        self._lost = False

    def connection_made(self, transport: Transport) -> None:
        """See `Protocol.connection_made`."""
        self._transport = transport
        self._timer = self._clock.call_later(QUERY_TIMEOUT, transport.abort)

    def data_received(self, data: bytes) -> None:
        """Take the query; what follows it is dropped."""
        if self._taken:
            return
        self._parser.receive_data(data)
        peer = self._transport.get_extra_info("peername")
        try:
            query = self._parser.next_event()
        except RemoteProtocolError as error:
            _log.info("%s: refused: %s", peer, error)
            self._taken = True
            self._send(NOT_A_QUERY)
            return
        if query is None:
            return
        self._taken = True
        # RFC 1288 3.2.7: who asks what is to be seen. The parser lets nothing through that forges a line.
        _log.info("%s: asks for %r", peer, str(query))
        self._cancel_timer()
        answering: Deferred[str] = ensure_deferred(self._answer(query))
        self._answering = answering.timeout(ANSWER_TIMEOUT, self._clock)
        answering.add_callbacks(self._send, self._failed)

    def eof_received(self) -> bool:
        """Stay as long as an answer is being made."""
        self._peer_ended = True
        return self._answering is not None

    def connection_lost(self, exc: TransportError | None) -> None:
        """See `Protocol.connection_lost`."""
        self._lost = True
        self._cancel_timer()
        if self._answering is not None:
            self._answering.cancel()

    def drain(self) -> None:
        """Close, unless a query was taken: its answer ends the connection by itself."""
        if not self._taken:
            self._transport.close()

    def _failed(self, error: Exception) -> None:
        if not self._lost:
            _log.error("a query could not be answered", exc_info=error)
            self._send(NO_ANSWER)

    def _send(self, text: str) -> None:
        self._answering = None
        self._cancel_timer()
        self._transport.write(encode_answer(text))
        if self._peer_ended or not self._transport.can_write_eof():
            self._close()
        else:
            self._transport.write_eof()
            self._timer = self._clock.call_later(LINGER, self._close)

    def _close(self) -> None:
        self._transport.close()
        self._timer = self._clock.call_later(SEND_TIMEOUT, self._transport.abort)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def filter_text(text: str, *, international: bool = True) -> str:
    """Return `text` with "?" for every character that a terminal might obey. LF and tab stay.

    Args:
        international: False leaves printing ASCII only, which RFC 1288 3.3 asks of clients by default.
    """
    if text.isascii() and text.isprintable():
        return text
    kept: list[str] = []
    for character in text:
        if " " <= character <= "~" or character in "\n\t":
            allowed = True
        else:
            allowed = international and unicodedata.category(character) not in _UNPRINTABLE
        kept.append(character if allowed else "?")
    return "".join(kept)


def encode_answer(text: str) -> bytes:
    """Return an answer as it is sent: filtered, in UTF-8, each line ended by CR LF."""
    lines = filter_text(text.replace("\r\n", "\n")).rstrip("\n").split("\n")
    return "".join([line + "\r\n" for line in lines]).encode("utf-8")


def decode_answer(answer: bytes, *, international: bool = False) -> str:
    """Return an answer as it is shown, lines separated by LF, filtered by `filter_text`."""
    text = answer.decode("utf-8", "replace").replace("\r\n", "\n")
    return filter_text(text, international=international)


def encode_query(query: Query) -> bytes:
    """Return `query` as it is sent.

    Raises:
        LocalProtocolError: it has a line end or another control character, an "@" inside a name, looks like
            "/W" or is too long: the server would understand something else.
    """
    line = str(query).encode("utf-8", "replace") + b"\r\n"
    server = FingerParser()
    server.receive_data(line)
    try:
        understood = server.next_event()
    except RemoteProtocolError as error:
        raise LocalProtocolError(f"cannot ask {str(query)!r}: {error}") from error
    if understood != query:
        raise LocalProtocolError(f"cannot ask {query!r}: a server would understand {understood!r}")
    return line


def fetch_finger(
    reactor: Network,
    host: str,
    query: Query,
    *,
    port: int = PORT,
    seconds: float = 30.0,
    international: bool = False,
) -> Deferred[str]:
    """Ask the server at `host`, and return its answer, lines separated by LF, filtered by `filter_text`.

    Args:
        seconds: for everything.
        international: see `filter_text`.

    Returns:
        The answer. Fails as `fetch`.

    Raises:
        LocalProtocolError: as `encode_query`.
    """
    return fetch(reactor, host, port, MAX_ANSWER, seconds, encode_query(query)).add_callback(
        lambda answer: decode_answer(answer, international=international)
    )


if typing.TYPE_CHECKING:
    # What a server knows.
    Answer = typing.Callable[[Query], typing.Coroutine[typing.Any, typing.Any, str]]
