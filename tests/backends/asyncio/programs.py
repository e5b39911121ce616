"""What the asyncio programs under test share."""

from __future__ import annotations

import typing

if typing.TYPE_CHECKING:
    import asyncio

__all__ = ["echo", "port_of"]


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(100_000):
        writer.write(data)
        await writer.drain()
    writer.close()
    await writer.wait_closed()


def port_of(server: asyncio.AbstractServer) -> int:
    port: int = typing.cast("asyncio.Server", server).sockets[0].getsockname()[1]
    return port
