from __future__ import annotations

import errno
import logging
import os
import random
import signal
import subprocess
import sys
import typing

import pytest

from portable.commands.logfile import FileLog, StreamLog
from portable.commands.usage import CommandError
from portable.logs import TextFormatter

if typing.TYPE_CHECKING:
    import pathlib
    from collections.abc import Callable, Iterator

    from tests.commands.processes import Folder


@pytest.fixture
def make(tmp_path: pathlib.Path) -> Iterator[Callable[..., FileLog]]:
    made: list[FileLog] = []

    def make_log(**more: int) -> FileLog:
        log = FileLog(str(tmp_path / "x.log"), **more)
        log.setFormatter(logging.Formatter("%(message)s"))
        made.append(log)
        return log

    yield make_log
    for log in made:
        log.close()


def say(log: logging.Handler, text: str) -> None:
    log.handle(logging.LogRecord("test", logging.INFO, "", 0, text, None, None))


def contents(folder: pathlib.Path) -> dict[str, str]:
    return {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()}


def test_records_are_lines(make: Callable[..., FileLog], tmp_path: pathlib.Path) -> None:
    log = make()
    say(log, "one")
    say(log, "two \u00e9")
    assert contents(tmp_path) == {"x.log": "one\ntwo \u00e9\n"}


def test_rotation_at_a_size_keeps_so_many(make: Callable[..., FileLog], tmp_path: pathlib.Path) -> None:
    log = make(rotate_at=10, kept=2)
    for text in ("aaaaaa", "bbbbbb", "cccccc", "dddddd"):
        say(log, text)
    assert contents(tmp_path) == {"x.log": "dddddd\n", "x.log.1": "cccccc\n", "x.log.2": "bbbbbb\n"}


def test_a_record_larger_than_the_size_does_not_rotate_an_empty_file(
    make: Callable[..., FileLog], tmp_path: pathlib.Path
) -> None:
    log = make(rotate_at=3)
    say(log, "aaaaaa")
    log.rotate()
    log.rotate()
    assert contents(tmp_path) == {"x.log": "", "x.log.1": "aaaaaa\n"}


def test_what_is_there_is_appended_to_and_counted(make: Callable[..., FileLog], tmp_path: pathlib.Path) -> None:
    (tmp_path / "x.log").write_text("before\n")
    log = make(rotate_at=10)
    say(log, "now")
    assert contents(tmp_path) == {"x.log": "now\n", "x.log.1": "before\n"}


def test_a_gap_in_the_numbers_does_no_harm(make: Callable[..., FileLog], tmp_path: pathlib.Path) -> None:
    (tmp_path / "x.log.2").write_text("old\n")
    log = make()
    say(log, "a")
    log.rotate()
    assert contents(tmp_path) == {"x.log": "", "x.log.1": "a\n", "x.log.3": "old\n"}


def test_rotating_a_file_that_somebody_has_moved(make: Callable[..., FileLog], tmp_path: pathlib.Path) -> None:
    log = make()
    say(log, "a")
    os.rename(tmp_path / "x.log", tmp_path / "moved")
    log.rotate()
    say(log, "b")
    assert contents(tmp_path) == {"x.log": "b\n", "moved": "a\n"}


def test_reopening(make: Callable[..., FileLog], tmp_path: pathlib.Path) -> None:
    log = make()
    say(log, "a")
    os.rename(tmp_path / "x.log", tmp_path / "moved")
    say(log, "b")
    log.reopen()
    say(log, "c")
    assert contents(tmp_path) == {"x.log": "c\n", "moved": "a\nb\n"}


def test_what_cannot_be_reopened_stays_in_use(
    make: Callable[..., FileLog], tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = make()
    os.rename(tmp_path / "x.log", tmp_path / "moved")
    (tmp_path / "x.log").mkdir()
    log.reopen()
    say(log, "b")
    assert (tmp_path / "moved").read_text() == "b\n"
    assert "cannot reopen the log" in caplog.text


def test_what_cannot_be_rotated_goes_on_and_is_said_once(
    make: Callable[..., FileLog], tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = make(rotate_at=10)

    def refuse(*words: object, **more: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", refuse)
        for text in ("aaaaaa", "bbbbbb", "cccccc"):
            say(log, text)
    note = "cannot rotate the log, it goes on in the same file: Permission denied\n"
    assert contents(tmp_path) == {"x.log": f"aaaaaa\n{note}bbbbbb\ncccccc\n"}
    say(log, "dddddd")
    assert contents(tmp_path)["x.log"] == "dddddd\n"


def test_whoever_asks_for_a_rotation_is_told_each_time_that_it_failed(
    make: Callable[..., FileLog], tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = make()
    assert log.rotate()
    say(log, "a")

    def refuse(*words: object, **more: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", refuse)
        assert [log.rotate(), log.rotate()] == [False, False]
    assert (tmp_path / "x.log").read_text().count("cannot rotate the log") == 2
    assert log.rotate()
    assert contents(tmp_path)["x.log"] == ""


def test_a_rotation_that_cannot_open_the_new_file_stays_in_the_old(
    make: Callable[..., FileLog], tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = make()
    say(log, "a")

    def refuse(*words: object, **more: object) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        log.rotate()
        say(log, "b")
    assert (tmp_path / "x.log.1").read_text().splitlines()[-1] == "b"


def test_a_full_disk_stops_nothing_and_what_was_lost_is_counted(
    make: Callable[..., FileLog], tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = make()
    say(log, "a")
    write = os.write

    def half(fd: int, data: bytes) -> int:
        return write(fd, data[: len(data) // 2])

    def full(fd: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    for broken in (half, full):
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", broken)
            say(log, "lost")
    say(log, "b")
    say(log, "c")
    lines = contents(tmp_path)["x.log"].splitlines()
    assert lines == ["a", "2 log records before this one were lost: No space left on device", "b", "c"]


def test_a_device_that_is_always_full(monkeypatch: pytest.MonkeyPatch) -> None:
    log = StreamLog()
    with open("/dev/full", "w", encoding="utf-8") as full:
        monkeypatch.setattr(sys, "stdout", full)
        say(log, "a")
        say(log, "b")
    assert log.lost == 2


@pytest.mark.parametrize("what", ["link", "folder", "device", "nowhere"])
def test_only_a_regular_file_is_written_to(tmp_path: pathlib.Path, what: str) -> None:
    path = tmp_path / "x.log"
    if what == "link":
        (tmp_path / "target").touch()
        path.symlink_to("target")
    elif what == "folder":
        path.mkdir()
    elif what == "device":
        os.mkfifo(path)
    else:
        path = tmp_path / "no" / "x.log"
    with pytest.raises(CommandError, match="cannot open the log file"):
        FileLog(str(path))


def test_the_file_can_be_given_away(make: Callable[..., FileLog], tmp_path: pathlib.Path) -> None:
    make().give_to(os.getuid(), os.getgid())
    assert os.stat(tmp_path / "x.log").st_uid == os.getuid()


def test_closing_twice(make: Callable[..., FileLog]) -> None:
    log = make()
    log.close()
    log.close()
    say(log, "lost")
    assert log.lost == 1


# Logs numbered lines, rotating after every few, for as long as it lives.
LOGGER = """
import logging, sys
from portable.commands.logfile import FileLog
log = FileLog("x.log", rotate_at=200, kept=1000)
log.setFormatter(logging.Formatter("%(message)s"))
number = int(sys.argv[1])
sys.stdout.write("ready\\n")
sys.stdout.flush()
while True:
    log.handle(logging.LogRecord("x", 20, "", 0, "line %d of the log", (number,), None))
    number += 1
"""


def test_kill_while_rotating_leaves_every_file_whole(folder: Folder) -> None:
    chance = random.Random(7)
    for turn in range(10):
        start = turn * 10_000_000
        process = subprocess.Popen(
            [sys.executable, "-c", LOGGER, str(start)],
            cwd=folder.path,
            env=folder.environ,
            stdout=subprocess.PIPE,
        )
        assert process.stdout is not None
        process.stdout.readline()
        try:
            process.wait(chance.random() * 0.02)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
        process.stdout.close()
        process.wait()
        files = sorted(
            (name for name in folder.names() if name.startswith("x.log")),
            key=lambda name: -int(name.partition(".log.")[2] or 0),
        )
        lines = "".join(folder.read(name) for name in files).splitlines(keepends=True)
        # Oldest file to newest, the lines count on without a gap: no file is torn, none lost, none doubled.
        written = [int(line.split()[1]) for line in lines if line.endswith(" of the log\n")]
        assert len(written) == len(lines)
        assert written == list(range(start, start + len(written)))
        for name in files:
            (folder.path / name).unlink()


def test_the_text_formatter_writes_one_line_for_what_a_client_sent(
    make: Callable[..., FileLog], tmp_path: pathlib.Path
) -> None:
    log = make()
    log.setFormatter(TextFormatter())
    say(log, "GET /\r\nforged \ud800")
    assert contents(tmp_path)["x.log"].endswith("GET /\\x0d\\x0aforged \\ud800\n")
