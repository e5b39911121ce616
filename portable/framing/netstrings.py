"""Netstrings (D. J. Bernstein, cr.yp.to/proto/netstrings.txt): `5:hello,`."""

from __future__ import annotations

from portable.framing.reader import Reader

__all__ = ["NetstringReader", "encode_netstring"]


class NetstringReader(Reader):
    """Cuts a stream into netstrings.

    The length is decimal digits without leading zeros ("0:," is the empty string), and it is judged before
    anything of the string is kept. Raw reading is for between two strings.

    Args:
        max_length: bytes that a string may have.
    """

    def __init__(self, max_length: int) -> None:
        super().__init__()
        if max_length < 0:
            raise ValueError(f"max_length must not be negative: {max_length}")
        self._max_length = max_length
        self._max_digits = len(str(max_length))
        self._length = -1  # of the string whose length was read, -1 before that

    def next_string(self) -> bytes | None:
        """Return the next string, or None until it is complete.

        Raises:
            RemoteProtocolError: the length is malformed or above `max_length`, or no comma follows the string.
                An earlier error, again.
        """
        self._check()
        if self._length < 0 and not self._read_length():
            return None
        length = self._length
        if len(self) <= length:
            return None
        comma = self._pos + length
        if self._data[comma : comma + 1] != b",":
            raise self._fail("a netstring that no comma follows")
        string = self._take(length)
        self._take(1)
        self._length = -1
        return string

    def _read_length(self) -> bool:
        """Read "123:" and return whether it was complete. Looks at one byte more than the limit has digits."""
        start = self._pos
        head = bytes(self._data[start : start + self._max_digits + 1])
        digits, colon, _ = head.partition(b":")
        # From the first byte on, so that the error is the same for any split.
        for index in range(len(digits)):
            if not digits[index : index + 1].isdigit():
                raise self._fail("a netstring whose length is not a number")
            if index and digits[:1] == b"0":
                raise self._fail("a netstring whose length has a leading zero")
            if int(digits[: index + 1]) > self._max_length:
                raise self._fail(f"a netstring of more than {self._max_length} bytes")
        if not colon:
            return False
        if not digits:
            raise self._fail("a netstring without length")
        self._take(len(digits) + 1)
        self._length = int(digits)
        return True


def encode_netstring(string: bytes) -> bytes:
    """Return `string` as a netstring."""
    return str(len(string)).encode("ascii") + b":" + string + b","
