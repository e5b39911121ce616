"""Two filters joined in memory: what a handshake agrees on, and how it fails."""

from __future__ import annotations

import logging
import ssl
import sys
import typing

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from portable.errors import (
    CertificateError,
    ConnectionAborted,
    ConnectionReset,
    LocalProtocolError,
    TLSError,
    TLSTruncated,
)
from portable.testing import ManualClock, MemoryTransport, connect_in_memory
from portable.tls import client_options, server_options, tls_factory
from portable.tls.transport import FAREWELL
from tests.portable.tls.certs import Certificates, common_name
from tests.portable.tls.recording import Pair, Recorder, failure, outcome, plain_pair

if typing.TYPE_CHECKING:
    from portable.transport import Transport


class Untrusting(Recorder):
    """Asks, in connection_made, what was agreed on."""

    def connection_made(self, transport: Transport) -> None:
        super().connection_made(transport)
        self.facts = [
            transport.get_extra_info(name)
            for name in ("tls_version", "tls_cipher", "alpn_protocol", "server_name", "peercert")
        ]


# Handshake


def test_the_protocol_is_made_when_the_handshake_is_done(certs: Certificates) -> None:
    pair = plain_pair(certs)
    assert [pair.client_tls.handshake_done] == [False]
    with pytest.raises(LocalProtocolError, match="made when the TLS handshake is done"):
        pair.client_tls.get_protocol()
    assert pair.client_tls.get_extra_info("tls_version", "none yet") == "none yet"
    early = pair.client_tls.handshake
    done = outcome(early)
    assert len(done) == 0
    pair.shake()
    assert done == [None]
    assert outcome(pair.client_tls.handshake) == [None]
    assert outcome(pair.server_tls.handshake) == [None]
    assert pair.client_tls.handshake_done
    assert pair.server_tls.handshake_done
    assert pair.client_tls.get_protocol() is pair.client
    assert pair.client.transport is pair.client_tls


def test_what_was_agreed_on_is_known_in_connection_made(certs: Certificates) -> None:
    client, server = Untrusting(), Untrusting()
    options = client_options(
        "server.test",
        ca=certs.ca,
        alpn=("h2", "http/1.1"),
        certificate=certs.client.cert,
        privkey=certs.client.key,
    )
    accepted = server_options(*certs.server, alpn=("http/1.1",), client_ca=certs.ca)
    link = connect_in_memory(tls_factory(lambda: client, options)(), tls_factory(lambda: server, accepted)())
    link.flush()
    assert client.facts[0] == server.facts[0] == "TLSv1.3"
    assert client.facts[1] == server.facts[1] != ""
    assert client.facts[2] == server.facts[2] == "http/1.1"
    assert client.facts[3] == server.facts[3] == "server.test"
    assert common_name(client.facts[4]) == "server.test"
    assert common_name(server.facts[4]) == "client@example.org"
    assert isinstance(client.transport.get_extra_info("ssl_object"), ssl.SSLObject)
    # The rest is the raw transport's.
    assert str(client.transport.get_extra_info("peername")) == "192.0.2.2:80"
    assert client.transport.get_extra_info("nonsense", 7) == 7


def test_without_agreement_on_alpn_the_connection_goes_on_without(certs: Certificates) -> None:
    pair = Pair(
        client_options("server.test", ca=certs.ca, alpn=("imap",)), server_options(*certs.server, alpn=("h2",))
    ).shake()
    assert pair.server.transport.get_extra_info("alpn_protocol") is None


def test_a_client_without_a_certificate_has_no_peercert(certs: Certificates) -> None:
    pair = Pair(client_options("server.test", verify=False), server_options(*certs.server)).shake()
    assert pair.server.transport.get_extra_info("peercert") is None
    # Not verified, so not shown.
    assert pair.client.transport.get_extra_info("peercert") is None


def test_a_literal_address_is_verified_but_not_told(certs: Certificates) -> None:
    pair = Pair(client_options("127.0.0.1", ca=certs.ca), server_options(*certs.server)).shake()
    assert pair.server.transport.get_extra_info("server_name") is None
    assert pair.client.transport.get_extra_info("server_name") == "127.0.0.1"
    Pair(client_options("::1", ca=certs.ca), server_options(*certs.server)).shake()


@pytest.mark.parametrize(
    ("asked", "served"),
    [
        ("server.test", "server.test"),
        ("other.test", "other.test"),
        ("OTHER.test.", "other.test"),
        ("a.wild.test", "*.wild.test"),
        ("b.a.wild.test", "server.test"),
        ("wild.test", "server.test"),
        ("unknown.test", "server.test"),
    ],
)
def test_each_name_gets_its_certificate(certs: Certificates, asked: str, served: str) -> None:
    options = server_options(*certs.server, others=[certs.other, certs.wild])
    client = client_options(asked, ca=certs.ca)
    client.context.check_hostname = False
    pair = Pair(client, options).shake()
    assert common_name(pair.client.transport.get_extra_info("peercert")) == served
    assert pair.server.transport.get_extra_info("server_name") == asked.lower().rstrip(".")


def test_alpn_and_client_certificates_hold_for_every_name(certs: Certificates) -> None:
    options = server_options(
        *certs.server,
        others=[certs.other],
        alpn=("h2",),
        client_ca=certs.ca,
        require_client_certificate=True,
    )
    pair = Pair(
        client_options(
            "other.test", ca=certs.ca, alpn=("h2",), certificate=certs.client.cert, privkey=certs.client.key
        ),
        options,
    ).shake()
    assert pair.server.transport.get_extra_info("alpn_protocol") == "h2"
    assert common_name(pair.server.transport.get_extra_info("peercert")) == "client@example.org"


# Handshakes that fail


def test_a_certificate_for_another_name_is_refused(
    certs: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    pair = Pair(client_options("elsewhere.test", ca=certs.ca), server_options(*certs.server))
    error = pair.client_tls.handshake
    pair.flush()
    assert pair.client.events == pair.server.events == []
    found = failure(error)
    assert isinstance(found, CertificateError)
    assert "elsewhere.test" in str(found)
    assert isinstance(failure(pair.server_tls.handshake), CertificateError)
    assert "192.0.2.1:40000: the peer refused our certificate" in caplog.text
    assert pair.link.a.lost
    assert pair.link.b.lost


def test_an_unknown_authority_is_named(certs: Certificates) -> None:
    pair = Pair(client_options("server.test", ca=certs.stranger.pem), server_options(*certs.server))
    pair.flush()
    # Asked for afterwards.
    found = failure(pair.client_tls.handshake)
    assert isinstance(found, CertificateError)
    assert "local issuer certificate" in str(found)
    assert "unknown ca" in str(failure(pair.server_tls.handshake))


def test_an_expired_certificate_is_refused(certs: Certificates) -> None:
    pair = Pair(client_options("server.test", ca=certs.ca), server_options(*certs.expired))
    pair.flush()
    assert "certificate has expired" in str(failure(pair.client_tls.handshake))
    assert "certificate expired" in str(failure(pair.server_tls.handshake))


def test_a_client_without_the_required_certificate_is_told(certs: Certificates) -> None:
    options = server_options(*certs.server, client_ca=certs.ca, require_client_certificate=True)
    pair = Pair(client_options("server.test", ca=certs.ca), options)
    pair.flush()
    assert pair.server.events == []
    assert isinstance(failure(pair.server_tls.handshake), CertificateError)
    # In TLS 1.3 the client is done before it hears of that.
    assert pair.client.events == ["made", "lost"]
    assert isinstance(pair.client.reason, CertificateError)
    assert "certificate required" in str(pair.client.reason)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_client_with_a_stranger_s_certificate_is_refused(
    certs: Certificates, version: ssl.TLSVersion
) -> None:
    client = client_options(
        "server.test", ca=certs.ca, certificate=certs.strange_client.cert, privkey=certs.strange_client.key
    )
    client.context.maximum_version = version
    pair = Pair(client, server_options(*certs.server, client_ca=certs.ca))
    pair.flush()
    assert isinstance(failure(pair.server_tls.handshake), CertificateError)
    assert pair.server.events == []
    if version is ssl.TLSVersion.TLSv1_2:
        assert isinstance(failure(pair.client_tls.handshake), CertificateError)
    else:
        assert isinstance(pair.client.reason, CertificateError)


def test_no_common_version_is_a_readable_error(certs: Certificates) -> None:
    client = client_options("server.test", ca=certs.ca)
    client.context.maximum_version = ssl.TLSVersion.TLSv1_2
    server = server_options(*certs.server)
    server.context.minimum_version = ssl.TLSVersion.TLSv1_3
    pair = Pair(client, server)
    pair.flush()
    assert "no version of TLS that we accept" in str(failure(pair.server_tls.handshake))
    assert "alert 'protocol version'" in str(failure(pair.client_tls.handshake))


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        (b"GET / HTTP/1.1\r\nHost: server.test\r\n\r\n", "plain HTTP"),
        (b"CONNECT server.test:443 HTTP/1.1\r\n\r\n", "plain HTTP"),
        (b"EHLO there\r\n", "does not speak TLS"),
        (b"\x00" * 100, "does not speak TLS"),
        (b"\x16\x03\x01\x00\x04\xff\xff\xff\xff", "does not speak TLS|TLS failed"),
    ],
)
def test_what_is_not_tls_ends_the_connection(
    certs: Certificates, sent: bytes, message: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    made: list[Recorder] = []

    def make() -> Recorder:
        raise AssertionError("the protocol must not be made")

    clock = ManualClock()
    factory = tls_factory(make, server_options(*certs.server))
    for _ in range(9):
        MemoryTransport(factory(), clock).receive(sent)
    assert len(caplog.records) == 1  # A flood must not fill the log.
    clock.advance(1)
    tls = factory()
    transport = MemoryTransport(tls, clock)
    transport.receive(sent)
    assert transport.lost
    assert made == []
    with pytest.raises(TLSError, match=message):
        raise failure(tls.handshake)
    assert caplog.records[-1].message.startswith("9 TLS handshake(s) failed, the last with 192.0.2.1:40000")
    # Only an alert, if anything, went out.
    assert len(transport.take()) <= 7


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(noise=st.binary(min_size=1, max_size=300), valid=st.integers(0, 600), client=st.booleans())
def test_garbage_gives_only_a_tls_error(certs: Certificates, noise: bytes, valid: int, client: bool) -> None:
    options = client_options("server.test", ca=certs.ca) if client else server_options(*certs.server)
    tls = tls_factory(Recorder, options)()
    transport = MemoryTransport(tls)
    other = tls_factory(Recorder, server_options(*certs.server) if client else client_options("server.test"))()
    partner = MemoryTransport(other)
    partner.receive(transport.take())
    transport.receive(partner.take()[:valid] + noise)
    transport.receive_eof()
    assert transport.lost
    assert isinstance(failure(tls.handshake), TLSError)


def test_a_name_that_is_not_ascii_is_refused_without_a_word_on_standard_error(
    certs: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    printed: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", printed.append)
    client = MemoryTransport(tls_factory(Recorder, client_options("server.test", ca=certs.ca))())
    tls = tls_factory(Recorder, server_options(*certs.server))()
    transport = MemoryTransport(tls)
    transport.receive(client.take().replace(b"server.test", b"\xff" * 11))
    assert transport.lost
    assert "not ASCII" in str(failure(tls.handshake))
    assert printed == []
    assert sys.unraisablehook == printed.append


def test_a_client_that_opens_with_too_much_is_cut_off(certs: Certificates) -> None:
    tls = tls_factory(Recorder, server_options(*certs.server))()
    transport = MemoryTransport(tls)
    # A ClientHello of 16 MB, never completed.
    record = b"\x16\x03\x01\x40\x00" + b"\x01\xff\xff\xff" + bytes(16380)
    received = 0
    while not transport.lost and received < 1_000_000:
        transport.receive(record)
        received += len(record)
    assert received <= 70_000
    assert isinstance(failure(tls.handshake), TLSError)


def test_trickled_records_do_not_get_past_the_limit(certs: Certificates) -> None:
    tls = tls_factory(Recorder, server_options(*certs.server))()
    transport = MemoryTransport(tls)
    # Complete records of a hello that OpenSSL would accept up to 128 KB of.
    hello = b"\x01\x01\xf0\x00" + bytes(0x1F000)
    received = 0
    for start in range(0, len(hello), 100):
        if transport.lost:
            break
        part = hello[start : start + 100]
        transport.receive(b"\x16\x03\x01" + len(part).to_bytes(2, "big") + part)
        received += len(part) + 5
    assert transport.lost
    assert received < 66_000
    assert isinstance(failure(tls.handshake), TLSError)


def test_a_peer_that_goes_before_it_said_anything_is_no_news(
    certs: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    tls = tls_factory(Recorder, server_options(*certs.server))()
    transport = MemoryTransport(tls)
    transport.receive_eof()
    assert transport.lost
    assert caplog.text == ""
    assert isinstance(failure(tls.handshake), TLSTruncated)


def test_a_reset_during_the_handshake_is_told_as_such(certs: Certificates) -> None:
    tls = tls_factory(Recorder, client_options("server.test", ca=certs.ca))()
    transport = MemoryTransport(tls)
    waiting = outcome(tls.handshake)
    transport.lose()
    assert isinstance(waiting[0], ConnectionReset)


@pytest.mark.parametrize(("method", "seconds"), [("close", FAREWELL), ("abort", 0.0)])
def test_a_connection_that_we_end_during_the_handshake(
    certs: Certificates, method: str, seconds: float
) -> None:
    tls = tls_factory(Recorder, client_options("server.test", ca=certs.ca))()
    transport = MemoryTransport(tls)
    waiting = outcome(tls.handshake)
    getattr(tls, method)()
    transport.clock.advance(seconds - 0.1 if seconds else 0.0)
    assert transport.lost is (method == "abort")
    transport.clock.advance(0.1)
    assert transport.lost
    assert transport.lost_reason is None
    assert transport.clock.next_time() is None
    assert isinstance(waiting[0], ConnectionAborted)
    assert isinstance(failure(tls.handshake), ConnectionAborted)


@pytest.mark.parametrize("closing", ["client", "server"])
def test_close_during_the_handshake_is_a_regular_end_for_both(certs: Certificates, closing: str) -> None:
    pair = plain_pair(certs)
    waiting = [outcome(pair.client_tls.handshake), outcome(pair.server_tls.handshake)]
    if closing == "client":
        pair.client_tls.close()
    else:
        pair.link.stall(pair.link.a)
        pair.flush()  # the client's first message only
        pair.server_tls.close()
        pair.link.unstall(pair.link.a)
    pair.flush()
    closed, other = (pair.client, pair.server) if closing == "client" else (pair.server, pair.client)
    assert closed.events == []
    assert other.events == ["made", "eof", "lost"]
    assert other.reason is None
    assert pair.link.a.lost
    assert pair.link.b.lost
    assert pair.link.clock.next_time() is None
    ours, theirs = waiting if closing == "client" else waiting[::-1]
    assert isinstance(ours[0], ConnectionAborted)
    assert theirs == [None]
    tls = pair.client_tls if closing == "client" else pair.server_tls
    assert isinstance(failure(tls.handshake), ConnectionAborted)


@pytest.mark.parametrize("answer", [b"502 not here\r\n", b""])
def test_a_handshake_that_fails_after_close_is_as_good_an_end(certs: Certificates, answer: bytes) -> None:
    client = Recorder()
    transport = MemoryTransport(client)
    transport.start_tls(client_options("server.test", ca=certs.ca), 0).close()
    assert client.events == ["made"]
    transport.receive(answer)
    transport.receive_eof()
    assert client.events == ["made", "lost"]
    assert client.reason is None
    assert transport.clock.next_time() is None


def test_whoever_waits_for_the_handshake_hears_that_the_protocol_failed(certs: Certificates) -> None:
    def fail() -> Recorder:
        raise ZeroDivisionError

    tls = tls_factory(fail, client_options("server.test", ca=certs.ca))()
    link = connect_in_memory(tls, tls_factory(Recorder, server_options(*certs.server))())
    waiting = outcome(tls.handshake)
    with pytest.raises(ZeroDivisionError):
        link.flush()
    link.flush()
    assert isinstance(waiting[0], ConnectionAborted)


def test_a_transport_without_a_reactor_is_refused(certs: Certificates) -> None:
    tls = tls_factory(Recorder, server_options(*certs.server))()
    with pytest.raises(LocalProtocolError, match="reactor"):
        MemoryTransport(tls, extra={"reactor": None})
