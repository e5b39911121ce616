"""BIND: who may come, for how long, and how many may wait."""

from __future__ import annotations

import dataclasses
import typing

import pytest

from portable.deferred import Deferred
from portable.flow import LINGER
from portable.transport import Address
from protocols.socks import v4, v5
from protocols.socks.messages import Command, Request
from tests.protocols.socks.world import TARGET, World

if typing.TYPE_CHECKING:
    from portable.testing import MemoryTransport

WAITS_4 = b"\0\x5a\xc3\x50\xc0\0\2\1"  # 192.0.2.1, port 50000
CAME_4 = b"\0\x5a\0\x14\1\2\3\4"


def bind_4(world: World, host: str = TARGET) -> MemoryTransport:
    client = world.client()
    client.receive(v4.encode_request(Request("4a", Command.BIND, host, 21)))
    return client


def test_active_ftp_through_bind() -> None:
    world = World()
    client = bind_4(world)
    assert client.take() == WAITS_4
    assert [port.closed for port in world.waiting] == [False]
    peer = world.arrive(TARGET)
    assert client.take() == CAME_4
    assert world.waiting[0].closed
    peer.receive(b"a listing")
    peer.receive_eof()
    assert client.take() == b"a listing"
    assert client.eof_written
    client.receive_eof()
    assert peer.lost
    assert world.records[0].address == Address(TARGET, 20)
    assert world.proxy.waiting == 0
    assert world.next_time() is None


def test_bind_by_socks_5() -> None:
    world = World()
    client = world.client()
    client.receive(b"\5\1\0" + v5.encode_request(Request("5", Command.BIND, TARGET, 0)))
    assert client.take() == b"\5\0" + b"\5\0\0\1\xc0\0\2\1\xc3\x50"
    world.arrive(TARGET)
    assert client.take() == b"\5\0\0\1\1\2\3\4\0\x14"


def test_what_both_send_before_they_are_joined() -> None:
    world = World()
    client = bind_4(world)
    client.receive(b"from the client")
    peer = world.arrive(TARGET)
    assert peer.take() == b"from the client"


@pytest.mark.parametrize("version", ["4", "5"])
def test_bind_from_the_wrong_peer_ends_both(version: str) -> None:
    world = World()
    client = world.client()
    if version == "5":
        client.receive(b"\5\1\0")
        client.receive(v5.encode_request(Request("5", Command.BIND, TARGET, 0)))
    else:
        client.receive(v4.encode_request(Request("4", Command.BIND, TARGET, 0)))
    client.take()
    stranger = world.arrive("1.2.3.5")
    stranger.receive(b"not yours")
    assert stranger.aborted
    assert client.take() == (b"\0\x5b" + bytes(6) if version == "4" else b"\5\2\0\1" + bytes(6))
    assert client.eof_written
    assert world.waiting[0].closed
    assert world.proxy.waiting == 0


def test_a_peer_may_come_from_any_address_of_its_name() -> None:
    for peer in ("1.2.3.4", "1.2.3.5"):
        world = World()
        world.names["ftp.example"] = ["1.2.3.4", "1.2.3.5", "10.0.0.1"]
        client = bind_4(world, "ftp.example")
        client.take()
        world.arrive(peer)
        assert client.take()[1] == 90
    world = World()
    world.names["ftp.example"] = ["1.2.3.4", "10.0.0.1"]
    client = bind_4(world, "ftp.example")
    client.take()
    world.arrive("10.0.0.1")
    assert client.take()[1] == 91


def test_a_peer_in_another_spelling() -> None:
    world = World(allow="::ffff:1.2.3.4")
    client = world.client()
    client.receive(b"\5\1\0" + v5.encode_request(Request("5", Command.BIND, "::ffff:1.2.3.4", 0)))
    client.take()
    world.arrive(TARGET)
    assert client.take()[1] == 0


def test_only_one_connection_is_taken() -> None:
    world = World()
    client = bind_4(world)
    client.take()
    first = world.arrive(TARGET)
    second = world.arrive(TARGET)  # accepted in the same turn
    assert second.aborted
    assert not first.aborted
    assert client.take() == CAME_4


@pytest.mark.parametrize("host", ["0.0.0.0", "127.0.0.1", "10.0.0.1"])
def test_bind_for_an_address_that_is_refused(host: str) -> None:
    world = World()
    client = world.client()
    client.receive(b"\5\1\0" + v5.encode_request(Request("5", Command.BIND, host, 0)))
    assert client.take() == b"\5\0\5\2\0\1" + bytes(6)
    assert not world.waiting


def test_a_peer_that_does_not_come() -> None:
    world = World()
    client = bind_4(world)
    client.take()
    world.advance(world.proxy.limits.bind)
    assert world.waiting[0].closed
    assert client.take() == b"\0\x5b" + bytes(6)
    assert world.proxy.waiting == 0


def test_a_client_that_goes_ends_the_wait() -> None:
    world = World()
    client = bind_4(world)
    client.lose()
    assert world.waiting[0].closed
    assert world.proxy.waiting == 0
    assert world.next_time() is None


def test_a_client_that_ends_its_stream_waits_no_more() -> None:
    world = World()
    client = bind_4(world)
    client.take()
    client.receive_eof()
    assert world.waiting[0].closed
    assert world.proxy.waiting == 0
    assert client.lost
    assert world.records[0].result == "the client left"
    assert world.next_time() is None


def test_a_client_that_ended_its_stream_before_does_not_wait() -> None:
    world = World()
    looking_up: Deferred[list[str]] = Deferred()
    world.resolve = lambda host: looking_up  # type: ignore[method-assign]
    client = bind_4(world, "ftp.example")
    client.receive_eof()
    looking_up.callback([TARGET])
    world.advance(0)
    assert not world.waiting
    assert client.lost
    assert world.records[0].result == "the client left"


def test_too_many_wait() -> None:
    world = World()
    world.proxy.limits = dataclasses.replace(world.proxy.limits, binds=2)
    first, second, third = (bind_4(world) for _ in range(3))
    assert [client.take()[1] for client in (first, second, third)] == [90, 90, 91]
    first.lose()
    assert bind_4(world).take()[1] == 90


def test_no_port_is_left() -> None:
    world = World()
    world.out_of_ports = True
    assert bind_4(world).take()[1] == 91
    assert world.proxy.waiting == 0


@pytest.mark.parametrize(
    ("sockname", "bind_host", "target", "waits_at"),
    [
        (Address("192.0.2.1", 1080), "", TARGET, "192.0.2.1"),
        (Address("192.0.2.1", 1080), "198.51.100.1", TARGET, "198.51.100.1"),
        (Address("2001:db8::1", 1080), "", TARGET, "0.0.0.0"),
        (Address("192.0.2.1", 1080), "", "2606:4700::1", "::"),
        ("/run/socks.sock", "", TARGET, "0.0.0.0"),
    ],
)
def test_where_a_proxy_waits(sockname: Address | str, bind_host: str, target: str, waits_at: str) -> None:
    world = World()
    world.proxy.bind_host = bind_host
    client = world.client(sockname=sockname)
    client.receive(b"\5\1\0" + v5.encode_request(Request("5", Command.BIND, target, 0)))
    assert world.waiting[0].address.host == waits_at


def test_a_peer_that_does_not_read_cannot_keep_a_dead_pair() -> None:
    world = World()
    client = bind_4(world)
    peer = world.arrive(TARGET)
    peer.window = 0
    client.receive(b"x" * 100)
    client.lose()
    world.advance(LINGER)
    assert peer.aborted
