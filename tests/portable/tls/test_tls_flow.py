"""Two filters joined in memory: back-pressure both ways, and files."""

from __future__ import annotations

import io
import typing

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from portable.errors import (
    ConnectionLost,
    ConnectionTimedOut,
    FileError,
    TLSError,
)
from portable.testing import MemoryTransport, connect_in_memory
from portable.tls import client_options, server_options
from portable.tls.transport import LINGER
from portable.transport import HIGH_WATER, LOW_WATER
from tests.portable.tls.recording import Recorder, failure, outcome, plain_pair, record

if typing.TYPE_CHECKING:
    from tests.portable.tls.certs import Certificates

BIG = bytes(range(256)) * 4096  # 1 MiB


OPERATIONS = ("write", "file", "pause", "resume", "flush", "stall", "unstall", "turn", "limits")


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(st.tuples(st.sampled_from(OPERATIONS), st.booleans(), st.integers(1, 150_000)), max_size=25),
    closer=st.booleans(),
)
def test_whatever_both_do_everything_arrives_in_order(
    certs: Certificates, steps: list[tuple[str, bool, int]], closer: bool
) -> None:
    pair = plain_pair(certs).shake()
    sent = {pair.client: b"", pair.server: b""}
    for operation, client, number in steps:
        side = pair.client if client else pair.server
        raw = pair.link.a if client else pair.link.b
        # Nothing may be called from inside a method.
        pair.client.inside = pair.server.inside = operation not in {"flush", "turn"}
        if operation == "write":
            side.transport.write(BIG[:number])
            sent[side] += BIG[:number]
        elif operation == "file":
            side.transport.send_file(io.BytesIO(BIG), number, number)
            sent[side] += BIG[number : 2 * number]
        elif operation == "pause":
            side.transport.pause_reading()
        elif operation == "resume":
            side.transport.resume_reading()
        elif operation == "limits":
            side.transport.set_write_buffer_limits(number)
        elif operation == "stall":
            pair.link.stall(raw)
        elif operation == "unstall":
            pair.link.unstall(raw)
        elif operation == "turn":
            pair.link.clock.advance(0)
        else:
            pair.flush(max(number, 1000))
    first, second = (pair.client, pair.server) if closer else (pair.server, pair.client)
    pair.client.inside = pair.server.inside = False
    for side, raw in ((pair.client, pair.link.a), (pair.server, pair.link.b)):
        side.transport.resume_reading()
        pair.link.unstall(raw)
    pair.flush()
    assert first.data == sent[second]
    assert first.events.count("pause") == first.events.count("resume")
    first.transport.close()
    pair.flush()
    assert second.data == sent[first]
    assert second.events[-2:] == ["eof", "lost"]
    assert first.events[-1] == "lost"
    assert first.reason is None
    assert second.reason is None


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
    pair.server_tls._engine.receive_data(record(pair, BIG))
    pair.link.b.receive(record(pair, b"end"))
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
    pair.server_tls._engine.receive_data(record(pair, BIG))
    pair.link.b.receive(record(pair, b"end"))
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


def test_a_file_that_close_found_waiting_for_the_handshake_may_take_its_time(certs: Certificates) -> None:
    client, server = Recorder(), Recorder()
    link = connect_in_memory(client, server)
    tls = server.transport.start_tls(server_options(*certs.server), 0)
    client.transport.start_tls(client_options("server.test", ca=certs.ca), 0)
    done = outcome(tls.send_file(io.BytesIO(BIG), 0, 300_000))
    tls.close()
    for _ in range(20):
        link.flush_once(10_000)
        link.clock.advance(LINGER / 4)
    assert done == []
    link.flush()
    assert done == [300_000]
    assert client.data == BIG[:300_000]
    assert client.events == ["made", "data", "eof", "lost"]
    assert link.clock.next_time() is None


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
