"""What every server has because its listener has it: limits, time-outs, throttle, TLS, PROXY headers, drain."""

from __future__ import annotations

from portable.listener.options import ListenerOptions
from portable.listener.port import DatagramPort, ServerPort

__all__ = ["DatagramPort", "ListenerOptions", "ServerPort"]
