"""A reactor without sockets for the tests of listeners, and protocols that tell what happened to them."""

from __future__ import annotations

import typing

from portable.errors import AddressInUse, ListenError
from portable.testing import ManualClock, MemoryTransport
from portable.transport import Address

if typing.TYPE_CHECKING:
    from portable.errors import TransportError
    from portable.listener import ServerPort
    from portable.protocol import DatagramProtocol, ProtocolFactory, StreamProtocol
    from portable.reactor import Reactor
    from portable.transport import DatagramTransport, Transport


# What a proxy sends first, and where it is.
HEADER = b"PROXY TCP4 198.51.100.7 198.51.100.8 56324 443\r\n"
PROXY = "192.0.2.1"


class FakeListener:
    def __init__(self, reactor: FakeReactor, factory: ProtocolFactory, address: Address | str) -> None:
        self.factory = factory
        self.address = address
        self.accepting = True
        self.closed = False
        self._reactor = reactor

    def pause_accepting(self) -> None:
        self.accepting = False

    def resume_accepting(self) -> None:
        self.accepting = True

    def close(self) -> None:
        self.closed = True
        self.accepting = False


class FakeDatagramTransport:
    def __init__(self, address: Address) -> None:
        self._address = address
        self.closed = ""

    def sendto(self, data: object, addr: Address | None = None) -> None:
        raise AssertionError("nothing is sent here")

    def close(self) -> None:
        self.closed = self.closed or "closed"

    def abort(self) -> None:
        self.closed = "aborted"

    def is_closing(self) -> bool:
        return bool(self.closed)

    def get_extra_info(self, name: str, default: typing.Any = None) -> typing.Any:
        return self._address if name == "sockname" else default


class FakeReactor(ManualClock):
    """A manual clock that also listens: `accept` makes the connections. Binding a port twice fails."""

    capabilities: frozenset[str] = frozenset()

    def __init__(self) -> None:
        super().__init__()
        self.listeners: list[FakeListener] = []
        self.datagrams: list[FakeDatagramTransport] = []
        self.asked: list[dict[str, object]] = []
        self.bound: set[object] = set()

    @property
    def as_reactor(self) -> Reactor:
        return typing.cast("Reactor", self)

    def _add(self, factory: ProtocolFactory, address: Address | str, **options: object) -> FakeListener:
        taken = [listener.address for listener in self.listeners if not listener.closed]
        if address in taken:
            raise AddressInUse(f"{address} is in use")
        self.asked.append(options)
        listener = FakeListener(self, factory, address)
        self.listeners.append(listener)
        return listener

    def listen(
        self, factory: ProtocolFactory, host: str = "", port: int = 0, **options: object
    ) -> FakeListener:
        return self._add(factory, Address(host or "0.0.0.0", port or 1024), **options)

    def listen_unix(self, factory: ProtocolFactory, path: str, **options: object) -> FakeListener:
        return self._add(factory, path, **options)

    def adopt_listener(self, factory: ProtocolFactory, fd: int) -> FakeListener:
        if fd > 9:
            raise ListenError(f"descriptor {fd} is no listening socket", "EBADF")
        return self._add(factory, Address("192.0.2.2", 8000 + fd) if fd < 5 else f"/run/{fd}.sock")

    def listen_datagram(
        self, factory: typing.Callable[[], DatagramProtocol], host: str = "", port: int = 0, **options: object
    ) -> DatagramTransport:
        if port == 1:
            raise AddressInUse("it is in use")
        transport = FakeDatagramTransport(Address(host, port or 1024))
        factory().connection_made(transport)
        self.datagrams.append(transport)
        return transport

    def accept(self, peer: str | Address = "192.0.2.1", *, window: int | None = None) -> MemoryTransport:
        """Make a connection to the first listener, from a host or, as "/path", over a Unix socket."""
        listener = next(listener for listener in self.listeners if not listener.closed)
        assert listener.accepting
        name = peer if isinstance(peer, Address) or peer[:1] in {"", "/"} else Address(peer, 40000)
        transport = MemoryTransport(clock=self, extra={"peername": name}, window=window)
        transport.connect(listener.factory())
        transport.settle()
        return transport


class Recorder:
    """Writes down what it is told, and answers b"!" to each b"?"."""

    made: typing.ClassVar[list[Recorder]] = []

    def __init__(self) -> None:
        self.events: list[object] = []
        self.transport: Transport
        self.received = b""
        self.lost: list[TransportError | None] = []
        Recorder.made.append(self)

    def connection_made(self, transport: Transport) -> None:
        self.transport = transport
        self.events.append("made")

    def data_received(self, data: bytes) -> None:
        self.received += data
        self.events.append(data)
        self.transport.write(b"!" * data.count(b"?"))

    def eof_received(self) -> bool | None:
        self.events.append("eof")
        return None

    def connection_lost(self, exc: TransportError | None) -> None:
        self.events.append("lost")
        self.lost.append(exc)

    def pause_writing(self) -> None:
        self.events.append("pause")

    def resume_writing(self) -> None:
        self.events.append("resume")


class Draining(Recorder):
    """Says goodbye and goes when it is asked to; `stubborn` ones stay."""

    stubborn = False

    def drain(self) -> None:
        self.events.append("drain")
        self.transport.write(b"bye")
        if not self.stubborn:
            self.transport.close()


class Pausing(Recorder):
    """Wants nothing yet, or nothing more: pauses reading in `connection_made`, and again after each event."""

    def connection_made(self, transport: Transport) -> None:
        super().connection_made(transport)
        transport.pause_reading()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self.transport.pause_reading()


class Stubborn(Draining):
    stubborn = True


def last() -> Recorder:
    """The protocol made last."""
    return Recorder.made[-1]


def started(reactor: FakeReactor, port: ServerPort) -> ServerPort:
    port.bind(reactor.as_reactor)
    port.start()
    return port


def protocol_of(transport: MemoryTransport) -> StreamProtocol:
    return transport.get_protocol()
