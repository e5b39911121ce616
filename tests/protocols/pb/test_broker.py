"""Two brokers over memory, and one against a peer that we play."""

from __future__ import annotations

import gc
import typing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portable.deferred import Deferred
from portable.errors import Cancelled, ConnectionLost, LocalProtocolError, RemoteProtocolError
from portable.testing import ManualClock, MemoryTransport, connect_in_memory
from protocols.pb import (
    Broker,
    DeadReference,
    Error,
    InsecureJelly,
    NoSuchMethod,
    Referenceable,
    Registry,
    RemoteError,
    RemoteReference,
)
from protocols.pb.banana import NO_WORDS, PB_WORDS, BananaReader, encode
from protocols.pb.broker import CLOSE_TIMEOUT, HANDSHAKE_TIMEOUT, MAX_CALLS
from protocols.pb.tables import MAX_REFERENCES
from tests.strategies import alphabet, splits


class Told(Error):
    pass


class Counter(Referenceable):
    def __init__(self) -> None:
        self.value = 0

    def remote_add(self, number: int) -> int:
        self.value += number
        return self.value


class Root(Referenceable):
    secret = "not a method"
    remote_value = "not callable"

    def __init__(self) -> None:
        self.kept: list[typing.Any] = []
        self.pending: list[Deferred[typing.Any]] = []

    def remote_echo(self, value: typing.Any) -> typing.Any:
        return value

    def remote_named(self, *, word: str) -> str:
        return word

    def remote_keep(self, value: typing.Any) -> None:
        self.kept.append(value)

    def remote_counter(self) -> Counter:
        return Counter()

    def remote_later(self) -> Deferred[typing.Any]:
        self.pending.append(Deferred())
        return self.pending[-1]

    async def remote_ask(self, reference: RemoteReference) -> typing.Any:
        return await reference.call_remote("add", 20)

    def remote_told(self) -> None:
        raise Told("the reason")

    def remote_bug(self) -> None:
        raise ValueError("a secret")

    def remote_unsendable(self) -> object:
        return object()

    def remote_surrogate(self) -> None:
        raise Error("\ud800")

    def hidden(self) -> None:
        raise AssertionError("called")


class Pair:
    """A client and a server that know each other."""

    def __init__(self, registry: Registry | None = None) -> None:
        self.clock = ManualClock()
        self.root = Root()
        self.server = Broker(self.clock, root=self.root, registry=registry)
        self.client = Broker(self.clock, client=True, registry=registry)
        self.link = connect_in_memory(self.client, self.server, self.clock)

    def start(self, name: str, *args: typing.Any, **kwargs: typing.Any) -> list[typing.Any]:
        got: list[typing.Any] = []
        self.client.remote_root.call_remote(name, *args, **kwargs).add_callbacks(got.append, got.append)
        self.link.flush()
        return got

    def call(self, name: str, *args: typing.Any, **kwargs: typing.Any) -> typing.Any:
        [result] = self.start(name, *args, **kwargs)
        if isinstance(result, Exception):
            raise result
        return result


@pytest.fixture
def pair() -> Pair:
    return Pair()


def test_calls_before_the_dialect_is_agreed_on_wait(pair: Pair) -> None:
    got = pair.start("echo", [1, "a", b"b", None])
    assert got == [[1, "a", b"b", None]]
    assert pair.call("named", word="w") == "w"


@pytest.mark.parametrize("chunk", [1, 7, None])
def test_the_same_however_the_network_cuts(pair: Pair, chunk: int | None) -> None:
    got: list[typing.Any] = []
    pair.client.remote_root.call_remote("echo", "x" * 300).add_callback(got.append)
    pair.link.flush(chunk)
    assert got == ["x" * 300]


def test_an_object_that_stays_where_it_is(pair: Pair) -> None:
    counter = pair.call("counter")
    assert isinstance(counter, RemoteReference)
    got: list[int] = []
    for number in (3, 4):
        counter.call_remote("add", number).add_callback(got.append)
    pair.link.flush()
    assert got == [3, 7]
    # Sent back it is the object itself.
    pair.call("keep", counter)
    assert isinstance(pair.root.kept[0], Counter)
    assert "RemoteReference" in repr(counter)


def test_an_object_of_ours_is_called_back_and_comes_back_as_itself(pair: Pair) -> None:
    counter = Counter()
    assert pair.call("ask", counter) == 20
    assert pair.call("echo", counter) is counter


def test_what_is_dropped_may_go(pair: Pair) -> None:
    counter = Counter()
    pair.call("keep", [counter, counter])
    pair.call("keep", counter)
    assert len(pair.client._objects._exports) == 1
    pair.root.kept.clear()
    gc.collect()
    pair.call("echo", 1)
    assert pair.client._objects._exports == {}
    # An object that is sent while its last reference is just being dropped stays known.
    pair.call("keep", counter)
    pair.root.kept.clear()
    gc.collect()
    pair.call("keep", counter)
    assert len(pair.client._objects._exports) == 1


def test_the_1025th_reference_is_refused(pair: Pair) -> None:
    for _ in range(MAX_REFERENCES):
        pair.call("keep", Counter())
    with pytest.raises(Error, match="1024 objects"):
        pair.client.remote_root.call_remote("keep", Counter())
    assert pair.call("echo", 1) == 1
    # Dropped ones make room.
    pair.root.kept.clear()
    gc.collect()
    pair.call("echo", 1)
    pair.call("keep", Counter())


def test_a_peer_may_not_have_us_hold_more_references(pair: Pair) -> None:
    pair.client._objects._exports = _Bottomless()
    for _ in range(MAX_REFERENCES):
        pair.call("keep", Counter())
    with pytest.raises(RemoteError) as caught:
        pair.call("keep", Counter())
    assert caught.value.check("twisted.spread.jelly.InsecureJelly")
    assert pair.call("echo", 1) == 1


class _Bottomless(dict[int, typing.Any]):
    def __len__(self) -> int:
        return 0


def test_a_call_that_cannot_be_sent_leaves_nothing_behind(pair: Pair) -> None:
    with pytest.raises(LocalProtocolError):
        pair.client.remote_root.call_remote("keep", [Counter(), object()])
    assert pair.client._objects._exports == {}
    assert pair.call("echo", 1) == 1


def test_an_object_of_one_peer_is_not_sent_to_another(pair: Pair) -> None:
    other = Pair()
    with pytest.raises(LocalProtocolError, match="another"):
        pair.client.remote_root.call_remote("keep", other.call("counter"))


@pytest.mark.parametrize(
    ("name", "kind", "text"),
    [
        ("told", f"{__name__}.Told", "the reason"),
        ("bug", "builtins.ValueError", "the peer's log says more"),
        ("unsendable", "portable.errors.LocalProtocolError", "the peer's log says more"),
        ("nothing", "twisted.spread.flavors.NoSuchMethod", "No such method: remote_nothing"),
        ("value", "twisted.spread.flavors.NoSuchMethod", "No such method: remote_value"),
        ("surrogate", "twisted.spread.pb.Error", "?"),
    ],
)
def test_errors_are_told_without_secrets(pair: Pair, name: str, kind: str, text: str) -> None:
    with pytest.raises(RemoteError) as caught:
        pair.call(name)
    assert (caught.value.type, caught.value.text) == (kind, text)
    assert caught.value.check("builtins.Exception")
    assert not caught.value.check("builtins.OSError")


@pytest.mark.parametrize("name", ["_x", "__class__", "hidden", "echo.x", "a" * 101, "", "\u00e4"])
def test_only_remote_methods_are_called(pair: Pair, name: str) -> None:
    target = Root()
    with pytest.raises(NoSuchMethod):
        target.remote_message(name, (), {})


def test_wrong_arguments_are_an_error_of_that_call_only(pair: Pair) -> None:
    with pytest.raises(RemoteError) as caught:
        pair.call("echo", 1, 2, 3)
    assert caught.value.type == "builtins.TypeError"
    assert pair.call("echo", 1) == 1


def test_an_error_of_a_third_party_is_passed_on(pair: Pair) -> None:
    def fail(number: int) -> typing.NoReturn:
        raise Told("from afar")

    counter = Counter()
    counter.remote_add = fail  # type: ignore[method-assign]
    with pytest.raises(RemoteError) as caught:
        pair.call("ask", counter)
    assert caught.value.check(f"{__name__}.Told")
    assert caught.value.text == "from afar"


class Point:
    def __init__(self, x: int) -> None:
        self.x = x


def test_copies_by_registered_name() -> None:
    registry = Registry()
    registry.send(Point, "tests.Point", vars)
    registry.accept("tests.Point", lambda state: Point(state["x"]))
    assert Pair(registry).call("echo", Point(5)).x == 5


def test_copies_are_refused_where_they_are_not_registered() -> None:
    pair = Pair()
    pair.client._objects._registry.send(Point, "tests.Point", vars)
    with pytest.raises(RemoteError) as caught:
        pair.call("echo", Point(5))
    assert caught.value.type == "twisted.spread.jelly.InsecureJelly"
    pair.server._objects._registry.accept("tests.Point", lambda state: Point(state["x"]))
    pair.server._objects._registry.send(Point, "tests.Point", vars)
    with pytest.raises(InsecureJelly):
        pair.call("echo", Point(5))


def test_an_answer_that_is_given_up(pair: Pair) -> None:
    answer = pair.client.remote_root.call_remote("later")
    errors: list[Exception] = []
    answer.add_errback(errors.append)
    pair.link.flush()
    answer.cancel()
    assert isinstance(errors[0], Cancelled)
    pair.root.pending[0].callback(1)
    pair.link.flush()
    assert pair.call("echo", 1) == 1


def test_the_end_of_the_connection(pair: Pair) -> None:
    got = pair.start("later")
    counter = pair.call("counter")
    notices: list[str] = []
    counter.on_disconnect(lambda: notices.append("gone"))
    assert counter.connected
    pair.link.reset()
    assert isinstance(got[0], ConnectionLost)
    assert pair.root.pending[0].called
    assert notices == ["gone"]
    assert not counter.connected
    counter.on_disconnect(lambda: notices.append("again"))
    assert notices == ["gone", "again"]
    errors: list[Exception] = []
    counter.call_remote("add", 1).add_errback(errors.append)
    assert isinstance(errors[0], DeadReference)
    assert pair.clock.next_time() is None


def test_a_method_that_fails_after_its_caller_has_gone(pair: Pair) -> None:
    stubborn: Deferred[typing.Any] = Deferred(lambda deferred: deferred.errback(ValueError("late")))
    pair.root.remote_later = lambda: stubborn  # type: ignore[method-assign]
    pair.start("later")
    pair.link.reset()
    assert stubborn.called


def test_drain_answers_what_is_under_way_and_refuses_the_rest(pair: Pair) -> None:
    got = pair.start("later")
    counter = pair.call("counter")
    pair.server.drain()
    pair.link.flush()
    with pytest.raises(RemoteError, match="stopping"):
        pair.call("echo", 1)
    added: list[int] = []
    counter.call_remote("add", 1).add_callback(added.append)
    pair.link.flush()
    assert added == [1]
    pair.root.pending[0].callback("done")
    pair.link.flush()
    assert got == ["done"]
    assert pair.link.a.lost
    assert pair.link.b.lost


def test_an_idle_connection_is_drained_at_once(pair: Pair) -> None:
    pair.call("echo", 1)
    pair.server.drain()
    pair.link.flush()
    assert pair.link.a.lost


def test_calls_are_paused_and_resumed(pair: Pair) -> None:
    pair.call("echo", 1)
    pair.server.pause_calls()
    got = pair.start("echo", 2)
    assert got == []
    pair.server.resume_calls()
    pair.link.flush()
    assert got == [2]


def test_a_peer_that_does_not_read_answers_may_not_ask(pair: Pair) -> None:
    pair.call("echo", 1)
    pair.link.stall(pair.link.a)
    for _ in range(20):
        pair.client.remote_root.call_remote("echo", b"x" * 100_000)
    pair.link.flush()
    assert pair.link.b.pauses == 1
    assert pair.link.b.get_write_buffer_size() < 600_000
    assert not pair.link.b.is_reading()
    pair.link.unstall(pair.link.a)
    pair.link.flush()
    assert not pair.client._calls


def test_two_that_both_have_much_to_say(pair: Pair) -> None:
    """They do not wait for each other: what one says by itself does not keep it from listening."""
    counter = Counter()
    pair.call("keep", counter)
    back = pair.root.kept[0]
    got: list[typing.Any] = []
    for _ in range(20):
        pair.client.remote_root.call_remote("keep", b"x" * 100_000).add_callback(got.append)
        back.call_remote("nothing", b"x" * 100_000).add_errback(got.append)
    pair.link.flush()
    assert len(got) == 40


def test_many_small_calls_in_one_packet(pair: Pair) -> None:
    pair.call("echo", 0)
    got: list[int] = []
    for number in range(1000):
        pair.client.remote_root.call_remote("echo", number).add_callback(got.append)
    pair.link.flush()
    assert got == list(range(1000))


def test_a_close_that_the_peer_does_not_take(pair: Pair) -> None:
    pair.call("echo", 1)
    pair.link.stall(pair.link.a)
    pair.client.remote_root.call_remote("echo", b"x" * 500_000).add_errback(lambda error: None)
    pair.link.flush()
    pair.server.close()
    pair.clock.advance(CLOSE_TIMEOUT)
    assert pair.link.b.lost


# One broker, and a peer that we play.


class Played:
    """A server, and the expressions that it sends to us."""

    def __init__(self, *, greet: bool = True) -> None:
        self.clock = ManualClock()
        self.root = Root()
        self.broker = Broker(self.clock, root=self.root)
        self.transport = MemoryTransport(self.broker, self.clock)
        self.reader = BananaReader()
        assert self.take() == [[b"pb", b"none"]]
        if greet:
            self.transport.receive(encode(b"pb", NO_WORDS))
            self.reader.set_words(PB_WORDS)
            self.send([b"version", 6])
            assert self.take() == [[b"version", 6]]

    def send(self, *expressions: typing.Any) -> None:
        self.transport.receive(b"".join(encode(expression, PB_WORDS) for expression in expressions))

    def message(self, name: bytes, *args: typing.Any, luid: typing.Any = b"root", wanted: int = 1) -> None:
        self.send([b"message", 1, luid, name, wanted, [b"tuple", *args], [b"dictionary"]])

    def take(self) -> list[typing.Any]:
        self.reader.receive_data(self.transport.take())
        found = []
        while (expression := self.reader.next_expression()) is not None:
            found.append(expression)
        return found


def test_the_words_of_the_protocol() -> None:
    played = Played()
    played.message(b"echo", [b"unicode", b"x"])
    assert played.take() == [[b"answer", 1, [b"unicode", b"x"]]]
    # Twisted before Python 3 sends names as bytes.
    played.send([b"message", 2, b"root", b"named", 1, [b"tuple"], [b"dictionary", [b"word", 5]]])
    assert played.take() == [[b"answer", 2, 5]]


def test_a_message_that_wants_no_answer() -> None:
    played = Played()
    for name in (b"echo", b"bug", b"nothing", b"unsendable"):
        played.message(name, wanted=0)
    played.message(b"later", wanted=0)
    played.root.pending[0].callback(1)
    assert played.take() == []
    assert not played.transport.lost


@pytest.mark.parametrize("luid", [0, 5, -1, b"ROOT", b"", 1.5, [b"root"]])
def test_objects_that_the_peer_was_not_given(luid: typing.Any) -> None:
    played = Played()
    played.message(b"echo", 1, luid=luid)
    [[command, _, failure]] = played.take()
    assert command == b"error"
    assert failure[0] == b"twisted.spread.pb.CopyableFailure"
    assert not played.transport.lost


def test_hostile_arguments_are_an_error_of_that_call_only() -> None:
    played = Played()
    played.message(b"echo", [b"class", b"os.system"])
    [[command, request, _]] = played.take()
    assert (command, request) == (b"error", 1)
    played.send([b"message", 2, b"root", b"echo", 1, [b"list", 1], [b"dictionary"]])
    played.send([b"message", 3, b"root", b"echo", 1, [b"tuple", 1], [b"list"]])
    assert [each[:2] for each in played.take()] == [[b"error", 2], [b"error", 3]]
    played.message(b"echo", 1)
    assert played.take() == [[b"answer", 1, 1]]


def test_unanswered_calls_are_limited() -> None:
    played = Played()
    for _ in range(MAX_CALLS):
        played.message(b"later")
    assert played.take() == []
    played.message(b"later")
    [[command, _, failure]] = played.take()
    assert command == b"error"
    assert b"twisted.spread.pb.Error" in str(failure).encode()


def test_commands_that_are_not_known() -> None:
    played = Played()
    played.send([b"cachemessage", 1], [b"didNotUnderstand", [b"x"]], [b"decache", 1])
    assert played.take() == [[b"didNotUnderstand", [b"cachemessage"]], [b"didNotUnderstand", [b"decache"]]]
    assert not played.transport.lost


@pytest.mark.parametrize(
    "expression",
    [
        5,
        b"pb",
        [],
        [1],
        [[b"message"]],
        [b"message"],
        [b"message", b"x", b"root", b"echo", 1, [b"tuple"], [b"dictionary"]],
        [b"message", 1, b"root", 5, 1, [b"tuple"], [b"dictionary"]],
        [b"answer", 1],
        [b"answer", 1, 2],
        [b"answer", b"x", 2],
        [b"error", 1, 2],
        [b"decref"],
        [b"decref", 5],
        [b"decref", b"root"],
    ],
)
def test_a_malformed_command_closes_the_connection(expression: typing.Any) -> None:
    played = Played()
    played.send(expression)
    assert played.transport.lost


def test_an_object_dropped_more_often_than_it_was_sent() -> None:
    played = Played()
    played.message(b"counter")
    assert played.take() == [[b"answer", 1, [b"remote", 1]]]
    played.send([b"decref", 1])
    assert not played.transport.lost
    played.send([b"decref", 1])
    assert played.transport.lost


def test_a_malformed_stream_closes_only_its_own_connection() -> None:
    pair = Pair()
    pair.call("echo", 1)
    played = Played()
    played.transport.receive(b"\xff")
    assert played.transport.lost
    assert pair.call("echo", 2) == 2


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nHost: example.com\r\nUser-Agent: a browser that lost its way, and more\r\n\r\n",
        encode(b"none", NO_WORDS),
        encode([b"pb"], NO_WORDS),
        encode(b"pb", NO_WORDS) + encode([b"version", 5], PB_WORDS),
        encode(b"pb", NO_WORDS) + encode([b"message"], PB_WORDS),
    ],
)
def test_clients_that_do_not_speak_it(data: bytes) -> None:
    played = Played(greet=False)
    played.transport.receive(data)
    assert played.transport.lost


def test_a_server_that_does_not_speak_it() -> None:
    clock = ManualClock()
    broker = Broker(clock, client=True)
    transport = MemoryTransport(broker, clock)
    errors: list[Exception] = []
    broker.remote_root.call_remote("echo").add_errback(errors.append)
    transport.receive(encode([b"none"], NO_WORDS))
    assert transport.lost
    assert isinstance(errors[0], ConnectionLost)


def test_nothing_is_said_to_a_server_before_it_has_spoken() -> None:
    clock = ManualClock()
    broker = Broker(clock, client=True)
    transport = MemoryTransport(broker, clock)
    broker.remote_root.call_remote("echo").add_errback(lambda error: None)
    transport.settle()
    assert transport.written == b""
    clock.advance(HANDSHAKE_TIMEOUT)
    assert transport.lost


def answered(*expressions: typing.Any) -> list[typing.Any]:
    """Return what becomes of a call that a played server answers so."""
    clock = ManualClock()
    broker = Broker(clock, client=True)
    transport = MemoryTransport(broker, clock)
    got: list[typing.Any] = []
    broker.remote_root.call_remote("echo").add_callbacks(got.append, got.append)
    transport.receive(encode([b"pb", b"none"], NO_WORDS) + encode([b"version", 6], PB_WORDS))
    transport.receive(b"".join(encode(expression, PB_WORDS) for expression in expressions))
    return got


def test_answers_of_a_played_server() -> None:
    assert answered([b"answer", 1, 5]) == [5]
    for hostile in ([b"class", b"x"], [b"local", 1]):
        assert isinstance(answered([b"answer", 1, hostile])[0], InsecureJelly)
    for malformed in (5, [b"x"], [b"x", 5], [b"x", [b"class", b"y"]]):
        assert isinstance(answered([b"error", 1, malformed])[0], InsecureJelly)
    assert isinstance(answered([b"answer", 2, 5])[0], ConnectionLost)


def test_failures_of_any_shape() -> None:
    def failure(*pairs: typing.Any) -> RemoteError:
        [error] = answered([b"error", 1, [b"some.Failure", [b"dictionary", *pairs]]])
        assert isinstance(error, RemoteError)
        return error

    error = failure(
        [b"type", b"a.B"], [b"value", b"text"], [b"parents", [b"list", b"a.B", [b"unicode", b"c.D"], 5]]
    )
    assert (error.type, error.text, error.classes) == ("a.B", "text", ("a.B", "c.D", ""))
    error = failure([b"type", 5], [b"value", [b"None"]], [b"parents", b"x"])
    assert (error.type, error.text, error.classes) == ("", "", ())
    error = failure([b"value", b"x" * 100_000])
    assert len(error.text) == 1000


PIECES = [
    encode(b"pb", NO_WORDS),
    encode([b"version", 6], PB_WORDS),
    encode([b"message", 1, b"root", b"echo", 1, [b"tuple", 1], [b"dictionary"]], PB_WORDS),
    encode([b"message", 2, b"root", b"counter", 1, [b"tuple"], [b"dictionary"]], PB_WORDS),
    encode([b"message", 3, 1, b"add", 1, [b"tuple", 1], [b"dictionary"]], PB_WORDS),
    encode([b"message", 4, b"root", b"keep", 1, [b"tuple", [b"remote", 7]], [b"dictionary"]], PB_WORDS),
    encode([b"decref", 1], PB_WORDS),
    encode([b"answer", 1, 5], PB_WORDS),
    encode([b"odd"], PB_WORDS),
]


def behaviour(pieces: list[bytes]) -> tuple[bytes, bool]:
    clock = ManualClock()
    transport = MemoryTransport(Broker(clock, root=Root()), clock)
    for piece in pieces:
        transport.receive(piece)
    return transport.take(), transport.lost


@given(st.lists(st.sampled_from(PIECES), max_size=6), alphabet(PIECES, 4), st.data())
def test_any_split_gives_the_same_behaviour(whole: list[bytes], noise: bytes, data: st.DataObject) -> None:
    stream = b"".join([*PIECES[:2], *whole, noise])
    assert behaviour(data.draw(splits(stream))) == behaviour([stream])


def test_a_call_without_a_root() -> None:
    clock = ManualClock()
    transport = MemoryTransport(Broker(clock), clock)
    transport.receive(PIECES[0] + PIECES[1] + PIECES[2])
    assert b"there is no root" in bytes(transport.written)


def test_protocol_errors_are_remote_ones() -> None:
    assert issubclass(InsecureJelly, RemoteProtocolError)
    assert issubclass(DeadReference, ConnectionLost)
