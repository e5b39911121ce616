"""What is declared of a server and of those who talk to it."""

from __future__ import annotations

import dataclasses
import os
import typing

if typing.TYPE_CHECKING:
    import pathlib
    from collections.abc import Callable

    from ci.acceptance.record import View
    from ci.acceptance.stage import Stage

__all__ = ["Client", "Port", "Server", "Workshop"]

# Seconds of POSIX: long ago, so that Last-Modified is never now.
MODIFIED = 1_700_000_000


@dataclasses.dataclass(frozen=True)
class Port:
    """A port that the server binds.

    Attributes:
        name: what clients call it.
        protocol: "tcp", "tls" or "udp".
        logged: the name in the log's line "listening: NAME PROTOCOL ADDRESS".
    """

    name: str
    protocol: str
    logged: str


@dataclasses.dataclass(frozen=True)
class Client:
    """Something that is done to a server.

    Attributes:
        name: the program, or "python", with what it does: "curl: index".
        run: does it; raises `Failed` where the answer is wrong in itself.
        views: hide what may differ, after the views of the server have.
        fast: also part of the short run.
    """

    name: str
    run: Callable[[Stage], None]
    views: tuple[View, ...] = ()
    fast: bool = True


@dataclasses.dataclass(frozen=True)
class Server:
    """One .tap file, and everything that is done to it.

    Attributes:
        name: the row of the matrix.
        kind: as for mktap.
        prepare: makes the files; returns the words for each call of mktap, of which all but the first append.
        ports: what it binds, in the order of the log.
        clients: in this order, one after the other.
        look: what a person should look at; {web}, say, is replaced by the address of the port "web".
        views: for all its clients.
        ending: run instead of a plain SIGTERM; must end the server, by `Stage.terminate`.
        daemon: run in the background, where the runtime can.
        logs: further logs that are compared: the file to the views that hide what may differ.
    """

    name: str
    kind: str
    prepare: Callable[[Workshop], list[list[str]]]
    ports: tuple[Port, ...]
    clients: tuple[Client, ...]
    look: str = ""
    views: tuple[View, ...] = ()
    ending: Client | None = None
    daemon: bool = False
    logs: dict[str, tuple[View, ...]] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class Workshop:
    """Where a server is prepared: a folder, and what has to be undone at the end.

    Attributes:
        folder: for files; the .tap file is written here, too.
        closers: called when the server has been run everywhere.
    """

    folder: pathlib.Path
    closers: list[Callable[[], object]] = dataclasses.field(default_factory=list)

    def write(self, name: str, content: bytes, modified: int = MODIFIED) -> pathlib.Path:
        """Write a file that looks as if it had been `modified` then (seconds of POSIX), and return it."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        os.utime(path, (modified, modified))
        return path

    def touch(self, name: str, modified: int = MODIFIED) -> None:
        """Make a folder look as if it had been modified then."""
        os.utime(self.folder / name, (modified, modified))

    def close(self) -> None:
        """Undo all, in reverse order."""
        while self.closers:
            self.closers.pop()()
