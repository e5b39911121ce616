"""What a publisher that reads a long body can do wrong, and the disk."""

from __future__ import annotations

import typing

import pytest

from portable.deferred import Deferred
from portable.errors import FileError
from protocols.pb import Error
from protocols.servers.web.distributed.relay import _BodyReader


class Disk:
    """A body whose pieces come when the test says so, and a view that is told of failures."""

    def __init__(self) -> None:
        self.asked: list[Deferred[bytes]] = []
        self.failures: list[Exception] = []
        self.reader = _BodyReader(typing.cast("typing.Any", self), typing.cast("typing.Any", self))

    def next_chunk(self) -> Deferred[bytes]:
        self.asked.append(Deferred())
        return self.asked[-1]

    def fail(self, error: Exception) -> None:
        self.failures.append(error)


def test_only_one_piece_is_given_at_a_time() -> None:
    disk = Disk()
    got: list[bytes] = []
    disk.reader.remote_read().add_callback(got.append)
    with pytest.raises(Error, match="one piece"):
        disk.reader.remote_read()
    disk.asked[0].callback(b"first")
    disk.reader.remote_read().add_callback(got.append)
    disk.asked[1].callback(b"second")
    assert got == [b"first", b"second"]


def test_a_body_that_cannot_be_read_ends_the_page_and_tells_no_path() -> None:
    disk = Disk()
    told: list[Exception] = []
    disk.reader.remote_read().add_errback(told.append)
    disk.asked[0].errback(FileError("'/some/where': Input/output error", "EIO"))
    assert [type(failure) for failure in disk.failures] == [FileError]
    assert isinstance(told[0], Error)
    assert "/some/where" not in str(told[0])
