"""An FTP service as `mktap` makes it, and clients in threads and processes."""

from __future__ import annotations

import shutil
import subprocess
import threading
import typing

import pytest

from portable.options import check_values
from portable.testing import wait_for, wait_until
from portable.transport import Address
from protocols.servers.ftp import KIND

if typing.TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from portable.reactor import Reactor
    from portable.service import Service

T = typing.TypeVar("T")


class Server:
    """A service that runs while the reactor does."""

    def __init__(self, reactor: Reactor, root: Path, options: dict[str, typing.Any]) -> None:
        self.reactor = reactor
        self.root = root
        given: dict[str, typing.Any] = {"root": str(root)}
        if "listen" not in options:
            given.update({"port": 0, "interface": "127.0.0.1"})
        if "anonymous" not in options:
            given["user"] = [KIND.option("user").parse("tom:secret")]
        self.service: Service = KIND.make_service(check_values(KIND.options, {**given, **options}))
        self.service.bind(reactor)
        self.service.start()
        address = self.service.ports()[0].address
        assert isinstance(address, Address)
        self.port = address.port

    def url(self, path: str = "", user: str = "tom:secret@") -> str:
        return f"ftp://{user}127.0.0.1:{self.port}/{path}"

    def during(self, function: Callable[..., T], *args: object, seconds: float = 50.0) -> T:
        """Return what a function returns that blocks; it runs in a thread."""
        outcome: list[T] = []
        errors: list[BaseException] = []

        def run() -> None:
            try:
                outcome.append(function(*args))
            except BaseException as exc:
                errors.append(exc)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        wait_until(self.reactor, lambda: not thread.is_alive(), seconds, what=f"{function}")
        thread.join()
        if errors:
            raise errors[0]
        return outcome[0]

    def run(self, program: str, *words: str, cwd: Path | None = None, status: int = 0) -> str:
        """Return what a program writes."""
        found = shutil.which(program)
        if found is None:
            pytest.skip(f"{program} is not installed")
        done = self.during(
            lambda: subprocess.run(
                [found, *words],
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=50,
                check=False,
                env={"HOME": str(self.root.parent), "LANG": "C.UTF-8", "PATH": "/usr/bin:/bin", "TERM": "dumb"},
            )
        )
        text = done.stdout.decode(errors="replace")
        assert done.returncode == status, text
        return text

    def stop(self) -> None:
        wait_for(self.reactor, self.service.stop(0))


@pytest.fixture
def serve(reactor: Reactor, tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Makes a service for the folder `root` with the options that it is called with."""
    servers: list[Server] = []
    root = tmp_path / "root"
    root.mkdir()

    def make(**options: typing.Any) -> Server:
        server = Server(reactor, root, {name.replace("_", "-"): value for name, value in options.items()})
        servers.append(server)
        return server

    yield make
    for server in servers:
        server.stop()
