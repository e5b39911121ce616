"""Twisted's relay before our publisher."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import pytest

from portable.testing import wait_until
from tests.protocols.servers.web.distributed.pages import BIG, make_pages

if TYPE_CHECKING:
    from pathlib import Path

    from tests.protocols.servers.web.distributed.people import Town


class Before:
    """Twisted's relay, and what our pages saw."""

    def __init__(self, town: Town, folder: Path) -> None:
        self.town = town
        town.add("alice")
        root, self.seen = make_pages(folder)
        town.publish("alice", root)
        self.program = town.twisted("relay", town.socket("alice"))

    def curl(self, path: str, *words: str) -> bytes:
        return self.town.curl(self.url(path), *words).output

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.program.said[1]}{path}"


@pytest.fixture
def relay(town: Town, tmp_path: Path) -> Before:
    (tmp_path / "big.bin").write_bytes(BIG)
    return Before(town, tmp_path)


def test_pages(relay: Before) -> None:
    head, _, body = relay.curl("/u/about?q=1", "-H", "X-Asked: why").partition(b"\r\n\r\n")
    lines = [line.lower() for line in head.split(b"\r\n")]
    assert lines[0].startswith(b"http/1.1 203 ")
    assert b"x-one: 1" in lines
    cookies = sorted(line for line in lines if line.startswith(b"set-cookie"))
    assert cookies[0].startswith(b"set-cookie: first=1;")
    assert all(part in cookies[0] for part in (b"path=/", b"httponly", b"samesite=lax"))
    assert cookies[1].startswith(b"set-cookie: second=2;")
    assert all(part in cookies[1] for part in (b"max-age=60", b"secure"))
    assert body.split(b"\n")[:3] == [b"GET", b"/u/about?q=1", b"why"]
    for path, status in (("/u/nothing", 204), ("/u/unknown", 404), ("/u/boom", 500), ("/u/", 200)):
        assert relay.curl(path).startswith(f"HTTP/1.1 {status} ".encode()), path


def test_ten_megabytes_down_from_memory_and_from_a_file(relay: Before) -> None:
    assert relay.curl("/u/big").endswith(BIG)
    output = relay.curl("/u/files/big.bin")
    assert output.endswith(BIG)
    assert b"Content-Length: 10485760\r\n" in output
    assert relay.curl("/u/files/big.bin", "-I").endswith(b"\r\n\r\n")


def test_post(relay: Before) -> None:
    expected = b"5 " + hashlib.sha256(b"a=b&c").hexdigest().encode()
    assert relay.curl("/u/digest", "-d", "a=b&c").endswith(expected)


def test_two_at_once(relay: Before) -> None:
    words = ("curl", "-sS", "--max-time", "20")
    one, other = relay.town.together((*words, relay.url("/u/big")), (*words, relay.url("/u/files/big.bin")))
    assert one.output == other.output == BIG


def test_a_client_that_stops_reading_stops_our_publisher(relay: Before) -> None:
    words = ("--limit-rate", "1k", "--max-time", "2")
    done = relay.town.curl(relay.url("/u/endless"), *words)
    assert done.status == 28
    assert relay.seen["endless"].given < 64 * 1024 * 1024
    wait_until(relay.town.reactor, lambda: relay.seen["endless"].closed)


def test_requests_wait_for_nobody_when_the_relay_is_killed(relay: Before) -> None:
    def asked() -> Any:
        return "never" in relay.seen

    relay.town.curl(relay.url("/u/never"), when=asked, then=relay.program.kill)
    wait_until(relay.town.reactor, lambda: relay.seen["never"].called)
