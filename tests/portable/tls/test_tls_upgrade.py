"""From clear text to TLS in the middle of a connection."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from portable.errors import (
    CertificateError,
    ConnectionTimedOut,
    LocalProtocolError,
    RemoteProtocolError,
    TLSError,
    TLSTruncated,
)
from portable.testing import MemoryTransport, connect_in_memory
from portable.tls import TLSOptions, TLSTransport, client_options, server_options, upgrade
from portable.tls.transport import UPGRADE_TIMEOUT
from tests.portable.tls.recording import Recorder

if TYPE_CHECKING:
    from tests.portable.tls.certs import Certificates


class Server(Recorder):
    """Upgrades at a line STARTTLS; in `answers` are the lines it got, with "tls " before those under TLS."""

    def __init__(self, options: TLSOptions) -> None:
        super().__init__()
        self._options = options
        self._buffer = b""
        self._secure = False
        self.lines: list[str] = []
        self.refused = False

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._buffer += data
        while b"\n" in self._buffer:
            line, _, self._buffer = self._buffer.partition(b"\n")
            self.lines.append(("tls " if self._secure else "") + line.decode())
            if line == b"STARTTLS":
                self.transport.write(b"go ahead\n")
                try:
                    self.transport = self.transport.start_tls(self._options, len(self._buffer))
                except RemoteProtocolError:
                    self.refused = True
                    self._buffer = b""
                    self.transport.close()
                self._secure = True


class Client(Recorder):
    """Says STARTTLS at once, and after the upgrade what it has to say."""

    def __init__(self, options: TLSOptions, extra: bytes = b"") -> None:
        super().__init__()
        self._options = options
        self._extra = extra

    def connection_made(self, transport: object) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]  # what it is does not matter here
        self.transport.write(b"STARTTLS\n" + self._extra)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if not isinstance(self.transport, TLSTransport) and self.data.endswith(b"\n"):
            self.transport = self.transport.start_tls(self._options, 0)
            self.transport.write(b"secret\n")


@pytest.mark.parametrize("chunk", [None, 1, 7])
def test_upgrade(certs: Certificates, chunk: int | None) -> None:
    client, server = Client(client_options("server.test", ca=certs.ca)), Server(server_options(*certs.server))
    link = connect_in_memory(client, server)
    link.flush(chunk)
    assert server.lines == ["STARTTLS", "tls secret"]
    assert server.events == ["made", "data"]
    assert client.data == b"go ahead\n"
    assert client.transport.get_protocol() is client
    client.transport.close()
    link.flush(chunk)
    assert server.events == ["made", "data", "eof", "lost"]
    assert server.reason is None
    assert client.events == ["made", "data", "lost"]


def test_plain_text_injected_before_the_handshake_is_refused(certs: Certificates) -> None:
    """CVE-2011-0411."""
    client = Client(client_options("server.test", ca=certs.ca), b"injected\n")
    server = Server(server_options(*certs.server))
    link = connect_in_memory(client, server)
    link.flush()
    assert server.refused
    assert server.lines == ["STARTTLS"]
    assert server.lost


def test_plain_text_that_comes_after_is_no_tls(certs: Certificates) -> None:
    """In a segment of its own, injected text meets the filter."""
    server = Server(server_options(*certs.server))
    transport = MemoryTransport(server)
    transport.receive(b"STARTTLS\n")
    transport.receive(b"injected\n")
    assert server.lines == ["STARTTLS"]
    assert isinstance(server.reason, TLSError)


def test_what_was_written_before_leaves_in_clear(certs: Certificates) -> None:
    client = Recorder()
    transport = MemoryTransport(client)
    client.transport.write(b"clear")
    tls = transport.start_tls(client_options("server.test", ca=certs.ca), 0)
    tls.write(b"secret")
    transport.settle()
    sent = transport.take()
    assert sent.startswith(b"clear\x16\x03")
    assert b"secret" not in sent


def test_a_failed_handshake_is_told_by_connection_lost(certs: Certificates) -> None:
    client, server = (
        Client(client_options("elsewhere.test", ca=certs.ca)),
        Server(server_options(*certs.server)),
    )
    link = connect_in_memory(client, server)
    link.flush()
    assert client.events == ["made", "data", "lost"]
    assert isinstance(client.reason, CertificateError)
    assert isinstance(server.reason, CertificateError)


def test_a_peer_that_goes_during_the_handshake(certs: Certificates) -> None:
    client = Recorder()
    transport = MemoryTransport(client)
    transport.start_tls(client_options("server.test", ca=certs.ca), 0)
    transport.receive_eof()
    assert client.events == ["made", "lost"]
    assert isinstance(client.reason, TLSTruncated)


def test_a_handshake_that_fails_after_close(certs: Certificates) -> None:
    client = Recorder()
    transport = MemoryTransport(client)
    tls = transport.start_tls(client_options("server.test", ca=certs.ca), 0)
    tls.write(b"secret")
    tls.close()
    transport.receive(b"502 TLS not available\r\n")
    assert client.events == ["made", "lost"]
    assert isinstance(client.reason, TLSError)
    assert b"secret" not in transport.take()
    assert transport.clock.next_time() is None


def test_upgrade_of_a_paused_transport(certs: Certificates) -> None:
    client, server = Recorder(), Recorder()
    link = connect_in_memory(client, server)
    server.transport.pause_reading()
    tls = server.transport.start_tls(server_options(*certs.server), 0)
    theirs = client.transport.start_tls(client_options("server.test", ca=certs.ca), 0)
    theirs.write(b"early")
    link.flush()
    # The handshake goes on, data waits.
    assert tls.get_extra_info("tls_version") == "TLSv1.3"
    assert not tls.is_reading()
    assert server.events == ["made"]
    theirs.write(b" late")
    theirs.close()
    link.flush()
    assert server.events == ["made"]
    tls.resume_reading()
    assert server.events == ["made"]
    link.flush()
    assert server.data == b"early late"
    assert server.events == ["made", "data", "eof", "lost"]


def test_pausing_during_the_handshake(certs: Certificates) -> None:
    client, server = Recorder(), Recorder()
    link = connect_in_memory(client, server)
    tls = server.transport.start_tls(server_options(*certs.server), 0)
    tls.pause_reading()
    tls.resume_reading()
    tls.pause_reading()
    client.transport.start_tls(client_options("server.test", ca=certs.ca), 0).write(b"x")
    link.flush()
    assert tls.get_extra_info("tls_version") == "TLSv1.3"
    assert server.data == b""
    tls.resume_reading()
    link.flush()
    assert server.data == b"x"


def test_upgrades_that_cannot_be(certs: Certificates) -> None:
    options = client_options("server.test", ca=certs.ca)
    transport = MemoryTransport(Recorder())
    tls = transport.start_tls(options, 0)
    with pytest.raises(LocalProtocolError, match="already"):
        transport.start_tls(options, 0)
    with pytest.raises(LocalProtocolError, match="already"):
        tls.start_tls(options, 0)
    # A wrapper around a TLSTransport has its own start_tls.
    with pytest.raises(LocalProtocolError, match="already"):
        upgrade(MemoryTransport(Recorder(), extra={"tls_version": "TLSv1.3"}), options, 0)
    closing = MemoryTransport(Recorder())
    closing.close()
    with pytest.raises(LocalProtocolError, match="closing"):
        upgrade(closing, options, 0)


def test_a_peer_that_asks_for_tls_and_says_nothing_is_dropped(certs: Certificates) -> None:
    server = Server(server_options(*certs.server))
    transport = MemoryTransport(server)
    transport.receive(b"STARTTLS\n")
    transport.clock.advance(UPGRADE_TIMEOUT - 1)
    assert server.events == ["made", "data"]
    transport.clock.advance(1)
    transport.settle()
    assert server.events[-1] == "lost"
    assert isinstance(server.reason, ConnectionTimedOut)


def test_after_the_handshake_an_upgrade_has_no_time_limit(certs: Certificates) -> None:
    client, server = Client(client_options("server.test", ca=certs.ca)), Server(server_options(*certs.server))
    link = connect_in_memory(client, server)
    link.flush()
    link.clock.advance(2 * UPGRADE_TIMEOUT)
    link.flush()
    assert "lost" not in client.events + server.events
