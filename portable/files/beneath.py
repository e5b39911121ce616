"""From a name that a client sent to an open file, never leaving the root."""

from __future__ import annotations

import os
import stat
import typing

from portable.files import system
from portable.files.opened import OpenFile, status_of, verified
from portable.files.system import file_error, refusal

if typing.TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["MAX_LINKS", "check_segment", "open_beneath"]

# Symbolic links followed in one `open_beneath`, as many as Linux follows itself.
MAX_LINKS = 40
# Names that are devices in every folder of Windows, with any extension.
_DEVICES = frozenset(
    ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"]
    + [name + digit for name in ("COM", "LPT") for digit in "0123456789\u00b9\u00b2\u00b3"]
)


def check_segment(segment: str, path: str) -> None:
    """Refuse what is not the name of one thing in one folder.

    Raises:
        FileError: ENOENT: no such name can exist. Its message names `path`.
    """
    if segment in {"", ".", ".."} or "/" in segment or "\0" in segment:
        raise refusal(path, "ENOENT")
    if system.WINDOWS:
        # "\" separates, ":" begins a drive or a stream ("x.php::$DATA"), "~" could be a short (8.3) name of
        # something hidden, trailing dots and spaces are dropped by the system so that a check of the name
        # would be passed by.
        stem = segment.split(".", 1)[0].rstrip(" ").upper()
        if (
            any(char in '\\:*?"<>|~' or char < " " for char in segment)
            or segment[-1] in ". "
            or stem in _DEVICES
        ):
            raise refusal(path, "ENOENT")


def open_beneath(root: str | OpenFile, segments: Sequence[str], *, follow_links: bool = False) -> OpenFile:
    """Open the file or folder that is reached from `root` by `segments`, for reading. Fast enough for the loop.

    Never leaves `root`, whatever `segments` hold and whoever changes the tree meanwhile; see the module's text.
    Devices, FIFOs and sockets are refused without being opened.

    Args:
        root: a folder: a path, itself trusted (it may be a symbolic link), or one that is open.
        segments: one name each. None: the root.
        follow_links: follow symbolic links whose target is a relative path that stays beneath `root` all along
            (".." in it never climbs above). Otherwise, and all others: ELOOP.

    Raises:
        FileError: ENOENT (also for names that cannot exist: "..", "a/b", names with NUL), ENOTDIR, EACCES,
            ELOOP (a link that is not followed), EINVAL (neither file nor folder), EMFILE, ENAMETOOLONG...
    """
    shown = "/".join(segments) or (root if isinstance(root, str) else ".")
    for segment in segments:
        check_segment(segment, shown)
    try:
        if not system.HAS_DIR_FD:
            return _open_by_path(root, segments, shown)
        return _open_by_descriptor(root, segments, shown, follow_links)
    except OSError as exc:
        raise file_error(exc, shown) from exc
    except ValueError as exc:
        # A name that the file system's encoding cannot express.
        raise refusal(shown, "ENOENT") from exc


def _open_by_descriptor(
    root: str | OpenFile, segments: Sequence[str], shown: str, follow_links: bool
) -> OpenFile:
    # The folders from the root to where we are: ".." in a link goes back in this list, not in the file system.
    folders = [
        os.open(root, system.PASS) if isinstance(root, str) else os.open(".", system.PASS, dir_fd=root.fileno())
    ]
    links = 0
    try:
        todo = list(reversed(segments))
        while todo:
            name = todo.pop()
            if name == "..":
                if len(folders) == 1:
                    raise refusal(shown, "ELOOP")
                os.close(folders.pop())
                continue
            mode = os.stat(name, dir_fd=folders[-1], follow_symlinks=False).st_mode
            if stat.S_ISLNK(mode):
                links += 1
                target = os.readlink(name, dir_fd=folders[-1])
                if not follow_links or links > MAX_LINKS or target.startswith("/"):
                    raise refusal(shown, "ELOOP")
                parts = [part for part in target.split("/") if part not in {"", "."}]
                todo.extend(reversed(parts))
            elif stat.S_ISDIR(mode):
                folders.append(os.open(name, system.PASS | system.NO_FOLLOW, dir_fd=folders[-1]))
            elif todo:
                raise refusal(shown, "ENOTDIR")
            elif stat.S_ISREG(mode):
                fd = os.open(name, system.READ | system.NO_FOLLOW, dir_fd=folders[-1])
                opened = verified(fd, shown, shown)
                opened.link_target = name if links else ""
                return opened
            else:
                raise refusal(shown, "EINVAL")
        return verified(folders.pop(), shown, shown)
    finally:
        for fd in folders:
            os.close(fd)


def _open_by_path(root: str | OpenFile, segments: Sequence[str], shown: str) -> OpenFile:
    path = root if isinstance(root, str) else root.path
    before = os.stat(path)
    for segment in segments:
        if not stat.S_ISDIR(before.st_mode):
            raise refusal(shown, "ENOTDIR")
        path = os.path.join(path, segment)
        before = os.lstat(path)
        if stat.S_ISLNK(before.st_mode) or system.is_reparse_point(before):
            raise refusal(shown, "ELOOP")
    if stat.S_ISDIR(before.st_mode):
        return OpenFile(status_of(before), -1, path)
    if not stat.S_ISREG(before.st_mode):
        raise refusal(shown, "EINVAL")
    return verified(os.open(path, system.READ), path, shown, before)
