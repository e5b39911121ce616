"""Connections passed on: to an echo, and to nobody."""

from __future__ import annotations

import socket
import threading
import typing

from ci.acceptance.model import Client, Port, Server
from ci.acceptance.stage import read_all, read_some
from ci.acceptance.targets import echo, nobody, serve

if typing.TYPE_CHECKING:
    from ci.acceptance.model import Workshop
    from ci.acceptance.stage import Stage

__all__ = ["SERVERS"]

_MUCH = bytes(range(256)) * 4096


def _prepare(shop: Workshop) -> list[list[str]]:
    ours = ["--port", "0", "--interface", "127.0.0.1"]
    return [
        ["portforward", "--to", f"tcp:127.0.0.1:{port}", *ours] for port in (serve(shop, echo), nobody(shop))
    ]


def _talk(stage: Stage) -> None:
    sock = stage.connect("echo")
    for word in (b"one", b"two\r\n", b"\0\xff"):
        sock.sendall(word)
        stage.check(read_some(sock, len(word)) == word, f"{word!r} did not come back")


def _half_close(stage: Stage) -> None:
    sock = stage.connect("echo")

    def send() -> None:
        sock.sendall(_MUCH)
        sock.shutdown(socket.SHUT_WR)

    sender = threading.Thread(target=send)
    sender.start()
    answer = read_all(sock)
    sender.join()
    stage.check(answer == _MUCH, f"{len(answer)} bytes of {len(_MUCH)} came back, or others")


def _nc(stage: Stage) -> None:
    answer = stage.run("nc", "-N", "-w", "5", "127.0.0.1", str(stage.port("echo")), typed=b"typed into nc\n")
    stage.check(answer == b"typed into nc\n", f"got {answer!r}")


def _socat(stage: Stage) -> None:
    answer = stage.run("socat", "-t5", "-", f"TCP4:127.0.0.1:{stage.port('echo')}", typed=b"by socat\n")
    stage.check(answer == b"by socat\n", f"got {answer!r}")


def _many(stage: Stage) -> None:
    socks = [stage.connect("echo") for _ in range(20)]
    for number, sock in enumerate(socks):
        sock.sendall(b"number %d" % number)
        stage.check(read_some(sock, len(b"number %d" % number)) == b"number %d" % number, "mixed up")


def _refused(stage: Stage) -> None:
    try:
        stage.see(f"{len(read_all(stage.connect('nobody')))} bytes")
    except ConnectionResetError:
        # connect() says so already if the reset was quicker.
        stage.see("reset")


def _stop(stage: Stage) -> None:
    sock = stage.connect("echo")
    sock.sendall(b"open")
    read_some(sock, 4)
    stage.terminate()
    stage.check(read_all(sock) == b"", "more than was sent")


SERVERS = (
    Server(
        name="portforward",
        kind="portforward",
        prepare=_prepare,
        ports=(Port("echo", "tcp", "portforward"), Port("nobody", "tcp", "portforward")),
        look="Type into: nc {echo} (with a space for the colon): it echoes. And nc {nobody}: it ends at once.",
        clients=(
            Client("python: words", _talk),
            Client("python: 1 MB, half-closed", _half_close),
            Client("nc: one line", _nc),
            Client("socat: one line", _socat),
            Client("python: 20 connections", _many),
            Client("python: refused target", _refused),
        ),
        ending=Client("SIGTERM with a connection open", _stop),
        daemon=True,
    ),
)
