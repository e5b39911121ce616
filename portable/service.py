"""Servers as a tree: bound all or none, started in order, stopped in parallel against one deadline."""

from __future__ import annotations

import logging
import typing

from portable.deferred import Deferred, ensure_deferred, gather, succeed
from portable.errors import FrameworkError

if typing.TYPE_CHECKING:
    from portable.listener import DatagramPort, ServerPort
    from portable.reactor import Reactor

__all__ = ["PortService", "Service", "ServiceGroup"]

_log = logging.getLogger("portable.service")


class Service:
    """Something that runs. `bind`, `start`, then `stop`, each once; `reload` in between, any number of times.

    A service overrides the methods that it needs and calls the base class's, which do the same to its children.

    Attributes:
        name: for the log.
        children: services that live with this one, in the order in which they start.
        reactor: None before `bind`.
    """

    def __init__(self, name: str, children: typing.Sequence[Service] = ()) -> None:
        self.name = name
        self.children = list(children)
        self.reactor: Reactor | None = None

    def bind(self, reactor: Reactor) -> None:
        """Take what may need privileges: ports, certificates. All or none; called before the loop runs.

        Raises:
            ListenError: a port cannot be bound; the message names the service and the address. What was bound
                before is free again.
            ConfigurationError: something that the service needs is not there.
        """
        self.reactor = reactor
        bound: list[Service] = []
        try:
            for child in self.children:
                child.bind(reactor)
                bound.append(child)
        except FrameworkError:
            for child in reversed(bound):
                child.release()
            raise

    def release(self) -> None:
        """Give up what `bind` took. Called instead of `start`."""
        for child in reversed(self.children):
            child.release()

    def give_to(self, uid: int, gid: int) -> None:
        """Make what `bind` has opened and will be opened again, such as a log, belong to the user that the
        process is about to become. Called between `bind` and `start`, if at all.

        Raises:
            FileError: the system refused.
        """
        for child in self.children:
            child.give_to(uid, gid)

    def start(self) -> None:
        """Begin to serve. Privileges may be gone by now."""
        for child in self.children:
            child.start()

    def stop(self, seconds: float) -> Deferred[None]:
        """Take no new work, finish the work in flight within `seconds` and end. 0 ends at once, and a second
        call with 0 while the first is under way has it end at once.

        An error in one child is logged and does not keep the others from stopping.
        """
        stopping = [_stop_child(child, seconds) for child in reversed(self.children)]
        return gather(stopping).add_callback(lambda _: None)

    def reload(self) -> bool:
        """Read certificates and the like again. An error in one child is logged; the others are reloaded.

        Returns:
            Whether all of it worked. What did not stays as it was, and the reason is in the log.
        """
        complete = True
        for child in self.children:
            try:
                complete = child.reload() and complete
            except Exception:  # noqa: BLE001 - one bad service must not keep another on old certificates
                _log.exception("%s: cannot reload", child.name)
                complete = False
        return complete

    def ports(self) -> list[ServerPort | DatagramPort]:
        """Return every port of the tree."""
        return [port for child in self.children for port in child.ports()]

    def addresses(self) -> list[str]:
        """Return what is bound, as "web tcp 127.0.0.1:8080" each."""
        return [port.describe() for port in self.ports()]


class ServiceGroup(Service):
    """Several services as one; a process is one."""


class PortService(Service):
    """A server on any number of ports.

    Args:
        ports: are bound and started in this order.
        on_start: called with the reactor before connections are accepted.
        on_stop: called when the last connection is gone; may return a Deferred or a coroutine to wait for.
        on_reload: called after the certificates were reloaded.
        children: services that start before the ports do.
    """

    def __init__(
        self,
        name: str,
        ports: typing.Sequence[ServerPort | DatagramPort],
        *,
        on_start: typing.Callable[[Reactor], object] | None = None,
        on_stop: typing.Callable[[], object] | None = None,
        on_reload: typing.Callable[[], object] | None = None,
        children: typing.Sequence[Service] = (),
    ) -> None:
        super().__init__(name, children)
        self._ports = list(ports)
        self._on_start = on_start
        self._on_stop = on_stop
        self._on_reload = on_reload
        self._stopping = False

    def bind(self, reactor: Reactor) -> None:
        """See `Service.bind`."""
        super().bind(reactor)
        try:
            for port in self._ports:
                port.bind(reactor)
        except FrameworkError:
            self.release()
            raise

    def release(self) -> None:
        """See `Service.release`."""
        for port in self._ports:
            port.stop_accepting()
        super().release()

    def start(self) -> None:
        """See `Service.start`."""
        super().start()
        if self._on_start is not None and self.reactor is not None:
            self._on_start(self.reactor)
        for port in self._ports:
            port.start()

    def stop(self, seconds: float) -> Deferred[None]:
        """See `Service.stop`."""
        first_call = not self._stopping
        self._stopping = True
        # Children are asked in the same moment: there is one deadline for all.
        stopping: list[Deferred[typing.Any]] = [port.drain(seconds) for port in reversed(self._ports)]
        below = super().stop(seconds)
        drained = gather(stopping).add_callback(self._log_aborted)
        if first_call and self._on_stop is not None:
            drained = drained.add_callback(self._call_on_stop)
        return gather([drained, below]).add_callback(lambda _: None)

    def _log_aborted(self, aborted: list[int]) -> None:
        if sum(aborted):
            _log.warning("%s: aborted %d connection(s) that did not end in time", self.name, sum(aborted))

    def _call_on_stop(self, _: None) -> typing.Any:
        return None if self._on_stop is None else ensure_deferred(self._on_stop())

    def reload(self) -> bool:
        """See `Service.reload`."""
        complete = all([super().reload(), *[port.reload() for port in self._ports]])
        if self._on_reload is not None:
            self._on_reload()
        return complete

    def ports(self) -> list[ServerPort | DatagramPort]:
        """See `Service.ports`."""
        return [*self._ports, *super().ports()]


def _stop_child(child: Service, seconds: float) -> Deferred[None]:
    def failed(error: Exception) -> None:
        _log.error("%s: did not stop well: %s", child.name, error, exc_info=error)

    try:
        stopping = child.stop(seconds)
    except Exception as exc:  # noqa: BLE001 - the others must stop
        failed(exc)
        return succeed(None)
    return stopping.add_errback(failed)
