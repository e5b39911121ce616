"""The server kind `portforward`: passes each connection on to another server."""

from __future__ import annotations

import typing

from portable.endpoints import UnixClientEndpoint, parse_client_endpoint
from portable.errors import ConfigurationError
from portable.listening import listening_options, server_ports
from portable.options import Kind, Option
from portable.service import PortService
from protocols.portforward import ForwardedConnection

if typing.TYPE_CHECKING:
    from portable.deferred import Deferred
    from portable.flow import RelayEnd
    from portable.reactor import Reactor
    from portable.service import Service

__all__ = ["KIND", "make_service"]

DEFAULT_PORT = 6666
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class PortForwardService(PortService):
    """Connects to one place for each connection that is accepted.

    Args:
        values: the checked values of the options.
    """

    def __init__(self, values: typing.Mapping[str, typing.Any]) -> None:
        self._target = parse_client_endpoint(values["to"])
        super().__init__(KIND.name, server_ports(values, KIND.name, self._make_protocol))

    def _make_protocol(self) -> ForwardedConnection:
        return ForwardedConnection(self._connect, self._bound_reactor())

    def _connect(self, factory: typing.Callable[[], RelayEnd]) -> Deferred[RelayEnd]:
        return self._target.connect(self._bound_reactor(), factory)

    def _bound_reactor(self) -> Reactor:
        reactor = self.reactor
        if reactor is None:
            raise AssertionError("a connection before bind")
        return reactor


def make_service(values: typing.Mapping[str, typing.Any]) -> Service:
    """Return the service for checked values. Opens nothing.

    Raises:
        ConfigurationError: `to` is no endpoint to connect to, or is ourselves.
    """
    _check(values)
    return PortForwardService(values)


def _check(values: typing.Mapping[str, typing.Any]) -> None:
    """Refuse to pass connections on to the port they came from."""
    target = parse_client_endpoint(values["to"])
    if isinstance(target, UnixClientEndpoint) or target.port != values["port"]:
        return
    if target.host in _LOOPBACK and values["interface"] in {"", *_LOOPBACK}:
        raise ConfigurationError(f"port {target.port} of this machine would be forwarded to itself", "--to")


KIND = Kind(
    name="portforward",
    version=1,
    summary="pass TCP connections on to another server",
    options=(
        Option(
            "to",
            "client-endpoint",
            None,
            "where to: tcp:HOST:PORT, tls:HOST:PORT or unix:PATH",
            required=True,
        ),
        *listening_options(DEFAULT_PORT),
    ),
    make_service=make_service,
)
