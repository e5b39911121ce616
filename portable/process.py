"""Child processes: what a reactor's `spawn` gives, and the calls a process protocol gets.

Order of calls:

    connection_made (pipe_data_received | pipe_connection_lost | process_exited)* connection_lost

`pipe_connection_lost(fd)` comes once for each pipe, `process_exited` once; they may come in any order, because
a child may close its output long before it ends, or leave it to a grandchild. `connection_lost` comes when all
of them have come. `pause_writing` and `resume_writing` come in pairs, before the end of the pipe 0.
"""

from __future__ import annotations

import typing

if typing.TYPE_CHECKING:
    from portable.errors import TransportError
    from portable.transport import Transport

__all__ = ["SIGKILL", "SIGTERM", "Process", "ProcessProtocol"]

# POSIX gives these two the same numbers everywhere.
SIGKILL = 9
SIGTERM = 15


class ProcessProtocol:
    """The parent's view of one child. Every method does nothing until it is overridden."""

    def connection_made(self, process: Process) -> None:
        """Called once, first."""

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        """Called with bytes that the child wrote to its standard output (`fd` 1) or standard error (2)."""

    def pipe_connection_lost(self, fd: int, exc: TransportError | None) -> None:
        """Called once for each of 0, 1 and 2 when that pipe is closed, by either side."""

    def pause_writing(self) -> None:
        """Called when the write buffer of the child's standard input is above its high-water mark."""

    def resume_writing(self) -> None:
        """Called when that buffer has sunk to the low-water mark, or below."""

    def process_exited(self, returncode: int) -> None:
        """Called once when the child has ended: its exit status, or minus the number of the signal."""

    def connection_lost(self) -> None:
        """Called once, last: the child has ended and all of its output has been delivered."""


class Process(typing.Protocol):
    """A child process."""

    @property
    def pid(self) -> int:
        """The process id; it may belong to somebody else once `process_exited` was called."""

    @property
    def returncode(self) -> int | None:
        """None while the child runs, then what `process_exited` was told."""

    @property
    def stdin(self) -> Transport:
        """The child's standard input: `write` to it, `close` it to end the input. It has a write buffer with
        limits; its `pause_reading` and everything else about reading do nothing.
        """

    def pause_reading(self, fd: int) -> None:
        """Stop reading the child's standard output (1) or error (2), so that the child blocks when its pipe is
        full.
        """

    def resume_reading(self, fd: int) -> None:
        """Undo `pause_reading`."""

    def send_signal(self, signum: int) -> None:
        """Send a signal to the child. Does nothing once it has ended."""

    def kill_group(self, signum: int) -> None:
        """Send a signal to the child and to all of its descendants that stayed in its process group, whether or
        not the child itself has ended. Does nothing to those that belong to another user by now.
        """

    def close_pipes(self) -> None:
        """Close our ends of the pipes, and drop what is in them. Otherwise a descendant that has left the
        process group could hold the other ends, and put `connection_lost` off, for as long as it likes.
        """


if typing.TYPE_CHECKING:
    ProcessFactory = typing.Callable[[], ProcessProtocol]
