"""Where a server listens: an endpoint with a protocol factory behind it, bound, started and drained."""

from __future__ import annotations

import os
import typing

from portable.deferred import succeed
from portable.endpoints import SystemdEndpoint, TCPEndpoint, TLSEndpoint, UnixEndpoint
from portable.errors import ConfigurationError, ListenError, LocalProtocolError
from portable.listener.activation import environment, inherited_sockets
from portable.listener.guard import Guard
from portable.listener.options import ListenerOptions
from portable.listener.reception import Reception
from portable.listener.table import ConnectionTable
from portable.peers import PeerSet
from portable.tls import CertificateWatch
from portable.transport import Address

if typing.TYPE_CHECKING:
    from portable.deferred import Deferred
    from portable.endpoints import Endpoint
    from portable.protocol import DatagramProtocol, ProtocolFactory
    from portable.reactor import Listener, Reactor
    from portable.tls import TLSOptions
    from portable.transport import DatagramTransport

__all__ = ["DatagramPort", "ServerPort"]

# Where the ports begin that everybody may bind, unless the administrator has moved it.
FIRST_FREE_PORT = 1024


class ServerPort:
    """One endpoint with a protocol factory behind it. `bind`, `start`, then `drain`, each once.

    Args:
        name: of the server, for the log and the metrics.
        factory: makes the protocol of each connection, once that has passed its limits, PROXY header and TLS
            handshake. An exception that leaves it is logged by the reactor and ends that connection only.
        unix_only: refuse what systemd gives unless it is a Unix socket.

    Attributes:
        name, endpoint, options: as given.
        tls: the options in use, with their certificates; None before `bind` or without TLS.
    """

    def __init__(
        self,
        name: str,
        factory: ProtocolFactory,
        endpoint: Endpoint,
        options: ListenerOptions | None = None,
        *,
        unix_only: bool = False,
    ) -> None:
        self.name = name
        self.endpoint = endpoint
        self.options = ListenerOptions() if options is None else options
        self.tls: TLSOptions | None = None
        self._factory = factory
        self._unix_only = unix_only
        self._proxies = PeerSet(self.options.proxy_protocol_from, f"{name}: proxy_protocol_from")
        self._listeners: list[Listener] = []
        self._address: Address | str = ""
        self._table: ConnectionTable | None = None
        self._watch: CertificateWatch | None = None
        self._reactor: Reactor | None = None

    @property
    def kind(self) -> str:
        """Return "tcp", "tls" or "unix"; for a socket from systemd this is known when it is bound."""
        if isinstance(self.endpoint, TLSEndpoint):
            return "tls"
        if isinstance(self.endpoint, TCPEndpoint) or (
            isinstance(self.endpoint, SystemdEndpoint) and isinstance(self._address, Address)
        ):
            return "tcp"
        return "unix"

    @property
    def address(self) -> Address | str:
        """Return where it is bound, with the real port; it stays when it is bound no more. "" before `bind`."""
        return self._address

    @property
    def accepted(self) -> int:
        """Return how many connections were taken, ever."""
        return 0 if self._table is None else self._table.accepted

    @property
    def refused(self) -> int:
        """Return how many connections were closed because of a limit, ever."""
        return 0 if self._table is None else self._table.refused

    @property
    def open(self) -> int:
        """Return how many connections are open."""
        return 0 if self._table is None else self._table.open

    @property
    def bytes_received(self) -> int:
        """Return the bytes received on all connections, ever. Goes through the open ones."""
        return 0 if self._table is None else self._table.bytes_received()

    @property
    def bytes_sent(self) -> int:
        """Return the bytes sent on all connections, ever. Goes through the open ones."""
        return 0 if self._table is None else self._table.bytes_sent()

    def describe(self) -> str:
        """Return "web tcp 127.0.0.1:8080"; before `bind` the endpoint stands for kind and address."""
        return f"{self.name} {self.kind} {self._address}" if self._address else f"{self.name} {self.endpoint}"

    def bind(self, reactor: Reactor, environ: typing.Mapping[str, str] | None = None) -> None:
        """Bind, and load certificates. Nothing is accepted before `start`.

        Args:
            environ: where systemd tells its sockets; None means this process's environment.

        Raises:
            ListenError: the message begins with our name and the endpoint.
            ConfigurationError: a certificate cannot be used, systemd gave no such socket, or one that is no
                Unix socket where it has to be one.
            LocalProtocolError: it is bound already.
        """
        if self._reactor is not None:
            raise LocalProtocolError(f"{self.describe()} is bound already")
        endpoint = self.endpoint
        options = self.options
        if isinstance(endpoint, TLSEndpoint):
            self.tls = endpoint.options(options.alpn)
        table = ConnectionTable(
            self.name,
            reactor,
            max_connections=options.max_connections,
            max_per_peer=options.max_per_peer,
            idle_timeout=options.idle_timeout,
            # Nobody is to be blamed for our own throttle.
            min_rate=min(options.min_rate, options.throttle // 2) if options.throttle else options.min_rate,
        )
        reception = Reception(
            self.name,
            reactor,
            self._factory,
            table,
            tls=self.tls,
            proxies=self._proxies,
            inside_tls=options.proxy_inside_tls,
            timeout=options.handshake_timeout,
            throttle=options.throttle,
        )
        try:
            self._listen(reactor, reception, environment() if environ is None else environ)
        except ListenError as exc:
            self._close_listeners()
            raise _named(exc, self.describe(), self.endpoint) from exc
        except ConfigurationError:
            self._close_listeners()
            raise
        for listener in self._listeners:
            listener.pause_accepting()
        self._address = self._listeners[0].address
        self._table = table
        self._reactor = reactor

    def _listen(self, reactor: Reactor, reception: Reception, environ: typing.Mapping[str, str]) -> None:
        endpoint = self.endpoint

        def guard() -> Guard:
            return Guard(reception)

        if isinstance(endpoint, SystemdEndpoint):
            for descriptor in inherited_sockets(endpoint.name, environ, os.getpid()):
                listener = reactor.adopt_listener(guard, descriptor)
                self._listeners.append(listener)
                if self._unix_only and isinstance(listener.address, Address):
                    raise ConfigurationError(
                        f"{self.name} needs a Unix socket, and systemd gave it {listener.address}; write "
                        "ListenStream=/a/path in the .socket unit",
                        f"endpoint '{endpoint}'",
                    )
        elif isinstance(endpoint, UnixEndpoint):
            listener = reactor.listen_unix(guard, endpoint.path, backlog=endpoint.backlog, mode=endpoint.mode)
            self._listeners.append(listener)
        else:
            listener = reactor.listen(
                guard,
                endpoint.interface,
                endpoint.port,
                backlog=endpoint.backlog,
                reuse_port=endpoint.reuse_port,
            )
            self._listeners.append(listener)

    def start(self) -> None:
        """Accept connections, and watch the certificates' files."""
        for listener in self._listeners:
            listener.resume_accepting()
        if self.tls is not None and self._reactor is not None:
            self._watch = CertificateWatch(self.tls, self._reactor)

    def reload(self) -> bool:
        """Read the certificates again, for the connections to come.

        Returns:
            Whether that worked. If not, the reason is in the log and the old ones stay in use.
        """
        return self.tls is None or self.tls.reload()

    def stop_accepting(self) -> None:
        """Stop listening; open connections go on. Idempotent."""
        self._close_listeners()
        if self._watch is not None:
            self._watch.stop()
            self._watch = None

    def _close_listeners(self) -> None:
        for listener in self._listeners:
            listener.close()
        self._listeners = []

    def drain(self, seconds: float) -> Deferred[int]:
        """Stop accepting, let every connection say goodbye (see SupportsDrain), and abort those that are still
        open after `seconds`. Called again, it only sets a new deadline: 0 aborts now.

        Returns:
            How many were aborted, when the last connection is gone; at once if none is open.
        """
        self.stop_accepting()
        return succeed(0) if self._table is None else self._table.drain(seconds)

    def forget_unseen(self) -> None:
        """Have `open` not count connections that ended after a protocol replaced itself. Goes through all."""
        if self._table is not None:
            self._table.forget_unseen()


class DatagramPort:
    """One UDP socket with a protocol behind it. Used as a `ServerPort`.

    Args:
        endpoint: its port, interface and reuse_port count.
    """

    kind = "udp"

    def __init__(
        self, name: str, factory: typing.Callable[[], DatagramProtocol], endpoint: TCPEndpoint
    ) -> None:
        self.name = name
        self.endpoint = endpoint
        self._factory = factory
        self._transport: DatagramTransport | None = None
        self._address: Address | str = ""

    @property
    def address(self) -> Address | str:
        """Return where it is bound, with the real port. "" before `bind`."""
        return self._address

    def describe(self) -> str:
        """Return "daytime udp 127.0.0.1:13"."""
        return f"{self.name} udp {self._address or Address(self.endpoint.interface, self.endpoint.port)}"

    def bind(self, reactor: Reactor) -> None:
        """Bind. Datagrams are delivered as soon as the reactor runs.

        Raises:
            ListenError: see `Streams.listen`.
            LocalProtocolError: it is bound already.
        """
        if self._transport is not None:
            raise LocalProtocolError(f"{self.describe()} is bound already")
        endpoint = self.endpoint
        try:
            self._transport = reactor.listen_datagram(
                self._factory, endpoint.interface, endpoint.port, reuse_port=endpoint.reuse_port
            )
        except ListenError as exc:
            raise _named(exc, self.describe(), endpoint) from exc
        self._address = self._transport.get_extra_info("sockname", "")

    def start(self) -> None:
        """Do nothing: there is nothing to accept."""

    def reload(self) -> bool:
        """Do nothing: there are no certificates."""
        return True

    def stop_accepting(self) -> None:
        """Close, after sending what waits. Idempotent."""
        if self._transport is not None:
            self._transport.close()

    def drain(self, seconds: float) -> Deferred[int]:
        """Close: datagrams are not in flight for long. What waits to be sent is dropped if `seconds` is 0."""
        self.stop_accepting()
        if self._transport is not None and seconds <= 0:
            self._transport.abort()
        return succeed(0)


def _named(exc: ListenError, name: str, endpoint: Endpoint) -> ListenError:
    """Return the same error, whose message says which server it was, and perhaps what to do."""
    number = endpoint.port if isinstance(endpoint, (TCPEndpoint, TLSEndpoint)) else FIRST_FREE_PORT
    advice = ""
    if exc.code == "EACCES" and number < FIRST_FREE_PORT:
        advice = f"; ports below {FIRST_FREE_PORT} are often root's"
    elif exc.code == "EADDRINUSE" and isinstance(endpoint, UnixEndpoint):
        advice = ", or a file that is no socket is in its place"
    return type(exc)(f"{name}: {exc}{advice}", exc.code)
