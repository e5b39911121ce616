"""A console on a reactor, and our own client at its other end."""

from __future__ import annotations

import contextlib
import typing

from portable.accounts import Accounts
from portable.endpoints import TCPEndpoint
from portable.listener import ListenerOptions, ServerPort
from portable.passwords import hash_password
from portable.testing import wait_for, wait_until
from protocols.servers.telnet import TelnetService
from protocols.telnet.client import TelnetClient

if typing.TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from portable.protocol import ProtocolFactory
    from portable.reactor import Reactor

__all__ = ["ACCOUNT", "Console", "Person", "console"]

ACCOUNT = f"me:{hash_password('secret')}"
GREETING = "^D ends the session.\r\n>>> "


class Person:
    """Somebody at our client: types, and waits for what is shown."""

    def __init__(self, reactor: Reactor, port: int) -> None:
        self._reactor = reactor
        self.text = ""
        self.ends: list[Exception | None] = []
        self._seen = 0
        self.client = TelnetClient(self._show, self.ends.append)
        connected = reactor.connect(lambda: self.client, "127.0.0.1", port)
        wait_for(reactor, connected)

    def _show(self, text: str) -> None:
        self.text += text

    def wait(self, text: str, seconds: float = 20) -> str:
        """Wait until `text` is shown, and return what was up to it since the last wait."""
        wait_until(
            self._reactor, lambda: text in self.text[self._seen :], seconds, f"{text!r} in {self.text[-300:]!r}"
        )
        end = self.text.index(text, self._seen) + len(text)
        shown = self.text[self._seen : end]
        self._seen = end
        return shown

    def type(self, line: str) -> None:
        self.client.send(line + "\r")

    def say(self, line: str, until: str = "\r\n>>> ") -> str:
        """Type a line; what comes of it, without the line itself and the prompt."""
        self.type(line)
        return (
            self.wait(until)
            .removeprefix(line + "\r\n")
            .removesuffix(until.lstrip("\r\n"))
            .replace("\r\n", "\n")
        )

    def log_in(self, name: str = "me", password: str = "secret") -> Person:
        self.wait("login: ")
        self.type(name)
        self.wait("password: ")
        self.type(password)
        self.wait(GREETING)
        return self

    def wait_for_end(self, seconds: float = 20) -> None:
        wait_until(self._reactor, lambda: self.ends, seconds, f"the end, after {self.text[-300:]!r}")


class Console:
    """A running service."""

    def __init__(self, reactor: Reactor, lines: Sequence[str] = (ACCOUNT,), **options: typing.Any) -> None:
        self.reactor = reactor
        self.service = TelnetService(self._make_ports, Accounts(lines), **options)
        self.service.bind(reactor)
        self.service.start()

    def _make_ports(self, factory: ProtocolFactory) -> list[ServerPort]:
        return [ServerPort("telnet", factory, TCPEndpoint(0, "127.0.0.1"), ListenerOptions())]

    @property
    def port(self) -> int:
        return int(self.service.addresses()[0].rpartition(":")[2])

    def person(self) -> Person:
        return Person(self.reactor, self.port)

    def stop(self, seconds: float = 5) -> None:
        wait_for(self.reactor, self.service.stop(seconds))


@contextlib.contextmanager
def console(reactor: Reactor, lines: Sequence[str] = (ACCOUNT,), **options: typing.Any) -> Iterator[Console]:
    """Yield a console, and stop it."""
    made = Console(reactor, lines, **options)
    try:
        yield made
    finally:
        made.stop(0)
