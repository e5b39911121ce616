"""Machine-readable listings: the entries of MLST and MLSD, and times (RFC 3659 2.3 and 7).

```
type=file;size=1024990;modify=19980615100045.014;perm=r; cap60.pl198.tar.gz
```

A name is bytes here, and all that follows the first space: what it may hold, and how it is spelled, is between
client and server (RFC 2640). A name from a peer may be "..", or have "/" or control characters in it: see
`is_plain_name`.
"""

from __future__ import annotations

import dataclasses
import datetime
import re
import typing

from portable.errors import LocalProtocolError, RemoteProtocolError

__all__ = [
    "Entry",
    "decode_entry",
    "decode_fact_list",
    "decode_time",
    "encode_entry",
    "encode_fact_list",
    "encode_facts",
    "encode_time",
    "is_plain_name",
]

# Facts of one entry. The registry has nine, and Unix servers add a few.
MAX_FACTS = 64
# 2**64 - 1 has 20 digits. Longer numbers are nonsense, and slow to convert.
_SIZE = re.compile("[0-9]{1,20}")
# "0o644" is what pyftpdlib writes.
_MODE = re.compile("(?:0o)?[0-7]{1,6}")
# RFC 3659 7.2: SCHAR with the other printable characters that servers use; neither space nor ";".
_FACT_NAME = re.compile(r"[A-Za-z0-9.!#$%&'+^_`|~-]{1,64}")
_FACT_VALUE = re.compile("[!-:<-~]*")
_TIME = re.compile(r"([0-9]{4})([0-9]{2})([0-9]{2})([0-9]{2})([0-9]{2})([0-9]{2})(\.[0-9]{1,9})?")
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_SECOND = datetime.timedelta(seconds=1)


@dataclasses.dataclass(frozen=True, slots=True)
class Entry:
    """One file or folder.

    The properties are None where the fact is missing or makes no sense, so that one odd entry does not spoil a
    listing.

    Attributes:
        name: as it was sent; for MLST possibly a whole path.
        facts: values by the fact's name in lower case: "type", "size", "modify", "unix.mode", ...
    """

    name: bytes
    facts: typing.Mapping[str, str]

    @property
    def type(self) -> str:
        """What it is, in lower case: "file", "dir", "cdir" (the listed folder itself), "pdir" (one above it),
        or the like of "os.unix=slink:/target" (`facts` spells the target as sent); "" if it is not said.
        """
        return self.facts.get("type", "").lower()

    @property
    def size(self) -> int | None:
        """Bytes that a transfer in image type would have, or about so many."""
        text = self.facts.get("size", "")
        return int(text) if _SIZE.fullmatch(text) else None

    @property
    def modified(self) -> float | None:
        """When it was changed last, in seconds since 1970."""
        return _time_or_none(self.facts.get("modify", ""))

    @property
    def created(self) -> float | None:
        """When it was made, in seconds since 1970."""
        return _time_or_none(self.facts.get("create", ""))

    @property
    def permissions(self) -> str | None:
        """What this user may do with it, as the letters "acdeflmprw" of RFC 3659 7.5.5, in lower case."""
        text = self.facts.get("perm")
        return None if text is None else text.lower()

    @property
    def unique(self) -> str | None:
        """Equal for two names of one file, and different for two files (RFC 3659 7.5.2)."""
        return self.facts.get("unique")

    @property
    def unix_mode(self) -> int | None:
        """The bits of a Unix server's file permissions."""
        text = self.facts.get("unix.mode", "")
        return int(text, 8) if _MODE.fullmatch(text) else None


def encode_facts(facts: typing.Mapping[str, str], wanted: typing.Container[str] | None = None) -> bytes:
    """Return "type=file;size=12;".

    Args:
        facts: values by name, sent in this order and with the names spelled so.
        wanted: the names in lower case that the client has asked for by OPTS MLST; None for all.

    Raises:
        LocalProtocolError: a name or value has a character that would end it, or forge another one.
    """
    pieces = []
    for name, value in facts.items():
        if wanted is not None and name.lower() not in wanted:
            continue
        if not _FACT_NAME.fullmatch(name) or not _FACT_VALUE.fullmatch(value):
            raise LocalProtocolError(f"a fact that cannot be written: {name!r} is {value!r}")
        pieces.append(f"{name}={value};")
    return "".join(pieces).encode("ascii")


def encode_entry(entry: Entry, wanted: typing.Container[str] | None = None) -> bytes:
    """Return one line of a listing, without CR LF; the line of MLST has one more space before it.

    Args:
        entry: what to write.
        wanted: as for `encode_facts`.

    Raises:
        LocalProtocolError: as `encode_facts`; or the name is empty or has CR, LF or NUL inside.
    """
    name = entry.name
    if not name or b"\r" in name or b"\n" in name or b"\0" in name:
        raise LocalProtocolError(f"a name that a listing cannot hold: {name!r}")
    return encode_facts(entry.facts, wanted) + b" " + name


def decode_entry(line: bytes) -> Entry:
    """Return the entry of one line, without CR LF and, for MLST, without the first space.

    The caller has limited the line's length. Where a fact comes twice the last one counts.

    Raises:
        RemoteProtocolError: the line does not have the form of an entry, or more than MAX_FACTS facts.
    """
    head, space, name = line.partition(b" ")
    if not space or not name:
        raise RemoteProtocolError("a listing's line without a name")
    # Values are ASCII by the RFC; names of owners and groups are not, on some servers.
    pieces = head.decode("latin-1").split(";")
    # Every fact ends with ";", but servers exist that leave the last one out.
    if not pieces[-1]:
        pieces.pop()
    if len(pieces) > MAX_FACTS:
        raise RemoteProtocolError(f"a listing's line with more than {MAX_FACTS} facts")
    facts = {}
    for piece in pieces:
        key, equals, value = piece.partition("=")
        if not equals or not _FACT_NAME.fullmatch(key):
            raise RemoteProtocolError("a listing's line with a malformed fact")
        facts[key.lower()] = value
    return Entry(name, facts)


def encode_fact_list(names: typing.Iterable[str], enabled: typing.Container[str] | None = None) -> str:
    """Return "Type*;Size*;Modify;", as in FEAT (RFC 3659 7.8), in OPTS MLST and the answer to it (7.9).

    Args:
        names: what to list.
        enabled: the names in lower case to be marked with "*"; None for the list without marks.
    """
    marked = (name if enabled is None or name.lower() not in enabled else name + "*" for name in names)
    return "".join(f"{name};" for name in marked)


def decode_fact_list(text: str) -> dict[str, bool]:
    """Return the names in lower case, each with whether "*" marks it. What is no name is left out: to OPTS MLST
    RFC 3659 7.9 wants no error for facts that one does not know.

    Raises:
        RemoteProtocolError: more than MAX_FACTS names.
    """
    pieces = text.split(";", MAX_FACTS + 1)
    if len(pieces) > MAX_FACTS + 1:
        raise RemoteProtocolError(f"a list of more than {MAX_FACTS} facts")
    found = {}
    for piece in pieces:
        name = piece.strip().lower()
        marked = name.endswith("*")
        if marked:
            name = name[:-1]
        if _FACT_NAME.fullmatch(name):
            found[name] = marked
    return found


def encode_time(seconds: float) -> str:
    """Return "19980615100045" for `seconds` since 1970, rounded down, in UTC.

    Raises:
        LocalProtocolError: the year is not 1 to 9999.
    """
    try:
        moment = _EPOCH + int(seconds // 1) * _SECOND
    except OverflowError as exc:
        raise LocalProtocolError(f"a time that FTP cannot write: {seconds}") from exc
    # Not strftime: it does not write four digits for every year on every system.
    return (
        f"{moment.year:04d}{moment.month:02d}{moment.day:02d}"
        f"{moment.hour:02d}{moment.minute:02d}{moment.second:02d}"
    )


def decode_time(text: str) -> float:
    """Return the seconds since 1970 of "19980615100045.318". A leap second counts as the one before it.

    Raises:
        RemoteProtocolError: it is not such a time.
    """
    match = _TIME.fullmatch(text)
    if match is None:
        raise RemoteProtocolError("a time that is not YYYYMMDDHHMMSS")
    year, month, day, hour, minute, second = [int(digits) for digits in match.groups()[:6]]
    if second > 60:
        raise RemoteProtocolError("a time with more than 60 seconds")
    try:
        moment = datetime.datetime(year, month, day, hour, minute, min(second, 59), tzinfo=datetime.UTC)
    except ValueError as exc:
        raise RemoteProtocolError(f"a time that does not exist: {exc}") from exc
    return (moment - _EPOCH) // _SECOND + float(match.group(7) or 0)


def is_plain_name(name: str) -> bool:
    r"""Return whether `name` is one component of a path and nothing else: not empty, "." or "..", and without
    "/", "\\" or control characters.

    What a peer calls a file may otherwise leave the folder that it is put into, or the terminal it is shown on.
    """
    return (
        name not in {"", ".", ".."}
        and "/" not in name
        and "\\" not in name
        and not any(character < " " or "\x7f" <= character < "\xa0" for character in name)
    )


def _time_or_none(text: str) -> float | None:
    try:
        return decode_time(text)
    except RemoteProtocolError:
        return None
