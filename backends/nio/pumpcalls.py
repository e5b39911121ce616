"""The calls to `portable.jvm.Pump` that both bridges make alike: they differ only in what they catch."""

from __future__ import annotations

import errno
import os
import typing

if typing.TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["PumpCalls", "error_texts", "view_of"]


def view_of(buffer: typing.Any) -> memoryview:
    """Return the memory of a direct buffer of Java's as bytes."""
    return memoryview(buffer).cast("B")


def error_texts() -> str:
    """Return what `Pump.nameErrors` takes: a line for each errno name, with the system's text after it.

    The text is in the language that this process has now. What is no Unicode, Java could not be told.
    """
    texts = {name: os.strerror(number) for number, name in errno.errorcode.items()}
    return "\n".join(f"{name} {text}" for name, text in texts.items()).encode(errors="replace").decode()


class PumpCalls:
    """The rare methods of a `backends.nio.bridge.Bridge`."""

    _pump: typing.Any

    def _try(self, method: Callable[..., object], *args: object) -> typing.Any:
        """Return `method(*args)`.

        Raises:
            PumpError: Java has thrown.
        """
        raise NotImplementedError  # left to the subclass

    def listen_tcp(self, host: str, port: int, backlog: int, reuse_port: bool, /) -> int:
        return int(self._try(self._pump.listenTcp, host, port, backlog, reuse_port))

    def listen_unix(self, path: str, backlog: int, /) -> int:
        return int(self._try(self._pump.listenUnix, path, backlog))

    def resume_accepting(self, listener: int, /) -> None:
        self._try(self._pump.resumeAccepting, listener)

    def pause_accepting(self, listener: int, /) -> None:
        self._try(self._pump.pauseAccepting, listener)

    def close_listener(self, listener: int, /) -> None:
        self._try(self._pump.closeListener, listener)

    def connect_tcp(self, host: str, port: int, local_host: str, /) -> int:
        return int(self._try(self._pump.connectTcp, host, port, local_host))

    def connect_unix(self, path: str, /) -> int:
        return int(self._try(self._pump.connectUnix, path))

    def bind_udp(self, host: str, port: int, reuse_port: bool, /) -> int:
        return int(self._try(self._pump.bindUdp, host, port, reuse_port))

    def connect_udp(self, host: str, port: int, /) -> int:
        return int(self._try(self._pump.connectUdp, host, port))

    def local_address(self, ident: int, /) -> str:
        return str(self._try(self._pump.localAddress, ident))
