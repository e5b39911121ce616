"""Who somebody is, from a file of users and from the accounts of this machine."""

from __future__ import annotations

import os
import socket
import threading
import typing

from ci.acceptance.model import Client, Port, Server
from ci.acceptance.stage import read_all

if typing.TYPE_CHECKING:
    from collections.abc import Callable

    from ci.acceptance.model import Workshop
    from ci.acceptance.stage import Stage

__all__ = ["SERVERS"]

_USERS = """
[alice]
name = "Alice Liddell"
office = "Deanery"
phone = "+44 1865 276150"
project = "Down the rabbit hole"
plan = "Tea.\\nNo \\u001b]0;title\\u0007, no \\u202Esecret.\\nGr\\u00fc\\u00dfe \\u2603"

[hatter]
name = "The Hatter"
"""

# Debian's finger asks port 79 and no other: we listen there, on a loopback address of our own.
_OURS = f"127.79.{os.getpid() // 250 % 250}.{os.getpid() % 250 + 1}"


def _prepare(shop: Workshop) -> list[list[str]]:
    shop.write("users.toml", _USERS.encode())
    return [["finger", "--users", "users.toml", "--list", "--port", "0", "--interface", "127.0.0.1"]]


def _prepare_system(_shop: Workshop) -> list[list[str]]:
    return [["finger", "--system", "--port", "0", "--interface", "127.0.0.1"]]


def _ask(query: bytes, beginning: bytes, half_close: bool = False) -> Callable[[Stage], None]:
    """Return a client: this query, whose answer must begin so."""

    def run(stage: Stage) -> None:
        answer = stage.ask("finger", query, half_close)
        stage.check(answer.startswith(beginning), f"got {answer[:80]!r}")
        stage.check(not any(byte < 9 or byte == 27 for byte in answer), "a control character came through")

    return run


def _nc(stage: Stage) -> None:
    stage.run("nc", "-N", "-w", "5", "127.0.0.1", str(stage.port("finger")), typed=b"alice\n")


def _debian(beginning: bytes, *words: str) -> Callable[[Stage], None]:
    """Return a client: Debian's finger with these words, to the last of which the host is added."""

    def run(stage: Stage) -> None:
        with socket.create_server((_OURS, 79)) as listener:
            passing = threading.Thread(target=_pass_on, args=(listener, stage))
            passing.start()
            output = stage.run("finger", *words[:-1], f"{words[-1]}@{_OURS}")
            passing.join()
        stage.check(output.startswith(beginning), f"got {output[:80]!r}")

    return run


def _pass_on(listener: socket.socket, stage: Stage) -> None:
    connection, _ = listener.accept()
    with connection:
        query = b""
        while not query.endswith(b"\n"):
            query += connection.recv(600)
        connection.sendall(stage.ask("finger", query))


def _stop(stage: Stage) -> None:
    idle = stage.connect("finger")
    idle.sendall(b"ali")
    stage.ask("finger", b"hatter\r\n")
    stage.terminate()
    stage.check(read_all(idle) == b"", "half a query was answered")


_DEBIAN = (
    Client("finger: alice", _debian(b"Login: alice\n", "alice")),
    Client("finger -l: alice", _debian(b"Login: alice\n", "-l", "alice")),
    Client("finger: everybody", _debian(b"alice   Alice Liddell\n", "")),
    Client("finger: relay refused", _debian(b"Finger forwarding service denied\n", "alice@localhost")),
)

SERVERS = (
    Server(
        name="finger",
        kind="finger",
        prepare=_prepare,
        ports=(Port("finger", "tcp", "finger"),),
        look="Run: printf 'alice\\n' | nc -N HOST PORT with the address {finger}.",
        clients=(
            Client(
                "python: alice", _ask(b"alice\r\n", b"Login: alice\r\nName: Alice Liddell\r\nPlan:\r\nTea.\r\n")
            ),
            Client(
                "python: /W alice", _ask(b"/W alice\r\n", b"Login: alice\r\nName: Alice Liddell\r\nOffice: ")
            ),
            Client("python: half-closed", _ask(b"hatter\n", b"Login: hatter\r\n", half_close=True)),
            Client("python: nobody", _ask(b"queen\r\n", b"queen: no such user\r\n")),
            Client("python: everybody", _ask(b"\r\n", b"alice   Alice Liddell\r\n")),
            Client("python: forwarding", _ask(b"alice@a@b\r\n", b"Finger forwarding service denied\r\n")),
            Client("python: control character", _ask(b"al\x1bice\r\n", b"A query is one line")),
            Client("python: 513 bytes", _ask(b"x" * 513 + b"\r\n", b"A query is one line")),
            Client("python: no query", _ask(b"alice", b"", half_close=True)),
            Client("nc: alice", _nc),
            # Only root may listen on port 79.
            *(_DEBIAN if os.geteuid() == 0 else ()),
        ),
        ending=Client("SIGTERM with half a query", _stop),
    ),
    Server(
        name="finger-system",
        kind="finger",
        prepare=_prepare_system,
        ports=(Port("finger", "tcp", "finger"),),
        clients=(
            Client("python: root", _ask(b"root\r\n", b"Login: root\r\nName: ")),
            Client("python: nobody", _ask(b"no-such-user\r\n", b"no-such-user: no such user\r\n")),
            Client("python: everybody refused", _ask(b"\r\n", b"Finger online user list denied\r\n")),
        ),
    ),
)
