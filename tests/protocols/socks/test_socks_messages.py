"""The messages of SOCKS 4, 4a and 5: as specified, however they are cut; garbage gives errors and no more."""

from __future__ import annotations

import typing

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from portable.errors import LocalProtocolError, RemoteProtocolError
from portable.framing import Reader
from protocols.socks import v4, v5
from protocols.socks.messages import MAX_HOST, Command, Outcome, Refused, Reply, Request
from tests.strategies import alphabet, splits

if typing.TYPE_CHECKING:
    from collections.abc import Callable

READERS: list[Callable[[Reader], object]] = [
    v4.read_request,
    v4.read_reply,
    v5.read_methods,
    v5.read_method,
    v5.read_login,
    v5.read_login_reply,
    v5.read_request,
    v5.read_reply,
]
PIECES = [
    b"\4\1\0\x50\x5d\xb8\xd8\x22fred\0",
    b"\4\1\0\x50\0\0\0\1fred\0example.com\0",
    b"\4\2\0\0\0\0\0\0\0",
    b"\0\x5a\0\0\0\0\0\0",
    b"\5\1\0\1\x7f\0\0\1\0\x50",
    b"\5\1\0\3\x0bexample.com\0\x50",
    b"\5\0\0\4" + bytes(15) + b"\1\0\x50",
    b"\5\1\0",
    b"\5\2\0\2",
    b"\1\5alice\6secret",
    b"\1\0",
]


def message(read: Callable[[Reader], object], data: bytes) -> object:
    """Return the one message that `data` is."""
    reader = Reader()
    reader.receive_data(data)
    found = read(reader)
    assert len(reader) == 0
    return found


def outcome(read: Callable[[Reader], object], chunks: list[bytes]) -> list[object]:
    """Return every message, then the error or what is left."""
    reader = Reader()
    seen: list[object] = []
    for chunk in chunks:
        reader.receive_data(chunk)
        try:
            while (found := read(reader)) is not None:
                seen.append(found)
        except RemoteProtocolError as error:
            return [*seen, str(error)]
    return [*seen, reader.take_remainder()]


@pytest.mark.parametrize("read", READERS)
@given(stream=alphabet(PIECES, max_size=6), data=st.data())
def test_any_split_gives_the_same_messages(
    read: Callable[[Reader], object], stream: bytes, data: st.DataObject
) -> None:
    assert outcome(read, data.draw(splits(stream))) == outcome(read, [stream])


@pytest.mark.parametrize("read", READERS)
@given(stream=st.binary(max_size=700))
@example(stream=b"\4" + b"\1" * 700)
@example(stream=b"\4\1\0\x50\0\0\0\1" + b"a\0" + b"b" * 600)
def test_garbage_raises_remote_protocol_errors_only(read: Callable[[Reader], object], stream: bytes) -> None:
    outcome(read, [stream])


# The layouts of the specifications, in numbers.


def test_a_request_of_socks_4() -> None:
    request = Request("4", Command.CONNECT, "66.102.7.99", 80, "Fred")
    assert v4.encode_request(request) == b"\x04\x01\x00\x50\x42\x66\x07\x63Fred\x00"
    assert message(v4.read_request, v4.encode_request(request)) == request


def test_a_request_of_socks_4a() -> None:
    request = Request("4a", Command.BIND, "example.com", 21, "")
    assert v4.encode_request(request) == b"\x04\x02\x00\x15\x00\x00\x00\x01\x00example.com\x00"
    assert message(v4.read_request, v4.encode_request(request)) == request


def test_replies_of_socks_4() -> None:
    assert v4.encode_reply(Reply(Outcome.GRANTED, "192.0.2.1", 1024)) == b"\x00\x5a\x04\x00\xc0\x00\x02\x01"
    assert v4.encode_reply(Reply(Outcome.CONNECTION_REFUSED, "::1", 1)) == b"\x00\x5b\x00\x01\x00\x00\x00\x00"
    for known in (Outcome.GRANTED, Outcome.FAILED, Outcome.NO_IDENT, Outcome.WRONG_USER):
        reply = Reply(known, "192.0.2.1", 7)
        assert message(v4.read_reply, v4.encode_reply(reply)) == reply


def test_logging_in_to_socks_5() -> None:
    assert v5.encode_methods(b"\0\2") == b"\x05\x02\x00\x02"
    assert message(v5.read_methods, b"\x05\x02\x00\x02") == b"\0\2"
    assert v5.encode_method(v5.PASSWORD) == b"\x05\x02"
    assert message(v5.read_method, b"\x05\xff") == v5.NO_ACCEPTABLE_METHOD
    login = v5.Login(b"alice", b"secret")
    assert v5.encode_login(login) == b"\x01\x05alice\x06secret"
    assert message(v5.read_login, v5.encode_login(login)) == login
    assert "secret" not in repr(login)
    assert [message(v5.read_login_reply, v5.encode_login_reply(good)) for good in (True, False)] == [
        True,
        False,
    ]
    assert message(v5.read_login_reply, b"\5\0") is True


@pytest.mark.parametrize(
    ("host", "wire"),
    [
        ("192.0.2.1", b"\x01\xc0\x00\x02\x01"),
        ("2001:db8::1", b"\x04\x20\x01\x0d\xb8" + bytes(11) + b"\x01"),
        ("example.com", b"\x03\x0bexample.com"),
    ],
)
def test_requests_and_replies_of_socks_5(host: str, wire: bytes) -> None:
    request = Request("5", Command.CONNECT, host, 443)
    assert v5.encode_request(request) == b"\x05\x01\x00" + wire + b"\x01\xbb"
    assert message(v5.read_request, v5.encode_request(request)) == request
    reply = Reply(Outcome.CONNECTION_REFUSED, host, 443)
    assert v5.encode_reply(reply) == b"\x05\x05\x00" + wire + b"\x01\xbb"
    assert message(v5.read_reply, v5.encode_reply(reply)) == reply


def test_every_code_of_socks_5() -> None:
    codes = [v5.encode_reply(Reply(each, "0.0.0.0", 0))[1] for each in Outcome]
    assert codes == [0, 1, 2, 3, 4, 5, 6, 7, 8, 1, 1]
    unassigned = message(v5.read_reply, b"\5\x2a\0\1" + bytes(6))
    assert isinstance(unassigned, Reply)
    assert unassigned.outcome is Outcome.FAILED


def test_a_scope_is_not_said() -> None:
    assert v5.encode_reply(Reply(Outcome.GRANTED, "fe80::1%eth0", 1))[4:6] == b"\xfe\x80"


def test_what_belongs_to_the_target_stays() -> None:
    reader = Reader()
    reader.receive_data(b"\4\1\0\x50\xc0\0\2\1\0GET /")
    assert v4.read_request(reader) is not None
    assert reader.take_remainder() == b"GET /"


# Attacks: fields without end, names that are none.


@pytest.mark.parametrize(
    "name", [b"", b"a" * (MAX_HOST + 1), b"a b", b"a\nb", b"a%00", b"\xc3\xa4", b"\x1b[31m"]
)
def test_a_4a_name_that_is_none(name: bytes) -> None:
    with pytest.raises(Refused):
        message(v4.read_request, b"\4\1\0\x50\0\0\0\1\0" + name + b"\0")


@pytest.mark.parametrize("name", [b"", b"a\0b", b"\0", b"a/b"])
def test_a_socks_5_name_that_is_none(name: bytes) -> None:
    with pytest.raises(Refused):
        message(v5.read_request, b"\5\1\0\3" + bytes([len(name)]) + name + b"\0\x50")


def test_fields_without_end_are_refused_as_soon_as_they_are_too_long() -> None:
    head = b"\4\1\0\x50\0\0\0\1"
    assert message_or_none(head + b"u" * v4.MAX_USER) is None
    with pytest.raises(Refused, match="user id"):
        message_or_none(head + b"u" * (v4.MAX_USER + 1))
    assert message_or_none(head + b"\0" + b"h" * MAX_HOST) is None
    with pytest.raises(Refused, match="host name"):
        message_or_none(head + b"\0" + b"h" * (MAX_HOST + 1))


def message_or_none(data: bytes) -> Request | None:
    reader = Reader()
    reader.receive_data(data)
    return v4.read_request(reader)


def test_an_unknown_type_of_address_has_a_code_of_its_own() -> None:
    with pytest.raises(Refused) as caught:
        message(v5.read_request, b"\5\1\0\2")
    assert caught.value.outcome is Outcome.UNKNOWN_ADDRESS_TYPE


@pytest.mark.parametrize(
    "request_",
    [
        Request("4", 1, "example.com", 80),
        Request("4", 1, "::1", 80),
        Request("4", 1, "0.0.0.5", 80),
        Request("4", 1, "192.0.2.1", 80, "a\0b"),
        Request("4", 1, "192.0.2.1", 80, "\u20ac"),
        Request("4", 1, "192.0.2.1", 80, "a" * 513),
        Request("4a", 1, "", 80),
        Request("4a", 1, "a\0b", 80),
        Request("4a", 1, "a" * 256, 80),
    ],
)
def test_what_socks_4_cannot_say(request_: Request) -> None:
    with pytest.raises(LocalProtocolError):
        v4.encode_request(request_)


def test_what_socks_5_cannot_say() -> None:
    for host in ("", "a" * 256, "ä.example"):
        with pytest.raises(LocalProtocolError):
            v5.encode_request(Request("5", 1, host, 80))
    for login in (v5.Login(b"", b"x"), v5.Login(b"x", b""), v5.Login(b"x" * 256, b"x")):
        with pytest.raises(LocalProtocolError):
            v5.encode_login(login)
