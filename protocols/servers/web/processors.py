"""Which files of a folder are programs, and which are copies of programs that nobody may see.

A program is known by the end of its name, in capitals or not, and never sent as it is. Neither is what an
editor or a person left beside it, such as "x.php~", "x.php.bak" or "x.cgi.gz": its source would tell passwords.
A program is reached as any other file is, through no symbolic link and never outside of the root; but whoever
may write in the folder may have anything run there, with the rights of the server. Where everybody may write,
nothing is run.
"""

from __future__ import annotations

import re
import stat
import typing
from dataclasses import dataclass

if typing.TYPE_CHECKING:
    from portable.deferred import Deferred
    from portable.files import OpenFile
    from protocols.http.messages import Response
    from protocols.http.request import Request

    # What a program's file is answered by.
    Answer = Response | Deferred[Response]

__all__ = ["HIDDEN", "PROCESSORS", "Processor", "Processors", "Program"]

# The ends of names, without the dot.
PROCESSORS = ("cgi", "php", "epy", "rpy")
# What `Processors.kind` says of a name that is not shown.
HIDDEN = "hidden"

# Other names for PHP are known by their custom, and not run.
_SUFFIX = re.compile(r"\.(cgi|php|phps|pht|phtml|phar|epy|rpy)([^a-z].*)?\Z", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Program:
    """A file that answers requests instead of being sent.

    Attributes:
        root: the folder that the site's paths begin in.
        path: of the file.
        script_name: the segments of the request's path that led to it, decoded.
        path_info: the rest of that path, decoded; "" or beginning with a slash.
    """

    root: str
    path: str
    script_name: tuple[str, ...]
    path_info: str


class Processor(typing.Protocol):
    """Runs the programs of one kind."""

    def render(self, request: Request, program: Program, opened: OpenFile) -> Answer:
        """Return the answer of `program`. `opened` is its file, and belongs to the processor from now on."""


class Processors:
    """Those of one folder.

    Args:
        processors: by the end of the names. Programs of the other PROCESSORS are neither run nor shown.
    """

    def __init__(self, processors: typing.Mapping[str, Processor]) -> None:
        self._processors = dict(processors)

    def kind(self, name: str) -> str:
        """Return the key of the processor that runs files of this name, HIDDEN for what is not to be seen, or
        "" for all others.
        """
        found = _SUFFIX.search(name)
        if found is None:
            return ""
        suffix = found.group(1).lower()
        if found.group(2) or suffix not in self._processors or name.lower().startswith("nph-"):
            # "nph-" programs speak HTTP themselves (RFC 3875 5): they would need to be given the connection.
            return HIDDEN
        return suffix

    def may_run(self, opened: OpenFile) -> bool:
        """Return whether a file is run, or the programs in a folder are. What everybody may change is not."""
        return not opened.status.mode & stat.S_IWOTH

    def render(self, kind: str, request: Request, program: Program, opened: OpenFile) -> Answer:
        """Return the answer of a program of that `kind`."""
        return self._processors[kind].render(request, program, opened)
