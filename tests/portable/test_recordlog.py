"""Logs of records: that they never hurt the server, and that nobody forges a line."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from portable import recordlog
from portable.deferred import Deferred
from portable.errors import FileError
from portable.files import AppendFile
from portable.recordlog import RecordLog, clf_peer, clf_time, escape
from portable.testing import ManualClock
from portable.transport import Address

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LINE = "x" * 180


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain ~!", "plain ~!"),
        ('a"b', 'a\\"b'),
        ("a\\b", "a\\\\b"),
        ("a\nb\rc\td\x0be\bf", "a\\nb\\rc\\td\\ve\\bf"),
        ("\x00\x1b[31m\x7f", "\\x00\\x1b[31m\\x7f"),
        ("\xe4", "\\xe4"),
        ("\u20ac", "\\xe2\\x82\\xac"),
        ("\ud800", "?"),
    ],
)
def test_escapes_as_apache_does(text: str, expected: str) -> None:
    assert escape(text).replace("\\x3f", "?") == expected


def test_fields_of_the_common_log_format() -> None:
    assert clf_time(971211336.9) == "10/Oct/2000:20:55:36 +0000"
    assert clf_peer(Address("::1", 1)) == "::1"
    assert [clf_peer(peer) for peer in ("", "/run/a b\n.sock", None)] == ["unix", "/run/a\\x20b\\n.sock", "-"]


class Threads:
    """Threads that work when they are told to."""

    def __init__(self) -> None:
        self.calls: list[tuple[Deferred[object], Callable[..., object], tuple[object, ...]]] = []

    def run_in_thread(self, function: Callable[..., object], *args: object) -> Deferred[object]:
        result: Deferred[object] = Deferred()
        self.calls.append((result, function, args))
        return result

    def work(self) -> None:
        calls, self.calls = self.calls, []
        for result, function, args in calls:
            result.callback(function(*args))

    def refuse(self, error: Exception) -> None:
        calls, self.calls = self.calls, []
        for result, _function, _args in calls:
            result.errback(error)


class Bench:
    """A log with a clock and threads of its own."""

    def __init__(self, path: Path, *, threads: bool = True) -> None:
        self.path = path
        self.clock = ManualClock()
        self.threads = Threads()
        self.log = RecordLog(str(path), "test log")
        if threads:
            self.log.start(self.clock, self.threads)  # type: ignore[arg-type]  # it promises less than a reactor
        else:
            self.log.start(self.clock, None)

    def pass_time(self) -> None:
        self.clock.advance(recordlog.FLUSH_DELAY)
        self.threads.work()
        self.clock.advance(0)

    def lines(self) -> int:
        return self.path.read_bytes().count(b"\n")


@pytest.fixture(params=[True, False], ids=["threads", "no threads"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Bench:
    return Bench(tmp_path / "test.log", threads=request.param)


def test_lines_are_written_together_after_a_moment(bench: Bench) -> None:
    for _ in range(3):
        bench.log.add(LINE)
    assert bench.lines() == 0
    bench.pass_time()
    assert bench.lines() == 3
    bench.log.add(LINE)
    bench.pass_time()
    assert bench.lines() == 4
    bench.log.close()


def test_lines_that_got_no_thread_are_lost_and_the_next_are_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bench = Bench(tmp_path / "test.log")
    bench.log.add(LINE)
    bench.log.reopen()
    bench.clock.advance(recordlog.FLUSH_DELAY)
    bench.threads.refuse(RuntimeError("can't start new thread"))
    assert "lines are being lost: can't start new thread" in caplog.text
    bench.path.rename(tmp_path / "test.log.1")
    bench.log.add(LINE)
    bench.pass_time()
    assert bench.lines() == 1
    assert "writing again, 1 lines are missing" in caplog.text
    bench.log.close()


def test_close_writes_the_rest(bench: Bench) -> None:
    bench.log.add(LINE)
    bench.log.close()
    assert bench.lines() == 1
    bench.log.add(LINE)
    bench.log.close()
    bench.pass_time()
    assert bench.lines() == 1


def test_lines_before_the_start_are_kept(tmp_path: Path) -> None:
    clock = ManualClock()
    log = RecordLog(str(tmp_path / "log"), "test log")
    log.add(LINE)
    log.start(clock, None)
    clock.advance(1)
    assert (tmp_path / "log").read_bytes().count(b"\n") == 1
    log.close()


def test_a_line_that_comes_while_others_are_written(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "log")
    bench.log.add(LINE)
    bench.clock.advance(1)
    bench.log.add(LINE)
    bench.clock.advance(5)
    assert len(bench.threads.calls) == 1
    bench.threads.work()
    bench.pass_time()
    assert bench.lines() == 2
    bench.log.close()


def test_closing_while_lines_are_written(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "log")
    bench.log.add(LINE)
    bench.clock.advance(1)
    bench.log.add(LINE)
    bench.log.close()
    bench.threads.work()
    assert bench.lines() == 2
    with pytest.raises(FileError):
        bench.log._file.write(b"x")


def test_a_renamed_log_is_made_anew(bench: Bench) -> None:
    bench.log.add(LINE)
    bench.pass_time()
    bench.path.rename(bench.path.with_suffix(".1"))
    bench.log.add(LINE)
    bench.log.reopen()
    bench.pass_time()
    bench.log.add(LINE)
    bench.pass_time()
    old = bench.path.with_suffix(".1").read_bytes().count(b"\n")
    assert old + bench.lines() == 3
    assert old in {1, 2}
    bench.log.close()


def test_reopening_while_lines_are_written(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "log")
    bench.log.add(LINE)
    bench.clock.advance(1)
    bench.log.reopen()
    bench.path.unlink()
    bench.threads.work()
    bench.pass_time()
    assert bench.path.exists()
    bench.log.close()


def test_a_full_disk_is_told_once_and_forgiven(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(self: AppendFile, data: bytes) -> None:
        raise FileError("No space left on device", "ENOSPC")

    with monkeypatch.context() as patch:
        patch.setattr(AppendFile, "write", full)
        for _ in range(3):
            bench.log.add(LINE)
            bench.pass_time()
    assert caplog.text.count("No space left") == 1
    bench.log.add(LINE)
    bench.pass_time()
    assert bench.lines() == 1
    assert "writing again, 3 lines are missing" in caplog.text
    bench.log.close()


def test_a_disk_that_does_not_keep_up_costs_lines_not_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(recordlog, "MAX_PENDING", 1000)
    bench = Bench(tmp_path / "log")
    for _ in range(100):
        bench.log.add(LINE)
        bench.clock.advance(1)
    assert caplog.text.count("does not keep up") == 1
    bench.threads.work()
    bench.pass_time()
    assert 0 < bench.lines() * (len(LINE) + 1) <= 1000
    bench.log.add(LINE)
    bench.log.close()


def test_a_log_that_cannot_be_made_anew_goes_on_and_no_line_is_called_lost(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    old = bench.path.with_suffix(".1")
    bench.path.rename(old)
    bench.path.mkdir()
    bench.log.reopen()
    bench.log.add(LINE)
    bench.pass_time()
    assert "goes on in the file that was open" in caplog.text
    assert "lost" not in caplog.text
    bench.path.rmdir()
    bench.log.reopen()
    bench.log.add(LINE)
    bench.pass_time()
    assert "missing" not in caplog.text
    assert (old.read_bytes() + bench.path.read_bytes()).count(b"\n") == 2
    bench.log.close()


def test_nothing_is_due_after_the_end(bench: Bench) -> None:
    bench.log.add(LINE)
    bench.log.reopen()
    bench.log.close()
    assert bench.clock.next_time() is None


def test_a_failure_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    bench = Bench(tmp_path / "log")
    bench.log.add(LINE)
    (tmp_path / "log").unlink()
    (tmp_path / "log").mkdir()
    bench.log.reopen()
    with caplog.at_level(logging.ERROR):
        bench.log.close()
    assert "Is a directory" in caplog.text


def test_a_log_that_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(FileError):
        RecordLog(str(tmp_path), "test log")
