"""Our client and other people's servers: vsftpd and pyftpdlib, in clear and over TLS, passive and active."""

from __future__ import annotations

import typing

import pytest

from portable.deferred import Deferred, ensure_deferred
from portable.errors import Cancelled, CertificateError, TimedOut
from portable.testing import wait_until
from portable.tls import client_options
from protocols.ftp.client import CommandRefused, FTPClient, connect_ftp, download, mirror, upload
from tests.protocols.ftp.client.sessions import logged_in, never, run, session

if typing.TYPE_CHECKING:
    from pathlib import Path

    from portable.reactor import Reactor
    from tests.portable.tls.certs import Certificates
    from tests.protocols.ftp.client.foreign_servers import ForeignServer


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
