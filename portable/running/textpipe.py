"""Text on its way from the thread that writes it to the loop that sends it, with a bound on how much waits."""

from __future__ import annotations

import collections
import threading
import typing

__all__ = ["CAPACITY", "TextPipe"]

# Characters that wait to be sent; a writer is held up beyond that. A screen has 2,000; more than a transport's
# write buffer would only be memory.
CAPACITY = 65536
# Seconds after which a held-up writer looks again. It can only be interrupted when it does (see interruption).
_LOOK = 0.1


class TextPipe:
    """Made by the reader, in its thread, whose own `write` is never held up: what finds no room then is lost.

    There are no locks that a writer, which may be interrupted anywhere, could keep from the reader: `deque` and
    plain locks do each step as one.

    Args:
        wake: called in the writer's thread when there is something to read, once until `read` was called.

    Attributes:
        lost: characters that the reader's own thread wrote and that found no room.
    """

    def __init__(self, wake: typing.Callable[[], object]) -> None:
        self.lost = 0
        self._wake = wake
        self._chunks: collections.deque[str] = collections.deque()
        self._written = 0
        self._read = 0
        self._woken = False
        self._closed = False
        self._reader = threading.get_ident()
        self._room = threading.Lock()  # what a writer waits for; it is free for a moment when there is room

    def write(self, text: str) -> None:
        """Pass `text` on, once there is room for its last piece. Ignored after `close`."""
        start = 0
        while start < len(text) and not self._closed:
            room = CAPACITY - (self._written - self._read)
            if room <= 0:
                if threading.get_ident() == self._reader:
                    self.lost += len(text) - start
                    return
                self._room.acquire(timeout=_LOOK)
                continue
            piece = text[start : start + room]
            start += room
            self._written += len(piece)
            self._chunks.append(piece)
            if not self._woken:
                self._woken = True
                try:
                    self._wake()
                except BaseException:
                    # Interrupted: the next piece must wake the reader instead.
                    self._woken = False
                    raise

    def read(self) -> str:
        """Return what waits, "" for nothing. For the reader."""
        # Before looking: who writes from now on wakes us again.
        self._woken = False
        pieces = []
        while self._chunks:
            pieces.append(self._chunks.popleft())
        text = "".join(pieces)
        self._read += len(text)
        if self._room.locked():
            self._room.release()
        return text

    def close(self) -> None:
        """Drop what waits and what will be written, and let writers go on. For the reader."""
        self._closed = True
        self.read()
