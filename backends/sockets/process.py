"""Child processes: their pipes as streams, and their end as an event."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import threading
import typing

from backends.sockets.oserrors import error_code
from backends.sockets.reactor import READ
from backends.sockets.stream import Stream
from portable.errors import FAILURES, FileError, TransportError, describe
from portable.protocol import Protocol

if typing.TYPE_CHECKING:
    from backends.sockets.reactor import SocketReactor
    from portable.process import ProcessProtocol
    from portable.transport import Buffer

__all__ = ["ChildProcess"]

_log = logging.getLogger("portable.sockets")


class _PipeEnd:
    """Our end of a pipe, with a socket's methods."""

    def __init__(self, file: typing.IO[bytes]) -> None:
        self.fd = file.fileno()
        self.fileno = file.fileno
        self.close = file.close

    def recv(self, size: int, /) -> bytes:
        return os.read(self.fd, size)

    def send(self, data: Buffer, /) -> int:
        return os.write(self.fd, data)


class _PipeStream(Stream):
    """A stream over a pipe: to the child's standard input (0) we only write, from the others we only read."""

    __slots__ = ()

    def __init__(
        self, reactor: SocketReactor, file: typing.IO[bytes], child: ChildProcess, number: int
    ) -> None:
        os.set_blocking(file.fileno(), False)
        super().__init__(reactor, _PipeEnd(file), _Pipe(child, number))
        self._ended = number == 0

    def start(self) -> None:
        super().start()
        # Whoever spawned may have written and closed already, but nothing can end before it has begun.
        self._mark_dirty()

    def _shut_down_writing(self) -> None:
        self.close()


class _Pipe(Protocol):
    """Hands on what happens to one of the child's pipes."""

    def __init__(self, child: ChildProcess, number: int) -> None:
        self._child = child
        self._number = number

    def data_received(self, data: bytes) -> None:
        self._child.protocol.pipe_data_received(self._number, data)

    def pause_writing(self) -> None:
        self._child.protocol.pause_writing()

    def resume_writing(self) -> None:
        self._child.protocol.resume_writing()

    def connection_lost(self, exc: TransportError | None) -> None:
        self._child.pipe_ended(self._number, exc)


class _ExitWatch:
    """Tells the child's end by a process descriptor, where the system has them."""

    def __init__(self, reactor: SocketReactor, child: ChildProcess, fd: int) -> None:
        self._reactor = reactor
        self._child = child
        self.fd = fd
        reactor.poller.register(fd, READ)
        reactor.channels[fd] = self

    def on_event(self, flags: int) -> None:
        """The child has ended."""
        self._drop()
        self._child.on_exit()

    def _drop(self) -> None:
        self._reactor.poller.unregister(self.fd)
        del self._reactor.channels[self.fd]
        os.close(self.fd)

    def abort(self) -> None:
        """The reactor closes: end the child too, or nobody would ever wait for it."""
        self._drop()
        self._child.kill()
        self._child.on_exit()


class _ThreadWatch:
    """Tells the child's end by a thread that waits for it, where there are no process descriptors."""

    def __init__(self, reactor: SocketReactor, child: ChildProcess) -> None:
        self._reactor = reactor
        self._child = child
        self._key = -child.pid  # among the descriptors, and none of them
        reactor.channels[self._key] = self
        threading.Thread(target=self._wait, name=f"portable-wait-{child.pid}", daemon=True).start()

    def _wait(self) -> None:
        self._child.wait()
        self._reactor.call_soon_threadsafe(self._ended)

    def _ended(self) -> None:
        if self._reactor.channels.pop(self._key, None) is self:
            self._child.on_exit()

    def on_event(self, flags: int) -> None:
        """See `Channel.on_event`. There are none."""

    def abort(self) -> None:
        """As `_ExitWatch.abort`."""
        self._child.kill()
        self._ended()


class ChildProcess:
    """A `Process` started with the subprocess module."""

    def __init__(
        self,
        reactor: SocketReactor,
        protocol: ProcessProtocol,
        argv: typing.Sequence[str],
        env: typing.Mapping[str, str],
        cwd: str | None,
        *,
        merge_stderr: bool,
    ) -> None:
        self.protocol = protocol
        self._reactor = reactor
        try:
            self._popen = subprocess.Popen(  # noqa: S603 - starting what we are told to is the point
                list(argv),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT if merge_stderr else subprocess.PIPE,
                bufsize=0,
                env=dict(env),
                cwd=cwd,
                process_group=0,
            )
        except OSError as exc:
            code = error_code(exc)
            raise FileError(f"cannot start {argv[0]!r}: {describe(code)}", code) from exc
        except ValueError as exc:  # NUL, or what the system's encoding cannot express
            raise FileError(f"cannot start {argv[0]!r}: {exc}", "EINVAL") from exc
        self._pipes: dict[int, _PipeStream] = {}
        self._exited = False
        self._ended = False
        streams = [(0, self._popen.stdin), (1, self._popen.stdout), (2, self._popen.stderr)]
        for number, stream in streams:
            if stream is not None:
                self._pipes[number] = _PipeStream(reactor, stream, self, number)
        self._stdin = self._pipes[0]
        self._missing = {0, 1, 2}
        if merge_stderr:
            self._missing.discard(2)
        reactor.call_soon(self._start)

    def _start(self) -> None:
        self._call(self.protocol.connection_made, self)
        for pipe in list(self._pipes.values()):
            pipe.start()
        self._watch_exit()

    def _watch_exit(self) -> None:
        if hasattr(os, "pidfd_open"):
            try:
                fd = os.pidfd_open(self.pid)
            except OSError as exc:  # an old kernel, or no descriptors left
                _log.debug("no process descriptor: %s", exc)
            else:
                try:
                    _ExitWatch(self._reactor, self, fd)
                except TransportError:  # the poller is full
                    os.close(fd)
                else:
                    return
        _ThreadWatch(self._reactor, self)

    def kill(self) -> None:
        """Kill the child, and its process group, which it may have left."""
        self.kill_group(signal.SIGKILL)
        with contextlib.suppress(PermissionError):
            self.send_signal(signal.SIGKILL)

    def wait(self) -> None:
        """Wait, in a thread, until the child has ended."""
        self._popen.wait()

    def _call(self, method: typing.Callable[..., object], *args: object) -> None:
        try:
            method(*args)
        except FAILURES:
            _log.exception("the protocol of process %d failed; the process is killed", self.pid)
            self.kill()

    def pipe_ended(self, number: int, exc: TransportError | None) -> None:
        """Take note that one of the pipes is closed."""
        self._missing.discard(number)
        self._call(self.protocol.pipe_connection_lost, number, exc)
        self._check_end()

    def on_exit(self) -> None:
        """Collect the exit status of the child, which has ended."""
        returncode = self._popen.wait()
        self._exited = True
        # Nobody reads what we would still write to it, but a full pipe would never say so.
        self._stdin.abort()
        self._call(self.protocol.process_exited, returncode)
        self._check_end()

    def _check_end(self) -> None:
        if self._exited and not self._missing and not self._ended:
            self._ended = True
            self._call(self.protocol.connection_lost)

    # The Process's properties and methods: see portable.process.

    @property
    def pid(self) -> int:
        """See `Process.pid`."""
        return self._popen.pid

    @property
    def returncode(self) -> int | None:
        """See `Process.returncode`."""
        return self._popen.returncode if self._exited else None

    @property
    def stdin(self) -> _PipeStream:
        """See `Process.stdin`."""
        return self._stdin

    def pause_reading(self, fd: int) -> None:
        """See `Process.pause_reading`."""
        self._pipes[fd].pause_reading()

    def resume_reading(self, fd: int) -> None:
        """See `Process.resume_reading`."""
        self._pipes[fd].resume_reading()

    def send_signal(self, signum: int) -> None:
        """See `Process.send_signal`."""
        if not self._exited:
            self._popen.send_signal(signum)

    def kill_group(self, signum: int) -> None:
        """See `Process.kill_group`."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._popen.pid, signum)

    def close_pipes(self) -> None:
        """See `Process.close_pipes`."""
        for pipe in self._pipes.values():
            pipe.abort()
