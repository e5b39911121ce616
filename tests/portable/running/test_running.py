"""Streams of one's own, interruption, and text on its way between threads."""

from __future__ import annotations

import contextlib
import io
import sys
import threading
import time
import typing

import pytest

from portable.deferred import Deferred
from portable.running import streams
from portable.running.calling import LoopCaller
from portable.running.interruption import Interrupted, Interruptible
from portable.running.textpipe import CAPACITY, TextPipe
from portable.testing import wait_for

if typing.TYPE_CHECKING:
    from collections.abc import Iterator

    from portable.reactor import Reactor

pytestmark = pytest.mark.usefixtures("untraced_threads")


class Audience:
    def __init__(self) -> None:
        self.text = ""
        self.values: list[object] = []

    def write(self, text: str) -> None:
        self.text += text

    def display(self, value: object) -> None:
        self.values.append(value)


@contextlib.contextmanager
def installed() -> Iterator[None]:
    """No fixture: pytest replaces the streams itself between those and the test."""
    streams.install()
    try:
        yield
    finally:
        streams.uninstall()


def test_what_is_printed_goes_to_whoever_runs_it(capsys: pytest.CaptureFixture[str]) -> None:
    with installed():
        one, other = Audience(), Audience()

        def talk(word: str) -> None:
            for _ in range(200):
                sys.stdout.write(word + "\n")
                sys.stderr.write(word + "\n")

        threads = [
            threading.Thread(target=streams.run_for, args=(audience, talk, word))
            for audience, word in ((one, "one"), (other, "other"))
        ]
        for thread in threads:
            thread.start()
        sys.stdout.write("the process\n")
        for thread in threads:
            thread.join()
        assert one.text == "one\n" * 400
        assert other.text == "other\n" * 400
        assert capsys.readouterr() == ("the process\n", "")


def test_streams_are_put_back_after_the_last_who_wanted_them() -> None:
    before = (sys.stdin, sys.stdout, sys.stderr, sys.displayhook)
    streams.install()
    streams.install()
    assert sys.stdout is not before[1]
    streams.uninstall()
    assert sys.stdout is not before[1]
    streams.uninstall()
    assert (sys.stdin, sys.stdout, sys.stderr, sys.displayhook) == before


def test_streams_that_others_have_replaced_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    streams.install()
    mine = io.StringIO()
    with contextlib.redirect_stdout(mine), monkeypatch.context() as patch:
        patch.setattr(sys, "displayhook", print)
        streams.uninstall()
        assert sys.stdout is mine
        assert sys.displayhook is print
    sys.stdout = typing.cast("typing.Any", sys.stdout).original
    sys.displayhook = streams._previous_hook


def test_nobody_answers_questions_and_nobody_closes_what_is_everybodys() -> None:
    with installed():

        def ask() -> None:
            sys.stdin.close()
            with pytest.raises(EOFError):
                input("question")
            assert sys.stdin.read() == ""
            with pytest.raises(io.UnsupportedOperation):
                sys.stdout.fileno()
            with pytest.raises(AttributeError):
                _ = sys.stdout.buffer
            with pytest.raises(TypeError):
                sys.stdout.write(typing.cast("typing.Any", b"bytes"))
            assert not sys.stdout.isatty()
            assert (sys.stdout.encoding, sys.stdout.errors) == ("utf-8", "replace")
            assert not sys.stdout.closed
            sys.stdout.writelines(["!"])
            sys.stdout.flush()

        audience = Audience()
        streams.run_for(audience, ask)
        assert audience.text == "question!"


def test_outside_everything_is_as_it_was() -> None:
    with installed():
        shared = typing.cast("typing.Any", sys.stdout)
        original, shared.original = (
            shared.original,
            io.TextIOWrapper(io.BytesIO(b"line\nrest"), encoding="latin-1"),
        )
        assert shared.readline() == "line\n"
        assert shared.read() == "rest"
        assert (shared.encoding, shared.errors, shared.isatty()) == ("latin-1", "strict", False)
        assert shared.buffer is shared.original.buffer
        with pytest.raises(io.UnsupportedOperation):
            shared.fileno()
        shared.flush()
        shared.close()
        assert shared.closed
        shared.original = original


def test_a_process_without_streams() -> None:
    with installed():
        shared = typing.cast("typing.Any", sys.stdout)
        original, shared.original = shared.original, None
        sys.stdout.write("nowhere")
        shared.flush()
        shared.close()
        assert not shared.isatty()
        shared.original = original


def test_values_are_displayed_to_whoever_runs_it(capsys: pytest.CaptureFixture[str]) -> None:
    with installed():
        audience = Audience()
        streams.run_for(audience, sys.displayhook, 42)
        sys.displayhook(43)
        assert audience.values == [42]
        assert capsys.readouterr().out == "43\n"


class Running:
    """An interruptible call in a thread of its own."""

    def __init__(self, function: typing.Callable[[], object]) -> None:
        self.results: list[object] = []
        self.call = Interruptible(function)
        self.thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        try:
            self.results.append(self.call.run())
        except Interrupted:
            self.results.append("interrupted")

    def finish(self) -> object:
        self.thread.join(10)
        assert not self.thread.is_alive()
        (result,) = self.results
        return result


def test_a_loop_without_end_is_interrupted() -> None:
    begun = threading.Event()

    def loop() -> None:
        begun.set()
        while True:
            pass

    running = Running(loop)
    running.thread.start()
    assert begun.wait(10)
    assert running.call.interrupt()
    assert running.finish() == "interrupted"
    assert running.call.interrupt()


def test_a_call_that_was_interrupted_before_it_began_does_not_begin() -> None:
    running = Running(lambda: "done")
    assert running.call.interrupt()
    running.thread.start()
    assert running.finish() == "interrupted"


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_what_would_end_the_loop_does_not_come_out_of_a_call(error: type[BaseException]) -> None:
    def fail() -> None:
        raise error

    running = Running(fail)
    running.thread.start()
    assert running.finish() == "interrupted"


def test_an_interruption_that_comes_too_late_hits_nothing_else() -> None:
    """Interrupt many calls about when they end: each gives its result or is interrupted, nothing else."""
    calls = [Interruptible(lambda: sum(range(2000))) for _ in range(300)]
    results: list[object] = []

    def work() -> None:
        for call in calls:
            try:
                results.append(call.run())
            except Interrupted:
                results.append("interrupted")
        results.append("went on")

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    deadline = time.monotonic() + 20
    while thread.is_alive() and time.monotonic() < deadline:
        calls[min(len(results), len(calls) - 1)].interrupt()
    assert not thread.is_alive()
    assert len(results) == 301
    assert set(results) <= {"interrupted", sum(range(2000)), "went on"}


def test_a_pipe_holds_its_writer_up_and_gives_all_in_order() -> None:
    wakes: list[None] = []
    pipe = TextPipe(lambda: wakes.append(None))
    text = "".join(str(number) for number in range(100_000))
    writer = threading.Thread(target=pipe.write, args=(text,))
    writer.start()
    got = ""
    deadline = time.monotonic() + 20
    while len(got) < len(text):
        assert time.monotonic() < deadline
        piece = pipe.read()
        assert len(piece) <= CAPACITY
        got += piece
    writer.join()
    assert got == text
    assert wakes
    assert pipe.read() == ""
    assert pipe.lost == 0


def test_a_writer_is_interrupted_while_it_is_held_up() -> None:
    pipe = TextPipe(lambda: None)
    full = threading.Event()

    def write() -> None:
        pipe.write("x" * CAPACITY)
        full.set()
        pipe.write("more")

    running = Running(write)
    running.thread.start()
    assert full.wait(10)
    running.call.interrupt()
    assert running.finish() == "interrupted"
    assert pipe.read() == "x" * CAPACITY


def test_the_readers_own_thread_is_never_held_up() -> None:
    pipe = TextPipe(lambda: None)
    pipe.write("x" * (CAPACITY + 5))
    assert pipe.lost == 5
    assert len(pipe.read()) == CAPACITY
    pipe.write("again")
    pipe.close()
    pipe.write("to nobody")
    assert pipe.read() == ""


def test_a_writer_that_is_interrupted_while_it_wakes_the_reader_wakes_it_the_next_time() -> None:
    wakes: list[int] = []

    def wake() -> None:
        wakes.append(1)
        if len(wakes) == 1:
            raise KeyboardInterrupt

    pipe = TextPipe(wake)
    with pytest.raises(KeyboardInterrupt):
        pipe.write("one")
    pipe.write("two")
    assert len(wakes) == 2
    assert pipe.read() == "onetwo"


def test_a_writer_goes_on_when_its_reader_has_closed() -> None:
    pipe = TextPipe(lambda: None)
    writer = threading.Thread(target=pipe.write, args=("x" * 10 * CAPACITY,))
    writer.start()
    pipe.close()
    writer.join(10)
    assert not writer.is_alive()


def test_a_thread_calls_into_the_loop(reactor: Reactor) -> None:
    on_loop = LoopCaller(reactor)
    loop = threading.get_ident()

    async def slowly() -> str:
        pause: Deferred[str] = Deferred()
        reactor.call_later(0.01, pause.callback, "slept")
        return await pause

    def fail() -> None:
        raise ValueError("on the loop")

    async def leave_slowly() -> None:
        await slowly()
        raise SystemExit

    def work() -> list[object]:
        with pytest.raises(ValueError, match="on the loop"):
            on_loop(fail)
        # It is the caller who leaves, and not the loop.
        for leave in (sys.exit, leave_slowly):
            with pytest.raises(SystemExit):
                on_loop(leave)
        return [on_loop(threading.get_ident), on_loop(slowly)]

    assert wait_for(reactor, reactor.run_in_thread(work)) == [loop, "slept"]
    assert on_loop(threading.get_ident) == loop
