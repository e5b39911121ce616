"""Our client's end: against our own proxy, and against proxies that say other things."""

from __future__ import annotations

import typing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portable.deferred import Deferred, succeed
from portable.errors import (
    ConnectError,
    ConnectionRefused,
    ConnectTimedOut,
    LocalProtocolError,
    NameNotFound,
    Unreachable,
)
from portable.protocol import Protocol
from portable.testing import ManualClock, MemoryTransport, connect_in_memory
from protocols.socks.endpoint import SocksEndpoint
from protocols.socks.server import SocksServer
from tests.protocols.socks.world import TARGET, World
from tests.strategies import splits

if typing.TYPE_CHECKING:
    from collections.abc import Callable

    from portable.testing import Link

GRANTED_5 = b"\5\0\0\3\x0bexample.com\0\x50"


class Sink(Protocol):
    """Keeps what it gets."""

    def __init__(self) -> None:
        self.transport: typing.Any = None
        self.got = b""
        self.lost = False

    def connection_made(self, transport: object) -> None:
        assert self.transport is None
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.got += data

    def connection_lost(self, exc: object) -> None:
        self.lost = True


class Scripted:
    """A proxy that the test speaks for: an endpoint, and a reactor."""

    def __init__(self, factory: type[Sink] = Sink, **options: typing.Any) -> None:
        self._factory = factory
        self.clock = ManualClock()
        self.transport = MemoryTransport(None, self.clock)
        self.made: list[Sink] = []
        self.result: Sink | None = None
        self.error: Exception | None = None
        self.order: list[str] = []
        options = {"host": "example.com", "port": 80, **options}
        self.endpoint = SocksEndpoint(typing.cast("typing.Any", self), **options)
        self.connecting = self.endpoint.connect(typing.cast("typing.Any", self), self._make)
        self.connecting.add_callbacks(self._succeeded, self._failed)

    def _make(self) -> Sink:
        self.made.append(self._factory())
        return self.made[-1]

    def _succeeded(self, sink: Sink) -> None:
        self.result = sink
        self.order.append(f"connected, {len(sink.got)} bytes")

    def _failed(self, error: Exception) -> None:
        self.error = error

    def connect(self, _reactor: object, factory: Callable[[], Protocol]) -> Deferred[typing.Any]:
        protocol = factory()
        self.transport.connect(protocol)
        return succeed(protocol)

    def resolve(self, host: str) -> Deferred[list[str]]:
        return succeed(["2001:db8::1", TARGET] if host == "example.com" else ["2001:db8::1"])

    def time(self) -> float:
        return self.clock.time()

    def call_soon(self, callback: Callable[..., object], *args: object) -> object:
        return self.clock.call_soon(callback, *args)

    def call_later(self, delay: float, callback: Callable[..., object], *args: object) -> object:
        return self.clock.call_later(delay, callback, *args)


@pytest.mark.parametrize("chunk", [None, 1])
@pytest.mark.parametrize("version", ["4", "4a", "5"])
def test_our_client_against_our_proxy(version: str, chunk: int | None) -> None:
    world = World()
    world.names["example.com"] = [TARGET]
    links: list[Link] = []

    class Proxy:
        def connect(self, _reactor: object, factory: Callable[[], Protocol]) -> Deferred[typing.Any]:
            protocol = factory()
            links.append(connect_in_memory(protocol, SocksServer(world.proxy), world))
            return succeed(protocol)

    endpoint = SocksEndpoint(typing.cast("typing.Any", Proxy()), "example.com", 80, version)
    results: list[Sink] = []
    endpoint.connect(typing.cast("typing.Any", world), Sink).add_callback(results.append)
    links[0].flush(chunk)
    target = world.answer()
    target.receive(b"welcome")
    links[0].flush(chunk)
    (sink,) = results
    assert sink.got == b"welcome"
    sink.transport.write(b"hello")
    links[0].flush(chunk)
    assert target.take() == b"hello"
    assert [attempt.address.host for attempt in world.attempts] == [TARGET]


def test_what_socks_5_says() -> None:
    proxy = Scripted(username="alice", password="secret")
    assert proxy.transport.take() == b"\5\2\0\2"
    proxy.transport.receive(b"\5\2")
    assert proxy.transport.take() == b"\1\5alice\6secret"
    proxy.transport.receive(b"\1\0")
    assert proxy.transport.take() == b"\5\1\0\3\x0bexample.com\0\x50"
    proxy.transport.receive(GRANTED_5)
    assert proxy.result is proxy.made[0]


def test_a_login_that_nobody_asks_for_is_not_told() -> None:
    proxy = Scripted(username="alice", password="secret")
    proxy.transport.take()
    proxy.transport.receive(b"\5\0")
    assert b"secret" not in proxy.transport.take()


def test_what_socks_4_says() -> None:
    proxy = Scripted(version="4", username="fred")
    assert proxy.transport.take() == b"\4\1\0\x50\1\2\3\4fred\0"
    proxy = Scripted(version="4a", username="fred")
    assert proxy.transport.take() == b"\4\1\0\x50\0\0\0\1fred\0example.com\0"
    proxy = Scripted(version="4", host="9.9.9.9")
    assert proxy.transport.take() == b"\4\1\0\x50\x09\x09\x09\x09\0"


@given(data=st.data())
def test_any_split_gives_the_same_connection(data: st.DataObject) -> None:
    proxy = Scripted()
    for piece in data.draw(splits(b"\5\0" + GRANTED_5 + b"220 welcome")):
        proxy.transport.receive(piece)
    assert proxy.result is not None
    assert proxy.result.got == b"220 welcome"
    # As with any connect: the caller has the protocol before that has data.
    assert proxy.order == ["connected, 0 bytes"]
    proxy.transport.receive_eof()
    assert proxy.result.lost


@pytest.mark.parametrize(
    ("version", "said", "kind", "code"),
    [
        ("5", b"\5\0\5\2\0\1" + bytes(6), ConnectError, "EACCES"),
        ("5", b"\5\0\5\3\0\1" + bytes(6), Unreachable, "ENETUNREACH"),
        ("5", b"\5\0\5\4\0\1" + bytes(6), Unreachable, "EHOSTUNREACH"),
        ("5", b"\5\0\5\5\0\1" + bytes(6), ConnectionRefused, "ECONNREFUSED"),
        ("5", b"\5\0\5\6\0\1" + bytes(6), ConnectTimedOut, "ETIMEDOUT"),
        ("5", b"\5\0\5\7\0\1" + bytes(6), ConnectError, "EIO"),
        ("5", b"\5\xff", ConnectError, "EACCES"),
        ("5", b"\5\2\1\1", ConnectError, "EACCES"),
        ("5", b"\5\1", ConnectError, "EPROTO"),
        ("5", b"HTTP/1.1 400", ConnectError, "EPROTO"),
        ("5", b"\5\2\3", ConnectError, "EPROTO"),
        ("4", b"\0\x5b" + bytes(6), ConnectError, "EIO"),
        ("4a", b"\0\x5d" + bytes(6), ConnectError, "EACCES"),
        ("4a", b"\4", ConnectError, "EPROTO"),
        ("4a", b"\0\x01", ConnectError, "EPROTO"),
    ],
)
def test_what_a_proxy_refuses(version: str, said: bytes, kind: type[ConnectError], code: str) -> None:
    proxy = Scripted(version=version, username="u", password="p")
    proxy.transport.receive(said)
    assert type(proxy.error) is kind
    assert proxy.error.code == code
    assert proxy.transport.aborted
    assert not proxy.made


def test_a_proxy_that_ends_the_connection() -> None:
    proxy = Scripted()
    proxy.transport.receive_eof()
    assert isinstance(proxy.error, ConnectError)
    assert "the proxy ended the connection" in str(proxy.error)


def test_a_proxy_that_says_nothing() -> None:
    proxy = Scripted(timeout=5.0)
    proxy.clock.advance(5.0)
    assert isinstance(proxy.error, ConnectTimedOut)
    assert proxy.transport.aborted


def test_a_connect_that_is_given_up() -> None:
    proxy = Scripted()
    proxy.connecting.cancel()
    assert proxy.transport.aborted
    assert proxy.clock.next_time() is None


def test_a_protocol_that_closes_at_once_gets_no_data() -> None:
    class Closing(Sink):
        def connection_made(self, transport: typing.Any) -> None:
            super().connection_made(transport)
            transport.close()

    proxy = Scripted(factory=Closing)
    proxy.transport.receive(b"\5\0" + GRANTED_5 + b"220 welcome")
    assert proxy.made[0].got == b""
    assert proxy.made[0].lost


@pytest.mark.parametrize("version", ["4a", "5"])
def test_what_a_target_says_first_waits_while_the_protocol_pauses(version: str) -> None:
    class Pausing(Sink):
        def connection_made(self, transport: typing.Any) -> None:
            super().connection_made(transport)
            transport.pause_reading()

    proxy = Scripted(factory=Pausing, version=version)
    granted = b"\5\0" + GRANTED_5 if version == "5" else b"\0\x5a" + bytes(6)
    proxy.transport.receive(granted + b"220 wel")
    proxy.transport.receive(b"come")
    assert proxy.result is proxy.made[0]
    assert proxy.made[0].got == b""
    proxy.made[0].transport.resume_reading()
    assert proxy.made[0].got == b""
    proxy.clock.advance(0)
    assert proxy.made[0].got == b"220 welcome"


def test_what_cannot_be_asked_for() -> None:
    assert isinstance(Scripted(version="4", host="v6only.example").error, NameNotFound)
    assert isinstance(Scripted(version="4", host="::1").error, LocalProtocolError)
    assert isinstance(Scripted(version="5", host="").error, LocalProtocolError)
    assert isinstance(Scripted(username="u").error, LocalProtocolError)
    with pytest.raises(ValueError, match="no version"):
        Scripted(version="6")


def test_the_password_is_not_shown() -> None:
    assert "secret" not in repr(SocksEndpoint(typing.cast("typing.Any", None), "h", 1, password="secret"))
