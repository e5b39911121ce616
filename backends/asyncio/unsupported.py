"""What asyncio's loops may have and `ReactorEventLoop` has not, each with what to use instead."""

from __future__ import annotations

import asyncio
import typing

__all__ = ["UnsupportedLoop"]

Args = typing.TypeVarTuple("Args")

_RAW = "descriptors belong to the reactor, which may have none: use create_connection or create_server"
_PIPES = "use the reactor's `spawn`, whose pipes are transports"


def _missing(name: str, advice: str) -> NotImplementedError:
    return NotImplementedError(f"a loop over a reactor has no {name}(): {advice}")


class UnsupportedLoop(asyncio.AbstractEventLoop):
    """Every method raises NotImplementedError."""

    def add_reader(self, fd: typing.Any, callback: typing.Callable[[*Args], typing.Any], *args: *Args) -> None:
        raise _missing("add_reader", _RAW)

    def remove_reader(self, *args: typing.Any) -> typing.Any:
        raise _missing("remove_reader", _RAW)

    def add_writer(self, fd: typing.Any, callback: typing.Callable[[*Args], typing.Any], *args: *Args) -> None:
        raise _missing("add_writer", _RAW)

    def remove_writer(self, *args: typing.Any) -> typing.Any:
        raise _missing("remove_writer", _RAW)

    async def sock_recv(self, *args: typing.Any) -> typing.Any:
        raise _missing("sock_recv", _RAW)

    async def sock_recv_into(self, *args: typing.Any) -> typing.Any:
        raise _missing("sock_recv_into", _RAW)

    async def sock_recvfrom(self, *args: typing.Any) -> typing.Any:
        raise _missing("sock_recvfrom", _RAW)

    async def sock_recvfrom_into(self, *args: typing.Any) -> typing.Any:
        raise _missing("sock_recvfrom_into", _RAW)

    async def sock_sendto(self, *args: typing.Any) -> typing.Any:
        raise _missing("sock_sendto", _RAW)

    async def sock_sendall(self, *args: typing.Any) -> typing.Any:
        raise _missing("sock_sendall", _RAW)

    async def sock_connect(self, *args: typing.Any) -> typing.Any:
        raise _missing("sock_connect", _RAW)

    async def sock_accept(self, *args: typing.Any) -> typing.Any:
        raise _missing("sock_accept", _RAW)

    async def sock_sendfile(self, *args: typing.Any, **options: typing.Any) -> typing.Any:
        raise _missing("sock_sendfile", _RAW)

    async def connect_accepted_socket(self, *args: typing.Any, **options: typing.Any) -> typing.Any:
        raise _missing("connect_accepted_socket", _RAW)

    async def connect_read_pipe(self, *args: typing.Any) -> typing.Any:
        raise _missing("connect_read_pipe", _PIPES)

    async def connect_write_pipe(self, *args: typing.Any) -> typing.Any:
        raise _missing("connect_write_pipe", _PIPES)

    async def subprocess_exec(self, *args: typing.Any, **options: typing.Any) -> typing.Any:
        raise _missing("subprocess_exec", _PIPES)

    async def subprocess_shell(self, *args: typing.Any, **options: typing.Any) -> typing.Any:
        raise _missing("subprocess_shell", _PIPES)
