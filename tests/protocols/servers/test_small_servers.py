"""The kinds `inetd` and `portforward` over real sockets, against clients that are not ours."""

from __future__ import annotations

import random
import shutil
import socket
import subprocess
import threading
import time
import typing

import pytest

from portable.endpoints import TCPEndpoint
from portable.errors import AddressInUse, ConfigurationError
from portable.listener import DatagramPort, ServerPort
from portable.options import check_values
from portable.testing import wait_for, wait_until
from portable.transport import Address
from protocols.chargen import line
from protocols.daytime import fetch_daytime
from protocols.echo import Echo
from protocols.qotd import PROVERBS, fetch_quote
from protocols.servers import inetd, portforward
from protocols.timeserver import fetch_time

if typing.TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from portable.options import Kind
    from portable.reactor import Reactor
    from portable.service import Service

T = typing.TypeVar("T")


def in_thread(reactor: Reactor, function: Callable[[], T]) -> T:
    """Run a client that blocks, beside the reactor, and return its result."""
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(function())
        except BaseException as error:  # noqa: BLE001 -- raised in the test's thread below
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    wait_until(reactor, lambda: not thread.is_alive(), 20)
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


def make(kind: Kind, **options: object) -> Service:
    values = {name.replace("_", "-"): value for name, value in options.items()}
    return kind.make_service(check_values(kind.options, values))


def stream_port(service: Service, name: str) -> int:
    (port,) = [port for port in service.ports() if isinstance(port, ServerPort) and port.name == name]
    assert isinstance(port.address, Address)
    return port.address.port


def datagram_address(service: Service, name: str) -> tuple[str, int]:
    (port,) = [port for port in service.ports() if isinstance(port, DatagramPort) and port.name == name]
    assert isinstance(port.address, Address)
    return (port.address.host, port.address.port)


@pytest.fixture
def inetd_service(reactor: Reactor) -> Iterator[Service]:
    """All services, TCP and UDP, on a base where nobody listens."""
    while True:
        service = make(inetd.KIND, udp=True, port_base=random.randrange(11_000, 30_000))
        try:
            service.bind(reactor)
            break
        except AddressInUse:
            continue
    service.start()
    yield service
    wait_for(reactor, service.stop(0.0))


def talk(port: int, data: bytes, *, limit: int = 1 << 24) -> bytes:
    """Send `data` and an end of stream, and return at most `limit` bytes of what comes back."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        answer = b""
        while len(answer) < limit and (piece := client.recv(65_536)):
            answer += piece
        return answer


def test_inetd_answers_on_tcp(reactor: Reactor, inetd_service: Service) -> None:
    assert (
        in_thread(reactor, lambda: talk(stream_port(inetd_service, "echo"), b"hello" * 1000)) == b"hello" * 1000
    )
    assert in_thread(reactor, lambda: talk(stream_port(inetd_service, "discard"), b"hello" * 1000)) == b""
    pattern = in_thread(reactor, lambda: talk(stream_port(inetd_service, "chargen"), b"", limit=20_000))
    assert pattern.startswith(line(0) + line(1) + line(2))
    daytime = wait_for(reactor, fetch_daytime(reactor, "127.0.0.1", stream_port(inetd_service, "daytime")))
    assert daytime.endswith("-UTC")
    seconds = wait_for(reactor, fetch_time(reactor, "127.0.0.1", stream_port(inetd_service, "time")))
    assert abs(seconds - time.time()) < 10
    assert wait_for(reactor, fetch_quote(reactor, "127.0.0.1", stream_port(inetd_service, "qotd"))) in PROVERBS


def test_an_answer_survives_a_client_that_sends_something_first(
    reactor: Reactor, inetd_service: Service
) -> None:
    answer = in_thread(reactor, lambda: talk(stream_port(inetd_service, "daytime"), b"noise" * 1000))
    assert answer.endswith(b"-UTC\r\n")


@pytest.mark.skipif(shutil.which("socat") is None, reason="socat is not installed")
def test_echo_answers_socat(reactor: Reactor, inetd_service: Service) -> None:
    data = bytes(range(256)) * 4096
    port = stream_port(inetd_service, "echo")
    command = ["socat", "-t", "10", "-", f"TCP:127.0.0.1:{port}"]
    done = in_thread(
        reactor, lambda: subprocess.run(command, input=data, capture_output=True, check=True, timeout=15)
    )
    assert done.stdout == data


@pytest.mark.skipif(shutil.which("nc") is None, reason="nc is not installed")
def test_daytime_answers_nc(reactor: Reactor, inetd_service: Service) -> None:
    command = ["nc", "127.0.0.1", str(stream_port(inetd_service, "daytime"))]
    done = in_thread(
        reactor, lambda: subprocess.run(command, input=b"", capture_output=True, check=True, timeout=15)
    )
    assert done.stdout.endswith(b"-UTC\r\n")


def test_chargen_stands_still_while_nobody_reads(reactor: Reactor, inetd_service: Service) -> None:
    with socket.create_connection(("127.0.0.1", stream_port(inetd_service, "chargen"))) as client:
        (port,) = [
            port for port in inetd_service.ports() if port.name == "chargen" and isinstance(port, ServerPort)
        ]
        sent = [-1]

        def still() -> bool:
            before, sent[0] = sent[0], port.bytes_sent
            return port.bytes_sent == before > 0

        wait_until(reactor, still)
        assert port.bytes_sent < 16 << 20
        client.setblocking(False)
        wait_until(reactor, lambda: port.bytes_sent > sent[0] or not client.recv(65_536))
    wait_until(reactor, lambda: port.open == 0)


def ask(address: tuple[str, int], data: bytes) -> bytes:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(10)
        client.bind(("127.0.0.1", 0))
        client.sendto(data, address)
        answer, sender = client.recvfrom(65_536)
        assert sender == address
        return answer


def test_inetd_answers_on_udp(reactor: Reactor, inetd_service: Service) -> None:
    answers = {
        name: in_thread(reactor, lambda name=name: ask(datagram_address(inetd_service, name), b"ping"))  # type: ignore[misc]  # mypy cannot infer a lambda with a default
        for name in ("echo", "daytime", "qotd", "chargen", "time")
    }
    assert answers["echo"] == b"ping"
    assert answers["daytime"].endswith(b"-UTC\r\n")
    assert answers["qotd"].decode("ascii").strip() in PROVERBS
    assert len(answers["chargen"]) <= 512
    assert len(answers["time"]) == 4


def test_inetd_services_do_not_talk_to_each_other(reactor: Reactor, inetd_service: Service) -> None:
    """A datagram forged in the name of our chargen does not start a loop with our echo."""
    service = make(inetd.KIND, udp=True, port_base=20_000, services="echo, discard,echo")
    assert [port.name for port in service.ports()] == ["echo", "echo", "discard", "discard"]
    # Port 10000 + 19 is an unprivileged inetd's chargen, whichever base ours has.
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as forger:
        try:
            forger.bind(("127.0.0.1", 10_019))
        except OSError:
            pytest.skip("port 10019 is in use")
        forger.sendto(b"ping", datagram_address(inetd_service, "echo"))
        forger.sendto(b"ping", datagram_address(inetd_service, "discard"))
        # Datagrams to one socket keep their order on the loopback: when this is answered, that one was not.
        assert in_thread(reactor, lambda: ask(datagram_address(inetd_service, "echo"), b"pong")) == b"pong"
        forger.setblocking(False)
        with pytest.raises(BlockingIOError):
            forger.recv(100)


def test_inetd_listens_on_loopback_and_says_what_it_does(inetd_service: Service) -> None:
    lines = inetd_service.addresses()
    assert len(lines) == 12
    for number, text in enumerate(lines):
        name, kind, address = text.split()
        assert name in inetd.PORTS
        assert kind == ("tcp", "udp")[number % 2]
        assert address.startswith("127.0.0.1:")


def test_inetd_port_base(monkeypatch: pytest.MonkeyPatch) -> None:
    def first_port() -> int:
        endpoint = make(inetd.KIND, services="echo").ports()[0].endpoint
        assert isinstance(endpoint, TCPEndpoint)
        return endpoint.port

    monkeypatch.setattr(inetd, "_is_root", lambda: True)
    assert first_port() == 7
    monkeypatch.setattr(inetd, "_is_root", lambda: False)
    assert first_port() == 10_007


def test_inetd_refuses_services_it_does_not_know() -> None:
    for services in ("echo,finger", "", "echo,,time"):
        with pytest.raises(ConfigurationError, match="there is no service"):
            make(inetd.KIND, services=services)
    with pytest.raises(ConfigurationError):
        make(inetd.KIND, port_base=65_500)


def test_a_factory_needs_bind_first() -> None:
    with pytest.raises(AssertionError, match="before bind"):
        typing.cast("inetd.InetdService", make(inetd.KIND))._bound_reactor()
    with pytest.raises(AssertionError, match="before bind"):
        typing.cast("portforward.PortForwardService", make(portforward.KIND, to="tcp:a:1"))._bound_reactor()


# portforward


@pytest.fixture
def echo_port(reactor: Reactor) -> int:
    listener = reactor.listen(Echo, "127.0.0.1", 0)
    assert isinstance(listener.address, Address)
    return listener.address.port


def forwarder(reactor: Reactor, to: str) -> tuple[Service, int]:
    service = make(portforward.KIND, to=to, port=0, interface="127.0.0.1")
    service.bind(reactor)
    service.start()
    return service, stream_port(service, "portforward")


def test_portforward_passes_megabytes_and_half_closes(reactor: Reactor, echo_port: int) -> None:
    service, port = forwarder(reactor, f"tcp:127.0.0.1:{echo_port}")
    data = bytes(range(251)) * 20_000

    def exchange() -> bytes:
        answer: list[bytes] = []
        with socket.create_connection(("127.0.0.1", port), timeout=10) as client:

            def read() -> None:
                while piece := client.recv(65_536):
                    answer.append(piece)

            reader = threading.Thread(target=read)
            reader.start()
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
            reader.join(15)
        return b"".join(answer)

    assert in_thread(reactor, exchange) == data
    wait_for(reactor, service.stop(5.0))


def test_portforward_to_a_unix_socket(reactor: Reactor, tmp_path: typing.Any) -> None:
    path = str(tmp_path / "echo.sock")
    reactor.listen_unix(Echo, path)
    service, port = forwarder(reactor, f"unix:{path}")
    assert in_thread(reactor, lambda: talk(port, b"through")) == b"through"
    wait_for(reactor, service.stop(5.0))


def test_portforward_drops_the_client_when_nobody_is_there(reactor: Reactor) -> None:
    with socket.socket() as bound:  # bound and not listening: refused, and nobody else's
        bound.bind(("127.0.0.1", 0))
        service, port = forwarder(reactor, f"tcp:127.0.0.1:{bound.getsockname()[1]}")

        def try_it() -> bytes:
            try:
                with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
                    return client.recv(10)
            except ConnectionResetError:
                return b""

        assert in_thread(reactor, try_it) == b""
    wait_for(reactor, service.stop(5.0))


def test_portforward_drains_an_idle_pair(reactor: Reactor, echo_port: int) -> None:
    service, port = forwarder(reactor, f"tcp:127.0.0.1:{echo_port}")
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(b"ping")
        assert in_thread(reactor, lambda: client.recv(10)) == b"ping"
        wait_for(reactor, service.stop(9.0), 5.0)
        assert client.recv(10) == b""


@pytest.mark.parametrize(
    ("options", "itself"),
    [
        ({"to": "tcp:127.0.0.1:6666"}, True),
        ({"to": "tcp:localhost:7000", "port": 7000, "interface": "127.0.0.1"}, True),
        ({"to": "tcp:127.0.0.1:6667"}, False),
        ({"to": "tcp:192.0.2.1:6666"}, False),
        ({"to": "tcp:127.0.0.1:6666", "interface": "192.0.2.1"}, False),
        ({"to": "unix:/run/x.sock"}, False),
    ],
)
def test_portforward_refuses_to_forward_to_itself(options: dict[str, object], itself: bool) -> None:
    values = check_values(portforward.KIND.options, options)
    if itself:
        with pytest.raises(ConfigurationError, match="to itself"):
            portforward.make_service(values)
    else:
        portforward.make_service(values)


def test_portforward_needs_to_be_told_where_to() -> None:
    with pytest.raises(ConfigurationError, match="required"):
        check_values(portforward.KIND.options, {})
