"""Our protocols and servers inside an asyncio program, on asyncio's own loop and on uvloop."""

from __future__ import annotations

import asyncio
import contextvars
import socket
import sys
import typing
import urllib.request

import pytest
import uvloop

from backends.asyncio import AsyncioReactor, ReactorEventLoop, UvloopReactor, run
from portable.errors import CapabilityMissing, ConfigurationError, LocalProtocolError
from portable.kinds import find_reactor
from portable.options import check_values
from portable.service import PortService
from portable.transport import Address
from protocols.echo import Echo
from protocols.http.messages import Response
from protocols.http.resource import Page
from protocols.http.server import Site
from protocols.servers.portforward import KIND as FORWARD
from tests.conformance.judge import End, reset

if typing.TYPE_CHECKING:
    from portable.reactor import Listener

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture(params=list(LOOPS))
def runner(request: pytest.FixtureRequest) -> typing.Iterator[asyncio.Runner]:
    with asyncio.Runner(loop_factory=LOOPS[request.param]) as made:
        yield made


def port_of(listener: Listener) -> int:
    assert not isinstance(listener.address, str)
    return listener.address.port


async def talk(port: int, data: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    writer.write_eof()
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


def test_echo(runner: asyncio.Runner) -> None:
    """A client of asyncio's, in the same loop, and 3 MB with back-pressure."""

    async def main() -> None:
        reactor = AsyncioReactor()
        assert reactor.loop is asyncio.get_running_loop()
        listener = reactor.listen(Echo, "127.0.0.1")
        data = bytes(range(256)) * 12_000
        assert await talk(port_of(listener), data) == data
        reactor.close()

    runner.run(main())


def test_http(runner: asyncio.Runner) -> None:
    """The HTTP server, asked by urllib in a thread."""

    def fetch(port: int) -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
            body: bytes = answer.read()
        return body

    async def main() -> None:
        reactor = AsyncioReactor()
        site = Site(Page(lambda _: Response(body=b"hello " * 50_000)), clock=reactor)
        listener = reactor.listen(site, "127.0.0.1")
        assert await asyncio.to_thread(fetch, port_of(listener)) == b"hello " * 50_000
        reactor.close()

    runner.run(main())


def test_port_forwarder(runner: asyncio.Runner) -> None:
    """A whole server of ours, as a tap starts it, in front of a server of asyncio's."""

    async def shout(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.read()).upper())
        writer.close()

    async def main() -> None:
        reactor = AsyncioReactor()
        behind = await asyncio.start_server(shout, "127.0.0.1", 0)
        target = f"tcp:127.0.0.1:{behind.sockets[0].getsockname()[1]}"
        given = {"port": 0, "interface": "127.0.0.1", "to": target}
        service = FORWARD.make_service(check_values(FORWARD.options, given))
        assert isinstance(service, PortService)
        service.bind(reactor)
        service.start()
        address = service.ports()[0].address
        assert isinstance(address, Address)
        assert await talk(address.port, b"hello") == b"HELLO"
        behind.close()
        reactor.close()

    runner.run(main())


def test_a_program_that_forgets_to_close_the_reactor(runner: asyncio.Runner) -> None:
    """The loop is closed before it: closing it afterwards does no harm."""
    kept: list[AsyncioReactor] = []

    async def main() -> None:
        reactor = AsyncioReactor()
        reactor.listen(Echo, "127.0.0.1")
        reactor.call_later(60, int)
        kept.append(reactor)

    runner.run(main())
    runner.close()
    kept[0].call_soon_threadsafe(int)
    kept[0].close()


def test_the_loop_is_its_owners(runner: asyncio.Runner) -> None:
    """run and step refuse, stop does nothing, close leaves it open."""

    async def main() -> None:
        reactor = AsyncioReactor()
        assert not reactor.running
        with pytest.raises(LocalProtocolError):
            reactor.run()
        with pytest.raises(LocalProtocolError):
            reactor.step()
        reactor.stop()
        reactor.close()
        await asyncio.sleep(0.01)

    runner.run(main())


def test_variables_of_a_task_stay_with_it(runner: asyncio.Runner) -> None:
    """Whoever happens to call first lends its context variables to nobody."""
    variable = contextvars.ContextVar("variable", default="")

    async def main() -> None:
        reactor = AsyncioReactor()
        seen: asyncio.Queue[str] = asyncio.Queue()

        async def first() -> None:
            variable.set("secret")
            reactor.call_soon(lambda: seen.put_nowait(variable.get()))

        await asyncio.create_task(first())
        assert await asyncio.wait_for(seen.get(), 5) == ""
        reactor.close()

    runner.run(main())


def test_a_reset_that_comes_with_data(runner: asyncio.Runner) -> None:
    """uvloop tells once of a descriptor with an error; the data before it took that one time."""

    async def main() -> None:
        reactor = AsyncioReactor()
        lost = asyncio.Event()
        server = End(on_lost=lambda _: lost.set())
        listener = reactor.listen(lambda: server, "127.0.0.1")
        peer = socket.create_connection(("127.0.0.1", port_of(listener)))
        peer.sendall(b"x")
        reset(peer)
        await asyncio.wait_for(lost.wait(), 5)
        assert server.calls == ["made", "data", "lost"]
        reactor.close()

    runner.run(main())


def test_a_timer_put_forward_by_a_task(runner: asyncio.Runner) -> None:
    """reset() from outside our calls is told to the loop."""

    async def main() -> None:
        reactor = AsyncioReactor()
        event = asyncio.Event()
        timer = reactor.call_later(60, event.set)
        timer.reset(0.01)
        await asyncio.wait_for(event.wait(), 5)
        reactor.close()

    runner.run(main())


@pytest.mark.parametrize("make", [AsyncioReactor, UvloopReactor])
def test_round_and_round(make: typing.Callable[[], AsyncioReactor]) -> None:
    """An asyncio loop over our reactor over an asyncio loop."""
    reactor = make()

    async def main() -> bytes:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, ReactorEventLoop)
        listener = reactor.listen(Echo, "127.0.0.1")
        return await talk(port_of(listener), b"hello")

    assert run(main(), reactor) == b"hello"
    reactor.close()


def test_a_loop_that_cannot_watch_sockets() -> None:
    """As on Windows by default: told in words, nothing left open."""

    class Deaf(asyncio.SelectorEventLoop):
        def add_reader(self, *_: typing.Any) -> typing.NoReturn:  # type: ignore[override] # as it would be called
            raise NotImplementedError

    loop = Deaf()
    reactor = AsyncioReactor(loop)
    with pytest.raises(CapabilityMissing, match="SelectorEventLoop"):
        reactor.listen(Echo, "127.0.0.1")
    reactor.close()
    loop.close()


@pytest.mark.parametrize("name", ["asyncio", "uvloop"])
def test_found_by_name(name: str) -> None:
    """For twistd --reactor."""
    reactor = find_reactor(name)()
    assert reactor.name == name
    reactor.close()


def test_uvloop_is_optional(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its absence is told in words."""
    monkeypatch.setitem(sys.modules, "uvloop", None)
    with pytest.raises(ConfigurationError, match="not installed"):
        find_reactor("uvloop")
    with pytest.raises(ConfigurationError, match="not installed"):
        UvloopReactor()
