from __future__ import annotations

import logging
import typing

import pytest

from portable.endpoints import SystemdEndpoint, TCPEndpoint, UnixEndpoint
from portable.errors import (
    AddressForbidden,
    AddressInUse,
    ConfigurationError,
    ConnectionReset,
    ListenError,
    LocalProtocolError,
    listen_error,
)
from portable.listener import DatagramPort, ListenerOptions, ServerPort
from portable.protocol import DatagramProtocol
from portable.testing import MemoryTransport
from portable.transport import Address
from tests.portable.listening import Draining, FakeReactor, Recorder, Stubborn, last, started

if typing.TYPE_CHECKING:
    from portable.deferred import Deferred

WEB = TCPEndpoint(8080, "127.0.0.1")


def port(loop: FakeReactor, factory: type[Recorder] = Recorder, **options: typing.Any) -> ServerPort:
    return started(loop, ServerPort("web", factory, WEB, ListenerOptions(**options)))


def results(deferred: Deferred[int]) -> list[int]:
    found: list[int] = []
    deferred.add_callback(found.append)
    return found


# Binding.


def test_nothing_is_accepted_between_bind_and_start(loop: FakeReactor) -> None:
    server = ServerPort("web", Recorder, TCPEndpoint(8080, "127.0.0.1", 7, reuse_port=True))
    assert server.describe() == "web tcp:8080:interface=127.0.0.1:backlog=7:reuse_port=1"
    assert (server.accepted, server.refused, server.open, server.bytes_received, server.bytes_sent) == (0,) * 5
    server.bind(loop.as_reactor)
    assert [listener.accepting for listener in loop.listeners] == [False]
    assert loop.asked == [{"backlog": 7, "reuse_port": True}]
    assert server.describe() == "web tcp 127.0.0.1:8080"
    server.start()
    assert [listener.accepting for listener in loop.listeners] == [True]
    assert server.address == Address("127.0.0.1", 8080)
    with pytest.raises(LocalProtocolError, match="bound already"):
        server.bind(loop.as_reactor)


def test_a_unix_socket_gets_its_mode(loop: FakeReactor) -> None:
    server = started(loop, ServerPort("web", Recorder, UnixEndpoint("/run/web.sock", 0o660)))
    assert loop.asked == [{"backlog": 1024, "mode": 0o660}]
    assert server.describe() == "web unix /run/web.sock"


def test_a_port_in_use_is_reported_with_the_name_of_the_server(loop: FakeReactor) -> None:
    port(loop)
    with pytest.raises(AddressInUse, match=r"^mail tcp:8080:interface=127.0.0.1: 127.0.0.1:8080 is in use$"):
        ServerPort("mail", Recorder, WEB).bind(loop.as_reactor)


@pytest.mark.parametrize(("number", "advice"), [(80, "; ports below 1024 are often root's"), (8080, "")])
def test_a_port_of_root_is_told_as_such(
    loop: FakeReactor, monkeypatch: pytest.MonkeyPatch, number: int, advice: str
) -> None:
    def refuse(*words: object, **more: object) -> typing.NoReturn:
        raise listen_error("EACCES", "permission denied")

    monkeypatch.setattr(loop, "listen", refuse)
    with pytest.raises(AddressForbidden, match=rf"^web tcp:{number}: permission denied{advice}$"):
        ServerPort("web", Recorder, TCPEndpoint(number)).bind(loop.as_reactor)


def test_a_path_in_use_may_be_that_of_a_file(loop: FakeReactor, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*words: object, **more: object) -> typing.NoReturn:
        raise listen_error("EADDRINUSE", "in use")

    monkeypatch.setattr(loop, "listen_unix", refuse)
    with pytest.raises(AddressInUse, match=r"in use, or a file that is no socket is in its place$"):
        ServerPort("web", Recorder, UnixEndpoint("/x")).bind(loop.as_reactor)


def test_sockets_from_systemd_are_found_by_name(loop: FakeReactor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.getpid", lambda: 77)
    environ = {"LISTEN_FDS": "3", "LISTEN_PID": "77", "LISTEN_FDNAMES": "web:mail:web"}
    server = ServerPort("web", Recorder, SystemdEndpoint("web"))
    server.bind(loop.as_reactor, environ)
    assert [listener.address for listener in loop.listeners] == [
        Address("192.0.2.2", 8003),
        "/run/5.sock",
    ]
    assert server.describe() == "web tcp 192.0.2.2:8003"
    server.stop_accepting()
    assert all(listener.closed for listener in loop.listeners)


def test_a_bad_socket_from_systemd_gives_back_the_good_ones(
    loop: FakeReactor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.getpid", lambda: 77)
    environ = {"LISTEN_FDS": "8", "LISTEN_PID": "77", "LISTEN_FDNAMES": "web:::::::web"}
    with pytest.raises(ListenError, match=r"^web systemd:web: descriptor 10 is no"):
        ServerPort("web", Recorder, SystemdEndpoint("web")).bind(loop.as_reactor, environ)
    assert [listener.closed for listener in loop.listeners] == [True]


def test_a_port_from_systemd_is_refused_where_a_unix_socket_is_needed(
    loop: FakeReactor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.getpid", lambda: 77)
    environ = {"LISTEN_FDS": "3", "LISTEN_PID": "77", "LISTEN_FDNAMES": "mail:tcp:unix"}
    with pytest.raises(ConfigurationError, match=r"endpoint 'systemd:mail'.*Unix socket.*192\.0\.2\.2:8003"):
        ServerPort("web", Recorder, SystemdEndpoint("mail"), unix_only=True).bind(loop.as_reactor, environ)
    assert [listener.closed for listener in loop.listeners] == [True]
    server = ServerPort("web", Recorder, SystemdEndpoint("unix"), unix_only=True)
    server.bind(loop.as_reactor, environ)
    assert server.describe() == "web unix /run/5.sock"


def test_without_systemd_the_error_says_so(loop: FakeReactor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LISTEN_FDS", raising=False)
    with pytest.raises(ConfigurationError, match="gave this process no sockets"):
        ServerPort("web", Recorder, SystemdEndpoint("web")).bind(loop.as_reactor)


def test_negative_options_are_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        ListenerOptions(throttle=-1)


# The guard is transparent.


def test_a_protocol_gets_every_call_in_order(loop: FakeReactor) -> None:
    server = port(loop)
    transport = loop.accept()
    transport.window = 0
    last().transport.write(bytes(100_000))
    loop.advance()
    transport.receive(b"a?")
    transport.allow(None)
    transport.receive_eof()
    assert last().events == ["made", "pause", b"a?", "resume", "eof", "lost"]
    assert last().lost == [None]
    assert (server.accepted, server.open, server.bytes_received, server.bytes_sent) == (1, 0, 2, 100_001)


def test_a_broken_connection_tells_its_reason(loop: FakeReactor) -> None:
    server = port(loop)
    loop.accept().lose(ConnectionReset("gone"))
    assert [str(exc) for exc in last().lost] == ["gone"]
    assert server.open == 0


def test_bytes_are_counted_on_open_connections_too(loop: FakeReactor) -> None:
    server = port(loop)
    for _ in range(3):
        loop.accept().receive(b"??")
    assert (server.open, server.bytes_received, server.bytes_sent) == (3, 6, 6)


def test_received_data_reach_the_protocol_without_a_call_in_between(loop: FakeReactor) -> None:
    port(loop)
    transport = loop.accept()
    assert transport.get_protocol().data_received == last().data_received


def test_a_factory_that_fails_ends_its_connection_only(loop: FakeReactor) -> None:
    def fail() -> Recorder:
        raise RuntimeError("no protocol today")

    server = started(loop, ServerPort("web", fail, WEB))
    with pytest.raises(RuntimeError, match="today"):
        loop.accept()
    loop.advance()
    assert (server.open, server.accepted) == (0, 1)


# Limits.


def test_connection_flood_stops_at_the_limit(loop: FakeReactor, caplog: pytest.LogCaptureFixture) -> None:
    server = port(loop, max_connections=2)
    kept = [loop.accept(), loop.accept()]
    for _ in range(100):
        assert loop.accept().lost
    assert len(Recorder.made) == 2
    assert (server.accepted, server.refused, server.open) == (2, 100, 2)
    assert [record.message for record in caplog.records] == [
        "web: refused 1 connection(s): 2 connections are open"
    ]
    loop.advance(1)
    loop.accept()
    assert caplog.records[-1].message == "web: refused 100 connection(s): 2 connections are open"
    kept[0].lose()
    assert not loop.accept().lost
    assert (server.accepted, server.open) == (3, 2)


def test_connection_flood_from_one_peer_leaves_room_for_others(loop: FakeReactor) -> None:
    server = port(loop, max_per_peer=2)
    kept = [loop.accept("192.0.2.1"), loop.accept("::ffff:192.0.2.1")]
    assert loop.accept("192.0.2.1").lost
    assert not loop.accept("192.0.2.2").lost
    assert (server.accepted, server.refused, server.open) == (3, 1, 3)
    for transport in kept:
        transport.lose()
    assert not loop.accept("192.0.2.1").lost


def test_one_ipv6_network_of_64_bits_is_one_peer(loop: FakeReactor) -> None:
    port(loop, max_per_peer=1)
    assert not loop.accept("2001:db8:0:1::1").lost
    assert loop.accept("2001:db8:0:1:ffff::2").lost
    assert not loop.accept("2001:db8:0:2::1").lost


def test_peers_on_a_unix_socket_are_not_told_apart(loop: FakeReactor) -> None:
    port(loop, max_per_peer=1)
    assert not loop.accept("").lost
    assert not loop.accept("/run/client").lost


def test_connections_whose_protocol_was_replaced_do_not_use_up_the_limit(loop: FakeReactor) -> None:
    server = port(loop, max_connections=1, max_per_peer=1)
    for _ in range(3):
        transport = loop.accept()
        assert not transport.lost
        last().transport.set_protocol(Recorder())
        assert loop.accept().lost
        transport.lose()
        assert server.open == 1
        loop.advance(1)
    server.forget_unseen()
    assert server.open == 0


# Time-outs.


def test_an_idle_connection_is_closed(loop: FakeReactor) -> None:
    server = port(loop, idle_timeout=60)
    transport = loop.accept()
    loop.advance(59)
    transport.receive(b"x")
    loop.advance(59)
    assert last().lost == []
    loop.advance(20)
    assert last().lost == [None]
    assert not transport.aborted
    assert server.open == 0
    assert loop.next_time() is None


def test_idle_connections_made_together_share_one_timer_and_line(
    loop: FakeReactor, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    port(loop, idle_timeout=60)
    transports = [loop.accept() for _ in range(50)]
    turns = 0
    while not all(transport.lost for transport in transports):
        loop.step(None)
        turns += 1
    assert turns < 12
    assert 60 <= loop.time() <= 80
    assert [record.message for record in caplog.records] == [
        "web: ended 1 connection(s), the last of which is idle"
    ]


def test_a_slow_download_is_not_idle(loop: FakeReactor) -> None:
    port(loop, idle_timeout=60, min_rate=64)
    transport = loop.accept(window=0)
    last().transport.write(bytes(100_000))
    for _ in range(20):
        transport.allow(15 * 64)
        loop.advance(15)
    assert not transport.lost


def test_slow_read_is_dropped(loop: FakeReactor) -> None:
    """A peer that takes a byte of our answer now and then, and pings, to hold our memory for ever."""
    port(loop, idle_timeout=60, min_rate=64)
    transport = loop.accept(window=0)
    last().transport.write(bytes(100_000))
    while not transport.lost and loop.time() < 1000:
        transport.allow(1)
        transport.receive(b"x")
        loop.advance(1)
    assert transport.aborted
    assert loop.time() <= 80


def test_a_closing_connection_that_cannot_flush_is_dropped(loop: FakeReactor) -> None:
    server = port(loop, idle_timeout=8)
    transport = loop.accept(window=0)
    last().transport.write(b"goodbye")
    last().transport.close()
    loop.advance(12)
    assert transport.lost
    assert server.open == 0


def test_an_idle_connection_whose_protocol_was_replaced_is_closed_and_forgotten(loop: FakeReactor) -> None:
    server = port(loop, idle_timeout=8)
    transport = loop.accept()
    raw = last().transport
    other = Recorder()
    raw.set_protocol(other)
    loop.advance(10)
    assert transport.lost
    assert other.events == ["lost"]
    loop.advance(4)
    assert server.open == 0


# Draining.


def test_drain_with_nothing_open_waits_for_nothing(loop: FakeReactor) -> None:
    server = port(loop)
    assert results(server.drain(10)) == [0]
    assert loop.listeners[0].closed
    assert loop.next_time() is None


def test_drain_before_bind_waits_for_nothing() -> None:
    assert results(ServerPort("web", Recorder, WEB).drain(10)) == [0]


def test_drain_lets_each_protocol_say_goodbye(loop: FakeReactor) -> None:
    server = port(loop, Draining)
    transports = [loop.accept(), loop.accept()]
    done = results(server.drain(10))
    loop.advance()
    assert [bytes(transport.written) for transport in transports] == [b"bye", b"bye"]
    assert done == [0]
    assert loop.next_time() is None


def test_drain_closes_a_protocol_that_cannot(loop: FakeReactor) -> None:
    server = port(loop)
    transport = loop.accept(window=0)
    last().transport.write(b"the rest")
    done = results(server.drain(10))
    loop.advance(9)
    assert done == []
    transport.allow(None)
    assert done == [0]
    assert bytes(transport.written) == b"the rest"


def test_drain_aborts_who_has_not_gone_by_the_deadline(loop: FakeReactor) -> None:
    server = port(loop, Stubborn)
    stays, goes = loop.accept(), loop.accept()
    done = results(server.drain(10))
    loop.advance(5)
    goes.lose()
    assert done == []
    loop.advance(5)
    assert done == [1]
    assert stays.aborted


def test_the_last_protocol_is_told_before_the_drain_is_done(loop: FakeReactor) -> None:
    server = port(loop)
    loop.accept()
    told: list[object] = []

    def done(_aborted: int) -> None:
        told.extend(last().events)

    server.drain(0).add_callback(done)
    loop.advance()
    assert told[-1] == "lost"


def test_a_second_drain_with_0_aborts_now(loop: FakeReactor) -> None:
    server = port(loop, Stubborn)
    loop.accept()
    first = results(server.drain(10))
    second = results(server.drain(0))
    loop.advance()
    assert (first, second) == ([1], [1])
    assert last().events == ["made", "drain", "lost"]
    assert loop.next_time() is None


def test_a_protocol_that_fails_to_say_goodbye_does_not_keep_others_from_it(
    loop: FakeReactor, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Recorder):
        def drain(self) -> None:
            raise RuntimeError("speechless")

    server = port(loop, Broken)
    transports = [loop.accept(), loop.accept()]
    done = results(server.drain(10))
    loop.advance()
    assert done == [0]
    assert all(transport.aborted for transport in transports)
    assert "a protocol failed to say goodbye" in caplog.text


def test_a_connection_that_arrives_while_draining_is_dropped(loop: FakeReactor) -> None:
    server = port(loop, Stubborn)
    loop.accept()
    factory = loop.listeners[0].factory
    server.drain(10)
    late = MemoryTransport(clock=loop)
    late.connect(factory())
    late.settle()
    assert late.lost
    assert server.open == 1


@pytest.mark.parametrize("replacement", [Recorder, Draining])
def test_drain_asks_the_protocol_that_took_over(loop: FakeReactor, replacement: type[Recorder]) -> None:
    server = port(loop, Stubborn)
    transport = loop.accept(window=0)
    first = last()
    other = replacement()
    other.transport = first.transport
    first.transport.set_protocol(other)
    first.transport.write(b"...")
    done = results(server.drain(10))
    loop.advance(1)
    assert "drain" not in first.events
    assert ("drain" in other.events) == (replacement is Draining)
    transport.allow(None)
    loop.advance(0.1)
    assert done == [0]


def test_drain_aborts_protocols_that_took_over_too(loop: FakeReactor) -> None:
    server = port(loop)
    loop.accept()
    raw = last().transport
    other = Stubborn()
    other.transport = raw
    raw.set_protocol(other)
    done = results(server.drain(1))
    loop.advance(1)
    assert done == [1]


# Datagrams.


def test_a_datagram_port(loop: FakeReactor) -> None:
    server = DatagramPort("daytime", DatagramProtocol, TCPEndpoint(0, "127.0.0.1"))
    assert results(server.drain(1)) == [0]
    assert server.describe() == "daytime udp 127.0.0.1:0"
    server.bind(loop.as_reactor)
    server.start()
    server.reload()
    assert server.describe() == "daytime udp 127.0.0.1:1024"
    assert server.address == Address("127.0.0.1", 1024)
    with pytest.raises(LocalProtocolError, match="bound already"):
        server.bind(loop.as_reactor)
    assert results(server.drain(1)) == [0]
    assert loop.datagrams[0].closed == "closed"
    assert results(server.drain(0)) == [0]
    assert loop.datagrams[0].closed == "aborted"
    with pytest.raises(AddressInUse, match=r"^daytime udp :1: "):
        DatagramPort("daytime", DatagramProtocol, TCPEndpoint(1)).bind(loop.as_reactor)
