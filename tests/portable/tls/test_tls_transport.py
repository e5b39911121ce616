"""Two filters joined in memory: data and endings."""

from __future__ import annotations

import io
import typing

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from portable.errors import (
    ConnectionLost,
    ConnectionReset,
    LocalProtocolError,
    TLSError,
    TLSTruncated,
    TransportError,
)
from portable.testing import ManualClock, connect_in_memory
from portable.tls import TLSTransport, client_options, server_options, tls_factory
from portable.tls.transport import LINGER
from tests.portable.tls.recording import Pair, Recorder, failure, plain_pair, record

if typing.TYPE_CHECKING:
    from tests.portable.tls.certs import Certificates

BIG = bytes(range(256)) * 4096  # 1 MiB


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
    sent = bytearray(record(pair, b"good") + record(pair, b"bad"))
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
    pair.server_tls._engine.receive_data(record(pair, b"boom"))
    pair.server.transport.resume_reading()
    with pytest.raises(RuntimeError, match="boom"):
        pair.flush()
    assert pair.link.b.aborted


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
