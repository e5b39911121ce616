"""Files without a name, for what is too large for memory."""

from __future__ import annotations

import contextlib
import tempfile

from portable.files.system import file_error, refusal

__all__ = ["TemporaryFile"]

# In messages, for want of a name.
_SHOWN = "a temporary file"


class TemporaryFile:
    """Bytes on the disk, in the system's folder for such files (TMPDIR), which are gone once it is closed.

    They are written, then read, each from the beginning to the end. To make one is fast enough for the loop,
    and so is `close`, unless another call is under way, for which it waits; the rest is for threads, one call
    at a time.
    """

    def __init__(self) -> None:
        """Make an empty one.

        Raises:
            FileError: there is no such folder, or the system refused.
        """
        try:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115 - see `close`
        except OSError as exc:
            raise file_error(exc, _SHOWN) from exc
        self._reading = False

    def write(self, data: bytes) -> None:
        """Append `data`. Not after the first `read`.

        Raises:
            FileError: ENOSPC, EIO...; EBADF if it is closed.
        """
        try:
            self._file.write(data)
        except OSError as exc:
            raise file_error(exc, _SHOWN) from exc
        except ValueError as exc:
            raise refusal(_SHOWN, "EBADF") from exc

    def read(self, count: int) -> bytes:
        """Return the next `count` bytes, fewer at the end.

        Raises:
            FileError: as `write`.
        """
        try:
            if not self._reading:
                self._reading = True
                self._file.seek(0)
            return self._file.read(count)
        except OSError as exc:
            raise file_error(exc, _SHOWN) from exc
        except ValueError as exc:
            raise refusal(_SHOWN, "EBADF") from exc

    def close(self) -> None:
        """Close it, and forget what is in it. Idempotent."""
        # What was written and cannot be stored any more is not wanted any more, either.
        with contextlib.suppress(OSError):
            self._file.close()
