"""What a transport is: the calls a protocol makes.

No method here ever blocks, and none calls the protocol before it has returned. Unless it says otherwise, a
method may be called at any time from `connection_made` on, after `close` and `connection_lost` too (it then
does nothing), and only from the reactor's thread.

Keys of `get_extra_info`, the same on every backend:

    peername    Address of the peer; for a Unix socket its path as str, "" when it has none
    sockname    Address of our end, likewise
    peercert    the peer's verified certificate as a dict (TLS with client certificates)
    tls_version, tls_cipher, alpn_protocol, server_name    str or None, once a TLS handshake is done
    bytes_received, bytes_sent    int, bytes of payload that have passed so far
    peer_uid    user id of whoever listens at, or has opened, the other end of a Unix socket; not on java.nio,
                nor where the system cannot tell
    proxied     True where `peername` was told by a PROXY protocol header

A key that a transport does not know gives the default.
"""

from __future__ import annotations

import typing

if typing.TYPE_CHECKING:
    from portable.deferred import Deferred
    from portable.protocol import StreamProtocol
    from portable.tls.options import TLSOptions

__all__ = [
    "HIGH_WATER",
    "LOW_WATER",
    "Address",
    "Buffer",
    "DatagramTransport",
    "SecuredTransport",
    "Transport",
    "normalise_host",
]

# Bytes. As asyncio's: enough to keep a fast peer busy for a turn of the loop, small enough for 10,000 slow
# ones.
HIGH_WATER = 64 * 1024
LOW_WATER = HIGH_WATER // 4


class Address(typing.NamedTuple):
    """An IP address and port. IPv4-mapped IPv6 addresses are shown as IPv4, scopes as "fe80::1%eth0"."""

    host: str
    port: int

    def __str__(self) -> str:
        """Return "127.0.0.1:80" or "[::1]:80"."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def normalise_host(host: str) -> str:
    """Return a literal IP address as `Address.host` spells it: IPv4-mapped IPv6 becomes IPv4."""
    if host[:7].lower() == "::ffff:" and "." in host:
        return host[7:]
    return host


class Transport(typing.Protocol):
    """One open byte stream."""

    def write(self, data: Buffer) -> None:
        """Send `data` after everything written before. Buffers without limit: obey `pause_writing`, which is
        called at the end of the loop turn, or look at `get_write_buffer_size` while writing much at once.

        A mutable buffer has been copied when this returns. Ignored after `close`, `abort`, `write_eof` or
        when the peer is gone: a dead peer is told by `connection_lost`, never by an exception here.

        Raises:
            TypeError: `data` is not bytes, bytearray or memoryview.
        """

    def writelines(self, chunks: typing.Iterable[Buffer]) -> None:
        """Send the concatenation of `chunks`, as one `write`."""

    def write_eof(self) -> None:
        """Flush, then end our direction of the stream; reading goes on. A second call does nothing.

        Raises:
            LocalProtocolError: the transport cannot half-close (see `can_write_eof`).
        """

    def can_write_eof(self) -> bool:
        """Return whether `write_eof` works here: TCP and Unix sockets yes, TLS no."""

    def close(self) -> None:
        """Stop reading, flush what was written, then close; `connection_lost(None)` follows."""

    def abort(self) -> None:
        """Close at once and drop what was not sent yet; `connection_lost(None)` follows."""

    def is_closing(self) -> bool:
        """Return whether `close` or `abort` was called, or the connection is lost."""

    def pause_reading(self) -> None:
        """Call neither `data_received` nor `eof_received` until `resume_reading`. Idempotent."""

    def resume_reading(self) -> None:
        """Undo `pause_reading`. Idempotent."""

    def is_reading(self) -> bool:
        """Return whether data would be delivered: neither paused nor closing."""

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set the water marks of the write buffer in bytes: `pause_writing` above `high`, `resume_writing` at
        or below `low`. Defaults: HIGH_WATER, and a quarter of `high`.

        Raises:
            ValueError: not 0 <= low <= high.
        """

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Return (low, high) in bytes."""

    def get_write_buffer_size(self) -> int:
        """Return how many bytes were written and not yet taken by the system."""

    def get_extra_info(self, name: str, default: typing.Any = None) -> typing.Any:
        """Return what is known under `name` (see the module's list), or `default`."""

    def set_protocol(self, protocol: StreamProtocol) -> None:
        """Make all further calls to `protocol`. Its `connection_made` is not called."""

    def get_protocol(self) -> StreamProtocol:
        """Return the protocol that is being called."""

    def start_tls(self, options: TLSOptions, unread: int) -> SecuredTransport:
        """Speak TLS from the next byte on, in both directions, and return the transport to use from now on.

        What was written before leaves in clear; what is written to the returned transport waits for the
        handshake. The protocol stays the same and gets no second `connection_made`; a handshake that fails is
        told by its `connection_lost`, and so is one that takes longer than a minute. The client or server side
        is chosen by `options`.

        Args:
            options: made by `portable.tls.server_options` or `client_options`.
            unread: how many received bytes the protocol has not acted on yet, such as `len(line_reader)`.
                They came before the handshake and anyone on the path may have added them, so they must not be
                taken for protected ones (CVE-2011-0411).

        Raises:
            RemoteProtocolError: `unread` is not 0. The connection must be closed.
            LocalProtocolError: the transport is closing, or speaks TLS already.
        """

    def send_file(self, file: typing.BinaryIO, offset: int, count: int) -> Deferred[int]:
        """Send `count` bytes of `file` from `offset` after everything written before, without passing them
        through Python where the system can. Writes made meanwhile follow the file.

        `file` must stay open until the Deferred fires, and is not closed. It does not need to be at any
        position, and its position afterwards is undefined.

        Returns:
            The number of bytes sent, which is less than `count` if the file ended before. Fails with
            ConnectionLost if the connection ends first, with FileError if the file cannot be read.
        """


class SecuredTransport(Transport, typing.Protocol):
    """A byte stream over TLS, or a handshake that is to make it one."""

    @property
    def handshake(self) -> Deferred[None]:
        """Fires when the handshake is done; fails with a TransportError if the connection ends before that."""


class DatagramTransport(typing.Protocol):
    """One datagram socket."""

    def sendto(self, data: Buffer, addr: Address | None = None) -> None:
        """Send one datagram, to `addr` or, where the socket is connected, to its peer. Never blocks; datagrams
        wait in order while the system is full, and are dropped once 64 KiB wait. That nothing can be sent to an
        address from here (port 0, for one) is told by `error_received`, and so is an empty datagram from a
        connected socket of Java's, which cannot send it (EOPNOTSUPP).

        Raises:
            TypeError: `data` is not bytes, bytearray or memoryview.
            ValueError: `addr` is missing on an unconnected socket, or has a name for a host, or no such port.
        """

    def close(self) -> None:
        """Send what waits, then close; `connection_lost(None)` follows."""

    def abort(self) -> None:
        """Close at once; `connection_lost(None)` follows."""

    def is_closing(self) -> bool:
        """Return whether `close` or `abort` was called."""

    def get_extra_info(self, name: str, default: typing.Any = None) -> typing.Any:
        """Return what is known under `name` (see the module's list), or `default`."""


if typing.TYPE_CHECKING:
    # What `write` takes.
    Buffer = bytes | bytearray | memoryview
