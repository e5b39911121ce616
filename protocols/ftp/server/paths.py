"""Paths as clients write them: absolute or relative to the working folder, with "/" between, in UTF-8.

They are those of TVFS (RFC 3659 6): ".." of the root is the root, and nothing that a client can write leads
above it. What stands at a path is the file system's matter; here a path is a tuple of names.
"""

from __future__ import annotations

import re
import typing

from portable.errors import RemoteProtocolError

__all__ = ["MAX_DEPTH", "ROOT", "Path", "is_sayable", "quote", "resolve", "show"]

# Names in one path. Each costs two system calls whenever it is walked.
MAX_DEPTH = 100
# Control characters end lines, or do things to terminals; halves of surrogate pairs stand for bytes that are
# not UTF-8 and cannot be sent.
_UNSAYABLE = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")

ROOT: tuple[str, ...] = ()

if typing.TYPE_CHECKING:
    Path: typing.TypeAlias = "tuple[str, ...]"


def resolve(folder: Path, text: str) -> Path:
    """Return the path that `text` means in `folder`.

    Raises:
        RemoteProtocolError: it holds control characters, or more than MAX_DEPTH names.
    """
    if _UNSAYABLE.search(text) is not None:
        raise RemoteProtocolError("a path with control characters")
    names = [] if text.startswith("/") else list(folder)
    for name in text.split("/"):
        if name == "..":
            if names:
                names.pop()
        elif name not in {"", "."}:
            names.append(name)
    if len(names) > MAX_DEPTH:
        raise RemoteProtocolError(f"a path of more than {MAX_DEPTH} names")
    return tuple(names)


def is_sayable(name: str) -> bool:
    """Return whether a client can be told of the file `name`, and can ask for it."""
    return _UNSAYABLE.search(name) is None


def show(path: Path) -> str:
    """Return the absolute path as text."""
    return "/" + "/".join(path)


def quote(path: Path) -> str:
    """Return the absolute path as a reply 257 has it (RFC 959 Appendix II): in quotes, those inside doubled."""
    doubled = show(path).replace('"', '""')
    return f'"{doubled}"'
