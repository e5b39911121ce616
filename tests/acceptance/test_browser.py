"""What a person sees: a page and a folder in Chromium."""

from __future__ import annotations

import struct
import typing

import pytest

if typing.TYPE_CHECKING:
    from tests.acceptance.shell import Shell

pytestmark = pytest.mark.slow

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-proxy-server",
)

# Everything that a page can load in one: style, image, script, and data that the script fetches. The title says
# how far it came.
PAGE = b"""<!DOCTYPE html>
<html><head><meta charset="utf-8"><title>not yet</title><link rel="stylesheet" href="style.css"></head>
<body><h1>Gr\xc3\xbc\xc3\x9fe</h1><p id="data"></p><img id="image" src="dot.svg" alt="">
<script type="module" src="script.mjs"></script></body></html>
"""
STYLE = b"h1 { color: rgb(1, 2, 3) }"
IMAGE = b'<svg xmlns="http://www.w3.org/2000/svg" width="37" height="11"><rect width="37" height="11"/></svg>'
SCRIPT = b"""
const answer = await fetch("data.json");
const data = await answer.json();
const partial = await fetch("data.json", { headers: { Range: "bytes=0-1" } });
document.getElementById("data").textContent = data.text + " " + answer.headers.get("content-type");
const color = getComputedStyle(document.querySelector("h1")).color;
const image = document.getElementById("image");
await image.decode();
document.title = `${image.naturalWidth}x${image.naturalHeight} ${color} ${partial.status}`;
"""


def browse(shell: Shell, url: str, *words: str) -> str:
    profile = f"--user-data-dir={shell.path / 'profile'}"
    return shell.do("chromium", *FLAGS, profile, *words, url, seconds=40)


def test_a_page_with_all_that_it_loads(shell: Shell) -> None:
    shell.static(
        index_html=PAGE, style_css=STYLE, dot_svg=IMAGE, script_mjs=SCRIPT, data_json=b'{"text": "from data"}'
    )
    port = shell.serve()
    page = browse(shell, f"http://127.0.0.1:{port}/", "--virtual-time-budget=5000", "--dump-dom")
    assert "<title>37x11 rgb(1, 2, 3) 206</title>" in page
    assert "<h1>Gr\u00fc\u00dfe</h1>" in page
    assert '<p id="data">from data application/json' in page
    shell.stop()


def test_a_folder_is_listed_for_people(shell: Shell) -> None:
    static = shell.static(notes_txt=b"x" * 2048)
    (static / "<script>document.title=1<!--.txt").write_bytes(b"")
    (static / "photos").mkdir()
    (static / "größe & more.txt").write_bytes(b"")
    port = shell.serve()
    page = browse(shell, f"http://127.0.0.1:{port}/", "--dump-dom")
    assert "<title>Index of /</title>" in page
    assert "<bdi>notes.txt</bdi>" in page
    assert "2.0 kB" in page
    assert 'href="photos/"' in page
    assert "<bdi>größe &amp; more.txt</bdi>" in page
    # A name is never markup.
    assert "&lt;script&gt;document.title=1&lt;!--.txt" in page
    assert "<script" not in page
    shell.stop()


def test_a_folder_is_nice_to_look_at(shell: Shell) -> None:
    static = shell.static(notes_txt=b"x" * 2048, report_pdf=bytes(300_000))
    (static / "photos").mkdir()
    port = shell.serve()
    browse(shell, f"http://127.0.0.1:{port}/", "--window-size=800,600", "--screenshot=seen.png")
    picture = (shell.path / "seen.png").read_bytes()
    assert picture.startswith(b"\x89PNG\r\n\x1a\n")
    assert struct.unpack(">II", picture[16:24]) == (800, 600)
    # An empty page of that size has 2,727 bytes, and this one about 20,000.
    assert len(picture) > 6000
    shell.stop()
