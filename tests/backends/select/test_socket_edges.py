"""What sockets, pipes and the loop over them once did wrong: each test is named for the symptom."""

from __future__ import annotations

import errno
import io
import math
import os
import signal
import socket
import sys
import threading
import typing

import pytest

from backends.select import SelectReactor
from backends.select.pollers import SelectPoller
from backends.sockets.reactor import WRITE
from portable.errors import Cancelled, ConfigurationError, ConnectError, FileError, ListenError, TransportError
from portable.process import ProcessProtocol
from portable.protocol import DatagramProtocol, Protocol
from portable.testing import wait_for, wait_until
from portable.transport import Address

if typing.TYPE_CHECKING:
    import pathlib
    from collections.abc import Callable, Iterator

    from portable.deferred import Deferred
    from portable.process import Process
    from portable.reactor import Listener, Reactor
    from portable.transport import DatagramTransport, Transport

HOST = "127.0.0.1"
BIG = 300 * 1024  # more than goes out as a small file


class Recorder(Protocol):
    """Records what it is called with."""

    transport: Transport

    def __init__(self) -> None:
        self.received = b""
        self.lost = False

    def connection_made(self, transport: Transport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.received += data

    def connection_lost(self, exc: TransportError | None) -> None:
        self.lost = True


@pytest.fixture
def plain() -> Iterator[SelectReactor]:
    """A reactor over select(), whose room for descriptors a test can take away."""
    reactor = SelectReactor("select")
    yield reactor
    reactor.close()


def fill(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no further descriptor into any `SelectPoller`."""
    monkeypatch.setattr(SelectPoller, "limit", 0)


def connected(reactor: Reactor) -> tuple[Recorder, Recorder, Listener]:
    """Return a connected client and server."""
    servers: list[Recorder] = []

    def factory() -> Recorder:
        servers.append(Recorder())
        return servers[-1]

    listener = reactor.listen(factory, HOST)
    address = listener.address
    assert isinstance(address, Address)
    client = wait_for(reactor, reactor.connect(Recorder, *address))
    wait_until(reactor, lambda: len(servers) == 1)
    return client, servers[0], listener


@pytest.mark.parametrize("delay", [30 * 24 * 3600.0, 1e12, 1e300, math.inf])
def test_timer_in_a_month_or_never_does_not_break_the_wait(reactor: Reactor, delay: float) -> None:
    timer = reactor.call_later(delay, pytest.fail)
    waker = threading.Timer(0.05, reactor.call_soon_threadsafe, [lambda: None])
    reactor.step(0.0)
    waker.start()
    reactor.step(None)
    waker.join()
    timer.cancel()


def test_wait_of_a_month_for_nothing_does_not_break_the_wait(reactor: Reactor) -> None:
    waker = threading.Timer(0.05, reactor.call_soon_threadsafe, [lambda: None])
    waker.start()
    reactor.step(30 * 24 * 3600.0)
    waker.join()


def test_reactor_without_a_descriptor_left_is_an_error_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    def socketpair() -> typing.NoReturn:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(socket, "socketpair", socketpair)
    with pytest.raises(ConfigurationError, match="cannot start: too many open files"):
        SelectReactor()


def test_interrupt_in_one_connection_does_not_strand_the_others() -> None:
    reactor = SelectReactor()

    class Interrupting(Recorder):
        def connection_lost(self, exc: TransportError | None) -> None:
            raise KeyboardInterrupt

    client, server, listener = connected(reactor)
    client.transport.set_protocol(Interrupting())
    client.transport.abort()
    server.transport.abort()
    with pytest.raises(KeyboardInterrupt):
        reactor.step()
    lost = [server.lost]
    reactor.step()
    lost.append(server.lost)
    assert lost == [False, True]
    listener.close()
    reactor.close()


def test_child_whose_input_was_closed_before_the_loop_knew_it_ends(reactor: Reactor) -> None:
    class Parent(ProcessProtocol):
        output = b""
        lost = False

        def pipe_data_received(self, fd: int, data: bytes) -> None:
            self.output += data

        def connection_lost(self) -> None:
            self.lost = True

    parent = Parent()

    def spawn() -> Process:
        child = reactor.spawn(lambda: parent, ["cat"], env={"PATH": os.environ.get("PATH", os.defpath)})
        child.stdin.write(b"all of it")
        child.stdin.close()
        return child

    reactor.call_soon(spawn)
    wait_until(reactor, lambda: parent.lost)
    assert parent.output == b"all of it"


def test_close_ends_what_the_end_of_a_connection_opens() -> None:
    reactor = SelectReactor()
    opened: list[Listener] = []

    class Reopening(Recorder):
        def connection_lost(self, exc: TransportError | None) -> None:
            opened.append(reactor.listen(Recorder, HOST))

    client, _server, _listener = connected(reactor)
    client.transport.set_protocol(Reopening())
    reactor.close()
    assert not reactor.channels
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(typing.cast("Address", opened[0].address))


def test_close_ends_a_child_that_has_not_quite_started() -> None:
    reactor = SelectReactor()
    child = reactor.spawn(ProcessProtocol, ["sleep", "60"], env={"PATH": os.environ.get("PATH", os.defpath)})
    reactor.close()
    assert child.returncode == -signal.SIGKILL


def test_close_waits_for_a_child_that_has_left_its_group(reactor: Reactor) -> None:
    """The group was killed, and the child waited for: as long as it liked."""
    output: list[bytes] = []
    left: list[int] = []

    class Child(ProcessProtocol):
        def pipe_data_received(self, fd: int, data: bytes) -> None:
            output.append(data)

        def process_exited(self, returncode: int) -> None:
            left.append(returncode)

    leave = "import os, time; os.setpgid(0, os.getpgid(os.getppid())); print(flush=True); time.sleep(50)"
    reactor.spawn(Child, [sys.executable, "-c", leave], env={})
    wait_until(reactor, lambda: bool(output))
    reactor.close()
    assert left == [-signal.SIGKILL]


def test_signal_that_cannot_be_caught_leaves_no_wake_up_descriptor(reactor: Reactor) -> None:
    before = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(before)
    with pytest.raises(OSError):  # noqa: PT011 - its text is the system's
        reactor.add_signal_handler(signal.SIGKILL, pytest.fail)
    after = signal.set_wakeup_fd(before)
    assert after == before


def test_late_event_of_another_socket_is_not_taken_for_a_connection() -> None:
    reactor = SelectReactor()
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind((HOST, 0))
        full.listen(0)
        for other in (first, second):  # fill the queue, so that the system answers nobody any more
            other.setblocking(False)
            other.connect_ex(full.getsockname())
        known = set(reactor.channels)
        connecting = reactor.connect(Recorder, HOST, full.getsockname()[1])
        (fd,) = set(reactor.channels) - known
        outcomes: list[object] = []
        connecting.add_both(outcomes.append)
        reactor.channels[fd].on_event(WRITE)
        assert outcomes == []
        connecting.cancel()
        assert fd not in reactor.channels
        assert isinstance(outcomes[0], Cancelled)
    reactor.close()


def failure(reactor: Reactor, sending: Deferred[int]) -> FileError:
    with pytest.raises(FileError) as caught:
        wait_for(reactor, sending)
    return caught.value


def test_file_object_closed_while_it_is_sent_does_not_end_the_loop(reactor: Reactor) -> None:
    client, server, listener = connected(reactor)
    file = io.BytesIO(bytes(BIG))
    sending = client.transport.send_file(file, 0, BIG)
    file.close()
    assert failure(reactor, sending).code == "EBADF"
    client.transport.write(b"after")
    wait_until(reactor, lambda: server.received.endswith(b"after"))
    listener.close()


def test_file_closed_while_it_is_sent_does_not_send_another_file(
    reactor: Reactor, tmp_path: pathlib.Path
) -> None:
    public, secret = tmp_path / "public", tmp_path / "secret"
    public.write_bytes(b"p" * BIG)
    secret.write_bytes(b"s" * BIG)
    client, server, listener = connected(reactor)
    file = public.open("rb")
    sending = client.transport.send_file(file, 0, BIG)
    number = file.fileno()
    file.close()
    with secret.open("rb") as other:
        assert other.fileno() == number  # the system gives the lowest free one
        assert failure(reactor, sending).code == "EBADF"
    client.transport.close()
    wait_until(reactor, lambda: server.lost)
    assert b"s" not in server.received
    listener.close()


@pytest.mark.parametrize("size", [10, BIG])
def test_file_closed_before_it_is_sent_fails_its_deferred(reactor: Reactor, size: int) -> None:
    client, _server, listener = connected(reactor)
    file = io.BytesIO(bytes(size))
    file.close()
    assert failure(reactor, client.transport.send_file(file, 0, size)).code == "EBADF"
    listener.close()


def test_file_object_that_raises_something_odd_does_not_end_the_loop(reactor: Reactor) -> None:
    class Odd(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise ZeroDivisionError

    client, _server, listener = connected(reactor)
    assert failure(reactor, client.transport.send_file(Odd(), 0, BIG)).code == "EIO"
    listener.close()


@pytest.mark.parametrize("port", [-1, 65536, 70000])
def test_port_beyond_the_last_is_refused_instead_of_cut_to_16_bits(reactor: Reactor, port: int) -> None:
    with pytest.raises(ListenError, match="from 0 to 65535"):
        reactor.listen(Recorder, HOST, port)
    with pytest.raises(ListenError, match="from 0 to 65535"):
        reactor.listen_datagram(DatagramProtocol, HOST, port)
    with pytest.raises(ConnectError, match="from 1 to 65535"):
        reactor.connect_datagram(DatagramProtocol, HOST, port)
    with pytest.raises(ConnectError, match="from 0 to 65535"):
        wait_for(reactor, reactor.connect(Recorder, HOST, port))


def test_scope_that_does_not_exist_is_a_failure_to_connect(reactor: Reactor) -> None:
    with pytest.raises(ConnectError, match="cannot connect to"):
        wait_for(reactor, reactor.connect(Recorder, "fe80::1%nosuch", 80))


@pytest.mark.parametrize("host", ["a\0b", "127.0.0.1\0"])
def test_nul_in_an_address_to_listen_on_is_an_error_of_ours(reactor: Reactor, host: str) -> None:
    with pytest.raises(ListenError):
        reactor.listen(Recorder, host)
    with pytest.raises(ListenError):
        reactor.listen_unix(Recorder, f"/tmp/{host}")


def test_unix_socket_that_cannot_listen_leaves_no_file(
    reactor: Reactor, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: str, mode: int) -> None:
        raise PermissionError(1, "no")

    monkeypatch.setattr(os, "chmod", refuse)
    path = tmp_path / "socket"
    with pytest.raises(ListenError):
        reactor.listen_unix(Recorder, str(path), mode=0o600)
    assert not path.exists()


class Datagrams(DatagramProtocol):
    """Records the calls."""

    transport: DatagramTransport

    def __init__(self) -> None:
        self.calls: list[str] = []

    def connection_made(self, transport: DatagramTransport) -> None:
        self.calls.append("made")
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Address) -> None:
        self.calls.append("received")

    def error_received(self, exc: TransportError) -> None:
        self.calls.append(exc.code)


def test_datagram_that_comes_at_once_does_not_precede_connection_made(reactor: Reactor) -> None:
    protocol = Datagrams()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:

        def bind_and_send() -> None:
            transport = reactor.listen_datagram(lambda: protocol, HOST)
            sender.sendto(b"early", transport.get_extra_info("sockname"))

        reactor.call_soon(bind_and_send)
        wait_until(reactor, lambda: "received" in protocol.calls)
    assert protocol.calls == ["made", "received"]
    protocol.transport.close()


@pytest.mark.parametrize("addr", [Address("localhost", 9), Address(HOST, 70000), Address(HOST, -1)])
def test_datagram_to_a_name_does_not_wait_for_the_name_server(reactor: Reactor, addr: Address) -> None:
    transport = reactor.listen_datagram(DatagramProtocol, HOST)
    with pytest.raises(ValueError, match="literal address"):
        transport.sendto(b"x", addr)
    transport.close()


def test_datagram_to_a_scope_that_does_not_exist_is_told_later(reactor: Reactor) -> None:
    protocol = Datagrams()
    try:
        transport = reactor.listen_datagram(lambda: protocol, "::1")
    except ListenError:
        pytest.skip("no IPv6 here")
    transport.sendto(b"x", Address("fe80::1%nosuch", 9))
    assert protocol.calls == []
    wait_until(reactor, lambda: len(protocol.calls) == 2)
    assert protocol.calls == ["made", "ENODEV"]
    transport.close()


def raising() -> typing.NoReturn:
    raise ZeroDivisionError


def test_datagram_factory_that_fails_leaves_no_socket(reactor: Reactor) -> None:
    with pytest.raises(ZeroDivisionError):
        reactor.listen_datagram(raising, HOST)
    with pytest.raises(ZeroDivisionError):
        reactor.connect_datagram(raising, HOST, 9)


@pytest.mark.parametrize(
    ("error", "open_one"),
    [
        (ListenError, lambda reactor: reactor.listen(Recorder, HOST)),
        (ListenError, lambda reactor: reactor.listen_datagram(DatagramProtocol, HOST)),
        (ConnectError, lambda reactor: reactor.connect_datagram(DatagramProtocol, HOST, 9)),
    ],
)
def test_full_poller_is_told_as_the_error_of_what_was_asked(
    plain: SelectReactor,
    monkeypatch: pytest.MonkeyPatch,
    error: type[Exception],
    open_one: Callable[[Reactor], object],
) -> None:
    fill(monkeypatch)
    with pytest.raises(error) as caught:
        open_one(plain)
    assert getattr(caught.value, "code", "") == "EMFILE"


def test_full_poller_drops_a_connection_and_not_the_loop(
    plain: SelectReactor, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, server, listener = connected(plain)
    for protocol in (client, server):
        protocol.transport.pause_reading()
    fill(monkeypatch)
    client.transport.write(bytes(64 * 1024 * 1024))  # more than the kernel takes: wait for writability
    server.transport.resume_reading()
    wait_until(plain, lambda: client.lost and server.lost)
    listener.close()


class FullOnce:
    """A socket that takes nothing once, although the poller finds it ready."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._full = True

    def __getattr__(self, name: str) -> typing.Any:
        return getattr(self._sock, name)

    def sendto(self, data: bytes, address: typing.Any) -> int:
        if self._full:
            self._full = False
            raise BlockingIOError
        return self._sock.sendto(data, address)


class PauseRecorder(DatagramProtocol):
    """Records what a full socket is told by."""

    transport: typing.Any

    def __init__(self) -> None:
        self.calls: list[str] = []

    def connection_made(self, transport: DatagramTransport) -> None:
        self.transport = transport
        self.transport._sock = FullOnce(self.transport._sock)

    def pause_writing(self) -> None:
        self.calls.append("pause")

    def resume_writing(self) -> None:
        self.calls.append("resume")

    def connection_lost(self, exc: TransportError | None) -> None:
        self.calls.append("lost")


@pytest.mark.parametrize("ends", [False, True])
def test_udp_socket_full_for_a_moment_pauses_for_ever(ends: bool) -> None:
    """It was told to resume, or that it had ended, before it was told to pause."""
    reactor = SelectReactor()
    protocol = PauseRecorder()
    reactor.listen_datagram(lambda: protocol, HOST)
    reactor.step()

    def send() -> None:
        protocol.transport.sendto(b"x", protocol.transport.get_extra_info("sockname"))
        if ends:
            protocol.transport.close()

    reactor.call_soon(send)
    for _ in range(4):
        reactor.step()
    reactor.close()
    assert protocol.calls == (["lost"] if ends else ["pause", "resume", "lost"])
