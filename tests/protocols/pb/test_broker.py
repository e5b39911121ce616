"""Two brokers over memory, and one against a peer that we play."""

from __future__ import annotations

import gc
import typing

import pytest

from portable.deferred import Deferred
from portable.errors import Cancelled, ConnectionLost, LocalProtocolError
from portable.testing import ManualClock, connect_in_memory
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
from protocols.pb.broker import CLOSE_TIMEOUT
from protocols.pb.tables import MAX_REFERENCES
from tests.protocols.pb.objects import Counter, Root, Told


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
        ("told", f"{Told.__module__}.Told", "the reason"),
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
        target.message_received(name, (), {})


def test_wrong_arguments_are_an_error_of_that_call_only_and_none_of_ours(
    pair: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    for args in ((1, 2, 3), ()):
        with pytest.raises(RemoteError) as caught:
            pair.call("echo", *args)
        assert caught.value.type == "builtins.TypeError"
    assert pair.call("echo", 1) == 1
    # Whoever calls cannot fill the log with tracebacks.
    assert not caplog.records


def test_a_type_error_inside_of_a_method_is_logged(pair: Pair, caplog: pytest.LogCaptureFixture) -> None:
    pair.root.remote_echo = lambda value: value + 1  # type: ignore[method-assign]  # a faulty one
    with pytest.raises(RemoteError) as caught:
        pair.call("echo", "text")
    assert (caught.value.type, caught.value.text) == ("builtins.TypeError", "the peer's log says more")
    assert "a remote method failed" in caplog.text


def test_an_error_of_a_third_party_is_passed_on(pair: Pair) -> None:
    def fail(number: int) -> typing.NoReturn:
        raise Told("from afar")

    counter = Counter()
    counter.remote_add = fail  # type: ignore[method-assign]
    with pytest.raises(RemoteError) as caught:
        pair.call("ask", counter)
    assert caught.value.check(f"{Told.__module__}.Told")
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


def test_a_method_that_waits_for_its_caller_does_not_fail_when_that_has_gone(
    pair: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[Deferred[typing.Any]] = []

    class Silent(Referenceable):
        def remote_add(self, number: int) -> Deferred[typing.Any]:
            asked.append(Deferred())
            return asked[-1]

    pair.start("ask", Silent())
    assert asked
    pair.link.reset()
    assert not caplog.records


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
