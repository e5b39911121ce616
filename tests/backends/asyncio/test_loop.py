"""The asyncio loop itself: life, calls, tasks, threads, signals and errors."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import os
import signal
import typing

import pytest

from backends.asyncio import ReactorEventLoop, run
from tests.backends.asyncio.programs import echo, port_of

if typing.TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from portable.reactor import Reactor


def test_tasks(reactor: Reactor) -> None:
    """wait_for, timeout, TaskGroup, Queue, context variables, asynchronous generators."""
    variable = contextvars.ContextVar("variable", default=0)
    closed: list[str] = []

    async def numbers() -> AsyncIterator[int]:
        try:
            for number in range(100):
                yield number
                await asyncio.sleep(0)
        finally:
            closed.append("numbers")

    async def failing() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(60))
            group.create_task(asyncio.to_thread(divmod, 1, 0))

    async def main() -> list[int]:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(asyncio.sleep(60), 0.01)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await asyncio.sleep(60)
        queue: asyncio.Queue[int] = asyncio.Queue(2)
        got: list[int] = []

        async def put() -> None:
            variable.set(1)
            for number in range(10):
                await queue.put(number)

        async def get() -> None:
            assert variable.get() == 0
            got.extend([await queue.get() for _ in range(10)])

        async with asyncio.TaskGroup() as group:
            group.create_task(put(), name="putter")
            group.create_task(get())
        with pytest.raises(ExceptionGroup):
            await failing()
        async for number in numbers():
            if number == 3:
                break
        return got

    assert run(main(), reactor) == list(range(10))
    assert closed == ["numbers"]


def test_life_of_the_loop(reactor: Reactor) -> None:
    """stop, run again, close; what may not be done raises what asyncio's loops raise."""
    loop = ReactorEventLoop(reactor)
    seen: list[object] = []
    loop.stop()
    loop.call_soon(seen.append, "one turn")
    loop.run_forever()
    assert seen == ["one turn"]
    assert not loop.is_running()
    handle = loop.call_later(0.01, seen.append, "never")
    assert handle.when() > loop.time()
    handle.cancel()
    loop.call_later(0.02, loop.stop)
    loop.call_soon(lambda: seen.append(loop.is_running()))
    loop.run_forever()
    assert seen == ["one turn", True]
    future = loop.create_future()
    loop.call_soon(loop.stop)
    with pytest.raises(RuntimeError, match="stopped before"):
        loop.run_until_complete(future)
    assert loop.run_until_complete(asyncio.sleep(0, "result")) == "result"
    with pytest.raises(TypeError):
        loop.call_soon(asyncio.sleep, 0)
    loop.close()
    loop.close()
    assert loop.is_closed()
    for method in (loop.run_forever, lambda: loop.call_soon(seen.clear)):
        with pytest.raises(RuntimeError, match="closed"):
            method()
    gc.collect()


def test_what_is_run_inside_the_loop_is_refused_and_not_begun(reactor: Reactor) -> None:
    """It became a task of the loop that runs already, though its caller got an error."""
    begun: list[str] = []

    async def inner() -> None:
        begun.append("inner")

    async def main() -> None:
        coroutine = inner()
        with pytest.raises(RuntimeError, match="already running"):
            asyncio.get_running_loop().run_until_complete(coroutine)
        coroutine.close()
        await asyncio.sleep(0.01)

    run(main(), reactor)
    assert not begun


def test_a_loop_whose_reactor_is_run_by_its_owner(reactor: Reactor) -> None:
    """Tasks and protocols work, and know their loop."""
    loop = ReactorEventLoop(reactor)

    async def main() -> bytes:
        assert asyncio.get_running_loop() is loop
        async with await asyncio.start_server(echo, "127.0.0.1", 0) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", port_of(server))
            writer.write(b"hello\n")
            line = await reader.readline()
            writer.close()
            await writer.wait_closed()
        return line

    task = loop.create_task(main())
    task.add_done_callback(lambda _: reactor.stop())
    reactor.run()
    assert task.result() == b"hello\n"
    loop.close()


def test_errors_of_callbacks(reactor: Reactor) -> None:
    """They go to the exception handler, and the loop goes on."""
    contexts: list[dict[str, typing.Any]] = []
    loop = ReactorEventLoop(reactor)
    loop.set_exception_handler(lambda _, context: contexts.append(context))
    loop.call_soon(divmod, 1, 0)
    loop.call_later(0, divmod, 1, 0)
    loop.run_until_complete(asyncio.sleep(0.01))
    assert [type(context["exception"]) for context in contexts] == [ZeroDivisionError] * 2

    class Broken(asyncio.Protocol):
        def data_received(self, data: bytes) -> None:
            raise ZeroDivisionError("on purpose")

        def connection_lost(self, exc: Exception | None) -> None:
            contexts.append({"exception": exc})

    async def main() -> None:
        server = await loop.create_server(Broken, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(server))
        writer.write(b"x")
        with pytest.raises(ConnectionResetError):
            await reader.read(1)
        writer.close()
        server.close()
        await server.wait_closed()

    loop.run_until_complete(main())
    assert [type(context["exception"]) for context in contexts[2:]] == [ZeroDivisionError] * 2
    loop.close()


def test_stop_iteration_in_a_thread_does_not_wait_for_ever(reactor: Reactor) -> None:
    async def main() -> None:
        with pytest.raises(RuntimeError, match="StopIteration"):
            await asyncio.wait_for(asyncio.to_thread(next, iter([])), 5)

    run(main(), reactor)


def test_a_slow_callback_is_logged_in_debug_mode(reactor: Reactor, caplog: pytest.LogCaptureFixture) -> None:
    """As slow as `slow_callback_duration` says, and only then."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(0)
        loop.slow_callback_duration = 0.0
        await asyncio.sleep(0)
        loop.slow_callback_duration = 60.0
        loop.set_debug(not loop.get_debug())
        await asyncio.sleep(0)

    with caplog.at_level("WARNING", logger="asyncio"):
        run(main(), reactor, debug=False)
        assert not caplog.messages
        run(main(), reactor, debug=True)
    assert any("took" in message and "main()" in message for message in caplog.messages), caplog.messages
    assert len(caplog.messages) < 20


def test_signals(reactor: Reactor) -> None:
    """add_signal_handler, remove_signal_handler."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        event = asyncio.Event()
        loop.add_signal_handler(signal.SIGUSR1, event.set)
        os.kill(os.getpid(), signal.SIGUSR1)
        await asyncio.wait_for(event.wait(), 5)
        assert loop.remove_signal_handler(signal.SIGUSR1)
        assert not loop.remove_signal_handler(signal.SIGUSR1)

    run(main(), reactor)
