"""CPython that has a JVM in it, by JPype. No other module imports jpype.

The JVM begins with the first bridge, or is somebody else's that runs already. It never ends before its process
does, and after its beginning the process must not fork.
"""

from __future__ import annotations

import functools
import typing

import jpype  # type: ignore[import-untyped] # it has no types
import jpype.config  # type: ignore[import-untyped] # at its end it wants this, when the root may have changed

from backends.nio.bridge import PumpError
from backends.nio.pumpcalls import PumpCalls, error_texts, view_of
from jvm import launch
from portable.errors import ConfigurationError

if typing.TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["JPypeBridge", "make_bridge", "missing"]

_PUMP = "portable.jvm.Pump"


def missing() -> str:
    """Return why there can be no bridge here, in one line; "" if there can. Starts no JVM."""
    return launch.missing(running=jpype.isJVMStarted())


def _join_jvm() -> None:
    """See to it that a JVM runs that knows our classes.

    Raises:
        ConfigurationError: something is missing.
    """
    lacking = missing()
    if lacking:
        raise ConfigurationError(lacking)
    if jpype.isJVMStarted():
        jpype.addClassPath(str(launch.JAR))
        return
    try:
        jvm = launch.find_jvm()
        jpype.startJVM(
            *launch.options(jvm),
            jvmpath=str(jvm.library),
            classpath=[str(launch.JAR)],
            # Signals stay Python's.
            interrupt=False,
        )
    except (launch.JVMMissing, OSError, RuntimeError) as exc:
        raise ConfigurationError(f"the JVM does not start: {exc}") from exc


@functools.cache
def _pump_class() -> typing.Any:
    _join_jvm()
    try:
        return jpype.JClass(_PUMP)
    except TypeError as exc:
        raise ConfigurationError(f"{launch.JAR} is not what it should be: python -m jvm.build --force") from exc


class JPypeBridge(PumpCalls):
    """A `backends.nio.bridge.Bridge`."""

    def __init__(self, pump: typing.Any) -> None:
        self._pump = pump
        pump.nameErrors(error_texts())
        self.event_headers = view_of(pump.eventHeaders())
        self.event_payloads = view_of(pump.eventPayloads())
        self.op_headers = view_of(pump.opHeaders())
        self.op_payloads = view_of(pump.opPayloads())
        # Java's own methods, for the two that count: what they raise is not expected.
        self.poll: Callable[[int, int], int] = pump.poll
        self.apply: Callable[[int], bool] = pump.apply

    def _try(self, method: Callable[..., object], *args: object) -> typing.Any:
        try:
            return method(*args)
        except jpype.JException as exc:
            code = getattr(exc, "code", None)
            raise PumpError(str(code()) if callable(code) else "EIO") from exc

    def close(self) -> None:
        self._pump.close()
        del self.poll, self.apply, self._pump


def make_bridge() -> JPypeBridge:
    """See `backends.nio.bridge`."""
    pump = _pump_class()
    try:
        return JPypeBridge(pump())
    except jpype.JException as exc:
        raise ConfigurationError(f"the Java side cannot start: {exc}") from exc
