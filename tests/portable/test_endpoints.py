from __future__ import annotations

import typing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portable.endpoints import (
    SystemdEndpoint,
    TCPClientEndpoint,
    TCPEndpoint,
    TLSClientEndpoint,
    TLSEndpoint,
    UnixClientEndpoint,
    UnixEndpoint,
    parse_client_endpoint,
    parse_endpoint,
)
from portable.errors import ConfigurationError

if typing.TYPE_CHECKING:
    from portable.endpoints import ClientEndpoint, Endpoint


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("tcp:8080", TCPEndpoint(8080)),
        ("tcp:8080:interface=127.0.0.1", TCPEndpoint(8080, "127.0.0.1")),
        ("tcp:0:interface=localhost:backlog=5:reuse_port=1", TCPEndpoint(0, "localhost", 5, reuse_port=True)),
        ("tcp:80:interface=[::1]", TCPEndpoint(80, "::1")),
        ("tcp:80:interface=\\:\\:1:reuse_port=0", TCPEndpoint(80, "::1")),
        ("tls:8443:certificate=c.pem:privkey=k.pem", TLSEndpoint(8443, "c.pem", "k.pem")),
        ("tls:1:certificate=[C:\\c.pem]:clientca=a=b", TLSEndpoint(1, "C:\\c.pem", clientca="a=b")),
        ("tls:1:certificate=a:certificate=b", TLSEndpoint(1, "a", others=(("b", ""),))),
        (
            "tls:1:certificate=a:privkey=b:certificate=c:privkey=d",
            TLSEndpoint(1, "a", "b", others=(("c", "d"),)),
        ),
        ("unix:/run/x.sock:mode=660", UnixEndpoint("/run/x.sock", 0o660)),
        ("unix:a\\:b\\\\c:backlog=1", UnixEndpoint("a:b\\c", None, 1)),
        ("unix:/run/[x]", UnixEndpoint("/run/[x]")),
        ("unix:a\\", UnixEndpoint("a\\")),
        ("systemd:web", SystemdEndpoint("web")),
    ],
)
def test_listening_strings(text: str, endpoint: Endpoint) -> None:
    assert parse_endpoint(text) == endpoint


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("tcp:example.org:80", TCPClientEndpoint("example.org", 80)),
        ("tcp:[2001:db8::1]:80:timeout=2.5", TCPClientEndpoint("2001:db8::1", 80, 2.5)),
        ("tls:h:443", TLSClientEndpoint("h", 443)),
        ("tls:h:443:ca=a:certificate=c:privkey=k", TLSClientEndpoint("h", 443, "a", "c", "k")),
        ("unix:/run/x:timeout=1", UnixClientEndpoint("/run/x", 1.0)),
    ],
)
def test_connecting_strings(text: str, endpoint: ClientEndpoint) -> None:
    assert parse_client_endpoint(text) == endpoint


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "a kind: tcp, tls, unix or systemd is missing"),
        ("8080", "write tcp:8080"),
        ("udp:53", "'udp' is no kind of endpoint"),
        ("tcp", "a port is missing"),
        ("tcp:http", "from 0 to 65535, not 'http'"),
        ("tcp:65536", "from 0 to 65535"),
        ("tcp:-1", "from 0 to 65535"),
        ("tcp:٣", "from 0 to 65535"),
        ("tcp:9999999999", "from 0 to 65535"),
        ("tcp:80:interface=::1", "in brackets: [::1]"),
        ("tcp:80:interface=eth0", "must be an IP address of this machine"),
        ("tcp:80:127.0.0.1", "not of the form key=value"),
        ("tcp:80:=1", "not of the form key=value"),
        ("tcp:80:mode=660", "unknown option 'mode'"),
        ("tcp:80:backlog=1:backlog=2", "given twice"),
        ("tcp:80:backlog=0", "from 1 to"),
        ("tcp:80:reuse_port=yes", "0 or 1, not 'yes'"),
        ("tls:443", "add :certificate=FILE"),
        ("tls:443:certificate=a:privkey=b:certificate=c", "as many privkey as certificate"),
        ("tls:443:certificate=a:clientca=b:clientca=c", "given twice"),
        ("unix:", "a path is missing"),
        ("unix:a\0b", "NUL"),
        ("unix:x:mode=rw", "octal permissions such as 660"),
        ("unix:x:mode=7777", "octal permissions"),
        ("systemd:", "the name of a socket is missing"),
        ("systemd:a:b=c", "unknown option 'b'"),
    ],
)
def test_a_wrong_listening_string_says_what_and_where(text: str, complaint: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_endpoint(text)
    assert complaint in str(caught.value)
    assert caught.value.where == f"endpoint {text!r}"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("tcp:80", "a port is missing"),
        ("tcp:h:0", "from 1 to 65535"),
        ("tcp:::1:80", "a host is missing"),
        ("tls:h:1:certificate=a:certificate=b", "given twice"),
        ("tls:h:1:privkey=k", "privkey without a certificate"),
        ("systemd:x", "no kind of endpoint to connect to"),
        ("tcp:h:1:timeout=soon", "seconds above 0"),
        ("tcp:h:1:timeout=0", "seconds above 0"),
        ("tcp:h:1:timeout=1.x", "seconds above 0"),
    ],
)
def test_a_wrong_connecting_string_says_what_and_where(text: str, complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^endpoint ") as caught:
        parse_client_endpoint(text)
    assert complaint in str(caught.value)


WORDS = st.text(st.sampled_from("ab:\\[]=/. é"), min_size=1, max_size=8)
PORTS = st.integers(0, 65535)
BACKLOGS = st.integers(1, 65535)
INTERFACES = st.sampled_from(["", "localhost", "::1", "fe80::1", "127.0.0.1", "::"])
MAYBE = st.just("") | WORDS
UNKEYED = st.lists(st.tuples(WORDS, st.just("")), max_size=2).map(tuple)
KEYED = st.lists(st.tuples(WORDS, WORDS), max_size=2).map(tuple)
LISTENING: st.SearchStrategy[Endpoint] = st.one_of(
    st.builds(TCPEndpoint, PORTS, INTERFACES, BACKLOGS, st.booleans()),
    st.builds(TLSEndpoint, PORTS, WORDS, st.just(""), MAYBE, INTERFACES, BACKLOGS, st.booleans(), UNKEYED),
    st.builds(TLSEndpoint, PORTS, WORDS, WORDS, MAYBE, INTERFACES, BACKLOGS, st.booleans(), KEYED),
    st.builds(UnixEndpoint, WORDS, st.none() | st.integers(0, 0o777), BACKLOGS),
    st.builds(SystemdEndpoint, WORDS),
)
TIMEOUTS = st.integers(1, 10**6).map(lambda thousandths: thousandths / 1000)
CONNECTING: st.SearchStrategy[ClientEndpoint] = st.one_of(
    st.builds(TCPClientEndpoint, WORDS, st.integers(1, 65535), TIMEOUTS),
    st.builds(TLSClientEndpoint, WORDS, st.integers(1, 65535), MAYBE, WORDS, MAYBE, TIMEOUTS),
    st.builds(UnixClientEndpoint, WORDS, TIMEOUTS),
)


@given(LISTENING)
def test_a_listening_endpoint_is_what_its_string_says(endpoint: Endpoint) -> None:
    assert parse_endpoint(str(endpoint)) == endpoint


@given(CONNECTING)
def test_a_connecting_endpoint_is_what_its_string_says(endpoint: ClientEndpoint) -> None:
    assert parse_client_endpoint(str(endpoint)) == endpoint


@pytest.mark.parametrize("seconds", ["0.00001", "0.000000001", "999999999", "123456.000789", "100"])
def test_a_time_out_is_read_again_however_short_or_long(seconds: str) -> None:
    endpoint = parse_client_endpoint(f"tcp:h:1:timeout={seconds}")
    assert str(endpoint) == f"tcp:h:1:timeout={seconds}"
    assert parse_client_endpoint(str(endpoint)) == endpoint


@given(st.text(st.sampled_from("tcplsunixy:\\[]=0123/"), max_size=20))
def test_any_text_is_an_endpoint_or_a_configuration_error(text: str) -> None:
    try:
        endpoint = parse_endpoint(text)
    except ConfigurationError:
        return
    assert parse_endpoint(str(endpoint)) == endpoint
