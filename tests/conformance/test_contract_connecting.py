"""The contract of listening and connecting over TCP, and the classes and codes of what goes wrong."""

from __future__ import annotations

import os
import resource
import socket
import typing

import pytest

from portable.deferred import gather
from portable.errors import (
    AddressForbidden,
    AddressInUse,
    AddressNotAvailable,
    Cancelled,
    ConnectError,
    ConnectionRefused,
    ConnectTimedOut,
    ListenError,
    NameNotFound,
    Unreachable,
)
from portable.testing import wait_for, wait_until
from tests.conformance.judge import End, connected, port_of, raw_server

if typing.TYPE_CHECKING:
    from collections.abc import Iterator

    from portable.protocol import Protocol
    from portable.reactor import Reactor
    from tests.conftest import ErrorLog

NOBODY = 65534  # a user who may not do what root may


def free_port() -> int:
    """Return a port on which nobody listens (and nobody will: a bound socket is kept by the caller's luck)."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def test_refused(reactor: Reactor) -> None:
    """ConnectionRefused, ECONNREFUSED; the factory is not called."""
    made: list[End] = []

    def factory() -> End:
        made.append(End())
        return made[-1]

    with pytest.raises(ConnectionRefused) as caught:
        wait_for(reactor, reactor.connect(factory, "127.0.0.1", free_port()))
    assert caught.value.code == "ECONNREFUSED"
    assert made == []


def test_name_not_found(reactor: Reactor) -> None:
    """NameNotFound, ENOTFOUND (RFC 6761 reserves .invalid)."""
    with pytest.raises(NameNotFound) as caught:
        wait_for(reactor, reactor.connect(End, "nobody.invalid", 80), seconds=30)
    assert caught.value.code == "ENOTFOUND"


@pytest.fixture
def full_listener() -> Iterator[int]:
    """The port of a listener whose queue is full: connecting to it never ends."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        clients = []
        for _ in range(3):
            client = socket.socket()
            client.setblocking(False)
            client.connect_ex(listening.getsockname())
            clients.append(client)
        yield listening.getsockname()[1]
        for client in clients:
            client.close()


def test_timeout(reactor: Reactor, full_listener: int) -> None:
    """ConnectTimedOut, ETIMEDOUT, when `timeout` is over."""
    began = reactor.time()
    with pytest.raises(ConnectTimedOut) as caught:
        wait_for(reactor, reactor.connect(End, "127.0.0.1", full_listener, timeout=0.1))
    assert caught.value.code == "ETIMEDOUT"
    assert reactor.time() - began >= 0.1


def test_cancel(reactor: Reactor, full_listener: int) -> None:
    """Cancelling closes what is under way; the Deferred fails with Cancelled, the factory is not called."""
    deferred = reactor.connect(End, "127.0.0.1", full_listener)
    reactor.step()
    deferred.cancel()
    with pytest.raises(Cancelled):
        wait_for(reactor, deferred)


def test_unreachable(reactor: Reactor) -> None:
    """A ConnectError of some class, with a code, for an address that cannot be reached from here."""
    with pytest.raises(ConnectError) as caught:
        # RFC 6666's discard prefix; a machine with an IPv6 route may have to wait instead.
        wait_for(reactor, reactor.connect(End, "100::1", 9, timeout=0.2))
    assert isinstance(caught.value, Unreachable | ConnectTimedOut | ConnectError)
    assert caught.value.code


def test_a_name_with_an_address_nobody_listens_on(reactor: Reactor) -> None:
    """RFC 8305: "localhost" may mean ::1 first; a listener on 127.0.0.1 only is found all the same."""
    listening, port = raw_server()
    with listening:
        client = wait_for(reactor, reactor.connect(End, "localhost", port))
        assert client.transport.get_extra_info("peername").host == "127.0.0.1"
        client.transport.abort()
        wait_until(reactor, lambda: client.lost)


def test_local_host(reactor: Reactor) -> None:
    """`local_host` is the address to connect from; a wrong one is a ConnectError."""
    listening, port = raw_server()
    with listening:
        client = wait_for(reactor, reactor.connect(End, "127.0.0.1", port, local_host="127.0.0.2"))
        assert client.transport.get_extra_info("sockname").host == "127.0.0.2"
        client.transport.abort()
        wait_until(reactor, lambda: client.lost)
        with pytest.raises(ConnectError):
            wait_for(reactor, reactor.connect(End, "127.0.0.1", port, local_host="192.0.2.1"))


@pytest.mark.parametrize("local_host", ["localhost", "nobody.invalid", "1.2.3", "127.0.0.1%lo"])
def test_a_local_host_that_is_a_name(reactor: Reactor, local_host: str) -> None:
    """A ConnectError, EADDRNOTAVAIL, at once; it is not looked up."""
    listening, port = raw_server()
    with listening:
        connecting = reactor.connect(End, "127.0.0.1", port, local_host=local_host)
        assert connecting.called
        with pytest.raises(ConnectError, match="from '") as caught:
            wait_for(reactor, connecting)
    assert caught.value.code == "EADDRNOTAVAIL"


def test_listening_on_a_mapped_address(reactor: Reactor) -> None:
    """It is the IPv4 address that it stands for."""
    listener = reactor.listen(End, "::ffff:127.0.0.1")
    assert getattr(listener.address, "host", "") == "127.0.0.1"
    wait_for(reactor, reactor.connect(End, "127.0.0.1", port_of(listener)))


def test_ipv6(reactor: Reactor) -> None:
    """Addresses are (host, port), with literal IPv6 hosts."""
    if not socket.has_ipv6:
        pytest.skip("no IPv6")
    try:
        listener = reactor.listen(End, "::1")
    except AddressNotAvailable:
        pytest.skip("no ::1")
    client = wait_for(reactor, reactor.connect(End, "::1", port_of(listener)))
    assert client.transport.get_extra_info("peername") == listener.address
    client.transport.abort()
    wait_until(reactor, lambda: client.lost)


def test_every_address(reactor: Reactor) -> None:
    """ "" listens on IPv4 and IPv6; an IPv4 peer is shown as IPv4."""
    server = End()
    listener = reactor.listen(lambda: server, "")
    client = wait_for(reactor, reactor.connect(End, "127.0.0.1", port_of(listener)))
    wait_until(reactor, lambda: server.made)
    assert server.transport.get_extra_info("peername").host == "127.0.0.1"
    assert server.transport.get_extra_info("sockname").host == "127.0.0.1"
    client.transport.abort()
    wait_until(reactor, lambda: client.lost and server.lost)


@pytest.mark.parametrize("error", [ZeroDivisionError, SystemExit])
def test_an_exception_in_the_factory(reactor: Reactor, error_log: ErrorLog, error: type[BaseException]) -> None:
    """It is logged and costs that connection only, which is reset; the listener goes on."""
    ends: list[End] = []

    def factory() -> End:
        if not ends:
            ends.append(End())
            raise error("on purpose")
        ends.append(End())
        return ends[-1]

    listener = reactor.listen(factory, "127.0.0.1")
    with socket.create_connection(("127.0.0.1", port_of(listener)), 10) as first:
        wait_until(reactor, lambda: ends)
        reactor.step()
        with pytest.raises(ConnectionResetError):
            first.recv(1)
    second = wait_for(reactor, reactor.connect(End, "127.0.0.1", port_of(listener)))
    wait_until(reactor, lambda: len(ends) == 2)
    second.transport.close()
    wait_until(reactor, lambda: second.lost and ends[1].lost)
    error_log.expect("on purpose", 1)


@pytest.mark.parametrize("error", [ZeroDivisionError, SystemExit])
def test_an_exception_in_the_factory_of_a_client(reactor: Reactor, error: type[BaseException]) -> None:
    """The Deferred fails with it; the connection is reset."""
    listening, port = raw_server()

    def factory() -> Protocol:
        raise error("on purpose")

    with listening:
        with pytest.raises(error):
            wait_for(reactor, reactor.connect(factory, "127.0.0.1", port))
        reactor.step()
        peer = listening.accept()[0]
        with peer, pytest.raises(ConnectionResetError):
            peer.recv(1)


def test_address_in_use(reactor: Reactor) -> None:
    """AddressInUse, EADDRINUSE, with a message that names the address."""
    listener = reactor.listen(End, "127.0.0.1")
    with pytest.raises(AddressInUse, match=str(port_of(listener))) as caught:
        reactor.listen(End, "127.0.0.1", port_of(listener))
    assert caught.value.code == "EADDRINUSE"


def test_address_not_available(reactor: Reactor) -> None:
    """AddressNotAvailable, EADDRNOTAVAIL (RFC 5737 reserves 192.0.2.0/24)."""
    with pytest.raises(AddressNotAvailable, match=r"192\.0\.2\.1") as caught:
        reactor.listen(End, "192.0.2.1")
    assert caught.value.code == "EADDRNOTAVAIL"


def test_address_forbidden(reactor: Reactor) -> None:
    """AddressForbidden, EACCES, below the first port that users may bind."""
    with open("/proc/sys/net/ipv4/ip_unprivileged_port_start", encoding="ascii") as file:
        first_free = int(file.read())
    user = os.geteuid()
    if user == 0:
        os.seteuid(NOBODY)
    try:
        if first_free <= 1:  # as in many containers: users may bind every port
            reactor.listen(End, "127.0.0.1", 1).close()
            return
        with pytest.raises(AddressForbidden) as caught:
            reactor.listen(End, "127.0.0.1", 1)
    finally:
        os.seteuid(user)
    assert caught.value.code == "EACCES"


def test_names_cannot_be_listened_on(reactor: Reactor) -> None:
    """A literal address, "localhost" or "" only."""
    with pytest.raises(ListenError):
        reactor.listen(End, "example.invalid")
    assert getattr(reactor.listen(End, "localhost").address, "host", "") == "127.0.0.1"


def test_closing_a_listener(reactor: Reactor) -> None:
    """It stops now, connections go on, and the port can be bound at once."""
    client, server = End(), End()
    listener = connected(reactor, client, server, keep=True)
    listener.close()
    listener.close()
    with pytest.raises(ConnectionRefused):
        wait_for(reactor, reactor.connect(End, "127.0.0.1", port_of(listener)))
    client.transport.write(b"still here")
    wait_until(reactor, lambda: server.data == b"still here")
    again = reactor.listen(End, "127.0.0.1", port_of(listener))
    assert again.address == listener.address


def test_pause_accepting(reactor: Reactor) -> None:
    """New connections wait in the system's queue until resume_accepting; both idempotent."""
    ends: list[End] = []

    def factory() -> End:
        ends.append(End())
        return ends[-1]

    listener = reactor.listen(factory, "127.0.0.1")
    listener.pause_accepting()
    listener.pause_accepting()
    client = wait_for(reactor, reactor.connect(End, "127.0.0.1", port_of(listener)))
    client.transport.write(b"early")
    for _ in range(5):
        reactor.step(0.01)
    assert ends == []
    listener.resume_accepting()
    listener.resume_accepting()
    wait_until(reactor, lambda: ends and ends[0].data == b"early")


def test_close_of_a_paused_listener(reactor: Reactor) -> None:
    """Pausing and closing go together in any order."""
    listener = reactor.listen(End, "127.0.0.1")
    listener.pause_accepting()
    listener.close()
    listener.resume_accepting()
    listener.pause_accepting()
    with pytest.raises(ConnectionRefused):
        wait_for(reactor, reactor.connect(End, "127.0.0.1", port_of(listener)))


def test_closing_a_listener_from_a_factory(reactor: Reactor) -> None:
    """It accepts that connection and no further one."""
    ends: list[End] = []

    def factory() -> End:
        listener.close()
        ends.append(End())
        return ends[-1]

    listener = reactor.listen(factory, "127.0.0.1")
    clients = [socket.create_connection(("127.0.0.1", port_of(listener)), 10) for _ in range(3)]
    wait_until(reactor, lambda: ends)
    for _ in range(3):
        reactor.step()
    assert len(ends) == 1
    for client in clients:
        client.close()


def test_reuse_port(reactor: Reactor) -> None:
    """Two listeners share one address if both asked for it."""
    if not hasattr(socket, "SO_REUSEPORT"):
        pytest.skip("the system has no SO_REUSEPORT")
    first = reactor.listen(End, "127.0.0.1", reuse_port=True)
    second = reactor.listen(End, "127.0.0.1", port_of(first), reuse_port=True)
    assert first.address == second.address


def test_a_burst_of_connections(reactor: Reactor) -> None:
    """400 connections before the loop turns once: the backlog holds them, and each is served."""
    ends: list[End] = []

    def factory() -> End:
        ends.append(End(on_data=lambda end, data: end.transport.write(data)))
        return ends[-1]

    listener = reactor.listen(factory, "127.0.0.1", backlog=1024)
    peers = []
    for _ in range(400):
        peer = socket.create_connection(("127.0.0.1", port_of(listener)), 10)
        peer.sendall(b"x")
        peers.append(peer)
    wait_until(reactor, lambda: len(ends) == 400 and all(end.data for end in ends))
    for _ in range(2):
        reactor.step()
    for peer in peers:
        assert peer.recv(10) == b"x"
        peer.close()
    wait_until(reactor, lambda: all(end.lost for end in ends))


def test_many_connects_at_once(reactor: Reactor) -> None:
    """100 connects under way at the same time all succeed."""
    listener = reactor.listen(End, "127.0.0.1")
    port = port_of(listener)
    clients = wait_for(reactor, gather([reactor.connect(End, "127.0.0.1", port) for _ in range(100)]))
    assert len({client.transport.get_extra_info("sockname") for client in clients}) == 100


def test_out_of_descriptors(reactor: Reactor, error_log: ErrorLog) -> None:
    """Accepting stops for a second, the loop stays alive and says so once; then accepting goes on."""
    ends: list[End] = []

    def factory() -> End:
        ends.append(End())
        return ends[-1]

    listener = reactor.listen(factory, "127.0.0.1")
    first = socket.create_connection(("127.0.0.1", port_of(listener)), 10)
    wait_until(reactor, lambda: ends)
    peer = socket.create_connection(("127.0.0.1", port_of(listener)), 10)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(peer.fileno() + 1, 3), hard))
    filler = []
    try:
        while True:
            try:
                filler.append(os.open(os.devnull, os.O_RDONLY))
            except OSError:
                break
        first.sendall(b"alive?")
        wait_until(reactor, lambda: ends[0].data == b"alive?")
        turns = 0
        deadline = reactor.time() + 0.2
        while reactor.time() < deadline:
            reactor.step(0.1)
            turns += 1
        assert turns < 50, f"{turns} turns in 0.2 s: the loop spins"
        assert len(ends) == 1
    finally:
        for fd in filler:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    wait_until(reactor, lambda: len(ends) == 2, seconds=5)
    first.close()
    peer.close()
    wait_until(reactor, lambda: all(end.lost for end in ends))
    if error_log.messages:
        assert len(error_log.messages) == 1, error_log.messages
        error_log.messages.clear()
