from __future__ import annotations

import sys
import typing

import pytest
from prometheus_client.parser import text_string_to_metric_families

from portable.endpoints import TCPEndpoint
from portable.errors import ConfigurationError
from portable.listener import DatagramPort, ListenerOptions, ServerPort
from portable.metrics import Metrics, render
from portable.protocol import DatagramProtocol
from portable.service import PortService
from tests.portable.listening import FakeReactor, Recorder, started

if typing.TYPE_CHECKING:
    from portable.service import Service


class LaggingReactor(FakeReactor):
    def loop_lag(self, asker: str = "") -> float:
        return 0.25


def running(loop: FakeReactor) -> Service:
    web = ServerPort("web", Recorder, TCPEndpoint(80), ListenerOptions(max_connections=2))
    time = DatagramPort("time", DatagramProtocol, TCPEndpoint(37))
    service = PortService("all", [web, time])
    service.bind(loop.as_reactor)
    service.start()
    return service


def samples(body: bytes) -> dict[tuple[str, str], float]:
    return {
        (sample.name, sample.labels.get("listener", "")): sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
    }


def test_every_listener_has_its_numbers() -> None:
    loop = LaggingReactor()
    metrics = Metrics(running(loop), loop.as_reactor)
    for _ in range(3):
        loop.accept().receive(b"12?")
    loop.advance(5)
    content_type, body = metrics.render()
    assert content_type.startswith("text/plain; version=")
    assert samples(body) == {
        ("portable_connections_open", "web"): 2,
        ("portable_connections_accepted_total", "web"): 2,
        ("portable_connections_refused_total", "web"): 1,
        ("portable_received_bytes_total", "web"): 6,
        ("portable_sent_bytes_total", "web"): 2,
        ("portable_loop_lag_seconds", ""): 0.25,
        ("portable_uptime_seconds", ""): 5,
    }
    assert b'address="0.0.0.0:80",kind="tcp",listener="web"' in body


def test_listeners_with_the_same_name_and_address_are_one_series() -> None:
    loop = LaggingReactor()
    first = started(loop, ServerPort("web", Recorder, TCPEndpoint(80)))
    loop.accept()
    loop.listeners.clear()
    second = started(loop, ServerPort("web", Recorder, TCPEndpoint(80)))
    loop.accept()
    _, body = render(PortService("all", [first, second]), loop.as_reactor)
    assert samples(body)["portable_connections_open", "web"] == 2


def test_the_expiry_of_certificates_is_told() -> None:
    class Certificate:
        not_after: float | None = 12345.0

    loop = LaggingReactor()
    server = started(loop, ServerPort("web", Recorder, TCPEndpoint(80)))
    server.tls = typing.cast("typing.Any", Certificate())
    _, body = render(PortService("all", [server]), loop.as_reactor)
    assert samples(body)["portable_certificate_not_after_seconds", "web"] == 12345


def test_without_prometheus_client_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    loop = LaggingReactor()
    with pytest.raises(ConfigurationError, match="pip install prometheus-client"):
        render(running(loop), loop.as_reactor)
