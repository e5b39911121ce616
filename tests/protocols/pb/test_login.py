"""Logging in: ours, Twisted's server, Twisted's client."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from portable.attempts import MAX_FAILURES, LoginAttempts
from portable.testing import ManualClock, connect_in_memory, wait_for, wait_until
from protocols.pb import Broker, InsecureJelly, Referenceable, RemoteError, RemoteReference
from protocols.pb.login import LoginRoot, log_in, log_in_anonymously, password_key

if TYPE_CHECKING:
    from portable.clock import Clock
    from portable.deferred import Deferred
    from portable.reactor import Reactor

PROGRAM = Path(__file__).with_name("twisted_peer.py")
UNAUTHORIZED = "twisted.cred.error.UnauthorizedLogin"
KEYS = {"alice": password_key(b"secret"), "b\u00f6b": password_key(b"")}


class Avatar(Referenceable):
    def __init__(self, name: str, mind: Any) -> None:
        self.name = name or "anonymous"
        self.mind = mind

    def remote_whoami(self) -> str:
        return self.name

    def remote_ask_mind(self, number: int) -> Any:
        return self.mind.call_remote("add", number)


class Mind(Referenceable):
    def remote_add(self, number: int) -> int:
        return number + 1


def make_server(clock: Clock, attempts: LoginAttempts, anonymous: bool = True) -> Broker:
    brokers: list[Broker] = []
    root = LoginRoot(clock, KEYS.get, Avatar, attempts, lambda: brokers[0].peer, anonymous=anonymous)
    brokers.append(Broker(clock, root=root))
    return brokers[0]


class Door:
    """A server of ours, and a client of ours, over memory."""

    def __init__(self, anonymous: bool = True) -> None:
        self.clock = ManualClock()
        self.attempts = LoginAttempts(self.clock)
        self.client = Broker(self.clock, client=True)
        server = make_server(self.clock, self.attempts, anonymous)
        self.link = connect_in_memory(self.client, server, self.clock)

    def result(self, deferred: Deferred[Any]) -> list[Any]:
        got: list[Any] = []
        deferred.add_callbacks(got.append, got.append)
        self.link.flush()
        return got

    def log_in(self, name: str, password: bytes) -> list[Any]:
        return self.result(log_in(self.client.remote_root, name, password, Mind()))


@pytest.mark.parametrize(("name", "password"), [("alice", b"secret"), ("b\u00f6b", b"")])
def test_a_right_password(name: str, password: bytes) -> None:
    door = Door()
    [avatar] = door.log_in(name, password)
    assert isinstance(avatar, RemoteReference)
    assert door.result(avatar.call_remote("whoami")) == [name]
    assert door.result(avatar.call_remote("ask_mind", 4)) == [5]


@pytest.mark.parametrize(
    ("name", "password"), [("alice", b"wrong"), ("nobody", b""), ("", b""), ("x" * 300, b"")]
)
def test_wrong_ones_wait_and_look_alike(name: str, password: bytes) -> None:
    door = Door()
    got = door.log_in(name, password)
    if len(name) <= 256:
        assert got == []
        door.clock.advance(1)
        door.link.flush()
    [error] = got
    assert isinstance(error, RemoteError)
    assert error.check(UNAUTHORIZED)


def test_guessing_is_refused_in_the_end() -> None:
    door = Door()
    for _ in range(MAX_FAILURES):
        door.log_in("alice", b"guess")
    [error] = door.log_in("alice", b"secret")
    assert error.text == "too many failures"
    door.link.reset()
    assert door.clock.next_time() is None


def test_a_challenge_is_good_once() -> None:
    door = Door()
    [(challenge, challenger)] = door.result(door.client.remote_root.call_remote("login", "alice"))
    assert len(challenge) == 16
    for proof in (None, "text", b"", b"x" * 16):
        [(_, other)] = door.result(door.client.remote_root.call_remote("login", "alice"))
        assert door.result(other.call_remote("respond", proof, None)) == []
    door.result(challenger.call_remote("respond", b"", None))
    [error] = door.result(challenger.call_remote("respond", b"", None))
    assert error.text == "a challenge is good for one answer"
    [error] = door.result(door.client.remote_root.call_remote("login", 5))
    assert error.check(UNAUTHORIZED)


def test_anybody() -> None:
    door = Door()
    [avatar] = door.result(log_in_anonymously(door.client.remote_root))
    assert door.result(avatar.call_remote("whoami")) == ["anonymous"]
    closed = Door(anonymous=False)
    [error] = closed.result(log_in_anonymously(closed.client.remote_root))
    assert error.check(UNAUTHORIZED)


class Liar(Referenceable):
    """A server that answers nonsense."""

    def __init__(self, *offers: Any) -> None:
        self.offer = offers[0]

    def remote_login(self, name: bytes) -> Any:
        return self.offer

    def remote_respond(self, proof: bytes, mind: object) -> Any:
        return 5

    def remote_loginAnonymous(self, mind: object) -> Any:
        return 5


@pytest.mark.parametrize(
    "offer", [None, (1,), (b"challenge", b"challenger"), (5, Liar(None)), (b"challenge", Liar(None))]
)
def test_servers_that_answer_nonsense(offer: Any) -> None:
    clock = ManualClock()
    client = Broker(clock, client=True)
    link = connect_in_memory(client, Broker(clock, root=Liar(offer)), clock)
    got: list[Any] = []
    log_in(client.remote_root, "alice", b"secret").add_errback(got.append)
    log_in_anonymously(client.remote_root).add_errback(got.append)
    link.flush()
    assert [type(error) for error in got] == [InsecureJelly, InsecureJelly]


@pytest.fixture
def in_folder() -> Any:
    folder = tempfile.mkdtemp(prefix="pb", dir="/tmp")
    yield f"{folder}/socket"
    shutil.rmtree(folder)


def peer(role: str, path: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, str(PROGRAM), role, path], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )


def test_twisteds_server(reactor: Reactor, in_folder: str) -> None:
    with peer("portal", in_folder) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"READY\n"
        broker = wait_for(reactor, reactor.connect_unix(lambda: Broker(reactor, client=True), in_folder))
        avatar = wait_for(reactor, log_in(broker.remote_root, "alice", b"secret", Mind()))
        assert wait_for(reactor, avatar.call_remote("whoami")) == "alice"
        assert wait_for(reactor, avatar.call_remote("ask_mind", 4)) == 5
        with pytest.raises(RemoteError) as caught:
            wait_for(reactor, log_in(broker.remote_root, "alice", b"wrong"))
        assert caught.value.check(UNAUTHORIZED)
        anybody = wait_for(reactor, log_in_anonymously(broker.remote_root))
        assert wait_for(reactor, anybody.call_remote("whoami")) == "anonymous"
        process.kill()
        wait_until(reactor, lambda: not broker.connected)


def test_twisteds_client(reactor: Reactor, in_folder: str) -> None:
    attempts = LoginAttempts(reactor)
    listener = reactor.listen_unix(lambda: make_server(reactor, attempts), in_folder)
    with peer("login", in_folder) as process:
        wait_until(reactor, lambda: process.poll() is not None, 20, "the end of Twisted's client")
        assert process.stdout is not None
        said = process.stdout.read().decode().splitlines()
    listener.close()
    assert said == ["whoami alice", "mind 5", f"refused {UNAUTHORIZED}", "whoami anonymous"]
