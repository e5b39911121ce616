"""What may differ between two runs of the same server, taken out: as little as possible."""

from __future__ import annotations

import dataclasses
import re
import struct
import typing

from ci.acceptance.record import Conversation, Transcript

if typing.TYPE_CHECKING:
    from collections.abc import Callable

    from ci.acceptance.record import View

__all__ = [
    "any_time_received",
    "apply",
    "boundaries",
    "distinct_answers",
    "first_bytes",
    "http_dates",
    "length_of_pattern",
    "log_lines",
    "mask",
    "one_chunk",
    "only_seen",
    "tls_handshake",
    "without_lines",
]

_DAYS = rb"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
_MONTHS = rb"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"


def apply(views: tuple[View, ...], transcript: Transcript) -> Transcript:
    """Return the transcript seen through all the views."""
    for view in views:
        transcript = view(transcript)
    return transcript


def _each(change: Callable[[bytes], bytes], received_only: bool = False) -> View:
    """Return a view that changes every piece, and what the client saw."""

    def view(transcript: Transcript) -> Transcript:
        conversations = tuple(
            dataclasses.replace(
                each,
                sent=each.sent if received_only else tuple(map(change, each.sent)),
                received=tuple(map(change, each.received)),
            )
            for each in transcript.conversations
        )
        return Transcript(conversations, change(transcript.seen))

    return view


def mask(pattern: bytes, replacement: bytes) -> View:
    """Replace what the pattern finds, in what the server sent and what the client saw."""
    compiled = re.compile(pattern, re.MULTILINE)
    return _each(lambda data: compiled.sub(replacement, data), received_only=True)


# Only in a header, and only if it is an IMF-fixdate (RFC 9110 5.6.7): any other form shows.
http_dates = mask(
    rb"^Date: " + _DAYS + rb", \d\d " + _MONTHS + rb" \d{4} \d\d:\d\d:\d\d GMT(?=\r?$)", b"Date: <date>"
)


def _boundaries(data: bytes) -> bytes:
    for number, found in enumerate(re.findall(rb"multipart/byteranges; boundary=([0-9A-Za-z]+)\r?\n", data)):
        # As long as it was: a Content-Length that does not fit still shows.
        data = data.replace(found, b"<boundary %d, %d characters>" % (number, len(found)))
    return data


# They are random, so that nobody can put one into a file.
boundaries = _each(_boundaries, received_only=True)

_COUNTED = re.compile(rb"^(\S+ .*?)\d+ (\w+\(s\)).*\n", re.MULTILINE)


def _first_of_each_count(data: bytes) -> bytes:
    found: set[tuple[bytes, bytes]] = set()

    def keep(line: re.Match[bytes]) -> bytes:
        what = (line[1], line[2])
        if what in found:
            return b""
        found.add(what)
        return line[0]

    return _COUNTED.sub(keep, data)


# Time stamps, ports that the system chose ("127.0.0.1:0" would show), and a word about whoever runs the tests.
# Of lines that count what happened within a second only the first: the others depend on the clock.
log_lines: tuple[View, ...] = (
    mask(rb"^.* running as root: name a user with --uid\n", b""),
    mask(rb"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}Z ", b"<time> "),
    mask(rb"(127\.0\.0\.1|\[::1?\]):[1-9]\d*\b", rb"\1:<port>"),
    _each(_first_of_each_count),
)


_CHUNKED = re.compile(rb"transfer-encoding: chunked\r\n(?:[^\r\n]+\r\n)*\r\n", re.IGNORECASE)
_CHUNK = re.compile(rb"([0-9a-f]+)\r\n")


def _one_chunk(data: bytes) -> bytes:
    found = _CHUNKED.search(data)
    if found is None:
        return data
    place = found.end()
    body = b""
    while chunk := _CHUNK.match(data, place):
        size = int(chunk.group(1), 16)
        place = chunk.end() + size + 2
        if data[place - 2 : place] != b"\r\n":
            # Cut, or no chunk at all: shown as it is.
            return data
        if not size:
            return b"%s<%d bytes in chunks>\r\n%s%s" % (data[: found.end()], len(body), body, data[place:])
        body += data[chunk.end() : place - 2]
    return data


# Of what a program writes bit by bit, it is chance how much is sent on at once. For one answer a connection.
one_chunk = _each(_one_chunk, received_only=True)


def without_lines(part: bytes) -> View:
    """Leave out lines that have this in them."""
    return mask(rb"^.*" + re.escape(part) + rb".*\n", b"")


def first_bytes(count: int) -> View:
    """Keep only so much of what the server sent: for what the client cuts off. How it ended is left out."""

    def view(transcript: Transcript) -> Transcript:
        conversations = tuple(
            dataclasses.replace(each, received=(b"".join(each.received)[:count],), end="")
            for each in transcript.conversations
        )
        return Transcript(conversations, transcript.seen)

    return view


def only_seen(transcript: Transcript) -> Transcript:
    """Keep only what the client saw."""
    return Transcript((), transcript.seen)


def distinct_answers(transcript: Transcript) -> Transcript:
    """Keep the different HTTP answers only: for clients whose connections and requests come in any order."""
    answers: set[bytes] = set()
    for each in transcript.conversations:
        answers.update(re.split(rb"(?=HTTP/1\.[01] \d\d\d )", b"".join(each.received)))
    answers.discard(b"")
    ends = ",".join(sorted({each.end for each in transcript.conversations}))
    made = tuple(Conversation("any", "tcp", (), (answer,), ends) for answer in sorted(answers))
    return Transcript(made, transcript.seen)


def any_time_received(size: int) -> View:
    """Replace an answer that is nothing but a binary number of `size` bytes."""
    return _each(lambda data: b"<%d bytes>" % size if len(data) == size else data, received_only=True)


def length_of_pattern(pattern: bytes, most: int) -> View:
    """Replace answers that are the beginning of `pattern`, of any length up to `most`."""

    def change(data: bytes) -> bytes:
        return b"<pattern>" if len(data) <= most and pattern.startswith(data) else data

    return _each(change, received_only=True)


def tls_handshake(*ports: str) -> View:
    """On these ports, keep only the ServerHello: the rest is encrypted or random.

    An end and a reset are one: a client answers close_notify by its own, and if that comes after the server has
    closed, the kernel resets. Whether the stream was whole is for the client to tell (RFC 8446 6.1).
    """

    def view(transcript: Transcript) -> Transcript:
        conversations = tuple(
            dataclasses.replace(
                each,
                sent=(),
                received=(describe_hello(b"".join(each.received)),),
                end="eof or reset" if each.end in {"eof", "reset"} else each.end,
            )
            if each.port in ports
            else each
            for each in transcript.conversations
        )
        return Transcript(conversations, transcript.seen)

    return view


def describe_hello(data: bytes) -> bytes:
    """Return version, cipher and extensions of the ServerHello that a stream begins with (RFC 8446 4.1.3)."""
    if len(data) < 9 or data[0] != 22 or data[5] != 2:
        return b"no ServerHello: " + data[:32]
    try:
        version, session = struct.unpack_from("!H32xB", data, 9)
        place = 9 + 35 + session
        cipher, compression, length = struct.unpack_from("!HBH", data, place)
        place += 5
        end = place + length
        parts = [f"ServerHello {version:#06x}, cipher {cipher:#06x}, compression {compression}"]
        while place < end:
            kind, size = struct.unpack_from("!HH", data, place)
            place += 4
            # supported_versions says what was chosen, ALPN too; key_share is random.
            value = data[place : place + size].hex() if kind in {16, 43} else f"{size} bytes"
            parts.append(f"extension {kind}: {value}")
            place += size
    except struct.error:
        return b"a ServerHello that is cut: " + data[:64]
    return "\n".join(parts).encode("ascii") + b"\n"
