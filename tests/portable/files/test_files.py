"""The boundary to the file system: nothing leaves the root, nothing is left half written."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import pathlib
import socket
import stat
import tempfile
import threading
import time
import typing
from typing import TYPE_CHECKING, NoReturn

import pytest

from portable import files
from portable.errors import FileError
from portable.files import (
    AppendFile,
    file_status,
    open_beneath,
    read_file,
    socket_owner,
    system,
    write_atomically,
)
from portable.files import opened as opened_module

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


NOBODY = 65534  # a user who may not do what root may


def content(root: Path, *segments: str, follow_links: bool = False) -> bytes:
    with open_beneath(str(root), segments, follow_links=follow_links) as opened:
        return opened.read(0, 1000)


def refusal(call: Callable[..., object], *args: object, **options: object) -> str:
    with pytest.raises(FileError) as caught:
        call(*args, **options)
    return caught.value.code


def test_opens_files_and_folders(root: Path, walk: str) -> None:
    assert content(root, "hello") == b"hello"
    assert content(root, "a", "b", "deep") == b"deep"
    with open_beneath(str(root), ["hello"]) as opened:
        real = (root / "hello").stat()
        assert opened.status.size == 5
        assert opened.status.mtime_ns == real.st_mtime_ns
        assert opened.status.inode == real.st_ino
        assert opened.status.device == real.st_dev
        assert not opened.status.is_dir
        assert opened.read(1, 3) == b"ell"
        assert opened.read(4, 10) == b"o"
        assert opened.file is not None
        assert not os.get_inheritable(opened.file.fileno())
        assert refusal(opened.list_directory, 10) == "ENOTDIR"
    for segments in ([], ["a"], ["a", "b"]):
        with open_beneath(str(root), segments) as folder:
            assert folder.status.is_dir
            assert folder.file is None
            assert refusal(folder.read, 0, 1) == "EISDIR"
    folder.close()


def test_walks_on_from_an_open_folder(root: Path, walk: str) -> None:
    with open_beneath(str(root), ["a"]) as folder, open_beneath(folder, ["b", "deep"]) as opened:
        assert opened.read(0, 10) == b"deep"


@pytest.mark.parametrize(
    "segments",
    [
        [".."],
        ["a", "..", "..", "secret"],
        ["a", ".", "b"],
        [""],
        ["a", ""],
        ["../secret"],
        ["a/../../secret"],
        ["/etc/passwd"],
        ["hello\0"],
        ["\0"],
        ["nothing"],
        ["a", "nothing", "x"],
        ["\ud800"],
    ],
)
def test_names_that_cannot_exist_are_not_found(root: Path, walk: str, segments: list[str]) -> None:
    assert refusal(open_beneath, str(root), segments) == "ENOENT"


def test_other_refusals(root: Path, walk: str) -> None:
    assert refusal(open_beneath, str(root), ["hello", "x"]) == "ENOTDIR"
    assert refusal(open_beneath, str(root / "hello"), ["x"]) == "ENOTDIR"
    assert refusal(open_beneath, str(root / "nowhere"), []) == "ENOENT"
    assert refusal(open_beneath, str(root), ["x" * 300]) == "ENAMETOOLONG"


def test_symbolic_links_are_refused_wherever_they_stand(root: Path, walk: str) -> None:
    (root / "file").symlink_to("../secret")
    (root / "inside").symlink_to("hello")
    (root / "folder").symlink_to("..")
    (root / "a" / "up").symlink_to("../..")
    (root / "absolute").symlink_to("/etc")
    (root / "loop").symlink_to("loop")
    for segments in (
        ["file"],
        ["inside"],
        ["folder"],
        ["folder", "secret"],
        ["a", "up", "secret"],
        ["absolute", "passwd"],
        ["loop"],
    ):
        assert refusal(open_beneath, str(root), segments) == "ELOOP", segments


def test_the_root_itself_may_be_a_link(root: Path, walk: str) -> None:
    link = root.parent / "current"
    link.symlink_to("root")
    assert content(link, "hello") == b"hello"


def test_links_are_followed_only_beneath_the_root(root: Path) -> None:
    (root / "inside").symlink_to("./a//b/deep")
    (root / "folder").symlink_to("a/b/")
    (root / "a" / "back").symlink_to("../hello")
    (root / "a" / "top").symlink_to("..")
    (root / "chain").symlink_to("folder/deep")
    assert content(root, "inside", follow_links=True) == b"deep"
    assert content(root, "folder", "deep", follow_links=True) == b"deep"
    assert content(root, "a", "back", follow_links=True) == b"hello"
    assert content(root, "a", "top", "hello", follow_links=True) == b"hello"
    assert content(root, "chain", follow_links=True) == b"deep"

    (root / "out").symlink_to("../secret")
    (root / "a" / "out").symlink_to("../../root/hello")
    (root / "absolute").symlink_to(str(root / "hello"))
    (root / "loop").symlink_to("loop")
    (root / "wrong").symlink_to("hello/x")
    (root / "climb").symlink_to("a/top/../secret")
    for name in (["out"], ["a", "out"], ["absolute"], ["loop"], ["climb"]):
        assert refusal(open_beneath, str(root), name, follow_links=True) == "ELOOP", name
    assert refusal(open_beneath, str(root), ["wrong"], follow_links=True) == "ENOTDIR"


def test_fifos_devices_and_sockets_are_not_opened(
    root: Path, walk: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(root / "fifo")
    assert refusal(open_beneath, str(root), ["fifo"]) == "EINVAL"
    assert refusal(open_beneath, "/dev", ["null"]) == "EINVAL"
    assert refusal(read_file, str(root / "fifo"), 10) == "EINVAL"
    assert refusal(read_file, "/dev/zero", 10) == "EINVAL"


def test_a_folder_that_may_only_be_passed_through() -> None:
    user = os.geteuid()
    # Not below tmp_path, which only its owner may enter.
    with tempfile.TemporaryDirectory() as place:
        root = pathlib.Path(place)
        root.chmod(0o755)
        (root / "a" / "b").mkdir(parents=True)
        (root / "a" / "b" / "deep").write_text("deep")
        (root / "a").chmod(0o311)
        if user == 0:
            os.seteuid(NOBODY)
        try:
            assert content(root, "a", "b", "deep") == b"deep"
            with open_beneath(str(root), ["a"]) as folder:
                assert refusal(folder.list_directory, 10) == "EACCES"
        finally:
            os.seteuid(user)
            (root / "a").chmod(0o755)


def test_a_link_swapped_in_while_we_walk_never_leads_out(root: Path) -> None:
    inside = root / "swap"
    (root / "real").mkdir()
    (root / "real" / "secret").write_text("harmless")
    outside = root.parent / "evil"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            os.rename(root / "real", inside)
            os.rename(inside, root / "real")
            os.symlink("../evil", inside)
            os.unlink(inside)

    thread = threading.Thread(target=swap)
    thread.start()
    seen = set()
    try:
        deadline = time.monotonic() + 0.6
        while time.monotonic() < deadline:
            for follow in (False, True):
                with contextlib.suppress(FileError):
                    seen.add(content(root, "swap", "secret", follow_links=follow))
    finally:
        stop.set()
        thread.join()
    assert seen <= {b"harmless"}


def test_a_file_exchanged_between_check_and_opening(
    root: Path, walk: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.open

    def exchanging(name: str, flags: int, *args: int, dir_fd: int | None = None) -> int:
        if name.endswith("hello"):
            os.unlink(root / "hello")
            os.mkfifo(root / "hello")
        return real(name, flags, *args, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", exchanging)
    assert refusal(open_beneath, str(root), ["hello"]) == "EINVAL"


def test_descriptors_do_not_leak(root: Path, walk: str) -> None:
    (root / "link").symlink_to("..")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        for segments in (["hello"], ["a", "b"], ["a", "link", "x"], ["link"], ["nothing"], ["hello", "x"]):
            with contextlib.suppress(FileError):
                open_beneath(str(root), segments).close()
    assert len(os.listdir("/proc/self/fd")) == before


WINDOWS_TRICKS = [
    "..\\secret",
    "C:",
    "C:secret",
    "hello::$DATA",
    "hello:stream",
    "hello.",
    "hello ",
    "hello. .",
    "HELLO~1",
    "CON",
    "nul.txt",
    "aux .html",
    "COM1",
    "com\u00b9",
    "a*",
    "a?",
    'a"',
    "a|b",
    "a\x1fb",
]


@pytest.mark.parametrize("name", WINDOWS_TRICKS)
def test_tricks_of_windows_are_refused_there(
    root: Path, walk: str, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (root / name).write_text("a name like any other on other systems")
    assert content(root, name)
    monkeypatch.setattr(system, "WINDOWS", True)
    assert refusal(open_beneath, str(root), [name]) == "ENOENT"
    assert content(root, "hello") == b"hello"


def test_junctions_of_windows_are_links(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system, "HAS_DIR_FD", False)
    monkeypatch.setattr(system, "is_reparse_point", lambda result: stat.S_ISDIR(result.st_mode))
    assert refusal(open_beneath, str(root), ["a", "b", "deep"]) == "ELOOP"
    with open_beneath(str(root), []) as folder:
        links = {entry.name: entry.is_link for entry in folder.list_directory(10)[0]}
    assert links == {"a": True, "hello": False}


def test_a_listing_is_sorted_and_bounded(root: Path, walk: str) -> None:
    (root / "link").symlink_to("hello")
    os.mkfifo(root / "fifo")
    with open_beneath(str(root), []) as folder:
        for _ in range(2):
            entries, more = folder.list_directory(100)
            assert [(entry.name, entry.is_dir, entry.is_link) for entry in entries] == [
                ("a", True, False),
                ("hello", False, False),
                ("link", False, True),
            ]
            assert not more
        assert entries[1].size == 5
        assert entries[1].mtime_ns == (root / "hello").stat().st_mtime_ns
        entries, more = folder.list_directory(2)
        assert len(entries) <= 2
        assert more


def test_a_name_removed_while_listing_is_left_out() -> None:
    class Gone:
        name = "gone"

        def stat(self, *, follow_symlinks: bool) -> NoReturn:
            raise FileNotFoundError(errno.ENOENT, "gone")

    assert opened_module._entry(typing.cast("os.DirEntry[str]", Gone())) is None


def test_a_listing_that_fails(root: Path, walk: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: object) -> NoReturn:
        raise OSError(errno.EIO, "broken")

    with open_beneath(str(root), []) as folder:
        monkeypatch.setattr(os, "scandir", fails)
        assert refusal(folder.list_directory, 10) == "EIO"


def test_a_file_that_is_closed_while_a_thread_reads_it(root: Path) -> None:
    class ClosedMeanwhile(io.FileIO):
        def seek(self, offset: int, whence: int = 0, /) -> int:
            found = super().seek(offset, whence)
            self.close()
            return found

    with open_beneath(str(root), ["hello"]) as opened:
        assert opened.file is not None
        opened.file.close()
        opened.file = ClosedMeanwhile(root / "hello")
        assert refusal(opened.read, 0, 5) == "EBADF"


def test_a_read_that_fails(root: Path) -> None:
    with open_beneath(str(root), ["hello"]) as opened:
        assert opened.file is not None
        opened.file.close()
        assert refusal(opened.read, 0, 5) == "EBADF"
        opened.file = io.FileIO(os.open(root / "hello", os.O_WRONLY), "r")
        assert refusal(opened.read, 0, 5) == "EBADF"


def test_an_error_without_a_number_is_an_io_error() -> None:
    error = files.file_error(OSError("odd"), "name")
    assert error.code == "EIO"
    assert str(error) == "'name': odd"


def test_open_file(root: Path, walk: str) -> None:
    (root / "link").symlink_to("hello")
    with files.open_file(str(root / "link")) as opened:
        assert opened.read(0, 10) == b"hello"
        assert opened.fileno() == -1
    with files.open_file(str(root)) as folder, open_beneath(folder, ["hello"]) as opened:
        assert opened.read(0, 10) == b"hello"
        assert folder.list_directory(10)[0]
    assert refusal(files.open_file, "/dev/null") == "EINVAL"
    assert refusal(files.open_file, "a\0b") == "ENOENT"


def test_file_status(root: Path) -> None:
    assert file_status(str(root)).is_dir
    assert file_status(str(root / "hello")).size == 5
    assert refusal(file_status, str(root / "nothing")) == "ENOENT"
    assert refusal(file_status, "a\0b") == "ENOENT"
    assert refusal(file_status, "/dev/null") == "EINVAL"


def test_socket_owner() -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder, socket.socket(socket.AF_UNIX) as sock:
        path = f"{folder}/socket"
        sock.bind(path)
        assert socket_owner(path) == os.getuid()
        os.symlink("socket", f"{folder}/link")
        for other, code in ((f"{folder}/link", "ELOOP"), (folder, "EINVAL"), (f"{folder}/none", "ENOENT")):
            with pytest.raises(FileError) as caught:
                socket_owner(other)
            assert caught.value.code == code
    with pytest.raises(FileError, match="No such file"):
        socket_owner("a\0b")


def test_read_file(root: Path) -> None:
    path = root / "hello"
    assert read_file(str(path), 5) == b"hello"
    assert refusal(read_file, str(path), 4) == "EFBIG"
    assert refusal(read_file, str(root), 10) == "EISDIR"
    assert refusal(read_file, str(root / "nothing"), 10) == "ENOENT"
    assert refusal(read_file, "a\0b", 10) == "ENOENT"


def test_write_atomically_replaces(root: Path) -> None:
    path = root / "hello"
    old = os.umask(0o777)
    try:
        write_atomically(str(path), b"new", 0o644)
    finally:
        os.umask(old)
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    write_atomically(str(root / "fresh"), b"x" * 100_000)
    assert stat.S_IMODE((root / "fresh").stat().st_mode) == 0o600
    assert sorted(os.listdir(root)) == ["a", "fresh", "hello"]


def test_write_atomically_in_the_current_folder(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)
    write_atomically("hello", b"new")
    assert (root / "hello").read_bytes() == b"new"


def test_write_atomically_replaces_a_link_and_not_its_target(root: Path) -> None:
    (root / "link").symlink_to("../secret")
    write_atomically(str(root / "link"), b"new")
    assert (root.parent / "secret").read_text() == "secret"
    assert not (root / "link").is_symlink()


@pytest.mark.parametrize("step", ["fchmod", "write", "fsync", "replace"])
def test_a_failed_write_changes_nothing(root: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    def fails(*args: object) -> NoReturn:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, step, fails)
    assert refusal(write_atomically, str(root / "hello"), b"new") == "ENOSPC"
    assert (root / "hello").read_bytes() == b"hello"
    assert sorted(os.listdir(root)) == ["a", "hello"]


def test_write_atomically_where_it_cannot(root: Path) -> None:
    assert refusal(write_atomically, str(root / "nowhere" / "x"), b"") == "ENOENT"
    assert refusal(write_atomically, "a\0b", b"") == "ENOENT"
    assert refusal(write_atomically, str(root / "a"), b"") == "EISDIR"
    assert sorted(os.listdir(root)) == ["a", "hello"]


def test_short_writes_are_continued(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, bytes(data)[:3]))
    write_atomically(str(root / "hello"), b"0123456789")
    assert (root / "hello").read_bytes() == b"0123456789"


def test_systems_without_permissions_and_folder_sync(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "fchmod")
    monkeypatch.setattr(system, "WINDOWS", True)
    write_atomically(str(root / "hello"), b"new")
    assert (root / "hello").read_bytes() == b"new"


def test_append_file(root: Path) -> None:
    path = root / "log"
    log = AppendFile(str(path))
    log.write(b"one\n")
    other = AppendFile(str(path))
    other.write(b"two\n")
    log.write(b"three\n")
    assert path.read_bytes() == b"one\ntwo\nthree\n"
    assert log.size() == 14
    path.rename(root / "log.1")
    log.write(b"four\n")
    assert (root / "log.1").read_bytes().endswith(b"four\n")
    log.reopen()
    log.write(b"five\n")
    assert path.read_bytes() == b"five\n"
    log.close()
    log.close()
    other.close()
    assert refusal(log.write, b"x") == "EBADF"
    assert refusal(log.size) == "EBADF"


def test_append_file_that_cannot_be_opened(root: Path) -> None:
    assert refusal(AppendFile, str(root / "a")) == "EISDIR"
    assert refusal(AppendFile, "a\0b") == "ENOENT"
    os.mkfifo(root / "fifo")
    assert refusal(AppendFile, str(root / "fifo")) == "ENXIO"


def test_only_a_log_under_its_own_name_is_given_away(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "fchown", lambda fd, uid, gid: given.append((uid, gid)))
    (root / "link").symlink_to("once")
    (root / "once").touch()
    os.link(root / "hello", root / "second-name")
    for path in (root / "link", root / "hello", "/dev/null"):
        log = AppendFile(str(path))
        log.give_to(1, 2)
        log.close()
        assert given == []
    log = AppendFile(str(root / "log"))
    log.give_to(1, 2)
    assert given == [(1, 2)]
    log.close()
    assert refusal(log.give_to, 1, 2) == "EBADF"


def test_append_to_a_full_disk() -> None:
    log = AppendFile("/dev/full")
    assert refusal(log.write, b"x") == "ENOSPC"
    log.close()


def test_append_file_keeps_the_old_one_when_it_cannot_reopen(root: Path) -> None:
    log = AppendFile(str(root / "log"))
    (root / "log").rename(root / "log.1")
    (root / "log").mkdir()
    assert refusal(log.reopen) == "EISDIR"
    log.write(b"kept")
    assert (root / "log.1").read_bytes() == b"kept"
    log.close()


def test_the_size_of_a_file_that_is_gone(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = AppendFile(str(root / "log"))

    def fails(_: int) -> NoReturn:
        raise OSError(errno.ESTALE, "gone")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fstat", fails)
        assert refusal(log.size) == "ESTALE"
    log.close()


def test_what_the_system_has_in_memory(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_beneath(str(root), ["hello"]) as opened:
        assert opened.read_cached() in {b"hello", None}

        def refuse(*_: object) -> int:
            raise OSError(number, "refused")

        monkeypatch.setattr(os, "preadv", refuse)
        number = errno.EAGAIN
        assert opened.read_cached() is None
        number = errno.EOPNOTSUPP
        assert opened.read_cached() is None
        number = errno.EIO
        assert refusal(opened.read_cached) == "EIO"
        monkeypatch.setattr(os, "preadv", lambda *_: 3)
        assert opened.read_cached() is None
        monkeypatch.delattr(os, "preadv")
        assert opened.read_cached() is None
    with open_beneath(str(root), []) as opened:
        assert refusal(opened.read_cached) == "EISDIR"
