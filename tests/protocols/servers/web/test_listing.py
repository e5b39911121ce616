"""The page that shows a folder."""

from __future__ import annotations

import base64
import hashlib
import html.parser
import os
import re
import time
import urllib.parse
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portable.files import FolderEntry
from protocols.servers.web import static
from protocols.servers.web.listing import (
    CHUNK_ROWS,
    SECURITY_POLICY,
    SORTS,
    ListingBody,
    human_size,
    link_to,
    sort_entries,
)
from protocols.servers.web.static import StaticFolder
from tests.protocols.servers.web.bench import Bench

if TYPE_CHECKING:
    from pathlib import Path


class Reader(html.parser.HTMLParser):
    """What a browser would make of the page: elements, links, and the text of the names."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.links: list[str] = []
        self.names: list[str] = []
        self._in_name = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag == "a":
            self.links += [value or "" for name, value in attrs if name == "href"]
        if tag == "bdi":
            self._in_name = True
            self.names.append("")

    def handle_endtag(self, tag: str) -> None:
        if tag == "bdi":
            self._in_name = False

    def handle_data(self, data: str) -> None:
        if self._in_name:
            self.names[-1] += data


def read(page: bytes) -> Reader:
    reader = Reader()
    reader.feed(page.decode("utf-8"))
    reader.close()
    return reader


def page_of(
    entries: list[FolderEntry], segments: tuple[str, ...] = ("a",), *, truncated: bool = False
) -> bytes:
    body = ListingBody(segments, entries, "name", truncated)
    whole = b""
    while True:
        chunk = body.next_chunk()
        if not chunk:
            return whole
        whole += chunk


def entry(name: str, size: int = 0, date: int = 0, *, is_dir: bool = False) -> FolderEntry:
    return FolderEntry(name, is_dir, False, size, date * 1_000_000_000)


TAGS = {
    "html",
    "head",
    "meta",
    "title",
    "style",
    "body",
    "main",
    "h1",
    "div",
    "table",
    "thead",
    "tbody",
    "tr",
} | {*("th", "td", "a", "bdi", "span", "time", "footer", "svg", "symbol", "path", "use", "i")}
NASTY = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '" onmouseover="alert(1)',
    "' onmouseover='alert(1)",
    "javascript:alert(1)",
    "data:text/html,x",
    "http:evil",
    "&lt;b&gt;&amp;",
    "</bdi></a></td></table>",
    "<!--",
    "]]>",
    "?x=1",
    "#top",
    "a%2fb",
    "..%2f",
    "...",
]


@pytest.mark.parametrize("name", NASTY)
def test_names_are_text_and_nothing_else(tmp_path: Path, name: str) -> None:
    name = "x" * name.startswith(".") + name.replace("/", "\u2215")
    (tmp_path / name).write_bytes(b"content")
    bench = Bench(StaticFolder(str(tmp_path)))
    page = read(bench.get("/").body)
    assert page.names == [name]
    assert page.tags <= TAGS
    assert not any(attribute.startswith("on") for attribute in page.attributes)
    link = page.links[-1]
    assert re.fullmatch(r"[A-Za-z0-9_.~%-]+", link)
    assert bench.get("/" + link).body == b"content"


@given(st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1))
def test_any_name_is_shown_as_it_is_or_by_its_bytes(name: str) -> None:
    page = read(page_of([entry(name)]))
    assert page.tags <= TAGS
    link = link_to(name)
    if link is None:
        assert page.links[-1] == "?sort=date" or page.links[-1] == "../"
    else:
        assert urllib.parse.unquote(page.links[-1]) == name


def test_names_that_would_deceive() -> None:
    page = read(
        page_of([entry("evil\u202egnp.exe"), entry("a\nb"), entry("a\\b"), entry(os.fsdecode(b"caf\xe9"))])
    )
    assert page.names == ["a", "evil%E2%80%AEgnp.exe", "a%0Ab", "a\\b", "caf%E9"]
    # The last three cannot be asked for.
    assert page.links[-1] == "evil%E2%80%AEgnp.exe"


def test_undecodable_names_on_the_disk(tmp_path: Path) -> None:
    with open(os.path.join(os.fsencode(tmp_path), b"caf\xe9.txt"), "w", encoding="ascii"):
        pass
    assert b"caf%E9.txt" in Bench(StaticFolder(str(tmp_path))).get("/").body


def test_the_path_is_text_too(tmp_path: Path) -> None:
    (tmp_path / "<script>" / "x & y").mkdir(parents=True)
    page = Bench(StaticFolder(str(tmp_path))).get("/%3Cscript%3E/x%20%26%20y/")
    reader = read(page.body)
    assert reader.names == ["<script>", "x & y"]
    assert "script" not in reader.tags
    assert b"<title>Index of /&lt;script&gt;/x &amp; y/</title>" in page.body
    assert reader.links[:2] == ["../../", "../"]


def test_fields_of_the_page(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    answer = Bench(StaticFolder(str(tmp_path))).get("/")
    assert answer["Content-Type"] == "text/html; charset=utf-8"
    assert answer["Content-Security-Policy"] == SECURITY_POLICY
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert "default-src 'none'" in SECURITY_POLICY
    style = re.search(rb"<style>(.*?)</style>", answer.body, re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style.group(1)).digest()).decode()
    assert f"'sha256-{digest}'" in SECURITY_POLICY
    assert b" style=" not in answer.body


def test_order() -> None:
    entries = [
        entry("b10", 5, 3),
        entry("B9", 5, 1),
        entry("a", 9, 2),
        entry("zoo", 1, 9, is_dir=True),
        entry("Ape", 2, 8, is_dir=True),
    ]
    expected = {
        "name": "Ape zoo a B9 b10",
        "-name": "zoo Ape b10 B9 a",
        "size": "Ape zoo B9 b10 a",
        "-size": "Ape zoo a B9 b10",
        "date": "Ape zoo B9 a b10",
        "-date": "zoo Ape b10 a B9",
    }
    assert {sort: " ".join([one.name for one in sort_entries(entries, sort)]) for sort in SORTS} == expected


def test_sorting_needs_no_script(tmp_path: Path) -> None:
    (tmp_path / "small").write_bytes(b"1")
    (tmp_path / "large").write_bytes(b"1" * 5000)
    bench = Bench(StaticFolder(str(tmp_path)))
    assert read(bench.get("/").body).names == ["large", "small"]
    page = read(bench.get("/?sort=size").body)
    assert page.names == ["small", "large"]
    assert {"?sort=name", "?sort=-size", "?sort=date"} <= set(page.links)
    page = read(bench.get("/?sort=-size").body)
    assert page.names == ["large", "small"]
    assert "?sort=size" in page.links
    for query in ("sort=nonsense", "sort=%22%3E%3Cscript%3E", "sort", "&" * 50, "x=1&" * 50, "sort=%ff"):
        answer = bench.get(f"/?{query}")
        assert answer.status == 200
        assert read(answer.body).names == ["large", "small"]


def test_a_listing_as_people_see_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 1500)
    os.utime(tmp_path / "file", (784111777, 784111777))
    (tmp_path / "folder").mkdir()
    page = Bench(StaticFolder(str(tmp_path))).get("/").body.decode()
    assert '<time datetime="1994-11-06T08:49:37Z">1994-11-06 08:49</time>' in page
    assert '<span title="1500 bytes">1.5 kB</span>' in page
    assert 'href="folder/"' in page
    assert "1 folder, 1 file, 1.5 kB" in page
    assert "Parent folder" not in page
    empty = Bench(StaticFolder(str(tmp_path))).get("/folder/").body.decode()
    assert "This folder is empty." in empty
    assert "Parent folder" in empty


def test_dates_that_no_calendar_has() -> None:
    page = page_of([entry("x", date=10**15)])
    assert b"<time" not in page


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (1549, "1.5 kB"),
        (9949, "9.9 kB"),
        (9950, "10 kB"),
        (999_499, "999 kB"),
        (999_500, "1.0 MB"),
        (27_000_000, "27 MB"),
        (5 * 10**12, "5.0 TB"),
        (10**19, "10 EB"),
        (10**22, "10000 EB"),
    ],
)
def test_sizes_for_people(size: int, expected: str) -> None:
    assert human_size(size) == expected


def test_a_huge_folder_comes_in_small_chunks() -> None:
    entries = [entry(f"file-{number}", number, number) for number in range(100_000)]
    body = ListingBody((), sort_entries(entries, "name"), "name", True)
    slowest = 0.0
    total = 0
    while True:
        started = time.perf_counter()
        chunk = body.next_chunk()
        slowest = max(slowest, time.perf_counter() - started)
        if not chunk:
            break
        total += chunk.count(b"<time")
        assert len(chunk) < CHUNK_ROWS * 500 + 5000
    assert total == 100_000
    assert slowest < 0.25
    assert body.next_chunk() == b""


def test_a_listing_that_is_cut_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        (tmp_path / str(number)).touch()
    monkeypatch.setattr(static, "MAX_LISTED", 3)
    page = Bench(StaticFolder(str(tmp_path))).get("/").body
    assert page.count(b"<time") == 3
    assert b"There are more" in page


def test_a_client_that_leaves_ends_the_listing(tmp_path: Path) -> None:
    for number in range(1000):
        (tmp_path / str(number)).touch()
    bench = Bench(StaticFolder(str(tmp_path)), window=1000)
    bench.transport.receive(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    bench.clock.advance(0)
    assert bench.transport.get_write_buffer_size() < 300_000
    bench.transport.lose()
    bench.clock.advance(0)
    body = ListingBody((), [entry("x")], "name", False)
    body.close()
    assert body.next_chunk() == b""
