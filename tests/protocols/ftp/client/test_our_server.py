"""Our client against our server, both on the reactor under test."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import typing

import pytest

from portable.deferred import Deferred, ensure_deferred
from portable.errors import Cancelled
from portable.options import check_values
from portable.passwords import hash_password
from portable.testing import wait_for
from portable.tls import client_options
from portable.transport import Address
from protocols.ftp.client import CommandRefused, connect_ftp, download, mirror, upload
from protocols.servers.ftp import KIND
from protocols.socks.endpoint import SocksEndpoint
from tests.protocols.ftp.client.foreign_servers import PASSWORD, USER, ForeignServer
from tests.protocols.ftp.client.sessions import logged_in, never, run, session
from tests.protocols.servers.socks.proxies import proxy

if typing.TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from portable.endpoints import TCPClientEndpoint
    from portable.reactor import Reactor
    from tests.portable.tls.certs import Certificates


@functools.cache
def account() -> str:
    """Return the user as an option. Hashing takes time on purpose."""
    return f"{USER}:{hash_password(PASSWORD)}"


@contextlib.contextmanager
def serving(reactor: Reactor, folder: Path, **options: object) -> Iterator[ForeignServer]:
    """Run our server for as long as it takes."""
    folder.mkdir()
    given = {name.replace("_", "-"): value for name, value in options.items()}
    values = check_values(
        KIND.options,
        {"root": str(folder), "user": [account()], "listen": ["tcp:0:interface=127.0.0.1"], **given},
    )
    service = KIND.make_service(values)
    service.bind(reactor)
    service.start()
    try:
        address = typing.cast("typing.Any", service.ports()[0]).address
        assert isinstance(address, Address)
        yield ForeignServer(address.port, folder)
    finally:
        wait_for(reactor, service.stop(1.0))


@pytest.mark.parametrize("active", [False, True], ids=["passive", "active"])
@pytest.mark.parametrize("secure", [False, True], ids=["clear", "tls"])
def test_a_session(reactor: Reactor, tmp_path: Path, certs: Certificates, secure: bool, active: bool) -> None:
    options: dict[str, object] = {"certificate": certs.single, "require_tls": True} if secure else {}
    tls = client_options("localhost", ca=certs.ca) if secure else None

    async def main(server: ForeignServer) -> None:
        client, folder = await logged_in(reactor, server, tls=tls, active=active)
        await session(client, folder)

    with serving(reactor, tmp_path / "root", **options) as server:
        run(reactor, main(server))


def test_anonymous_users_only_read(reactor: Reactor, tmp_path: Path) -> None:
    async def main(server: ForeignServer) -> None:
        (server.root / "x").write_bytes(b"hello")
        client = await connect_ftp(reactor, server.endpoint)
        await client.login()
        assert await client.read("x", 10) == b"hello"
        with pytest.raises(CommandRefused):
            await client.store("y", b"y")
        with pytest.raises(CommandRefused):
            await client.delete("x")
        await client.quit()

    with serving(reactor, tmp_path / "root", anonymous=True) as server:
        run(reactor, main(server))


def test_trees_and_times(reactor: Reactor, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()

    async def main(server: ForeignServer) -> None:
        client, folder = await logged_in(reactor, server)
        for name in ("a/b/c", "d"):
            (server.root / folder / name).mkdir(parents=True)
            await client.store(f"{folder}/{name}/file", name.encode())
        await client.mfmt(f"{folder}/d/file", 1_000_000_000)
        await client.chmod(f"{folder}/d/file", 0o600)
        file = await client.mlst(f"{folder}/d/file")
        assert (file.kind, file.size, file.modified) == ("file", 1, 1_000_000_000)
        assert await mirror(client, folder, str(target)) == 2
        await client.quit()

    with serving(reactor, tmp_path / "root") as server:
        run(reactor, main(server))
    assert (target / "a/b/c/file").read_bytes() == b"a/b/c"
    assert (target / "d/file").stat().st_mtime == 1_000_000_000


def test_interrupted_transfers_are_resumed(reactor: Reactor, tmp_path: Path) -> None:
    content = bytes(range(256)) * 8192
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(content)

    async def main(server: ForeignServer) -> None:
        client, folder = await logged_in(reactor, server)
        running = ensure_deferred(client.store(f"{folder}/x", content[:500_000]))
        await running
        running = ensure_deferred(client.append(f"{folder}/x", never))
        await client.reactor.run_in_thread(lambda: None)
        running.cancel()
        with pytest.raises(Cancelled):
            await running
        assert await upload(client, str(source), f"{folder}/x", resume=True) == len(content) - 500_000
        (tmp_path / ".target.part").write_bytes(content[:300_000])
        assert await download(client, f"{folder}/x", str(target), resume=True) == len(content) - 300_000
        await client.quit()

    with serving(reactor, tmp_path / "root") as server:
        run(reactor, main(server))
    assert target.read_bytes() == content


def test_an_aborted_download_leaves_a_good_connection(reactor: Reactor, tmp_path: Path) -> None:
    async def main(server: ForeignServer) -> None:
        client, folder = await logged_in(reactor, server)
        with open(server.root / folder / "x", "wb") as file:
            file.truncate(1 << 32)
        got: list[int] = []
        running = ensure_deferred(client.retrieve(f"{folder}/x", lambda data: got.append(len(data))))
        running.add_errback(lambda error: got.append(-1) if isinstance(error, Cancelled) else 0)
        while not got:
            await client.reactor.run_in_thread(lambda: None)
        await client.abort()
        assert got[-1] == -1
        assert await client.read(await client.store_unique(b"still here"), 100) == b"still here"
        await client.quit()

    with serving(reactor, tmp_path / "root") as server:
        run(reactor, main(server))


def test_a_hundred_small_files(reactor: Reactor, tmp_path: Path) -> None:
    async def main(server: ForeignServer) -> None:
        client, folder = await logged_in(reactor, server)
        await client.cwd(folder)
        for number in range(100):
            await client.store(f"{number}", b"%d" % number)
        for file in await client.list():
            assert await client.read(file.name, 100) == file.name.encode()
        await client.quit()

    with serving(reactor, tmp_path / "root") as server:
        run(reactor, main(server))


def test_everything_passes_through_a_proxy(reactor: Reactor, pyftpdlib: ForeignServer) -> None:
    """The control connection and the data connections: nothing reaches the server but by our SOCKS server."""

    async def main(through: TCPClientEndpoint) -> None:
        def connect(factory: typing.Callable[[], typing.Any], host: str, port: int) -> Deferred[typing.Any]:
            dialled.append(port)
            return SocksEndpoint(through, host, port).connect(reactor, factory)

        client = await connect_ftp(reactor, pyftpdlib.endpoint, connect=connect)
        await client.login(pyftpdlib.user, pyftpdlib.password)
        assert await client.read(await client.store_unique(b"by proxy"), 100) == b"by proxy"
        await client.quit()

    dialled: list[int] = []
    with proxy(reactor, socks5=True) as endpoint:
        run(reactor, main(endpoint))
    assert len(dialled) == 3


@pytest.mark.parametrize("active", [False, True], ids=["passive", "active"])
def test_a_session_over_ipv6(reactor: Reactor, tmp_path: Path, active: bool) -> None:
    async def main(server: ForeignServer) -> None:
        client, folder = await logged_in(reactor, server, active=active)
        await session(client, folder)

    with serving(reactor, tmp_path / "root", listen=["tcp:0:interface=[::1]"]) as server:
        run(reactor, main(dataclasses.replace(server, address="::1")))
