from __future__ import annotations

import typing

import pytest

from portable.deferred import Deferred, fail
from portable.endpoints import TCPEndpoint
from portable.errors import AddressInUse, ConfigurationError
from portable.listener import DatagramPort, ServerPort
from portable.protocol import DatagramProtocol
from portable.service import PortService, Service, ServiceGroup
from tests.portable.listening import FakeReactor, Recorder, Stubborn, last

if typing.TYPE_CHECKING:
    from portable.reactor import Reactor


@pytest.fixture
def loop() -> FakeReactor:
    return FakeReactor()


def server(name: str, number: int, factory: type[Recorder] = Recorder) -> ServerPort:
    return ServerPort(name, factory, TCPEndpoint(number, "127.0.0.1"))


def results(deferred: Deferred[typing.Any]) -> list[object]:
    found: list[object] = []
    deferred.add_both(found.append)
    return found


class Diary(Service):
    """Writes down its life."""

    def __init__(self, name: str, book: list[str], **faults: Exception) -> None:
        super().__init__(name)
        self._book = book
        self._faults = faults

    def _write(self, event: str) -> None:
        self._book.append(f"{event} {self.name}")
        if event in self._faults:
            raise self._faults[event]

    def bind(self, reactor: Reactor) -> None:
        super().bind(reactor)
        self._write("bind")

    def release(self) -> None:
        super().release()
        self._write("release")

    def start(self) -> None:
        super().start()
        self._write("start")

    def stop(self, seconds: float) -> Deferred[None]:
        self._write("stop")
        if "late" in self._faults:
            return fail(self._faults["late"])
        return super().stop(seconds)

    def reload(self) -> bool:
        complete = super().reload()
        self._write("reload")
        return complete


def test_children_start_in_order_and_stop_in_reverse(loop: FakeReactor) -> None:
    book: list[str] = []
    group = ServiceGroup("all", [Diary("a", book), Diary("b", book)])
    group.bind(loop.as_reactor)
    group.start()
    assert group.reload()
    assert results(group.stop(1)) == [None]
    assert book == ["bind a", "bind b", "start a", "start b", "reload a", "reload b", "stop b", "stop a"]


def test_a_bind_that_fails_gives_back_what_was_bound(loop: FakeReactor) -> None:
    book: list[str] = []
    taken = PortService("old", [server("old", 80)])
    taken.bind(loop.as_reactor)
    time = DatagramPort("time", DatagramProtocol, TCPEndpoint(37))
    web = PortService("web", [server("web", 81), time, server("web", 80)])
    group = ServiceGroup("all", [Diary("a", book), ServiceGroup("b", [Diary("c", book), web])])
    with pytest.raises(AddressInUse, match=r"^web tcp:80:interface=127\.0\.0\.1: 127\.0\.0\.1:80 is in use$"):
        group.bind(loop.as_reactor)
    assert [listener.closed for listener in loop.listeners] == [False, True]
    assert loop.datagrams[0].closed
    assert book == ["bind a", "bind c", "release c", "release a"]


def test_a_group_that_is_released_releases_all(loop: FakeReactor) -> None:
    book: list[str] = []
    inner = ServiceGroup("b", [Diary("c", book), PortService("web", [server("web", 80)])])
    group = ServiceGroup("all", [inner, Diary("d", book, bind=ConfigurationError("no"))])
    with pytest.raises(ConfigurationError):
        group.bind(loop.as_reactor)
    assert loop.listeners[0].closed
    assert book == ["bind c", "bind d", "release c"]


def test_addresses_are_told_for_the_whole_tree(loop: FakeReactor) -> None:
    time = DatagramPort("time", DatagramProtocol, TCPEndpoint(37, "127.0.0.1"))
    child = PortService("inner", [server("inner", 81)])
    group = ServiceGroup("all", [PortService("web", [server("web", 80), time], children=[child])])
    group.bind(loop.as_reactor)
    assert group.addresses() == ["web tcp 127.0.0.1:80", "time udp 127.0.0.1:37", "inner tcp 127.0.0.1:81"]


def test_hooks_are_called_around_the_ports(loop: FakeReactor) -> None:
    book: list[object] = []

    async def closed() -> None:
        book.append("stop")

    service = PortService(
        "web",
        [server("web", 80, Stubborn)],
        on_start=lambda reactor: book.append((reactor, loop.listeners[0].accepting)),
        on_stop=closed,
        on_reload=lambda: book.append("reload"),
    )
    service.bind(loop.as_reactor)
    service.start()
    assert book == [(loop, False)]
    assert loop.listeners[0].accepting
    service.reload()
    loop.accept()
    done = results(service.stop(5))
    again = results(service.stop(5))
    loop.advance(4.9)
    assert (book[1:], done) == (["reload"], [])
    loop.advance(0.1)
    assert book[1:] == ["reload", "stop"]
    assert (done, again) == ([None], [None])


def test_all_ports_drain_against_one_deadline(loop: FakeReactor, caplog: pytest.LogCaptureFixture) -> None:
    group = ServiceGroup(
        "all", [PortService(name, [server(name, 80 + i, Stubborn)]) for i, name in enumerate("ab")]
    )
    group.bind(loop.as_reactor)
    group.start()
    loop.accept()
    done = results(group.stop(3))
    assert all(listener.closed for listener in loop.listeners)
    loop.advance(3)
    assert done == [None]
    assert "a: aborted 1 connection(s)" in caplog.text


def test_a_second_stop_with_0_ends_at_once(loop: FakeReactor) -> None:
    group = ServiceGroup("all", [PortService("a", [server("a", 80, Stubborn)])])
    group.bind(loop.as_reactor)
    group.start()
    loop.accept()
    done = results(group.stop(60))
    now = results(group.stop(0))
    loop.advance()
    assert (done, now) == ([None], [None])
    assert last().events[-1] == "lost"


@pytest.mark.parametrize("when", ["stop", "late"])
def test_an_error_in_one_child_does_not_keep_others_from_stopping(
    loop: FakeReactor, caplog: pytest.LogCaptureFixture, when: str
) -> None:
    book: list[str] = []
    broken = Diary("broken", book, **{when: RuntimeError("cannot")})
    group = ServiceGroup("all", [Diary("a", book), broken, Diary("b", book)])
    group.bind(loop.as_reactor)
    assert results(group.stop(1)) == [None]
    assert book[-3:] == ["stop b", "stop broken", "stop a"]
    assert "broken: did not stop well: cannot" in caplog.text


def test_an_error_in_one_child_does_not_keep_others_from_reloading(
    loop: FakeReactor, caplog: pytest.LogCaptureFixture
) -> None:
    book: list[str] = []
    group = ServiceGroup("all", [Diary("broken", book, reload=RuntimeError("cannot")), Diary("b", book)])
    group.bind(loop.as_reactor)
    assert not group.reload()
    assert book[-2:] == ["reload broken", "reload b"]
    assert "broken: cannot reload" in caplog.text
