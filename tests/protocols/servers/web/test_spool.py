"""Bodies that are received whole: in memory, on the disk, and where there is room in neither."""

from __future__ import annotations

import typing

import pytest

from portable.deferred import Deferred, ensure_deferred, succeed
from portable.errors import Cancelled, ConnectionLost, FileError
from portable.files import TemporaryFile
from protocols.http.headers import Headers
from protocols.http.request import RequestBody
from protocols.servers.web import spool as module
from protocols.servers.web.spool import MAX_IN_MEMORY, NoRoom, Spool, SpooledBody


class Source:
    """A client whose pieces come when the test says so."""

    def __init__(self, length: int | None = None) -> None:
        self.asked: list[Deferred[bytes]] = []
        self.body = RequestBody(self, length)

    def next_body_chunk(self, body: RequestBody) -> Deferred[bytes]:
        self.asked.append(Deferred())
        return self.asked[-1]

    def body_trailers(self) -> Headers:
        return Headers()


class Threads:
    """Calls at once."""

    def call_soon_threadsafe(self, callback: typing.Callable[..., object], *args: object) -> typing.NoReturn:
        raise NotImplementedError

    def run_in_thread(self, function: typing.Callable[..., typing.Any], *args: object) -> Deferred[typing.Any]:
        return succeed(None).add_callback(lambda _: function(*args))


class Receiving:
    """One body on its way."""

    def __init__(self, length: int | None = None, longest: int = 0) -> None:
        self.spool = Spool(Threads(), longest)
        self.source = Source(length)
        self.ends: list[typing.Any] = []
        self.receiving = ensure_deferred(self.spool.receive(self.source.body))
        self.receiving.add_both(self.ends.append)

    def give(self, *chunks: bytes) -> None:
        for chunk in chunks:
            self.source.asked[-1].callback(chunk)

    def pieces(self) -> list[bytes]:
        [body] = self.ends
        assert isinstance(body, SpooledBody)
        found: list[bytes] = []
        while not found or found[-1]:
            body.next_chunk().add_callback(found.append)
        return found


def test_a_short_one_stays_in_memory() -> None:
    made = Receiving()
    made.give(b"one", b"two", b"")
    assert made.spool.on_disk == 0
    assert made.ends[0].length == 6
    assert made.pieces() == [b"onetwo", b""]


def test_a_long_one_goes_to_the_disk_and_comes_back_in_order() -> None:
    made = Receiving()
    chunks = [bytes([number]) * 50_000 for number in range(7)]
    made.give(*chunks, b"")
    assert made.spool.on_disk == 300_000
    assert made.ends[0].length == 350_000
    pieces = made.pieces()
    assert b"".join(pieces) == b"".join(chunks)
    assert max(map(len, pieces)) <= MAX_IN_MEMORY
    made.ends[0].close()
    made.ends[0].close()
    assert made.spool.on_disk == 0


def test_all_at_once() -> None:
    made = Receiving()
    made.give(bytes(100_000), b"x", b"")
    got: list[bytes] = []
    ensure_deferred(made.ends[0].read()).add_callback(got.append)
    assert got == [bytes(100_000) + b"x"]
    made.ends[0].close()


def test_one_that_breaks_off_leaves_nothing() -> None:
    made = Receiving()
    made.give(bytes(100_000))
    made.source.asked[-1].errback(ConnectionLost("gone"))
    assert [type(end) for end in made.ends] == [ConnectionLost]
    assert made.spool.on_disk == 0


def test_one_that_is_not_wanted_any_more_leaves_nothing() -> None:
    made = Receiving()
    made.give(bytes(100_000))
    made.receiving.cancel()
    assert [type(end) for end in made.ends] == [Cancelled]
    assert made.spool.on_disk == 0


def test_all_together_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ON_DISK", 200_000)
    made = Receiving()
    made.give(bytes(100_000), bytes(100_000), bytes(100_000))
    assert [type(end) for end in made.ends] == [NoRoom]
    assert made.spool.on_disk == 0
    made = Receiving(200_001)
    assert [type(end) for end in made.ends] == [NoRoom]
    # Not a byte of it was asked for.
    assert made.source.asked == []


def test_one_of_the_longest_that_may_come_has_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """--max-body may be more than the limit of all together."""
    monkeypatch.setattr(module, "MAX_ON_DISK", 200_000)
    for length in (300_000, None):
        made = Receiving(length, longest=300_000)
        made.give(*[bytes(100_000)] * 3, b"")
        assert sum(map(len, made.pieces())) == 300_000
        made.ends[0].close()
    assert [type(end) for end in Receiving(300_001, longest=300_000).ends] == [NoRoom]


def test_one_that_is_not_wanted_while_the_disk_is_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Receiving()
    closed: list[object] = []
    # Writing takes for ever; to close takes no arguments.
    monkeypatch.setattr(
        Threads, "run_in_thread", lambda _, call, *args: Deferred() if args else closed.append(call())
    )
    made.give(bytes(100_000))
    made.receiving.cancel()
    assert [type(end) for end in made.ends] == [Cancelled]
    assert made.spool.on_disk == 0
    assert closed == [None]


@pytest.mark.parametrize("method", ["__init__", "write"])
def test_a_full_disk_is_no_room(monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    def fail(*_: object) -> typing.NoReturn:
        raise FileError("full", "ENOSPC")

    monkeypatch.setattr(TemporaryFile, method, fail)
    made = Receiving()
    made.give(bytes(100_000))
    assert [type(end) for end in made.ends] == [NoRoom]
    assert made.spool.on_disk == 0
