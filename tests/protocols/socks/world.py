"""A network in memory around one proxy: names, hosts that answer when they are told, ports that wait."""

from __future__ import annotations

import typing

from portable.deferred import Deferred, fail, succeed
from portable.errors import ConnectionRefused, ListenError, NameNotFound
from portable.flow import RelayEnd
from portable.testing import ManualClock, MemoryTransport
from portable.transport import Address
from protocols.socks.proxy import Limits, Policy, Record, SharedState
from protocols.socks.rules import Rules, parse_rule
from protocols.socks.server import SocksServer

if typing.TYPE_CHECKING:
    from collections.abc import Callable

CLIENT = Address("192.0.2.9", 40000)
PROXY = Address("192.0.2.1", 1080)
TARGET = "1.2.3.4"


class Waiting:
    """A port that somebody waits at."""

    def __init__(self, factory: Callable[[], typing.Any], host: str) -> None:
        self.factory = factory
        self.address = Address(host, 50000)
        self.closed = False

    def close(self) -> None:
        self.closed = True


class Attempt:
    """A connect that the test brings to an end."""

    def __init__(self, factory: Callable[[], typing.Any], host: str, port: int) -> None:
        self.factory = factory
        self.address = Address(host, port)
        self.cancelled = False
        self.result: Deferred[typing.Any] = Deferred(lambda _: self._cancel())

    def _cancel(self) -> None:
        self.cancelled = True


class World(ManualClock):
    """A clock and a network. `proxy` is a `SharedState` with an everyday policy, until the test changes it."""

    def __init__(self, *, allow: str = "", deny: str = "", **changes: typing.Any) -> None:
        super().__init__()
        self.names: dict[str, list[str]] = {}
        self.asked: list[str] = []
        self.attempts: list[Attempt] = []
        self.waiting: list[Waiting] = []
        self.out_of_ports = False
        self.records: list[Record] = []
        rules = Rules([parse_rule(word) for word in allow.split()], [parse_rule(word) for word in deny.split()])
        policy = {"serves": lambda peer: True, "rules": rules, "speaks": frozenset((4, 5)), **changes}
        self.proxy = SharedState(
            typing.cast("typing.Any", self),
            Policy(**policy),
            Limits(),
            record=self.records.append,
            wall_clock=lambda: 971211336.9,
            own_addresses=lambda: [PROXY, "/run/socks.sock"],
        )

    # What a proxy needs of a reactor.

    def resolve(self, host: str) -> Deferred[list[str]]:
        self.asked.append(host)
        if host in self.names:
            return succeed(self.names[host])
        if host[:1].isdigit() or ":" in host:
            return succeed([host])
        return fail(NameNotFound(f"the host name {host!r} has no address"))

    def connect(
        self, factory: Callable[[], typing.Any], host: str, port: int, *, timeout: float, local_host: str = ""
    ) -> Deferred[typing.Any]:
        self.attempts.append(Attempt(factory, host, port))
        return self.attempts[-1].result

    def listen(self, factory: Callable[[], typing.Any], host: str, port: int, *, backlog: int) -> Waiting:
        if self.out_of_ports:
            raise ListenError("no port is free", "EADDRINUSE")
        self.waiting.append(Waiting(factory, host))
        return self.waiting[-1]

    # What a test does.

    def client(self, peer: Address | str = CLIENT, sockname: Address | str = PROXY) -> MemoryTransport:
        """Return the proxy's end of a new connection."""
        extra = {"peername": peer, "sockname": sockname}
        return MemoryTransport(SocksServer(self.proxy), self, extra=extra)

    def answer(self, number: int = -1) -> MemoryTransport:
        """Let an attempt succeed; return the proxy's end of the connection to the target."""
        attempt = self.attempts[number]
        end = attempt.factory()
        extra = {"peername": attempt.address, "sockname": Address("192.0.2.1", 45000)}
        transport = MemoryTransport(end, self, extra=extra)
        attempt.result.callback(end)
        self.advance(0)
        return transport

    def refuse(self, error: Exception | None = None) -> None:
        """Let the last attempt fail."""
        self.attempts[-1].result.errback(error or ConnectionRefused("nobody listens there"))
        self.advance(0)

    def arrive(self, peer: str, port: int = 20) -> MemoryTransport:
        """Connect to the port that was waited at last."""
        end = self.waiting[-1].factory()
        assert isinstance(end, RelayEnd)
        extra = {"peername": Address(peer, port), "sockname": self.waiting[-1].address}
        transport = MemoryTransport(end, self, extra=extra)
        self.advance(0)
        return transport
