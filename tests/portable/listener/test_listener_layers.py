"""TLS, throttling and both with PROXY headers: what may stand between a transport and the protocol."""

from __future__ import annotations

import ssl
import typing

import pytest
import trustme

from portable.endpoints import TCPEndpoint, TLSEndpoint
from portable.listener import ListenerOptions, ServerPort
from portable.tls import server_options
from portable.transport import Address
from tests.portable.listening import HEADER, PROXY, Draining, FakeReactor, Pausing, Recorder, last, started

if typing.TYPE_CHECKING:
    import pathlib

    from portable.endpoints import Endpoint
    from portable.testing import MemoryTransport


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("certificates")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    server = authority.issue_cert("example.org")
    server.private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
    authority.issue_cert("me@example.org").private_key_and_cert_chain_pem.write_to_path(folder / "client.pem")
    return folder


def port(
    loop: FakeReactor,
    endpoint: Endpoint | None = None,
    factory: type[Recorder] = Recorder,
    **options: typing.Any,
) -> ServerPort:
    return started(loop, ServerPort("web", factory, endpoint or TCPEndpoint(8080), ListenerOptions(**options)))


def tls_endpoint(files: pathlib.Path) -> TLSEndpoint:
    return TLSEndpoint(8443, str(files / "server.pem"))


class Client:
    """The other end of a MemoryTransport, speaking TLS with the standard library."""

    def __init__(self, server: MemoryTransport, files: pathlib.Path, alpn: str = "") -> None:
        self._server = server
        context = ssl.create_default_context(cafile=str(files / "ca.pem"))
        if alpn:
            context.set_alpn_protocols([alpn])
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._in, self._out, server_hostname="example.org")

    def hello(self) -> bytes:
        with pytest.raises(ssl.SSLWantReadError):
            self.tls.do_handshake()
        return self._out.read()

    def shake(self, first: bytes = b"") -> None:
        self._server.receive(first or self.hello())
        self._in.write(self._server.take())
        self.tls.do_handshake()
        self.flush()

    def flush(self) -> None:
        self._server.receive(self._out.read())
        self._in.write(self._server.take())

    def say(self, data: bytes) -> None:
        self.tls.write(data)
        self.flush()

    def hear(self) -> bytes:
        self._in.write(self._server.take())
        return self.tls.read(100_000)


def info(name: str) -> typing.Any:
    return last().transport.get_extra_info(name)


# TLS.


def test_tls_from_the_first_byte(loop: FakeReactor, files: pathlib.Path) -> None:
    server = port(loop, tls_endpoint(files), alpn=("h2", "http/1.1"))
    assert server.describe() == "web tls 0.0.0.0:8443"
    raw = loop.accept()
    client = Client(raw, files, "http/1.1")
    assert Recorder.made == []
    client.shake()
    assert info("alpn_protocol") == "http/1.1"
    client.say(b"hello?")
    assert last().received == b"hello?"
    assert client.hear() == b"!"
    last().transport.close()
    loop.advance()
    assert raw.lost
    assert last().events[-1] == "lost"
    assert server.open == 0


def test_idle_tls_handshake_is_dropped_in_time(loop: FakeReactor, files: pathlib.Path) -> None:
    server = port(loop, tls_endpoint(files), handshake_timeout=10)
    transport = loop.accept()
    for byte in Client(transport, files).hello()[:9]:
        loop.advance(1)
        transport.receive(bytes([byte]))
    assert server.open == 1
    loop.advance(1)
    assert transport.lost
    assert server.open == 0


def test_a_completed_handshake_is_not_timed_any_more(loop: FakeReactor, files: pathlib.Path) -> None:
    server = port(loop, tls_endpoint(files), handshake_timeout=10)
    Client(loop.accept(), files).shake()
    loop.advance(100)
    assert server.open == 1


def test_drain_closes_a_connection_in_its_handshake(loop: FakeReactor, files: pathlib.Path) -> None:
    server = port(loop, tls_endpoint(files))
    transport = loop.accept()
    server.drain(10)
    loop.advance()
    assert transport.lost


@pytest.mark.parametrize("factory", [Recorder, Draining])
def test_drain_and_idleness_end_tls_with_its_farewell(
    loop: FakeReactor, files: pathlib.Path, factory: type[Recorder]
) -> None:
    server = port(loop, tls_endpoint(files), factory, idle_timeout=60)
    idle = loop.accept()
    idle_client = Client(idle, files)
    idle_client.shake()
    loop.advance(60)
    drained = loop.accept()
    drained_client = Client(drained, files)
    drained_client.shake()
    loop.advance(15)
    assert idle.lost
    assert idle_client.hear() == b""
    server.drain(10)
    loop.advance()
    assert drained.lost
    assert drained_client.hear() == (b"bye" if factory is Draining else b"")


def test_the_header_comes_before_tls(loop: FakeReactor, files: pathlib.Path) -> None:
    port(loop, tls_endpoint(files), proxy_protocol_from=(PROXY,))
    raw = loop.accept(PROXY)
    client = Client(raw, files)
    client.shake(HEADER + client.hello())
    assert info("peername") == Address("198.51.100.7", 56324)
    assert info("tls_version") == "TLSv1.3"
    client.say(b"?")
    assert client.hear() == b"!"
    loop.advance(100)
    assert not raw.lost


@pytest.mark.parametrize("inside", [True, False])
def test_the_header_comes_inside_tls_when_that_was_said(
    loop: FakeReactor, files: pathlib.Path, inside: bool
) -> None:
    server = port(
        loop, tls_endpoint(files), proxy_protocol_from=(PROXY,), proxy_inside_tls=inside, max_per_peer=1
    )
    raw = loop.accept(PROXY)
    client = Client(raw, files)
    if not inside:
        raw.receive(client.hello())
        assert raw.lost
        return
    client.shake()
    assert Recorder.made == []
    client.say(HEADER + b"?")
    assert info("peername") == Address("198.51.100.7", 56324)
    assert client.hear() == b"!"
    loop.advance(100)
    assert not raw.lost
    again = Client(loop.accept(PROXY), files)
    again.shake()
    again.say(HEADER)
    assert (server.open, server.refused) == (1, 1)
    third = Client(loop.accept("192.0.2.9"), files)
    third.shake()
    third.say(HEADER)
    assert last().received == HEADER


def test_data_behind_a_header_inside_tls_waits_too(loop: FakeReactor, files: pathlib.Path) -> None:
    port(loop, tls_endpoint(files), Pausing, proxy_protocol_from=(PROXY,), proxy_inside_tls=True)
    client = Client(loop.accept(PROXY), files)
    client.shake()
    client.say(HEADER + b"early?")
    client.say(b"late")
    assert last().events == ["made"]
    last().transport.resume_reading()
    loop.advance()
    assert last().events == ["made", b"early?"]
    last().transport.resume_reading()
    loop.advance()
    assert last().events == ["made", b"early?", b"late"]


def test_tls_begun_by_the_protocol_is_still_counted_and_drained(loop: FakeReactor, files: pathlib.Path) -> None:
    server = port(loop, max_connections=1, idle_timeout=60)
    raw = loop.accept()
    last().transport = last().transport.start_tls(server_options(str(files / "server.pem")), 0)
    client = Client(raw, files)
    client.shake()
    server.forget_unseen()
    loop.advance(59)
    client.say(b"?")
    assert client.hear() == b"!"
    assert server.open == 1
    server.drain(10)
    loop.advance()
    assert client.hear() == b""
    assert (raw.lost, server.open) == (True, 0)


def test_tls_over_a_proxied_connection_keeps_the_addresses(loop: FakeReactor, files: pathlib.Path) -> None:
    port(loop, proxy_protocol_from=(PROXY,))
    raw = loop.accept(PROXY)
    raw.receive(HEADER)
    last().transport = last().transport.start_tls(server_options(str(files / "server.pem")), 0)
    Client(raw, files).shake()
    assert info("peername") == Address("198.51.100.7", 56324)


def test_certificates_are_reloaded(loop: FakeReactor, files: pathlib.Path, tmp_path: pathlib.Path) -> None:
    certificate = tmp_path / "server.pem"
    certificate.write_bytes((files / "server.pem").read_bytes())
    server = port(loop, TLSEndpoint(8443, str(certificate)))
    other = trustme.CA()
    other.cert_pem.write_to_path(tmp_path / "ca.pem")
    certificate.unlink()
    other.issue_cert("example.org").private_key_and_cert_chain_pem.write_to_path(certificate)
    assert server.reload()
    Client(loop.accept(), tmp_path).shake()
    assert last().events == ["made"]
    certificate.unlink()
    assert not server.reload()
    server.stop_accepting()
    assert port(loop, TCPEndpoint(1)).reload()


def test_clients_must_show_certificates_when_that_was_said(loop: FakeReactor, files: pathlib.Path) -> None:
    endpoint = TLSEndpoint(8443, str(files / "server.pem"), clientca=str(files / "ca.pem"))
    port(loop, endpoint)
    stranger = loop.accept()
    client = Client(stranger, files)
    client.shake()
    assert stranger.lost
    assert Recorder.made == []


# A throttle.


@pytest.mark.parametrize("rate", [10, 1_000, 100_000])
@pytest.mark.parametrize("direction", ["in", "out"])
def test_a_throttled_connection_has_its_rate_to_some_percent(
    loop: FakeReactor, rate: int, direction: str
) -> None:
    port(loop, throttle=rate)
    transport = loop.accept()
    if direction == "in":
        transport.receive(bytes(rate * 20))
    else:
        last().transport.write(bytes(rate * 20))
    start = 0
    for second in range(1, 11):
        loop.advance(1)
        passed = len(last().received) if direction == "in" else len(transport.written)
        assert passed == pytest.approx(rate * second, rel=0.03, abs=rate * 0.11)
        assert passed > start
        start = passed
    loop.advance(11)
    passed = len(last().received) if direction == "in" else len(transport.written)
    assert passed == rate * 20
    loop.advance(1)
    assert loop.next_time() is None


def test_a_throttled_connection_is_not_idle_while_it_moves(loop: FakeReactor) -> None:
    port(loop, throttle=100, idle_timeout=4)
    transport = loop.accept()
    transport.receive(bytes(2000))
    last().transport.write(bytes(2000))
    loop.advance(19)
    assert not transport.lost
    loop.advance(10)
    assert transport.lost


def test_a_throttled_tls_connection_is_throttled_inside(loop: FakeReactor, files: pathlib.Path) -> None:
    server = port(loop, tls_endpoint(files), throttle=100, idle_timeout=8)
    raw = loop.accept()
    client = Client(raw, files)
    client.shake()
    client.say(bytes(1000))
    loop.advance(5)
    assert len(last().received) == pytest.approx(500, abs=20)
    loop.advance(10)
    assert len(last().received) == 1000
    server.drain(10)
    loop.advance()
    assert raw.lost


def test_tls_begun_on_a_throttled_connection_ends_with_its_farewell(
    loop: FakeReactor, files: pathlib.Path
) -> None:
    port(loop, throttle=1_000_000, idle_timeout=8)
    raw = loop.accept()
    last().transport = last().transport.start_tls(server_options(str(files / "server.pem")), 0)
    client = Client(raw, files)
    client.shake()
    loop.advance(10)
    assert client.hear() == b""
    assert raw.lost


def test_the_throttle_of_a_replaced_protocol_stays(loop: FakeReactor) -> None:
    server = port(loop, throttle=100)
    transport = loop.accept()
    throttled = last().transport
    other = Recorder()
    other.transport = throttled
    throttled.set_protocol(other)
    assert throttled.get_protocol() is other
    transport.receive(bytes(1000))
    loop.advance(1)
    assert len(other.received) == pytest.approx(100, abs=20)
    transport.lose()
    assert server.open == 0
    assert other.events[-1] == "lost"
