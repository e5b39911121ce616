"""Signals to a server that is at work, on each reactor that `twistd` knows.

What goes wrong here does so now and then: `pytest --rounds 20` looks for it longer.
"""

from __future__ import annotations

import contextlib
import re
import signal
import threading
import typing

import pytest

from tests.commands.processes import wait_until

if typing.TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

    from tests.commands.processes import Folder

pytestmark = pytest.mark.usefixtures("each_reactor")

CLIENTS = 6
# What is echoed each time: more than the server sends at once, so that it waits for the client, too.
LETTER = b"x" * 300_000

ENDINGS = {
    "SIGTERM": (signal.SIGTERM,),
    "SIGINT": (signal.SIGINT,),
    "SIGINT again": (signal.SIGINT, signal.SIGINT),
}
STOPPED = {
    "SIGTERM": ["stopping: SIGTERM; work in flight has 10 seconds"],
    "SIGINT": ["stopping: SIGINT; work in flight has 10 seconds"],
    "SIGINT again": ["stopping: SIGINT; work in flight has 10 seconds", "stopping at once: SIGINT again"],
}


class Client:
    """Writes and reads without a pause until it is cut off, or, if it is polite, asked to finish.

    Attributes:
        letters: how many came back whole.
        finished: whether the server has closed the connection after our last word.
    """

    def __init__(self, sock: socket.socket, polite: bool) -> None:
        self.letters = 0
        self.finished = False
        self._sock = sock
        self._polite = polite

    def run(self) -> None:
        """Talk; returns when the connection is gone."""
        # Cut off, in the middle of anything.
        with self._sock, contextlib.suppress(ConnectionError):
            asked = False
            while not (asked and self._polite):
                self._sock.sendall(LETTER)
                missing = len(LETTER)
                while missing > 0:
                    data = self._sock.recv(65536)
                    if not data:
                        return
                    asked = asked or b"finish" in data
                    missing -= data.count(b"x")
                self.letters += 1
            self._sock.sendall(b"end")
            while self._sock.recv(65536):
                pass
            self.finished = True


@contextlib.contextmanager
def load(talk: Folder, polite: bool) -> Iterator[list[Client]]:
    """Keep the server at work; ends when the server has closed all connections."""
    clients = [Client(talk.connect(), polite) for _ in range(CLIENTS)]
    threads = [threading.Thread(target=client.run) for client in clients]
    for thread in threads:
        thread.start()
    try:
        wait_until(lambda: all(client.letters for client in clients), "the first echo")
        yield clients
    finally:
        for thread in threads:
            thread.join(20)
    assert not any(thread.is_alive() for thread in threads)


def told(talk: Folder) -> list[str]:
    """Return what twistd has said."""
    said = re.findall(r" twistd: (.*)", talk.read("out"))
    return [line for line in said if not line.startswith(("listening: ", "running as root"))]


@pytest.mark.parametrize("ending", ENDINGS)
def test_signals_under_load(talk: Folder, ending: str, request: pytest.FixtureRequest) -> None:
    """Every one is answered, the process ends with status 0, and nothing has crashed."""
    polite = ending != "SIGINT again"
    for _ in range(request.config.getoption("rounds")):
        process = talk.foreground("-y", "app.py")
        with load(talk, polite) as clients:
            before = [client.letters for client in clients]
            process.send_signal(signal.SIGHUP)
            wait_until(lambda: told(talk) == ["reloaded"], "a reload")
            process.send_signal(signal.SIGUSR1)
            wait_until(lambda: told(talk)[1:] == ["log rotated"], "a rotation")
            wait_until(
                lambda: all(client.letters > count for client, count in zip(clients, before, strict=True)),  # noqa: B023 - at once
                "more echoes",
            )
            first, *others = ENDINGS[ending]
            process.send_signal(first)
            for each in others:
                wait_until(lambda: len(told(talk)) == 3, "the first signal's answer")
                process.send_signal(each)
            assert process.wait(20) == 0, talk.logged()
        assert told(talk) == ["reloaded", "log rotated", *STOPPED[ending], "stopped"]
        assert [client.finished for client in clients] == [polite] * CLIENTS
        assert talk.read("err") == ""
        # A JVM that crashes leaves hs_err_pid*.log, and perhaps a core.
        assert talk.names() == ["app.py", "err", "out"]
