"""Heads, dates and pages: nothing breaks out of its line or its markup."""

from __future__ import annotations

import typing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portable.errors import LocalProtocolError
from protocols.http.dates import format_date, parse_date
from protocols.http.encoder import Head, HeadEncoder, encode_chunk, encode_fields, encode_last_chunk
from protocols.http.headers import Headers
from protocols.http.messages import Response
from protocols.http.request import Request, decode_segments
from protocols.http.resource import Page, Tree, error_page, redirect
from protocols.http.rules import RefusedRequest

if typing.TYPE_CHECKING:
    from protocols.http.resource import Rendered


class Endless:
    length = None

    def next_chunk(self) -> bytes:
        return b"x"

    def close(self) -> None:
        pass


def encode(response: Response, *, method: str = "GET", is_1_1: bool = True, keep_alive: bool = True) -> Head:
    return HeadEncoder("S", lambda: 0.0).encode(response, method=method, is_1_1=is_1_1, keep_alive=keep_alive)


PREFIX = b"HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nServer: S\r\n"


def test_a_head() -> None:
    head = encode(Response(200, [("X", "y")], b"abc"))
    assert head == Head(PREFIX + b"X: y\r\nContent-Length: 3\r\n\r\n", True, False, True)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X", "a\r\nSet-Cookie: b"),
        ("X", "a\nb"),
        ("X", "a\rb"),
        ("X", "a\x00b"),
        ("X", "\u20ac"),
        ("X", "a\u2028b"),
        ("X", "a\u560d\u560ab"),
        ("X\r\nY", "a"),
        ("X: Y", "a"),
        ("X Y", "a"),
        ("", "a"),
        ("X\x85", "a"),
    ],
)
def test_no_field_breaks_out_of_its_line(name: str, value: str) -> None:
    with pytest.raises(LocalProtocolError):
        encode(Response(200, [(name, value)]))
    with pytest.raises(LocalProtocolError):
        encode_last_chunk(Headers([(name, value)]))


@given(st.text(max_size=8), st.text(max_size=8))
def test_whatever_is_encoded_is_one_line(name: str, value: str) -> None:
    try:
        line = encode_fields([(name, value)])
    except LocalProtocolError:
        return
    assert line == f"{name}: {value}\r\n"
    assert not set(line[:-2]) & set("\r\n\0")
    assert len(line.encode("latin-1").splitlines()) <= 2


@pytest.mark.parametrize(
    "response",
    [
        Response(200, [("Transfer-Encoding", "chunked")]),
        Response(200, [("Connection", "keep-alive")]),
        Response(200, [("Connection", "upgrade")]),
        Response(200, [("Upgrade", "h2c")]),
        Response(200, [("Keep-Alive", "timeout=5")]),
        Response(200, [("Content-Length", "5")], b"four"),
        Response(200, [("Content-Length", "+4")], b"four"),
        Response(304, [("Content-Length", "\xb2")]),
        Response(204, body=b"x"),
        Response(304, body=b"x"),
        Response(100),
        Response(199),
        Response(600),
        Response(0),
    ],
    ids=repr,
)
def test_responses_that_contradict_themselves(response: Response) -> None:
    with pytest.raises(LocalProtocolError):
        encode(response)


def test_fields_a_resource_may_set_itself() -> None:
    head = encode(
        Response(200, [("Date", "x"), ("Server", "y"), ("Content-Length", "1"), ("Connection", "close")], b"z")
    )
    assert head.data == (
        b"HTTP/1.1 200 OK\r\nDate: x\r\nServer: y\r\nContent-Length: 1\r\nConnection: close\r\n\r\n"
    )
    assert not head.keep_alive
    assert b"Content-Length: 99\r\n" in encode(Response(304, [("Content-Length", "99")])).data
    assert encode(Response(200, [("Server", "y"), ("Date", "x")])).data.count(b"Date") == 1


def test_an_unknown_status_has_no_phrase() -> None:
    assert encode(Response(299)).data.startswith(b"HTTP/1.1 299 \r\n")


def test_streams() -> None:
    stream = Endless()
    assert encode(Response(200, body=stream)) == Head(
        PREFIX + b"Transfer-Encoding: chunked\r\n\r\n", True, True, True
    )
    assert encode(Response(200, body=stream), is_1_1=False) == Head(
        PREFIX + b"Connection: close\r\n\r\n", True, False, False
    )
    assert encode(Response(200, body=stream), is_1_1=False, method="HEAD") == Head(
        PREFIX + b"Connection: keep-alive\r\n\r\n", False, False, True
    )
    assert not encode(Response(304, body=stream)).has_body


def test_chunks() -> None:
    assert encode_chunk(b"x" * 26) == b"1a\r\n" + b"x" * 26 + b"\r\n"
    assert encode_last_chunk(None) == b"0\r\n\r\n"


# Dates.

EXAMPLE = 784111777


@pytest.mark.parametrize(
    "text",
    ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"],
)
def test_the_three_formats_of_rfc_9110(text: str) -> None:
    assert parse_date(text, now=1e9) == EXAMPLE


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Sun, 06 Nov 1994 08:49:37",
        "Sun, 06 Nov 1994 08:49:37 UTC",
        "Sun, 32 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 24:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:61 GMT",
        "Sun, 06 Nov 0000 08:49:37 GMT",
        "Sun, 6 Nov 1994 08:49:37 GMT",
        "sun, 06 nov 1994 08:49:37 gmt",
        "Sun Nov   08:49:37 1994",
        "Sun, 06 Nov 1994 08:49:37 GMT ",
    ],
)
def test_what_is_no_date(text: str) -> None:
    assert parse_date(text) is None


def test_years_of_two_digits_and_leap_seconds() -> None:
    assert parse_date("Monday, 01-Jan-30 00:00:00 GMT", now=1767225600) == 1893456000
    assert parse_date("Monday, 01-Jan-90 00:00:00 GMT", now=1767225600) == 631152000
    assert parse_date("Sat, 31 Dec 2016 23:59:60 GMT") == 1483228799
    assert parse_date("Monday, 01-Jan-90 00:00:00 GMT") is not None


@given(st.integers(min_value=0, max_value=250000000000))
def test_dates_come_back(seconds: int) -> None:
    assert parse_date(format_date(seconds)) == seconds


# Paths, pages, redirects.


@pytest.mark.parametrize(
    ("path", "segments"),
    [
        ("/", []),
        ("/a", ["a"]),
        ("/a/", ["a"]),
        ("/a/b%20c", ["a", "b c"]),
        ("/%C3%A9", ["\xe9"]),
        ("/%2541", ["%41"]),
        ("/...", ["..."]),
        ("/a;b", ["a;b"]),
    ],
)
def test_segments(path: str, segments: list[str]) -> None:
    assert decode_segments(path) == segments
    request = Request("GET", path, Headers())
    assert request.segments is request.segments


@pytest.mark.parametrize(
    ("path", "rule"),
    [
        ("/..", "path-escape"),
        ("/a/../b", "path-escape"),
        ("/%2e%2E", "path-escape"),
        ("/.%2e/", "path-escape"),
        ("/a%2fb", "path-escape"),
        ("/a%5cb", "path-escape"),
        ("/..\\x", "path-escape"),
        ("/a%00b", "path-escape"),
        ("/a%0ab", "path-escape"),
        ("/a%7f", "path-escape"),
        ("/%", "path-encoding"),
        ("/%4", "path-encoding"),
        ("/%zz", "path-encoding"),
        ("/%u0041", "path-encoding"),
        ("/%ff", "path-encoding"),
        ("/%c0%ae%c0%ae", "path-encoding"),
        ("/%ed%a0%80", "path-encoding"),
        ("//", "path-empty"),
        ("//a", "path-empty"),
        ("/a//b", "path-empty"),
        ("/./a", "path-empty"),
        ("/%2e", "path-empty"),
    ],
)
def test_segments_that_are_refused(path: str, rule: str) -> None:
    with pytest.raises(RefusedRequest) as caught:
        decode_segments(path)
    assert caught.value.rule == rule


@given(st.text(alphabet="/.%2eEfF5cC0\\a~", max_size=12))
def test_no_segment_leads_elsewhere(rest: str) -> None:
    try:
        segments = decode_segments("/" + rest)
    except RefusedRequest:
        return
    assert not {"", ".", ".."} & set(segments)
    assert not any("/" in segment or "\\" in segment or "\0" in segment for segment in segments)


def rendered(response: Rendered) -> Response:
    assert isinstance(response, Response)
    return response


def page(response: Rendered) -> str:
    body = rendered(response).body
    assert isinstance(body, bytes)
    return body.decode()


def test_pages_escape_everything() -> None:
    assert "&lt;script&gt;&quot;" in page(error_page(404, '<script>"'))
    assert "418 Error" in page(error_page(418))
    # Elsewhere than on the root it has no effect on the background.
    assert "<style>html{color-scheme:light dark}" in page(error_page(418))


@pytest.mark.parametrize(
    ("location", "sent"),
    [
        ("/a/b?c=d&e", "/a/b?c=d&e"),
        ("http://h/x#y", "http://h/x#y"),
        ("//evil.example/", "/evil.example/"),
        ("///evil.example/", "/evil.example/"),
        ("/\\evil.example", "/%5Cevil.example"),
        ("/a\r\nSet-Cookie: b", "/a%0D%0ASet-Cookie:%20b"),
        ('/"><script>', "/%22%3E%3Cscript%3E"),
        ("/\u20ac", "/%E2%82%AC"),
        ("/\ud800", "/%3F"),
        ("/%41", "/%41"),
    ],
)
def test_redirects(location: str, sent: str) -> None:
    response = redirect(location)
    assert response.headers.get("location") == sent
    assert "<script>" not in page(response)
    encode(response)


def ask(resource: Page | Tree, method: str, target: str = "/") -> Response:
    return rendered(resource.render(Request(method, target, Headers())))


def test_a_page_answers_its_methods_only() -> None:
    resource = Page(lambda request: Response(200, body=request.method.encode()), ("GET", "POST"))
    assert ask(resource, "GET").body == b"GET"
    assert ask(resource, "HEAD").body == b"HEAD"
    assert ask(resource, "POST").body == b"POST"
    assert ask(resource, "OPTIONS").headers.get("allow") == "GET, HEAD, OPTIONS, POST"
    assert ask(resource, "PUT").status == 405
    assert ask(resource, "PUT").headers.get("allow") == "GET, HEAD, OPTIONS, POST"
    assert resource.child("x", Request("GET", "/x", Headers())) is None
    assert ask(Page(lambda request: Response(), ["POST"]), "HEAD").status == 405


def test_a_tree_is_like_a_folder() -> None:
    tree = Tree(Page(lambda request: Response(200, body=b"index")))
    assert ask(tree, "GET", "/t/").body == b"index"
    moved = ask(tree, "GET", "/t?q")
    assert (moved.status, moved.headers.get("location")) == (308, "/t/?q")
    assert ask(tree, "GET", "/t").headers.get("location") == "/t/"
    assert ask(Tree(), "GET").status == 404
    for name in ("", ".", "..", "a/b", "a\\b", "a\0"):
        with pytest.raises(ValueError, match="no path"):
            tree.put_child(name, Tree())
