"""Our client and other people's servers: vsftpd and pyftpdlib, in clear and over TLS, passive and active."""

from __future__ import annotations

import itertools
import typing

import pytest

from portable.deferred import Deferred, ensure_deferred
from portable.errors import Cancelled, CertificateError, TimedOut
from portable.testing import wait_for, wait_until
from portable.tls import client_options
from protocols.ftp.client import CommandRefused, FTPClient, connect_ftp, download, mirror, upload

if typing.TYPE_CHECKING:
    from collections.abc import Coroutine
    from pathlib import Path

    from portable.reactor import Reactor
    from portable.tls import TLSOptions
    from tests.portable.tls.certs import Certificates
    from tests.protocols.ftp.client.foreign_servers import ForeignServer

T = typing.TypeVar("T")
_numbers = itertools.count()


def never() -> Deferred[bytes]:
    """A producer that has nothing yet."""
    return Deferred()


def run(reactor: Reactor, coroutine: Coroutine[typing.Any, typing.Any, T], seconds: float = 30.0) -> T:
    return wait_for(reactor, ensure_deferred(coroutine), seconds)


async def logged_in(
    reactor: Reactor, server: ForeignServer, *, tls: TLSOptions | None = None, active: bool = False
) -> tuple[FTPClient, str]:
    """Return a client, and a new folder of its own on the server."""
    client = await connect_ftp(
        reactor, server.endpoint, tls=tls, active=active, reply_timeout=20.0, data_timeout=20.0
    )
    await client.login(server.user, server.password)
    folder = f"folder {next(_numbers)}"
    (server.root / folder).mkdir()
    (server.root / folder).chmod(0o777)
    return client, folder


async def session(client: FTPClient, folder: str) -> None:
    """Do a little of everything."""
    start = await client.pwd()
    await client.cwd(folder)
    assert (await client.pwd()).endswith(folder)
    assert (await client.mkd("sub")).endswith("/sub")
    assert await client.list("sub") == []
    assert await client.store("sub/J\u00f6rg.txt", b"hello world") == 11
    files = await client.list("sub")
    assert [(file.name, file.kind, file.size) for file in files] == [("J\u00f6rg.txt", "file", 11)]
    assert [name.rpartition("/")[2] for name in await client.names("sub")] == ["J\u00f6rg.txt"]
    assert await client.read("sub/J\u00f6rg.txt", 100) == b"hello world"
    assert await client.store("sub/J\u00f6rg.txt", b"WORLD!", offset=6) == 6
    assert await client.append("sub/J\u00f6rg.txt", b"!") == 1
    await client.rename("sub/J\u00f6rg.txt", "a")
    got: list[bytes] = []
    assert await client.retrieve("a", got.append, offset=6) == 7
    assert b"".join(got) == b"WORLD!!"
    assert await client.size("a") == 13
    assert files[0].modified is not None
    assert abs(await client.mdtm("a") - files[0].modified) < 90
    name = await client.store_unique(b"unique")
    assert await client.read(name, 100) == b"unique"
    await client.store("empty", b"")
    assert await client.read("empty", 0) == b""
    with pytest.raises(CommandRefused) as refused:
        await client.read("nothing", 1)
    assert refused.value.code == 550
    with pytest.raises(CommandRefused):
        await client.store("nowhere/x", b"x")
    await client.delete("a")
    with pytest.raises(CommandRefused):
        await client.delete("a")
    await client.rmd("sub")
    await client.cdup()
    assert await client.pwd() == start
    await client.noop()
    await client.stat()
    await client.help()
    await client.quit()


@pytest.mark.parametrize("active", [False, True], ids=["passive", "active"])
def test_a_session(reactor: Reactor, server: ForeignServer, active: bool) -> None:
    async def main() -> None:
        client, folder = await logged_in(reactor, server, active=active)
        await session(client, folder)

    run(reactor, main())


@pytest.mark.parametrize("active", [False, True], ids=["passive", "active"])
def test_a_session_over_tls(
    reactor: Reactor, tls_server: ForeignServer, certs: Certificates, active: bool
) -> None:
    """vsftpd is set to refuse data connections that do not resume the session of the control connection."""

    async def main() -> None:
        options = client_options("localhost", ca=certs.ca)
        client, folder = await logged_in(reactor, tls_server, tls=options, active=active)
        await session(client, folder)

    run(reactor, main())


def test_a_server_with_the_wrong_certificate(
    reactor: Reactor, tls_server: ForeignServer, certs: Certificates
) -> None:
    async def main() -> None:
        await connect_ftp(reactor, tls_server.endpoint, tls=client_options("other.test", ca=certs.ca))

    with pytest.raises(CertificateError):
        run(reactor, main())


def test_a_server_that_speaks_no_tls(reactor: Reactor, server: ForeignServer, certs: Certificates) -> None:
    """Nobody logs in in clear who has asked for TLS."""

    async def main() -> None:
        await connect_ftp(reactor, server.endpoint, tls=client_options("localhost", ca=certs.ca))

    with pytest.raises(CommandRefused):
        run(reactor, main())


def test_a_wrong_password(reactor: Reactor, pyftpdlib: ForeignServer) -> None:
    async def main() -> None:
        client = await connect_ftp(reactor, pyftpdlib.endpoint)
        try:
            await client.login("joe", "wrong")
        finally:
            client.close()

    with pytest.raises(CommandRefused, match="530"):
        run(reactor, main())


def test_two_thousand_small_files_over_one_control_connection(reactor: Reactor, vsftpd: ForeignServer) -> None:
    async def main() -> None:
        client, folder = await logged_in(reactor, vsftpd)
        await client.cwd(folder)
        for number in range(1000):
            await client.store(f"{number}", b"%d" % number)
        files = await client.list()
        assert len(files) == 1000
        for file in files:
            assert await client.read(file.name, 100) == file.name.encode()
        await client.quit()

    run(reactor, main(), 50.0)


def test_a_large_file_both_ways(reactor: Reactor, server: ForeignServer, tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    with open(source, "wb") as file:
        file.write(b"begin")
        file.truncate(30_000_000)
        file.seek(29_999_997)
        file.write(b"end")

    async def main() -> None:
        client, folder = await logged_in(reactor, server)
        assert await upload(client, str(source), f"{folder}/x") == 30_000_000
        assert await download(client, f"{folder}/x", str(target)) == 30_000_000
        await client.quit()

    run(reactor, main())
    assert target.read_bytes() == source.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source", "target"]


def test_an_interrupted_upload_is_resumed(reactor: Reactor, server: ForeignServer, tmp_path: Path) -> None:
    content = bytes(range(256)) * 8192
    source = tmp_path / "source"
    source.write_bytes(content)
    sent = 0

    def produce() -> bytes | Deferred[bytes]:
        nonlocal sent
        if sent >= 500_000:
            return never()
        piece = content[sent : sent + 50_000]
        sent += len(piece)
        return piece

    async def main() -> None:
        client, folder = await logged_in(reactor, server)
        running = ensure_deferred(client.store(f"{folder}/x", produce))
        there = server.root / folder / "x"
        await _until(reactor, lambda: there.exists() and there.stat().st_size >= 400_000)
        running.cancel()
        with pytest.raises(Cancelled):
            await running
        # The same connection is good for what follows.
        present = await client.size(f"{folder}/x")
        assert 0 < present <= 500_000
        assert await upload(client, str(source), f"{folder}/x", resume=True) == len(content) - present
        assert there.read_bytes() == content
        # Whole already.
        assert await upload(client, str(source), f"{folder}/x", resume=True) == 0
        await client.quit()

    run(reactor, main())


def _until(reactor: Reactor, predicate: typing.Callable[[], object]) -> Deferred[None]:
    done: Deferred[None] = Deferred()

    def look() -> None:
        if predicate():
            done.callback(None)
        else:
            reactor.call_later(0.01, look)

    look()
    return done


def test_an_interrupted_download_is_resumed(reactor: Reactor, server: ForeignServer, tmp_path: Path) -> None:
    content = bytes(range(256)) * 8192
    target = tmp_path / "target"

    async def main() -> None:
        client, folder = await logged_in(reactor, server)
        (server.root / folder / "x").write_bytes(content)
        (tmp_path / ".target.part").write_bytes(content[:300_000])
        count = await download(client, f"{folder}/x", str(target), resume=True)
        assert count == len(content) - 300_000
        assert target.read_bytes() == content
        # A part that is longer than the whole is none of it; one that is the whole needs nothing.
        (tmp_path / ".target.part").write_bytes(content + b"x")
        assert await download(client, f"{folder}/x", str(target), resume=True) == len(content)
        (tmp_path / ".target.part").write_bytes(content)
        assert await download(client, f"{folder}/x", str(target), resume=True) == 0
        assert target.read_bytes() == content
        await client.quit()

    run(reactor, main())


def test_an_aborted_download_leaves_the_part_and_a_good_connection(
    reactor: Reactor, server: ForeignServer, tmp_path: Path
) -> None:
    async def main() -> None:
        client, folder = await logged_in(reactor, server)
        with open(server.root / folder / "x", "wb") as file:
            file.truncate(1 << 32)
        running = ensure_deferred(download(client, f"{folder}/x", str(tmp_path / "x")))
        part = tmp_path / ".x.part"
        await _until(reactor, lambda: part.exists() and part.stat().st_size > 1_000_000)
        await client.abort()
        with pytest.raises(Cancelled):
            await running
        assert part.stat().st_size < 1 << 32
        assert not (tmp_path / "x").exists()
        await client.noop()
        await client.quit()

    run(reactor, main())


def test_a_tree_is_mirrored(reactor: Reactor, server: ForeignServer, tmp_path: Path) -> None:
    async def main() -> None:
        client, folder = await logged_in(reactor, server)
        root = server.root / folder
        for name in ("a/b/c", "d"):
            (root / name).mkdir(parents=True)
            (root / name / "file").write_bytes(name.encode())
        (root / "link").symlink_to("a")
        (tmp_path / "d").mkdir()
        (tmp_path / "d" / "own").write_bytes(b"own")
        # pyftpdlib says that the link is a folder.
        assert await mirror(client, folder, str(tmp_path)) in {2, 3}
        await client.quit()

    run(reactor, main())
    found = {
        str(path.relative_to(tmp_path)): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()
    }
    found.pop("link/b/c/file", None)
    assert not any(path.is_symlink() for path in tmp_path.rglob("*"))
    assert found == {"a/b/c/file": b"a/b/c", "d/file": b"d", "d/own": b"own"}


def test_a_listing_of_all_folders(reactor: Reactor, pyftpdlib: ForeignServer) -> None:
    async def main() -> list[tuple[str, ...]]:
        client, folder = await logged_in(reactor, pyftpdlib)
        (pyftpdlib.root / folder / "a" / "b").mkdir(parents=True)
        (pyftpdlib.root / folder / "c").mkdir()
        paths = [found.path async for found in client.walk(folder)]
        assert (await client.mlst(folder)).kind == "dir"
        await client.store(f"{folder}/c/x", b"x")
        await client.mfmt(f"{folder}/c/x", 1_000_000_000)
        await client.chmod(f"{folder}/c/x", 0o600)
        file = await client.mlst(f"{folder}/c/x")
        assert (file.modified, file.mode) == (1_000_000_000, 0o600)
        await client.quit()
        return paths

    assert sorted(run(reactor, main())) == [(), ("a",), ("a", "b"), ("c",)]


def test_a_time_out_for_one_operation(reactor: Reactor, server: ForeignServer) -> None:
    async def main() -> None:
        client, folder = await logged_in(reactor, server)
        with pytest.raises(TimedOut):
            await ensure_deferred(client.store(f"{folder}/x", never)).timeout(0.2, reactor)
        await client.noop()
        await client.quit()

    run(reactor, main())


def test_what_is_left_when_a_client_is_dropped(reactor: Reactor, server: ForeignServer) -> None:
    async def main() -> FTPClient:
        client, folder = await logged_in(reactor, server)
        ensure_deferred(client.store(f"{folder}/x", never)).add_errback(lambda _: 0)
        return client

    client = run(reactor, main())
    client.close()
    wait_until(reactor, lambda: client.closed)
