"""SystemExit in an asyncio program on our reactors: it ends the program, and nobody else."""

from __future__ import annotations

import asyncio
import gc
import sys
import typing

import pytest

from backends.asyncio import ReactorEventLoop, run
from portable.testing import wait_until

if typing.TYPE_CHECKING:
    from portable.reactor import Reactor
    from tests.conftest import ErrorLog


def test_it_ends_what_runs_the_loop(reactor: Reactor) -> None:
    """As on every loop of asyncio: raised by a callback or by any task, `run` raises it."""

    async def wait() -> None:
        await asyncio.sleep(60)

    async def by_callback() -> None:
        asyncio.get_running_loop().call_soon(sys.exit, 3)
        await wait()

    async def by_task() -> None:
        async def leave() -> None:
            sys.exit(3)

        task = asyncio.get_running_loop().create_task(leave())
        await wait()
        await task

    for main in (by_callback, by_task):
        with pytest.raises(SystemExit, match="3"):
            run(main(), reactor)
    # asyncio complains when the task goes: now, or a test later, and then perhaps in a thread of Java's.
    gc.collect()


def test_it_does_not_end_a_reactor_that_its_owner_runs(reactor: Reactor, error_log: ErrorLog) -> None:
    """The loop is a guest there."""
    loop = ReactorEventLoop(reactor)
    seen: list[int] = []
    loop.call_soon(sys.exit, 3)
    loop.call_soon(seen.append, 1)
    wait_until(reactor, lambda: seen)
    loop.close()
    error_log.expect("a call from the loop failed", 1)
