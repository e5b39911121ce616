"""Our relay before Twisted's publisher."""

from __future__ import annotations

import hashlib
import os
import shutil
from typing import TYPE_CHECKING

import pytest

from portable.systemusers import SystemUser
from protocols.servers.web.distributed.users import SOCKET
from tests.protocols.servers.web.distributed.people import Town, TwistedProgram, short_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BIG = bytes(range(256)) * 40960  # 10 MB


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return a home folder with Twisted's publisher: starting it takes longer than the tests."""
    files = tmp_path_factory.mktemp("files")
    (files / "big.bin").write_bytes(BIG)
    (files / "small.txt").write_bytes(b"hello\n")
    home = short_folder()
    program = TwistedProgram("publisher", f"{home}/{SOCKET}", str(files))
    yield home
    program.close()
    shutil.rmtree(home)


@pytest.fixture
def alice(town: Town, published: str) -> Town:
    town.users["alice"] = SystemUser("alice", os.getuid(), published, "")
    return town


@pytest.fixture
def mortal(town: Town, tmp_path: Path) -> TwistedProgram:
    """A publisher that the test may kill."""
    town.add("alice")
    return town.twisted("publisher", town.socket("alice"), str(tmp_path))


def test_what_a_page_is_told_and_tells(alice: Town) -> None:
    done = alice.curl("/alice.twistd/about/x/y?q=1&q=2", "-H", "X-Asked: why", "-H", "Cookie: biscuit=crumbs")
    head, _, body = done.output.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 203 ")
    lines = head.split(b"\r\n")
    assert b"x-one: 1" in lines
    assert b"set-cookie: first=1; HttpOnly; Path=/" in lines
    assert b"set-cookie: second=2" in lines
    assert body.split(b"\n") == [
        b"GET", b"/alice.twistd/about/x/y?q=1&q=2", b"x/y", b"{b'q': [b'1', b'2']}", b"why", b"crumbs",
        b"127.0.0.1",
    ]  # fmt: skip


def test_head(alice: Town) -> None:
    done = alice.curl("/alice.twistd/files/small.txt", "-I")
    assert done.output.startswith(b"HTTP/1.1 200 ")
    assert b"Content-Length: 6\r\n" in done.output
    assert done.output.endswith(b"\r\n\r\n")


def test_ten_megabytes_down_and_ranges(alice: Town) -> None:
    done = alice.curl("/alice.twistd/files/big.bin")
    head, _, body = done.output.partition(b"\r\n\r\n")
    assert body == BIG
    assert b"Content-Length: 10485760" in head
    assert alice.curl("/alice.twistd/files/small.txt", "-r", "1-3").output.endswith(b"\r\n\r\nell")


def test_a_producer_that_pushes(alice: Town) -> None:
    done = alice.curl("/alice.twistd/push")
    assert done.output.partition(b"\r\n\r\n")[2] == BIG


def test_post(alice: Town, tmp_path: Path) -> None:
    done = alice.curl("/alice.twistd/about", "-d", "a=b&a=c")
    assert b"{b'a': [b'b', b'c']}" in done.output
    longest = tmp_path / "longest"
    longest.write_bytes(BIG[: 640 * 1024])
    expected = f"655360 {hashlib.sha256(longest.read_bytes()).hexdigest()}".encode()
    for words in ((), ("-H", "Transfer-Encoding: chunked")):
        done = alice.curl("/alice.twistd/digest", *words, "--data-binary", f"@{longest}")
        assert done.output.endswith(expected), done.output


def test_a_body_above_the_limit_is_refused_clearly(alice: Town, tmp_path: Path) -> None:
    longer = tmp_path / "longer"
    longer.write_bytes(BIG[: 640 * 1024 + 1])
    for words in ((), ("-H", "Transfer-Encoding: chunked")):
        done = alice.curl("/alice.twistd/digest", *words, "--data-binary", f"@{longer}")
        assert done.output.startswith(b"HTTP/1.1 413 "), done.output
        assert b"655360 bytes at most" in done.output


def test_validators(alice: Town) -> None:
    head = alice.curl("/alice.twistd/validators").output
    assert b'etag: "tag"\r\n' in head
    assert b"last-modified: Sun, 09 Sep 2001 01:46:40 GMT\r\n" in head


def test_two_at_once(alice: Town) -> None:
    slow, big = alice.together(
        alice.curl_words("/alice.twistd/slowly"), alice.curl_words("/alice.twistd/files/big.bin")
    )
    assert b"one," in slow.output
    assert b"two" in slow.output
    assert big.output.endswith(BIG)


def test_a_page_that_fails_tells_no_secret(alice: Town) -> None:
    done = alice.curl("/alice.twistd/boom")
    assert done.output.startswith(b"HTTP/1.1 502 ")
    assert b"secret" not in done.output


def test_a_page_that_is_not_there(alice: Town) -> None:
    assert alice.curl("/alice.twistd/nothing").output.startswith(b"HTTP/1.1 404 ")


def test_a_publisher_killed_in_the_middle_of_a_page(town: Town, mortal: TwistedProgram) -> None:
    done = town.curl("/alice.twistd/begin", "-N", when=lambda: town.port.bytes_sent > 100, then=mortal.kill)
    assert done.status in {18, 56}, done  # cut short, or reset
    assert b"the beginning" in done.output


def test_a_publisher_killed_before_the_page(town: Town, mortal: TwistedProgram) -> None:
    def asked() -> bool:
        assert town.directory.relay is not None
        return town.directory.relay.under_way(town.socket("alice")) == 1

    done = town.curl("/alice.twistd/never", when=asked, then=mortal.kill)
    assert done.output.startswith(b"HTTP/1.1 502 ")
