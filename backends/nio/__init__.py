"""The JVM reactor, over java.nio: Java waits, reads and writes, Python decides."""

from __future__ import annotations

from backends.nio.reactor import NioReactor

__all__ = ["NioReactor"]
