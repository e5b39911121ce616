"""The contract of UDP."""

from __future__ import annotations

import socket
import typing

import pytest

from portable.errors import AddressInUse, AddressNotAvailable, ConnectError, ListenError
from portable.protocol import DatagramProtocol
from portable.testing import wait_until
from portable.transport import Address

if typing.TYPE_CHECKING:
    from portable.errors import TransportError
    from portable.reactor import Reactor
    from portable.transport import DatagramTransport
    from tests.conftest import ErrorLog


class Datagrams(DatagramProtocol):
    """Records every call, and judges their order."""

    def __init__(self, *, echo: bool = False) -> None:
        self.received: list[tuple[bytes, Address]] = []
        self.errors: list[TransportError] = []
        self.lost = False
        self.echo = echo
        self.transport: DatagramTransport

    @property
    def data(self) -> list[bytes]:
        return [data for data, _ in self.received]

    @property
    def address(self) -> Address:
        address = self.transport.get_extra_info("sockname")
        assert isinstance(address, Address)
        return address

    def connection_made(self, transport: DatagramTransport) -> None:
        assert not hasattr(self, "transport")
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Address) -> None:
        assert not self.lost
        assert type(data) is bytes
        self.received.append((data, addr))
        if self.echo:
            self.transport.sendto(data, addr)

    def error_received(self, exc: TransportError) -> None:
        assert not self.lost
        self.errors.append(exc)

    def connection_lost(self, exc: TransportError | None) -> None:
        assert not self.lost
        assert exc is None
        self.lost = True


def bound(reactor: Reactor, host: str = "127.0.0.1", *, echo: bool = False) -> Datagrams:
    protocol = Datagrams(echo=echo)
    reactor.listen_datagram(lambda: protocol, host)
    wait_until(reactor, lambda: hasattr(protocol, "transport"))
    return protocol


def joined(reactor: Reactor, address: Address) -> Datagrams:
    protocol = Datagrams()
    reactor.connect_datagram(lambda: protocol, address.host, address.port)
    wait_until(reactor, lambda: hasattr(protocol, "transport"))
    return protocol


def test_there_and_back(reactor: Reactor) -> None:
    """Datagrams keep their limits and, on the loopback, their order; an empty one is one too."""
    server, client = bound(reactor, echo=True), bound(reactor)
    sent: list[bytes | bytearray | memoryview] = [
        b"one",
        b"",
        b"three",
        bytearray(b"four"),
        memoryview(b"five"),
    ]
    for data in sent:
        client.transport.sendto(data, server.address)
    wait_until(reactor, lambda: len(client.received) == 5)
    assert client.data == [bytes(data) for data in sent]
    assert {addr for _, addr in client.received} == {server.address}
    assert {addr for _, addr in server.received} == {client.address}


def test_a_connected_socket(reactor: Reactor) -> None:
    """It sends to its peer without an address, and knows it."""
    server = bound(reactor, echo=True)
    client = joined(reactor, server.address)
    assert client.transport.get_extra_info("peername") == server.address
    client.transport.sendto(b"hello")
    wait_until(reactor, lambda: client.received)
    assert client.received == [(b"hello", server.address)]


def test_an_empty_datagram_from_a_connected_socket(reactor: Reactor) -> None:
    """It arrives, or it is told that it cannot."""
    server = bound(reactor)
    client = joined(reactor, server.address)
    client.transport.sendto(b"")
    wait_until(reactor, lambda: server.received or client.errors)
    assert [error.code for error in client.errors] == ([] if server.received else ["EOPNOTSUPP"])
    client.transport.sendto(b"x")
    wait_until(reactor, lambda: b"x" in server.data)


def test_an_error_is_received(reactor: Reactor) -> None:
    """ECONNREFUSED from a connected peer; the socket stays open."""
    gone = bound(reactor)
    address = gone.address
    gone.transport.close()
    wait_until(reactor, lambda: gone.lost)
    client = joined(reactor, address)
    client.transport.sendto(b"anybody?")
    wait_until(reactor, lambda: client.errors)
    assert client.errors[0].code == "ECONNREFUSED"
    assert not client.lost
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind(address)
        peer.sendto(b"here I am", client.address)
        wait_until(reactor, lambda: client.data == [b"here I am"])


def test_a_large_datagram(reactor: Reactor) -> None:
    """65,507 bytes are the most that UDP over IPv4 carries (RFC 768); more is an error_received, EMSGSIZE."""
    server, client = bound(reactor), bound(reactor)
    client.transport.sendto(bytes(65_507), server.address)
    wait_until(reactor, lambda: server.received)
    assert len(server.data[0]) == 65_507
    for size in (65_508, 3_000_000):
        client.errors.clear()
        client.transport.sendto(bytes(size), server.address)
        wait_until(reactor, lambda: client.errors)
        assert client.errors[0].code == "EMSGSIZE"
    assert client.transport.get_extra_info("bytes_sent") == 65_507, "what failed was not sent"


def test_an_ipv4_peer_of_a_socket_for_every_address(reactor: Reactor) -> None:
    """It is shown as IPv4, and can be answered like that."""
    server, client = bound(reactor, "", echo=True), bound(reactor)
    client.transport.sendto(b"x", Address("127.0.0.1", server.address.port))
    wait_until(reactor, lambda: client.received)
    assert server.received[0][1] == client.address


def test_what_sendto_refuses(reactor: Reactor) -> None:
    """A TypeError for what is not bytes, a ValueError without an address on an unconnected socket."""
    client = bound(reactor)
    with pytest.raises(TypeError):
        client.transport.sendto("text", client.address)  # type: ignore[arg-type] # what the test is about
    with pytest.raises(ValueError, match="addr"):
        client.transport.sendto(b"x")


@pytest.mark.parametrize(
    "addr",
    [
        Address("localhost", 9),
        Address("", 9),
        Address("1.2.3", 9),
        Address("300.1.1.1", 9),
        Address("1.2.3.4.5", 9),
        Address("127.0.0.1%lo", 9),
        Address("::g", 9),
        Address("127.0.0.1", -1),
        Address("127.0.0.1", 65_536),
    ],
    ids=str,
)
@pytest.mark.parametrize("host", ["127.0.0.1", ""])
def test_what_is_no_address(reactor: Reactor, host: str, addr: Address) -> None:
    """A ValueError, before and after the end; never a look-up."""
    client = bound(reactor, host)
    with pytest.raises(ValueError, match="literal"):
        client.transport.sendto(b"x", addr)
    client.transport.close()
    wait_until(reactor, lambda: client.lost)
    with pytest.raises(ValueError, match="literal"):
        client.transport.sendto(b"x", addr)
    assert client.errors == []


@pytest.mark.parametrize(
    ("addr", "code"),
    [
        # RFC 768: who wants no answer may send from port 0. Answering all the same is no exception.
        (Address("127.0.0.1", 0), "EINVAL"),
        (Address("::1", 9), "EAFNOSUPPORT"),
    ],
    ids=str,
)
def test_an_address_that_this_socket_cannot_reach(reactor: Reactor, addr: Address, code: str) -> None:
    """It is received as an error; the socket stays open."""
    server, client = bound(reactor), bound(reactor)
    client.transport.sendto(b"x", addr)
    client.transport.sendto(b"y", server.address)
    wait_until(reactor, lambda: client.errors and server.received)
    assert [error.code for error in client.errors] == [code]
    assert server.data == [b"y"]


def test_every_error_is_received(reactor: Reactor) -> None:
    """Of several datagrams sent at once, to either family."""
    client = bound(reactor, "")
    for host in ("127.0.0.1", "::1", "::1"):
        client.transport.sendto(b"x", Address(host, 0))
    client.transport.sendto(bytes(65_508), Address("127.0.0.1", 9))
    wait_until(reactor, lambda: len(client.errors) == 4)
    assert [error.code for error in client.errors] == ["EINVAL", "EINVAL", "EINVAL", "EMSGSIZE"]


def test_a_mapped_address(reactor: Reactor) -> None:
    """It is the IPv4 address that it stands for, to bind and to send to."""
    server, client = bound(reactor, "::ffff:127.0.0.1"), bound(reactor)
    assert server.address.host == "127.0.0.1"
    client.transport.sendto(b"x", Address("::ffff:127.0.0.1", server.address.port))
    wait_until(reactor, lambda: server.received)
    assert server.received == [(b"x", client.address)]


@pytest.mark.parametrize("port", [-1, 0, 65_536])
def test_a_port_that_nobody_has(reactor: Reactor, port: int) -> None:
    """A ConnectError, EINVAL."""
    with pytest.raises(ConnectError) as caught:
        reactor.connect_datagram(Datagrams, "127.0.0.1", port)
    assert caught.value.code == "EINVAL"


@pytest.mark.parametrize("method", ["close", "abort"])
def test_the_end(reactor: Reactor, method: str) -> None:
    """connection_lost(None) once, later; then nothing, and sendto does nothing."""
    server, client = bound(reactor), bound(reactor)
    address = client.address
    getattr(client.transport, method)()
    getattr(client.transport, method)()
    assert client.transport.is_closing()
    assert not client.lost
    wait_until(reactor, lambda: client.lost)
    client.transport.sendto(b"x", server.address)
    client.transport.close()
    for _ in range(3):
        reactor.step()
    assert server.received == []
    # It can still be named, for the log.
    assert client.address == address


def test_close_sends_what_waits(reactor: Reactor) -> None:
    """What was sent before close arrives."""
    server, client = bound(reactor), bound(reactor)
    client.transport.sendto(b"last words", server.address)
    client.transport.close()
    wait_until(reactor, lambda: client.lost and server.received)


def test_a_flood_does_not_starve_the_loop(reactor: Reactor) -> None:
    """Two ends that echo to each other forever leave time for timers."""
    first, second = bound(reactor, echo=True), bound(reactor, echo=True)
    for _ in range(20):
        first.transport.sendto(b"x", second.address)
    seen: list[int] = []
    reactor.call_later(0.01, seen.append, 1)
    wait_until(reactor, lambda: seen)


@pytest.mark.parametrize("error", [ZeroDivisionError, SystemExit])
def test_an_exception_in_a_call(reactor: Reactor, error_log: ErrorLog, error: type[BaseException]) -> None:
    """It is logged, and the loop goes on."""

    class Broken(Datagrams):
        def datagram_received(self, data: bytes, addr: Address) -> None:
            super().datagram_received(data, addr)
            raise error("on purpose")

    broken = Broken()
    reactor.listen_datagram(lambda: broken, "127.0.0.1")
    wait_until(reactor, lambda: hasattr(broken, "transport"))
    client = bound(reactor)
    client.transport.sendto(b"x", broken.address)
    wait_until(reactor, lambda: broken.received)
    error_log.expect("on purpose", 1)


def test_errors_of_binding(reactor: Reactor) -> None:
    """As for streams."""
    first = bound(reactor)
    with pytest.raises(AddressInUse):
        reactor.listen_datagram(Datagrams, "127.0.0.1", first.address.port)
    with pytest.raises(AddressNotAvailable):
        reactor.listen_datagram(Datagrams, "192.0.2.1")
    with pytest.raises((ConnectError, ListenError)):
        reactor.connect_datagram(Datagrams, "not.an.address.invalid", 53)


def test_reuse_port(reactor: Reactor) -> None:
    """Two sockets share one address if both asked for it."""
    if not hasattr(socket, "SO_REUSEPORT"):
        pytest.skip("the system has no SO_REUSEPORT")
    first = reactor.listen_datagram(Datagrams, "127.0.0.1", reuse_port=True)
    port = first.get_extra_info("sockname").port
    second = reactor.listen_datagram(Datagrams, "127.0.0.1", port, reuse_port=True)
    assert second.get_extra_info("sockname").port == port
