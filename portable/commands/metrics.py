"""`twistd --metrics ENDPOINT`: the counters of all ports, in Prometheus's text format, at /metrics."""

from __future__ import annotations

import dataclasses
import importlib
import typing

from portable.commands.usage import UsageError
from portable.endpoints import TCPEndpoint, TLSEndpoint, parse_endpoint
from portable.errors import ConfigurationError
from portable.listener import ListenerOptions, ServerPort
from portable.metrics import Metrics, require_prometheus
from portable.service import PortService, ServiceGroup

if typing.TYPE_CHECKING:
    from portable.commands.loading import Application
    from portable.endpoints import Endpoint
    from portable.reactor import Reactor

__all__ = ["with_metrics"]

# Who scrapes is one machine, or a few; whoever opens more only wants to use us up.
_LIMITS = ListenerOptions(max_connections=20, idle_timeout=60.0)


class _MetricsService(PortService):
    """Answers scrapes about `watched`."""

    def __init__(self, endpoint: Endpoint, watched: ServiceGroup) -> None:
        super().__init__("metrics", [ServerPort("metrics", self.make_protocol, endpoint, _LIMITS)])
        self._watched = watched
        # A server is found by its name, as everywhere in the commands.
        self._server = importlib.import_module("protocols.http.server")
        self._resource = importlib.import_module("protocols.http.resource")
        self._messages = importlib.import_module("protocols.http.messages")
        self._metrics: Metrics | None = None
        self._site: typing.Callable[[], typing.Any] | None = None

    def bind(self, reactor: Reactor) -> None:
        """See `Service.bind`."""
        self._metrics = Metrics(self._watched, reactor)
        self._site = self._server.Site(self, clock=reactor)
        super().bind(reactor)

    def make_protocol(self) -> typing.Any:
        """Return the protocol of one connection."""
        assert self._site is not None, "a connection before bind"  # noqa: S101 - what bind has made
        return self._site()

    def child(self, segment: str, _: object) -> object:
        """Return the page, which is /metrics. See `Resource.child`."""
        return self._resource.Page(self._answer) if segment == "metrics" else None

    def render(self, _: object) -> typing.Any:
        """Say where the page is. See `Resource.render`."""
        return self._messages.Response(404, [("Content-Type", "text/plain")], b"It is at /metrics.\n")

    def _answer(self, _: object) -> typing.Any:
        assert self._metrics is not None, "a request before bind"  # noqa: S101 - what bind has made
        kind, body = self._metrics.render()
        return self._messages.Response(200, [("Content-Type", kind), ("Cache-Control", "no-store")], body)


def with_metrics(application: Application, endpoint_text: str) -> Application:
    """Return `application` with a service beside it that tells how it is doing.

    Args:
        endpoint_text: where; a TCP port without an interface means loopback, for the numbers are not public.

    Raises:
        UsageError: it is no endpoint.
        ConfigurationError: the package prometheus-client is not installed.
    """
    require_prometheus()
    try:
        endpoint = parse_endpoint(endpoint_text)
    except ConfigurationError as error:
        raise UsageError(f"--metrics: {error}") from error
    if isinstance(endpoint, (TCPEndpoint, TLSEndpoint)) and not endpoint.interface:
        endpoint = dataclasses.replace(endpoint, interface="127.0.0.1")
    everything = ServiceGroup("twistd", [application.service])
    everything.children.append(_MetricsService(endpoint, everything))
    return dataclasses.replace(application, service=everything)
