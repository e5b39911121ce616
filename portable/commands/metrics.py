"""`twistd --metrics ENDPOINT`: the counters of all ports, in Prometheus's text format, at /metrics."""

from __future__ import annotations

import typing

from portable.commands.usage import CommandError

if typing.TYPE_CHECKING:
    from portable.commands.loading import Application

__all__ = ["with_metrics"]


def with_metrics(application: Application, endpoint: str) -> Application:
    """Return `application` with a service beside it that tells how it is doing."""
    raise CommandError("--metrics: not here yet")
