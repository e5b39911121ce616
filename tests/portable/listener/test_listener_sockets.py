"""Listeners and endpoints over the sockets of each backend."""

from __future__ import annotations

import socket
import ssl
import typing

import pytest
import trustme

from portable.endpoints import (
    TCPClientEndpoint,
    TCPEndpoint,
    TLSClientEndpoint,
    TLSEndpoint,
    UnixClientEndpoint,
    UnixEndpoint,
    parse_endpoint,
)
from portable.errors import AddressInUse, CertificateError, ConnectionLost, ConnectionRefused, ConnectTimedOut
from portable.listener import ListenerOptions, ServerPort
from portable.service import PortService, ServiceGroup
from portable.testing import wait_for, wait_until
from portable.transport import Address
from tests.portable.listening import Draining, Recorder, Stubborn

if typing.TYPE_CHECKING:
    import pathlib

    from portable.endpoints import Endpoint
    from portable.reactor import Reactor

ANY = TCPEndpoint(0, "127.0.0.1")


class Client(Recorder):
    """Not one of the server's protocols."""

    def __init__(self) -> None:
        super().__init__()
        Recorder.made.remove(self)


def serve(
    reactor: Reactor, endpoint: Endpoint = ANY, factory: type[Recorder] = Recorder, **options: typing.Any
) -> ServerPort:
    server = ServerPort("web", factory, endpoint, ListenerOptions(**options))
    server.bind(reactor)
    server.start()
    return server


def number(server: ServerPort) -> int:
    assert isinstance(server.address, Address)
    return server.address.port


def connect(reactor: Reactor, server: ServerPort) -> Client:
    return wait_for(reactor, TCPClientEndpoint("127.0.0.1", number(server)).connect(reactor, Client))


def test_a_question_is_answered(reactor: Reactor) -> None:
    server = serve(reactor)
    assert server.describe() == f"web tcp 127.0.0.1:{number(server)}"
    client = connect(reactor, server)
    client.transport.write(b"hello?")
    wait_until(reactor, lambda: client.received == b"!")
    client.transport.close()
    wait_until(reactor, lambda: server.open == 0)
    assert (server.accepted, server.bytes_received, server.bytes_sent) == (1, 6, 1)


def test_unix_sockets(reactor: Reactor, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "s"
    server = serve(reactor, UnixEndpoint(str(path), 0o600))
    assert path.stat().st_mode & 0o777 == 0o600
    client = wait_for(reactor, UnixClientEndpoint(str(path)).connect(reactor, Client))
    client.transport.write(b"?")
    wait_until(reactor, lambda: client.received == b"!")
    server.stop_accepting()
    assert not path.exists()


def test_a_flood_is_refused_and_the_loop_goes_on(reactor: Reactor) -> None:
    server = serve(reactor, max_connections=3)
    clients = [connect(reactor, server) for _ in range(10)]
    wait_until(reactor, lambda: server.refused == 7)
    wait_until(reactor, lambda: sum(bool(client.lost) for client in clients) == 7)
    for client in clients:
        client.transport.close()
    wait_until(reactor, lambda: server.open == 0)
    again = connect(reactor, server)
    again.transport.write(b"?")
    wait_until(reactor, lambda: again.received == b"!")


def test_a_factory_that_fails_leaves_the_listener_alive(reactor: Reactor, error_log: typing.Any) -> None:
    class Moody(Recorder):
        def __init__(self) -> None:
            if not moods.pop():
                raise RuntimeError("not today")
            super().__init__()

    moods = [True, False]
    server = serve(reactor, ANY, Moody)
    first, second = connect(reactor, server), connect(reactor, server)
    wait_until(reactor, lambda: first.lost)
    second.transport.write(b"?")
    wait_until(reactor, lambda: second.received == b"!")
    assert server.open == 1
    error_log.expect("not today")


def test_an_idle_connection_is_closed(reactor: Reactor) -> None:
    server = serve(reactor, idle_timeout=0.05)
    client = connect(reactor, server)
    wait_until(reactor, lambda: client.lost)
    assert server.open == 0


def test_slow_read_of_a_file_is_dropped(reactor: Reactor, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(200_000_000)
    server = serve(reactor, idle_timeout=0.2)
    client = connect(reactor, server)
    client.transport.pause_reading()
    wait_until(reactor, lambda: server.open == 1)
    errors: list[Exception] = []
    with path.open("rb") as file:
        Recorder.made[0].transport.send_file(file, 0, 200_000_000).add_errback(errors.append)
        wait_until(reactor, lambda: server.open == 0 and errors)
    assert isinstance(errors[0], ConnectionLost)


def test_drain_refuses_new_connections_and_keeps_the_old(reactor: Reactor) -> None:
    server = serve(reactor, ANY, Stubborn)
    client = connect(reactor, server)
    wait_until(reactor, lambda: server.open == 1)
    done = server.drain(60)
    with pytest.raises(ConnectionRefused):
        connect(reactor, server)
    client.transport.write(b"?")
    wait_until(reactor, lambda: client.received == b"bye!")
    assert not done.called
    assert wait_for(reactor, server.drain(0)) == 1
    assert wait_for(reactor, done) == 1


def test_drain_waits_for_a_farewell(reactor: Reactor) -> None:
    server = serve(reactor, ANY, Draining)
    client = connect(reactor, server)
    wait_until(reactor, lambda: server.open == 1)
    assert wait_for(reactor, server.drain(60)) == 0
    wait_until(reactor, lambda: client.lost)
    assert client.received == b"bye"


def test_proxy_headers(reactor: Reactor) -> None:
    server = serve(reactor, proxy_protocol_from=("127.0.0.0/8",))
    client = connect(reactor, server)
    client.transport.write(b"PROXY TCP4 198.51.100.7 198.51.100.8 56324 443\r\n?")
    wait_until(reactor, lambda: client.received == b"!")
    peer = Recorder.made[0].transport.get_extra_info("peername")
    assert peer == Address("198.51.100.7", 56324)


def test_a_throttle_slows_the_peer_down(reactor: Reactor) -> None:
    server = serve(reactor, throttle=200_000)
    client = connect(reactor, server)
    start = reactor.time()
    client.transport.write(bytes(60_000))
    wait_until(reactor, lambda: Recorder.made and len(Recorder.made[0].received) == 60_000)
    # One slice passes at once.
    assert reactor.time() - start >= 0.15
    assert server.open == 1


def test_a_throttled_writer_pauses_and_resumes(reactor: Reactor) -> None:
    server = serve(reactor, throttle=10_000)
    client = connect(reactor, server)
    wait_until(reactor, lambda: len(Recorder.made) == 1)
    writer = Recorder.made[0]
    writer.transport.set_write_buffer_limits(100)
    # One slice passes at once; the rest leaves in one piece, and only then the transport below has it.
    writer.transport.write(bytes(1500))
    wait_until(reactor, lambda: "resume" in writer.events)
    assert writer.events == ["made", "pause", "resume"]
    wait_until(reactor, lambda: len(client.received) == 1500)


@pytest.mark.parametrize("in_file", [0, 300_000])
def test_a_throttled_writer_goes_on_when_the_system_takes_everything_at_once(
    reactor: Reactor, tmp_path: pathlib.Path, in_file: int
) -> None:
    """The transport below tells of no pause then, so of no end of one either."""
    (tmp_path / "file").write_bytes(bytes(in_file))
    server = serve(reactor, throttle=100_000_000)
    client = connect(reactor, server)
    wait_until(reactor, lambda: len(Recorder.made) == 1)
    writer = Recorder.made[0]
    with (tmp_path / "file").open("rb") as file:
        writer.transport.write(bytes(100_000))
        if in_file:
            sent = writer.transport.send_file(file, 0, in_file)
            assert wait_for(reactor, sent) == in_file
        wait_until(reactor, lambda: len(client.received) == 100_000 + in_file)
        wait_until(reactor, lambda: writer.events == ["made", "pause", "resume"])


def test_the_loop_rests_while_the_end_of_a_throttled_stream_is_not_taken(reactor: Reactor) -> None:
    server = serve(reactor, throttle=100_000_000)
    client = connect(reactor, server)
    client.transport.pause_reading()
    wait_until(reactor, lambda: len(Recorder.made) == 1)
    writer = Recorder.made[0].transport
    writer.write(bytes(8_000_000))
    writer.write_eof()
    turns = 0
    over: list[bool] = []
    reactor.call_later(0.2, over.append, True)
    while not over:
        reactor.step(1)
        turns += 1
    assert writer.get_write_buffer_size()
    assert turns < 1000


def test_all_ports_are_bound_or_none(reactor: Reactor) -> None:
    taken = serve(reactor)
    free = ServerPort("free", Recorder, ANY)
    clash = ServerPort("mail", Recorder, TCPEndpoint(number(taken), "127.0.0.1"))
    group = ServiceGroup("all", [PortService("web", [free]), PortService("mail", [clash])])
    with pytest.raises(AddressInUse, match=rf"^mail tcp:{number(taken)}:interface=127\.0\.0\.1: "):
        group.bind(reactor)
    again = serve(reactor, TCPEndpoint(number(free), "127.0.0.1"))
    assert number(again) == number(free)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("certificates")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    authority.issue_cert("localhost", "127.0.0.1").private_key_and_cert_chain_pem.write_to_path(
        folder / "s.pem"
    )
    return folder


def test_tls_both_ways(reactor: Reactor, files: pathlib.Path) -> None:
    server = serve(reactor, TLSEndpoint(0, str(files / "s.pem"), interface="127.0.0.1"))
    endpoint = TLSClientEndpoint("127.0.0.1", number(server), ca=str(files / "ca.pem"))
    client = wait_for(reactor, endpoint.connect(reactor, Client))
    assert isinstance(client, Client)
    client.transport.write(b"?")
    wait_until(reactor, lambda: client.received == b"!")
    assert server.kind == "tls"
    wait_for(reactor, server.drain(10))
    wait_until(reactor, lambda: client.lost == [None])


def test_each_host_has_its_own_certificate(reactor: Reactor, tmp_path: pathlib.Path) -> None:
    authority = trustme.CA()
    files = [tmp_path / name for name in ("first.pem", "second.pem")]

    def issue(path: pathlib.Path, *names: str) -> None:
        authority.issue_cert(*names).private_key_and_cert_chain_pem.write_to_path(path)

    context = ssl.create_default_context(cadata=authority.cert_pem.bytes().decode())
    context.check_hostname = False

    def shown(asked: str | None) -> object:
        """The first name in the certificate that a client gets who asks for `asked`."""

        def ask() -> object:
            with (
                socket.create_connection(("127.0.0.1", number(server)), 20) as raw,
                context.wrap_socket(raw, server_hostname=asked) as tls,
            ):
                return (tls.getpeercert() or {})["subjectAltName"][0][1]

        return wait_for(reactor, reactor.run_in_thread(ask))

    issue(files[0], "a.test")
    issue(files[1], "b.test", "*.c.test")
    text = f"tls:0:interface=127.0.0.1:certificate={files[0]}:certificate={files[1]}"
    server = serve(reactor, parse_endpoint(text))
    asked = ("a.test", "b.test", "x.c.test", "d.test", None)
    assert [shown(name) for name in asked] == ["a.test", "b.test", "b.test", "a.test", "a.test"]
    issue(files[1], "d.test")
    server.reload()
    assert [shown(name) for name in asked] == ["a.test", "a.test", "a.test", "d.test", "a.test"]


def test_a_server_with_a_strangers_certificate_is_refused(reactor: Reactor, files: pathlib.Path) -> None:
    server = serve(reactor, TLSEndpoint(0, str(files / "s.pem"), interface="127.0.0.1"))
    with pytest.raises(CertificateError):
        wait_for(reactor, TLSClientEndpoint("127.0.0.1", number(server)).connect(reactor, Client))
    wait_until(reactor, lambda: server.open == 0)


def test_a_server_that_never_shakes_hands_is_given_up(reactor: Reactor) -> None:
    server = serve(reactor)
    endpoint = TLSClientEndpoint("127.0.0.1", number(server), timeout=0.1)
    with pytest.raises(ConnectTimedOut, match="TLS handshake with 127"):
        wait_for(reactor, endpoint.connect(reactor, Client))
    wait_until(reactor, lambda: server.open == 0)


def test_nobody_listens(reactor: Reactor) -> None:
    server = serve(reactor)
    server.stop_accepting()
    with pytest.raises(ConnectionRefused):
        wait_for(reactor, TLSClientEndpoint("127.0.0.1", number(server)).connect(reactor, Client))
