"""What a reactor is: the loop that turns sockets, timers and threads into calls.

A reactor is the sum of its capabilities, each a small interface below. A backend says in `capabilities` which
it has; calling a method of one it lacks raises `CapabilityMissing`, which names both. There is no global
reactor: whoever needs one is given it.

All methods must be called from the thread that runs the reactor, except those of `Threads` marked otherwise.
Times are seconds as float.

One turn of the loop, on every backend:

1. run what `call_soon` had queued when the turn began, in order;
2. send what connections have written since the last turn, once per connection;
3. wait for events, at most until the next timer is due (not at all if something is queued);
4. deliver the events;
5. run the timers that are due, in order of their time, then of their making.

What these calls write is sent at step 2 of the next turn, which follows without waiting. A backend may be
sooner with what a connection writes while it is told about its own data, and send it when that call returns.
"""

from __future__ import annotations

import typing

from portable.clock import Clock

if typing.TYPE_CHECKING:
    from portable.clock import Call
    from portable.deferred import Deferred
    from portable.process import Process, ProcessFactory
    from portable.protocol import DatagramProtocol, ProtocolFactory, StreamProtocol
    from portable.transport import Address, DatagramTransport

__all__ = [
    "CAPABILITIES",
    "Adoption",
    "Datagrams",
    "Life",
    "Listener",
    "Names",
    "Processes",
    "Reactor",
    "Signals",
    "Streams",
    "Threads",
    "UnixSockets",
]

# Every name that may stand in `Reactor.capabilities`.
CAPABILITIES = (
    "time",
    "streams",
    "datagrams",
    "unix",
    "adopt",
    "threads",
    "names",
    "processes",
    "signals",
)

T = typing.TypeVar("T")
P = typing.TypeVar("P", bound="StreamProtocol")


class Listener(typing.Protocol):
    """A bound socket that accepts connections."""

    @property
    def address(self) -> Address | str:
        """Where it is bound, with the real port when 0 was asked for; the path for a Unix socket."""

    def pause_accepting(self) -> None:
        """Leave new connections waiting in the system's queue. Idempotent."""

    def resume_accepting(self) -> None:
        """Undo `pause_accepting`. Idempotent."""

    def close(self) -> None:
        """Stop listening, now. Connections accepted before go on. Removes a Unix socket's file. Idempotent."""


class Streams(typing.Protocol):
    """Capability "streams": TCP."""

    def listen(
        self,
        factory: ProtocolFactory,
        host: str = "",
        port: int = 0,
        *,
        backlog: int = 1024,
        reuse_port: bool = False,
    ) -> Listener:
        """Accept TCP connections, each with a protocol of its own from `factory`.

        Out of file descriptors or memory, accepting stops for a second and then goes on; the loop stays alive
        and says so in the log, once for each such time. A byte that a peer sends as urgent data comes in its
        place in the stream, as RFC 6093 4 has it: some FTP and Telnet clients send their commands so.

        Args:
            host: a literal IP address, "localhost" (127.0.0.1), or "" for every address of this machine, IPv4
                and IPv6 (on one dual-stack socket where the system has that).
            port: 0 takes any free one.
            backlog: how many connections may wait in the system's queue.
            reuse_port: let other processes bind the same address (SO_REUSEPORT); the system shares out.

        Raises:
            ListenError: one of its subclasses, with the code and a message naming the address.
        """

    def connect(
        self,
        factory: typing.Callable[[], P],
        host: str,
        port: int,
        *,
        timeout: float = 30.0,
        local_host: str = "",
    ) -> Deferred[P]:
        """Open a TCP connection.

        A name with several addresses is tried as RFC 8305 says: IPv6 and IPv4 in turn, the next one 250 ms
        after the last or as soon as it failed; the first to answer wins and the others are dropped.

        Args:
            factory: called once, when the connection is open.
            host: a literal IP address or a name.
            timeout: seconds for everything, name resolution included.
            local_host: the literal address to connect from.

        Returns:
            The protocol, just after its `connection_made`. Fails with a ConnectError; if several addresses
            were tried, with that of the last. Cancelling closes what is under way.
        """


class UnixSockets(typing.Protocol):
    """Capability "unix": stream sockets named by a path."""

    def listen_unix(
        self, factory: ProtocolFactory, path: str, *, backlog: int = 1024, mode: int | None = None
    ) -> Listener:
        """Accept connections on the Unix socket `path`, which gets the permissions `mode` before the first
        connection. A socket file nobody listens on is replaced; any other file is not.

        Raises:
            ListenError: as `Streams.listen`.
        """

    def connect_unix(self, factory: typing.Callable[[], P], path: str, *, timeout: float = 30.0) -> Deferred[P]:
        """Open a connection to the Unix socket `path`. As `Streams.connect`."""


class Adoption(typing.Protocol):
    """Capability "adopt": sockets made by somebody else, such as systemd."""

    def adopt_listener(self, factory: ProtocolFactory, fd: int) -> Listener:
        """Accept connections on the listening socket with descriptor `fd`, which now belongs to the listener.

        Raises:
            ListenError: `fd` is not a listening stream socket.
        """


class Datagrams(typing.Protocol):
    """Capability "datagrams": UDP."""

    def listen_datagram(
        self,
        factory: typing.Callable[[], DatagramProtocol],
        host: str = "",
        port: int = 0,
        *,
        reuse_port: bool = False,
    ) -> DatagramTransport:
        """Bind a UDP socket. Arguments and errors as `Streams.listen`."""

    def connect_datagram(
        self, factory: typing.Callable[[], DatagramProtocol], host: str, port: int
    ) -> DatagramTransport:
        """Make a UDP socket that sends to and receives from one address only, a literal one.

        Raises:
            ConnectError: the system refused at once.
        """


class Threads(typing.Protocol):
    """Capability "threads"."""

    def call_soon_threadsafe(self, callback: typing.Callable[..., object], *args: object) -> Call:
        """Call `callback(*args)` in the reactor's thread, soon. From any thread, and from signal handlers."""

    def run_in_thread(self, function: typing.Callable[..., T], *args: object) -> Deferred[T]:
        """Call `function(*args)` in a thread of a small pool and give its result, or its exception, in the
        reactor's thread. The call gets a copy of the caller's context variables. Cancelling the Deferred
        drops the result; a call that has begun runs to its end. Fails with RuntimeError if the system has no
        thread for it.
        """


class Names(typing.Protocol):
    """Capability "names"."""

    def resolve(self, host: str) -> Deferred[list[str]]:
        """Give the literal addresses of `host`, IPv6 and IPv4, in the order the system prefers, each once.

        A literal address gives itself without asking anybody. Fails with NameNotFound.
        """


class Processes(typing.Protocol):
    """Capability "processes": child processes whose pipes are transports."""

    def spawn(
        self,
        factory: ProcessFactory,
        argv: typing.Sequence[str],
        *,
        env: typing.Mapping[str, str],
        cwd: str | None = None,
        merge_stderr: bool = False,
    ) -> Process:
        """Start the program `argv[0]` (searched on `env`'s PATH) in a process group of its own.

        No shell is involved and no descriptor but 0, 1 and 2 is inherited.

        Args:
            factory: makes the protocol; see `portable.process` for the order of calls.
            env: the whole environment of the child; nothing is added.
            merge_stderr: send the child's standard error into its standard output.

        Raises:
            FileError: the program cannot be started.
        """


class Signals(typing.Protocol):
    """Capability "signals". Only where the reactor runs in the process's main thread."""

    def add_signal_handler(self, signum: int, callback: typing.Callable[..., object], *args: object) -> None:
        """Call `callback(*args)` from the loop whenever signal `signum` has come. Replaces an earlier one.

        Raises:
            CapabilityMissing: not in the main thread.
        """

    def remove_signal_handler(self, signum: int) -> None:
        """Give the signal back the effect it had before."""


class Life(typing.Protocol):
    """Every reactor has this."""

    @property
    def name(self) -> str:
        """The backend's name: "select", "nio"."""

    @property
    def capabilities(self) -> frozenset[str]:
        """Which of CAPABILITIES it has, here and now."""

    @property
    def running(self) -> bool:
        """Whether `run` is under way."""

    def run(self) -> None:
        """Run turns of the loop until `stop`. May be called again afterwards."""

    def stop(self) -> None:
        """Have `run` return after the current turn. Connections stay as they are: close them first."""

    def step(self, timeout: float | None = 0.0) -> None:
        """Run one turn, waiting at most `timeout` seconds (None: as long as it takes) for something to happen.

        For event loops that have us as their guest, and for tests. Not while `run` is under way.
        """

    def loop_lag(self, asker: str = "") -> float:
        """Return the longest time in seconds, since `asker` last asked, that one turn spent on anything but
        waiting; 0.0 if there was no turn. An asker who comes for the first time may miss what others were told.
        """

    def close(self) -> None:
        """Abort every connection, close every listener, end the threads and free what the system lent.

        Protocols get their `connection_lost`, children are killed, and whoever still waits for a connection, a
        name or a thread's result gets Cancelled. Afterwards no method may be called, but `close` itself, which
        does nothing.

        Raises:
            LocalProtocolError: this was called from the loop. Call `stop`, and `close` when `run` has returned.
        """


class Reactor(
    Clock,
    Streams,
    UnixSockets,
    Adoption,
    Datagrams,
    Threads,
    Names,
    Processes,
    Signals,
    Life,
    typing.Protocol,
):
    """All of them together. Prefer to ask for the small interface that you use."""
