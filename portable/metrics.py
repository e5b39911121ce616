"""What a server does, as numbers for Prometheus. They are read when they are asked for and cost nothing before.

The only labels are those of listeners, and an administrator chose them: no client can add a series.
"""

from __future__ import annotations

import importlib
import typing

from portable.errors import ConfigurationError
from portable.listener import ServerPort

if typing.TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

    from portable.reactor import Reactor
    from portable.service import Service

__all__ = ["Metrics", "render", "require_prometheus"]

# One family for each counter of a ServerPort: name, kind, help, attribute.
_PORT_FAMILIES = (
    ("portable_connections_open", "gauge", "Connections open now.", "open"),
    ("portable_connections_accepted", "counter", "Connections taken.", "accepted"),
    ("portable_connections_refused", "counter", "Connections closed because of a limit.", "refused"),
    ("portable_received_bytes", "counter", "Bytes received on the wire.", "bytes_received"),
    ("portable_sent_bytes", "counter", "Bytes sent on the wire.", "bytes_sent"),
)
_LABELS = ("listener", "kind", "address")


class Metrics:
    """The numbers of one service tree.

    Args:
        service: whose listeners are counted.
        reactor: whose lag is measured.

    Raises:
        ConfigurationError: the package prometheus-client is not installed.
    """

    def __init__(self, service: Service, reactor: Reactor) -> None:
        require_prometheus()
        self._service = service
        self._reactor = reactor
        self._started = reactor.time()

    def collect(self) -> list[Metric]:
        """Return the numbers of this moment; the method that prometheus-client calls on a collector."""
        core = require_prometheus().core
        ports = [port for port in self._service.ports() if isinstance(port, ServerPort)]
        for port in ports:
            port.forget_unseen()
        families: list[Metric] = []
        for name, kind, text, attribute in _PORT_FAMILIES:
            totals = _totals(ports, attribute)
            family = (core.GaugeMetricFamily if kind == "gauge" else core.CounterMetricFamily)(
                name, text, labels=_LABELS
            )
            for labels, value in totals.items():
                family.add_metric(labels, value)
            families.append(family)
        families.append(self._certificates(core, ports))
        families.append(
            core.GaugeMetricFamily(
                "portable_loop_lag_seconds",
                "The longest time one turn of the loop spent on anything but waiting since the last scrape.",
                value=self._reactor.loop_lag("metrics"),
            )
        )
        families.append(
            core.GaugeMetricFamily(
                "portable_uptime_seconds",
                "Seconds since the server started.",
                value=self._reactor.time() - self._started,
            )
        )
        return families

    def _certificates(self, core: typing.Any, ports: list[ServerPort]) -> Metric:
        family = core.GaugeMetricFamily(
            "portable_certificate_not_after_seconds",
            "When the first certificate of a listener expires, in seconds since 1970 UTC.",
            labels=_LABELS,
        )
        ends: dict[tuple[str, ...], float] = {}
        for port in ports:
            end = None if port.tls is None else port.tls.not_after
            if end is not None:
                ends[_labels(port)] = min(end, ends.get(_labels(port), end))
        for labels, end in ends.items():
            family.add_metric(labels, end)
        return typing.cast("Metric", family)

    def render(self) -> tuple[str, bytes]:
        """Return the content type and the body of an answer to a scrape, in Prometheus's text format."""
        client = require_prometheus()
        registry = client.CollectorRegistry(auto_describe=False)
        registry.register(self)
        return client.CONTENT_TYPE_LATEST, client.generate_latest(registry)


def render(service: Service, reactor: Reactor) -> tuple[str, bytes]:
    """Return the content type and body of the numbers of `service`, with an uptime of 0: for one question only.

    Raises:
        ConfigurationError: the package prometheus-client is not installed.
    """
    return Metrics(service, reactor).render()


def _labels(port: ServerPort) -> tuple[str, ...]:
    return port.name, port.kind, str(port.address)


def _totals(ports: list[ServerPort], attribute: str) -> dict[tuple[str, ...], int]:
    """Return one number for each set of labels: a scrape with a series twice is refused as a whole."""
    totals: dict[tuple[str, ...], int] = {}
    for port in ports:
        labels = _labels(port)
        totals[labels] = totals.get(labels, 0) + getattr(port, attribute)
    return totals


def require_prometheus() -> typing.Any:
    """Return the module prometheus_client. It is optional, so it is asked for only when it is needed.

    Raises:
        ConfigurationError: it is not installed.
    """
    try:
        importlib.import_module("prometheus_client.core")
        return importlib.import_module("prometheus_client")
    except ImportError:
        raise ConfigurationError(
            "metrics need the package prometheus-client: pip install prometheus-client"
        ) from None
