"""What our relay tells a publisher, and cookies there and back."""

from __future__ import annotations

from typing import Any

import pytest

from protocols.http.headers import Headers
from protocols.http.request import Request
from protocols.pb import Error, Referenceable
from protocols.servers.web.distributed.cookies import cookie_call, set_cookie
from protocols.servers.web.distributed.forms import SentRequest, relay_registry


def state(request: Request, content: bytes = b"") -> dict[str, Any]:
    found = relay_registry().state_of(SentRequest(request, 1, content, Referenceable()))
    assert found is not None
    name, attributes = found
    assert name == "twisted.web.server.Request"
    return attributes


def make(target: str, *fields: tuple[str, str], host: str = "example.com:8080") -> Request:
    request = Request("GET", target, Headers(fields))
    request.host = host
    return request


def test_the_path_is_cut_where_the_publisher_begins() -> None:
    told = state(make("/alice.twistd/a%20b/c/?x=1"))
    assert (told["prepath"], told["postpath"]) == ([b"alice.twistd"], [b"a b", b"c", b""])
    assert (told["uri"], told["path"]) == (b"/alice.twistd/a%20b/c/?x=1", b"/alice.twistd/a%20b/c/")


@pytest.mark.parametrize(
    ("host", "secure", "told"),
    [
        ("example.com:8080", False, ("INET", "example.com", 8080)),
        ("example.com", False, ("INET", "example.com", 80)),
        ("example.com", True, ("INET", "example.com", 443)),
        ("[::1]:8080", False, ("INET", "::1", 8080)),
        ("", False, ("INET", "", 80)),
    ],
)
def test_host(host: str, secure: bool, told: tuple[str, str, int]) -> None:
    request = make("/x", host=host)
    request.secure = secure
    assert state(request)["host"] == told


def test_a_peer_without_an_address() -> None:
    assert state(make("/x"))["client"] == ("INET", "", 0)


def test_fields_of_the_connection_are_not_passed_on() -> None:
    request = make(
        "/x", ("connection", "close, x-secret"), ("transfer-encoding", "chunked"), ("x-a", "1"), ("x-a", "2")
    )
    assert state(request)["requestHeaders"] == [(b"x-a", [b"1", b"2"])]


def test_fields_that_connection_names_are_not_passed_on() -> None:
    """RFC 9110 7.6.1."""
    request = make(
        "/x", ("connection", "close, X-Hop"), ("x-hop", "1"), ("connection", "x-too"), ("x-too", "2")
    )
    request.headers.add("x-a", "3")
    assert state(request)["requestHeaders"] == [(b"x-a", [b"3"])]


def test_a_body_that_came_in_chunks_goes_with_its_length() -> None:
    """RFC 9112 7.1.3."""
    request = make("/x", ("transfer-encoding", "chunked"))
    assert state(request, b"abc")["requestHeaders"] == [(b"content-length", [b"3"])]
    request = make("/x", ("content-length", "3"))
    assert state(request, b"abc")["requestHeaders"] == [(b"content-length", [b"3"])]


def test_fields_of_forms() -> None:
    form = ("content-type", "application/x-www-form-urlencoded; charset=utf-8")
    assert state(make("/x?a=1&b", form), b"a=2")["args"] == {b"a": [b"1", b"2"], b"b": [b""]}
    assert state(make("/x", form), b"a=2")["args"] == {b"a": [b"2"]}
    assert state(make("/x?" + "a&" * 2000))["args"] == {}


def test_cookies_of_a_request() -> None:
    request = make("/x", ("cookie", "a=1; b=2=3;c; =d"))
    assert state(request)["received_cookies"] == {b"a": b"1", b"b": b"2=3", b"": b"d"}


@pytest.mark.parametrize(
    ("field", "again"),
    [
        ("a=b", "a=b"),
        ("a=", "a="),
        ("a=b; Path=/; HttpOnly", "a=b; HttpOnly; Path=/"),
        ("a=b;secure;MAX-AGE=5", "a=b; Max-Age=5; Secure"),
        ("a=b; Expires=Wed, 09 Jun 2021 10:18:14 GMT", "a=b; Expires=Wed, 09 Jun 2021 10:18:14 GMT"),
        (
            "a=b; Domain=example.com; SameSite=Lax; Comment=c",
            "a=b; Comment=c; Domain=example.com; SameSite=Lax",
        ),
        ("a=b; Priority=High; Partitioned", "a=b"),
    ],
)
def test_a_cookie_there_and_back(field: str, again: str) -> None:
    args, words = cookie_call(field)
    assert set_cookie(*args, words) == again


def test_what_twisted_may_say_of_a_cookie() -> None:
    words = {"path": "/", "max_age": 5, "domain": None, "secure": False, "httpOnly": True, "unknown": b"x"}
    assert set_cookie(b"a", "\u20ac", words) == "a=\xe2\x82\xac; HttpOnly; Max-Age=5; Path=/"
    with pytest.raises(Error):
        set_cookie(b"a", 1.5, {})
