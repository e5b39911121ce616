"""Every way we know to reach what is outside of a served folder, or hidden in it."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import pytest

from protocols.servers.web.static import StaticFolder
from tests.protocols.servers.web.bench import SECRET, Bench

if TYPE_CHECKING:
    from pathlib import Path


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
