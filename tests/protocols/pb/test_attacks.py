"""What has been done, or could be, to servers of Perspective Broker: on every backend, as bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from portable.protocol import Protocol
from portable.testing import wait_for, wait_until
from portable.transport import Address
from protocols.pb import Broker
from protocols.pb.banana import MAX_DEPTH, MAX_SIZE, NO_WORDS, PB_WORDS, BananaReader, encode
from protocols.pb.tables import MAX_REFERENCES
from tests.protocols.pb.objects import Root

if TYPE_CHECKING:
    from collections.abc import Iterator

    from portable.errors import TransportError
    from portable.reactor import Reactor
    from portable.transport import Transport

GREETING = encode(b"pb", NO_WORDS) + encode([b"version", 6], PB_WORDS)
MESSAGE = [b"message", 1, b"root", b"echo", 1]


class Attacker(Protocol):
    """Notes what the server says, and whether it is still there."""

    def __init__(self) -> None:
        self.reader = BananaReader()
        self.lost = False

    def connection_made(self, transport: Transport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.reader.receive_data(data)

    def connection_lost(self, exc: TransportError | None) -> None:
        self.lost = True


class Siege:
    """A server, an attacker, and somebody who means no harm."""

    def __init__(self, reactor: Reactor) -> None:
        self.reactor = reactor
        self.root = Root()
        self.listener = reactor.listen(lambda: Broker(reactor, root=self.root), "127.0.0.1")
        address = self.listener.address
        assert isinstance(address, Address)
        self.attacker = wait_for(reactor, reactor.connect(Attacker, address.host, address.port))
        connecting = reactor.connect(lambda: Broker(reactor, client=True), address.host, address.port)
        self.friend = wait_for(reactor, connecting)
        assert self.answer() == [b"pb", b"none"]
        self.attacker.reader.set_words(PB_WORDS)
        assert self.echo(1) == 1

    def echo(self, value: Any) -> Any:
        return wait_for(self.reactor, self.friend.remote_root.call_remote("echo", value))

    def greet(self) -> None:
        self.attacker.transport.write(GREETING)
        assert self.answer() == [b"version", 6]

    def say(self, argument: Any) -> None:
        self.attacker.transport.write(encode([*MESSAGE, [b"tuple", argument], [b"dictionary"]], PB_WORDS))

    def answer(self) -> Any:
        found: list[Any] = []

        def come() -> bool:
            expression = self.attacker.reader.next_expression()
            if expression is not None:
                found.append(expression)
            return bool(found)

        wait_until(self.reactor, come)
        return found[0]

    def assert_dropped(self) -> None:
        wait_until(self.reactor, lambda: self.attacker.lost)
        assert self.echo(2) == 2

    def close(self) -> None:
        gone: list[None] = []
        for each in (self.attacker.transport, self.friend.transport):
            assert each is not None
            each.abort()
        self.friend.on_disconnect(lambda: gone.append(None))
        self.listener.close()
        wait_until(self.reactor, lambda: gone and self.attacker.lost)


@pytest.fixture
def siege(reactor: Reactor) -> Iterator[Siege]:
    made = Siege(reactor)
    yield made
    made.close()


@pytest.mark.parametrize(
    "jelly",
    [
        [b"class", b"os.system"],
        [b"module", b"os"],
        [b"function", b"os.system"],
        [b"method", b"system", [b"None"], [b"class", b"os.system"]],
        [b"instance", [b"class", b"subprocess.Popen"], [b"dictionary"]],
        [b"subprocess.Popen", [b"dictionary"]],
        [b"persistent", b"x"],
    ],
)
def test_hostile_jelly(siege: Siege, jelly: list[Any]) -> None:
    siege.greet()
    siege.say(jelly)
    command, _, failure = siege.answer()
    assert command == b"error"
    assert b"twisted.spread.jelly.InsecureJelly" in encode(failure, NO_WORDS)
    assert b"Traceback (most recent" not in encode(failure, NO_WORDS)
    siege.say(5)
    assert siege.answer() == [b"answer", 1, 5]


def test_nesting(siege: Siege) -> None:
    siege.greet()
    siege.attacker.transport.write(b"\x01\x80" * 100_000)
    siege.assert_dropped()


def test_nesting_as_deep_as_allowed(siege: Siege) -> None:
    siege.greet()
    deep: Any = [b"None"]
    for _ in range(MAX_DEPTH - 4):
        deep = [b"list", deep]
    siege.say(deep)
    assert siege.answer()[2] == deep


def test_reference_exhaustion(siege: Siege) -> None:
    siege.greet()
    make = encode([b"message", 1, b"root", b"counter", 1, [b"tuple"], [b"dictionary"]], PB_WORDS)
    siege.attacker.transport.write(make * (MAX_REFERENCES + 1))
    answers = [siege.answer()[0] for _ in range(MAX_REFERENCES + 1)]
    assert answers == [b"answer"] * MAX_REFERENCES + [b"error"]
    assert siege.echo(2) == 2


def test_having_us_hold_references(siege: Siege) -> None:
    siege.greet()
    siege.root.remote_echo = siege.root.remote_keep  # type: ignore[method-assign]
    for luid in range(MAX_REFERENCES + 1):
        siege.say([b"remote", luid])
    answers = [siege.answer()[0] for _ in range(MAX_REFERENCES + 1)]
    assert answers == [b"answer"] * MAX_REFERENCES + [b"error"]


def test_a_prefix_of_65_bytes(siege: Siege) -> None:
    siege.attacker.transport.write(b"\x01" * 65)
    siege.assert_dropped()


def test_an_http_request(siege: Siege) -> None:
    siege.attacker.transport.write(
        b"GET /index.html HTTP/1.1\r\nHost: www.example.com\r\nAccept: text/html, */*\r\n\r\n"
    )
    siege.assert_dropped()


def test_a_string_above_the_limit_is_refused_before_it_comes(siege: Siege) -> None:
    siege.greet()
    siege.attacker.transport.write(encode(MAX_SIZE + 1, NO_WORDS)[:-1] + b"\x82")
    siege.assert_dropped()


def test_a_list_above_the_limit_is_refused_before_it_comes(siege: Siege) -> None:
    siege.greet()
    siege.attacker.transport.write(encode(1 << 40, NO_WORDS)[:-1] + b"\x80")
    siege.assert_dropped()


@pytest.mark.parametrize("name", [b"__class__", b"_root", b"hidden", b"kept", b"secret", b"message"])
def test_names_of_what_is_no_remote_method(siege: Siege, name: bytes) -> None:
    siege.greet()
    message = [b"message", 1, b"root", name, 1, [b"tuple"], [b"dictionary"]]
    siege.attacker.transport.write(encode(message, PB_WORDS))
    assert siege.answer()[0] == b"error"


def test_what_calls_methods_is_none_that_can_be_called(siege: Siege) -> None:
    siege.greet()
    args = [b"tuple", [b"unicode", b"echo"], [b"tuple", 5], [b"dictionary"]]
    siege.attacker.transport.write(
        encode([b"message", 1, b"root", b"message", 1, args, [b"dictionary"]], PB_WORDS)
    )
    command, _, failure = siege.answer()
    assert command == b"error"
    assert b"NoSuchMethod" in encode(failure, NO_WORDS)


def test_answers_to_calls_that_were_not_made(siege: Siege) -> None:
    siege.greet()
    siege.attacker.transport.write(encode([b"answer", 7, 5], PB_WORDS))
    siege.assert_dropped()
