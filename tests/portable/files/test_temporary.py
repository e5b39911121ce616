"""Files without a name."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING

import pytest

from portable.errors import FileError
from portable.files import TemporaryFile

if TYPE_CHECKING:
    from pathlib import Path


def test_what_is_written_is_read_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    file = TemporaryFile()
    file.write(b"one")
    file.write(b"two")
    assert [file.read(4), file.read(4), file.read(4)] == [b"onet", b"wo", b""]
    file.close()
    file.close()
    assert list(tmp_path.iterdir()) == []


def test_a_closed_one_says_so() -> None:
    file = TemporaryFile()
    file.close()
    for call in (lambda: file.write(b"x"), lambda: file.read(1)):
        with pytest.raises(FileError) as caught:
            call()
        assert caught.value.code == "EBADF"


def test_no_folder_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    with pytest.raises(FileError) as caught:
        TemporaryFile()
    assert caught.value.code == "ENOENT"


def test_a_full_disk() -> None:
    file = TemporaryFile()
    full = open("/dev/full", "w+b")  # noqa: SIM115 - closed by `file`
    file._file.close()
    file._file = full
    with pytest.raises(FileError) as caught:
        file.write(bytes(100_000))
    assert caught.value.code == "ENOSPC"
    file.write(b"x")
    with pytest.raises(FileError) as caught:
        file.read(1)
    assert caught.value.code in {"ENOSPC", "EINVAL", "ESPIPE"}
    file.close()
