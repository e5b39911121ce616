"""How folders are shown: as `ls -l` does (LIST), as names (NLST), as facts (MLSD, RFC 3659 7)."""

from __future__ import annotations

import fnmatch
import re
import time
import typing

from protocols.ftp.facts import Entry, encode_entry, encode_time

if typing.TYPE_CHECKING:
    from collections.abc import Callable, Container

    from protocols.ftp.server.filesystem import Item

    # Makes the line of one item, without CR LF.
    Line: typing.TypeAlias = "Callable[[Item], bytes]"

__all__ = ["FACTS", "fact_line", "has_wildcard", "long_line", "matcher", "split_options"]

# In the order in which they are sent.
FACTS = ("type", "size", "modify", "perm", "unique", "unix.mode")
# Characters. The longest name that a file system takes has 255; whoever writes longer patterns means harm.
MAX_PATTERN = 255

# Not strftime: its names of months are those of the machine's language.
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
# Seconds. `ls` shows the time of day of what is younger than half a year, and the year of what is not.
_RECENT = 182 * 86400
_OPTIONS = re.compile("-[A-Za-z1]{1,16}(?= |\\Z)")


def long_line(item: Item, now: float) -> bytes:
    """Return what `ls -l` writes, in UTC. Owner and group are words: clients need none of this machine's names.

    Args:
        now: seconds since 1970.
    """
    moment = time.gmtime(max(0.0, min(item.modified, 253402300799.0)))
    if -86400 < now - item.modified < _RECENT:
        when = f"{moment.tm_hour:02d}:{moment.tm_min:02d}"
    else:
        when = f" {moment.tm_year:04d}"
    date = f"{_MONTHS[moment.tm_mon - 1]} {moment.tm_mday:2d} {when}"
    return f"{_mode(item)} 1 ftp ftp {item.size:12d} {date} {item.name}".encode()


def _mode(item: Item) -> str:
    bits = "".join(letter if item.mode >> (8 - place) & 1 else "-" for place, letter in enumerate("rwxrwxrwx"))
    return ("d" if item.is_folder else "-") + bits


def fact_line(
    item: Item, permissions: Container[str], wanted: Container[str] | None = None, name: str | None = None
) -> bytes:
    """Return the line of MLSD; for MLST, with one space before it and `name` for the whole path.

    Args:
        permissions: the letters of the account.
        wanted: the facts that the client has asked for; None for all.
    """
    facts = {
        "type": "dir" if item.is_folder else "file",
        "size": str(item.size),
        "modify": encode_time(item.modified),
        "perm": _allowed(item, permissions),
        "unique": item.unique,
        "unix.mode": f"0{item.mode:03o}",
    }
    if item.is_folder:
        del facts["size"]
    return encode_entry(Entry((item.name if name is None else name).encode(), facts), wanted)


# What a letter of RFC 3659 7.5.5 says of a folder and of a file, and which of ours it takes.
_OF_FOLDERS = (("c", "w"), ("d", "d"), ("e", "e"), ("f", "f"), ("l", "l"), ("m", "m"), ("p", "d"))
_OF_FILES = (("a", "a"), ("d", "d"), ("f", "f"), ("r", "r"), ("w", "w"))


def _allowed(item: Item, permissions: Container[str]) -> str:
    pairs = _OF_FOLDERS if item.is_folder else _OF_FILES
    return "".join([letter for letter, needed in pairs if needed in permissions])


def split_options(argument: str) -> str:
    """Return the path in the argument of LIST or NLST: clients write "-la path" as if it were for `ls`.

    What the options ask for is not done: all is shown always, and `-R` would have one command walk the whole
    tree.
    """
    found = _OPTIONS.match(argument)
    while found is not None:
        argument = argument[found.end() :].lstrip(" ")
        found = _OPTIONS.match(argument)
    return argument


def has_wildcard(name: str) -> bool:
    """Return whether `name` may be a pattern."""
    return len(name) <= MAX_PATTERN and any(char in name for char in "*?[")


def matcher(pattern: str) -> Callable[[str], bool]:
    """Return what tells whether a name matches: "*", "?" and "[a-z]", where names with a dot in front need one.

    Its time is linear in the name for each "*", as `fnmatch` makes expressions that do not go back.
    """
    match = re.compile(fnmatch.translate(pattern)).match
    hidden = pattern.startswith(".")
    return lambda name: (hidden or not name.startswith(".")) and match(name) is not None
