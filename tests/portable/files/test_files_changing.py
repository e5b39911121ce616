"""Changes beneath a root: only of what is there, never through a link."""

from __future__ import annotations

import os
import stat
import typing

import pytest

from portable.errors import FileError
from portable.files import FolderReader, OpenFile, changing, open_beneath

if typing.TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def folder(root: Path, walk: str) -> Iterator[OpenFile]:
    """The root, open."""
    with open_beneath(str(root), []) as opened:
        yield opened


def refusal(function: Callable[..., object], *args: object, **options: object) -> str:
    with pytest.raises(FileError) as caught:
        function(*args, **options)
    return caught.value.code


def test_a_new_file_is_written(root: Path, folder: OpenFile) -> None:
    file = changing.open_to_write(folder, "new")
    assert file.status.size == 0
    file.start_at(0)
    file.write(b"one ")
    file.write(b"two")
    file.close()
    file.close()
    assert (root / "new").read_bytes() == b"one two"
    assert stat.S_IMODE((root / "new").stat().st_mode) & 0o111 == 0


@pytest.mark.parametrize(
    ("offset", "expected"), [(0, b"!"), (2, b"he!"), (None, b"hello!"), (7, b"hello\0\0!")]
)
def test_where_writing_begins(root: Path, folder: OpenFile, offset: int | None, expected: bytes) -> None:
    file = changing.open_to_write(folder, "hello")
    assert (root / "hello").read_bytes() == b"hello"
    file.start_at(offset)
    file.write(b"!")
    file.close()
    assert (root / "hello").read_bytes() == expected


def test_what_cannot_be_written(root: Path, folder: OpenFile) -> None:
    (root / "link").symlink_to("../secret")
    (root / "dangling").symlink_to("../nothing")
    os.mkfifo(root / "fifo")
    assert refusal(changing.open_to_write, folder, "link") == "ELOOP"
    assert refusal(changing.open_to_write, folder, "dangling") == "ELOOP"
    assert refusal(changing.open_to_write, folder, "fifo") == "EINVAL"
    assert refusal(changing.open_to_write, folder, "a") == "EISDIR"
    assert refusal(changing.open_to_write, folder, "hello", exclusive=True) == "EEXIST"
    for name in ("", ".", "..", "a/b", "a\0b", "../secret"):
        assert refusal(changing.open_to_write, folder, name) == "ENOENT"
    assert not (root.parent / "nothing").exists()
    assert (root.parent / "secret").read_text() == "secret"


def test_only_what_is_there_is_opened(root: Path, folder: OpenFile, monkeypatch: pytest.MonkeyPatch) -> None:
    file = changing.open_if_there(folder, "hello")
    assert file is not None
    file.start_at(1)
    file.write(b"ey")
    file.close()
    assert (root / "hello").read_bytes() == b"hey"
    assert changing.open_if_there(folder, "new") is None
    assert not (root / "new").exists()
    assert refusal(changing.open_if_there, folder, "hello", exclusive=True) == "EEXIST"
    assert refusal(changing.open_if_there, folder, "a") == "EISDIR"
    assert refusal(changing.open_if_there, folder, "..") == "ENOENT"
    # Not by mode bits: they do not keep root from anything.
    monkeypatch.setattr(os, "access", lambda *_, **options: False)
    assert refusal(changing.open_if_there, folder, "new") == "EACCES"


def test_a_file_swapped_for_a_fifo_is_not_written(
    root: Path, folder: OpenFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(root / "fifo")
    before = os.stat(root / "hello")
    reader = os.open(root / "fifo", os.O_RDONLY | os.O_NONBLOCK)
    real = os.stat
    monkeypatch.setattr(
        os, "stat", lambda path, **options: before if str(path).endswith("fifo") else real(path, **options)
    )
    assert refusal(changing.open_to_write, folder, "fifo") == "EINVAL"
    os.close(reader)


def test_a_link_that_comes_after_the_look_is_not_followed(
    root: Path, folder: OpenFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.stat

    def look(path: str, **options: typing.Any) -> os.stat_result:
        try:
            return real(path, **options)
        finally:
            if str(path).endswith("swapped"):
                (root / "swapped").symlink_to("../secret")

    monkeypatch.setattr(os, "stat", look)
    assert refusal(changing.open_to_write, folder, "swapped") == "EEXIST"
    assert (root.parent / "secret").read_text() == "secret"


def test_errors_while_writing(folder: OpenFile, monkeypatch: pytest.MonkeyPatch) -> None:
    file = changing.open_to_write(folder, "new")

    def full(*_: object) -> int:
        raise OSError(28, "no space")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        assert refusal(file.write, b"x") == "ENOSPC"
        patch.setattr(os, "ftruncate", full)
        assert refusal(file.start_at, 0) == "ENOSPC"
        real = os.close

        def close(fd: int) -> None:
            real(fd)
            full()

        patch.setattr(os, "close", close)
        assert refusal(file.close) == "ENOSPC"


def test_folders_are_made_and_removed(root: Path, folder: OpenFile) -> None:
    changing.make_folder(folder, "new")
    assert (root / "new").is_dir()
    assert refusal(changing.make_folder, folder, "new") == "EEXIST"
    changing.remove_folder(folder, "new")
    assert not (root / "new").exists()
    assert refusal(changing.remove_folder, folder, "new") == "ENOENT"
    assert refusal(changing.remove_folder, folder, "a") == "ENOTEMPTY"
    assert refusal(changing.remove_folder, folder, "hello") == "ENOTDIR"


def test_files_are_removed(root: Path, folder: OpenFile) -> None:
    (root / "link").symlink_to("../secret")
    changing.remove_file(folder, "hello")
    changing.remove_file(folder, "link")
    assert not (root / "hello").exists()
    assert not (root / "link").is_symlink()
    assert (root.parent / "secret").exists()
    assert refusal(changing.remove_file, folder, "a") == "EISDIR"
    assert refusal(changing.remove_file, folder, "hello") == "ENOENT"


def test_renaming(root: Path, folder: OpenFile) -> None:
    with open_beneath(folder, ["a", "b"]) as deep:
        changing.rename(folder, "hello", deep, "moved")
        assert (root / "a" / "b" / "moved").read_text() == "hello"
        assert refusal(changing.rename, deep, "moved", deep, "deep", replace=False) == "EEXIST"
        assert refusal(changing.rename, deep, "moved", deep, "..") == "ENOENT"
        changing.rename(deep, "moved", deep, "deep")
        assert (root / "a" / "b" / "deep").read_text() == "hello"
        changing.rename(deep, "deep", folder, "back", replace=False)
    assert refusal(changing.rename, folder, "nothing", folder, "x") == "ENOENT"
    assert (root / "back").read_text() == "hello"


def test_times(root: Path, folder: OpenFile, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "link").symlink_to("../secret")
    outside = (root.parent / "secret").stat().st_mtime_ns
    changing.set_modified(folder, "hello", 1_700_000_000_000_000_000)
    changing.set_modified(folder, "link", 1_700_000_000_000_000_000)
    assert (root / "hello").stat().st_mtime_ns == 1_700_000_000_000_000_000
    assert (root.parent / "secret").stat().st_mtime_ns == outside
    assert refusal(changing.set_modified, folder, "hello", 10**30) == "EINVAL"
    assert refusal(changing.set_modified, folder, "nothing", 0) == "ENOENT"
    monkeypatch.setattr(os, "supports_follow_symlinks", set())
    monkeypatch.chdir(root)
    changing.set_modified(folder, "hello", 1_600_000_000_000_000_000)
    assert (root / "hello").stat().st_mtime == 1_600_000_000


def test_nothing_is_in_a_file(folder: OpenFile) -> None:
    with open_beneath(folder, ["hello"]) as file:
        assert refusal(changing.make_folder, file, "x") == "ENOTDIR"
        assert refusal(changing.open_to_write, file, "x") == "ENOTDIR"


def test_modes(root: Path, folder: OpenFile, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "link").symlink_to("../secret")
    changing.set_mode(folder, "hello", 0o640)
    changing.set_mode(folder, "a", 0o750)
    assert stat.S_IMODE((root / "hello").stat().st_mode) == 0o640
    assert stat.S_IMODE((root / "a").stat().st_mode) == 0o750
    assert refusal(changing.set_mode, folder, "link", 0o777) == "ELOOP"
    assert refusal(changing.set_mode, folder, "..", 0o777) == "ENOENT"

    def refuse(*_: object) -> None:
        raise PermissionError(1, "not yours")

    monkeypatch.setattr(os, "fchmod", refuse)
    monkeypatch.setattr(os, "chmod", refuse)
    assert refusal(changing.set_mode, folder, "hello", 0o777) == "EPERM"


def test_names_that_the_system_cannot_spell(folder: OpenFile) -> None:
    assert refusal(changing.make_folder, folder, "\ud800") in {"ENOENT", "EILSEQ"}
    assert refusal(changing.make_folder, folder, "x" * 300) == "ENAMETOOLONG"


def test_a_folder_is_read_in_pieces(root: Path, folder: OpenFile) -> None:
    for number in range(10):
        (root / f"file{number}").write_bytes(b"x" * number)
    os.mkfifo(root / "fifo")
    with FolderReader(folder) as reader:
        pieces = []
        while piece := reader.read(3):
            pieces.append(piece)
    assert [len(piece) for piece in pieces] == [3, 3, 3, 3]
    entries = {entry.name: entry for piece in pieces for entry in piece}
    assert entries["file7"].size == 7
    assert entries["file7"].inode == (root / "file7").stat().st_ino
    assert entries["a"].is_dir
    assert "fifo" not in entries
    with open_beneath(folder, ["hello"]) as opened:
        assert refusal(FolderReader, opened) == "ENOTDIR"


def test_a_folder_that_cannot_be_read(folder: OpenFile, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> None:
        raise PermissionError(13, "no")

    monkeypatch.setattr(os, "scandir", refuse)
    assert refusal(FolderReader, folder) == "EACCES"
