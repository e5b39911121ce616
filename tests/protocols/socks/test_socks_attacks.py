"""What has been done to SOCKS proxies, and by means of them: each has a test of its name."""

from __future__ import annotations

import logging
import typing

import pytest

from portable.transport import HIGH_WATER, Address
from protocols.servers.socks.trafficlog import traffic_line
from protocols.socks import v4, v5
from protocols.socks.messages import Command, Request
from tests.protocols.socks.world import CLIENT, TARGET, World

if typing.TYPE_CHECKING:
    from portable.testing import MemoryTransport

REFUSED_5 = b"\5\0\5\2\0\1" + bytes(6)


def connect_5(world: World, host: str, port: int = 80) -> MemoryTransport:
    client = world.client()
    client.receive(b"\5\1\0" + v5.encode_request(Request("5", Command.CONNECT, host, port)))
    return client


def test_open_proxy_a_client_that_is_not_served(caplog: pytest.LogCaptureFixture) -> None:
    world = World(serves=lambda peer: peer != CLIENT)
    with caplog.at_level(logging.INFO, "protocols.socks"):
        clients = [world.client() for _ in range(50)]
    for client in clients:
        assert client.aborted
        client.receive(b"\5\1\0")
        assert client.take() == b""
    # A flood of them does not fill the log.
    assert [record.message for record in caplog.records] == [
        f"1 client(s) refused, the last one from {CLIENT}: the client may not use this proxy"
    ]
    other = world.client(Address("192.0.2.10", 1))
    other.receive(b"\5\1\0")
    assert other.take() == b"\5\0"


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "0.0.0.0",
        "10.0.0.1",
        "169.254.169.254",
        "100.100.100.200",
        "fd00:ec2::254",
        "::1",
        "::",
        "::ffff:127.0.0.1",
        "64:ff9b::127.0.0.1",
        "2002:7f00:1::",
        "fe80::1",
    ],
)
@pytest.mark.parametrize("allow", ["", "*"])
def test_ssrf_to_loopback_link_local_and_metadata(host: str, allow: str) -> None:
    world = World(allow=allow)
    assert connect_5(world, host).take() == REFUSED_5
    # The same address, spelt as a name.
    client = world.client()
    client.receive(b"\5\1\0\5\1\0\3" + bytes([len(host)]) + host.encode() + b"\0\x50")
    assert client.take() == REFUSED_5
    assert not world.attempts


@pytest.mark.parametrize(
    "spelling", ["127.1", "2130706433", "0x7f.0.0.1", "017700000001", "localhost", "localhost."]
)
def test_ssrf_by_a_name_that_resolvers_take_for_loopback(spelling: str) -> None:
    world = World()
    world.names[spelling] = ["::1", "127.0.0.1"]
    assert connect_5(world, spelling).take() == REFUSED_5
    assert not world.attempts


def test_dns_rebinding_between_check_and_connect() -> None:
    world = World()
    world.names["rebind.example"] = [TARGET]
    connect_5(world, "rebind.example")
    world.names["rebind.example"] = ["127.0.0.1"]
    # Asked for once, and connected to as what was checked.
    assert world.asked == ["rebind.example"]
    assert [attempt.address for attempt in world.attempts] == [Address(TARGET, 80)]


def test_dns_rebinding_by_a_second_address() -> None:
    world = World()
    world.names["rebind.example"] = ["169.254.169.254", TARGET, "127.0.0.1"]
    client = connect_5(world, "rebind.example")
    world.refuse()
    assert client.take() == b"\5\0\5\5\0\1" + bytes(6)
    assert [attempt.address.host for attempt in world.attempts] == [TARGET]


def test_a_name_with_hundreds_of_addresses_makes_no_scanner_of_us() -> None:
    world = World()
    world.names["many.example"] = [f"1.2.3.{number}" for number in range(250)]
    connect_5(world, "many.example")
    while not world.attempts[-1].cancelled and world.attempts[-1].result.called is False:
        world.refuse()
    assert len(world.attempts) == world.proxy.limits.addresses


def test_of_many_addresses_some_of_both_families_are_tried() -> None:
    world = World()
    world.names["many.example"] = [*(f"2606:4700::{number:x}" for number in range(1, 20)), TARGET]
    client = connect_5(world, "many.example")
    world.refuse()
    assert world.attempts[1].address == Address(TARGET, 80)
    world.answer()
    assert client.take()[:4] == b"\5\0\5\0"


def test_a_denied_name_is_not_even_looked_up() -> None:
    world = World(deny="*.tunnel.example")
    assert connect_5(world, "c2VjcmV0.tunnel.example").take() == REFUSED_5
    assert not world.asked


def test_ports_of_mail_are_kept_shut() -> None:
    world = World(deny="*:25,465,587")
    assert connect_5(world, TARGET, 25).take() == REFUSED_5
    connect_5(world, TARGET, 26)
    assert len(world.attempts) == 1


@pytest.mark.parametrize("name", [b"", b"a\0.example", b"a" * 256, b"exa mple"])
def test_4a_names_of_no_length_with_nul_or_without_end(name: bytes) -> None:
    world = World()
    client = world.client()
    client.receive(b"\4\1\0\x50\0\0\0\1\0" + name + b"\0")
    if b"\0" in name:  # the name has ended there, and the rest is for the target
        assert world.asked == ["a"]
    else:
        assert client.take() == b"\0\x5b" + bytes(6)
        assert not world.asked


def test_user_ids_and_names_without_end_fill_no_memory() -> None:
    world = World()
    for opening in (b"\4\1\0\x50\1\2\3\4", b"\4\1\0\x50\0\0\0\1\0"):
        client = world.client()
        client.receive(opening)
        for _ in range(100):
            client.receive(b"u" * 100)
        assert client.take() == b"\0\x5b" + bytes(6)
        world.advance(world.proxy.limits.linger)
        assert client.lost


def test_early_data_without_end_fills_no_memory() -> None:
    world = World()
    client = world.client()
    client.receive(v4.encode_request(Request("4", Command.CONNECT, TARGET, 80)))
    for _ in range(100):
        if client.is_reading():
            client.receive(b"x" * 1000)
    assert client.get_extra_info("bytes_received") <= HIGH_WATER + 2000
    assert not client.is_reading()


def test_a_slow_handshake() -> None:
    world = World()
    clients = [world.client() for _ in range(3)]
    for _ in range(40):
        for client in clients:
            if not client.lost:
                client.receive(b"\4")
        world.advance(1.0)
    assert all(client.lost for client in clients)
    assert world.next_time() is None


@pytest.mark.parametrize("own", [Address("127.0.0.1", 1080), Address("0.0.0.0", 1080), Address("::", 1080)])
def test_a_proxy_that_is_asked_to_connect_to_itself(own: Address) -> None:
    world = World(allow="127.0.0.0/8")
    world.proxy._own_addresses = lambda: [own]
    client = connect_5(world, "127.0.0.1", 1080)
    target = world.answer()
    assert client.take() == REFUSED_5
    assert target.aborted
    # Another port is another server.
    connect_5(world, "127.0.0.1", 1081)
    assert not world.answer().aborted


def test_the_proxys_own_address_behind_a_wildcard() -> None:
    state = World().proxy
    state._own_addresses = lambda: [Address("0.0.0.0", 1080)]
    here = Address("1.2.3.4", 45000)
    assert state.is_itself(Address("1.2.3.4", 1080), here)
    assert not state.is_itself(Address("1.2.3.5", 1080), here)
    assert not state.is_itself("/run/x.sock", "")


def test_log_injection_by_user_host_and_password() -> None:
    world = World()
    client = world.client()
    client.receive(b'\4\1\0\x50\1\2\3\4al"ice\r\n127.0.0.1 - root\x1b[2J\0')
    client.lose()
    client = world.client()
    client.receive(b"\4\1\0\x50\0\0\0\1\0evil\r\nname\0")
    client.lose()
    for record in world.records:
        line = traffic_line(record)
        assert line.isascii()
        assert line.isprintable()
        # Client, user confirmed and user as told, whatever is in it.
        assert len(line.partition(" [")[0].split(" ")) == 3


def test_a_refusal_says_nothing_of_our_network() -> None:
    world = World()
    client = connect_5(world, TARGET)
    world.refuse()
    assert client.take()[-6:] == bytes(6)
