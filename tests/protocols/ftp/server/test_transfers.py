"""Transfers over memory: every way in which one ends, without a network."""

from __future__ import annotations

import io
import typing

import pytest

from portable.deferred import Deferred, fail, succeed
from portable.errors import Cancelled, ConnectionReset, ConnectionTimedOut, FileError
from portable.testing import ManualClock, MemoryTransport
from portable.transport import HIGH_WATER
from protocols.ftp.server.site import Limits
from protocols.ftp.server.transfers import FileDownload, StreamDownload, Transfer, Upload

if typing.TYPE_CHECKING:
    from portable.transport import Transport
    from protocols.ftp.server.channels import Channel

STALL = 10.0
LIMITS = Limits(stall=STALL)
ENOUGH = int(STALL * LIMITS.min_rate)  # bytes


class File:
    """A file whose operations the test completes."""

    def __init__(self, size: int = 0, content: bytes = b"") -> None:
        self.size = size
        self.content: bytes | None = None
        self.file: typing.BinaryIO | None = io.BytesIO(content)
        self.closed = False
        self.begin: int | None = -1
        self.writes: list[tuple[bytes, Deferred[None]]] = []
        self.closing: Deferred[None] = succeed(None)

    def read(self, offset: int, count: int) -> Deferred[bytes]:
        return succeed(b"")

    def start_at(self, offset: int | None) -> None:
        self.begin = offset

    def write(self, data: bytes) -> Deferred[None]:
        self.writes.append((data, Deferred()))
        return self.writes[-1][1]

    def close(self) -> typing.Any:
        self.closed = True
        return self.closing


class Source:
    """Gives pieces, or what else there is, one by one."""

    def __init__(self, *pieces: Deferred[bytes | None]) -> None:
        self.pieces = list(pieces)
        self.closed = False

    def read(self) -> Deferred[bytes | None]:
        return self.pieces.pop(0)

    def close(self) -> None:
        self.closed = True


class FakeChannel:
    """A channel that has its connection already."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport

    def take(self) -> Deferred[Transport]:
        return succeed(self.transport)

    def close(self) -> None:
        """There is nothing to give up."""


class Running:
    """A transfer under way, and its outcome."""

    def __init__(self, transfer: Transfer, clock: ManualClock, window: int | None = None) -> None:
        self.outcome: list[object] = []
        self.transport = MemoryTransport(transfer, clock, window=window)
        self.transport.pause_reading()
        transfer.start(typing.cast("Channel", FakeChannel(self.transport)))
        transfer.done.add_both(self.outcome.append)
        clock.advance(0)

    @property
    def error(self) -> object:
        (outcome,) = self.outcome
        return outcome


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def test_a_file_that_is_shorter_than_it_was(clock: ManualClock) -> None:
    running = Running(FileDownload(clock, LIMITS, None, File(100, b"short"), 0), clock)
    assert isinstance(running.error, FileError)
    assert running.transport.aborted


def test_a_client_may_end_its_direction_first(clock: ManualClock) -> None:
    file = File(8, b"contents")
    running = Running(FileDownload(clock, LIMITS, None, file, 2), clock, window=0)
    running.transport.resume_reading()
    running.transport.receive(b"what is this")
    running.transport.receive_eof()
    running.transport.allow(None)
    clock.advance(0)
    assert running.transport.take() == b"ntents"
    assert running.outcome == [len(b"ntents")]
    assert file.closed


def test_a_download_whose_connection_breaks(clock: ManualClock) -> None:
    running = Running(FileDownload(clock, LIMITS, None, File(8, b"contents"), 0), clock, window=0)
    running.transport.lose()
    assert isinstance(running.error, ConnectionReset)


def test_a_stream_waits_for_its_client(clock: ManualClock) -> None:
    pieces = [succeed(typing.cast("bytes | None", b"x" * 50_000)) for _ in range(10)]
    source = Source(*pieces, succeed(None))
    running = Running(StreamDownload(clock, LIMITS, None, source), clock, window=0)
    running.transport.resume_reading()
    running.transport.receive_eof()
    assert len(source.pieces) > 5
    running.transport.allow(None)
    clock.advance(0)
    assert len(running.transport.take()) == 500_000
    assert running.outcome == [500_000]
    assert source.closed


def test_a_piece_that_comes_too_late(clock: ManualClock) -> None:
    late: Deferred[bytes | None] = Deferred()
    source = Source(late)
    running = Running(StreamDownload(clock, LIMITS, None, source), clock)
    running.transport.lose()
    assert isinstance(running.error, ConnectionReset)
    late.callback(b"x")
    assert source.closed


def test_a_listing_that_fails(clock: ManualClock) -> None:
    running = Running(StreamDownload(clock, LIMITS, None, Source(fail(FileError("gone", "ENOENT")))), clock)
    assert isinstance(running.error, FileError)


def test_an_upload_waits_for_the_disk(clock: ManualClock) -> None:
    file = File()
    running = Running(Upload(clock, LIMITS, None, file, None), clock)
    piece = b"x" * 300_000
    for _ in range(3):
        running.transport.receive(piece)
    assert file.begin is None
    assert not running.transport.is_reading()
    file.writes[0][1].callback(None)
    assert running.transport.is_reading()
    running.transport.receive_eof()
    file.writes[1][1].callback(None)
    clock.advance(0)
    assert b"".join(data for data, _ in file.writes) == piece * 3
    assert running.outcome == [900_000]
    assert file.closed


def test_what_came_before_a_break_is_written(clock: ManualClock) -> None:
    file = File()
    running = Running(Upload(clock, LIMITS, None, file, 0), clock)
    running.transport.receive(b"one")
    running.transport.receive(b"two")
    running.transport.lose()
    assert running.outcome == []
    file.writes[0][1].callback(None)
    file.writes[1][1].callback(None)
    assert isinstance(running.error, ConnectionReset)
    assert [data for data, _ in file.writes] == [b"one", b"two"]


def test_a_break_after_the_end_does_not_matter(clock: ManualClock) -> None:
    file = File()
    running = Running(Upload(clock, LIMITS, None, file, 0), clock)
    running.transport.receive(b"all")
    running.transport.receive_eof()
    running.transport.lose()
    file.writes[0][1].callback(None)
    assert running.outcome == [3]


def test_a_file_that_cannot_be_closed_is_not_stored(clock: ManualClock) -> None:
    file = File()
    file.closing = fail(FileError("full after all", "ENOSPC"))
    running = Running(Upload(clock, LIMITS, None, file, 0), clock)
    running.transport.receive_eof()
    assert isinstance(running.error, FileError)


def test_the_outcome_waits_for_the_file_to_be_closed(clock: ManualClock) -> None:
    file = File()
    file.closing = Deferred()
    running = Running(Upload(clock, LIMITS, None, file, 0), clock)
    running.transport.receive_eof()
    clock.advance(0)
    assert running.transport.lost
    assert running.outcome == []
    file.closing.callback(None)
    assert running.outcome == [0]


def test_a_full_disk_ends_the_upload(clock: ManualClock) -> None:
    file = File()
    running = Running(Upload(clock, LIMITS, None, file, 0), clock)
    running.transport.receive(b"one")
    file.writes[0][1].errback(FileError("full", "ENOSPC"))
    running.transport.receive(b"two")
    clock.advance(0)
    assert isinstance(running.error, FileError)
    assert len(file.writes) == 1
    assert file.closed


def test_a_write_that_fails_in_no_foreseen_way_ends_the_upload(clock: ManualClock) -> None:
    """Or what comes after it would be written in its place, and the file be called complete."""
    file = File()
    file.closing = fail(RuntimeError("no thread"))
    running = Running(Upload(clock, LIMITS, None, file, 0), clock)
    running.transport.receive(b"one")
    file.writes[0][1].errback(ValueError("a fault of ours"))
    running.transport.receive(b"two")
    running.transport.receive_eof()
    assert isinstance(running.error, RuntimeError)
    assert len(file.writes) == 1
    assert clock.next_time() is None


def test_a_read_that_fails_in_no_foreseen_way_ends_the_download(clock: ManualClock) -> None:
    source = Source(fail(RuntimeError("no thread")))
    running = Running(StreamDownload(clock, LIMITS, None, source), clock)
    assert isinstance(running.error, RuntimeError)
    assert source.closed


def test_progress_puts_the_time_out_off(clock: ManualClock) -> None:
    file = File()
    running = Running(Upload(clock, LIMITS, None, file, 0), clock)
    for _ in range(5):
        running.transport.receive(b"x" * ENOUGH)
        file.writes[-1][1].callback(None)
        clock.advance(STALL)
    assert running.outcome == []
    clock.advance(STALL)
    assert isinstance(running.error, ConnectionTimedOut)


def test_bytes_now_and_then_are_no_progress(clock: ManualClock) -> None:
    file = File()
    upload = Running(Upload(clock, LIMITS, None, file, 0), clock)
    much = File(HIGH_WATER, bytes(HIGH_WATER))
    download = Running(FileDownload(clock, LIMITS, None, much, 0), clock, window=ENOUGH)
    upload.transport.receive(b"x" * ENOUGH)
    file.writes[-1][1].callback(None)
    clock.advance(STALL)
    assert upload.outcome == download.outcome == []
    upload.transport.receive(b"x" * (ENOUGH - 1))
    file.writes[-1][1].callback(None)
    download.transport.allow(ENOUGH - 1)
    clock.advance(STALL)
    assert isinstance(upload.error, ConnectionTimedOut)
    assert isinstance(download.error, ConnectionTimedOut)


def test_what_the_client_sends_puts_no_download_off(clock: ManualClock) -> None:
    """Over TLS it is read, to hear of the client's farewell."""
    much = File(HIGH_WATER, bytes(HIGH_WATER))
    running = Running(FileDownload(clock, LIMITS, None, much, 0), clock, window=0)
    running.transport.resume_reading()
    running.transport.receive(b"x" * ENOUGH)
    clock.advance(STALL)
    assert isinstance(running.error, ConnectionTimedOut)


def test_what_was_encrypted_and_waits_is_progress_when_it_leaves(clock: ManualClock) -> None:
    """TLS counts it as sent before."""
    source = Source(Deferred())
    running = Running(StreamDownload(clock, LIMITS, None, source), clock, window=0)
    running.transport.extra["bytes_sent"] = 1000
    running.transport.write(bytes(1000))
    clock.advance(STALL)
    for _ in range(3):
        running.transport.allow(ENOUGH)
        clock.advance(STALL)
    assert running.outcome == []
    running.transport.allow(ENOUGH - 1)
    clock.advance(STALL)
    assert isinstance(running.error, ConnectionTimedOut)


def test_a_transfer_that_was_never_started_is_given_up(clock: ManualClock) -> None:
    source = Source()
    transfer = StreamDownload(clock, LIMITS, None, source)
    outcome: list[object] = []
    transfer.done.add_both(outcome.append)
    assert transfer.moved == 0
    transfer.abort()
    assert isinstance(outcome[0], Cancelled)
    assert source.closed


@pytest.mark.parametrize("method", ["begin", "release"])
def test_a_transfer_of_no_kind(clock: ManualClock, method: str) -> None:
    with pytest.raises(NotImplementedError):
        getattr(Transfer(clock, LIMITS, None), method)(*([None] if method == "begin" else []))
