"""The boundary to the file system: what raises `OSError` here leaves as `portable.errors.FileError`.

Nothing in this package waits for a peer, but a disk may be slow. What is meant for the loop's own thread says
so; everything else belongs in start-up code or in `Threads.run_in_thread`.

`open_beneath` is the only way in which a server may turn a name that a client sent into an open file. It
walks from the root one component at a time, each opened relative to the folder before it and never through
a symbolic link (`openat` with `O_NOFOLLOW`), so that neither ".." nor a link anywhere on the way, nor one
that is swapped in while we walk, leads out of the root. Whatever changes files for a client
(`portable.files.changing`) takes a folder opened so, and one name in it. Systems without `openat` (Windows)
get checks of each component and a comparison of what was opened with what was checked; there somebody who
can write below the root may still win a race.
"""

from __future__ import annotations

from portable.files.append import AppendFile
from portable.files.beneath import MAX_LINKS, open_beneath
from portable.files.opened import (
    FileStatus,
    FolderEntry,
    FolderReader,
    OpenFile,
    file_status,
    open_file,
    socket_owner,
)
from portable.files.system import file_error
from portable.files.temporary import TemporaryFile
from portable.files.whole import read_file, write_atomically

__all__ = [
    "MAX_LINKS",
    "AppendFile",
    "FileStatus",
    "FolderEntry",
    "FolderReader",
    "OpenFile",
    "TemporaryFile",
    "file_error",
    "file_status",
    "open_beneath",
    "open_file",
    "read_file",
    "socket_owner",
    "write_atomically",
]
