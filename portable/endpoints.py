r"""Endpoint strings: where to listen, and where to connect to, as a person writes it in one word.

Listening:

    tcp:PORT[:interface=IP][:backlog=N][:reuse_port=1]
    tls:PORT:certificate=FILE:privkey=FILE[:clientca=FILE] and the options of tcp;
        certificate and privkey again for other host names
    unix:PATH[:mode=660][:backlog=N]
    systemd:NAME

Connecting:

    tcp:HOST:PORT[:timeout=SECONDS]
    tls:HOST:PORT[:ca=FILE][:certificate=FILE:privkey=FILE][:timeout=SECONDS]
    unix:PATH[:timeout=SECONDS]

A colon inside a field is written `\:` and a backslash `\\`, or the field (or the value after `=`) stands in
square brackets, as IPv6 addresses do: `tcp:80:interface=[::1]`. `str(endpoint)` gives the shortest string
that means the same.
"""

from __future__ import annotations

import dataclasses
import typing

from portable.endpointfields import BACKLOG, CONNECT_TIMEOUT, TIMEOUT_DIGITS, Fields, escape, is_number
from portable.errors import ConnectTimedOut, TimedOut
from portable.tls import client_options, server_options, tls_factory

if typing.TYPE_CHECKING:
    from portable.deferred import Deferred
    from portable.protocol import StreamProtocol
    from portable.reactor import Reactor
    from portable.tls import TLSOptions, TLSTransport

__all__ = [
    "BACKLOG",
    "CONNECT_TIMEOUT",
    "SystemdEndpoint",
    "TCPClientEndpoint",
    "TCPEndpoint",
    "TLSClientEndpoint",
    "TLSEndpoint",
    "UnixClientEndpoint",
    "UnixEndpoint",
    "escape",
    "parse_client_endpoint",
    "parse_endpoint",
]

P = typing.TypeVar("P", bound="StreamProtocol")

# --- Where to listen --------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class TCPEndpoint:
    """Listen on a TCP port.

    Attributes:
        port: 0 takes any free one.
        interface: a literal IP address, "localhost", or "" for every address of this machine.
        backlog: connections that may wait in the system's queue.
        reuse_port: let other processes bind the same port (SO_REUSEPORT).
    """

    port: int
    interface: str = ""
    backlog: int = BACKLOG
    reuse_port: bool = False

    def __str__(self) -> str:
        return "".join([f"tcp:{self.port}", *_socket_options(self)])


@dataclasses.dataclass(frozen=True)
class TLSEndpoint:
    """Listen on a TCP port and speak TLS from the first byte. As `TCPEndpoint`, and:

    Attributes:
        certificate: PEM file with the certificate and its chain.
        privkey: PEM file with its private key; "" if that is in `certificate` too.
        clientca: PEM file of those who may sign the clients' certificates, which are then required; "" asks
            for none.
        others: further certificates with their keys, as the first. A client that asks for a host name gets the
            first certificate that is for it, and `certificate` if none is.
    """

    port: int
    certificate: str
    privkey: str = ""
    clientca: str = ""
    interface: str = ""
    backlog: int = BACKLOG
    reuse_port: bool = False
    others: tuple[tuple[str, str], ...] = ()

    def options(self, alpn: typing.Sequence[str] = ()) -> TLSOptions:
        """Load the files. For `alpn` see `server_options`.

        Raises:
            ConfigurationError: one of them cannot be used.
        """
        return server_options(
            self.certificate,
            self.privkey or None,
            alpn=alpn,
            client_ca=self.clientca or None,
            require_client_certificate=bool(self.clientca),
            others=[(certificate, privkey or None) for certificate, privkey in self.others],
        )

    def __str__(self) -> str:
        words = [f"tls:{self.port}"]
        pairs = [(self.certificate, self.privkey), *self.others]
        has_keys = any(privkey for _, privkey in pairs)
        for certificate, privkey in pairs:
            words.append(f":certificate={escape(certificate)}")
            if has_keys:
                words.append(f":privkey={escape(privkey or certificate)}")
        if self.clientca:
            words.append(f":clientca={escape(self.clientca)}")
        return "".join([*words, *_socket_options(self)])


@dataclasses.dataclass(frozen=True)
class UnixEndpoint:
    """Listen on a Unix socket.

    Attributes:
        path: of the socket's file.
        mode: its permissions, such as 0o660; None leaves them to the umask.
        backlog: connections that may wait in the system's queue.
    """

    path: str
    mode: int | None = None
    backlog: int = BACKLOG

    def __str__(self) -> str:
        words = [f"unix:{escape(self.path)}"]
        if self.mode is not None:
            words.append(f":mode={self.mode:o}")
        if self.backlog != BACKLOG:
            words.append(f":backlog={self.backlog}")
        return "".join(words)


@dataclasses.dataclass(frozen=True)
class SystemdEndpoint:
    """Listen on the sockets that systemd opened for us (sd_listen_fds).

    Attributes:
        name: the FileDescriptorName= of the socket unit; or the number of the socket, counted from 0.
    """

    name: str

    def __str__(self) -> str:
        return f"systemd:{escape(self.name)}"


# --- Where to connect -------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class TCPClientEndpoint:
    """Connect to a TCP port. `timeout` is in seconds, for everything, name resolution included."""

    host: str
    port: int
    timeout: float = CONNECT_TIMEOUT

    def __str__(self) -> str:
        return "".join([f"tcp:{_host(self.host)}:{self.port}", *_timeout_option(self.timeout)])

    def connect(self, reactor: Reactor, factory: typing.Callable[[], P]) -> Deferred[P]:
        """Open a connection: see `Streams.connect`."""
        return reactor.connect(factory, self.host, self.port, timeout=self.timeout)


@dataclasses.dataclass(frozen=True)
class TLSClientEndpoint:
    """Connect to a TCP port and speak TLS from the first byte. The server's certificate must be for `host`.

    Attributes:
        ca: PEM file of those whose signature we trust; "" means the system's.
        certificate: PEM file with our own certificate and its chain; "" shows none.
        privkey: PEM file with its private key; "" if that is in `certificate` too.
        timeout: seconds for everything, from name resolution to the end of the handshake.
    """

    host: str
    port: int
    ca: str = ""
    certificate: str = ""
    privkey: str = ""
    timeout: float = CONNECT_TIMEOUT

    def __str__(self) -> str:
        words = [f"tls:{_host(self.host)}:{self.port}"]
        for key, value in (("ca", self.ca), ("certificate", self.certificate), ("privkey", self.privkey)):
            if value:
                words.append(f":{key}={escape(value)}")
        return "".join([*words, *_timeout_option(self.timeout)])

    def connect(self, reactor: Reactor, factory: typing.Callable[[], P]) -> Deferred[P]:
        """Open a connection. The Deferred fires when the handshake is done.

        Fails with a ConnectError, or with a TLSError if TLS could not be agreed on.

        Raises:
            ConfigurationError: one of the files cannot be used.
        """
        options = client_options(
            self.host,
            ca=self.ca or None,
            certificate=self.certificate or None,
            privkey=self.privkey or None,
        )
        deadline = reactor.time() + self.timeout
        wrapped = tls_factory(factory, options)
        connecting = reactor.connect(wrapped, self.host, self.port, timeout=self.timeout)

        def connected(tls: TLSTransport) -> Deferred[P]:
            def shaken(_: None) -> P:
                return typing.cast("P", tls.get_protocol())

            def failed(error: Exception) -> typing.NoReturn:
                tls.abort()
                if isinstance(error, TimedOut):
                    raise ConnectTimedOut(
                        f"the TLS handshake with {self.host} port {self.port} took too long"
                    ) from error
                raise error

            left = max(deadline - reactor.time(), 0.0)
            return tls.handshake.timeout(left, reactor).add_callbacks(shaken, failed)

        return connecting.add_callback(connected)


@dataclasses.dataclass(frozen=True)
class UnixClientEndpoint:
    """Connect to a Unix socket. `timeout` is in seconds."""

    path: str
    timeout: float = CONNECT_TIMEOUT

    def __str__(self) -> str:
        return "".join([f"unix:{escape(self.path)}", *_timeout_option(self.timeout)])

    def connect(self, reactor: Reactor, factory: typing.Callable[[], P]) -> Deferred[P]:
        """Open a connection: see `UnixSockets.connect_unix`."""
        return reactor.connect_unix(factory, self.path, timeout=self.timeout)


if typing.TYPE_CHECKING:
    Endpoint = TCPEndpoint | TLSEndpoint | UnixEndpoint | SystemdEndpoint
    ClientEndpoint = TCPClientEndpoint | TLSClientEndpoint | UnixClientEndpoint

# --- From text --------------------------------------------------------------------------------------------


def parse_endpoint(text: str) -> Endpoint:
    """Return where to listen.

    Raises:
        ConfigurationError: `text` is not an endpoint string; the message says what, where and what would be.
    """
    fields = Fields(text)
    kind = fields.take("a kind: tcp, tls, unix or systemd")
    endpoint: Endpoint
    if kind == "tcp":
        port = fields.port()
        endpoint = TCPEndpoint(port, fields.interface(), fields.backlog(), fields.flag("reuse_port"))
    elif kind == "tls":
        port = fields.port()
        first, *others = fields.certificates()
        endpoint = TLSEndpoint(
            port,
            *first,
            fields.option("clientca"),
            fields.interface(),
            fields.backlog(),
            fields.flag("reuse_port"),
            tuple(others),
        )
    elif kind == "unix":
        endpoint = UnixEndpoint(fields.path(), fields.mode(), fields.backlog())
    elif kind == "systemd":
        endpoint = SystemdEndpoint(fields.take("the name of a socket"))
    elif is_number(kind):
        raise fields.error(f"a kind of endpoint must come first: write tcp:{text}")
    else:
        raise fields.error(f"{kind!r} is no kind of endpoint; use tcp, tls, unix or systemd")
    fields.finish()
    return endpoint


def parse_client_endpoint(text: str) -> ClientEndpoint:
    """Return where to connect to.

    Raises:
        ConfigurationError: as `parse_endpoint`.
    """
    fields = Fields(text)
    kind = fields.take("a kind: tcp, tls or unix")
    endpoint: ClientEndpoint
    if kind == "tcp":
        host = fields.take("a host")
        endpoint = TCPClientEndpoint(host, fields.port(lowest=1), fields.timeout())
    elif kind == "tls":
        host = fields.take("a host")
        port = fields.port(lowest=1)
        ca, certificate, privkey = fields.option("ca"), fields.option("certificate"), fields.option("privkey")
        if privkey and not certificate:
            raise fields.error("privkey without a certificate: add :certificate=FILE")
        endpoint = TLSClientEndpoint(host, port, ca, certificate, privkey, fields.timeout())
    elif kind == "unix":
        endpoint = UnixClientEndpoint(fields.path(), fields.timeout())
    else:
        raise fields.error(f"{kind!r} is no kind of endpoint to connect to; use tcp, tls or unix")
    fields.finish()
    return endpoint


def _host(host: str) -> str:
    return f"[{host}]" if ":" in host and "]" not in host else escape(host)


def _socket_options(endpoint: TCPEndpoint | TLSEndpoint) -> list[str]:
    words: list[str] = []
    if endpoint.interface:
        words.append(f":interface={_host(endpoint.interface)}")
    if endpoint.backlog != BACKLOG:
        words.append(f":backlog={endpoint.backlog}")
    if endpoint.reuse_port:
        words.append(":reuse_port=1")
    return words


def _timeout_option(timeout: float) -> list[str]:
    if timeout == CONNECT_TIMEOUT:
        return []
    # Never with an exponent, which nobody writes and `Fields.timeout` does not read.
    return [":timeout=" + f"{timeout:.{TIMEOUT_DIGITS}f}".rstrip("0").rstrip(".")]
