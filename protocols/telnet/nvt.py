"""Line ends of the network virtual terminal (RFC 854, "The NVT printer and keyboard"; RFC 1123 3.3.1).

On the wire CR LF is a new line and CR NUL a carriage return; no CR stands alone.
"""

from __future__ import annotations

import re

from protocols.telnet.parser import escape

__all__ = ["KeyboardDecoder", "PrinterDecoder", "encode_binary", "encode_nvt"]

_CR = b"\r"
_ENTER = re.compile(rb"\r[\n\0]?|\n")


class KeyboardDecoder:
    """What a user sends: CR LF, CR NUL, CR and LF are all the same key, which is given as CR.

    RFC 1123 3.3.1 has servers treat the first two alike; clients in binary mode, and things that are no
    telnet, send the others. The key is given at its first byte: nobody would wait for the second.
    """

    def __init__(self) -> None:
        self._after_cr = False

    def decode(self, data: bytes) -> bytes:
        """Return the next keys."""
        if self._after_cr and data[:1] in {b"\n", b"\0"}:
            data = data[1:]
            self._after_cr = False
        if data:
            self._after_cr = data.endswith(_CR)
        return _ENTER.sub(_CR, data)


class PrinterDecoder:
    """What a server sends: CR NUL becomes CR, CR LF stays, and so does everything else."""

    def __init__(self) -> None:
        self._after_cr = False

    def decode(self, data: bytes) -> bytes:
        """Return what to print next."""
        if self._after_cr and data[:1] == b"\0":
            data = data[1:]
            self._after_cr = False
        if data:
            self._after_cr = data.endswith(_CR)
        return data.replace(b"\r\0", _CR)


def encode_nvt(data: bytes) -> bytes:
    """Return text for the wire: LF becomes CR LF, CR that no LF follows CR NUL, 255 is doubled."""
    data = data.replace(b"\r\n", b"\n").replace(_CR, b"\r\0").replace(b"\n", b"\r\n")
    return escape(data)


def encode_binary(data: bytes) -> bytes:
    """Return the same where the option BINARY is in effect (RFC 856): only 255 is doubled."""
    return escape(data)
