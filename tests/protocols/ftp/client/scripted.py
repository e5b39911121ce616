"""A client in memory, whose server is the test: what it says, hears, and does with data connections."""

from __future__ import annotations

import typing

from portable.deferred import Deferred, ensure_deferred, fail, succeed
from portable.endpoints import TCPClientEndpoint
from portable.errors import ConnectionRefused
from portable.testing import ManualClock, MemoryTransport
from portable.transport import Address
from protocols.ftp.client import FTPClient, connect_ftp

if typing.TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from portable.protocol import StreamProtocol
    from portable.reactor import Reactor

__all__ = ["OWN", "SERVER", "FakeListener", "FakeReactor", "Running", "Script"]

SERVER = Address("192.0.2.21", 21)
OWN = Address("192.0.2.1", 40000)
T = typing.TypeVar("T")


class FakeListener:
    """What `listen` returns."""

    def __init__(self, factory: Callable[[], StreamProtocol], address: Address) -> None:
        self.factory = factory
        self.address = address
        self.closed = False

    def close(self) -> None:
        self.closed = True


class FakeReactor(ManualClock):
    """A reactor whose connections are MemoryTransports, and whose threads are done at once.

    Attributes:
        dialled: host and port of every connection asked for.
        transports: of those that came about, the control connection first.
        listeners: every one that was made.
        refuse: ports that refuse connections.
        hang: ports that do not answer.
    """

    def __init__(self) -> None:
        super().__init__(1000.0)
        self.dialled: list[tuple[str, int]] = []
        self.transports: list[MemoryTransport] = []
        self.listeners: list[FakeListener] = []
        self.refuse: set[int] = set()
        self.hang: set[int] = set()
        self.peer = SERVER.host
        self.own = OWN.host

    def connect(
        self, factory: Callable[[], StreamProtocol], host: str, port: int, *, timeout: float = 30.0
    ) -> Deferred[StreamProtocol]:
        self.dialled.append((host, port))
        if port in self.refuse:
            return fail(ConnectionRefused(f"{host} port {port} refuses"))
        if port in self.hang:
            return Deferred()
        protocol = factory()
        self.add(protocol, Address(self.peer, port))
        return succeed(protocol)

    def listen(self, factory: Callable[[], StreamProtocol], host: str, port: int) -> FakeListener:
        assert port == 0
        listener = FakeListener(factory, Address(host, 50000 + len(self.listeners)))
        self.listeners.append(listener)
        return listener

    def accept(self, peer: Address) -> MemoryTransport:
        """Have `peer` connect to the last listener."""
        return self.add(self.listeners[-1].factory(), peer)

    def add(self, protocol: StreamProtocol, peer: Address) -> MemoryTransport:
        own = Address(self.own, OWN.port)
        transport = MemoryTransport(None, self, extra={"peername": peer, "sockname": own, "reactor": self})
        self.transports.append(transport)
        transport.connect(protocol)
        return transport

    def run_in_thread(self, function: Callable[..., T], *args: object) -> Deferred[T]:
        try:
            return succeed(function(*args))
        except Exception as exc:  # noqa: BLE001 -- as a thread's
            return fail(exc)


class Running(typing.Generic[T]):
    """An operation under way."""

    def __init__(self, coroutine: Coroutine[typing.Any, typing.Any, T]) -> None:
        self.results: list[T] = []
        self.errors: list[Exception] = []
        self.deferred = ensure_deferred(coroutine)
        self.deferred.add_callbacks(self.results.append, self.errors.append)

    def done(self) -> bool:
        return bool(self.results or self.errors)

    @property
    def result(self) -> T:
        assert not self.errors, repr(self.errors[0])
        assert self.results, "nothing yet"
        return self.results[0]

    @property
    def error(self) -> Exception:
        assert not self.results, self.results
        assert self.errors, "nothing yet"
        return self.errors[0]


class Script:
    """Opens a client; by default the server has greeted it.

    Attributes:
        reactor: the FakeReactor.
        opening: the outcome of `connect_ftp`.
    """

    opening: Running[FTPClient]
    made: typing.ClassVar[list[Script]] = []

    def __init__(self, greeting: str = "220 at your service", **options: typing.Any) -> None:
        self.reactor = FakeReactor()
        self._options = options
        self.made.append(self)
        if not options.pop("dial_later", False):
            self.open()
        if greeting:
            self.say(greeting)

    def open(self) -> None:
        """Begin to connect."""
        reactor = typing.cast("Reactor", self.reactor)
        self.opening = Running(connect_ftp(reactor, TCPClientEndpoint("ftp.test", 21), **self._options))

    def end(self) -> None:
        """Break all connections: no operation may be left waiting."""
        for transport in self.reactor.transports:
            transport.lose()
        self.reactor.advance(1000)

    @property
    def client(self) -> FTPClient:
        return self.opening.result

    @property
    def control(self) -> MemoryTransport:
        return self.reactor.transports[0]

    @property
    def data(self) -> MemoryTransport:
        """The last data connection."""
        assert len(self.reactor.transports) > 1, "there is none"
        return self.reactor.transports[-1]

    def say(self, *lines: str) -> None:
        """Send lines on the control connection."""
        self.control.receive("".join(f"{line}\r\n" for line in lines).encode())

    def heard(self) -> list[str]:
        """Return the lines that the client has sent since this was last asked."""
        self.reactor.advance(0)
        text = self.control.take().decode()
        assert not text or text.endswith("\r\n")
        return text.split("\r\n")[:-1]

    def run(self, coroutine: Coroutine[typing.Any, typing.Any, T]) -> Running[T]:
        running = Running(coroutine)
        self.reactor.advance(0)
        return running

    def play(self, dialogue: str) -> None:
        """Say what follows "S: ", and see that what follows "C: " is heard, in this order."""
        heard: list[str] = []
        for line in dialogue.strip().split("\n"):
            who, _, text = line.strip().partition(" ")
            if who == "S:":
                assert not heard, heard
                self.say(text)
            else:
                assert who == "C:", line
                heard = heard or self.heard()
                assert heard, f"nothing is heard, but {text!r} is expected"
                assert heard.pop(0) == text
        assert heard + self.heard() == []

    def announce(self, *features: str) -> None:
        """Have the client know the server's features."""
        running = self.run(self.client.features())
        assert self.heard() == ["FEAT"]
        self.say("211-Features", *(f" {feature}" for feature in features), "211 End")
        assert running.done()

    def passive(self, port: int = 2000) -> None:
        """Answer EPSV, after TYPE where that comes first."""
        heard = self.heard()
        if heard[0].startswith("TYPE"):
            self.say("200 ok")
            heard = self.heard()
        assert heard == ["EPSV"]
        self.say(f"229 ok (|||{port}|)")

    def transfer(self, coroutine: Coroutine[typing.Any, typing.Any, T]) -> Running[T]:
        """Run a passive transfer, up to where the server has agreed to it and the data connection is open."""
        running = self.run(coroutine)
        self.passive()
        assert len(self.heard()) == 1
        self.say("150 ok")
        return running
