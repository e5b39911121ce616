"""CPython inside a Java program, by Jep. No other module imports jep, which outside of such a program fails.

The program has the JVM, our jar on its class path, and one thread for each interpreter, which is the only one
that may use it.
"""

from __future__ import annotations

import typing

import jep  # type: ignore[import-untyped,import-not-found,unused-ignore] # untyped, or not here

from backends.nio.bridge import PumpError
from backends.nio.pumpcalls import PumpCalls, error_texts, view_of
from portable.errors import ConfigurationError

if typing.TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["JepBridge", "make_bridge", "missing"]

_PUMP = "portable.jvm.Pump"

T = typing.TypeVar("T")


def missing() -> str:
    """Return why there can be no bridge here, in one line; "" if there can."""
    try:
        jep.findClass(_PUMP)
    except Exception as exc:  # whatever the class loader of the program throws
        return f"the class {_PUMP} is not on the class path of this Java program: {exc}"
    return ""


class JepBridge(PumpCalls):
    """A `backends.nio.bridge.Bridge`."""

    def __init__(self, pump: typing.Any) -> None:
        self._pump = pump
        pump.nameErrors(error_texts())
        # Jep's view lends from the Java object, which must outlive it.
        self._buffers = [pump.eventHeaders(), pump.eventPayloads(), pump.opHeaders(), pump.opPayloads()]
        self.event_headers, self.event_payloads, self.op_headers, self.op_payloads = map(view_of, self._buffers)
        self.poll: Callable[[int, int], int] = pump.poll
        self.apply: Callable[[int], bool] = pump.apply

    def _try(self, method: Callable[..., T], *args: object) -> T:
        try:
            return method(*args)
        except Exception as exc:  # Jep maps Java's exceptions onto Python's own, and has Java's as the argument
            java = exc.args[0] if exc.args else exc
            code = getattr(java, "code", None)
            raise PumpError(str(code()) if callable(code) else "EIO") from exc

    def close(self) -> None:
        self._pump.close()
        self._buffers.clear()
        del self.poll, self.apply, self._pump


def make_bridge() -> JepBridge:
    """See `backends.nio.bridge`."""
    pump = jep.findClass(_PUMP)
    try:
        return JepBridge(pump())
    except Exception as exc:  # see `_try`
        raise ConfigurationError(f"the Java side cannot start: {exc}") from exc
