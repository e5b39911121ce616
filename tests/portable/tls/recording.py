"""Protocols that remember what they were told."""

from __future__ import annotations

import typing

from portable.protocol import Protocol
from portable.testing import connect_in_memory
from portable.tls import client_options, server_options, tls_factory

if typing.TYPE_CHECKING:
    from portable.deferred import Deferred
    from portable.errors import TransportError
    from portable.testing import ManualClock
    from portable.tls import TLSOptions
    from portable.transport import Transport
    from tests.portable.tls.certs import Certificates


class Recorder(Protocol):
    """Remembers every call, checks their order, and that none comes from inside another call of `guard`."""

    transport: Transport

    def __init__(self) -> None:
        self.events: list[str] = []
        self.data = b""
        self.lost = False
        self.reason: TransportError | None = None
        self.inside = False

    def _note(self, event: str) -> None:
        assert not self.lost, f"{event} after connection_lost"
        assert not self.inside, f"{event} from inside a method of the transport"
        self.events.append(event)

    def connection_made(self, transport: Transport) -> None:
        self._note("made")
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        assert data
        assert "eof" not in self.events
        if self.events[-1:] != ["data"]:
            self._note("data")
        self.data += data

    def eof_received(self) -> bool | None:
        self._note("eof")
        return None

    def connection_lost(self, exc: TransportError | None) -> None:
        self._note("lost")
        self.lost = True
        self.reason = exc

    def pause_writing(self) -> None:
        self._note("pause")

    def resume_writing(self) -> None:
        self._note("resume")


class Pair:
    """A TLS client and a TLS server, joined in memory. Nothing has moved yet."""

    def __init__(self, client: TLSOptions, server: TLSOptions, clock: ManualClock | None = None) -> None:
        self.client = Recorder()
        self.server = Recorder()
        self.client_tls = tls_factory(lambda: self.client, client)()
        self.server_tls = tls_factory(lambda: self.server, server)()
        self.link = connect_in_memory(self.client_tls, self.server_tls, clock)
        self.flush = self.link.flush

    def shake(self, chunk: int | None = None) -> Pair:
        """Complete the handshake."""
        self.flush(chunk)
        assert self.client.events == self.server.events == ["made"]
        return self


def plain_pair(certs: Certificates, clock: ManualClock | None = None) -> Pair:
    """Join a client and a server with nothing special about them."""
    return Pair(client_options("server.test", ca=certs.ca), server_options(*certs.server), clock)


def record(pair: Pair, plain: bytes) -> bytes:
    """Return what the client would send for `plain`, without sending it."""
    pair.client.transport.write(plain)
    pair.link.a.allow(None)
    sent = pair.link.a.take()
    pair.link.a.window = 0
    return sent


def outcome(deferred: Deferred[typing.Any]) -> list[object]:
    """Return a list that gets the result or the error."""
    found: list[object] = []
    deferred.add_callbacks(found.append, found.append)
    return found


def failure(deferred: Deferred[typing.Any]) -> BaseException:
    found = outcome(deferred)
    assert found, "nothing yet"
    assert isinstance(found[0], BaseException), found
    return found[0]
