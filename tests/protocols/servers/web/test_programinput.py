"""What goes into a program: a body in pieces, into a pipe that is full, broken, or gone."""

from __future__ import annotations

from portable.deferred import Deferred
from portable.errors import ConnectionLost
from portable.protocol import Protocol
from portable.testing import ManualClock, MemoryTransport
from portable.transport import HIGH_WATER
from protocols.servers.web.programinput import Feeder


class Source:
    """A client whose pieces come when the test says so."""

    def __init__(self) -> None:
        self.asked: list[Deferred[bytes]] = []

    def next_chunk(self) -> Deferred[bytes]:
        self.asked.append(Deferred())
        return self.asked[-1]


class Pipe:
    """A feeder with both of its ends."""

    def __init__(self, window: int | None = None) -> None:
        self.clock = ManualClock()
        self.source = Source()
        self.errors: list[Exception] = []
        self.feeder = Feeder(self.clock, self.source.next_chunk, self.errors.append)
        end = Protocol()
        end.pause_writing = self.feeder.pause  # type: ignore[method-assign]
        end.resume_writing = self.feeder.resume  # type: ignore[method-assign]
        self.stdin = MemoryTransport(end, self.clock, window=window)

    def give(self, data: bytes) -> None:
        self.source.asked[-1].callback(data)
        self.stdin.settle()


def test_pieces_are_asked_for_one_by_one_and_the_end_closes_the_pipe() -> None:
    pipe = Pipe()
    pipe.feeder.start(pipe.stdin)
    for piece in (b"one", b"two"):
        pipe.give(piece)
    assert len(pipe.source.asked) == 3
    pipe.give(b"")
    assert pipe.stdin.written == b"onetwo"
    assert pipe.stdin.lost


def test_no_piece_is_asked_for_while_the_pipe_is_full() -> None:
    pipe = Pipe(window=0)
    pipe.feeder.start(pipe.stdin)
    pipe.give(b"x" * (HIGH_WATER + 1))
    pipe.clock.advance(1)
    assert len(pipe.source.asked) == 1
    pipe.stdin.allow(None)
    assert len(pipe.source.asked) == 2


def test_a_broken_body_is_told_once() -> None:
    pipe = Pipe()
    pipe.feeder.start(pipe.stdin)
    pipe.source.asked[0].errback(ConnectionLost("gone"))
    pipe.stdin.settle()
    assert [type(error) for error in pipe.errors] == [ConnectionLost]
    assert pipe.stdin.lost


def test_after_a_stop_nothing_is_asked_for_and_no_error_told() -> None:
    pipe = Pipe()
    pipe.feeder.stop()
    pipe.feeder.pause()
    pipe.feeder.resume()
    pipe.feeder.start(pipe.stdin)
    pipe.feeder.stop()
    pipe.feeder.stop()
    pipe.stdin.settle()
    assert pipe.stdin.lost
    assert pipe.errors == []
    assert len(pipe.source.asked) == 1
