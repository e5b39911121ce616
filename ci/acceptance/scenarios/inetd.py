"""The small services, each on TCP and UDP."""

from __future__ import annotations

import socket
import struct
import time
import typing

from ci.acceptance.model import Client, Port, Server
from ci.acceptance.stage import free_ports, read_all, read_some
from ci.acceptance.views import any_time_received, first_bytes, length_of_pattern, mask

if typing.TYPE_CHECKING:
    from ci.acceptance.model import Workshop
    from ci.acceptance.stage import Stage

__all__ = ["SERVERS"]

PORTS = {"echo": 7, "discard": 9, "daytime": 13, "qotd": 17, "chargen": 19, "time": 37}

# RFC 864: 72 of the 95 printing characters, each line one further.
_RING = bytes(range(32, 127)) * 2
_PATTERN = b"".join(_RING[start : start + 72] + b"\r\n" for start in range(95))
_KIBIBYTES = bytes(range(256)) * 1024

_daytime = mask(rb"^\w+, \w+ \d{1,2}, \d{4} \d\d:\d\d:\d\d-UTC(?=\r\n)", b"<daytime>")
_time = any_time_received(4)


def _prepare(_shop: Workshop) -> list[list[str]]:
    base = free_ports(*PORTS.values())
    return [["inetd", "--udp", "--port-base", str(base), "--interface", "127.0.0.1"]]


def _echo(stage: Stage) -> None:
    sock = stage.connect("echo")
    for word in (b"one", b"two\r\n", b"\0\xff"):
        sock.sendall(word)
        stage.check(read_some(sock, len(word)) == word, f"{word!r} was not echoed")


def _echo_half_close(stage: Stage) -> None:
    answer = stage.ask("echo", _KIBIBYTES, half_close=True)
    stage.check(answer == _KIBIBYTES, f"{len(answer)} bytes of {len(_KIBIBYTES)} came back, or others")


def _nc(name: str, typed: bytes = b"") -> typing.Callable[[Stage], None]:
    def run(stage: Stage) -> None:
        stage.run("nc", "-N", "-w", "5", "127.0.0.1", str(stage.port(name)), typed=typed)

    return run


def _socat_udp(stage: Stage) -> None:
    answer = stage.run(
        "socat", "-t1", "-T0.3", "-", f"UDP4:127.0.0.1:{stage.port('echo/udp')}", typed=b"by socat\n"
    )
    stage.check(answer == b"by socat\n", f"got {answer!r}")


def _echo_udp(stage: Stage) -> None:
    sock = stage.datagrams("echo/udp")
    for datagram in (b"hello", b"\0\xff\r\n", b"x" * 500):
        sock.send(datagram)
        stage.check(sock.recv(65536) == datagram, "another datagram came back")


def _discard(stage: Stage) -> None:
    stage.check(stage.ask("discard", _KIBIBYTES, half_close=True) == b"", "discard said something")


def _discard_udp(stage: Stage) -> None:
    sock = stage.datagrams("discard/udp")
    sock.send(b"nothing comes back")
    sock.settimeout(0.2)
    try:
        stage.see(sock.recv(65536))
    except TimeoutError:
        stage.see("nothing")


def _ask_udp(name: str, datagram: bytes = b"?") -> typing.Callable[[Stage], None]:
    def run(stage: Stage) -> None:
        sock = stage.datagrams(name)
        sock.send(datagram)
        stage.check(sock.recv(65536), "an empty datagram")

    return run


def _check_time(stage: Stage, answer: bytes) -> None:
    stage.check(len(answer) == 4, f"{len(answer)} bytes")
    # RFC 868: seconds since 1900.
    away = struct.unpack("!I", answer)[0] - 2_208_988_800 - time.time()
    stage.check(abs(away) < 5, f"{away:.0f} seconds away from the time")


def _time_tcp(stage: Stage) -> None:
    _check_time(stage, read_all(stage.connect("time")))


def _time_udp(stage: Stage) -> None:
    sock = stage.datagrams("time/udp")
    sock.send(b"")
    _check_time(stage, sock.recv(65536))


def _chargen(stage: Stage) -> None:
    sock = stage.connect("chargen")
    # Its end of our stream does not end the pattern.
    sock.shutdown(socket.SHUT_WR)
    stage.check(read_some(sock, 100_000).startswith(_PATTERN), "not the pattern of RFC 864")


def _chargen_udp(stage: Stage) -> None:
    sock = stage.datagrams("chargen/udp")
    for _ in range(3):
        sock.send(b"?")
        answer = sock.recv(65536)
        stage.check(_PATTERN.startswith(answer), "not the pattern of RFC 864")


def _abort(stage: Stage) -> None:
    sock = stage.connect("echo")
    sock.sendall(b"and away")
    read_some(sock, 8)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()
    stage.check(stage.ask("echo", b"still there?", half_close=True) == b"still there?", "echo has gone")


def _stop(stage: Stage) -> None:
    """Stop while a client has a connection open that says nothing."""
    sock = stage.connect("echo")
    sock.sendall(b"open")
    read_some(sock, 4)
    stage.terminate()
    stage.check(read_all(sock) == b"", "more than was sent")


SERVERS = (
    Server(
        name="inetd",
        kind="inetd",
        prepare=_prepare,
        ports=tuple(
            Port(name if protocol == "tcp" else f"{name}/udp", protocol, name)
            for name in PORTS
            for protocol in ("tcp", "udp")
        ),
        look="Type into: nc {echo}, nc {daytime}, nc {qotd}, nc {chargen} (with a space for the colon).",
        clients=(
            Client("python: echo", _echo),
            Client("python: echo, half-closed", _echo_half_close),
            Client("nc: echo", _nc("echo", b"typed into nc\r\n")),
            Client("python: echo by UDP", _echo_udp),
            Client("socat: echo by UDP", _socat_udp, fast=False),
            Client("python: discard", _discard),
            Client("python: discard by UDP", _discard_udp),
            Client("nc: daytime", _nc("daytime"), (_daytime,)),
            Client("python: daytime by UDP", _ask_udp("daytime/udp"), (_daytime,)),
            Client("nc: quote of the day", _nc("qotd")),
            # RFC 865 answers any datagram; a longer one is allowed a longer answer.
            Client("python: quote by UDP", _ask_udp("qotd/udp", b"?" * 512)),
            Client("python: chargen, half-closed", _chargen, (first_bytes(100_000),)),
            Client("python: chargen by UDP", _chargen_udp, (length_of_pattern(_PATTERN, 512),)),
            Client("python: time", _time_tcp, (_time,)),
            Client("python: time by UDP", _time_udp, (_time,)),
            Client("python: reset, then another", _abort),
        ),
        ending=Client("SIGTERM with a connection open", _stop),
    ),
)
