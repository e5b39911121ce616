"""What a file system is to an FTP server. What may take time gives a Deferred and leaves the loop free.

A path is a tuple of names (see `paths`); none of them is "", "." or "..", or has "/" or NUL in it. Every
Deferred may fail with FileError, whose code decides on the reply: ENOENT, EACCES, ENOTDIR, EISDIR, EEXIST,
ENOTEMPTY, ENOSPC...
"""

from __future__ import annotations

import typing

if typing.TYPE_CHECKING:
    from portable.deferred import Deferred
    from protocols.ftp.server.paths import Path

__all__ = ["SMALL", "FileSystem", "Item", "OpenFolder", "Readable", "Writable"]

# Bytes. What fits the buffer of a socket leaves in one go.
SMALL = 64 * 1024


class Item(typing.NamedTuple):
    """A file or a folder.

    Attributes:
        name: the last one of its path; "" for the root.
        is_folder: otherwise it is a regular file; there is nothing else.
        size: bytes.
        modified: when the content was changed last, in seconds since 1970.
        mode: permission bits as Unix has them.
        unique: equal for two names of one file, and different for two files (RFC 3659 7.5.2).
    """

    name: str
    is_folder: bool
    size: int
    modified: float
    mode: int
    unique: str


class Readable(typing.Protocol):
    """A file that is open for reading.

    Attributes:
        size: bytes, when it was opened.
        content: all of it, if it is at most SMALL bytes: it was read when it was opened, as one piece of work.
        file: for `Transport.send_file`, if it is longer.
    """

    size: int
    content: bytes | None
    file: typing.BinaryIO | None

    def read(self, offset: int, count: int) -> Deferred[bytes]:
        """Give `count` bytes from `offset`, fewer only where the file ends."""

    def close(self) -> None:
        """Close it. Idempotent."""


class Writable(typing.Protocol):
    """A file that is open for writing, or about to be made. One `write` or `close` at a time.

    Attributes:
        size: bytes, when it was opened; 0 of one that was not there.
    """

    size: int

    def start_at(self, offset: int | None) -> None:
        """Have what is written begin at `offset`, and end the file with it; None to append. Before the first
        `write`; without it nothing changes, and no file is made. Takes effect with the next call, which tells
        if it fails.
        """

    def write(self, data: bytes) -> Deferred[None]:
        """Write the whole of `data`."""

    def close(self) -> Deferred[None]:
        """Close the file: what was written can be read by everybody afterwards."""


class OpenFolder(typing.Protocol):
    """A folder that is being listed."""

    def read(self, count: int) -> Deferred[list[Item]]:
        """Give the next items, at most `count` (some of which may be left out); none at all at the end."""

    def close(self) -> None:
        """Close it. Idempotent, and allowed while a `read` is under way, which then gives nothing of use."""


class FileSystem(typing.Protocol):
    """The files of one account, or of several."""

    def status(self, path: Path) -> Deferred[Item]:
        """Give what stands at `path`."""

    def open_folder(self, path: Path) -> Deferred[OpenFolder]:
        """Open a folder for listing. ENOTDIR for a file."""

    def open_file(self, path: Path) -> Deferred[Readable]:
        """Open a file for reading. EISDIR for a folder."""

    def open_to_write(self, path: Path, *, exclusive: bool = False) -> Deferred[Writable]:
        """Open a file for writing. Its content stays for now, and one that is not there is not made yet: see
        `Writable.start_at`. EISDIR for a folder.

        Args:
            exclusive: EEXIST if it is there.
        """

    def make_folder(self, path: Path) -> Deferred[None]:
        """Make a folder."""

    def remove_file(self, path: Path) -> Deferred[None]:
        """Remove a file. EISDIR for a folder."""

    def remove_folder(self, path: Path) -> Deferred[None]:
        """Remove an empty folder."""

    def rename(self, path: Path, target: Path, *, replace: bool) -> Deferred[None]:
        """Give a file or folder another name, in another folder perhaps.

        Args:
            replace: a file that has that name already goes. Otherwise EEXIST.
        """

    def set_modified(self, path: Path, modified: float) -> Deferred[None]:
        """Set when the content was changed last, in seconds since 1970."""

    def set_mode(self, path: Path, mode: int) -> Deferred[None]:
        """Set the permission bits, 0 to 0o777."""
