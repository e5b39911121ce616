"""On every backend, against OpenSSL's programs and Python's own TLS sockets."""

from __future__ import annotations

import contextlib
import io
import shutil
import socket
import ssl
import subprocess
import typing

import pytest

from portable.errors import CertificateError, ConnectionRefused, TLSError, TLSTruncated
from portable.testing import wait_for, wait_until
from portable.tls import TLSTransport, client_options, server_options, tls_factory
from portable.transport import Address
from tests.portable.tls.certs import common_name
from tests.portable.tls.recording import Recorder

if typing.TYPE_CHECKING:
    from collections.abc import Iterator

    from portable.reactor import Listener, Reactor
    from portable.tls import TLSOptions
    from tests.portable.tls.certs import Certificates

BIG = bytes(range(256)) * 8192  # 2 MiB
OPENSSL = shutil.which("openssl")
needs_openssl = pytest.mark.skipif(OPENSSL is None, reason="needs the openssl program")


class Echo(Recorder):
    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self.transport.write(data)


class Server:
    """A listener on TLS that keeps the protocols it makes."""

    def __init__(self, reactor: Reactor, options: TLSOptions, kind: type[Recorder] = Echo) -> None:
        self.kind = kind
        self.made: list[Recorder] = []
        self.listener: Listener = reactor.listen(tls_factory(self._make, options), "127.0.0.1")
        address = self.listener.address
        assert isinstance(address, Address)
        self.port = address.port

    def _make(self) -> Recorder:
        protocol = self.kind()
        self.made.append(protocol)
        return protocol


def connect(reactor: Reactor, port: int, options: TLSOptions, protocol: Recorder) -> TLSTransport:
    tls = wait_for(reactor, reactor.connect(tls_factory(lambda: protocol, options), "127.0.0.1", port))
    wait_for(reactor, tls.handshake)
    return tls


@contextlib.contextmanager
def python_client(port: int, certs: Certificates) -> Iterator[ssl.SSLSocket]:
    context = ssl.create_default_context(cafile=certs.ca)
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname="server.test", suppress_ragged_eofs=False) as sock,
    ):
        yield sock


def read_exactly(sock: socket.socket, count: int) -> bytes:
    parts = []
    while count:
        part = sock.recv(count)
        assert part
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def test_a_python_client(reactor: Reactor, certs: Certificates) -> None:
    server = Server(reactor, server_options(*certs.server))

    def talk() -> bytes:
        with python_client(server.port, certs) as sock:
            echoed = b""
            for start in range(0, len(BIG), 65536):
                sock.sendall(BIG[start : start + 65536])
                echoed += read_exactly(sock, 65536)
            sock.unwrap()
            return echoed

    assert wait_for(reactor, reactor.run_in_thread(talk)) == BIG
    wait_until(reactor, lambda: server.made[0].lost)
    assert server.made[0].events == ["made", "data", "eof", "lost"]
    assert server.made[0].reason is None


def test_a_python_client_hears_our_farewell(reactor: Reactor, certs: Certificates) -> None:
    class Greeter(Recorder):
        def connection_made(self, transport: typing.Any) -> None:
            super().connection_made(transport)
            transport.write(BIG)
            transport.close()

    server = Server(reactor, server_options(*certs.server), Greeter)

    def talk() -> tuple[int, bytes]:
        with python_client(server.port, certs) as sock:
            count = len(read_exactly(sock, len(BIG)))
            # With suppress_ragged_eofs off, an end without close_notify would raise.
            return count, sock.recv(1)

    assert wait_for(reactor, reactor.run_in_thread(talk)) == (len(BIG), b"")
    wait_until(reactor, lambda: server.made[0].lost)
    assert server.made[0].reason is None


def test_a_python_client_that_just_hangs_up(reactor: Reactor, certs: Certificates) -> None:
    server = Server(reactor, server_options(*certs.server))

    def talk() -> None:
        with python_client(server.port, certs) as sock:
            sock.sendall(b"half a mess")
            read_exactly(sock, 11)
            # Closes the socket below, without close_notify.

    wait_for(reactor, reactor.run_in_thread(talk))
    wait_until(reactor, lambda: server.made[0].lost)
    assert server.made[0].events == ["made", "data", "lost"]
    assert isinstance(server.made[0].reason, TLSTruncated)


def test_a_python_server(reactor: Reactor, certs: Certificates) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=certs.ca)
    context.load_cert_chain(*certs.server)
    context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols(["x/1"])
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(10)

        def serve() -> typing.Any:
            plain, _ = listening.accept()
            with plain, context.wrap_socket(plain, server_side=True) as sock:
                sock.sendall(read_exactly(sock, len(BIG)))
                peer = sock.getpeercert()
                sock.unwrap()
                return peer

        served = reactor.run_in_thread(serve)
        client = Recorder()
        options = client_options(
            "server.test", ca=certs.ca, certificate=certs.client.cert, privkey=certs.client.key, alpn=("x/1",)
        )
        tls = connect(reactor, listening.getsockname()[1], options, client)
        assert tls.get_extra_info("alpn_protocol") == "x/1"
        tls.write(BIG)
        assert common_name(wait_for(reactor, served)) == "client@example.org"
        wait_until(reactor, lambda: client.lost)
        assert client.data == BIG
        assert client.reason is None
        assert client.events[-2:] == ["eof", "lost"]


@needs_openssl
@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_openssl_s_client(reactor: Reactor, certs: Certificates, version: str) -> None:
    options = server_options(
        *certs.server,
        others=[certs.other],
        alpn=("h2", "x/1"),
        client_ca=certs.ca,
        require_client_certificate=True,
    )

    class Line(Recorder):
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self.data.endswith(b"\n"):
                self.transport.write(self.data.upper())
                self.transport.close()

    server = Server(reactor, options, Line)
    command = [
        *(OPENSSL or "", "s_client", "-connect", f"127.0.0.1:{server.port}", "-servername", "other.test"),
        *("-CAfile", certs.ca, "-verify_return_error", "-verify_hostname", "other.test"),
        *("-cert", certs.client.cert, "-key", certs.client.key, "-alpn", "x/1", version, "-ign_eof"),
    ]

    def run() -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(command, input=b"a line\n", capture_output=True, timeout=20, check=False)

    done = wait_for(reactor, reactor.run_in_thread(run), 20)
    assert b"A LINE\n" in done.stdout
    assert b"ALPN protocol: x/1" in done.stdout
    assert b"CN = other.test" in done.stdout
    assert done.returncode == 0
    wait_until(reactor, lambda: server.made[0].lost)
    peer = server.made[0].transport.get_extra_info("peercert")
    assert common_name(peer) == "client@example.org"
    assert server.made[0].reason is None


@needs_openssl
def test_old_versions_are_refused(reactor: Reactor, certs: Certificates) -> None:
    server = Server(reactor, server_options(*certs.server))
    command = [
        *(OPENSSL or "", "s_client", "-connect", f"127.0.0.1:{server.port}", "-tls1_1"),
        *("-cipher", "ALL:@SECLEVEL=0"),
    ]

    def run() -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(command, input=b"", capture_output=True, timeout=20, check=False)

    done = wait_for(reactor, reactor.run_in_thread(run), 20)
    assert done.returncode != 0
    assert b"alert protocol version" in done.stderr
    assert server.made == []


@needs_openssl
def test_renegotiation_is_refused(reactor: Reactor, certs: Certificates) -> None:
    server = Server(reactor, server_options(*certs.server))
    command = [
        *(OPENSSL or "", "s_client", "-connect", f"127.0.0.1:{server.port}", "-tls1_2", "-CAfile", certs.ca),
    ]

    def run() -> subprocess.CompletedProcess[bytes]:
        # A line "R" has s_client ask for renegotiation.
        return subprocess.run(command, input=b"R\n", capture_output=True, timeout=20, check=False)

    done = wait_for(reactor, reactor.run_in_thread(run), 20)
    assert b"no renegotiation" in done.stderr
    wait_until(reactor, lambda: server.made[0].lost)


@needs_openssl
def test_openssl_s_server(reactor: Reactor, certs: Certificates) -> None:
    command = [
        *(OPENSSL or "", "s_server", "-accept", "127.0.0.1:0", "-naccept", "1", "-rev"),
        *("-cert", certs.server.cert, "-key", certs.server.key),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        try:
            assert process.stdout is not None
            line = b""
            while not line.startswith(b"ACCEPT "):
                line = process.stdout.readline()
                assert line
            port = int(line.rsplit(b":", 1)[1])
            client = Recorder()
            tls = connect(reactor, port, client_options("server.test", ca=certs.ca), client)
            tls.write(b"drawer\n")
            wait_until(reactor, lambda: client.data == b"reward\n")
            tls.close()
            wait_until(reactor, lambda: client.lost)
            assert client.reason is None
        finally:
            process.kill()


def test_a_server_that_we_do_not_trust(reactor: Reactor, certs: Certificates) -> None:
    server = Server(reactor, server_options(*certs.server))
    options = client_options("server.test", ca=certs.stranger.pem)
    tls = wait_for(reactor, reactor.connect(tls_factory(Recorder, options), "127.0.0.1", server.port))
    with pytest.raises(CertificateError, match="local issuer"):
        wait_for(reactor, tls.handshake)
    assert server.made == []


def test_a_server_that_does_not_speak_tls(reactor: Reactor, certs: Certificates) -> None:
    listener = reactor.listen(Echo, "127.0.0.1")
    assert isinstance(listener.address, Address)
    factory = tls_factory(Recorder, client_options("server.test", ca=certs.ca))
    tls = wait_for(reactor, reactor.connect(factory, "127.0.0.1", listener.address.port))
    with pytest.raises(TLSError):
        wait_for(reactor, tls.handshake)


def test_nobody_there(reactor: Reactor, certs: Certificates) -> None:
    server = Server(reactor, server_options(*certs.server))
    server.listener.close()
    with pytest.raises(ConnectionRefused):
        wait_for(
            reactor,
            reactor.connect(tls_factory(Recorder, client_options("server.test")), "127.0.0.1", server.port),
        )


def test_http_on_a_tls_port(reactor: Reactor, certs: Certificates) -> None:
    server = Server(reactor, server_options(*certs.server))
    client = Recorder()
    wait_for(reactor, reactor.connect(lambda: client, "127.0.0.1", server.port))
    client.transport.write(b"GET / HTTP/1.1\r\nHost: server.test\r\n\r\n")
    wait_until(reactor, lambda: client.lost)
    assert server.made == []
    assert len(client.data) <= 7


def test_files_and_writes_to_a_slow_reader(reactor: Reactor, certs: Certificates) -> None:
    server = Server(reactor, server_options(*certs.server), Recorder)
    client = Recorder()
    tls = connect(reactor, server.port, client_options("server.test", ca=certs.ca), client)
    wait_until(reactor, lambda: server.made)
    reader = server.made[0]
    reader.transport.pause_reading()
    file = io.BytesIO(BIG * 8)
    tls.write(b"<")
    done = tls.send_file(file, 0, len(BIG) * 8)
    tls.write(b">")
    tls.close()
    for _ in range(20):
        reactor.step(0.01)
    # The kernel's buffers hold some megabytes; the rest is still in the file.
    assert not done.called
    assert tls.get_write_buffer_size() < 1_000_000
    reader.transport.resume_reading()
    assert wait_for(reactor, done) == len(BIG) * 8
    wait_until(reactor, lambda: reader.lost and client.lost)
    assert reader.data == b"<" + BIG * 8 + b">"
    assert reader.events == ["made", "data", "eof", "lost"]
    assert client.events[-1] == "lost"


def test_upgrade_on_the_network(reactor: Reactor, certs: Certificates) -> None:
    class Upgrading(Echo):
        def data_received(self, data: bytes) -> None:
            if data == b"STARTTLS\n":
                self.transport.write(b"ok\n")
                self.transport = self.transport.start_tls(server_options(*certs.server), 0)
            else:
                super().data_received(data)

    made: list[Upgrading] = []

    def make() -> Upgrading:
        made.append(Upgrading())
        return made[-1]

    listener = reactor.listen(make, "127.0.0.1")
    assert isinstance(listener.address, Address)
    client = Recorder()
    wait_for(reactor, reactor.connect(lambda: client, "127.0.0.1", listener.address.port))
    client.transport.write(b"STARTTLS\n")
    wait_until(reactor, lambda: client.data == b"ok\n")
    tls = client.transport.start_tls(client_options("server.test", ca=certs.ca), 0)
    tls.write(BIG)
    wait_until(reactor, lambda: len(client.data) == 3 + len(BIG))
    assert client.data[3:] == BIG
    tls.close()
    wait_until(reactor, lambda: client.lost and made[0].lost)
    assert made[0].reason is None
    assert client.reason is None


def test_a_client_that_writes_and_closes_at_once(reactor: Reactor, certs: Certificates) -> None:
    server = Server(reactor, server_options(*certs.server), Recorder)
    for _ in range(20):
        client = Recorder()
        tls = connect(reactor, server.port, client_options("server.test", ca=certs.ca), client)
        tls.write(b"brief")
        tls.close()
        wait_until(reactor, lambda: client.lost)  # noqa: B023  waited for within the turn of the loop
        assert client.reason is None
    wait_until(reactor, lambda: len(server.made) == 20 and all(made.lost for made in server.made))
    assert [made.data for made in server.made] == [b"brief"] * 20
    assert [made.reason for made in server.made] == [None] * 20
