"""The kind `finger` over real sockets: Debian's finger against ours, and ours against Debian's fingerd."""

from __future__ import annotations

import os
import random
import shutil
import socket
import subprocess
import threading
import typing

import pytest

from portable.errors import AddressForbidden, AddressInUse, ConfigurationError
from portable.listener import ServerPort
from portable.options import check_values
from portable.systemusers import SystemUser
from portable.testing import wait_for, wait_until
from portable.transport import Address
from protocols.finger import Query, fetch_finger
from protocols.servers.finger import KIND, make_service, system

if typing.TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from portable.reactor import Reactor
    from portable.service import Service

T = typing.TypeVar("T")

TOML = """
[alice]
name = "Alice Liddell"
office = "Deanery"
plan = "Tea, then croquet.\\nWith \\u001b[31mred\\u001b[0m roses."
"""


class Running:
    """A finger server, and programs that talk to it while the loop turns."""

    def __init__(self, reactor: Reactor, **options: object) -> None:
        values = {name.replace("_", "-"): value for name, value in options.items()}
        self.reactor = reactor
        self.service = make_service(check_values(KIND.options, {"port": 0, "interface": "127.0.0.1", **values}))
        self.service.bind(reactor)
        self.service.start()

    @property
    def address(self) -> Address:
        [port] = self.service.ports()
        assert isinstance(port, ServerPort)
        assert isinstance(port.address, Address)
        return port.address

    def beside(self, function: Callable[[], T]) -> T:
        """Run something that blocks, and return its result."""
        results: list[T] = []
        thread = threading.Thread(target=lambda: results.append(function()))
        thread.start()
        wait_until(self.reactor, lambda: not thread.is_alive(), 20)
        thread.join()
        return results[0]

    def ask(self, query: bytes) -> bytes:
        def run() -> bytes:
            with socket.create_connection(self.address, timeout=10) as client:
                client.sendall(query)
                answer = b""
                while piece := client.recv(65536):
                    answer += piece
                return answer

        return self.beside(run)

    def fetch(self, query: Query) -> str:
        return wait_for(self.reactor, fetch_finger(self.reactor, "127.0.0.1", query, port=self.address.port))

    def stop(self) -> None:
        wait_for(self.reactor, self.service.stop(5))


@pytest.fixture
def users(tmp_path: Path) -> Path:
    path = tmp_path / "users.toml"
    path.write_text(TOML)
    return path


@pytest.fixture
def server(reactor: Reactor, users: Path) -> Iterator[Running]:
    running = Running(reactor, users=str(users), list=True)
    yield running
    running.stop()


def program(name: str, package: str) -> str:
    found = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin")
    if found is None:
        pytest.skip(f"{name} is not installed (Debian: {package})")
    return found


def test_our_client_against_our_server(server: Running) -> None:
    assert server.fetch(Query("alice")) == (
        "Login: alice\nName: Alice Liddell\nPlan:\nTea, then croquet.\nWith ?[31mred?[0m roses.\n"
    )
    assert "Office: Deanery\n" in server.fetch(Query("alice", verbose=True))
    assert server.fetch(Query("")) == "alice  Alice Liddell\n"
    assert server.fetch(Query("bob")) == "bob: no such user\n"


def test_a_query_may_be_a_line_of_nc(server: Running) -> None:
    words = [program("nc", "netcat-openbsd"), "-N", "-w", "5", "127.0.0.1", str(server.address.port)]
    done = server.beside(
        lambda: subprocess.run(words, input=b"alice\n", capture_output=True, check=True, timeout=15)
    )
    assert done.stdout.startswith(b"Login: alice\r\nName: Alice Liddell\r\n")


def test_a_relay_is_refused(server: Running) -> None:
    for query in (b"alice@localhost\r\n", b"alice@a@b\r\n", b"/W @localhost\r\n", b"alice@\r\n"):
        assert server.ask(query) == b"Finger forwarding service denied\r\n"


def test_a_service_that_stops_answers_who_has_asked(reactor: Reactor, users: Path) -> None:
    running = Running(reactor, users=str(users))
    with socket.create_connection(running.address, timeout=10) as idle:
        wait_until(reactor, lambda: running.service.ports()[0].open == 1)  # type: ignore[union-attr]
        running.stop()
        assert idle.recv(100) == b""


def test_users_are_read_again_on_reload(server: Running, users: Path) -> None:
    users.write_text("[bill]\nname = 'Bill'")
    server.service.reload()
    assert server.fetch(Query("")) == "bill  Bill\n"
    users.write_text("[bill]")
    with pytest.raises(ConfigurationError, match="full name"):
        server.service.reload()
    assert server.fetch(Query("")) == "bill  Bill\n"


def test_users_of_this_machine(reactor: Reactor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / ".plan").write_text("Tea.\n")
    (tmp_path / ".plan").chmod(0o644)

    def lookup(login: str) -> SystemUser | None:
        return (
            SystemUser(login, os.getuid(), str(tmp_path), "Alice Liddell,Deanery") if login == "alice" else None
        )

    monkeypatch.setattr(system.SystemUsers.__init__, "__defaults__", (lookup,))
    running = Running(reactor, system=True)
    assert running.fetch(Query("alice")) == "Login: alice\nName: Alice Liddell\nPlan:\nTea.\n"
    assert running.fetch(Query("bob")) == "bob: no such user\n"
    assert running.fetch(Query("")) == "Finger online user list denied\n"
    running.stop()


def test_root_is_a_user_of_this_machine(reactor: Reactor) -> None:
    running = Running(reactor, system=True)
    assert running.fetch(Query("root")).startswith("Login: root\nName: root\n")
    running.stop()


# Debian's programs.


def listening_on_the_port_of_finger(reactor: Reactor, **options: object) -> Running:
    """Return a server on port 79, which is the only one that Debian's finger asks, of an address of its own."""
    while True:
        interface = f"127.{random.randrange(1, 255)}.{random.randrange(256)}.{random.randrange(1, 255)}"
        try:
            return Running(reactor, port=79, interface=interface, **options)
        except AddressInUse:
            continue
        except AddressForbidden:
            pytest.skip("only root may bind port 79 here")


def test_debians_finger_against_ours(reactor: Reactor, users: Path) -> None:
    finger = program("finger", "finger")
    running = listening_on_the_port_of_finger(reactor, users=str(users), list=True)
    host = running.address.host

    def ask(*words: str) -> str:
        done = running.beside(
            lambda: subprocess.run([finger, *words], capture_output=True, text=True, timeout=15, check=True)
        )
        return done.stdout

    assert ask(f"alice@{host}") == (
        "Login: alice\nName: Alice Liddell\nPlan:\nTea, then croquet.\nWith ?[31mred?[0m roses.\n"
    )
    assert "Office: Deanery\n" in ask("-l", f"alice@{host}")
    assert ask(f"@{host}") == "alice  Alice Liddell\n"
    assert ask(f"bob@{host}") == "bob: no such user\n"
    assert ask(f"alice@localhost@{host}") == "Finger forwarding service denied\n"
    running.stop()


class Fingerd:
    """Debian's fingerd, started for each connection as inetd does."""

    def __init__(self) -> None:
        self._program = program("in.fingerd", "fingerd")
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self._stopper: object = None
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            connection, _ = self._socket.accept()
            with connection:
                if connection.getpeername() == self._stopper:
                    return
                subprocess.run(
                    [self._program],
                    stdin=connection.fileno(),
                    stdout=connection.fileno(),
                    stderr=subprocess.DEVNULL,
                    timeout=15,
                    check=False,
                )

    def close(self) -> None:
        with socket.socket() as last:
            last.bind(("127.0.0.1", 0))
            self._stopper = last.getsockname()
            last.connect(("127.0.0.1", self.port))
            self._thread.join(20)
        self._socket.close()


@pytest.fixture
def fingerd() -> Iterator[Fingerd]:
    made = Fingerd()
    yield made
    made.close()


def test_our_client_against_debians_fingerd(reactor: Reactor, fingerd: Fingerd) -> None:
    def fetch(query: Query) -> str:
        return wait_for(reactor, fetch_finger(reactor, "127.0.0.1", query, port=fingerd.port))

    for query in (Query("root"), Query("root", verbose=True)):
        shown = fetch(query)
        assert shown.startswith("Login: root ")
        assert "\nDirectory: /root" in shown
        assert "\r" not in shown
    assert fetch(Query("no-such-user")) == ""
    assert fetch(Query("root", ("localhost",))) == ""


def test_our_server_forwards_to_debians_fingerd(
    reactor: Reactor, users: Path, fingerd: Fingerd, monkeypatch: pytest.MonkeyPatch
) -> None:
    from protocols.servers.finger import forwarding

    monkeypatch.setattr(forwarding.Forwarder.__init__, "__defaults__", ((), fingerd.port))
    running = Running(reactor, users=str(users), forwarding=True, forward_to=("127.0.0.0/8",))
    assert running.fetch(Query("root", ("localhost",))).startswith("Login: root ")
    running.stop()
    running = Running(reactor, users=str(users), forwarding=True)
    assert running.fetch(Query("root", ("localhost",))) == "Finger forwarding to that host is denied.\n"
    running.stop()


# Options.


def service(**options: object) -> Service:
    return make_service(
        check_values(KIND.options, {name.replace("_", "-"): value for name, value in options.items()})
    )


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({}, "either --users FILE, or --system"),
        ({"users": "FILE", "system": True}, "either --users FILE, or --system"),
        ({"system": True, "list": True}, "--list"),
        ({"system": True, "forward_to": ("10.0.0.0/8",)}, "--forward-to"),
    ],
)
def test_options_that_have_no_meaning_together(users: Path, options: dict[str, object], part: str) -> None:
    if options.get("users") == "FILE":
        options = {**options, "users": str(users)}
    with pytest.raises(ConfigurationError, match=part):
        service(**options)


def test_the_file_is_looked_at_apart_because_it_may_lie_in_another_root() -> None:
    values = check_values(KIND.options, {"users": "/no/such/file"})
    make_service(values)
    assert KIND.check is not None
    with pytest.raises(ConfigurationError, match="--users"):
        KIND.check(values)


def test_system_users_where_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("portable.systemusers.pwd", None)
    assert KIND.check is not None
    with pytest.raises(ConfigurationError, match="--system"):
        KIND.check(check_values(KIND.options, {"system": True}))


@pytest.mark.parametrize(("uid", "port"), [(0, 79), (1000, 10_079)])
def test_the_port_depends_on_who_runs_it(monkeypatch: pytest.MonkeyPatch, uid: int, port: int) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    [listening] = service(system=True).ports()
    assert listening.describe().endswith(f":{port}")
    [listening] = service(system=True, listen=("tcp:7979",)).ports()
    assert listening.describe().endswith(":7979")
