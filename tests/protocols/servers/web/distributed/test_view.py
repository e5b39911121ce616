"""A publisher that says what it should not: nothing but its own page suffers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from portable.deferred import Deferred
from portable.errors import ConnectionLost, TimedOut
from portable.testing import ManualClock
from protocols.pb import Error, NoSuchMethod, RemoteReference
from protocols.servers.web.distributed.view import HIGH_WATER, MAX_FIELDS, MAX_HEAD, BadPage, ResponseView

if TYPE_CHECKING:
    from protocols.http.messages import Response

SILENCE = 10.0


class FakeBroker:
    """Notes what is asked of the connection."""

    connected = True

    def __init__(self) -> None:
        self.done: list[str] = []
        self.told: list[str] = []
        self.gone: list[Any] = []

    def close(self) -> None:
        self.done.append("close")

    def abort(self) -> None:
        self.done.append("abort")

    def pause_calls(self) -> None:
        self.done.append("pause")

    def resume_calls(self) -> None:
        self.done.append("resume")

    def on_disconnect(self, function: Any) -> None:
        self.gone.append(function)

    def drop(self, luid: int, count: int) -> None:
        pass

    def call(self, luid: object, name: str, args: object, kwargs: object) -> Deferred[Any]:
        self.told.append(name)
        return Deferred()


class Stage:
    """A view, and a publisher that we play."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.broker = FakeBroker()
        self.view = ResponseView(self.broker, self.clock, SILENCE)  # type: ignore[arg-type]
        self.errors: list[Exception] = []
        self.heads: list[None] = []
        self.view.head.add_callbacks(self.heads.append, self.errors.append)
        self.view.start()

    def call(self, name: str, *args: Any, **kwargs: Any) -> object:
        return self.view.message_received(name, args, kwargs)

    def producer(self) -> RemoteReference:
        return RemoteReference(self.broker, 7)

    def page(self) -> Response:
        assert self.heads
        return self.view.response()

    def read(self) -> list[Any]:
        got: list[Any] = []
        self.view.next_chunk().add_callbacks(got.append, got.append)
        return got


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_the_head_is_known_with_the_first_bytes(stage: Stage) -> None:
    stage.call("setResponseCode", 404, b"Gone Fishing")
    stage.call("setHeader", b"X-One", b"1")
    stage.call("setHeader", "x-one", "2")
    assert not stage.heads
    stage.call("write", b"abc")
    page = stage.page()
    assert (page.status, page.headers.items()) == (404, [("x-one", "2")])
    assert stage.read() == [b"abc"]
    waiting = stage.read()
    assert waiting == []
    stage.call("write", b"def")
    assert waiting == [b"def"]
    stage.call("finish")
    assert stage.read() == [b""]
    stage.view.close()
    assert stage.broker.done == ["resume", "close"]


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("setHeader", (b"X-A", b"a\r\nSet-Cookie: b=c")),
        ("setHeader", (b"X-A\r\nX-B: c\r\nX-D", b"e")),
        ("setHeader", (b"X-A", b"a\nb")),
        ("setHeader", (b"X-A", b"a\0b")),
        ("setHeader", (b"", b"a")),
        ("setHeader", (b"X A", b"a")),
        ("setHeader", (1, b"a")),
        ("setHeader", (b"X-A", None)),
        ("setHeader", (b"X-A",)),
        ("setHeader", (b"content-length", b"-1")),
        ("setHeader", (b"content-length", b"1, 2")),
        ("setHeader", (b"content-length", b"9" * 19)),
        ("setHeader", (b"x-long", b"x" * MAX_HEAD)),
        ("setResponseCode", (100,)),
        ("setResponseCode", (101, b"Switching Protocols")),
        ("setResponseCode", (600,)),
        ("setResponseCode", (b"200",)),
        ("setResponseCode", (10**100,)),
        ("setETag", (b"no quotes",)),
        ("setETag", (b'"a"\r\nx: y',)),
        ("setLastModified", (float("inf"),)),
        ("setLastModified", (float("nan"),)),
        ("setLastModified", (-1,)),
        ("setLastModified", (1e20,)),
        ("setLastModified", (b"now",)),
        ("addCookie", (b"a;b", b"c")),
        ("addCookie", (b"a", b"c; Domain=example.com")),
        ("addCookie", (b"a", b"c\r\nX: y")),
        ("addCookie", (b"a",)),
        ("addCookie", ("a", None)),
        ("write", ("text",)),
        ("write", (None,)),
        ("registerProducer", (b"me", True)),
    ],
)
def test_what_breaks_a_rule_fails_the_page(stage: Stage, name: str, args: tuple[Any, ...]) -> None:
    with pytest.raises(Error):
        stage.call(name, *args)
    [error] = stage.errors
    assert isinstance(error, BadPage)
    with pytest.raises(Error):
        stage.call("write", b"x")


def test_a_status_that_takes_for_ever_to_be_written_out(stage: Stage) -> None:
    status: list[Any] = []
    for _ in range(60):
        status = [status, status]
    with pytest.raises(Error):
        stage.call("setResponseCode", status)
    assert stage.errors


def test_a_method_that_is_not_there_fails_nothing(stage: Stage) -> None:
    for name in ("nothing", "fail", "_check_head", "__init__", "close"):
        with pytest.raises(NoSuchMethod):
            stage.call(name)
    stage.call("finish")
    assert stage.page().status == 200


def test_fields_of_the_connection_are_ours_to_say(stage: Stage) -> None:
    for name in ("Connection", "Transfer-Encoding", "Keep-Alive", "Upgrade", "Date", "Server", "Trailer"):
        stage.call("setHeader", name.encode(), b"chunked")
    stage.call("finish")
    assert stage.page().headers.items() == []


def test_fields_are_counted(stage: Stage) -> None:
    for number in range(MAX_FIELDS):
        stage.call("setHeader", b"x-%d" % number, b"1")
    with pytest.raises(Error, match="fields"):
        stage.call("setHeader", b"x-more", b"1")


def test_a_head_that_comes_after_the_body(stage: Stage) -> None:
    stage.call("write", b"x")
    with pytest.raises(Error, match="sent already"):
        stage.call("setHeader", b"x-late", b"1")
    # What was written is not taken for the whole.
    assert isinstance(stage.read()[0], ConnectionLost)
    assert stage.broker.done == ["abort"]


def test_a_length_is_held_to(stage: Stage) -> None:
    stage.call("setHeader", b"Content-Length", b"4")
    stage.call("write", b"abc")
    assert stage.view.length == 4
    assert stage.read() == [b"abc"]
    with pytest.raises(Error, match="announced"):
        stage.call("write", b"de")
    assert isinstance(stage.read()[0], ConnectionLost)


def test_a_page_that_ends_before_its_length(stage: Stage) -> None:
    stage.call("setHeader", b"Content-Length", b"4")
    stage.call("write", b"abc")
    stage.read()
    waiting = stage.read()
    stage.call("finish")
    assert isinstance(waiting[0], ConnectionLost)


@pytest.mark.parametrize("status", [204, 304])
def test_statuses_without_a_body(stage: Stage, status: int) -> None:
    stage.call("setResponseCode", status)
    stage.call("setHeader", b"Content-Length", b"4")
    stage.call("write", b"abcd")
    page = stage.page()
    assert page.body == b""
    assert page.headers.get("content-length") == ("4" if status == 304 else None)
    assert stage.broker.done == ["abort"]


def test_nothing_is_taken_from_a_publisher_whose_client_does_not_read(stage: Stage) -> None:
    piece = b"x" * (HIGH_WATER // 2)
    stage.call("registerProducer", stage.producer(), True)
    for _ in range(3):
        stage.call("write", piece)
    assert stage.broker.done == ["pause"]
    assert stage.broker.told == ["pauseProducing"]
    stage.read()
    assert stage.broker.done == ["pause", "resume"]
    assert stage.broker.told == ["pauseProducing", "resumeProducing"]


def test_a_producer_that_is_asked_is_asked_for_one_piece_at_a_time(stage: Stage) -> None:
    stage.call("registerProducer", stage.producer(), False)
    assert stage.broker.told == ["resumeProducing"]
    stage.read()
    assert stage.broker.told == ["resumeProducing"]
    stage.call("write", b"x" * (HIGH_WATER + 1))
    assert stage.broker.told == ["resumeProducing"] * 2
    stage.call("write", b"x" * (HIGH_WATER + 1))
    assert stage.broker.told == ["resumeProducing"] * 2
    stage.read()
    assert stage.broker.told == ["resumeProducing"] * 3
    with pytest.raises(Error):
        stage.call("registerProducer", stage.producer(), False)


def test_a_producer_that_is_done_is_left_alone(stage: Stage) -> None:
    stage.call("registerProducer", stage.producer(), False)
    stage.call("unregisterProducer")
    stage.call("write", b"x")
    assert stage.broker.told == ["resumeProducing"]


def test_silence_before_the_head(stage: Stage) -> None:
    stage.clock.advance(SILENCE - 1)
    stage.call("setResponseCode", 200)
    stage.clock.advance(SILENCE - 1)
    assert not stage.errors
    stage.clock.advance(1)
    assert isinstance(stage.errors[0], TimedOut)


def test_silence_counts_only_while_the_publisher_is_waited_for(stage: Stage) -> None:
    stage.call("write", b"x")
    # The client does not read.
    stage.clock.advance(SILENCE * 3)
    assert stage.read() == [b"x"]
    waiting = stage.read()
    stage.clock.advance(SILENCE * 2)
    assert isinstance(waiting[0], ConnectionLost)
    assert stage.clock.next_time() is None


def test_a_publisher_that_goes(stage: Stage) -> None:
    for function in stage.broker.gone:
        function()
    assert isinstance(stage.errors[0], ConnectionLost)
    stage.view.fail(ConnectionLost("again"))
    assert len(stage.errors) == 1


def test_a_client_that_goes(stage: Stage) -> None:
    stage.call("write", b"x")
    stage.read()
    waiting = stage.view.next_chunk()
    waiting.cancel()
    waiting.add_errback(lambda error: None)
    stage.view.close()
    assert stage.broker.done == ["abort"]
    assert stage.clock.next_time() is None
    with pytest.raises(Error, match="not wanted"):
        stage.call("write", b"y")
