"""What a client does with any server."""

from __future__ import annotations

import itertools
import typing

import pytest

from portable.deferred import Deferred, ensure_deferred
from portable.testing import wait_for
from protocols.ftp.client import CommandRefused, FTPClient, connect_ftp

if typing.TYPE_CHECKING:
    from collections.abc import Coroutine

    from portable.reactor import Reactor
    from portable.tls import TLSOptions
    from tests.protocols.ftp.client.foreign_servers import ForeignServer

__all__ = ["logged_in", "never", "run", "session"]

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
