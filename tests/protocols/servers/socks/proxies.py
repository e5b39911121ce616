"""A proxy of the kind `socks` on a reactor, something to connect to, and programs that go through it."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import typing

import pytest

from portable.endpoints import TCPClientEndpoint
from portable.listener import ServerPort
from portable.options import check_values
from portable.protocol import Protocol
from portable.testing import wait_for
from portable.transport import Address
from protocols.servers.socks import KIND

if typing.TYPE_CHECKING:
    from collections.abc import Iterator

    from portable.reactor import Listener, Reactor
    from portable.service import Service
    from portable.transport import Transport

ANSWER = b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nhi\n"


class Page(Protocol):
    """Gives every client the same page, once it has said something."""

    def connection_made(self, transport: Transport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._transport.write(ANSWER)
        self._transport.close()


def make(**options: object) -> Service:
    """Return the service that these options make, on a free port."""
    values = {"port": 0, **{name.replace("_", "-"): value for name, value in options.items()}}
    return KIND.make_service(check_values(KIND.options, values))


@contextlib.contextmanager
def proxy(reactor: Reactor, **options: object) -> Iterator[TCPClientEndpoint]:
    """Run a proxy; by default it may connect to this machine. Gives how to connect to it."""
    service = make(**{"allow": ("127.0.0.0/8", "::1"), **options})
    service.bind(reactor)
    service.start()
    try:
        yield endpoint(service)
    finally:
        wait_for(reactor, service.stop(0.0))


def endpoint(service: Service) -> TCPClientEndpoint:
    """Return how to connect to a service that is bound."""
    (port,) = service.ports()
    assert isinstance(port, ServerPort)
    assert isinstance(port.address, Address)
    return TCPClientEndpoint(port.address.host, port.address.port)


def port_of(listener: Listener) -> int:
    """Return the port of a listener."""
    assert isinstance(listener.address, Address)
    return listener.address.port


def find(program: str, package: str) -> str:
    """Return where a program is; the test is skipped if it is not installed."""
    found = shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if found is None:
        pytest.skip(f"{program} is not installed (Debian: {package})")
    return found


def run(
    reactor: Reactor, *words: str, status: int = 0, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run a program beside the reactor, and return what it has said."""

    def wait() -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            words, capture_output=True, check=False, timeout=20, env={**os.environ, **(env or {})}
        )

    done = wait_for(reactor, reactor.run_in_thread(wait), 25)
    assert done.returncode == status, done
    return done
