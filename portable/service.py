"""Skeleton: final names and signatures."""

from __future__ import annotations

import typing

from portable.listener import DatagramPort, ServerPort

if typing.TYPE_CHECKING:
    from portable.deferred import Deferred
    from portable.reactor import Reactor

__all__ = ["PortService", "Service", "ServiceGroup"]


class Service:
    """Something that is bound, started and stopped. Override what you need."""

    def __init__(self, name: str, children: typing.Sequence[Service] = ()) -> None:
        self.name = name
        self.children = list(children)
        self.reactor: Reactor | None = None  # set by bind

    def bind(self, reactor: Reactor) -> None:
        """Take what needs privileges. All or none."""

    def start(self) -> None:
        """Begin to serve. Called once, after `bind`, in the running process."""

    def stop(self, seconds: float) -> Deferred[None]:
        """Finish within `seconds`."""
        raise NotImplementedError

    def reload(self) -> None:
        """Read certificates again and reopen logs."""

    def addresses(self) -> list[str]:
        """Return the bound addresses: "web tcp 127.0.0.1:8080"."""
        raise NotImplementedError

    def ports(self) -> list[ServerPort | DatagramPort]:
        """Return every port in this tree."""
        raise NotImplementedError


class ServiceGroup(Service):
    """Several services as one."""


class PortService(Service):
    """Serves on ports, with calls of its own around it."""

    def __init__(
        self,
        name: str,
        ports: typing.Sequence[ServerPort | DatagramPort],
        *,
        on_start: typing.Callable[[Reactor], object] | None = None,
        on_stop: typing.Callable[[], object] | None = None,
        on_reload: typing.Callable[[], object] | None = None,
    ) -> None:
        super().__init__(name)
