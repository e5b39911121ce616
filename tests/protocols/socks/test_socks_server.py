"""The proxy's conversation, over memory: transcripts, replies, time-outs, the relay, the record."""

from __future__ import annotations

import dataclasses
import logging
import typing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portable.deferred import Deferred, fail, succeed
from portable.errors import ConnectError, ConnectTimedOut, NameNotFound, Unreachable, connect_error
from portable.flow import QUIET
from portable.transport import HIGH_WATER, Address
from protocols.socks import v4, v5
from protocols.socks.messages import Command, Outcome, Refused, Request
from tests.protocols.socks.world import CLIENT, TARGET, World
from tests.strategies import splits

if typing.TYPE_CHECKING:
    from portable.testing import MemoryTransport
    from tests.conftest import ErrorLog

CONNECT_4 = b"\4\1\0\x50\1\2\3\4fred\0"
CONNECT_4A = b"\4\1\0\x50\0\0\0\1fred\0example.com\0"
CONNECT_5 = b"\5\1\0\1\1\2\3\4\0\x50"
GRANTED_4 = b"\0\x5a\xaf\xc8\xc0\0\2\1"  # 192.0.2.1, port 45000
REFUSED_4 = b"\0\x5b" + bytes(6)
GRANTED_5 = b"\5\0\0\1\xc0\0\2\1\xaf\xc8"


def refused_5(code: int) -> bytes:
    return b"\5" + bytes([code]) + b"\0\1" + bytes(6)


def test_connect_by_socks_4() -> None:
    world = World()
    client = world.client()
    client.receive(CONNECT_4)
    assert client.take() == b""
    assert world.attempts[0].address == Address(TARGET, 80)
    target = world.answer()
    assert client.take() == GRANTED_4
    client.receive(b"question")
    assert target.take() == b"question"
    target.receive(b"an answer")
    assert client.take() == b"an answer"
    target.receive_eof()
    client.receive_eof()
    assert client.lost
    assert target.lost
    (record,) = world.records
    assert record == dataclasses.replace(
        record,
        peer=CLIENT,
        version="4",
        command=1,
        host=TARGET,
        port=80,
        user="fred",
        address=Address(TARGET, 80),
        code=90,
        sent=8,
        received=9,
        result="ok",
    )
    assert world.next_time() is None


def test_connect_by_socks_4a() -> None:
    world = World()
    world.names["example.com"] = [TARGET]
    client = world.client()
    client.receive(CONNECT_4A)
    world.answer()
    assert client.take() == GRANTED_4
    assert world.asked == ["example.com"]


def test_connect_by_socks_5() -> None:
    world = World()
    client = world.client()
    client.receive(b"\5\2\1\0")
    assert client.take() == b"\5\0"
    client.receive(CONNECT_5)
    world.answer()
    assert client.take() == GRANTED_5


@given(data=st.data())
def test_any_split_gives_the_same_conversation(data: st.DataObject) -> None:
    for stream, granted in (
        (CONNECT_4 + b"early", GRANTED_4),
        (CONNECT_4A + b"early", GRANTED_4),
        (b"\5\1\0" + CONNECT_5 + b"early", b"\5\0" + GRANTED_5),
    ):
        world = World()
        world.names["example.com"] = [TARGET]
        client = world.client()
        for piece in data.draw(splits(stream)):
            client.receive(piece)
        assert world.answer().take() == b"early"
        assert client.take() == granted


@given(stream=st.binary(max_size=300))
def test_garbage_gets_an_end_and_no_target(stream: bytes) -> None:
    world = World(allow="nothing.example")
    client = world.client()
    client.receive(stream)
    client.receive_eof()
    world.advance(world.proxy.limits.request + world.proxy.limits.linger)
    assert client.lost
    assert not world.attempts


def test_early_data_is_the_first_thing_the_target_gets() -> None:
    world = World()
    client = world.client()
    client.receive(CONNECT_4 + b"GET / ")
    client.receive(b"HTTP/1.0")
    client.receive_eof()
    target = world.answer()
    assert target.take() == b"GET / HTTP/1.0"
    assert target.eof_written
    target.receive(b"200 ok")
    assert client.take() == GRANTED_4 + b"200 ok"


def test_early_data_without_end_waits_at_the_client() -> None:
    world = World()
    client = world.client()
    client.receive(CONNECT_4)
    client.receive(b"x" * HIGH_WATER)
    assert not client.is_reading()
    target = world.answer()
    assert client.is_reading()
    assert len(target.take()) == HIGH_WATER


def test_back_pressure_goes_through_the_relay_both_ways() -> None:
    world = World()
    client = world.client()
    client.receive(CONNECT_4)
    target = world.answer()
    for slow, fast in ((client, target), (target, client)):
        slow.window = 0
        fast.receive(b"x" * (HIGH_WATER + 1))
        world.advance(0)
        assert not fast.is_reading()
        slow.allow(None)
        world.advance(0)
        assert fast.is_reading()


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (None, 5),
        (ConnectTimedOut("too slow"), 6),
        (Unreachable("no route", "EHOSTUNREACH"), 4),
        (Unreachable("no network", "ENETUNREACH"), 3),
        (NameNotFound("no such name"), 4),
        (ConnectError("odd", "EIO"), 1),
        (connect_error("EMFILE", "no descriptors"), 1),
    ],
)
def test_a_target_that_cannot_be_reached(error: Exception | None, code: int) -> None:
    world = World()
    for opening, refused in ((CONNECT_4, REFUSED_4), (b"\5\1\0" + CONNECT_5, b"\5\0" + refused_5(code))):
        client = world.client()
        client.receive(opening)
        world.refuse(error)
        assert client.take() == refused
        assert client.eof_written
        client.receive_eof()
        assert client.lost
    assert [record.code for record in world.records] == [91, code]


def test_a_name_without_an_address() -> None:
    world = World()
    client = world.client()
    client.receive(b"\5\1\0" + v5.encode_request(Request("5", Command.CONNECT, "nosuch.example", 80)))
    assert client.take() == b"\5\0" + refused_5(4)


def test_a_target_that_does_not_answer() -> None:
    world = World()
    client = world.client()
    client.receive(b"\5\1\0" + CONNECT_5)
    world.advance(world.proxy.limits.connect)
    assert client.take() == b"\5\0" + refused_5(6)
    assert world.attempts[0].cancelled


def test_the_second_address_of_a_name_is_tried() -> None:
    world = World()
    world.names["example.com"] = ["10.0.0.1", TARGET, "1.2.3.5"]
    client = world.client()
    client.receive(CONNECT_4A)
    world.refuse()
    world.answer()
    assert client.take() == GRANTED_4
    assert [attempt.address.host for attempt in world.attempts] == [TARGET, "1.2.3.5"]


def test_a_proxy_without_ipv6_tells_what_the_target_said_by_ipv4() -> None:
    world = World()
    world.names["example.com"] = [TARGET, "2606:4700::1"]
    client = world.client()
    client.receive(b"\5\1\0" + v5.encode_request(Request("5", Command.CONNECT, "example.com", 80)))
    world.refuse()
    world.refuse(Unreachable("no network", "ENETUNREACH"))
    assert client.take() == b"\5\0" + refused_5(5)


@pytest.mark.parametrize(("command", "code"), [(3, 7), (9, 7)])
def test_udp_and_unknown_commands_are_refused(command: int, code: int) -> None:
    world = World()
    client = world.client()
    client.receive(b"\5\1\0" + v5.encode_request(Request("5", command, TARGET, 80)))
    assert client.take() == b"\5\0" + refused_5(code)
    client = world.client()
    client.receive(v4.encode_request(Request("4", command, TARGET, 80)))
    assert client.take() == REFUSED_4


def test_an_unknown_type_of_address() -> None:
    client = World().client()
    client.receive(b"\5\1\0\5\1\0\2")
    assert client.take() == b"\5\0" + refused_5(8)


def test_no_method_that_we_know() -> None:
    client = World().client()
    client.receive(b"\5\1\1")
    assert client.take() == b"\5\xff"
    assert client.eof_written


@pytest.mark.parametrize("data", [b"GET / HTTP/1.0\r\n\r\n", b"\0", b"\6"])
def test_what_is_not_socks_is_dropped(data: bytes) -> None:
    world = World()
    client = world.client()
    client.receive(data)
    assert client.lost
    assert client.take() == b""
    assert world.records[0].code is None


def test_socks_5_only_when_asked(caplog: pytest.LogCaptureFixture) -> None:
    client = World(speaks=frozenset((4,))).client()
    with caplog.at_level(logging.INFO, "protocols.socks"):
        client.receive(b"\5\1\0")
    assert client.lost
    assert client.take() == b""
    assert "speaks version 5, which is not served here" in caplog.text


# Who the client is.


def test_a_user_id_that_an_identd_confirms() -> None:
    asked: list[object] = []

    def check(*question: object) -> Deferred[bool]:
        asked.append(question)
        return succeed(True)

    world = World(check_user=check)
    client = world.client()
    client.receive(CONNECT_4)
    world.answer()
    client.lose()
    assert asked == [(CLIENT, Address("192.0.2.1", 1080), "fred")]
    assert world.records[0].identified


@pytest.mark.parametrize(("outcome", "code"), [(Outcome.NO_IDENT, 92), (Outcome.WRONG_USER, 93)])
def test_a_user_id_that_is_refused(outcome: Outcome, code: int) -> None:
    world = World(check_user=lambda *_: fail(Refused("no", outcome)))
    client = world.client()
    client.receive(CONNECT_4)
    assert client.take() == b"\0" + bytes([code]) + bytes(6)
    assert not world.asked


def test_logging_in() -> None:
    answers: list[Deferred[bool]] = []
    asked: list[object] = []

    def check(*question: object) -> Deferred[bool]:
        asked.append(question)
        answers.append(Deferred())
        return answers[-1]

    world = World(check_password=check)
    for good in (True, False):
        client = world.client()
        client.receive(b"\5\2\0\2")
        assert client.take() == b"\5\2"
        client.receive(b"\1\5alice\6secret" + CONNECT_5 + b"early")
        assert not client.is_reading()
        answers[-1].callback(good)
        if good:
            assert world.answer().take() == b"early"
            assert client.take() == b"\1\0" + GRANTED_5
            client.lose()
        else:
            assert client.take() == b"\1\1"
            assert client.eof_written
    assert asked == [(CLIENT, b"alice", b"secret")] * 2
    assert len(world.attempts) == 1
    assert world.records[0].user == "alice"


def test_whoever_offers_no_password_where_one_is_needed() -> None:
    client = World(check_password=lambda *_: succeed(True)).client()
    client.receive(b"\5\1\0")
    assert client.take() == b"\5\xff"


# How it ends.


def test_a_request_that_takes_too_long() -> None:
    world = World()
    for opening, answer in ((b"", b""), (b"\4\1\0", REFUSED_4), (b"\5\1\0\5", b"\5\0" + refused_5(6))):
        client = world.client()
        client.receive(opening)
        for _ in range(10):  # however it trickles in
            world.advance(world.proxy.limits.request / 10)
        assert client.take() == answer
        assert client.lost or client.eof_written


def relay(world: World) -> tuple[MemoryTransport, MemoryTransport]:
    """Return the proxy's ends of the connections to a client and its target."""
    client = world.client()
    client.receive(CONNECT_4)
    return client, world.answer()


def test_a_relay_that_breaks_is_not_recorded_as_ok() -> None:
    world = World()
    client, target = relay(world)
    client.lose()
    assert target.lost
    client, target = relay(world)
    target.lose()
    assert client.lost
    # Half of it has come to its end; the other half has not.
    client, target = relay(world)
    client.receive_eof()
    target.lose()
    client, target = relay(world)
    client.window = 0
    target.receive(b"answer")
    target.lose()
    client.lose()
    reset = "broke: the peer reset the connection"
    assert [record.result for record in world.records] == [
        f"the connection to the client {reset}",
        *[f"the connection to the target {reset}"] * 3,
    ]


def test_a_relay_that_the_proxy_closes_is_not_recorded_as_ok() -> None:
    world = World()
    client, _ = relay(world)
    protocol: typing.Any = client.get_protocol()
    protocol.drain()
    world.advance(2 * QUIET)
    client, target = relay(world)
    target.receive_eof()
    client.close()  # as an idle time-out does
    world.advance(0)
    assert [record.result for record in world.records] == ["the proxy closed the connection"] * 2


@pytest.mark.parametrize("first", ["client", "target"])
def test_the_end_of_one_direction_is_that_of_both_where_halves_cannot_be_ended(
    monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    """As of TLS."""
    world = World()
    client, target = relay(world)
    monkeypatch.setattr(client, "can_write_eof", lambda: False)
    (client if first == "client" else target).receive_eof()
    if first == "client":
        client.close()  # as a TLS transport does by itself
        world.advance(0)
    assert client.lost
    assert target.lost
    assert world.records[0].result == "ok"


def test_a_client_that_goes_first_takes_the_attempt_with_it() -> None:
    world = World()
    client = world.client()
    client.receive(CONNECT_4)
    client.lose()
    assert world.attempts[0].cancelled
    assert world.records[0].result == "the client left"
    assert world.next_time() is None


def test_a_client_that_ends_in_the_middle_of_a_request() -> None:
    world = World()
    client = world.client()
    client.receive(b"\4\1\0")
    client.receive_eof()
    assert client.lost


def test_a_refusal_is_not_lost_to_what_the_client_still_sends() -> None:
    world = World(deny="1.2.3.4")
    client = world.client()
    client.receive(CONNECT_4 + b"x" * (2 * HIGH_WATER))
    assert client.take() == REFUSED_4
    client.receive(b"y" * HIGH_WATER)
    assert client.is_reading()
    assert not client.lost
    world.advance(world.proxy.limits.linger)
    assert client.aborted


def test_a_client_that_ends_and_does_not_take_its_refusal_is_not_kept() -> None:
    world = World()
    client = world.client()
    client.window = 0
    client.receive(CONNECT_4)
    client.receive_eof()
    world.refuse()
    assert not client.lost
    world.advance(world.proxy.limits.linger)
    assert client.lost


def test_a_refusal_after_the_clients_end() -> None:
    world = World()
    client = world.client()
    client.receive(CONNECT_4)
    client.receive_eof()
    world.refuse()
    assert client.take() == REFUSED_4
    assert client.lost


def test_drain() -> None:
    world = World()
    waiting, connecting, relaying, bound, refused = (world.client() for _ in range(5))
    relaying.receive(CONNECT_4)
    target = world.answer()
    connecting.receive(CONNECT_4)
    bound.receive(b"\4\2\0\x50\1\2\3\4\0")
    refused.receive(b"\5\1\1")
    for transport in (waiting, connecting, relaying, bound, refused):
        protocol: typing.Any = transport.get_protocol()
        protocol.drain()
    world.advance(0)
    assert [each.lost for each in (waiting, connecting, relaying, bound, refused)] == [1, 0, 0, 1, 1]
    for _ in range(4):
        world.advance(QUIET / 2)
        target.receive(b"more")
    assert not relaying.is_closing()
    world.advance(2 * QUIET)
    assert relaying.lost
    assert not connecting.is_closing()
    world.answer()
    world.advance(2 * QUIET)
    assert connecting.lost
    assert world.waiting[0].closed
    assert world.next_time() is None


def test_a_bug_ends_the_connection_and_shows(error_log: ErrorLog) -> None:
    world = World(check_user=lambda *_: fail(RuntimeError("a bug")))
    client = world.client()
    client.receive(CONNECT_4)
    assert client.aborted
    assert world.records[0].result == "an error in the proxy"
    del client, world
    import gc

    gc.collect()
    error_log.expect("a bug")
