"""Receiving the body of a request whole, before anything is taken that others wait for.

A client may send its body as slowly as the limits of the HTTP server let it: hours for megabytes, on any
number of connections. So whoever gives out few of something (turns of programs, connections to a publisher)
receives the body first, and gives it to those who can be answered at once. That costs memory for short bodies
and disk for long ones, which are cheap, and ends as soon as the client breaks off or is too slow.
"""

from __future__ import annotations

import typing

from portable.deferred import fail, succeed
from portable.errors import Cancelled, FileError, FrameworkError
from portable.files import TemporaryFile

if typing.TYPE_CHECKING:
    from portable.deferred import Deferred
    from portable.reactor import Threads
    from protocols.http.request import RequestBody

    # Whatever a thread gives back.
    T = typing.TypeVar("T")

__all__ = ["MAX_IN_MEMORY", "MAX_ON_DISK", "NoRoom", "Spool", "SpooledBody"]

# Bytes of one body in memory, above which they go to the disk. Most forms are shorter; and also the bytes that
# are written, or read, at once.
MAX_IN_MEMORY = 64 * 1024
# Bytes on the disk, of all bodies of one spool: 64 of the longest that the HTTP server takes by default. Nobody
# must be able to fill a disk; while somebody tries, short bodies still have their place in memory.
MAX_ON_DISK = 1024 * 1024 * 1024


class NoRoom(FrameworkError):
    """There is no room on the disk for another body."""


class Spool:
    """Receives bodies, and keeps them until they are closed.

    Args:
        threads: where the disk is waited for.
        longest: bytes of the longest body that may come. There is room on the disk for one of these at least.

    Attributes:
        on_disk: bytes of all bodies that are there.
    """

    def __init__(self, threads: Threads, longest: int = 0) -> None:
        self.on_disk = 0
        self._longest = longest
        self._threads = threads

    async def receive(self, body: RequestBody) -> SpooledBody:
        """Return the whole of `body`, which the caller has to close.

        Raises:
            NoRoom: there is none on the disk for it.
            RefusedRequest, ConnectionLost: as `RequestBody.next_chunk`.
        """
        if body.length is not None and body.length > MAX_IN_MEMORY:
            # Better told now than after the upload.
            self.check_room(body.length)
        spooled = SpooledBody(self, self._threads)
        try:
            while True:
                chunk = await body.next_chunk()
                if not chunk:
                    break
                await spooled.append(chunk)
        except BaseException:
            spooled.close()
            raise
        return spooled

    def check_room(self, count: int) -> None:
        """Raise NoRoom if there is none for another `count` bytes."""
        if self.on_disk + count > max(MAX_ON_DISK, self._longest):
            raise NoRoom(f"bodies of {self.on_disk} bytes are on the disk already")


class SpooledBody:
    """A body that was received whole: its beginning on the disk if it is long, the rest in memory.

    Attributes:
        length: bytes in all.
    """

    def __init__(self, spool: Spool, threads: Threads) -> None:
        self.length = 0
        self._spool = spool
        self._threads = threads
        self._file: TemporaryFile | None = None
        self._on_disk = 0
        self._unread = 0  # of those on the disk
        self._busy = False  # whether a thread may be at work on the file
        # One object, as a client may send its body byte by byte.
        self._memory = bytearray()

    def append(self, chunk: bytes) -> Deferred[None]:
        """Take the next bytes, and fire when there may be more. Fails with NoRoom."""
        self.length += len(chunk)
        self._memory += chunk
        if len(self._memory) <= MAX_IN_MEMORY:
            return succeed(None)
        data = self._take_memory()
        try:
            self._spool.check_room(len(data))
            if self._file is None:
                self._file = TemporaryFile()
        except (NoRoom, FileError) as error:
            return fail(NoRoom(str(error)))
        self._spool.on_disk += len(data)
        self._on_disk += len(data)
        self._unread += len(data)
        return self._in_thread(self._file.write, data).add_errback(_no_room)

    def next_chunk(self) -> Deferred[bytes]:
        """Give the next bytes, b"" at the end and ever after. Fails with FileError. Only once it is whole."""
        if self._file is None or not self._unread:
            return succeed(self._take_memory())
        count = min(MAX_IN_MEMORY, self._unread)
        self._unread -= count
        return self._in_thread(self._file.read, count)

    def _in_thread(self, function: typing.Callable[..., T], *args: object) -> Deferred[T]:
        self._busy = True
        return self._threads.run_in_thread(function, *args).add_both(self._done)

    def _done(self, result: typing.Any) -> typing.Any:
        # A cancelled call may still be under way.
        self._busy = isinstance(result, Cancelled)
        if isinstance(result, Exception):
            raise result
        return result

    async def read(self) -> bytes:
        """Return all of it at once. Fails as `next_chunk`."""
        chunks: list[bytes] = []
        while True:
            chunk = await self.next_chunk()
            if not chunk:
                return b"".join(chunks)
            chunks.append(chunk)

    def _take_memory(self) -> bytes:
        data = bytes(self._memory)
        self._memory = bytearray()
        return data

    def close(self) -> None:
        """Forget it. Idempotent. Nothing may be called afterwards."""
        self._memory = bytearray()
        self._spool.on_disk -= self._on_disk
        self._on_disk = 0
        file, self._file = self._file, None
        if file is not None and self._busy:
            # It waits for the other call.
            self._threads.run_in_thread(file.close)
        elif file is not None:
            file.close()


def _no_room(error: Exception) -> typing.NoReturn:
    """The disk is full, or there is no place for such files."""
    if isinstance(error, FileError):
        raise NoRoom(str(error)) from error
    raise error
