"""Files and folders over HTTP: what is served, what is not, and in which words."""

from __future__ import annotations

import logging
import os
import re
from typing import TYPE_CHECKING

import pytest

from portable import files
from portable.deferred import Deferred
from portable.errors import FileError
from protocols.http.resource import Tree
from protocols.servers.web.representation import SMALL_BODY
from protocols.servers.web.static import StaticFile, StaticFolder
from tests.protocols.servers.web.bench import BIG, SECRET, Bench

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from portable.clock import Call


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
