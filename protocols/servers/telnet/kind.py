"""The server kind `telnet`, and the service that others may have beside theirs."""

from __future__ import annotations

import typing

from portable.accounts import Accounts, account_options
from portable.attempts import LoginAttempts
from portable.errors import ConfigurationError
from portable.listening import listening_options, server_ports
from portable.options import Kind, Option
from portable.running import streams
from portable.running.calling import LoopCaller
from portable.service import PortService
from protocols.console.runner import Slots
from protocols.servers.telnet.login import Login
from protocols.servers.telnet.shell import Shell
from protocols.telnet.server import TelnetServer

if typing.TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from portable.deferred import Deferred
    from portable.listener import ServerPort
    from portable.protocol import ProtocolFactory
    from portable.reactor import Reactor
    from portable.service import Service

    # Makes the ports from their name and what serves their connections.
    MakePorts = Callable[[ProtocolFactory], Sequence[ServerPort]]

__all__ = ["KIND", "TelnetService", "make_service"]

DEFAULT_PORT = 4040


class TelnetService(PortService):
    """Python consoles on any number of ports.

    In the namespace are `reactor`, `service`, and `on_loop`: `on_loop(function, ...)` calls in the reactor's
    thread, where everything else of the process lives, and returns the result.

    Args:
        make_ports: called with what makes a connection's protocol.
        accounts: who may log in.
        names: more for the namespace; may include "service". Looked at when a namespace is made.
        shared: one namespace for all sessions, instead of one for each.
        in_thread: run statements in threads; else on the loop (see `protocols.console.runner`).
    """

    def __init__(
        self,
        make_ports: MakePorts,
        accounts: Accounts,
        *,
        names: Mapping[str, typing.Any] | None = None,
        shared: bool = False,
        in_thread: bool = True,
    ) -> None:
        super().__init__(KIND.name, make_ports(self._make_protocol))
        self._accounts = accounts
        self._names = {} if names is None else names
        self._in_thread = in_thread
        self._shared: dict[str, typing.Any] | None = {} if shared else None
        self._slots = Slots()
        self._terminals: set[TelnetServer] = set()
        self._login: Login | None = None
        self._on_loop: LoopCaller | None = None
        self._streams_installed = False

    def bind(self, reactor: Reactor) -> None:
        """See `Service.bind`. Reads the file of accounts too."""
        self._accounts.load()
        self._login = Login(reactor, self._accounts, LoginAttempts(reactor))
        super().bind(reactor)

    def start(self) -> None:
        """See `Service.start`."""
        if self.reactor is not None:
            self._on_loop = LoopCaller(self.reactor)
        streams.install()
        self._streams_installed = True
        super().start()

    def stop(self, seconds: float) -> Deferred[None]:
        """See `Service.stop`."""
        return super().stop(seconds).add_both(self._uninstall_streams)

    def reload(self) -> bool:
        """See `Service.reload`. Reads the file of accounts again."""
        complete = super().reload()
        self._accounts.load()
        return complete

    def terminals(self) -> list[TelnetServer]:
        """Return the terminals that are connected, in no order. In the reactor's thread."""
        return list(self._terminals)

    def _uninstall_streams(self, result: None) -> None:
        if self._streams_installed:
            self._streams_installed = False
            streams.uninstall()
        return result

    def _make_protocol(self) -> TelnetServer:
        return TelnetServer(self._make_shell)

    def _make_shell(self, terminal: TelnetServer) -> Shell:
        reactor, login = self.reactor, self._login
        if reactor is None or login is None:
            raise AssertionError("a connection before bind")
        namespace = self._new_namespace() if self._shared is None else self._shared
        if not namespace:
            namespace.update(self._new_namespace())
        self._terminals.add(terminal)
        return Shell(
            terminal,
            reactor,
            login,
            namespace,
            self._slots,
            in_thread=self._in_thread,
            closed=lambda: self._terminals.discard(terminal),
        )

    def _new_namespace(self) -> dict[str, typing.Any]:
        names = {
            "__name__": "__console__",
            "__doc__": None,
            "reactor": self.reactor,
            "service": self,
            "on_loop": self._on_loop,
        }
        names.update(self._names)
        return names


def make_service(values: Mapping[str, typing.Any]) -> Service:
    """Return the service for checked values. Opens nothing.

    Raises:
        ConfigurationError: nobody could log in.
    """

    def make_ports(factory: ProtocolFactory) -> Sequence[ServerPort]:
        return server_ports(values, KIND.name, factory)

    return TelnetService(
        make_ports, _accounts(values), shared=values["shared"], in_thread=values["run-in"] == "thread"
    )


def _accounts(values: Mapping[str, typing.Any]) -> Accounts:
    """Return who may log in.

    Raises:
        ConfigurationError: nobody, or half an account.
    """
    name, password = values["username"], values["password"]
    if (name is None) != (password is None):
        given, missing = ("username", "password") if password is None else ("password", "username")
        raise ConfigurationError(f"needs --{missing}, too", f"--{given}")
    lines = [*values["user"], *([] if name is None else [f"{name}:{password}"])]
    if not lines and values["passwords"] is None:
        raise ConfigurationError(
            "a console is for people with an account: give --username and --password, --user or --passwords"
        )
    return Accounts(lines, values["passwords"])


def _check_accounts(values: Mapping[str, typing.Any]) -> None:
    """Refuse a file of accounts that cannot be used."""
    _accounts(values).load()


KIND = Kind(
    name="telnet",
    version=1,
    summary="a Python console inside the server's process, by telnet, for people with an account",
    options=(
        Option("username", "str", None, "somebody who may log in, with --password", short="u", metavar="NAME"),
        Option("password", "password", None, "goes with --username", short="w", secret=True),
        *account_options(),
        Option("shared", "bool", False, "one namespace for all sessions, instead of one for each"),
        Option(
            "run-in",
            "choice",
            "thread",
            "where statements run: in threads, and the server goes on whatever they do, or on its own loop, "
            "so that nothing changes while they look at it",
            choices=("thread", "loop"),
        ),
        *listening_options(DEFAULT_PORT, default_interface="127.0.0.1"),
    ),
    make_service=make_service,
    check=_check_accounts,
)
