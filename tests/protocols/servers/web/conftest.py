"""A site with something to steal beside it and inside it."""

from __future__ import annotations

import gzip
import os
import time
from typing import TYPE_CHECKING

import pytest

from protocols.servers.web.static import StaticFolder
from tests.protocols.servers.web.bench import BIG, SECRET, Bench

if TYPE_CHECKING:
    from pathlib import Path


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


@pytest.fixture
def packed(root: Path) -> Path:
    (root / "app.js").write_bytes(b"plain" * 10)
    (root / "app.js.gz").write_bytes(gzip.compress(b"plain" * 10))
    (root / "app.js.br").write_bytes(b"brotli, as far as we can tell")
    old = time.time() - 10
    os.utime(root / "app.js", (old, old))
    return root
