"""Media types by name."""

from __future__ import annotations

import pytest

from protocols.servers.web.mime import content_type, is_compressible


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("index.html", "text/html; charset=utf-8"),
        ("INDEX.HTM", "text/html; charset=utf-8"),
        ("a.b.css", "text/css; charset=utf-8"),
        ("app.js", "text/javascript; charset=utf-8"),
        ("app.mjs", "text/javascript; charset=utf-8"),
        ("data.json", "application/json"),
        ("logo.svg", "image/svg+xml"),
        ("photo.JPG", "image/jpeg"),
        ("photo.webp", "image/webp"),
        ("font.woff2", "font/woff2"),
        ("code.wasm", "application/wasm"),
        # As it lies on the disk: no coding is claimed.
        ("backup.tar.gz", "application/gzip"),
        # Known to the library alone.
        ("page.dvi", "application/x-dvi"),
        ("README", "text/plain; charset=utf-8"),
        ("License", "text/plain; charset=utf-8"),
        ("data", "x/default"),
        ("data.", "x/default"),
        ("data.unknown", "x/default"),
        (".html", "x/default"),
        ("html", "x/default"),
        ("", "x/default"),
    ],
)
def test_types(name: str, expected: str) -> None:
    assert content_type(name, "x/default") == expected


def test_what_can_be_compressed() -> None:
    for media_type in ("text/html; charset=utf-8", "application/json", "image/svg+xml", "application/wasm"):
        assert is_compressible(media_type)
    for media_type in ("image/png", "video/mp4", "audio/mpeg", "font/woff2", "application/zip"):
        assert not is_compressible(media_type)
