"""Our relay before our publisher."""

from __future__ import annotations

import hashlib
import socket
from typing import TYPE_CHECKING, Any

import pytest

from portable.testing import wait_until
from protocols.servers.web.distributed.relay import MAX_INLINE
from tests.protocols.servers.web.distributed.pages import BIG, make_pages
from tests.protocols.servers.web.distributed.people import Town

if TYPE_CHECKING:
    from pathlib import Path

    from portable.reactor import Reactor


@pytest.fixture
def seen(town: Town, tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "big.bin").write_bytes(BIG)
    (tmp_path / "small.txt").write_bytes(b"hello\n")
    town.add("alice")
    root, seen = make_pages(tmp_path)
    records: list[Any] = []
    seen["records"] = records
    town.publish("alice", root, access_log=records.append)
    return seen


def test_what_a_page_is_told_and_tells(town: Town, seen: dict[str, Any]) -> None:
    done = town.curl("/alice.twistd/about?q=1", "-H", "X-Asked: why", "-H", "User-Agent: test")
    head, _, body = done.output.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0].startswith(b"HTTP/1.1 203 ")
    assert b"x-one: 1" in lines
    assert b"vary: Accept, Cookie" in lines
    assert b"set-cookie: first=1; HttpOnly; Path=/; SameSite=Lax" in lines
    assert b"set-cookie: second=2; Max-Age=60; Secure" in lines
    method, target, asked, peer, host = body.decode().split("\n")
    assert (method, target, asked) == ("GET", "/alice.twistd/about?q=1", "why")
    assert peer.startswith("127.0.0.1:")
    assert host == str(town.port.address)
    wait_until(town.reactor, lambda: seen["records"])
    [record] = seen["records"]
    assert (record.method, record.target, record.status) == ("GET", "/alice.twistd/about?q=1", 203)
    assert (record.bytes_sent, record.user_agent) == (len(body), "test")
    assert str(record.peer) == peer


def test_the_root_with_and_without_a_slash(town: Town, seen: dict[str, Any]) -> None:
    assert town.curl("/alice.twistd/").output.endswith(b"the root")
    head = town.curl("/alice.twistd").output
    assert head.startswith(b"HTTP/1.1 308 ")
    assert b"location: /alice.twistd/\r\n" in head


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("nothing", 204),
        ("unknown", 404),
        ("files/none", 404),
        ("boom", 500),
        ("splitting", 500),
        ("files", 301),
    ],
)
def test_statuses(town: Town, seen: dict[str, Any], path: str, status: int) -> None:
    output = town.curl(f"/alice.twistd/{path}").output
    assert output.startswith(f"HTTP/1.1 {status} ".encode()), output
    assert b"secret" not in output
    assert b"b=c" not in output


def test_methods(town: Town, seen: dict[str, Any]) -> None:
    head = town.curl("/alice.twistd/big", "-I").output
    assert f"Content-Length: {len(BIG)}\r\n".encode() in head
    assert head.endswith(b"\r\n\r\n")
    assert town.curl("/alice.twistd/about", "-X", "DELETE").output.startswith(b"HTTP/1.1 405 ")
    assert b"allow: GET, HEAD, OPTIONS\r\n" in town.curl("/alice.twistd/about", "-X", "OPTIONS").output


def test_files_ranges_and_validators(town: Town, seen: dict[str, Any]) -> None:
    output = town.curl("/alice.twistd/files/big.bin").output
    assert output.endswith(BIG)
    assert town.curl("/alice.twistd/files/small.txt", "-r", "1-3").output.endswith(b"\r\n\r\nell")
    head = town.curl("/alice.twistd/files/small.txt", "-I").output.decode()
    [tag] = [line[6:] for line in head.split("\r\n") if line.startswith("etag: ")]
    answer = town.curl("/alice.twistd/files/small.txt", "-H", f"If-None-Match: {tag}").output
    assert answer.startswith(b"HTTP/1.1 304 ")
    parts = town.curl("/alice.twistd/files/small.txt", "-r", "0-0,2-2").output
    assert parts.startswith(b"HTTP/1.1 206 ")
    assert b"multipart/byteranges" in parts


def test_ten_megabytes_up_however_they_come(town: Town, seen: dict[str, Any], tmp_path: Path) -> None:
    expected = f"{len(BIG)} {hashlib.sha256(BIG).hexdigest()}".encode()
    for words in ((), ("-H", "Transfer-Encoding: chunked"), ("-H", "Expect: 100-continue")):
        done = town.curl("/alice.twistd/digest", *words, "--data-binary", f"@{tmp_path}/big.bin")
        assert done.output.endswith(expected), done.output[:300]
    assert town.curl("/alice.twistd/digest", "-d", "short").output.endswith(b"5 " + _hex(b"short"))
    assert town.curl("/alice.twistd/digest").output.endswith(b"0 " + _hex(b""))


def _hex(data: bytes) -> bytes:
    return hashlib.sha256(data).hexdigest().encode()


def test_a_body_above_the_limit_of_the_site(town: Town, seen: dict[str, Any], tmp_path: Path) -> None:
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(16 * 1024 * 1024 + 1000)
    for words in (("-H", "Expect: 100-continue"), ("-H", "Transfer-Encoding: chunked")):
        done = town.curl("/alice.twistd/digest", *words, "--data-binary", f"@{tmp_path}/huge")
        assert done.output.startswith(b"HTTP/1.1 413 "), done.output


def test_two_at_once(town: Town, seen: dict[str, Any]) -> None:
    one, other = town.together(
        town.curl_words("/alice.twistd/big"), town.curl_words("/alice.twistd/files/big.bin")
    )
    assert one.output.endswith(BIG)
    assert other.output.endswith(BIG)


def test_a_client_that_stops_reading_stops_the_publisher(town: Town, seen: dict[str, Any]) -> None:
    """And one that goes away ends it."""

    def stalled() -> bool:
        body = seen.get("endless")
        if body is None or not body.given:
            return False
        before = body.given
        for _ in range(20):
            town.reactor.step(0.01)
        return bool(body.given == before)

    done = town.curl("/alice.twistd/endless", "--limit-rate", "1k", "--max-time", "2", when=stalled)
    assert done.status == 28
    # Buffers of two sockets and a pipe between, and ours: far below what was offered meanwhile.
    assert seen["endless"].given < 16 * 1024 * 1024
    wait_until(town.reactor, lambda: seen["endless"].closed)
    wait_until(town.reactor, lambda: seen["records"])
    [record] = seen["records"]
    assert record.status == 200


def test_a_client_that_goes_away_cancels_the_page(town: Town, seen: dict[str, Any]) -> None:
    done = town.curl("/alice.twistd/never", "--max-time", "1")
    assert done.status == 28
    wait_until(town.reactor, lambda: seen["never"].called)
    wait_until(town.reactor, lambda: seen["records"])
    [record] = seen["records"]
    assert record.status == 499


def test_a_body_that_breaks_is_not_taken_for_a_whole_one(town: Town, seen: dict[str, Any]) -> None:
    done = town.curl("/alice.twistd/cut")
    assert done.status in {18, 56}
    assert done.output.endswith(b"x")


def test_silence_is_limited(reactor: Reactor) -> None:
    town = Town(reactor, silence=0.3)
    try:
        town.add("alice")
        root, _ = make_pages()
        town.publish("alice", root)
        assert town.curl("/alice.twistd/never").output.startswith(b"HTTP/1.1 504 ")
    finally:
        town.close()


def test_a_slow_client_is_not_taken_for_a_silent_publisher(reactor: Reactor, tmp_path: Path) -> None:
    town = Town(reactor, silence=0.3)
    (tmp_path / "body").write_bytes(BIG[:700_000])
    try:
        town.add("alice")
        root, _ = make_pages()
        town.publish("alice", root)
        words = ("--limit-rate", "500k", "--data-binary", f"@{tmp_path}/body")
        assert town.curl("/alice.twistd/digest", *words).output.endswith(_hex(BIG[:700_000]))
    finally:
        town.close()


@pytest.mark.parametrize("length", [6, MAX_INLINE + 1])
def test_a_slow_upload_holds_no_connection_to_a_publisher(
    town: Town, seen: dict[str, Any], length: int
) -> None:
    relay = town.directory.relay
    assert relay is not None
    host, _, port = str(town.port.address).rpartition(":")
    head = f"POST /alice.twistd/digest HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\nabc".encode()
    with socket.create_connection((host, int(port)), timeout=20) as slow:
        slow.sendall(head)
        wait_until(town.reactor, lambda: town.port.bytes_received == len(head))
        # Another request goes all the way, so whatever the first one had begun would be under way by then.
        assert town.curl("/alice.twistd/about").output.startswith(b"HTTP/1.1 203 ")
        wait_until(town.reactor, lambda: len(seen["records"]) == 1)
        wait_until(town.reactor, lambda: relay.under_way(town.socket("alice")) == 0)
        slow.sendall(bytes(length - 3))
        wait_until(town.reactor, lambda: len(seen["records"]) == 2)


def test_a_relay_without_room_is_busy(
    town: Town, seen: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("protocols.servers.web.spool.MAX_ON_DISK", 100_000)
    output = town.curl("/alice.twistd/digest", "--data-binary", f"@{tmp_path}/big.bin").output
    assert output.startswith(b"HTTP/1.1 503 ")
    assert b"Retry-After: 5" in output


def test_one_user_has_no_more_than_so_many_requests_at_once(
    town: Town, seen: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("protocols.servers.web.distributed.relay.MAX_REQUESTS", 0)
    output = town.curl("/alice.twistd/about").output
    assert output.startswith(b"HTTP/1.1 503 ")
    assert b"Retry-After: 5" in output
