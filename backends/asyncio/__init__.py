"""Between this framework and asyncio: our protocols and servers on an asyncio event loop, uvloop included."""

from __future__ import annotations

from backends.asyncio.reactor import AsyncioReactor, UvloopReactor

__all__ = ["AsyncioReactor", "UvloopReactor"]
