"""Conditions, ranges and precompressed siblings of static files."""

from __future__ import annotations

import email.parser
import email.policy
import gzip
import os
import time
from typing import TYPE_CHECKING

from portable import files
from protocols.servers.web.representation import entity_tag
from protocols.servers.web.static import StaticFolder
from tests.protocols.servers.web.bench import BIG, Bench

if TYPE_CHECKING:
    from pathlib import Path


def test_if_none_match(bench: Bench) -> None:
    etag = bench.get("/hello.txt")["ETag"]
    answer = bench.get("/hello.txt", f"If-None-Match: {etag}")
    assert (answer.status, answer.body, answer["ETag"]) == (304, b"", etag)
    assert "Content-Type" not in answer.headers
    assert answer["Date"]
    assert bench.get("/hello.txt", 'If-None-Match: "other"').status == 200
    assert bench.get("/hello.txt", f'If-None-Match: "other", W/{etag}').status == 304
    assert bench.get("/hello.txt", "If-None-Match: *").status == 304
    assert bench.get("/big.bin", "If-None-Match: *", method="HEAD").status == 304
    assert bench.get("/hello.txt").status == 200


def test_if_modified_since(bench: Bench) -> None:
    modified = bench.get("/hello.txt")["Last-Modified"]
    assert bench.get("/hello.txt", f"If-Modified-Since: {modified}").status == 304
    assert bench.get("/hello.txt", "If-Modified-Since: Sun, 06 Nov 1994 08:49:36 GMT").status == 200
    assert bench.get("/hello.txt", "If-Modified-Since: tomorrow").status == 200


def test_if_match_and_if_unmodified_since(bench: Bench) -> None:
    etag = bench.get("/hello.txt")["ETag"]
    assert bench.get("/hello.txt", f"If-Match: {etag}").status == 200
    answer = bench.get("/hello.txt", 'If-Match: "other"')
    assert answer.status == 412
    assert answer["ETag"] == etag
    assert bench.get("/hello.txt", "If-Unmodified-Since: Sun, 06 Nov 1994 08:49:37 GMT").status == 200
    assert bench.get("/hello.txt", "If-Unmodified-Since: Sun, 06 Nov 1994 08:49:36 GMT").status == 412


def test_preconditions_do_not_hide_errors(bench: Bench) -> None:
    assert bench.get("/nothing", "If-None-Match: *").status == 404
    assert bench.get("/sub", "If-None-Match: *").status == 301


def test_the_entity_tag_changes_with_the_file(bench: Bench, root: Path) -> None:
    tags = [bench.get("/hello.txt")["ETag"]]
    (root / "hello.txt").write_bytes(b"9876543210")
    tags.append(bench.get("/hello.txt")["ETag"])
    (root / "new").write_bytes(b"abcdefghij")
    status = (root / "hello.txt").stat()
    os.utime(root / "new", ns=(status.st_mtime_ns, status.st_mtime_ns))
    (root / "new").rename(root / "hello.txt")
    tags.append(bench.get("/hello.txt")["ETag"])
    renamed = (root / "hello.txt").stat().st_ctime_ns
    while (
        root / "hello.txt"
    ).stat().st_ctime_ns == renamed:  # The clock of a file system ticks in milliseconds.
        with (root / "hello.txt").open("r+b") as file:
            file.write(b"in place")
        os.utime(root / "hello.txt", ns=(status.st_mtime_ns, status.st_mtime_ns))
    tags.append(bench.get("/hello.txt")["ETag"])
    assert len(set(tags)) == 4
    assert bench.get("/hello.txt")["ETag"] == tags[3]


def test_the_inode_cannot_be_read_from_the_entity_tag() -> None:
    tag = str(entity_tag(files.FileStatus(10, 1, 0xDEADBEEF, 1, False)))
    assert f"{0xDEADBEEF:x}" not in tag
    assert str(0xDEADBEEF) not in tag


def test_last_modified_is_never_in_the_future(root: Path) -> None:
    os.utime(root / "hello.txt", (4_000_000_000, 4_000_000_000))
    bench = Bench(StaticFolder(str(root), now=lambda: 784111777.5))
    assert bench.get("/hello.txt")["Last-Modified"] == "Sun, 06 Nov 1994 08:49:37 GMT"


def test_single_ranges(bench: Bench) -> None:
    for value, expected, said in (
        ("bytes=0-3", b"0123", "bytes 0-3/10"),
        ("bytes=7-", b"789", "bytes 7-9/10"),
        ("bytes=-2", b"89", "bytes 8-9/10"),
        ("bytes=5-99", b"56789", "bytes 5-9/10"),
        ("bytes=0-1,2-4", b"01234", "bytes 0-4/10"),
    ):
        answer = bench.get("/hello.txt", f"Range: {value}")
        assert (answer.status, answer.body, answer["Content-Range"]) == (206, expected, said)
        assert answer["Content-Type"] == "text/plain; charset=utf-8"
        assert answer["ETag"] == bench.get("/hello.txt")["ETag"]
    answer = bench.get("/big.bin", "Range: bytes=100-90000")
    assert answer.body == BIG[100:90001]


def test_ranges_that_cannot_be_satisfied(bench: Bench) -> None:
    for value in ("bytes=10-", "bytes=99-100", "bytes=-0"):
        answer = bench.get("/hello.txt", f"Range: {value}")
        assert (answer.status, answer["Content-Range"]) == (416, "bytes */10")


def test_ranges_that_are_ignored(bench: Bench) -> None:
    bomb = ",".join(f"{first}-{first}" for first in range(0, 1000, 2))
    for value in ("lines=0-1", "bytes=abc", "bytes=5-1", f"bytes={bomb}"):
        answer = bench.get("/big.bin", f"Range: {value}")
        assert answer.status == 200
        assert len(answer.body) == len(BIG)
    head = bench.get("/big.bin", "Range: bytes=0-1", method="HEAD")
    assert (head.status, head["Content-Length"]) == (200, str(len(BIG)))


def test_a_range_bomb_is_answered_once(bench: Bench) -> None:
    answer = bench.get("/big.bin", "Range: bytes=" + ",".join(["0-"] * 150))
    assert (answer.status, answer["Content-Length"]) == (206, str(len(BIG)))


def test_multiple_ranges(bench: Bench) -> None:
    answer = bench.get("/big.bin", "Range: bytes=0-9,50000-50099,-5")
    assert answer.status == 206
    assert "Content-Range" not in answer.headers
    message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(
        f"Content-Type: {answer['Content-Type']}\r\n\r\n".encode() + answer.body
    )
    parts = list(message.iter_parts())
    assert message.get_content_type() == "multipart/byteranges"
    assert [part["Content-Range"] for part in parts] == [
        f"bytes 0-9/{len(BIG)}",
        f"bytes 50000-50099/{len(BIG)}",
        f"bytes {len(BIG) - 5}-{len(BIG) - 1}/{len(BIG)}",
    ]
    assert {part.get_content_type() for part in parts} == {"application/octet-stream"}
    assert BIG[50000:50100] in answer.body
    assert bench.get("/big.bin", "Range: bytes=0-9,20-29")["Content-Type"] != answer["Content-Type"]


def test_if_range(bench: Bench) -> None:
    etag = bench.get("/hello.txt")["ETag"]
    for value, status in (
        (etag, 206),
        ('"other"', 200),
        (f"W/{etag}", 200),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 206),
        ("Sun, 06 Nov 1994 08:49:36 GMT", 200),
    ):
        assert bench.get("/hello.txt", "Range: bytes=0-3", f"If-Range: {value}").status == status
    # Never 416 where the whole is what the client needs.
    assert bench.get("/hello.txt", "Range: bytes=50-", 'If-Range: "other"').status == 200


def test_a_file_beyond_4_gb(bench: Bench, root: Path) -> None:
    size = 5 * 1024**3
    with open(root / "huge.bin", "wb") as file:
        file.truncate(size)
        file.seek(size - 4)
        file.write(b"tail")
    answer = bench.get("/huge.bin", "Range: bytes=-4")
    assert (answer.body, answer["Content-Range"]) == (b"tail", f"bytes {size - 4}-{size - 1}/{size}")
    assert bench.get("/huge.bin", "Range: bytes=4294967296-4294967297").body == b"\0\0"
    assert bench.get("/huge.bin", method="HEAD")["Content-Length"] == str(size)


def test_precompressed_siblings(bench: Bench, packed: Path) -> None:
    for accept, coding in (("gzip", "gzip"), ("gzip, br", "br"), ("br;q=0.1, gzip", "gzip"), ("*", "br")):
        answer = bench.get("/app.js", f"Accept-Encoding: {accept}")
        assert answer["Content-Encoding"] == coding
        assert answer["Vary"] == "Accept-Encoding"
        assert answer["Content-Type"] == "text/javascript; charset=utf-8"
    assert gzip.decompress(bench.get("/app.js", "Accept-Encoding: gzip").body) == b"plain" * 10
    plain = bench.get("/app.js")
    assert plain.body == b"plain" * 10
    assert plain["Vary"] == "Accept-Encoding"
    assert "Content-Encoding" not in plain.headers
    assert bench.get("/app.js", "Accept-Encoding: gzip;q=0").body == plain.body
    tags = {bench.get("/app.js", f"Accept-Encoding: {accept}")["ETag"] for accept in ("gzip", "br", "identity")}
    assert len(tags) == 3


def test_conditions_and_ranges_are_of_the_chosen_representation(bench: Bench, packed: Path) -> None:
    plain = bench.get("/app.js")["ETag"]
    coded = bench.get("/app.js", "Accept-Encoding: gzip")["ETag"]
    not_modified = bench.get("/app.js", "Accept-Encoding: gzip", f"If-None-Match: {coded}")
    assert (not_modified.status, not_modified["Vary"]) == (304, "Accept-Encoding")
    assert bench.get("/app.js", "Accept-Encoding: gzip", f"If-None-Match: {plain}").status == 200
    # A client that began with one must not go on with the other.
    mixed = bench.get("/app.js", "Accept-Encoding: gzip", "Range: bytes=5-9", f"If-Range: {plain}")
    assert (mixed.status, mixed["Content-Encoding"]) == (200, "gzip")
    whole = (packed / "app.js.gz").read_bytes()
    part = bench.get("/app.js", "Accept-Encoding: gzip", "Range: bytes=5-9", f"If-Range: {coded}")
    assert (part.status, part.body, part["Content-Encoding"]) == (206, whole[5:10], "gzip")
    assert part["Content-Range"] == f"bytes 5-9/{len(whole)}"
    several = bench.get("/app.js", "Accept-Encoding: gzip", "Range: bytes=0-1,5-9")
    assert (several.status, several.body) == (200, whole)


def test_siblings_that_do_not_count(bench: Bench, packed: Path) -> None:
    old = time.time() - 1000
    os.utime(packed / "app.js.gz", (old, old))
    (packed / "app.js.br").unlink()
    (packed / "app.js.br").mkdir()
    answer = bench.get("/app.js", "Accept-Encoding: gzip, br")
    assert answer.body == b"plain" * 10
    assert "Vary" not in answer.headers
    (packed / "photo.png").write_bytes(b"png")
    (packed / "photo.png.gz").write_bytes(b"no")
    assert bench.get("/photo.png", "Accept-Encoding: gzip").body == b"png"
    (packed / "only.css.gz").write_bytes(b"x")
    assert bench.get("/only.css", "Accept-Encoding: gzip").status == 404


def test_an_index_may_be_precompressed(bench: Bench, root: Path) -> None:
    (root / "index.html.gz").write_bytes(gzip.compress(b"x"))
    assert bench.get("/", "Accept-Encoding: gzip")["Content-Encoding"] == "gzip"
