"""Forwarding: whom a server asks for others, and within which bounds."""

from __future__ import annotations

import typing

import pytest

from portable.deferred import Deferred, ensure_deferred, fail, succeed
from portable.errors import ConnectionRefused, NameNotFound
from portable.happyeyeballs import ATTEMPT_DELAY
from protocols.finger import Query
from protocols.servers.finger.forwarding import (
    BUSY,
    DENIED,
    FAILED,
    FORWARD_TIMEOUT,
    MAX_FORWARDED,
    MAX_FORWARDS,
    TOO_FAR,
    Forwarder,
)
from tests.protocols.test_small_services import OneHost

if typing.TYPE_CHECKING:
    from portable.protocol import StreamProtocol

    P = typing.TypeVar("P", bound=StreamProtocol)


class Internet(OneHost):
    """Names, and hosts that answer unless they are in `down`."""

    def __init__(self, names: dict[str, list[str]]) -> None:
        super().__init__()
        self.names = names
        self.down: set[str] = set()
        self.silent: set[str] = set()

    def resolve(self, host: str) -> Deferred[list[str]]:
        if host not in self.names:
            return fail(NameNotFound(f"{host}: no such name"))
        return succeed(self.names[host])

    def connect(
        self,
        factory: typing.Callable[[], P],
        host: str,
        port: int,
        *,
        timeout: float = 30.0,
        local_host: str = "",
    ) -> Deferred[P]:
        if host in self.down:
            self.asked.append((host, port))
            return fail(ConnectionRefused("refused"))
        if host in self.silent:
            self.asked.append((host, port))
            return Deferred()
        return super().connect(factory, host, port, timeout=timeout)


@pytest.fixture
def internet() -> Internet:
    return Internet(
        {
            "a": ["192.0.43.8"],
            "two": ["2606:2800:21f:cb07::1", "192.0.43.9"],
            "inside": ["10.0.0.1"],
            "rebound": ["127.0.0.1", "192.0.43.8"],
            "metadata": ["169.254.169.254"],
        }
    )


def forward(internet: Internet, query: Query, *networks: str, forwarder: Forwarder | None = None) -> list[str]:
    answers: list[str] = []
    forwarder = forwarder or Forwarder(internet, networks)
    ensure_deferred(forwarder.forward(query)).add_callback(answers.append)
    internet.advance()
    return answers


def test_a_query_goes_to_its_last_host_without_it(internet: Internet) -> None:
    answers = forward(internet, Query("alice", ("b", "a"), verbose=True))
    assert internet.asked == [("192.0.43.8", 79)]
    [transport] = internet.transports
    assert transport.written == b"/W alice@b\r\n"
    transport.receive("Login: alice\r\nGr\u00fc\u00dfe \x1b[1m\r\n".encode())
    assert answers == []
    transport.receive_eof()
    assert answers == ["Login: alice\nGr\u00fc\u00dfe ?[1m\n"]


def test_a_chain_of_hosts_is_bounded(internet: Internet) -> None:
    assert forward(internet, Query("alice", ("a", "a", "a"))) == [TOO_FAR]
    assert forward(internet, Query("alice", ("a",) * 200)) == [TOO_FAR]
    assert internet.asked == []


@pytest.mark.parametrize("host", ["", "-a", "a b", "a/b", "[::1]", "a\u00e9", "x" * 300])
def test_what_is_no_host_is_not_resolved(internet: Internet, host: str) -> None:
    assert forward(internet, Query("alice", (host,))) == [DENIED]


@pytest.mark.parametrize("host", ["inside", "metadata"])
def test_private_addresses_are_not_asked(internet: Internet, host: str) -> None:
    assert forward(internet, Query("alice", (host,))) == [DENIED]
    assert internet.asked == []


def test_of_a_name_with_public_and_private_addresses_only_the_public_are_asked(internet: Internet) -> None:
    forward(internet, Query("alice", ("rebound",)))
    assert internet.asked == [("192.0.43.8", 79)]


def test_networks_that_were_named_are_asked(internet: Internet) -> None:
    forward(internet, Query("alice", ("inside",)), "10.0.0.0/8")
    assert internet.asked == [("10.0.0.1", 79)]


def test_the_next_address_is_tried_when_one_is_down(internet: Internet) -> None:
    internet.down = {"2606:2800:21f:cb07::1"}
    answers = forward(internet, Query("alice", ("two",)))
    assert internet.asked == [("2606:2800:21f:cb07::1", 79), ("192.0.43.9", 79)]
    internet.transports[0].receive(b"here\n")
    internet.transports[0].receive_eof()
    assert answers == ["here\n"]


def test_an_address_that_drops_everything_does_not_keep_the_next_from_being_asked(internet: Internet) -> None:
    internet.silent = {"2606:2800:21f:cb07::1"}
    answers = forward(internet, Query("alice", ("two",)))
    internet.advance(ATTEMPT_DELAY)
    internet.transports[0].receive(b"here\n")
    internet.transports[0].receive_eof()
    assert answers == ["here\n"]


def test_of_many_addresses_some_of_both_families_are_tried(internet: Internet) -> None:
    internet.names["many"] = [*(f"2606:2800:21f:cb07::{number}" for number in range(1, 9)), "192.0.43.9"]
    internet.down = set(internet.names["many"][:-1])
    forward(internet, Query("alice", ("many",)))
    assert internet.asked == [("2606:2800:21f:cb07::1", 79), ("192.0.43.9", 79)]


def test_the_first_address_that_answers_is_the_only_one_asked(internet: Internet) -> None:
    answers = forward(internet, Query("alice", ("two",)))
    internet.transports[0].receive_eof()
    assert answers == [""]
    assert len(internet.asked) == 1


def test_hosts_that_do_not_answer(internet: Internet) -> None:
    internet.down = {"192.0.43.8"}
    assert forward(internet, Query("alice", ("a",))) == [FAILED]
    assert forward(internet, Query("alice", ("unknown",))) == [FAILED]


def test_a_host_that_says_too_much_or_nothing(internet: Internet) -> None:
    answers = forward(internet, Query("alice", ("a",)))
    internet.transports[0].receive(b"x" * (MAX_FORWARDED + 1))
    assert answers == [FAILED]
    answers = forward(internet, Query("alice", ("a",)))
    internet.transports[1].receive(b"x")
    internet.advance(FORWARD_TIMEOUT)
    assert answers == [FAILED]
    assert internet.transports[1].lost


def test_few_queries_are_forwarded_at_a_time(internet: Internet) -> None:
    forwarder = Forwarder(internet)
    for _ in range(MAX_FORWARDS):
        assert forward(internet, Query("alice", ("a",)), forwarder=forwarder) == []
    assert forward(internet, Query("alice", ("a",)), forwarder=forwarder) == [BUSY]
    internet.transports[0].receive_eof()
    assert forward(internet, Query("alice", ("a",)), forwarder=forwarder) == []


def test_a_client_that_goes_ends_what_was_asked_for_it(internet: Internet) -> None:
    forwarder = Forwarder(internet)
    asking = ensure_deferred(forwarder.forward(Query("alice", ("two",))))
    internet.advance()
    asking.cancel()
    asking.add_errback(lambda error: None)
    internet.advance()
    assert internet.transports[0].lost
    assert len(internet.asked) == 1
    assert internet.next_time() is None
