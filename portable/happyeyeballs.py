"""Connecting to a name that has several addresses: "happy eyeballs" (RFC 8305).

Backends know how to try one address; this module decides which are tried and when, for all of them.
"""

from __future__ import annotations

import typing

from portable.deferred import Deferred, fail
from portable.errors import ConnectError, ConnectTimedOut, TimedOut, Unreachable, connect_error
from portable.transport import Address

if typing.TYPE_CHECKING:
    from portable.clock import Clock, Timer
    from portable.protocol import StreamProtocol
    from portable.reactor import Names, Streams

    class NamesAndClock(Names, Clock, typing.Protocol):
        """What is needed of a reactor to connect to a name."""

    class StreamsAndClock(Streams, Clock, typing.Protocol):
        """What is needed of a reactor to connect to addresses."""

    P = typing.TypeVar("P", bound=StreamProtocol)


__all__ = ["ATTEMPT_DELAY", "connect_to_addresses", "connect_to_name", "interleave", "race"]

# Seconds between the starts of two attempts (RFC 8305 8, "Connection Attempt Delay").
ATTEMPT_DELAY = 0.25

T = typing.TypeVar("T")


def interleave(addresses: typing.Sequence[str]) -> list[str]:
    """Return literal addresses with the two families in turn, beginning with that of the first (RFC 8305 4)."""
    mixed: list[str] = []
    same = [host for host in addresses if (":" in host) == (":" in addresses[0])]
    other = [host for host in addresses if (":" in host) != (":" in addresses[0])]
    for index in range(max(len(same), len(other))):
        mixed += same[index : index + 1]
        mixed += other[index : index + 1]
    return mixed


class _Race(typing.Generic[T]):
    """Attempts that start one after the other until one succeeds."""

    def __init__(self, clock: Clock, attempts: typing.Iterable[typing.Callable[[], Deferred[T]]]) -> None:
        self._clock = clock
        self._waiting = list(attempts)
        self._running: list[Deferred[typing.Any]] = []
        self._timer: Timer | None = None
        self._starting = False
        self._error: Exception | None = None
        self.result: Deferred[T] = Deferred(lambda _deferred: self._stop())
        self._start_next()

    def _start_next(self) -> None:
        """Start the next attempt; if it fails at once, the one after it, and so on."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._starting = True
        # A loop, because a name may have thousands of addresses, and all may be unreachable.
        while self._waiting and not self._start(self._waiting.pop(0)):
            pass
        self._starting = False
        if self._waiting:
            self._timer = self._clock.call_later(ATTEMPT_DELAY, self._start_next)

    def _start(self, begin: typing.Callable[[], Deferred[T]]) -> bool:
        """Return whether the attempt is under way."""
        attempt: Deferred[typing.Any]
        try:
            attempt = begin()
        except Exception as exc:  # noqa: BLE001 - from a timer it would only be logged, and nobody told
            attempt = fail(exc)
        self._running.append(attempt)
        attempt.add_callbacks(
            lambda value: self._succeeded(attempt, value), lambda error: self._failed(attempt, error)
        )
        return attempt in self._running

    def _succeeded(self, attempt: Deferred[typing.Any], value: T) -> None:
        self._running.remove(attempt)
        self._stop()
        self.result.callback(value)

    def _failed(self, attempt: Deferred[typing.Any], error: Exception) -> None:
        if attempt not in self._running:
            return  # cancelled by us
        self._running.remove(attempt)
        # That a family leads nowhere, as IPv6 does in many networks, says nothing of the host.
        if self._error is None or not isinstance(error, Unreachable):
            self._error = error
        if self._waiting:
            if not self._starting:
                self._start_next()
        elif not self._running:
            self.result.errback(self._error)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._waiting.clear()
        losers = list(self._running)
        self._running.clear()
        for attempt in losers:
            attempt.cancel()


def race(clock: Clock, attempts: typing.Iterable[typing.Callable[[], Deferred[T]]]) -> Deferred[T]:
    """Start `attempts` (at least one) in order: the next one ATTEMPT_DELAY seconds after the last, or as soon
    as that has failed. Gives the first success and cancels the others; fails with the last failure, and with
    Unreachable only if all were.
    """
    return _Race(clock, attempts).result


def connect_to_name(
    reactor: NamesAndClock,
    attempt: typing.Callable[[str], Deferred[T]],
    host: str,
    port: int,
    timeout: float,
    local_host: str = "",
) -> Deferred[T]:
    """Give what `attempt` gives for the address of `host` that answers first.

    Args:
        reactor: resolves the name, and keeps the time.
        attempt: starts connecting to a literal address. Cancelling its Deferred must close what it opened.
        host: a name or a literal address.
        port: names the target in errors.
        timeout: seconds for everything.
        local_host: only addresses of the family of this literal address are tried.

    Returns:
        The first success. Fails with ConnectError.
    """
    target = Address(host, port)

    def run(addresses: list[str]) -> Deferred[T]:
        wanted = [found for found in addresses if not local_host or (":" in found) == (":" in local_host)]
        if not wanted:
            text = f"cannot connect to {target}: it has no address of the family of {local_host}"
            return fail(connect_error("EADDRNOTAVAIL", text))
        return race(reactor, [_bind(attempt, found) for found in interleave(wanted)])

    def explain(error: Exception) -> typing.NoReturn:
        if isinstance(error, TimedOut):
            message = f"cannot connect to {target}: no answer in {timeout:g} seconds"
            raise ConnectTimedOut(message) from error
        if isinstance(error, ConnectError) and not str(error).startswith("cannot connect"):
            raise type(error)(f"cannot connect to {target}: {error}", error.code) from error
        raise error

    connecting: Deferred[T] = reactor.resolve(host).add_callback(run)
    return connecting.timeout(timeout, reactor).add_errback(explain)


def connect_to_addresses(
    reactor: StreamsAndClock,
    factory: typing.Callable[[], P],
    hosts: typing.Sequence[str],
    port: int,
    *,
    timeout: float = 30.0,
) -> Deferred[P]:
    """Open a connection as `Streams.connect` does, to whichever of literal addresses answers first.

    For whoever must look at the addresses of a name before connecting. A name that is asked for twice may have
    others the second time, because somebody wants it so ("DNS rebinding").

    Args:
        hosts: at least one.
        timeout: seconds for all of them together.
    """

    def attempt(host: str) -> Deferred[P]:
        return reactor.connect(factory, host, port, timeout=timeout)

    def explain(error: Exception) -> typing.NoReturn:
        if isinstance(error, TimedOut):
            shown = ", ".join(hosts)
            message = f"cannot connect to port {port} of {shown}: no answer in {timeout:g} seconds"
            raise ConnectTimedOut(message) from error
        raise error

    connecting = race(reactor, [_bind(attempt, host) for host in interleave(hosts)])
    return connecting.timeout(timeout, reactor).add_errback(explain)


def _bind(attempt: typing.Callable[[str], Deferred[T]], host: str) -> typing.Callable[[], Deferred[T]]:
    return lambda: attempt(host)
