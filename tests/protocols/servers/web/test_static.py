"""Files and folders over HTTP: what is served, what is not, and in which words."""

from __future__ import annotations

import email.parser
import email.policy
import gzip
import logging
import os
import re
import time
from typing import TYPE_CHECKING

import pytest

from portable import files
from portable.deferred import Deferred
from portable.errors import FileError
from protocols.http.resource import Tree
from protocols.servers.web.representation import SMALL_BODY, entity_tag
from protocols.servers.web.static import StaticFile, StaticFolder
from tests.protocols.servers.web.bench import Bench

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from portable.reactor import Call

SECRET = b"the secret beside the root"
BIG = bytes(range(256)) * 400  # 102,400 bytes: more than is read at once


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A site with something to steal beside it and inside it."""
    (tmp_path / "secret").write_bytes(SECRET)
    (tmp_path / "root-secret").mkdir()
    (tmp_path / "root-secret" / "secret").write_bytes(SECRET)
    top = tmp_path / "root"
    (top / "sub" / "deep").mkdir(parents=True)
    (top / "index.html").write_bytes(b"<h1>home</h1>")
    (top / "hello.txt").write_bytes(b"0123456789")
    (top / "big.bin").write_bytes(BIG)
    (top / "empty").write_bytes(b"")
    (top / "sub" / "page.html").write_bytes(b"<p>page</p>")
    (top / ".htpasswd").write_bytes(SECRET)
    (top / ".git").mkdir()
    (top / ".git" / "config").write_bytes(SECRET)
    (top / ".well-known").mkdir()
    (top / ".well-known" / "security.txt").write_bytes(b"Contact: us")
    (top / ".well-known" / ".hidden").write_bytes(SECRET)
    for name in ("hello.txt", "big.bin", "index.html"):
        os.utime(top / name, (784111777, 784111777))
    return top


@pytest.fixture
def bench(root: Path) -> Bench:
    return Bench(StaticFolder(str(root)))


def test_a_file(bench: Bench) -> None:
    answer = bench.get("/hello.txt")
    assert answer.status == 200
    assert answer.body == b"0123456789"
    assert answer["Content-Type"] == "text/plain; charset=utf-8"
    assert answer["Content-Length"] == "10"
    assert answer["Last-Modified"] == "Sun, 06 Nov 1994 08:49:37 GMT"
    assert answer["Accept-Ranges"] == "bytes"
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert re.fullmatch('"[0-9a-f]{24}"', answer["ETag"])
    assert answer.headers.get("Vary") is None


def test_a_large_file_is_sent_from_the_file(bench: Bench) -> None:
    assert len(BIG) > SMALL_BODY
    assert bench.get("/big.bin").body == BIG


def test_head_has_the_same_fields(bench: Bench) -> None:
    for path in ("/hello.txt", "/big.bin", "/empty", "/"):
        get, head = bench.get(path), bench.get(path, method="HEAD")
        assert head.body == b""
        ignored = {"date"}
        assert [item for item in head.headers if item[0].lower() not in ignored] == [
            item for item in get.headers if item[0].lower() not in ignored
        ]


def test_an_empty_file(bench: Bench) -> None:
    answer = bench.get("/empty")
    assert (answer.status, answer.body, answer["Content-Length"]) == (200, b"", "0")
    assert bench.get("/empty", "Range: bytes=0-").status == 416
    assert bench.get("/empty", "Range: bytes=-5").status == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_other_methods_are_refused(bench: Bench, method: str) -> None:
    for path in ("/hello.txt", "/", "/nothing"):
        answer = bench.get(path, "Content-Length: 0", method=method)
        assert answer.status == 405
        assert answer["Allow"] == "GET, HEAD, OPTIONS"


def test_options(bench: Bench) -> None:
    answer = bench.get("/hello.txt", method="OPTIONS")
    assert (answer.status, answer["Allow"]) == (204, "GET, HEAD, OPTIONS")


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("with space.txt", "/with%20space.txt"),
        ("Grüße 日本.txt", "/Gr%C3%BC%C3%9Fe%20%E6%97%A5%E6%9C%AC.txt"),
        ("100%.txt", "/100%25.txt"),
        ("%2e%2e.txt", "/%252e%252e.txt"),
        ("a+b&c=d;e.txt", "/a+b&c=d;e.txt"),
        ("what?.txt", "/what%3F.txt"),
        ("a:b.txt", "/a:b.txt"),
        ("#1.txt", "/%231.txt"),
        ("..x", None),
        ("x..y.txt", "/x..y.txt"),
        ("~", "/~"),
    ],
)
def test_names_with_odd_characters(bench: Bench, root: Path, name: str, path: str | None) -> None:
    (root / name).write_bytes(b"found")
    if path is None:
        assert bench.get("/" + name).status == 404
    else:
        assert bench.get(path).body == b"found"
        assert bench.get(path + "?query=1").body == b"found"


# Every way we know to ask for what is outside, or hidden, or not a plain file.
TRAVERSAL = [
    "/../secret",
    "/../../../../../../../../etc/passwd",
    "/sub/../../secret",
    "/sub/../hello.txt",
    "/./hello.txt",
    "/sub/./page.html",
    "//etc/passwd",
    "//hello.txt",
    "/sub//page.html",
    "///secret",
    "/..",
    "/../",
    "/../root-secret/secret",
    "/..root-secret/secret",
    "/-secret/secret",
    "/%2e%2e/secret",
    "/%2E%2E/secret",
    "/.%2e/secret",
    "/%2e./secret",
    "/%2e%2e%2fsecret",
    "/..%2fsecret",
    "/..%2Fsecret",
    "/sub%2fpage.html",
    "/sub%2f..%2f..%2fsecret",
    "/%2fetc%2fpasswd",
    "/%2e%2e%5csecret",
    "/..%5csecret",
    "/..\\secret",
    "/sub\\page.html",
    "/sub%5cpage.html",
    "/%252e%252e/secret",
    "/%252e%252e%252fsecret",
    "/..%252fsecret",
    "/%25252e%25252e/secret",
    "/%c0%ae%c0%ae/secret",
    "/%c0%ae%c0%ae%c0%afsecret",
    "/%e0%80%ae%e0%80%ae/secret",
    "/%uff0e%uff0e/secret",
    "/\uff0e\uff0e/secret".encode().decode("latin-1"),
    "/%ef%bc%8e%ef%bc%8e/secret",
    "/..%00/secret",
    "/hello.txt%00",
    "/hello.txt%00.html",
    "/%00",
    "/hello.txt%0a",
    "/hello.txt%0d%0aX: y",
    "/..;/secret",
    "/;/../secret",
    "/...//secret",
    "/..../secret",
    "/. ./secret",
    "/%20../secret",
    "/..%20/secret",
    "/C:/secret",
    "/C:%5csecret",
    "/c:secret",
    "/file:///etc/passwd",
    "/hello.txt::$DATA",
    "/hello.txt:$DATA",
    "/hello.txt.",
    "/hello.txt%20",
    "/hello.txt...",
    "/HELLO~1.TXT",
    "/hello.txt/",
    "/hello.txt/.",
    "/hello.txt/..",
    "/hello.txt/x",
    "/hello.txt%2f",
    "/index.html/",
    "/CON",
    "/nul.txt",
    "/.htpasswd",
    "/%2ehtpasswd",
    "/.git/config",
    "/.git/",
    "/.git",
    "/%2egit/config",
    "/.well-known/.hidden",
    "/sub/.well-known/x",
    "/~root",
    "/proc/self/environ",
    "/%",
    "/%2",
    "/%zz",
    "/link-file",
    "/link-inside",
    "/link-folder",
    "/link-folder/",
    "/link-folder/secret",
    "/link-up/secret",
    "/sub/link-up/secret",
    "/link-absolute/passwd",
    "/link-loop",
    "/link-proc/self/environ",
    "/link-fd/0",
    "/fifo",
    "/socket-name",
    "/" + "a" * 300,
    "/" + "a/" * 2000,
]


@pytest.fixture
def traps(root: Path) -> Path:
    (root / "link-file").symlink_to("../secret")
    (root / "link-inside").symlink_to("hello.txt")
    (root / "link-folder").symlink_to("../root-secret")
    (root / "link-up").symlink_to("..")
    (root / "sub" / "link-up").symlink_to("../..")
    (root / "link-absolute").symlink_to("/etc")
    (root / "link-loop").symlink_to("link-loop")
    (root / "link-proc").symlink_to("/proc")
    (root / "link-fd").symlink_to("/dev/fd")
    os.mkfifo(root / "fifo")
    return root


@pytest.mark.parametrize("follow", [False, True])
@pytest.mark.parametrize("path", TRAVERSAL)
def test_nothing_outside_is_reached(traps: Path, path: str, follow: bool) -> None:
    bench = Bench(StaticFolder(str(traps), follow_links=follow, ignore_suffix=follow))
    if follow and path == "/link-inside":
        assert bench.get(path).body == b"0123456789"
        return
    data = bench.send(path)
    assert re.match(rb"HTTP/1\.1 4[0-9][0-9] ", data), data[:80]
    assert SECRET not in data
    assert b"root:" not in data
    assert not bench.clock.advancing
    assert all(record.status < 500 for record in bench.records)


def test_well_known_is_served_and_not_listed(bench: Bench, root: Path) -> None:
    assert bench.get("/.well-known/security.txt").body == b"Contact: us"
    (root / "index.html").unlink()
    assert b"well-known" not in bench.get("/").body


def test_links_that_stay_inside_can_be_allowed(root: Path) -> None:
    (root / "sub" / "up").symlink_to("../hello.txt")
    (root / "folder").symlink_to("sub")
    (root / "sub" / "out").symlink_to("../../secret")
    (root / "sub" / "pipe").symlink_to("fifo")
    os.mkfifo(root / "sub" / "fifo")
    bench = Bench(StaticFolder(str(root), follow_links=True))
    assert bench.get("/sub/up").body == b"0123456789"
    assert bench.get("/folder/page.html").status == 200
    page = bench.get("/sub/").body
    assert b'href="up"' in page
    assert b'href="out"' not in page
    assert b'href="pipe"' not in page
    hidden = Bench(StaticFolder(str(root))).get("/sub/").body
    assert b'href="up"' not in hidden
    assert b'href="page.html"' in hidden


def test_a_folder_without_slash_is_redirected(bench: Bench, root: Path) -> None:
    answer = bench.get("/sub")
    assert (answer.status, answer["Location"]) == (301, "sub/")
    assert bench.get("/sub?a=1&b=2")["Location"] == "sub/?a=1&b=2"
    assert bench.get("/sub/deep")["Location"] == "deep/"
    (root / "a b:c\"'<é>").mkdir()
    location = bench.get("/a%20b:c%22'%3C%C3%A9%3E")["Location"]
    assert location == "a%20b%3Ac%22%27%3C%C3%A9%3E/"
    (root / "@evil.example").mkdir()
    assert bench.get("/@evil.example")["Location"] == "%40evil.example/"


@pytest.mark.parametrize("path", ["//evil.example", "//evil.example/..", "/%2fevil.example", "/\\evil.example"])
def test_redirects_lead_to_no_other_host(bench: Bench, root: Path, path: str) -> None:
    (root / "evil.example").mkdir()
    answer = bench.get(path)
    assert answer.status in {400, 404}
    assert "Location" not in answer.headers


def test_a_mounted_folder(root: Path) -> None:
    tree = Tree()
    tree.put_child("files", StaticFolder(str(root)))
    bench = Bench(tree)
    assert bench.get("/files")["Location"] == "files/"
    assert bench.get("/files/").body == b"<h1>home</h1>"
    assert bench.get("/files/sub/page.html").status == 200
    assert bench.get("/files/../secret").status == 400


def test_index_files(root: Path) -> None:
    (root / "sub" / "default.htm").mkdir()
    (root / "sub" / "start.txt").write_bytes(b"start")
    bench = Bench(StaticFolder(str(root), index_names=["index.html", "default.htm", "start.txt"]))
    answer = bench.get("/sub/")
    assert answer.body == b"start"
    assert answer["Content-Type"] == "text/plain; charset=utf-8"
    assert bench.get("/").body == b"<h1>home</h1>"


def test_a_folder_without_index_can_be_kept_to_itself(root: Path) -> None:
    bench = Bench(StaticFolder(str(root), listing=False))
    answer = bench.get("/sub/")
    assert answer.status == 403
    assert b"page.html" not in answer.body
    assert bench.get("/sub/page.html").status == 200


def test_the_default_type(root: Path) -> None:
    assert Bench(StaticFolder(str(root))).get("/empty")["Content-Type"] == "application/octet-stream"
    assert Bench(StaticFolder(str(root), default_type="text/x-y")).get("/empty")["Content-Type"] == "text/x-y"


def test_suffixes_can_be_left_out(root: Path) -> None:
    (root / "page.txt").write_bytes(b"text")
    (root / "page.html").write_bytes(b"html")
    (root / "page.d").mkdir()
    (root / "other.b").write_bytes(b"b")
    (root / "other.c").write_bytes(b"c")
    (root / "only.d").mkdir()
    (root / ".x.html").write_bytes(SECRET)
    assert Bench(StaticFolder(str(root))).get("/page").status == 404
    bench = Bench(StaticFolder(str(root), ignore_suffix=True))
    answer = bench.get("/page")
    assert (answer.body, answer["Content-Type"]) == (b"html", "text/html; charset=utf-8")
    assert bench.get("/other").body == b"b"
    assert bench.get("/sub/page").body == b"<p>page</p>"
    for path in ("/only", "/pag", "/page/", "/nothing/page", "/.x", "/page%2e%2e"):
        assert bench.get(path).status == 404, path


def test_a_file_that_vanishes_while_it_is_searched(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "page.html").write_bytes(b"html")
    folder = StaticFolder(str(root), ignore_suffix=True)
    visible = folder.visible

    def unlinking(segments: tuple[str, ...]) -> object:
        found = visible(segments)
        (root / "page.html").unlink()
        if len(unlinked):
            (root / "page.html").mkdir()
        unlinked.append(1)
        return found

    unlinked: list[int] = []
    monkeypatch.setattr(folder, "visible", unlinking)
    assert Bench(folder).get("/page").status == 404
    (root / "page.html").write_bytes(b"html")
    assert Bench(folder).get("/page").status == 404


@pytest.mark.parametrize(
    ("code", "status"), [("EACCES", 403), ("EMFILE", 503), ("EIO", 500), ("ENAMETOOLONG", 404), ("EINVAL", 404)]
)
def test_what_the_system_refuses(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, code: str, status: int
) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise FileError(f"no: {code}", code)

    monkeypatch.setattr("protocols.servers.web.static.open_beneath", refuse)
    with caplog.at_level(logging.ERROR):
        answer = bench.get("/hello.txt")
    assert answer.status == status
    assert code.encode() not in answer.body
    assert (answer.headers.get("Retry-After") is not None) == (status == 503)
    assert any(code in record.getMessage() for record in caplog.records) == (status >= 500)


def test_a_disk_that_fails_while_reading(
    bench: Bench, root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*args: object) -> bytes:
        raise FileError("broken", "EIO")

    monkeypatch.setattr(files.OpenFile, "read", fail)
    assert bench.get("/hello.txt").status == 500
    assert bench.get("/big.bin").status == 200


def test_an_index_that_may_not_be_read(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    real = files.open_beneath

    def refuse(root: str, segments: tuple[str, ...], **options: bool) -> files.OpenFile:
        if "index.html" in segments:
            raise FileError("no", "EACCES")
        return real(root, segments, **options)

    monkeypatch.setattr("protocols.servers.web.static.open_beneath", refuse)
    assert bench.get("/").status == 403


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
    assert len(set(tags)) == 3
    assert bench.get("/hello.txt")["ETag"] == tags[2]


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


@pytest.fixture
def packed(root: Path) -> Path:
    (root / "app.js").write_bytes(b"plain" * 10)
    (root / "app.js.gz").write_bytes(gzip.compress(b"plain" * 10))
    (root / "app.js.br").write_bytes(b"brotli, as far as we can tell")
    old = time.time() - 10
    os.utime(root / "app.js", (old, old))
    return root


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


def test_a_file_that_becomes_shorter_ends_the_connection(root: Path) -> None:
    bench = Bench(StaticFolder(str(root)), window=1000)
    bench.transport.receive(b"GET /big.bin HTTP/1.1\r\nHost: a\r\n\r\n")
    bench.clock.advance(0)
    data = bench.transport.take()
    os.truncate(root / "big.bin", 2000)
    for _ in range(300):
        bench.transport.allow(1000)
        bench.clock.advance(0)
        data += bench.transport.take()
    assert bench.transport.is_closing()
    head, _, body = data.partition(b"\r\n\r\n")
    assert f"content-length: {len(BIG)}".encode() in head.lower()
    assert len(body) < len(BIG)


def test_a_small_file_that_becomes_shorter_ends_the_connection(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files.OpenFile, "read", lambda self, offset, count: b"x" * (count - 1))
    real = files.open_beneath

    def shrinking(root: str, segments: list[str], **options: bool) -> files.OpenFile:
        opened = real(root, segments, **options)
        os.truncate(os.path.join(root, *segments), 3)
        return opened

    monkeypatch.setattr("protocols.servers.web.static.open_beneath", shrinking)
    bench.send("/hello.txt")
    assert bench.transport.is_closing()


def test_files_are_closed_whatever_happens(bench: Bench, packed: Path) -> None:
    def left() -> list[str]:
        names = []
        for fd in os.listdir("/proc/self/fd"):
            try:
                names.append(os.readlink(f"/proc/self/fd/{fd}"))
            except FileNotFoundError:
                continue
        return [name for name in names if name.startswith(str(packed))]

    bench.get("/big.bin")
    bench.get("/big.bin", method="HEAD")
    bench.get("/big.bin", "If-None-Match: *")
    bench.get("/big.bin", 'If-Match: "x"')
    bench.get("/big.bin", "Range: bytes=0-1,50-60")
    bench.get("/hello.txt", "Range: bytes=50-")
    bench.get("/hello.txt/")
    for accept in ("br", "gzip", "identity"):
        bench.get("/app.js", f"Accept-Encoding: {accept}")
    for path in ("/sub", "/sub/", "/", "/empty", "/nothing"):
        bench.get(path)
    assert left() == []
    gone = Bench(StaticFolder(str(packed)), window=1000)
    gone.transport.receive(b"GET /big.bin HTTP/1.1\r\nHost: a\r\n\r\n")
    gone.clock.advance(0)
    assert len(left()) == 1
    gone.transport.lose()
    gone.clock.advance(0)
    assert left() == []


def test_one_file_at_one_address(root: Path) -> None:
    (root / "link.txt").symlink_to("hello.txt")
    bench = Bench(StaticFile(str(root / "link.txt")))
    answer = bench.get("/")
    assert (answer.body, answer["Content-Type"]) == (b"0123456789", "text/plain; charset=utf-8")
    assert bench.get("/", "Range: bytes=1-2").body == b"12"
    assert bench.get("/x").status == 404
    assert bench.get("/", "Content-Length: 0", method="POST").status == 405
    (root / "link.txt").unlink()
    assert bench.get("/").status == 404
    (root / "link.txt").mkdir()
    assert bench.get("/").status == 404


class LateThreads:
    """Threads that work when they are told to."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Deferred[object], Callable[..., object], tuple[object, ...]]] = []

    def run_in_thread(self, function: Callable[..., object], *args: object) -> Deferred[object]:
        result: Deferred[object] = Deferred()
        self.waiting.append((result, function, args))
        return result

    def call_soon_threadsafe(self, callback: Callable[..., object], *args: object) -> Call:
        raise NotImplementedError

    def work(self) -> None:
        for result, function, args in self.waiting:
            try:
                value = function(*args)
            except FileError as error:
                result.errback(error)
            else:
                result.callback(value)
        self.waiting = []


def test_folders_are_read_in_a_thread(root: Path) -> None:
    threads = LateThreads()
    folder = StaticFolder(str(root), ignore_suffix=True)
    folder.threads = threads  # type: ignore[assignment]  # it promises less than a reactor
    bench = Bench(folder)
    assert bench.send("/sub/") == b""
    threads.work()
    bench.clock.advance(0)
    assert b"page.html" in bench.transport.take()
    assert bench.send("/sub/page") == b""
    threads.work()
    bench.clock.advance(0)
    assert b"<p>page</p>" in bench.transport.take()
    assert bench.send("/sub/") == b""
    (root / "sub").rename(root / "moved")
    threads.work()
    bench.clock.advance(0)
    assert b" 404 " in bench.transport.take()


def test_a_bug_while_reading_a_folder_is_an_error_of_the_server(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    threads = LateThreads()
    folder = bench.site.resource
    assert isinstance(folder, StaticFolder)
    folder.threads = threads  # type: ignore[assignment]  # it promises less than a reactor
    bench.send("/sub/")
    threads.waiting.pop()[0].errback(ValueError("a bug"))
    bench.clock.advance(0)
    assert b" 500 " in bench.transport.take()
    assert "a bug" in caplog.text


def test_a_folder_that_cannot_be_read(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: files.OpenFile, limit: int) -> None:
        raise FileError("no", "EACCES")

    monkeypatch.setattr(files.OpenFile, "list_directory", refuse)
    assert Bench(StaticFolder(str(root))).get("/sub/").status == 403
