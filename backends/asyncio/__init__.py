"""Both ways between this framework and asyncio.

`AsyncioReactor` runs our protocols and servers on an asyncio event loop, uvloop included; `ReactorEventLoop` is
an asyncio event loop over any of our reactors, and `run` runs a coroutine on it.
"""

from __future__ import annotations

from backends.asyncio.loop import ReactorEventLoop, run
from backends.asyncio.reactor import AsyncioReactor, UvloopReactor

__all__ = ["AsyncioReactor", "ReactorEventLoop", "UvloopReactor", "run"]
