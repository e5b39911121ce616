"""Who may use the proxy, and what is written down about it."""

from __future__ import annotations

import dataclasses
import re
import typing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portable.accounts import Accounts
from portable.attempts import MAX_FAILURES
from portable.deferred import Deferred, succeed
from portable.testing import ManualClock, MemoryTransport
from portable.transport import Address
from protocols.servers.socks.trafficlog import TrafficLog, traffic_line
from protocols.servers.socks.users import PasswordCheck, UserCheck
from protocols.socks.messages import Outcome, Refused
from protocols.socks.proxy import Record

if typing.TYPE_CHECKING:
    import pathlib
    from collections.abc import Callable

PEER = Address("192.0.2.9", 40000)
HERE = Address("192.0.2.1", 1080)
RECORD = Record(
    peer=PEER,
    started=971211336.9,
    duration=0.3119,
    version="4a",
    command=1,
    host="example.com",
    port=80,
    user="alice",
    identified=False,
    address=Address("1.2.3.4", 80),
    code=90,
    sent=78,
    received=2326,
    result="ok",
)
# As readers of the Common Log Format take a line apart, and the rest of ours.
LINE = re.compile(
    r'(\S+) (\S+) (\S+) \[([^]]+)\] "((?:[^"\\]|\\.)*)" (\S+) ([0-9]+) ([0-9]+) '
    r'([0-9.]+) (\S+) "((?:[^"\\]|\\.)*)"'
)


class Threads(ManualClock):
    """A clock whose threads are quick."""

    def run_in_thread(self, function: Callable[..., typing.Any], *args: object) -> Deferred[typing.Any]:
        return succeed(function(*args))


class BusyThreads(ManualClock):
    """A clock whose threads never come to it."""

    def run_in_thread(self, function: Callable[..., typing.Any], *args: object) -> Deferred[typing.Any]:
        return Deferred()


def outcome(deferred: Deferred[bool]) -> list[object]:
    """Return what there is of a result."""
    seen: list[object] = []
    deferred.add_callbacks(seen.append, seen.append)
    return seen


def test_guessing_passwords_is_slow_and_comes_to_an_end() -> None:
    clock = Threads()
    check = PasswordCheck(typing.cast("typing.Any", clock), Accounts(["alice:secret"]))
    assert outcome(check(PEER, b"alice", b"secret")) == [True]
    first = outcome(check(PEER, b"alice", b"guess"))
    clock.advance(0.9)
    assert first == []
    clock.advance(0.1)
    assert first == [False]
    assert outcome(check(PEER, b"\xff", b"\xff")) == []
    for _ in range(MAX_FAILURES):
        check._attempts.failed(PEER)
    # Not even the right one any more.
    assert outcome(check(PEER, b"alice", b"secret")) == [False]
    assert outcome(check(Address("192.0.2.10", 1), b"alice", b"secret")) == [True]


def test_a_client_that_does_not_wait_for_the_answer() -> None:
    clock = Threads()
    check = PasswordCheck(typing.cast("typing.Any", clock), Accounts(["alice:secret"]))
    checking = check(PEER, b"alice", b"guess")
    checking.add_errback(lambda _: None)
    checking.cancel()
    assert clock.next_time() is None


def test_a_client_that_does_not_wait_for_the_check_is_refused_in_the_end() -> None:
    """Checks are dear; it could otherwise have us make them without end."""
    clock = BusyThreads()
    check = PasswordCheck(typing.cast("typing.Any", clock), Accounts(["alice:secret"]))
    for _ in range(MAX_FAILURES):
        checking = check(PEER, b"alice", b"guess")
        checking.add_errback(lambda _: None)
        checking.cancel()
    assert outcome(check(PEER, b"alice", b"secret")) == [False]


def refusal(check: UserCheck, peer: Address | str, user: str) -> Outcome:
    (error,) = outcome(check(peer, HERE, user))
    assert isinstance(error, Refused)
    return error.outcome


class Identd(Threads):
    """Answers every question with the same line."""

    def __init__(self, says: bytes) -> None:
        super().__init__()
        self._says = says
        self.asked_from: list[str] = []

    def connect(
        self, factory: Callable[[], typing.Any], host: str, port: int, *, timeout: float, local_host: str
    ) -> Deferred[typing.Any]:
        assert (host, port) == (PEER.host, 113)
        self.asked_from.append(local_host)
        protocol = factory()
        transport = MemoryTransport(protocol, self)
        self.call_soon(transport.receive, self._says)
        return succeed(protocol)


@pytest.mark.parametrize(
    ("says", "told"),
    [
        (b"40000, 1080 : ERROR : HIDDEN-USER\r\n", Outcome.NO_IDENT),
        (b"40000, 1081 : USERID : UNIX : fred\r\n", Outcome.NO_IDENT),
        (b"40000, 1080 : USERID : UNIX : root\r\n", Outcome.WRONG_USER),
    ],
)
def test_what_identds_say(says: bytes, told: Outcome) -> None:
    identd = Identd(says)
    check = UserCheck(typing.cast("typing.Any", identd), (), identd=True)
    seen = outcome(check(PEER, HERE, "fred"))
    identd.advance(0)
    (error,) = seen
    assert isinstance(error, Refused)
    assert error.outcome is told
    assert identd.asked_from == [HERE.host]


def test_who_cannot_be_asked_about() -> None:
    check = UserCheck(typing.cast("typing.Any", Threads()), ("fred",), identd=True)
    assert refusal(check, "/run/socks.sock", "fred") is Outcome.NO_IDENT
    assert refusal(check, PEER, "mallory") is Outcome.FORBIDDEN


def test_the_line_of_the_documentation() -> None:
    assert traffic_line(RECORD) == (
        '192.0.2.9 - alice [10/Oct/2000:20:55:36 +0000] "CONNECT example.com:80 SOCKS4a" 90 2326 78 0.312 '
        '1.2.3.4:80 "ok"'
    )


def test_what_is_missing_is_a_hyphen(tmp_path: pathlib.Path) -> None:
    nothing = dataclasses.replace(
        RECORD, peer=None, version="", user="", address=None, code=None, result="left"
    )
    log = TrafficLog(str(tmp_path / "log"))
    log(nothing)
    log(dataclasses.replace(RECORD, command=9, identified=True, host="::1"))
    log.close()
    first, second = (tmp_path / "log").read_text().splitlines()
    assert first == '- - - [10/Oct/2000:20:55:36 +0000] "-" - 2326 78 0.312 - "left"'
    assert second.startswith("192.0.2.9 alice alice [10/Oct/2000:20:55:36 +0000] ")
    assert '"9 [::1]:80 SOCKS4a" 90' in second


@given(st.text(), st.text(), st.text())
def test_no_client_can_forge_a_line_or_a_field(user: str, host: str, result: str) -> None:
    line = traffic_line(dataclasses.replace(RECORD, user=user, host=host, result=result))
    assert re.fullmatch("[ -~]*", line)
    match = LINE.fullmatch(line)
    assert match is not None
    assert match.group(6, 7, 8) == ("90", "2326", "78")
