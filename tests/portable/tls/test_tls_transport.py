"""Two filters joined in memory: handshake, data, endings, back-pressure."""

from __future__ import annotations

import io
import logging
import ssl
import typing

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from portable.errors import (
    CertificateError,
    ConnectionLost,
    ConnectionReset,
    ConnectionTimedOut,
    FileError,
    LocalProtocolError,
    TLSError,
    TLSTruncated,
    TransportError,
)
from portable.testing import ManualClock, MemoryTransport, connect_in_memory
from portable.tls import TLSTransport, client_options, server_options, tls_factory
from portable.tls.transport import LINGER
from portable.transport import HIGH_WATER, LOW_WATER
from tests.portable.tls.certs import Certificates, common_name
from tests.portable.tls.recording import Pair, Recorder, plain_pair

if typing.TYPE_CHECKING:
    from portable.deferred import Deferred
    from portable.transport import Transport

BIG = bytes(range(256)) * 4096  # 1 MiB


def outcome(deferred: Deferred[typing.Any]) -> list[object]:
    """Return a list that gets the result or the error."""
    found: list[object] = []
    deferred.add_callbacks(found.append, found.append)
    return found


def failure(deferred: Deferred[typing.Any]) -> BaseException:
    found = outcome(deferred)
    assert found, "nothing yet"
    assert isinstance(found[0], BaseException), found
    return found[0]


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
    options = server_options(*certs.server, sni={"Other.Test": certs.other, "*.wild.test": certs.wild})
    client = client_options(asked, ca=certs.ca)
    client.context.check_hostname = False
    pair = Pair(client, options).shake()
    assert common_name(pair.client.transport.get_extra_info("peercert")) == served
    assert pair.server.transport.get_extra_info("server_name") == asked.lower().rstrip(".")


def test_alpn_and_client_certificates_hold_for_every_name(certs: Certificates) -> None:
    options = server_options(
        *certs.server,
        sni={"other.test": certs.other},
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
    assert "192.0.2.1:40000 failed: the peer refused our certificate" in caplog.text
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

    tls = tls_factory(make, server_options(*certs.server))()
    transport = MemoryTransport(tls)
    transport.receive(sent)
    assert transport.lost
    assert made == []
    with pytest.raises(TLSError, match=message):
        raise failure(tls.handshake)
    assert "192.0.2.1:40000" in caplog.text
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


@pytest.mark.parametrize("method", ["close", "abort"])
def test_a_connection_that_we_end_during_the_handshake(certs: Certificates, method: str) -> None:
    tls = tls_factory(Recorder, client_options("server.test", ca=certs.ca))()
    transport = MemoryTransport(tls)
    waiting = outcome(tls.handshake)
    getattr(tls, method)()
    transport.settle()
    assert transport.lost
    assert isinstance(waiting[0], TransportError)
    assert isinstance(failure(tls.handshake), TransportError)
    late = tls_factory(Recorder, client_options("server.test", ca=certs.ca))()
    transport = MemoryTransport(late)
    getattr(late, method)()
    transport.settle()
    assert isinstance(failure(late.handshake), TransportError)


def test_a_transport_without_a_reactor_is_refused(certs: Certificates) -> None:
    tls = tls_factory(Recorder, server_options(*certs.server))()
    with pytest.raises(LocalProtocolError, match="reactor"):
        MemoryTransport(tls, extra={"reactor": None})


# Data


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    sizes=st.lists(st.integers(1, 3000), min_size=1, max_size=8),
    short=st.one_of(st.none(), st.integers(1, 500)),
)
def test_any_split_gives_the_same(certs: Certificates, sizes: list[int], short: int | None) -> None:
    pair = plain_pair(certs)
    pair.link.short_writes(short)
    pair.flush(sizes)
    assert pair.client.events == pair.server.events == ["made"]
    pair.client.transport.write(BIG[:20_000])
    pair.server.transport.writelines([b"one ", bytearray(b"two "), memoryview(b"three")])
    pair.flush(sizes)
    pair.client.transport.close()
    pair.flush(sizes)
    assert pair.server.data == BIG[:20_000]
    assert pair.client.data == b"one two three"
    assert pair.server.events == ["made", "data", "eof", "lost"]
    assert pair.client.events == ["made", "data", "lost"]
    assert pair.server.reason is None
    assert pair.client.reason is None


def test_one_byte_at_a_time(certs: Certificates) -> None:
    pair = plain_pair(certs).shake(1)
    pair.client.transport.write(b"hello")
    pair.flush(1)
    assert pair.server.data == b"hello"


def test_a_megabyte_arrives_in_large_pieces(certs: Certificates) -> None:
    pair = plain_pair(certs).shake()
    calls: list[int] = []
    pair.server.data_received = lambda data: calls.append(len(data))  # type: ignore[method-assign]  # spying
    pair.client.transport.write(BIG)
    pair.flush()
    assert sum(calls) == len(BIG)
    # One for each chunk of 64 KB that the link moves.
    assert len(calls) <= 18


def test_payload_is_counted_not_records(certs: Certificates) -> None:
    pair = plain_pair(certs).shake()
    pair.client.transport.write(b"12345")
    pair.flush()
    assert pair.client.transport.get_extra_info("bytes_sent") == 5
    assert pair.server.transport.get_extra_info("bytes_received") == 5


def test_write_takes_a_copy_of_what_can_change(certs: Certificates) -> None:
    pair = plain_pair(certs)
    buffer = bytearray(b"before")
    pair.client_tls.write(b"")
    pair.client_tls.write(buffer)
    buffer[:] = b"after!"
    pair.flush()
    assert pair.server.data == b"before"


def test_write_refuses_what_is_not_bytes(certs: Certificates) -> None:
    pair = plain_pair(certs).shake()
    with pytest.raises(TypeError, match="not str"):
        pair.client.transport.write(typing.cast("bytes", "text"))
    pair.client.transport.write(b"")
    pair.flush()
    assert pair.server.data == b""


def test_another_protocol_can_take_over(certs: Certificates) -> None:
    pair = plain_pair(certs).shake()
    second = Recorder()
    pair.server.transport.set_protocol(second)
    assert pair.server.transport.get_protocol() is second
    pair.client.transport.write(b"for the second")
    pair.flush()
    assert second.data == b"for the second"
    assert pair.server.data == b""


def test_there_is_no_half_close(certs: Certificates) -> None:
    pair = plain_pair(certs).shake()
    assert not pair.client.transport.can_write_eof()
    with pytest.raises(LocalProtocolError, match="half-closed"):
        pair.client.transport.write_eof()


def test_tls_inside_tls(certs: Certificates) -> None:
    inner_client, inner_server = Recorder(), Recorder()
    client, server = client_options("server.test", ca=certs.ca), server_options(*certs.server)
    link = connect_in_memory(
        tls_factory(tls_factory(lambda: inner_client, client), client)(),
        tls_factory(tls_factory(lambda: inner_server, server), server)(),
    )
    link.flush(100)
    inner_client.transport.write(b"deep")
    link.flush(100)
    inner_client.transport.close()
    link.flush(100)
    assert inner_server.data == b"deep"
    assert inner_server.events == ["made", "data", "eof", "lost"]
    assert inner_server.reason is None


# Endings


def test_close_flushes_says_goodbye_and_does_not_wait(certs: Certificates) -> None:
    pair = plain_pair(certs).shake()
    pair.link.stall(pair.link.a)
    pair.client.transport.write(b"last words")
    pair.client.transport.close()
    assert pair.client.transport.is_closing()
    assert not pair.client.transport.is_reading()
    pair.client.transport.close()
    pair.client.transport.write(b"ignored")
    pair.flush()
    # Nothing came from the server, and yet:
    assert pair.client.events == ["made", "lost"]
    assert pair.client.reason is None
    pair.link.unstall(pair.link.a)
    pair.flush()
    assert pair.server.data == b"last words"
    assert pair.server.events == ["made", "data", "eof", "lost"]
    assert pair.server.reason is None


def test_what_was_written_is_flushed_when_the_peer_closes(certs: Certificates) -> None:
    pair = plain_pair(certs).shake()

    class Answering(Recorder):
        def eof_received(self) -> bool | None:
            self.transport.write(b"goodbye")
            super().eof_received()
            return True  # In vain: TLS closes.

    answering = Answering()
    answering.connection_made(pair.server.transport)
    pair.server.transport.set_protocol(answering)
    raw = pair.link.a
    pair.client_tls._engine.close()
    pair.client_tls._flush()
    pair.flush()
    assert answering.events == ["made", "eof", "lost"]
    assert answering.reason is None
    assert pair.client.data == b"goodbye"
    assert pair.client.events == ["made", "data", "eof", "lost"]
    assert raw.lost


def test_a_stream_cut_short_is_told_from_one_that_ended(certs: Certificates) -> None:
    pair = plain_pair(certs).shake()
    pair.client.transport.write(b"part of a ")
    pair.flush()
    pair.link.a.close()
    pair.flush()
    assert pair.server.data == b"part of a "
    assert pair.server.events == ["made", "data", "lost"]
    assert isinstance(pair.server.reason, TLSTruncated)


def test_a_record_cut_short_is_truncation(certs: Certificates) -> None:
    pair = plain_pair(certs).shake()
    pair.client.transport.write(b"whole")
    pair.flush()
    pair.client.transport.write(b"never completed")
    pair.link.flush_once(10)
    pair.link.b.receive_eof()
    assert pair.server.data == b"whole"
    assert isinstance(pair.server.reason, TLSTruncated)


def test_a_changed_record_breaks_the_connection(certs: Certificates) -> None:
    pair = plain_pair(certs).shake()
    pair.client.transport.write(b"good")
    pair.client.transport.write(b"bad")
    pair.link.a.allow(None)
    sent = bytearray(pair.link.a.take())
    sent[-1] ^= 1
    pair.link.b.receive(bytes(sent))
    pair.flush()
    # The good part is delivered first.
    assert pair.server.data == b"good"
    assert isinstance(pair.server.reason, TLSError)
    assert "changed on its way" in str(pair.server.reason)
    assert "bad record mac" in str(pair.client.reason)


def test_a_write_after_a_changed_record_changes_nothing(certs: Certificates) -> None:
    class Echo(Recorder):
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self.transport.write(data)

    echo = Echo()
    pair = plain_pair(certs).shake()
    echo.connection_made(pair.server.transport)
    pair.server.transport.set_protocol(echo)
    sent = bytearray(_record(pair, b"good") + _record(pair, b"bad"))
    sent[-1] ^= 1
    pair.link.b.receive(bytes(sent))
    pair.flush()
    assert echo.data == b"good"
    assert "changed on its way" in str(echo.reason)


def test_nothing_from_the_network_matters_after_close(certs: Certificates) -> None:
    pair = plain_pair(certs).shake()
    pair.client_tls.close()
    pair.client_tls.data_received(b"garbage")
    assert pair.client_tls.eof_received()
    pair.flush()
    assert pair.client.reason is None
    begun = plain_pair(certs)
    begun.client_tls.close()
    begun.client_tls.data_received(b"garbage")
    begun.flush()
    assert begun.client.events == []


def without_tickets(certs: Certificates) -> Pair:
    """Join a client to a server that sends it nothing unasked, which the client cannot know."""
    options = server_options(*certs.server)
    options.context.num_tickets = 0
    return Pair(client_options("server.test", ca=certs.ca), options).shake()


def test_a_client_that_has_read_nothing_waits_for_the_server_s_end(certs: Certificates) -> None:
    pair = without_tickets(certs)
    pair.client.transport.pause_reading()
    pair.client.transport.write(b"brief")
    pair.client.transport.close()
    pair.link.flush_once()
    assert pair.client.events == ["made"]
    pair.flush()
    assert pair.client.events == ["made", "lost"]
    assert pair.client.reason is None
    assert pair.server.data == b"brief"
    assert pair.server.reason is None
    assert pair.link.clock.next_time() is None


def test_a_client_that_has_read_nothing_does_not_wait_forever(certs: Certificates) -> None:
    pair = without_tickets(certs)
    pair.link.stall(pair.link.a)
    pair.client.transport.close()
    pair.flush()
    assert pair.client.events == ["made"]
    pair.link.clock.advance(LINGER)
    pair.flush()
    assert pair.client.events == ["made", "lost"]
    assert pair.client.reason is None


def test_reset_is_reset(certs: Certificates) -> None:
    pair = plain_pair(certs).shake()
    pair.link.reset()
    assert isinstance(pair.client.reason, ConnectionReset)
    assert pair.client.events == ["made", "lost"]


def test_abort_drops_everything(certs: Certificates) -> None:
    pair = plain_pair(certs).shake()
    pair.client.transport.write(b"dropped")
    pair.client.transport.abort()
    pair.client.transport.abort()
    assert pair.client.events == ["made"]
    pair.flush()
    assert pair.client.reason is None
    assert pair.server.data == b""
    assert isinstance(pair.server.reason, ConnectionReset)


def test_every_method_may_be_called_after_the_end(certs: Certificates) -> None:
    pair = plain_pair(certs).shake()
    transport = pair.client.transport
    transport.close()
    pair.flush()
    transport.write(b"x")
    transport.writelines([b"x"])
    transport.pause_reading()
    transport.resume_reading()
    transport.close()
    transport.abort()
    transport.set_write_buffer_limits(10)
    assert not transport.is_reading()
    assert transport.is_closing()
    assert transport.get_write_buffer_size() == 0
    assert transport.get_extra_info("tls_version") == "TLSv1.3"
    assert isinstance(failure(transport.send_file(io.BytesIO(b"x"), 0, 1)), ConnectionLost)
    pair.flush()
    assert pair.client.events == ["made", "lost"]


def test_an_exception_from_the_protocol_aborts(certs: Certificates) -> None:
    pair = plain_pair(certs).shake()

    def fail_once(data: bytes) -> None:
        raise RuntimeError(data)

    pair.server.data_received = fail_once  # type: ignore[method-assign]  # a faulty protocol
    pair.client.transport.write(b"boom")
    with pytest.raises(RuntimeError, match="boom"):
        pair.flush()
    assert pair.link.b.aborted


def test_an_exception_in_a_later_call_aborts_too(certs: Certificates) -> None:
    pair = plain_pair(certs).shake()

    def fail_once(data: bytes) -> None:
        raise RuntimeError(data)

    pair.server.transport.pause_reading()
    # Both records arrive as one chunk, so that the second is with us already.
    pair.server.data_received = fail_once  # type: ignore[method-assign]  # a faulty protocol
    pair.server_tls._engine.receive_data(_record(pair, b"boom"))
    pair.server.transport.resume_reading()
    with pytest.raises(RuntimeError, match="boom"):
        pair.flush()
    assert pair.link.b.aborted


def _record(pair: Pair, plain: bytes) -> bytes:
    """Return what the client would send for `plain`, without sending it."""
    pair.client.transport.write(plain)
    pair.link.a.allow(None)
    sent = pair.link.a.take()
    pair.link.a.window = 0
    return sent


# Pausing and resuming the reading


def test_pause_holds_back_what_is_decrypted_already(certs: Certificates) -> None:
    class Picky(Recorder):
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self.transport.pause_reading()

    picky = Picky()
    pair = plain_pair(certs).shake()
    picky.connection_made(pair.server.transport)
    pair.server.transport.set_protocol(picky)
    # More than one piece, then the end, in one chunk from the network.
    pair.server_tls._engine.receive_data(_record(pair, BIG))
    pair.link.b.receive(_record(pair, b"end"))
    pair.client.transport.close()
    pair.flush()
    first = len(picky.data)
    assert 0 < first < len(BIG)
    assert not pair.server.transport.is_reading()
    pair.server.transport.pause_reading()
    for _ in range(20):
        picky.inside = True
        pair.server.transport.resume_reading()
        pair.server.transport.resume_reading()
        picky.inside = False
        pair.flush()
    assert picky.data == BIG + b"end"
    assert picky.events == ["made", "data", "eof", "lost"]
    assert picky.reason is None


def test_nothing_more_is_delivered_after_close(certs: Certificates) -> None:
    class Hasty(Recorder):
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self.transport.close()

    hasty = Hasty()
    pair = plain_pair(certs).shake()
    hasty.connection_made(pair.server.transport)
    pair.server.transport.set_protocol(hasty)
    pair.server_tls._engine.receive_data(_record(pair, BIG))
    pair.link.b.receive(_record(pair, b"end"))
    pair.client.transport.write(b"more")
    pair.flush()
    assert 0 < len(hasty.data) < len(BIG)
    assert hasty.events == ["made", "data", "lost"]


# Water marks of writing


def test_the_network_s_back_pressure_reaches_the_protocol(certs: Certificates) -> None:
    pair = plain_pair(certs).shake()
    pair.link.stall(pair.link.b)
    transport = pair.client.transport
    assert transport.get_write_buffer_limits() == (LOW_WATER, HIGH_WATER)
    pair.client.inside = True
    transport.write(BIG)
    pair.client.inside = False
    assert transport.get_write_buffer_size() > len(BIG)
    pair.flush()
    assert pair.client.events == ["made", "pause"]
    pair.link.unstall(pair.link.b)
    pair.flush()
    assert pair.client.events == ["made", "pause", "resume"]
    assert pair.server.data == BIG


def test_water_marks_count_what_waits_for_the_handshake(certs: Certificates) -> None:
    client, server = Recorder(), Recorder()
    link = connect_in_memory(client, server)
    tls = client.transport.start_tls(client_options("server.test", ca=certs.ca), 0)
    hello = tls.get_write_buffer_size()
    tls.set_write_buffer_limits(1000, 500)
    assert tls.get_write_buffer_limits() == (500, 1000)
    client.inside = True
    tls.write(bytes(1001))
    assert tls.get_write_buffer_size() == hello + 1001
    client.inside = False
    link.stall(link.b)
    link.flush()
    assert client.events == ["made", "pause"]
    link.unstall(link.b)
    server.transport.start_tls(server_options(*certs.server), 0)
    link.flush()
    # Then the records, which are larger, wait for the network.
    assert client.events in (["made", "pause", "resume"], ["made", *["pause", "resume"] * 2])
    assert server.data == bytes(1001)


def test_a_pause_from_before_the_upgrade_is_undone_after_it(certs: Certificates) -> None:
    client, server = Recorder(), Recorder()
    link = connect_in_memory(client, server)
    link.stall(link.b)
    client.transport.write(BIG)
    link.flush()
    assert client.events == ["made", "pause"]
    client.transport.start_tls(client_options("server.test", ca=certs.ca), 0)
    link.unstall(link.b)
    link.flush()
    assert client.events == ["made", "pause", "resume"]


def test_a_peer_that_asks_for_keys_and_does_not_read_is_cut_off(certs: Certificates) -> None:
    pair = plain_pair(certs).shake()
    pair.link.stall(pair.link.a)
    pair.server.transport.write(BIG)
    pair.flush()
    assert pair.server.events == ["made", "pause"]
    pair.server_tls._unread_answers = 70_000
    pair.client.transport.write(b"x")
    pair.flush()
    assert "does not read" in str(pair.server_tls._error)
    # It still does not read, so our farewell cannot leave.
    assert not pair.server.lost
    pair.link.clock.advance(LINGER)
    pair.flush()
    assert isinstance(pair.server.reason, TLSError)


def test_close_with_data_waits_for_the_handshake_but_not_forever(certs: Certificates) -> None:
    client = Recorder()
    transport = MemoryTransport(client)
    tls = transport.start_tls(client_options("server.test", ca=certs.ca), 0)
    tls.write(b"waits")
    tls.close()
    transport.settle()
    assert client.events == ["made"]
    transport.clock.advance(LINGER)
    assert client.events == ["made", "lost"]
    assert isinstance(client.reason, ConnectionTimedOut)
    assert transport.clock.next_time() is None


def test_close_during_the_handshake_sends_what_was_written_before(certs: Certificates) -> None:
    client, server = Recorder(), Recorder()
    link = connect_in_memory(client, server)
    tls = client.transport.start_tls(client_options("server.test", ca=certs.ca), 0)
    server.transport.start_tls(server_options(*certs.server), 0)
    tls.write(b"waits")
    tls.close()
    link.flush()
    assert server.data == b"waits"
    assert server.events == ["made", "data", "eof", "lost"]
    assert client.reason is None
    assert link.clock.next_time() is None


# Files


@pytest.mark.parametrize("chunk", [None, 1000])
def test_a_file_goes_out_in_order_with_writes(certs: Certificates, chunk: int | None) -> None:
    pair = plain_pair(certs).shake()
    transport = pair.client.transport
    pair.client.inside = True
    transport.write(b"<")
    done = outcome(transport.send_file(io.BytesIO(BIG), 1, 300_000))
    transport.write(b"|")
    empty = outcome(transport.send_file(io.BytesIO(BIG), 0, 0))
    short = outcome(transport.send_file(io.BytesIO(b"0123456789"), 8, 100))
    transport.write(b">")
    transport.close()
    pair.client.inside = False
    assert done == []
    pair.flush(chunk)
    assert pair.server.data == b"<" + BIG[1:300_001] + b"|" + b"89>"
    assert (done, empty, short) == ([300_000], [0], [2])
    assert pair.server.events == ["made", "data", "eof", "lost"]
    assert pair.client.events[-1] == "lost"
    assert pair.client.reason is None


def test_a_file_is_read_no_faster_than_the_peer_reads(certs: Certificates) -> None:
    pair = plain_pair(certs).shake()
    pair.link.stall(pair.link.b)
    file = io.BytesIO(BIG)
    done = outcome(pair.client.transport.send_file(file, 0, len(BIG)))
    pair.flush()
    assert file.tell() <= 3 * HIGH_WATER
    assert pair.client.transport.get_write_buffer_size() <= 3 * HIGH_WATER
    assert done == []
    pair.link.unstall(pair.link.b)
    pair.flush()
    assert done == [len(BIG)]
    assert pair.server.data == BIG


def test_a_file_that_cannot_be_read_is_told(certs: Certificates) -> None:
    class Broken(io.BytesIO):
        def __init__(self, error: Exception) -> None:
            super().__init__(b"x")
            self.error = error

        def read(self, size: int | None = -1, /) -> bytes:
            raise self.error

    pair = plain_pair(certs).shake()
    codes = []
    for error in (OSError(5, "input/output error"), FileError("gone", "ENOENT"), ValueError("closed")):
        done = pair.client.transport.send_file(Broken(error), 0, 1)
        pair.flush()
        found = failure(done)
        assert isinstance(found, FileError)
        codes.append(found.code)
    assert codes == ["EIO", "ENOENT", "EIO"]
    pair.client.transport.write(b"goes on")
    pair.flush()
    assert pair.server.data == b"goes on"


def test_a_file_that_the_connection_does_not_outlive(certs: Certificates) -> None:
    for how in ("reset", "abort"):
        pair = plain_pair(certs).shake()
        done = outcome(pair.client.transport.send_file(io.BytesIO(BIG), 0, len(BIG)))
        pair.client.transport.write(b"behind it")
        if how == "reset":
            pair.link.reset()
        else:
            pair.client.transport.abort()
            pair.flush()
        assert isinstance(done[0], ConnectionLost)
        assert pair.client.events[-1] == "lost"


# Drain


def test_drain_reaches_the_protocol(certs: Certificates) -> None:
    class Polite(Recorder):
        def drain(self) -> None:
            self.transport.write(b"goodbye")
            self.transport.close()

    pair = plain_pair(certs).shake()
    polite = Polite()
    polite.connection_made(pair.server.transport)
    pair.server.transport.set_protocol(polite)
    pair.server_tls.drain()
    pair.client_tls.drain()
    pair.flush()
    assert polite.events[-1] == "lost"
    pair = plain_pair(certs).shake()
    pair.server_tls.drain()
    pair.flush()
    assert pair.client.events == ["made", "eof", "lost"]


def test_a_listener_that_closes_before_the_handshake_is_done(certs: Certificates) -> None:
    clock = ManualClock()
    pair = plain_pair(certs, clock)
    pair.server_tls.close()
    pair.flush()
    assert pair.server.events == []
    assert isinstance(failure(pair.client_tls.handshake), TransportError)


def test_a_factory_s_product_is_a_tls_transport(certs: Certificates) -> None:
    assert isinstance(tls_factory(Recorder, server_options(*certs.server))(), TLSTransport)
