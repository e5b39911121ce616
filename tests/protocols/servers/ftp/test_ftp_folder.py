"""The two file systems do the same, and the real one stays beneath its root."""

from __future__ import annotations

import os
import typing

import pytest

from portable.errors import FileError
from portable.files import OpenFile
from portable.testing import wait_for
from protocols.ftp.server.filesystem import SMALL
from protocols.servers.ftp.folder import RealFolder
from protocols.servers.ftp.memory import MemoryFiles

if typing.TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from portable.deferred import Deferred
    from portable.reactor import Reactor
    from protocols.ftp.server.filesystem import FileSystem

    Wait = Callable[[Deferred[typing.Any]], typing.Any]


@pytest.fixture
def wait(reactor: Reactor) -> Wait:
    return lambda deferred: wait_for(reactor, deferred)


@pytest.fixture(params=["folder", "memory"])
def files(request: pytest.FixtureRequest, reactor: Reactor, tmp_path: Path) -> FileSystem:
    if request.param == "memory":
        return MemoryFiles(lambda: 1e9)
    (tmp_path / "root").mkdir()
    (tmp_path / "secret").write_text("secret")
    return RealFolder(str(tmp_path / "root"), reactor)


def code(wait: Wait, deferred: Deferred[typing.Any]) -> str:
    with pytest.raises(FileError) as caught:
        wait(deferred)
    return caught.value.code


def write(wait: Wait, files: FileSystem, path: tuple[str, ...], data: bytes, offset: int | None = 0) -> None:
    file = wait(files.open_to_write(path))
    file.start_at(offset)
    wait(file.write(data))
    wait(file.close())


def read(wait: Wait, files: FileSystem, path: tuple[str, ...]) -> bytes:
    file = wait(files.open_file(path))
    data: bytes = wait(file.read(0, file.size))
    assert file.content is None or file.content == data
    file.close()
    return data


def test_files(wait: Wait, files: FileSystem) -> None:
    write(wait, files, ("f",), b"hello")
    write(wait, files, ("f",), b"!", None)
    assert read(wait, files, ("f",)) == b"hello!"
    write(wait, files, ("f",), b"y", 1)
    assert read(wait, files, ("f",)) == b"hy"
    item = wait(files.status(("f",)))
    assert (item.name, item.is_folder, item.size) == ("f", False, 2)
    much = bytes(range(256)) * 300
    assert len(much) > SMALL
    write(wait, files, ("much",), much)
    assert read(wait, files, ("much",)) == much
    file = wait(files.open_file(("much",)))
    assert file.content is None
    file.close()
    assert code(wait, files.open_to_write(("f",), exclusive=True)) == "EEXIST"
    assert code(wait, files.open_to_write(())) == "EISDIR"
    assert code(wait, files.open_to_write(("no", "f"))) == "ENOENT"
    assert code(wait, files.open_to_write(("f", "f"))) == "ENOTDIR"
    assert code(wait, files.open_file(("no",))) == "ENOENT"
    assert code(wait, files.open_file(())) == "EISDIR"
    wait(files.remove_file(("f",)))
    assert code(wait, files.remove_file(("f",))) == "ENOENT"


def test_a_file_that_is_closed_unwritten(wait: Wait, files: FileSystem) -> None:
    write(wait, files, ("f",), b"old")
    file = wait(files.open_to_write(("f",)))
    wait(file.close())
    assert read(wait, files, ("f",)) == b"old"
    file = wait(files.open_to_write(("f",)))
    file.start_at(0)
    wait(file.close())
    assert read(wait, files, ("f",)) == b""
    file = wait(files.open_to_write(("new",)))
    assert file.size == 0
    wait(file.close())
    assert code(wait, files.status(("new",))) == "ENOENT"
    file = wait(files.open_to_write(("new",), exclusive=True))
    file.start_at(None)
    wait(file.close())
    assert read(wait, files, ("new",)) == b""


def test_two_make_one_file(wait: Wait, files: FileSystem) -> None:
    first, second = (wait(files.open_to_write(("new",))) for _ in range(2))
    for file, data in ((first, b"first"), (second, b"2")):
        file.start_at(0)
        wait(file.write(data))
    for file in (first, second):
        wait(file.close())
    assert read(wait, files, ("new",)) == b"2"


def test_folders(wait: Wait, files: FileSystem) -> None:
    wait(files.make_folder(("d",)))
    write(wait, files, ("d", "f"), b"x")
    assert wait(files.status(())).is_folder
    folder = wait(files.open_folder(("d",)))
    items = wait(folder.read(10))
    assert [(item.name, item.size) for item in items] == [("f", 1)]
    assert wait(folder.read(10)) == []
    folder.close()
    folder.close()
    assert code(wait, files.open_folder(("d", "f"))) == "ENOTDIR"
    assert code(wait, files.make_folder(("d",))) == "EEXIST"
    assert code(wait, files.remove_folder(("d",))) == "ENOTEMPTY"
    assert code(wait, files.remove_file(("d",))) == "EISDIR"
    wait(files.remove_file(("d", "f")))
    wait(files.remove_folder(("d",)))
    assert code(wait, files.status(("d",))) == "ENOENT"


def test_names_times_and_modes(wait: Wait, files: FileSystem) -> None:
    write(wait, files, ("a",), b"a")
    write(wait, files, ("b",), b"b")
    wait(files.make_folder(("d",)))
    assert code(wait, files.rename(("a",), ("b",), replace=False)) == "EEXIST"
    assert code(wait, files.rename(("a",), ("d",), replace=True)) == "EISDIR"
    wait(files.rename(("a",), ("b",), replace=True))
    assert read(wait, files, ("b",)) == b"a"
    wait(files.rename(("b",), ("d", "c"), replace=False))
    wait(files.set_modified(("d", "c"), 1_234_567_890))
    wait(files.set_mode(("d", "c"), 0o600))
    item = wait(files.status(("d", "c")))
    assert (item.modified, item.mode) == (1_234_567_890, 0o600)


def test_a_folder_is_closed_while_it_is_read(wait: Wait, reactor: Reactor, tmp_path: Path) -> None:
    folder = wait(RealFolder(str(tmp_path), reactor).open_folder(()))
    reading = folder.read(10)
    folder.close()
    assert wait(reading) == []


def test_links_are_not_followed_and_not_shown(wait: Wait, reactor: Reactor, tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "outside").mkdir()
    (root / "file").symlink_to("../secret")
    (root / "folder").symlink_to("../outside")
    (root / "dangling").symlink_to("../new")
    (root / "real").write_text("real")
    files = RealFolder(str(root), reactor)
    folder = wait(files.open_folder(()))
    assert [item.name for item in wait(folder.read(10))] == ["real"]
    folder.close()
    for path in (("file",), ("folder",), ("folder", "x"), ("dangling",), ("..", "secret")):
        assert code(wait, files.open_file(path)) in {"ELOOP", "ENOENT"}, path
        assert code(wait, files.open_to_write(path)) in {"ELOOP", "ENOENT"}, path
        assert code(wait, files.status(path)) in {"ELOOP", "ENOENT"}, path
    assert code(wait, files.make_folder(("folder", "x"))) == "ELOOP"
    assert code(wait, files.rename(("real",), ("folder", "x"), replace=True)) == "ELOOP"
    assert code(wait, files.remove_file(("folder", "x"))) == "ELOOP"
    assert code(wait, files.set_mode(("file",), 0o777)) == "ELOOP"
    assert sorted(os.listdir(tmp_path)) == ["outside", "root", "secret"]
    assert (tmp_path / "secret").read_text() == "secret"


def test_what_is_not_in_memory_is_read_in_a_thread(
    wait: Wait, reactor: Reactor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "f").write_text("cold")
    monkeypatch.setattr(OpenFile, "read_cached", lambda self: None)
    file = wait(RealFolder(str(tmp_path), reactor).open_file(("f",)))
    assert file.content == b"cold"


def test_a_disk_that_fails(
    wait: Wait, reactor: Reactor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(self: OpenFile) -> bytes:
        raise FileError("bad block", "EIO")

    (tmp_path / "f").write_text("x")
    monkeypatch.setattr(OpenFile, "read_cached", fails)
    assert code(wait, RealFolder(str(tmp_path), reactor).open_file(("f",))) == "EIO"


def test_memory_is_bounded(wait: Wait) -> None:
    files = MemoryFiles(lambda: 0.0, limit=10)
    file = wait(files.open_to_write(("f",)))
    file.start_at(0)
    wait(file.write(b"0123456789"))
    assert code(wait, file.write(b"x")) == "ENOSPC"
    wait(files.remove_file(("f",)))
    write(wait, files, ("g",), b"0123456789")
