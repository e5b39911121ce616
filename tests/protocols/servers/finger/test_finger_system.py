"""The users of this machine: what is read of their home folders, and what must never be."""

from __future__ import annotations

import errno
import os
import typing

import pytest

from portable import systemusers
from portable.deferred import Deferred, succeed
from portable.errors import CapabilityMissing, FileError
from portable.systemusers import SystemUser, require_system_users, system_user
from protocols.servers.finger.system import MAX_NOTE, MAX_READS, SystemUsers
from protocols.servers.finger.users import User

if typing.TYPE_CHECKING:
    from pathlib import Path

    T = typing.TypeVar("T")

UID = os.getuid()


class AtOnce:
    """A pool of threads that has none."""

    def run_in_thread(self, function: typing.Callable[..., T], *args: object) -> Deferred[T]:
        return succeed(function(*args))

    def call_soon_threadsafe(self, callback: typing.Callable[..., object], *args: object) -> typing.Any:
        raise NotImplementedError


@pytest.fixture
def home(tmp_path: Path) -> Path:
    made = tmp_path / "home"
    made.mkdir()
    made.chmod(0o755)
    return made


def write(path: Path, text: str | bytes, mode: int = 0o644) -> None:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    path.chmod(mode)


def find(home: Path, login: str = "alice", *, uid: int = UID, gecos: str = "Alice Liddell") -> User | None:
    def lookup(name: str) -> SystemUser | None:
        return SystemUser("alice", uid, str(home), gecos) if name == "alice" else None

    found: list[User | None] = []
    SystemUsers(AtOnce(), lookup).find(login).add_callback(found.append)
    return found[0]


def plan(home: Path, *, uid: int = UID) -> str:
    user = find(home, uid=uid)
    assert user is not None
    return user.plan


def test_a_user_with_plan_and_project(home: Path) -> None:
    write(home / ".plan", "Tea.\n")
    write(home / ".project", "Croquet\n")
    assert find(home) == User("alice", "Alice Liddell", project="Croquet\n", plan="Tea.\n")
    assert find(home, "queen") is None


def test_gecos_fields(home: Path) -> None:
    assert find(home, gecos="& Liddell, Room 1 ,123,456,x") == User("alice", "Alice Liddell", "Room 1", "123")
    assert find(home, gecos="") == User("alice", "alice")


def test_a_user_without_home(tmp_path: Path) -> None:
    assert find(tmp_path / "none") == User("alice", "Alice Liddell")
    write(tmp_path / "file", "")
    assert find(tmp_path / "file") == User("alice", "Alice Liddell")


def test_names_that_are_no_logins_are_not_looked_up(home: Path) -> None:
    asked: list[str] = []

    def lookup(login: str) -> None:
        asked.append(login)

    users = SystemUsers(AtOnce(), lookup)
    for name in ("../alice", "a b", "", "-alice", "*", "alice\0", "al\u00efce", "x" * 300):
        users.find(name)
    assert asked == []


def test_whoever_does_not_want_to_be_found_is_not(home: Path) -> None:
    (home / ".nofinger").symlink_to("/nowhere")
    assert find(home) is None
    (home / ".nofinger").unlink()
    write(home / ".nofinger", "")
    assert find(home) is None


def test_a_wish_not_to_be_found_that_only_its_owner_may_read_counts(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_open = os.open

    def refuse(path: typing.Any, flags: int, *args: typing.Any, **kwargs: typing.Any) -> int:
        if path == ".nofinger":
            raise PermissionError(errno.EACCES, "Permission denied")
        return real_open(path, flags, *args, **kwargs)

    monkeypatch.setattr(os, "open", refuse)  # root, who may be running this, reads everything
    write(home / ".nofinger", "", 0o600)
    assert find(home) is None
    # In a folder that is closed to us nothing is known, and most homes are.
    home.chmod(0o700)
    assert find(home) == User("alice", "Alice Liddell")


# Home folders on a network that is down.


class Stuck:
    """A pool whose calls begin and do not end before the test lets them."""

    def __init__(self) -> None:
        self.begun: list[tuple[object, Deferred[typing.Any]]] = []

    def run_in_thread(self, function: typing.Callable[..., T], *args: object) -> Deferred[T]:
        done: Deferred[T] = Deferred()
        self.begun.append((args[0], done))
        return done

    def call_soon_threadsafe(self, callback: typing.Callable[..., object], *args: object) -> typing.Any:
        raise NotImplementedError


def test_homes_that_do_not_answer_leave_threads_for_others() -> None:
    pool = Stuck()
    users = SystemUsers(pool)
    seen: list[object] = []
    asked = [users.find(f"user{number}").add_both(seen.append) for number in range(MAX_READS + 3)]
    assert len(pool.begun) == MAX_READS
    for deferred in asked[:-1]:  # who has asked is gone, but the threads are as stuck as before
        deferred.cancel()
    assert len(seen) == len(asked) - 1
    assert len(pool.begun) == MAX_READS
    pool.begun[0][1].callback(None)
    assert [login for login, _ in pool.begun[MAX_READS:]] == [f"user{len(asked) - 1}"]
    pool.begun[1][1].errback(FileError("the disk is gone", "EIO"))
    pool.begun[2][1].errback(FileError("the disk is gone", "EIO"))
    assert isinstance(seen[-1], FileError)
    users.find("another")
    assert pool.begun[-1][0] == "another"


# Attacks: what a user may put in place of .plan to have another's file shown.


def test_a_plan_that_is_a_symbolic_link_is_not_followed(home: Path) -> None:
    write(home.parent / "secret", "secret")
    write(home / "inside", "inside")
    for target in ("../secret", str(home.parent / "secret"), "inside", "/etc/passwd"):
        (home / ".plan").symlink_to(target)
        assert plan(home) == ""
        (home / ".plan").unlink()


def test_a_plan_swapped_for_a_link_after_it_was_looked_at_is_not_followed(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(home.parent / "secret", "secret")
    write(home / ".plan", "mine")
    real_open = os.open

    def swap_then_open(path: typing.Any, flags: int, *args: typing.Any, **kwargs: typing.Any) -> int:
        if path == ".plan":
            (home / ".plan").unlink()
            (home / ".plan").symlink_to(home.parent / "secret")
        return real_open(path, flags, *args, **kwargs)

    monkeypatch.setattr(os, "open", swap_then_open)
    assert plan(home) == ""


def test_a_plan_of_somebody_else_is_not_shown(home: Path) -> None:
    # As a hard link to another's file would be.
    write(home / ".plan", "not mine")
    assert plan(home, uid=UID + 1) == ""


def test_a_plan_that_is_no_regular_file_is_not_opened(home: Path) -> None:
    os.mkfifo(home / ".plan", 0o644)
    assert plan(home) == ""
    (home / ".plan").unlink()
    (home / ".plan").mkdir()
    assert plan(home) == ""


def test_what_others_may_not_read_is_not_shown(home: Path) -> None:
    write(home / ".plan", "private", 0o600)
    assert plan(home) == ""
    write(home / ".plan", "public")
    home.chmod(0o700)
    assert plan(home) == ""
    home.chmod(0o711)
    assert plan(home) == "public"


def test_a_long_plan_is_cut(home: Path) -> None:
    write(home / ".plan", "x" * MAX_NOTE)
    assert plan(home) == "x" * MAX_NOTE
    with open(home / ".plan", "ab") as file:
        file.truncate(1 << 40)
    shown = plan(home)
    assert shown.startswith("x" * MAX_NOTE + "\n(")
    assert len(shown) < MAX_NOTE + 100


def test_a_plan_in_any_encoding_is_shown_somehow(home: Path) -> None:
    write(home / ".plan", b"caf\xe9 \xc3\xa9\xc3")
    assert plan(home) == "caf\ufffd \u00e9\ufffd"


# The database itself.


def test_the_database_of_this_machine() -> None:
    require_system_users()
    found = system_user("root")
    assert found is not None
    assert (found.login, found.uid) == ("root", 0)
    assert system_user("no-such-user") is None
    assert system_user("root\0") is None


def test_a_machine_without_such_a_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(systemusers, "pwd", None)
    with pytest.raises(CapabilityMissing, match="users"):
        require_system_users()
    with pytest.raises(CapabilityMissing):
        system_user("root")
