"""Against Twisted's Perspective Broker, in both directions, each in a process of its own."""

from __future__ import annotations

import gc
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from portable.errors import ConnectionLost
from portable.testing import wait_for, wait_until
from protocols.pb import Broker, Error, InsecureJelly, Referenceable, Registry, RemoteError, RemoteReference
from protocols.pb.tables import MAX_REFERENCES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from portable.reactor import Reactor

PROGRAM = Path(__file__).with_name("twisted_peer.py")


class Point:
    def __init__(self, x: int, y: int) -> None:
        self.x = x
        self.y = y


def registry() -> Registry:
    made = Registry()
    made.send(Point, "tests.Point", vars)
    made.accept("tests.Point", lambda state: Point(state["x"], state["y"]))
    return made


class Doubler(Referenceable):
    def remote_add(self, number: int, twice: bool = False) -> int:
        return number * 2 if twice else number


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """Return the path of the socket of a Twisted server, which serves all tests of this module."""
    folder = tempfile.mkdtemp(prefix="pb", dir="/tmp")
    path = f"{folder}/socket"
    with subprocess.Popen(
        [sys.executable, str(PROGRAM), "server", path], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"READY\n"
        yield path
        process.kill()
    shutil.rmtree(folder)


class Client:
    """Our end of a connection to Twisted."""

    def __init__(self, reactor: Reactor, path: str) -> None:
        self.reactor = reactor
        connecting = reactor.connect_unix(lambda: Broker(reactor, client=True, registry=registry()), path)
        self.broker = wait_for(reactor, connecting)

    def call(self, name: str, *args: Any, **kwargs: Any) -> Any:
        return wait_for(self.reactor, self.broker.remote_root.call_remote(name, *args, **kwargs))

    def close(self) -> None:
        gone: list[None] = []
        self.broker.on_disconnect(lambda: gone.append(None))
        self.broker.close()
        wait_until(self.reactor, lambda: gone)


@pytest.fixture
def client(reactor: Reactor, server: str) -> Iterator[Client]:
    made = Client(reactor, server)
    yield made
    if made.broker.connected:
        made.close()


def test_values_of_every_kind(client: Client) -> None:
    values = client.call("values")
    assert len(values) > 25
    assert client.call("is_values", values) is True
    assert client.call("echo", values) == values
    assert client.call("echo", 1, b"b", word="w", other=[None]) == ((1, b"b"), {"word": "w", "other": [None]})


def test_values_that_are_shared_or_in_themselves(client: Client) -> None:
    one, other, third = client.call("shared")
    assert one is other is third["again"]
    cycle = client.call("cycle")
    assert cycle[1] is cycle
    assert client.call("is_cycle", cycle) is True


def test_objects_that_are_called_back(client: Client) -> None:
    assert client.call("call_back", Doubler(), 21) == 42
    counter = client.call("counter")
    assert isinstance(counter, RemoteReference)
    wait_for(client.reactor, counter.call_remote("add", 3))
    assert wait_for(client.reactor, counter.call_remote("add", 4)) == 7
    assert client.call("echo", counter) is counter


def test_counting_of_references(client: Client) -> None:
    doubler = Doubler()
    client.call("keep", doubler)
    client.call("keep", [doubler, doubler])
    assert client.call("drop") == 2
    client.call("echo", 1)
    assert client.broker._objects._exports == {}
    # And the other way: Twisted forgets what we drop.
    for _ in range(MAX_REFERENCES + 10):
        counter = client.call("counter")
    del counter
    gc.collect()
    assert client.call("echo", 1) == 1


def test_the_1025th_reference_is_refused(client: Client) -> None:
    for _ in range(MAX_REFERENCES):
        client.call("keep", Doubler())
    with pytest.raises(Error, match="1024"):
        client.call("keep", Doubler())
    assert client.call("drop") == MAX_REFERENCES
    client.call("echo", 1)
    client.call("keep", Doubler())
    client.call("drop")


def test_copies(client: Client) -> None:
    point = client.call("point", Point(1, 2))
    assert (point.x, point.y) == (2, 1)


def test_errors(client: Client) -> None:
    for name, kind, parent, text in (
        ("told", "__main__.Told", "twisted.spread.pb.Error", "the reason"),
        ("bug", "builtins.ValueError", "builtins.Exception", "a bug"),
        ("nothing", "twisted.spread.flavors.NoSuchMethod", "builtins.AttributeError", "remote_nothing"),
    ):
        with pytest.raises(RemoteError) as caught:
            client.call(name)
        assert caught.value.type == kind
        assert caught.value.check(parent)
        assert text in caught.value.text
    with pytest.raises(InsecureJelly):
        client.call("class")


def test_strings_of_640_kilobytes(client: Client) -> None:
    longest = b"x" * 640 * 1024
    assert client.call("echo", longest) == longest


def test_a_server_that_hangs_up(client: Client) -> None:
    never = client.broker.remote_root.call_remote("never")
    client.call("hang_up")
    with pytest.raises(ConnectionLost):
        wait_for(client.reactor, never)
    assert not client.broker.connected


class Root(Referenceable):
    """What Twisted's client calls."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker

    def remote_echo(self, value: Any) -> Any:
        return value

    def remote_named(self, number: int, *, word: str) -> tuple[int, str]:
        return number, word

    async def remote_call_back(self, reference: Any, number: int) -> Any:
        return await reference.call_remote("add", number, twice=True)

    def remote_counter(self) -> Referenceable:
        return Counter()

    def remote_is_own(self, value: Any) -> bool:
        return isinstance(value, Counter)

    def remote_point(self, point: Point) -> Point:
        return Point(point.y, point.x)

    def remote_told(self) -> None:
        raise Error("the reason")

    def remote_bug(self) -> None:
        raise ValueError("a secret")

    def remote_unsendable(self) -> object:
        return object()

    def remote_alive(self) -> int:
        return len(self.broker._objects._exports)

    def remote_hang_up(self) -> None:
        self.broker.abort()


class Counter(Referenceable):
    def __init__(self) -> None:
        self.value = 0

    def remote_add(self, number: int) -> int:
        self.value += number
        return self.value


def make_server(reactor: Reactor) -> Broker:
    broker = Broker(reactor, registry=registry())
    broker._root = Root(broker)
    return broker


def test_twisteds_client(reactor: Reactor) -> None:
    folder = tempfile.mkdtemp(prefix="pb", dir="/tmp")
    listener = reactor.listen_unix(lambda: make_server(reactor), f"{folder}/socket")
    with subprocess.Popen(
        [sys.executable, str(PROGRAM), "client", f"{folder}/socket"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        wait_until(reactor, lambda: process.poll() is not None, 20, "the end of Twisted's client")
        assert process.stdout is not None
        said = process.stdout.read().decode().splitlines()
    listener.close()
    shutil.rmtree(folder)
    assert said == [
        "echo True",
        "kwargs (1, 'w')",
        "callback 42",
        "counter 7",
        "own True",
        "point Point 2 1",
        "error told twisted.spread.pb.Error the reason",
        "error bug builtins.ValueError the peer's log says more",
        "error nothing twisted.spread.flavors.NoSuchMethod No such method: remote_nothing",
        "error secret_ twisted.spread.flavors.NoSuchMethod No such method: remote_secret_",
        "error __class__ twisted.spread.flavors.NoSuchMethod No such method: remote___class__",
        "error unsendable portable.errors.LocalProtocolError the peer's log says more",
        "check True",
        "insecure twisted.spread.jelly.InsecureJelly",
        "cycle True",
        "size 655360",
        "alive 0",
        "lost PBConnectionLost",
        "dead",
    ]
