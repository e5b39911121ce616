"""Two ends that do at random what ends may do: nothing gets lost, changes its place, or keeps the loop busy."""

from __future__ import annotations

import functools
import random
import time
import typing

import pytest

from portable.testing import wait_for, wait_until
from tests.conformance.judge import End, connected

if typing.TYPE_CHECKING:
    import pathlib

    from portable.reactor import Reactor

SEEDS = range(12)
# What both ends say, again and again; no piece of it is like another.
PATTERN = random.Random(7).randbytes(1_000_003)
SIZES = [1, 1000, 60_000, 70_000, 100_000, 300_000, 2_000_000]
MOST = 8_000_000  # bytes from one end


def pattern(begin: int, count: int) -> bytes:
    """Return `count` bytes of what is said, from the byte number `begin` on."""
    begin %= len(PATTERN)
    whole = PATTERN[begin : begin + count]
    while len(whole) < count:
        whole += PATTERN[: count - len(whole)]
    return whole


class Actor(End):
    """An end that acts at random, and knows what the other should have heard.

    Attributes:
        wrote, heard: bytes.
        ending: what it has done to end the connection: "", "write_eof", "close" or "abort".
    """

    def __init__(self, reactor: Reactor, draw: random.Random, file: typing.BinaryIO) -> None:
        super().__init__(keep_open=True)
        self._reactor = reactor
        self._draw = draw
        self._file = file
        self.wrote = self.heard = 0
        self.ending = ""
        self.files: list[tuple[int, list[object]]] = []  # how much there was of each, and what was told
        self.acting = True

    def act(self) -> None:
        """Do something."""
        if self.lost:
            return
        acts = [self._write] * 6 + [self._send_file] * 3 + [self._pause] * 2 + [self._resume] * 3
        acts += [self._gather, self._mark]
        if self._draw.random() < 0.01:
            acts = [functools.partial(self.end, how) for how in ("write_eof", "write_eof", "close", "abort")]
        self._draw.choice(acts)()

    def _write(self) -> None:
        size = self._draw.choice(SIZES)
        if not self.ending and self.wrote < MOST:
            self.transport.write(bytearray(pattern(self.wrote, size)))
            self.wrote += size

    def _gather(self) -> None:
        for _ in range(self._draw.randrange(40)):
            self._write()

    def _send_file(self) -> None:
        begin, size = self.wrote % len(PATTERN), self._draw.choice(SIZES)
        there = min(size, len(PATTERN) - begin)
        if not self.ending and self.wrote < MOST:
            told: list[object] = []
            self.transport.send_file(self._file, begin, size).add_callbacks(told.append, told.append)
            self.files.append((there, told))
            self.wrote += there

    def _pause(self) -> None:
        self.transport.pause_reading()

    def _resume(self) -> None:
        self.transport.resume_reading()

    def _mark(self) -> None:
        self.transport.set_write_buffer_limits(self._draw.choice([0, 1000, 65536, 1_000_000]))

    def end(self, how: str) -> None:
        """End the connection, or only our half of it."""
        if how == "abort" or not self.transport.is_closing():
            self.ending = how
        getattr(self.transport, how)()

    def last_words(self) -> None:
        """Say some more, and end our half if it has not ended yet."""
        for _ in range(3):
            self._draw.choice([self._write, self._send_file])()
        if not self.ending:
            self.end(self._draw.choice(["write_eof", "close"]))

    def data_received(self, data: bytes) -> None:
        self._check("data")
        assert self.transport.is_reading(), "data_received while reading is paused or the transport closing"
        assert not self.eof, "data_received after eof_received"
        assert data == pattern(self.heard, len(data)), f"not what was said, from byte {self.heard} on"
        self.heard += len(data)
        if self.acting and self._draw.random() < 0.2:
            self._pause()
            self._reactor.call_later(self._draw.choice([0, 0.002]), self._resume)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self.acting:
            self.act()


def come_to_rest(reactor: Reactor) -> None:
    """Turn until there is nothing to do any more."""
    end = reactor.time() + 20
    quiet = 0
    while quiet < 2:
        began = time.monotonic()
        reactor.step(0.02)
        quiet = quiet + 1 if time.monotonic() - began > 0.018 else 0
        assert reactor.time() < end, "the loop finds no rest"


def check(reactor: Reactor, speaker: Actor, listener: Actor) -> None:
    """Assert that all that `speaker` said is heard, if nothing was done that loses some of it."""
    if "abort" in (speaker.ending, listener.ending) or listener.ending == "close":
        return
    if speaker.ending == "close" and speaker.heard < listener.wrote:
        return  # what it did not read broke the connection
    # A window that was closed may take TCP a while to open.
    wait_until(reactor, lambda: listener.heard >= speaker.wrote and listener.eof == bool(speaker.ending))
    come_to_rest(reactor)
    assert listener.heard == speaker.wrote
    assert speaker.lost == (speaker.ending == "close")
    assert speaker.transport.get_write_buffer_size() == 0
    assert speaker.transport.get_extra_info("bytes_sent") == speaker.wrote
    assert all(told == [there] for there, told in speaker.files)
    if not speaker.ending:
        assert not speaker.paused


def play(reactor: Reactor, seed: int, folder: pathlib.Path) -> None:
    """Connect two ends, have them act, and judge what came of it."""
    draw = random.Random(seed)
    path = folder / "pattern"
    path.write_bytes(PATTERN)
    with path.open("rb") as file:
        client, server = (Actor(reactor, random.Random(draw.random()), file) for _ in range(2))
        if "unix" in reactor.capabilities and seed % 2:
            listener = reactor.listen_unix(lambda: server, str(folder / "socket"))
            wait_for(reactor, reactor.connect_unix(lambda: client, str(folder / "socket")))
            wait_until(reactor, lambda: server.made)
            listener.close()
        else:
            connected(reactor, client, server)
        for _ in range(60):
            draw.choice([client, server]).act()
            for _ in range(draw.randrange(3)):
                reactor.step()
        come_to_rest(reactor)
        client.last_words()
        for actor in (client, server):
            actor.acting = False
            actor.transport.resume_reading()
        check(reactor, client, server)
        check(reactor, server, client)
        for actor in (client, server):
            actor.end("abort")
        wait_until(reactor, lambda: client.lost and server.lost)
        assert all(len(told) == 1 for actor in (client, server) for _, told in actor.files)


@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_the_ends_do(reactor: Reactor, seed: int, tmp_path: pathlib.Path) -> None:
    play(reactor, seed, tmp_path)
