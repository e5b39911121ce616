"""The request parser: what it reads, and that no cut of the stream changes it."""

from __future__ import annotations

import typing

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from portable.testing import ManualClock, MemoryTransport
from protocols.http.headers import Headers
from protocols.http.limits import Limits
from protocols.http.messages import Response
from protocols.http.parser import RequestParser
from protocols.http.resource import Page
from protocols.http.rules import RefusedRequest
from protocols.http.server import Site
from tests.strategies import alphabet, splits

if typing.TYPE_CHECKING:
    from protocols.http.request import Request

SMALL = Limits(
    max_request_line=40,
    max_head=90,
    max_headers=4,
    max_body=20,
    max_chunk_line=12,
    max_chunk_extensions=16,
    max_trailers=2,
    max_trailer_bytes=24,
)

WORDS = [
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"POST / HTTP/1.1\r\n",
    b"GET ",
    b"PUT /x?y ",
    b"HTTP/1.1",
    b"HTTP/1.0\r\n",
    b"HTTP/2.0",
    b"\r\n",
    b"\r\n\r\n",
    b"\r",
    b"\n",
    b" ",
    b":",
    b"\t",
    b"Host: a\r\n",
    b"Host: b:80\r\n",
    b"Content-Length: 3\r\n",
    b"Content-Length: 30\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: chunked\r\n\r\n",
    b"3\r\nabc\r\n",
    b"0\r\n",
    b"0\r\n\r\n",
    b"0\r\nX: y\r\n\r\n",
    b";x=y",
    b"abc",
    b"Expect: 100-continue\r\n",
    b"Connection: close\r\n",
    b"http://a/",
    b"*",
    b"\x00",
    b"\xff",
]

Event = tuple[object, ...]


def outcome(pieces: list[bytes], limits: Limits = SMALL) -> list[Event]:
    """Everything a parser tells: requests, whole bodies, and the rule that ended it."""
    parser = RequestParser(limits)
    events: list[Event] = []
    body: list[bytes] = []
    in_body = False
    try:
        for piece in pieces:
            parser.receive_data(piece)
            while True:
                if in_body:
                    chunk = parser.next_body()
                    if chunk is None:
                        break
                    body.append(chunk)
                    if not chunk or parser.body_ended:
                        in_body = False
                        events.append(("body", b"".join(body), parser.trailers.items()))
                else:
                    request = parser.next_request()
                    if request is None:
                        break
                    events.append(describe(request))
                    body.clear()
                    in_body = not parser.body_ended
    except RefusedRequest as error:
        events.append(("refused", error.rule, b"".join(body) if in_body else b""))
    return events


def describe(request: Request) -> Event:
    return (
        request.method,
        request.target,
        request.path,
        request.query,
        request.version,
        request.headers.items(),
        request.host,
        request.keep_alive,
        request.content_length,
        request.expects_continue,
    )


@given(stream=alphabet(WORDS), data=st.data())
@example(b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n\r\n\r\n", None)
def test_any_split_gives_the_same_events(stream: bytes, data: st.DataObject | None) -> None:
    pieces = data.draw(splits(stream)) if data is not None else [bytes([byte]) for byte in stream]
    assert outcome(pieces) == outcome([stream] if stream else [])


@given(
    head=st.sampled_from(
        [
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"PUT /x HTTP/1.1\r\nhost:a\r\ncontent-length:7\r\n\r\n",
        ]
    ),
    rest=alphabet(
        [b"3\r\nabc\r\n", b"0\r\n\r\n", b"0\r\n", b"X: y\r\n", b"\r\n", b"1;x=y\r\n", b"z\r\n", b"a", *WORDS]
    ),
    data=st.data(),
)
def test_any_split_of_a_body_gives_the_same_events(head: bytes, rest: bytes, data: st.DataObject) -> None:
    assert outcome(data.draw(splits(head + rest))) == outcome([head + rest])


@given(stream=alphabet(WORDS), data=st.data())
def test_any_split_gives_the_same_answers(stream: bytes, data: st.DataObject) -> None:
    async def answer(request: Request) -> Response:
        body = await request.body.read(15)
        return Response(200, body=request.target.encode() + b"|" + body)

    def answers(pieces: list[bytes]) -> bytes:
        clock = ManualClock()
        site = Site(Page(answer, ("GET", "POST", "PUT")), clock=clock, limits=SMALL, wall_clock=lambda: 0.0)
        transport = MemoryTransport(site(), clock)
        for piece in pieces:
            transport.receive(piece)
        clock.advance(100)
        assert transport.lost
        assert transport.lost_reason is None
        return transport.take()

    assert answers(data.draw(splits(stream))) == answers([stream])


@given(st.binary(max_size=200))
def test_garbage_is_refused_by_rule_or_waits(stream: bytes) -> None:
    outcome([stream])


def one(data: bytes, limits: Limits = Limits()) -> Request:  # noqa: B008 - frozen
    parser = RequestParser(limits)
    parser.receive_data(data)
    request = parser.next_request()
    assert request is not None
    return request


def test_a_plain_request() -> None:
    request = one(b"GET /a/b?c=d HTTP/1.1\r\nHost: Example.ORG:8080\r\nX-Odd:  \t v \t\r\nx-odd:w\r\n\r\n")
    assert describe(request) == (
        "GET",
        "/a/b?c=d",
        "/a/b",
        "c=d",
        (1, 1),
        [("host", "Example.ORG:8080"), ("x-odd", "v"), ("x-odd", "w")],
        "example.org:8080",
        True,
        0,
        False,
    )
    assert request.headers.get("X-ODD") == "v, w"


def test_http_1_0_without_fields() -> None:
    request = one(b"GET / HTTP/1.0\r\n\r\n")
    assert (request.version, request.host, request.keep_alive, len(request.headers)) == ((1, 0), "", False, 0)


def test_a_higher_minor_version_is_spoken_as_1_1() -> None:
    assert one(b"GET / HTTP/1.7\r\nHost: a\r\n\r\n").version == (1, 1)


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        (b"http://a", "/", ""),
        (b"http://a/", "/", ""),
        (b"HTTP://A/b?c", "/b", "c"),
        (b"https://a?c", "/", "c"),
    ],
)
def test_the_absolute_form(target: bytes, path: str, query: str) -> None:
    request = one(b"GET " + target + b" HTTP/1.1\r\nHost: a\r\n\r\n")
    assert (request.path, request.query, request.host) == (path, query, "a")
    assert one(b"GET " + target + b" HTTP/1.0\r\n\r\n").host == "a"


@pytest.mark.parametrize(
    "host", ["a", "a.b-c.d", "127.0.0.1", "127.0.0.1:80", "[::1]", "[2001:db8::1]:65535", "my_host", "a."]
)
def test_good_hosts(host: str) -> None:
    assert one(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()).host == host


def test_one_empty_line_may_come_before_each_request() -> None:
    request = b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"
    assert len(outcome([request * 3], Limits())) == 3


def test_the_asterisk_form() -> None:
    request = one(b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n")
    assert (request.target, request.path, request.method) == ("*", "*", "OPTIONS")


def test_limits_are_exact() -> None:
    line = b"GET /" + b"x" * 26 + b" HTTP/1.1"
    assert len(line) == SMALL.max_request_line
    rest = b"Host: a\r\nX: " + b"y" * 23 + b"\r\n\r\n"
    head = line + b"\r\n" + rest
    assert len(head) == 81
    assert outcome([head])[-1][0] == "GET"
    assert outcome([line.replace(b"xx", b"xxx", 1) + b"\r\n" + rest])[-1][1] == "target-too-long"
    largest = head.replace(b"yy", b"y" * 12, 1)
    assert len(largest) == SMALL.max_head + 1
    assert outcome([largest])[-1][0] == "GET"
    assert outcome([largest.replace(b"yy", b"yyy", 1)])[-1][1] == "headers-too-large"
    four = b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 3
    assert outcome([four + b"\r\n"])[-1][0] == "GET"
    assert outcome([four + b"X: y\r\n\r\n"])[-1][1] == "headers-too-many"


def test_the_body_may_be_as_large_as_the_limit() -> None:
    chunked = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert outcome([chunked + b"14\r\n" + b"x" * 20 + b"\r\n0\r\n\r\n"])[-1] == ("body", b"x" * 20, [])
    assert outcome([chunked + b"13\r\n" + b"x" * 19 + b"\r\n2\r\nxx"])[-1] == (
        "refused",
        "body-too-large",
        b"x" * 19,
    )


def test_what_is_left_of_a_body() -> None:
    parser = RequestParser(Limits())
    assert parser.body_left == 0
    assert parser.next_body() == b""
    parser.receive_data(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhel")
    assert parser.next_request() is not None
    assert parser.body_left == 5
    assert parser.next_body() == b"hel"
    assert (parser.body_left, parser.buffered) == (2, 0)
    parser.receive_data(b"lo")
    assert parser.next_body() == b"lo"
    assert parser.body_ended
    parser.receive_data(b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
    assert parser.next_request() is not None
    assert parser.body_left == -1


def test_trailers() -> None:
    stream = (
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        b'2 ; a = "b\\"c" ;d\r\nhi\r\n0\r\nX: y\r\n\r\n'
    )
    assert outcome([stream], Limits())[-1] == ("body", b"hi", [("x", "y")])


def test_headers() -> None:
    headers = Headers([("A", "1"), ("b", "2"), ("a", "3")])
    assert headers.get("a") == "1, 3"
    assert headers.get_all("A") == ["1", "3"]
    assert headers.get("c") is None
    assert "B" in headers
    assert "c" not in headers
    assert 1 not in headers
    assert len(headers) == 3
    copy = headers.copy()
    copy.set("A", "4")
    copy.add("c", "5")
    assert list(copy) == [("b", "2"), ("A", "4"), ("c", "5")]
    assert copy != headers
    assert headers == Headers([("a", "1"), ("B", "2"), ("A", "3")])
    assert headers != [("a", "1")]
    assert repr(copy) == "Headers([('b', '2'), ('A', '4'), ('c', '5')])"
    assert Headers([("Cookie", "a=b"), ("cookie", "c=d")]).get("cookie") == "a=b; c=d"
    with pytest.raises(TypeError):
        hash(headers)
