"""The buffer that every framing reader stands on: raw reading, and cost linear in the bytes received."""

from __future__ import annotations

from portable.errors import RemoteProtocolError

__all__ = ["Reader"]


class Reader:
    """Received bytes that nobody has taken yet. Pieces are pulled by the methods of the subclasses.

    Raw and framed reading may alternate at any point: both take from the same bytes, and what one leaves is
    there for the other. `len(reader)` is the number of unread bytes, which `Transport.start_tls` wants to know.

    An error is final: the unread bytes are dropped, later ones are ignored, and every later call that would
    return bytes raises the same error again. The stream cannot be understood any more; close it.

    The cost is linear in the bytes received, however they are cut. It works because a chunk that is at least as
    long as what is unread pays for joining the two, and a shorter one is appended to a bytearray in place.
    """

    def __init__(self) -> None:
        self._data: bytes | bytearray = b""
        self._pos = 0  # where the unread bytes begin
        self._scan = 0  # up to where a subclass has looked for an end in vain; not below _pos
        self._error = ""

    def __len__(self) -> int:
        return len(self._data) - self._pos

    def receive_data(self, data: bytes) -> None:
        """Store `data`. Never raises."""
        if self._error:
            return
        size = len(self._data)
        unread = size - self._pos
        if not unread:
            self._replace(data)
            self._scan = 0
        elif unread <= len(data):
            self._scan -= self._pos
            self._replace(bytes(self._data[self._pos :]) + data)
        else:
            if not isinstance(self._data, bytearray):
                self._compact(bytearray(self._data[self._pos :]))
            elif self._pos > unread:
                # Costs `unread`, which is less than what was taken since the last time.
                self._compact(self._data[self._pos :])
            self._data += data

    def read_raw(self, max_bytes: int) -> bytes:
        """Return at most `max_bytes` of the unread bytes, b"" if there are none.

        Raises:
            ValueError: `max_bytes` is negative.
            RemoteProtocolError: an earlier error, again.
        """
        self._check()
        if max_bytes < 0:
            raise ValueError(f"max_bytes must not be negative: {max_bytes}")
        return self._take(min(max_bytes, len(self)))

    def peek(self, count: int) -> bytes:
        """Return at most `count` of the unread bytes, and leave them unread.

        For messages so short that looking at them again with every piece that comes costs nothing.

        Raises:
            RemoteProtocolError: an earlier error, again.
        """
        self._check()
        return bytes(self._data[self._pos : self._pos + count])

    def read_exactly(self, count: int) -> bytes | None:
        """Return the next `count` bytes, or None until so many have come.

        Everything is kept until then, so the caller decides which `count` is too much.

        Raises:
            ValueError: `count` is negative.
            RemoteProtocolError: an earlier error, again.
        """
        self._check()
        if count < 0:
            raise ValueError(f"count must not be negative: {count}")
        if len(self) < count:
            return None
        return self._take(count)

    def take_remainder(self) -> bytes:
        """Return all unread bytes, for whoever reads the stream from here on.

        Raises:
            RemoteProtocolError: an earlier error, again.
        """
        self._check()
        return self._take(len(self))

    def _take(self, count: int) -> bytes:
        start = self._pos
        end = start + count
        piece = bytes(self._data[start:end])
        self._pos = end
        self._scan = end
        return piece

    def _replace(self, data: bytes) -> None:
        self._data = data
        self._pos = 0

    def _compact(self, data: bytearray) -> None:
        self._data = data
        self._scan -= self._pos
        self._pos = 0

    def _check(self) -> None:
        if self._error:
            # A new object each time: one that is raised again grows its traceback by each raise.
            raise RemoteProtocolError(self._error)

    def _fail(self, reason: str) -> RemoteProtocolError:
        self._error = reason
        self._data = b""
        self._pos = 0
        self._scan = 0
        return RemoteProtocolError(reason)
