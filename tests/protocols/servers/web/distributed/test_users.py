"""Whose pages are shown, and whose not."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, NoReturn

import pytest

from portable.errors import FileError
from portable.testing import wait_until
from protocols.servers.web.distributed.users import PAGES
from tests.protocols.servers.web.distributed.pages import make_pages

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.protocols.servers.web.distributed.people import Town

SOMEBODY = 54321  # a user id that owns nothing here


@pytest.fixture
def home(town: Town) -> Path:
    made = town.add("alice")
    pages = made / PAGES
    (pages / "sub").mkdir()
    (pages / "index.html").write_bytes(b"home of alice")
    (pages / "sub" / "x.txt").write_bytes(b"x")
    (made / "secret").write_bytes(b"the secret")
    return made


def status(town: Town, path: str) -> int:
    return int(town.curl(path).output.split(b" ")[1])


def test_pages_of_a_user(town: Town, home: Path) -> None:
    assert town.curl("/alice/").output.endswith(b"home of alice")
    assert town.curl("/alice/sub/x.txt").output.endswith(b"\r\n\r\nx")
    assert b"x.txt" in town.curl("/alice/sub/").output
    assert b"Location: alice/\r\n" in town.curl("/alice").output
    assert b"Location: sub/\r\n" in town.curl("/alice/sub").output


def test_the_root_lists_nobody(town: Town, home: Path) -> None:
    output = town.curl("/").output
    assert output.startswith(b"HTTP/1.1 200 ")
    assert b"alice" not in output
    assert town.curl("/", "-d", "x=y").output.startswith(b"HTTP/1.1 405 ")
    assert town.curl("/", "-X", "OPTIONS").output.startswith(b"HTTP/1.1 204 ")


def link(home: Path) -> None:
    (home / PAGES / "link").symlink_to("../secret")


def absolute_link(home: Path) -> None:
    (home / PAGES / "link").symlink_to(home / "secret")


def linked_folder(home: Path) -> None:
    (home / PAGES / "link").symlink_to("/etc")


def private_file(home: Path) -> None:
    (home / PAGES / "link").write_bytes(b"the secret")
    (home / PAGES / "link").chmod(0o600)


def private_folder(home: Path) -> None:
    (home / PAGES / "link").mkdir()
    (home / PAGES / "link" / "index.html").write_bytes(b"the secret")
    (home / PAGES / "link").chmod(0o700)


def unlisted_folder(home: Path) -> None:
    (home / PAGES / "link").mkdir()
    (home / PAGES / "link" / "the secret").write_bytes(b"")
    (home / PAGES / "link").chmod(0o711)


def fifo(home: Path) -> None:
    os.mkfifo(home / PAGES / "link")


@pytest.mark.parametrize(
    "make", [link, absolute_link, linked_folder, private_file, private_folder, unlisted_folder, fifo]
)
def test_what_a_stranger_could_not_read(town: Town, home: Path, make: Callable[[Path], None]) -> None:
    make(home)
    for path in ("/alice/link", "/alice/link/", "/alice/link/passwd"):
        output = town.curl(path).output
        assert not output.startswith(b"HTTP/1.1 200 "), path
        assert b"the secret" not in output


def test_a_folder_to_pass_through_shows_its_index(town: Town, home: Path) -> None:
    (home / PAGES / "sub" / "index.html").write_bytes(b"shown")
    (home / PAGES / "sub").chmod(0o711)
    assert town.curl("/alice/sub/").output.endswith(b"shown")


def test_pages_that_are_a_link(town: Town, home: Path) -> None:
    (home / PAGES).rename(home / "elsewhere")
    (home / PAGES).symlink_to("elsewhere")
    assert status(town, "/alice/") == 404


def test_a_home_that_is_closed_to_others(town: Town, home: Path) -> None:
    home.chmod(0o700)
    assert status(town, "/alice/") == 404


def test_what_we_may_not_read_ourselves(town: Town, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> NoReturn:
        raise FileError("permission denied", "EACCES")

    monkeypatch.setattr("protocols.servers.web.distributed.users.open_beneath", refuse)
    assert status(town, "/alice/") == 404


def test_a_file_of_somebody_else(town: Town, home: Path) -> None:
    town.users["alice"] = town.users["alice"]._replace(uid=SOMEBODY)
    assert status(town, "/alice/sub/x.txt") == 404
    assert b"home of alice" not in town.curl("/alice/").output


def test_the_unknown_and_those_without_pages_look_alike(town: Town, home: Path) -> None:
    bare = town.add("bob")
    (bare / PAGES).rmdir()
    for words, code in (
        (("-X", "GET"), 404),
        (("-X", "DELETE"), 405),
        (("-d", "a=b"), 405),
        (("-X", "OPTIONS"), 204),
    ):
        answers = [town.curl(f"/{name}/", *words).output for name in ("bob", "nobody-at-all")]
        for answer in answers:
            assert answer.startswith(b"HTTP/1.1 %d " % code)
        assert len({answer.partition(b"\r\n\r\n")[2] for answer in answers}) == 1


@pytest.mark.parametrize(
    "path", ["/alice/../bob/", "/alice/%2e%2e/secret", "/alice/..%2fsecret", "/..%2falice/"]
)
def test_traversal(town: Town, home: Path, path: str) -> None:
    output = town.curl(path).output
    assert output.split(b" ")[1] in {b"400", b"404"}
    assert b"the secret" not in output


@pytest.mark.parametrize("name", ["-alice", "alice;id", "a" * 300, "alice%00", "%ff", "alice%0a", "al%20ice"])
def test_only_names_are_asked_for(town: Town, home: Path, name: str) -> None:
    asked: list[str] = []
    town.directory._lookup = asked.append
    for suffix in ("/", ".twistd/"):
        assert status(town, f"/{name}{suffix}") in {400, 404, 502}
    assert asked == []


def nothing(town: Town, home: Path) -> None:
    pass


def nobody_listens(town: Town, home: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(town.socket("alice"))


def a_file(town: Town, home: Path) -> None:
    (home / ".twistd-web-pb").write_bytes(b"")


def a_link(town: Town, home: Path) -> None:
    _publish(town)
    (home / ".twistd-web-pb").rename(home / "real")
    (home / ".twistd-web-pb").symlink_to("real")


def of_somebody_else(town: Town, home: Path) -> None:
    _publish(town)
    town.users["alice"] = town.users["alice"]._replace(uid=SOMEBODY)


def in_a_home_that_others_may_write_to(town: Town, home: Path) -> None:
    _publish(town)
    home.chmod(0o777)


def in_a_home_that_a_group_may_write_to(town: Town, home: Path) -> None:
    _publish(town)
    home.chmod(0o775)


def _publish(town: Town) -> None:
    town.publish("alice", make_pages()[0])


@pytest.mark.parametrize(
    "make",
    [
        nothing,
        nobody_listens,
        a_file,
        a_link,
        of_somebody_else,
        in_a_home_that_others_may_write_to,
        in_a_home_that_a_group_may_write_to,
    ],
)
def test_sockets_that_are_not_trusted_look_like_none(
    town: Town, home: Path, make: Callable[[Town, Path], None]
) -> None:
    make(town, home)
    for name in ("alice", "nobody-at-all"):
        head, _, body = town.curl(f"/{name}.twistd/about").output.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 502 ")
        assert b"Cannot connect to this user&#x27;s server." in body


def test_a_socket_that_was_exchanged_after_it_was_looked_at(
    town: Town, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _publish(town)
    monkeypatch.setattr("protocols.servers.web.distributed.users._ROOT", SOMEBODY)
    monkeypatch.setattr(town.directory, "_find_socket", lambda login: (town.socket("alice"), SOMEBODY))
    known = "nio" not in town.reactor.name and hasattr(socket, "SO_PEERCRED")
    assert status(town, "/alice.twistd/about") == (502 if known else 203)
    relay = town.directory.relay
    assert relay is not None
    wait_until(town.reactor, lambda: relay.under_way(town.socket("alice")) == 0)


def test_a_socket_that_is_trusted(town: Town, home: Path) -> None:
    _publish(town)
    assert status(town, "/alice.twistd/about") == 203
