"""The contract of TLS over a backend's streams, and its end in particular."""

from __future__ import annotations

import socket
import ssl
import typing

import pytest
import trustme

from portable.errors import ConnectionLost, LocalProtocolError, RemoteProtocolError, TLSError, TLSTruncated
from portable.testing import wait_for, wait_until
from portable.tls import client_options, server_options, tls_factory
from tests.conformance.judge import End, connected, port_of

if typing.TYPE_CHECKING:
    import pathlib

    from portable.reactor import Reactor
    from portable.tls import TLSOptions


class Sides(typing.NamedTuple):
    server: TLSOptions
    client: TLSOptions
    stranger: TLSOptions
    ca: str


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> Sides:
    folder: pathlib.Path = tmp_path_factory.mktemp("tls")
    ca, other = trustme.CA(), trustme.CA()
    cert = ca.issue_cert("localhost", "127.0.0.1")
    cert.private_key_and_cert_chain_pem.write_to_path(str(folder / "server.pem"))
    ca.cert_pem.write_to_path(str(folder / "ca.pem"))
    other.cert_pem.write_to_path(str(folder / "other.pem"))
    return Sides(
        server_options(str(folder / "server.pem"), alpn=["echo"]),
        client_options("localhost", ca=str(folder / "ca.pem"), alpn=["echo"]),
        client_options("localhost", ca=str(folder / "other.pem")),
        str(folder / "ca.pem"),
    )


def upgraded(reactor: Reactor, sides: Sides) -> tuple[End, End]:
    """Return a client and a server that have just agreed to speak TLS."""
    client, server = End(), End()
    connected(reactor, client, server)
    server.transport = server.transport.start_tls(sides.server, 0)
    client.transport = client.transport.start_tls(sides.client, 0)
    return client, server


def test_upgrade(reactor: Reactor, sides: Sides) -> None:
    """Both directions; the protocols stay, with no second connection_made; what was agreed can be asked."""
    client, server = upgraded(reactor, sides)
    client.transport.write(b"question")
    server.transport.write(b"answer")
    wait_until(reactor, lambda: client.data and server.data)
    assert (bytes(server.data), bytes(client.data)) == (b"question", b"answer")
    assert client.calls == server.calls == ["made", "data"]
    assert client.transport.get_extra_info("alpn_protocol") == "echo"
    assert server.transport.get_extra_info("server_name") == "localhost"
    assert str(client.transport.get_extra_info("tls_version")).startswith("TLSv1.")


def test_what_was_written_before_leaves_in_clear(reactor: Reactor, sides: Sides) -> None:
    """As STARTTLS needs it: the reply that grants it comes before the handshake."""

    def grant(end: End, data: bytes) -> None:
        if data == b"STARTTLS":
            end.transport.write(b"220 go ahead")
            end.transport = end.transport.start_tls(sides.server, 0)

    def go(end: End, data: bytes) -> None:
        if data == b"220 go ahead":
            end.transport = end.transport.start_tls(sides.client, 0)
            end.transport.write(b"secret")

    client, server = End(on_data=go), End(on_data=grant)
    connected(reactor, client, server)
    client.transport.write(b"STARTTLS")
    wait_until(reactor, lambda: server.data == b"STARTTLSsecret")


def test_unread_plaintext_is_refused(reactor: Reactor, sides: Sides) -> None:
    """CVE-2011-0411: bytes that came before the handshake are not taken for protected ones."""
    client, server = End(), End()
    connected(reactor, client, server)
    with pytest.raises(RemoteProtocolError):
        server.transport.start_tls(sides.server, 1)


def test_no_second_upgrade_and_none_while_closing(reactor: Reactor, sides: Sides) -> None:
    """LocalProtocolError."""
    client, server = upgraded(reactor, sides)
    with pytest.raises(LocalProtocolError):
        server.transport.start_tls(sides.server, 0)
    plain, other = End(), End()
    connected(reactor, plain, other)
    plain.transport.close()
    with pytest.raises(LocalProtocolError):
        plain.transport.start_tls(sides.client, 0)
    wait_until(reactor, lambda: plain.lost and other.lost)
    assert not client.lost


def test_close_is_a_regular_end(reactor: Reactor, sides: Sides) -> None:
    """With close_notify: eof_received and connection_lost(None) on the other side, all data before."""
    client, server = upgraded(reactor, sides)
    data = bytes(range(256)) * 8000
    client.transport.write(data)
    client.transport.close()
    wait_until(reactor, lambda: client.lost and server.lost)
    assert server.data == data
    assert client.reason is server.reason is None
    assert server.calls == ["made", "data", "eof", "lost"]


def test_truncation_is_told(reactor: Reactor, sides: Sides) -> None:
    """An end of stream without close_notify is TLSTruncated, never eof_received (RFC 8446 6.1)."""
    server = End(on_data=lambda end, data: end.transport.write(data))
    listener = reactor.listen(tls_factory(lambda: server, sides.server), "127.0.0.1")
    context = ssl.create_default_context(cafile=sides.ca)

    def talk() -> None:
        with socket.create_connection(("127.0.0.1", port_of(listener)), 10) as sock:
            peer = context.wrap_socket(sock, server_hostname="localhost", suppress_ragged_eofs=False)
            peer.sendall(b"hello")
            assert peer.recv(100) == b"hello"
            with socket.socket(fileno=peer.detach()) as raw:
                raw.settimeout(10)
                raw.shutdown(socket.SHUT_WR)
                raw.recv(100)

    wait_for(reactor, reactor.run_in_thread(talk))
    wait_until(reactor, lambda: server.lost)
    assert isinstance(server.reason, TLSTruncated)
    assert not server.eof


def test_a_listener_with_tls(reactor: Reactor, sides: Sides) -> None:
    """tls_factory on both sides; the protocols are made when the handshake is done."""
    server = End(on_data=lambda end, data: end.transport.write(data))
    listener = reactor.listen(tls_factory(lambda: server, sides.server), "127.0.0.1")
    tls = wait_for(reactor, reactor.connect(tls_factory(End, sides.client), "127.0.0.1", port_of(listener)))
    wait_for(reactor, tls.handshake)
    client = typing.cast("End", tls.get_protocol())
    client.transport.write(b"x" * 1_000_000)
    wait_until(reactor, lambda: len(client.data) == 1_000_000)
    client.transport.close()
    wait_until(reactor, lambda: client.lost and server.lost)


def test_a_handshake_that_fails(reactor: Reactor, sides: Sides) -> None:
    """connection_lost with a TLSError on the side that refuses, with that or a ConnectionLost on the other."""
    client, server = End(), End()
    connected(reactor, client, server)
    server.transport.start_tls(sides.server, 0)
    client.transport.start_tls(sides.stranger, 0)
    wait_until(reactor, lambda: client.lost and server.lost)
    assert isinstance(client.reason, TLSError)
    assert isinstance(server.reason, TLSError | ConnectionLost)
    assert client.calls == ["made", "lost"]


def test_garbage_instead_of_a_handshake(reactor: Reactor, sides: Sides) -> None:
    """A TLSError."""
    client, server = End(), End()
    connected(reactor, client, server)
    server.transport.start_tls(sides.server, 0)
    client.transport.write(b"GET / HTTP/1.0\r\n\r\n")
    wait_until(reactor, lambda: client.lost and server.lost)
    assert isinstance(server.reason, TLSError)


def test_no_half_close(reactor: Reactor, sides: Sides) -> None:
    """can_write_eof says so, write_eof is a LocalProtocolError."""
    client, _server = upgraded(reactor, sides)
    assert not client.transport.can_write_eof()
    with pytest.raises(LocalProtocolError):
        client.transport.write_eof()


def test_send_file(reactor: Reactor, sides: Sides, tmp_path: pathlib.Path) -> None:
    """It arrives, protected, in its place."""
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)) * 8000)
    client, server = upgraded(reactor, sides)
    with path.open("rb") as file:
        server.transport.write(b"<")
        sent = server.transport.send_file(file, 256, 2_000_000)
        server.transport.write(b">")
        assert wait_for(reactor, sent) == 2_000_000
    wait_until(reactor, lambda: len(client.data) == 2_000_002)
    assert client.data == b"<" + path.read_bytes()[256:2_000_256] + b">"


def test_a_reset_under_tls(reactor: Reactor, sides: Sides) -> None:
    """The class of a reset, not of a truncation: nobody said there was an end."""
    client, server = upgraded(reactor, sides)
    client.transport.write(b"x")
    wait_until(reactor, lambda: server.data)
    client.transport.abort()
    wait_until(reactor, lambda: client.lost and server.lost)
    assert isinstance(server.reason, ConnectionLost | TLSTruncated)
    assert client.reason is None
