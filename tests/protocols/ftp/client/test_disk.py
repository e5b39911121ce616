"""Downloads to the disk and uploads from it, in memory."""

from __future__ import annotations

import functools
import typing

import pytest

from portable.deferred import Deferred
from portable.errors import Cancelled, FileError
from portable.files import OpenFile
from portable.files.changing import WritableFile
from protocols.ftp.client import CommandRefused, download, upload
from tests.protocols.ftp.client.scripted import Script

if typing.TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def test_a_download_gets_its_name_when_it_is_complete(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"old")
    script = Script()
    running = script.run(download(script.client, "x", str(tmp_path / "x")))
    script.passive()
    assert script.heard() == ["RETR x"]
    script.say("150 ok")
    script.data.receive(b"new")
    assert (tmp_path / "x").read_bytes() == b"old"
    script.data.receive_eof()
    assert not running.done()
    script.say("226 ok")
    assert running.result == 3
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
    assert (tmp_path / "x").read_bytes() == b"new"


def test_a_download_that_the_server_calls_incomplete_is_a_part(tmp_path: Path) -> None:
    """All has come and the stream has ended: only the reply tells that it is not the whole file."""
    script = Script()
    running = script.transfer(download(script.client, "x", str(tmp_path / "x")))
    script.data.receive(b"half")
    script.data.receive_eof()
    script.say("451 the disk failed")
    assert isinstance(running.error, CommandRefused)
    assert [path.name for path in tmp_path.iterdir()] == [".x.part"]


@pytest.mark.parametrize("reply", ["550 no such file", "502 what?"])
def test_resuming_where_the_server_does_not_say_the_size(tmp_path: Path, reply: str) -> None:
    (tmp_path / ".x.part").write_bytes(b"he")
    (tmp_path / "y").write_bytes(b"hello")
    script = Script()
    running = script.run(download(script.client, "x", str(tmp_path / "x"), resume=True))
    script.play(f"C: TYPE I\nS: 200 ok\nC: SIZE x\nS: {reply}\nC: EPSV")
    script.say("229 (|||2000|)")
    script.play("C: REST 2\nS: 350 ok\nC: RETR x\nS: 150 ok")
    script.data.receive(b"llo")
    script.data.receive_eof()
    script.say("226 ok")
    assert running.result == 3
    assert (tmp_path / "x").read_bytes() == b"hello"
    running = script.run(upload(script.client, str(tmp_path / "y"), "y", resume=True))
    script.play(f"C: SIZE y\nS: {reply}\nC: EPSV\nS: 229 (|||2000|)\nC: STOR y\nS: 150 ok")
    script.say("226 ok")
    assert running.result == 5
    assert script.data.take() == b"hello"


def test_an_upload_that_is_shorter_than_what_is_there_begins_anew(tmp_path: Path) -> None:
    (tmp_path / "y").write_bytes(b"hello")
    script = Script()
    script.run(upload(script.client, str(tmp_path / "y"), "y", resume=True))
    script.play("C: TYPE I\nS: 200 ok\nC: SIZE y\nS: 213 6\nC: EPSV\nS: 229 (|||2000|)\nC: STOR y")


def test_a_server_that_cannot_say_the_size_now(tmp_path: Path) -> None:
    (tmp_path / "y").write_bytes(b"hello")
    script = Script()
    running = script.run(upload(script.client, str(tmp_path / "y"), "y", resume=True))
    script.play("C: TYPE I\nS: 200 ok\nC: SIZE y\nS: 450 busy")
    assert isinstance(running.error, CommandRefused)


def test_what_is_no_file(tmp_path: Path) -> None:
    script = Script()
    assert isinstance(script.run(upload(script.client, str(tmp_path), "y")).error, FileError)
    assert isinstance(script.run(upload(script.client, str(tmp_path / "none"), "y")).error, FileError)
    assert isinstance(script.run(download(script.client, "x", str(tmp_path / "no" / "x"))).error, FileError)


@pytest.mark.parametrize("target", ["x", "x/", "x/.", "x/..", "new/", "."])
def test_a_folder_is_refused_before_anything_is_transferred(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    (tmp_path / "x").mkdir()
    monkeypatch.chdir(tmp_path)
    script = Script()
    running = script.run(download(script.client, "x", target))
    assert isinstance(running.error, FileError)
    assert running.error.code == "EISDIR"
    assert "is a folder: name the file" in str(running.error)
    assert script.heard() == []
    assert list(tmp_path.rglob("*")) == [tmp_path / "x"]


def test_a_link_to_a_folder_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "x").symlink_to(".")
    script = Script()
    running = script.transfer(download(script.client, "x", str(tmp_path / "x")))
    script.data.receive(b"new")
    script.data.receive_eof()
    script.say("226 ok")
    assert running.result == 3
    assert (tmp_path / "x").read_bytes() == b"new"


def test_an_upload_whose_connection_breaks(tmp_path: Path) -> None:
    (tmp_path / "y").write_bytes(b"hello" * 100_000)
    script = Script()
    running = script.run(upload(script.client, str(tmp_path / "y"), "y"))
    script.play("C: TYPE I\nS: 200 ok\nC: EPSV\nS: 229 (|||2000|)\nC: STOR y")
    script.data.window = 0
    script.say("150 ok")
    script.data.lose()
    assert not running.done()
    script.say("426 broken off")
    assert isinstance(running.error, CommandRefused)


def test_a_transfer_may_be_cancelled_while_its_failure_is_explained(tmp_path: Path) -> None:
    script = Script()
    running = script.transfer(download(script.client, "x", str(tmp_path / "x")))
    script.data.lose()
    running.deferred.cancel()
    script.reactor.advance(0)
    assert isinstance(running.error, Cancelled)
    assert script.heard() == ["ABOR"]
    script.say("426 broken off", "226 aborted")
    later = script.run(script.client.noop())
    script.say("200 ok")
    assert later.done()


@pytest.mark.parametrize("opened_before", [0, 1])
def test_what_opens_after_a_cancellation_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opened_before: int
) -> None:
    """First the folder, then the part in it: their descriptors would stay open for ever."""
    script = Script()
    late: list[tuple[Deferred[object], Callable[[], object]]] = []

    def run_in_thread(function: Callable[..., object], *args: object) -> Deferred[object]:
        late.append((Deferred(), functools.partial(function, *args)))
        return late[-1][0]

    monkeypatch.setattr(script.reactor, "run_in_thread", run_in_thread)
    running = script.run(download(script.client, "x", str(tmp_path / "x")))
    for left in reversed(range(opened_before + 1)):
        deferred, function = late.pop(0)
        opened = function()
        if not left:
            running.deferred.cancel()
        deferred.callback(opened)
    assert isinstance(running.error, Cancelled)
    assert isinstance(opened, (OpenFile, WritableFile))
    assert opened._fd == -1
