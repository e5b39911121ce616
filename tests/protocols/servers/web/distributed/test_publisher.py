"""Our publisher before a relay that we play: what it says is checked as if it came from a client."""

from __future__ import annotations

from typing import Any

import pytest

from portable.deferred import Deferred
from portable.testing import ManualClock, connect_in_memory
from portable.transport import Address
from protocols.http.messages import FileBody, Response
from protocols.http.resource import Page, Tree
from protocols.http.server import Limits, Site
from protocols.pb import Broker, Error, Referenceable, Registry, RemoteError
from protocols.servers.web.distributed.publisher import publishing_broker
from protocols.servers.web.distributed.sending import WINDOW
from tests.protocols.servers.web.distributed.pages import Endless, make_pages

OUR_FIELDS = ("content-type", "x-content-type-options", "content-length")


class Said:
    """A copy of a request with these attributes."""

    def __init__(self, **state: Any) -> None:
        self.state = {
            "method": b"GET",
            "uri": b"/u/about",
            "requestHeaders": [(b"Host", [b"example.com"])],
            "prepath": [b"u"],
            "client": ("INET", "192.0.2.7", 5000),
            "content_data": b"",
            **state,
        }


class Recorder(Referenceable):
    """The response: notes every call."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.answers: list[Deferred[None]] = []
        self.slow = False
        self.refuses = ""

    def message_received(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        self.calls.append((name, *args))
        if name == self.refuses:
            raise Error("not that")
        if self.slow:
            self.answers.append(Deferred())
            return self.answers[-1]
        return None

    def last(self, name: str) -> tuple[Any, ...]:
        return [call[1:] for call in self.calls if call[0] == name][-1]

    @property
    def status(self) -> int:
        return int(self.last("setResponseCode")[0])

    @property
    def body(self) -> bytes:
        return b"".join(call[1] for call in self.calls if call[0] == "write")


class Relay:
    """A relay that we play, joined to a publisher."""

    def __init__(self, root: Any = None, **limits: Any) -> None:
        self.clock = ManualClock()
        self.records: list[Any] = []
        pages, self.seen = make_pages()
        site = Site(
            root or pages,
            clock=self.clock,
            limits=Limits(**limits),
            access_log=self.records.append,
            wall_clock=self.clock.time,
        )
        registry = Registry()
        registry.send(Said, "twisted.web.server.Request", lambda said: said.state)
        self.broker = Broker(self.clock, client=True, registry=registry)
        self.publisher = publishing_broker(site, None)
        self.link = connect_in_memory(self.broker, self.publisher, self.clock)
        self.response = Recorder()

    def ask(self, called: str = "request", *more: Any, **state: Any) -> list[Any]:
        state.setdefault("remote", self.response)
        return self.call(called, Said(**state), *more)

    def call(self, called: str, *args: Any) -> list[Any]:
        got: list[Any] = []
        self.broker.remote_root.call_remote(called, *args).add_callbacks(got.append, got.append)
        self.link.flush()
        return got


@pytest.fixture
def relay() -> Relay:
    return Relay()


def test_a_page(relay: Relay) -> None:
    assert relay.ask() == [1]
    names = [call[0] for call in relay.response.calls]
    assert names[0] == "setResponseCode"
    assert names[-2:] == ["write", "finish"]
    assert relay.response.status == 203
    assert relay.response.body == b"GET\n/u/about\n\n192.0.2.7:5000\nexample.com"
    [record] = relay.records
    assert record.peer == Address("192.0.2.7", 5000)


@pytest.mark.parametrize("host", ["x\n192.0.2.8", "::1%x y", "", "localhost", "1" * 1000])
def test_a_relay_cannot_write_into_our_access_log(relay: Relay, host: str) -> None:
    relay.ask(client=("INET", host, 5000))
    assert [record.peer for record in relay.records] == [""]


def test_a_client_on_the_link_keeps_its_scope(relay: Relay) -> None:
    relay.ask(client=("INET", "fe80::1%eth0", 5000))
    assert [record.peer for record in relay.records] == [Address("fe80::1%eth0", 5000)]


@pytest.mark.parametrize(
    ("state", "status"),
    [
        ({"method": b"FETCH"}, 501),
        ({"method": b"GE T"}, 400),
        ({"method": None}, 400),
        ({"method": "GET"}, 400),
        ({"method": b"TRACE"}, 405),
        ({"method": b"OPTIONS", "uri": b"*", "prepath": []}, 204),
        ({"uri": b"/u/about HTTP/1.1\r\nX: y"}, 400),
        ({"uri": b"http://other.example/u/about"}, 400),
        ({"uri": b"//u/about"}, 404),
        ({"uri": b"/u/../about"}, 400),
        ({"uri": b"/u/%2e%2e/about"}, 400),
        ({"uri": b"/u/%00"}, 400),
        ({"uri": b"/"}, 400),
        ({"uri": None}, 400),
        ({"requestHeaders": None}, 400),
        ({"requestHeaders": [b"Host"]}, 400),
        ({"requestHeaders": [(b"Host", b"x")]}, 400),
        ({"requestHeaders": [(b"Host", ["x"])]}, 400),
        ({"requestHeaders": [(b"Host", [b"a/b"])]}, 400),
        ({"requestHeaders": [(b"X", [b"a\r\nY: b"])]}, 400),
        ({"requestHeaders": [(b"X Y", [b"a"])]}, 400),
        ({"requestHeaders": [(b"Transfer-Encoding", [b"chunked"]), (b"Connection", [b"close"])]}, 203),
        ({"client": None}, 203),
        ({"client": ("UNIX", "/somewhere")}, 203),
        ({"client": ("INET", b"x", 5)}, 203),
        ({"client": ("INET", "x", 99999)}, 203),
        ({"prepath": None, "uri": b"/about"}, 203),
        ({"clientproto": b"HTTP/1.0"}, 203),
    ],
)
def test_what_a_relay_says_is_checked(relay: Relay, state: dict[str, Any], status: int) -> None:
    assert relay.ask(**state) == [1]
    assert relay.response.status == status
    assert relay.response.calls[-1] == ("finish",)


@pytest.mark.parametrize(
    "state", [{"remote": None}, {"remote": 5}, {"content_data": None}, {"content_data": "x"}]
)
def test_copies_that_are_no_request(relay: Relay, state: dict[str, Any]) -> None:
    [error] = relay.ask(**state)
    assert isinstance(error, RemoteError)
    assert error.type == "twisted.spread.jelly.InsecureJelly"
    assert relay.ask() == [1]


def test_arguments_that_are_no_request(relay: Relay) -> None:
    for method, args in (("request", (5,)), ("request_streamed", (5, 5)), ("request_streamed", (Said(), 5))):
        [error] = relay.call(method, *args)
        assert isinstance(error, RemoteError), method


class Reader(Referenceable):
    def __init__(self, *pieces: Any) -> None:
        self.pieces = list(pieces)

    def remote_read(self) -> Any:
        if not self.pieces:
            raise Error("the client has gone")
        return self.pieces.pop(0)


def test_a_streamed_body(relay: Relay) -> None:
    reader = Reader(b"ab", b"c", b"")
    assert relay.ask("request_streamed", reader, method=b"POST", uri=b"/u/digest") == [1]
    assert relay.response.body.startswith(b"3 ba7816bf")


def test_a_streamed_body_that_is_none(relay: Relay) -> None:
    assert relay.ask("request_streamed", Reader(b"ab", 5), method=b"POST", uri=b"/u/digest") == [1]
    assert relay.response.status == 400


def test_a_body_above_the_limit_of_the_publisher_itself() -> None:
    """The relay has another one, and need not be ours."""
    relay = Relay(max_body=3)
    post: dict[str, Any] = {"method": b"POST", "uri": b"/u/digest"}
    assert relay.ask(content_data=b"abc", **post) == [1]
    assert relay.response.status == 200
    assert relay.ask(content_data=b"abcd", **post) == [1]
    assert relay.response.status == 413
    assert relay.ask("request_streamed", Reader(b"ab", b"c", b""), **post) == [1]
    assert relay.response.status == 200
    reader = Reader(b"ab", b"cd", b"never asked for")
    assert relay.ask("request_streamed", reader, **post) == [1]
    assert relay.response.status == 413
    assert len(reader.pieces) == 1


def test_a_client_that_breaks_off_is_no_fault_of_the_page(
    relay: Relay, caplog: pytest.LogCaptureFixture
) -> None:
    assert relay.ask("request_streamed", Reader(b"ab"), method=b"POST", uri=b"/u/digest") == [1]
    assert relay.response.status == 400
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


def test_a_relay_that_goes_while_a_body_is_read(relay: Relay, caplog: pytest.LogCaptureFixture) -> None:
    reader = Reader(Deferred())
    assert relay.ask("request_streamed", reader, method=b"POST", uri=b"/u/digest") == []
    relay.link.reset()
    assert relay.records[0].status in {499, 500}
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


def test_no_more_is_written_than_the_relay_takes(relay: Relay) -> None:
    relay.response.slow = True
    assert relay.ask(uri=b"/u/endless") == []
    written = [call for call in relay.response.calls if call[0] == "write"]
    assert 0 < len(written) <= WINDOW
    for answer in relay.response.answers:
        answer.callback(None)
    relay.link.flush()
    assert len([call for call in relay.response.calls if call[0] == "write"]) > len(written)
    relay.link.reset()
    assert relay.seen["endless"].closed
    assert relay.records[0].status == 200


def test_a_relay_that_pauses_and_stops(relay: Relay) -> None:
    relay.response.slow = True
    relay.ask(uri=b"/u/endless")
    producer, streaming = relay.response.last("registerProducer")
    assert streaming is True
    producer.call_remote("pauseProducing")
    relay.link.flush()
    relay.response.slow = False
    for answer in relay.response.answers:
        answer.callback(None)
    relay.link.flush()
    paused = len(relay.response.calls)
    relay.link.flush()
    assert len(relay.response.calls) == paused
    relay.response.slow = True
    relay.response.answers.clear()
    producer.call_remote("resumeProducing")
    relay.link.flush()
    assert len(relay.response.calls) > paused
    producer.call_remote("stopProducing")
    for answer in relay.response.answers:
        answer.callback(None)
    relay.link.flush()
    assert relay.seen["endless"].closed


def test_a_relay_that_stops_while_it_pauses(relay: Relay) -> None:
    relay.response.slow = True
    relay.ask(uri=b"/u/endless")
    producer, _ = relay.response.last("registerProducer")
    for name in ("pauseProducing", "stopProducing"):
        producer.call_remote(name)
        relay.link.flush()
    relay.response.slow = False
    for answer in relay.response.answers:
        answer.callback(None)
    relay.link.flush()
    assert relay.seen["endless"].closed


def test_a_relay_that_does_not_like_the_page(relay: Relay) -> None:
    relay.response.refuses = "write"
    assert relay.ask(uri=b"/u/endless") == [1]
    assert relay.seen["endless"].closed


def test_a_resource_that_gives_no_response() -> None:
    root = Tree()
    root.put_child("x", Page(lambda request: "text"))  # type: ignore[arg-type, return-value]
    relay = Relay(root)
    assert relay.ask(uri=b"/u/x/y/z") == [1]
    assert relay.response.status == 404
    relay.response.calls.clear()
    assert relay.ask(uri=b"/u/x") == [1]
    assert relay.response.status == 500


class Shrinking:
    """A file that has become shorter."""

    def seek(self, offset: int) -> None:
        pass

    def read(self, count: int) -> bytes:
        return b""

    def close(self) -> None:
        pass


def test_a_file_that_is_cut_while_it_is_sent() -> None:
    from protocols.http.messages import FilePiece

    body = FileBody([b"beginning", FilePiece(Shrinking(), 0, 10)])  # type: ignore[arg-type]
    relay = Relay(Page(lambda request: Response(200, [], body)))
    [error] = relay.ask(uri=b"/u")
    assert isinstance(error, RemoteError)
    assert relay.response.body == b"beginning"
    assert relay.response.calls[-1][0] != "finish"


def test_without_a_log() -> None:
    relay = Relay()
    relay.publisher._root._site.access_log = None  # type: ignore[union-attr]
    assert relay.ask() == [1]
    assert not relay.records


def test_a_stream_that_breaks(relay: Relay) -> None:
    [error] = relay.ask(uri=b"/u/cut")
    assert isinstance(error, RemoteError)
    assert "secret" not in error.text
    assert ("finish",) not in relay.response.calls


def test_an_endless_body_is_not_begun_for_head(relay: Relay) -> None:
    assert relay.ask(method=b"HEAD", uri=b"/u/endless") == [1]
    assert relay.seen["endless"].given == 0
    assert relay.seen["endless"].closed
    assert isinstance(relay.seen["endless"], Endless)
