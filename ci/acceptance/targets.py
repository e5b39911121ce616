"""What servers that connect to others are given to connect to."""

from __future__ import annotations

import contextlib
import socket
import threading
import typing

if typing.TYPE_CHECKING:
    from collections.abc import Callable

    from ci.acceptance.model import Workshop

__all__ = ["echo", "nobody", "serve"]


def serve(shop: Workshop, talk: Callable[[socket.socket], object]) -> int:
    """Talk to whoever connects, until the workshop is closed; return the port on 127.0.0.1."""
    listener = socket.create_server(("127.0.0.1", 0))

    def close() -> None:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()

    def talk_to_one(sock: socket.socket) -> None:
        with sock, contextlib.suppress(OSError):
            talk(sock)

    def accept() -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=talk_to_one, args=(sock,), daemon=True).start()

    shop.closers.append(close)
    threading.Thread(target=accept, daemon=True).start()
    return int(listener.getsockname()[1])


def echo(sock: socket.socket) -> None:
    """Send everything back."""
    while data := sock.recv(65536):
        sock.sendall(data)


def nobody(shop: Workshop) -> int:
    """Return a port of 127.0.0.1 that refuses connections, and that nobody else can take."""
    bound = socket.socket()
    bound.bind(("127.0.0.1", 0))
    shop.closers.append(bound.close)
    return int(bound.getsockname()[1])
