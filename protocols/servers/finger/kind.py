"""The server kind `finger`: tells who the users of a file, or of this machine, are."""

from __future__ import annotations

import os
import typing

from portable.errors import CapabilityMissing, ConfigurationError
from portable.listening import listening_options, server_ports
from portable.options import Kind, Option
from portable.service import PortService
from portable.systemusers import require_system_users
from protocols.finger import PORT, FingerServer
from protocols.servers.finger.answers import Answers
from protocols.servers.finger.forwarding import Forwarder
from protocols.servers.finger.system import SystemUsers
from protocols.servers.finger.users import FileUsers

if typing.TYPE_CHECKING:
    from portable.reactor import Reactor
    from portable.service import Service

__all__ = ["KIND", "make_service"]

# Where those below 1024 are not ours to bind.
UNPRIVILEGED_PORT = 10_079


class FingerService(PortService):
    """Answers from one source of users.

    Args:
        values: the checked values of the options.
    """

    def __init__(self, values: typing.Mapping[str, typing.Any]) -> None:
        super().__init__(KIND.name, server_ports(values, KIND.name, self._make_protocol))
        self._file = None if values["users"] is None else FileUsers(values["users"])
        self._list: bool = values["list"]
        self._forwarding: bool = values["forwarding"]
        self._networks: tuple[str, ...] = values["forward-to"]
        self._answers: Answers | None = None

    def bind(self, reactor: Reactor) -> None:
        """See `Service.bind`. Reads the file of users too, which may be root's."""
        if self._file is not None:
            self._file.load()
        self._answers = Answers(
            SystemUsers(reactor) if self._file is None else self._file,
            self._file.everybody if self._file is not None and self._list else None,
            Forwarder(reactor, self._networks).forward if self._forwarding else None,
        )
        super().bind(reactor)

    def reload(self) -> bool:
        """See `Service.reload`. Reads the file of users again."""
        complete = super().reload()
        if self._file is not None:
            self._file.load()
        return complete

    def _make_protocol(self) -> FingerServer:
        if self._answers is None or self.reactor is None:
            raise AssertionError("a connection before bind")
        return FingerServer(self._answers.answer, self.reactor)


def make_service(values: typing.Mapping[str, typing.Any]) -> Service:
    """Return the service for checked values. Opens nothing.

    Raises:
        ConfigurationError: the options do not go together.
    """
    _check(values)
    if values["port"] is None and not values["listen"]:
        is_root = hasattr(os, "geteuid") and os.geteuid() == 0
        values = {**values, "port": PORT if is_root else UNPRIVILEGED_PORT}
    return FingerService(values)


def _check_users(values: typing.Mapping[str, typing.Any]) -> None:
    """Refuse a file that cannot be used, and a system that has no users."""
    if values["users"] is not None:
        FileUsers(values["users"]).load()
        return
    try:
        require_system_users()
    except CapabilityMissing as error:
        raise ConfigurationError(str(error), "--system") from error


def _check(values: typing.Mapping[str, typing.Any]) -> None:
    """Refuse options that have no meaning together."""
    if (values["users"] is None) is not values["system"]:
        raise ConfigurationError("give either --users FILE, or --system for the users of this machine")
    if values["system"] and values["list"]:
        raise ConfigurationError("goes with --users: accounts of this machine are not listed", "--list")
    if values["forward-to"] and not values["forwarding"]:
        raise ConfigurationError("goes with --forwarding", "--forward-to")


_PORT = Option(
    "port",
    "port",
    None,
    f"TCP port; when not given, {PORT} for root and {UNPRIVILEGED_PORT} for others; 0 for any free one",
    short="p",
)

KIND = Kind(
    name="finger",
    version=1,
    summary="who somebody is, by finger, from a file or from the accounts of this machine",
    options=(
        Option(
            "users",
            "path",
            None,
            "file of users, in TOML, or JSON if it is named .json: for each a table such as [tom] with the "
            "texts name (which is needed), office, phone, project and plan",
            must_exist=True,
        ),
        Option("system", "bool", False, "answer for the users of this machine, with their .plan and .project"),
        Option("list", "bool", False, "tell everybody in --users when nobody is asked for"),
        Option("forwarding", "bool", False, "pass user@host on to that host, if its address is public"),
        Option(
            "forward-to",
            "network",
            (),
            "with --forwarding, also to hosts in this network",
            repeatable=True,
        ),
        _PORT,
        *[option for option in listening_options(0, idle_timeout=120.0) if option.name != "port"],
    ),
    make_service=make_service,
    check=_check_users,
)
