"""A relay in this process, and users whose home folders are made for the test."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from portable.endpoints import TCPEndpoint
from portable.listener import ListenerOptions, ServerPort
from portable.systemusers import SystemUser
from portable.testing import wait_for, wait_until
from protocols.http.server import Limits, Site
from protocols.servers.web.distributed.publisher import publishing_broker
from protocols.servers.web.distributed.relay import Relay
from protocols.servers.web.distributed.users import PAGES, SOCKET, UserDirectory
from protocols.servers.web.static import StaticFolder
from tests.protocols.servers.web.programs import Finished, run_program

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from portable.reactor import Listener, Reactor
    from protocols.http.resource import Resource

__all__ = ["Town", "TwistedProgram", "short_folder"]

PROGRAM = Path(__file__).with_name("twisted_web.py")


def short_folder() -> str:
    """Return a new folder with a name short enough for the path of a socket."""
    return tempfile.mkdtemp(prefix="town", dir="/tmp")


class TwistedProgram:
    """One of the programs of twisted_web.py, killed at the end."""

    def __init__(self, *words: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(PROGRAM), *words], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert self.process.stdout is not None
        self.said = self.process.stdout.readline().decode().split()
        assert self.said[:1] == ["READY"], self.said

    def kill(self) -> None:
        """End it at once."""
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        """End it, and close what it left."""
        self.kill()
        if self.process.stdout is not None:
            self.process.stdout.close()


class Town:
    """Users with home folders, a relay that serves them, publishers, and programs that ask."""

    def __init__(self, reactor: Reactor, *, silence: float = 20.0) -> None:
        self.reactor = reactor
        self.homes = short_folder()
        self.users: dict[str, SystemUser] = {}
        self.listeners: list[Listener] = []
        self.programs: list[TwistedProgram] = []
        self.directory = UserDirectory(_folder, self.users.get)
        self.directory.start(reactor)
        self.directory.relay = Relay(reactor, silence=silence)
        # A client that is gone and one that only ended its sending look alike for so long.
        site = Site(self.directory, clock=reactor, limits=Limits(half_closed_timeout=0.5))
        self.port = ServerPort("web", site, TCPEndpoint(0, "127.0.0.1"), ListenerOptions())
        self.port.bind(reactor)
        self.port.start()

    def add(self, login: str, uid: int | None = None) -> Path:
        """Make a user with a folder of pages, and return the home folder."""
        home = Path(self.homes, login)
        (home / PAGES).mkdir(parents=True)
        home.chmod(0o755)
        self.users[login] = SystemUser(login, os.getuid() if uid is None else uid, str(home), "")
        return home

    def socket(self, login: str) -> str:
        """Return the path of the user's socket."""
        return str(Path(self.homes, login, SOCKET))

    def publish(self, login: str, resource: Resource, **options: Any) -> Site:
        """Have our publisher serve a user's resource in this process."""
        site = Site(resource, clock=self.reactor, **options)
        listener = self.reactor.listen_unix(
            lambda: publishing_broker(site, self.reactor), self.socket(login), mode=0o600
        )
        self.listeners.append(listener)
        return site

    def twisted(self, *words: str) -> TwistedProgram:
        """Start a program of Twisted's."""
        program = TwistedProgram(*words)
        self.programs.append(program)
        return program

    def url(self, path: str) -> str:
        """Return a URL of the relay."""
        return f"http://{self.port.address}{path}"

    def together(
        self,
        *commands: Sequence[str],
        when: Callable[[], bool] | None = None,
        then: Callable[[], object] = lambda: None,
    ) -> list[Finished]:
        """Run programs at one time while the loop turns. When it is so, do that."""
        results: list[Finished | None] = [None] * len(commands)

        def work(place: int) -> None:
            results[place] = run_program(commands[place])

        threads = [threading.Thread(target=work, args=(place,)) for place in range(len(commands))]
        for thread in threads:
            thread.start()
        try:
            if when is not None:
                wait_until(self.reactor, when, 20)
                then()
            wait_until(self.reactor, lambda: None not in results, 40, "the end of the programs")
        finally:
            for thread in threads:
                thread.join()
        return [result for result in results if result is not None]

    def curl(
        self,
        path: str,
        *words: str,
        when: Callable[[], bool] | None = None,
        then: Callable[[], object] = lambda: None,
    ) -> Finished:
        """Run curl with the head of the answer in its output; `path` may be a whole URL."""
        return self.together(self.curl_words(path, *words), when=when, then=then)[0]

    def curl_words(self, path: str, *words: str) -> tuple[str, ...]:
        """Return the words of that command."""
        url = path if path.startswith("http:") else self.url(path)
        return ("curl", "-sS", "-i", "--max-time", "20", "--path-as-is", "-H", "Expect:", *words, url)

    def close(self) -> None:
        """End everything."""
        for program in self.programs:
            program.close()
        for listener in self.listeners:
            listener.close()
        wait_for(self.reactor, self.port.drain(5))
        shutil.rmtree(self.homes)


def _folder(root: str, opener: Any) -> StaticFolder:
    return StaticFolder(root, opener=opener)
