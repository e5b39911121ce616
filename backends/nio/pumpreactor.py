"""What the pump's sockets need of the reactor that they belong to."""

from __future__ import annotations

import typing

from portable.clock import Clock
from portable.reactor import Names

if typing.TYPE_CHECKING:
    from backends.nio.bridge import Bridge
    from backends.nio.exchange import Exchange

__all__ = ["PumpReactor"]


class PumpReactor(Clock, Names, typing.Protocol):
    """A reactor whose sockets are Java's.

    Attributes:
        bridge: the way to its pump.
        exchange: the traffic with it; channels enter themselves in `exchange.channels`.
        dirty: the streams to `flush`, once, soon after the calls under way.
    """

    @property
    def bridge(self) -> Bridge:
        """See above."""

    @property
    def exchange(self) -> Exchange:
        """See above."""

    @property
    def dirty(self) -> list[typing.Any]:
        """See above."""
