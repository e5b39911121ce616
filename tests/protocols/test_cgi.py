"""CGI (RFC 3875): what a script is told, and what its output means."""

from __future__ import annotations

import typing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portable.errors import RemoteProtocolError
from portable.testing import ManualClock
from portable.transport import Address
from protocols.cgi import MAX_FIELDS, MAX_HEAD, MAX_LINE, Head, HeadParser, environment, redirected
from protocols.http.headers import Headers
from protocols.http.request import Request
from protocols.http.rules import RefusedRequest
from tests.strategies import alphabet, splits


def request(
    target: str = "/s.cgi", method: str = "GET", host: str = "example.org:8080", **fields: str
) -> Request:
    items = [(name.replace("_", "-"), value) for name, value in fields.items()]
    made = Request(method, target, Headers(items))
    made.host = host
    made.peer = Address("192.0.2.1", 5000)
    made.local = Address("192.0.2.2", 8080)
    made.clock = ManualClock()
    return made


def told(made: Request, path_info: str = "", body_length: int = 0) -> dict[str, str]:
    return environment(
        made,
        script_name=["sub", "s.cgi"],
        path_info=path_info,
        root="/srv",
        filename="/srv/sub/s.cgi",
        body_length=body_length,
    )


# The environment.


def test_the_environment_is_this_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_OF_THE_SERVER", "x")
    made = request("/sub/s.cgi/a%20b/?q=1+%3d", "POST", accept="*/*", content_type="text/plain")
    assert told(made, "/a b/", body_length=3) == {
        "CONTENT_LENGTH": "3",
        "CONTENT_TYPE": "text/plain",
        "DOCUMENT_ROOT": "/srv",
        "GATEWAY_INTERFACE": "CGI/1.1",
        "HTTP_ACCEPT": "*/*",
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "PATH_INFO": "/a b/",
        "PATH_TRANSLATED": "/srv/a b/",
        "QUERY_STRING": "q=1+%3d",
        "REMOTE_ADDR": "192.0.2.1",
        "REMOTE_HOST": "192.0.2.1",
        "REMOTE_PORT": "5000",
        "REQUEST_METHOD": "POST",
        "REQUEST_URI": "/sub/s.cgi/a%20b/?q=1+%3d",
        "SCRIPT_FILENAME": "/srv/sub/s.cgi",
        "SCRIPT_NAME": "/sub/s.cgi",
        "SERVER_NAME": "example.org",
        "SERVER_PORT": "8080",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_SOFTWARE": "Portable",
    }


def test_what_is_not_there_is_not_told() -> None:
    environ = told(request())
    assert environ["QUERY_STRING"] == ""
    assert not {"PATH_INFO", "PATH_TRANSLATED", "CONTENT_LENGTH", "CONTENT_TYPE", "HTTPS"} & set(environ)


def test_httpoxy_and_passwords_do_not_reach_the_script() -> None:
    environ = told(
        request(
            proxy="http://evil",
            authorization="Basic eDp5",
            proxy_authorization="Basic eDp5",
            connection="x",
            transfer_encoding="chunked",
        )
    )
    assert not [name for name in environ if name.startswith("HTTP_")]
    assert "evil" not in str(environ)


def test_a_name_with_an_underscore_is_not_taken_for_another() -> None:
    made = request(x_real="true")
    made.headers.add("x_real", "forged")
    made.headers.add("proxy_", "forged")
    made.headers.add("x.y", "forged")
    assert {name: value for name, value in told(made).items() if name.startswith("HTTP_")} == {
        "HTTP_X_REAL": "true"
    }


def test_repeated_fields_are_one_variable() -> None:
    made = request(accept="a", cookie="x=1")
    made.headers.add("Accept", "b")
    made.headers.add("Cookie", "y=2")
    environ = told(made)
    assert environ["HTTP_ACCEPT"] == "a, b"
    assert environ["HTTP_COOKIE"] == "x=1; y=2"


def test_text_beyond_ascii_is_utf_8_or_left_out() -> None:
    environ = told(request(x_a="Gr\u00c3\u00bc\u00c3\u009fe", x_b="\xff"))
    assert environ["HTTP_X_A"] == "Gr\u00fc\u00dfe"
    assert "HTTP_X_B" not in environ


@pytest.mark.parametrize(
    ("host", "local", "name", "port"),
    [
        ("example.org", Address("192.0.2.2", 80), "example.org", "80"),
        ("[::1]:8080", Address("::1", 8081), "[::1]", "8081"),
        ("", Address("192.0.2.2", 80), "192.0.2.2", "80"),
        ("", Address("::1", 80), "[::1]", "80"),
        ("", "/run/x.sock", "localhost", "80"),
        ("", None, "localhost", "80"),
    ],
)
def test_the_servers_name_and_port(host: str, local: Address | str | None, name: str, port: str) -> None:
    made = request(host=host)
    made.local = local
    environ = told(made)
    assert (environ["SERVER_NAME"], environ["SERVER_PORT"]) == (name, port)


def test_a_client_on_a_unix_socket_by_tls() -> None:
    made = request(host="")
    made.peer = made.local = ""
    made.secure = True
    environ = told(made)
    assert environ["HTTPS"] == "on"
    assert environ["REMOTE_ADDR"] == ""
    assert environ["SERVER_PORT"] == "443"
    assert "REMOTE_PORT" not in environ


# The header block.


def parse(output: bytes) -> Head | None:
    parser = HeadParser()
    parser.receive_data(output)
    return parser.next_head()


def outcome(pieces: typing.Iterable[bytes]) -> object:
    parser = HeadParser()
    for piece in pieces:
        parser.receive_data(piece)
        try:
            head = parser.next_head()
        except RemoteProtocolError as error:
            return str(error)
        if head is not None:
            return head
    return None


WORDS = [
    b"Content-Type: text/html",
    b"Status: 404 No",
    b"Location: /x",
    b"Location: http://x/",
    b"Content-Length: 3",
    b"X-A: b",
    b"\n",
    b"\r\n",
    b"\r",
    b": ",
    b" ",
    b"HTTP/1.1 200 OK",
]


@given(stream=alphabet(WORDS), data=st.data())
def test_any_split_gives_the_same_head(stream: bytes, data: st.DataObject) -> None:
    assert outcome(data.draw(splits(stream))) == outcome([stream])


@given(st.binary(max_size=300))
def test_garbage_is_the_scripts_fault_only(stream: bytes) -> None:
    outcome([stream])


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_a_document(end: bytes) -> None:
    parser = HeadParser()
    parser.receive_data(end.join([b"Content-type: text/html", b"X-Other:  a b ", b"", b"body\nrest"]))
    assert parser.next_head() == Head(200, (("Content-type", "text/html"), ("X-Other", "a b")))
    assert parser.take_rest() == b"body\nrest"


@pytest.mark.parametrize(
    ("lines", "head"),
    [
        (b"Status: 404 Not here", Head(404, ())),
        (b"Status: 599", Head(599, ())),
        (b"Content-Type: a/b\nContent-Length: 12", Head(200, (("Content-Type", "a/b"),), length=12)),
        (b"Location: http://x/y?z#f", Head(302, (("Location", "http://x/y?z#f"),))),
        (b"Location: http://x/\nStatus: 307 Moved", Head(307, (("Location", "http://x/"),))),
        (b"Location: /y\nStatus: 302 Found", Head(302, (("Location", "/y"),))),
        (b"Location: y\nStatus: 302 Found", Head(302, (("Location", "y"),))),
        (b"Location: /y?z=1", Head(200, (), redirect="/y?z=1")),
        (b"Location: /y\nContent-Type: text/html", Head(200, (), redirect="/y")),
        (b"Set-Cookie: a\nSet-Cookie: b\nStatus: 200", Head(200, (("Set-Cookie", "a"), ("Set-Cookie", "b")))),
        # What is the server's to say is not passed on.
        (
            b"Status: 200\nConnection: close\nTransfer-Encoding: chunked\nServer: x\nDate: x",
            Head(200, ()),
        ),
    ],
)
def test_what_a_script_may_say(lines: bytes, head: Head) -> None:
    assert parse(lines + b"\n\n") == head


@pytest.mark.parametrize(
    ("lines", "part"),
    [
        (b"", "neither Content-Type"),
        (b"X-Other: a", "neither Content-Type"),
        (b"Content-Length: 1", "neither Content-Type"),
        (b"HTTP/1.1 200 OK\nContent-Type: a/b", "NPH"),
        (b"Content-Type: a/b\nContent-Type: a/b", "more than one content-type"),
        (b"Status: 200\nstatus: 200", "more than one status"),
        (b"Status: 101 Switching", "Status"),
        (b"Status: 600", "Status"),
        (b"Status: 20", "Status"),
        (b"Status: 2000", "Status"),
        (b"Status: OK", "Status"),
        (b"Location: y", "Location"),
        (b"Location:", "Location"),
        (b"Location: http://x/ y", "Location"),
        (b"Location: \xff\nStatus: 302", "Location"),
        (b"Status: 200\nContent-Length: -1", "Content-Length"),
        (b"Status: 200\nContent-Length: 1e3", "Content-Length"),
        (b"no colon", "line 1"),
        (b"Status: 200\n folded", "line 2"),
        (b"Status : 200", "line 1"),
        (b"Stat\xc3\xbcs: 200", "line 1"),
        (b": x", "line 1"),
        (b"Content-Type: a\x00b", "line 1"),
        (b"Content-Type: a\rb", "line 1"),
        (b"Content-Type: a\x1bb", "line 1"),
        (b"X: " + b"x" * MAX_LINE, "line of more than"),
        (b"X: y\n" * (MAX_FIELDS + 1), "header block of over"),
        ((b"X: " + b"x" * (MAX_LINE - 10) + b"\n") * (MAX_HEAD // MAX_LINE + 1), "header block of over"),
    ],
)
def test_what_a_script_may_not_say(lines: bytes, part: str) -> None:
    with pytest.raises(RemoteProtocolError, match=part):
        parse(lines + b"\n\n")


def test_an_endless_line_is_not_kept() -> None:
    with pytest.raises(RemoteProtocolError):
        parse(b"x" * 1_000_000)


def test_nothing_is_said_before_the_empty_line() -> None:
    assert parse(b"Status: 200\n") is None
    assert parse(b"") is None


# Local redirects.


def test_the_request_that_a_script_redirects_to() -> None:
    made = request("/s.cgi?x", "POST", accept="*/*", content_type="a/b", content_length="3")
    made.content_length = 3
    other = redirected(made, "/y?z=1")
    assert (other.method, other.path, other.query) == ("GET", "/y", "z=1")
    assert other.headers.items() == [("accept", "*/*")]
    assert (other.content_length, other.redirects) == (0, 1)
    assert (other.host, other.peer, other.local) == (made.host, made.peer, made.local)
    assert redirected(request(method="HEAD"), "/y").method == "HEAD"


@pytest.mark.parametrize("target", ["/a b", "/a\u00e9", "*", "y", "/y#f", "/y HTTP/1.1 x"])
def test_what_cannot_be_redirected_to(target: str) -> None:
    with pytest.raises(RefusedRequest):
        redirected(request(), target)
