"""What is in a folder of a server: from MLSD (RFC 3659), and from LIST, whose format nobody ever fixed.

LIST is what `ls -l` prints, or what DIR of DOS did. Both are read here; lines that are neither are left out.
Their times are taken for UTC, because no server says what else they are, and are good to the minute or the
day.
"""

from __future__ import annotations

import calendar
import dataclasses
import re
import time
import typing

from portable.errors import RemoteProtocolError
from portable.framing import LineEnding, LineReader
from protocols.ftp.facts import Entry, decode_entry

__all__ = ["MAX_ENTRIES", "Listing", "RemoteFile", "parse_list_line", "remote_file"]

# Bytes of one line: a name of 255 characters in UTF-8, a link's target of 4,096 bytes, and the rest.
MAX_LISTING_LINE = 8 * 1024
# Entries of one folder, some 500 bytes of memory each. The largest folders that people have are smaller.
MAX_ENTRIES = 200_000

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_UNIX_HEAD = re.compile("([bcdlpsD-])([r-][w-][xsS-][r-][w-][xsS-][r-][w-][xtT-])[.+@]? +")
_UNIX_TAIL = re.compile(
    "(?<= )([0-9]{1,20}) +(?i:(" + "|".join(_MONTHS) + ")) +([0-9]{1,2}) +([0-9]{4}|[0-9]{1,2}:[0-9]{2}) (.+)",
    re.DOTALL,
)
_DOS = re.compile(
    "([0-9]{2})[-/]([0-9]{2})[-/]([0-9]{4}|[0-9]{2}) +([0-9]{1,2}):([0-9]{2})([AaPp][Mm])?"
    " +(<DIR>|[0-9,]{1,26}) +(.+)",
    re.DOTALL,
)
_MODE_BITS = (0o400, 0o200, 0o100, 0o040, 0o020, 0o010, 0o004, 0o002, 0o001)
_SPECIAL_BITS = {2: 0o4000, 5: 0o2000, 8: 0o1000}
_LINK = re.compile("os\\.unix=s(?:ym)?link", re.IGNORECASE)


@dataclasses.dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file, folder or something else on a server. None stands for what the server does not say.

    Attributes:
        name: one name, as the server says it: it may be "..", or have a "/" or control characters in it. See
            `is_plain_name`. Bytes that are not in the client's encoding are U+FFFD.
        raw: the name as it was sent, for commands about a file whose name cannot be decoded.
        kind: "file", "dir", "link" or "other".
        size: bytes.
        modified: seconds since 1970.
        mode: the permissions of a Unix server, such as 0o644.
        target: where a link leads.
        facts: all that MLSD says, by the name in lower case.
    """

    name: str
    raw: bytes
    kind: str
    size: int | None = None
    modified: float | None = None
    mode: int | None = None
    target: str | None = None
    facts: typing.Mapping[str, str] = dataclasses.field(default_factory=dict)


def remote_file(entry: Entry, encoding: str) -> RemoteFile:
    """Return what an entry of MLST or MLSD says."""
    kind, target = "other", None
    spelled = entry.facts.get("type", "")
    if entry.type == "file":
        kind = "file"
    elif entry.type in {"dir", "cdir", "pdir"}:
        kind = "dir"
    elif _LINK.match(spelled):
        kind = "link"
        target = spelled.partition(":")[2] or None
    return RemoteFile(
        entry.name.decode(encoding, "replace"),
        entry.name,
        kind,
        entry.size,
        entry.modified,
        entry.unix_mode,
        target,
        entry.facts,
    )


def parse_list_line(line: bytes, encoding: str, now: float) -> RemoteFile | None:
    """Return what one line of LIST says, None if it is in neither format.

    Args:
        line: without its ending.
        encoding: of names.
        now: seconds since 1970, for dates that leave out the year: they are less than a year old.
    """
    # With one character for each byte, the name can be had back as it was sent.
    text = line.decode("latin-1")
    return _parse_unix(text, encoding, now) or _parse_dos(text, encoding)


def _parse_unix(text: str, encoding: str, now: float) -> RemoteFile | None:
    head = _UNIX_HEAD.match(text)
    tail = None if head is None else _UNIX_TAIL.search(text, head.end() - 1)
    if head is None or tail is None:
        return None
    size, month, day, year_or_time, name = tail.groups()
    kind = {"-": "file", "d": "dir", "l": "link"}.get(head.group(1), "other")
    target = None
    if kind == "link":
        name, arrow, rest = name.partition(" -> ")
        target = rest.encode("latin-1").decode(encoding, "replace") if arrow else None
    raw = name.encode("latin-1")
    modified = _unix_time(_MONTHS.index(month.lower()) + 1, int(day), year_or_time, now)
    return RemoteFile(
        raw.decode(encoding, "replace"), raw, kind, int(size), modified, _mode(head.group(2)), target
    )


def _parse_dos(text: str, encoding: str) -> RemoteFile | None:
    match = _DOS.fullmatch(text)
    if match is None:
        return None
    month, day, year, hour, minute, half, size, name = match.groups()
    years = int(year) if len(year) == 4 else int(year) + (1900 if int(year) >= 70 else 2000)
    hours = int(hour)
    if half is not None:
        hours = hours % 12 + (12 if half.lower() == "pm" else 0)
    raw = name.encode("latin-1")
    return RemoteFile(
        raw.decode(encoding, "replace"),
        raw,
        "dir" if size == "<DIR>" else "file",
        None if size == "<DIR>" else int(size.replace(",", "") or 0),
        _seconds(years, int(month), int(day), hours, int(minute)),
    )


def _mode(letters: str) -> int:
    mode = 0
    for index, letter in enumerate(letters):
        if letter in "rwxst":
            mode |= _MODE_BITS[index]
        if letter in "sStT":
            mode |= _SPECIAL_BITS[index]
    return mode


def _unix_time(month: int, day: int, year_or_time: str, now: float) -> float | None:
    hour, colon, minute = year_or_time.partition(":")
    if not colon:
        return _seconds(int(year_or_time), month, day, 0, 0)
    year = time.gmtime(now).tm_year
    seconds = _seconds(year, month, day, int(hour), int(minute))
    # A day's grace, for a server whose clock or time zone is ahead of ours.
    if seconds is None or seconds > now + 86400:
        seconds = _seconds(year - 1, month, day, int(hour), int(minute))
    return seconds


def _seconds(year: int, month: int, day: int, hour: int, minute: int) -> float | None:
    if not (year >= 1 and 1 <= month <= 12 and hour < 24 and minute < 60):
        return None
    if not 1 <= day <= calendar.monthrange(year, month)[1]:
        return None
    return float(calendar.timegm((year, month, day, hour, minute, 0)))


class Listing:
    """Collects the entries of one folder as they come.

    Args:
        encoding: of names.
        machine: whether it is MLSD's format; otherwise LIST's. None: one name in each line.
        now: seconds since 1970.

    Attributes:
        files: what was read so far; the folder itself and those above it are left out.
    """

    def __init__(self, encoding: str, *, machine: bool | None, now: float) -> None:
        self.files: list[RemoteFile] = []
        self._encoding = encoding
        self._machine = machine
        self._now = now
        self._reader = LineReader(MAX_LISTING_LINE, LineEnding.LENIENT)

    def receive_data(self, data: bytes) -> None:
        """Take the next bytes of the listing.

        Raises:
            RemoteProtocolError: a line beyond MAX_LISTING_LINE, more than MAX_ENTRIES entries, or a line of
                MLSD
                that is no entry.
        """
        self._reader.receive_data(data)
        while (line := self._reader.next_line()) is not None:
            self._take(line)

    def finish(self) -> None:
        """Take the last line, which need not have an ending. Raises as `receive_data`."""
        rest = self._reader.take_remainder()
        if rest:
            self._take(rest)

    def _take(self, line: bytes) -> None:
        if not line:
            return
        found: RemoteFile | None
        if self._machine is None:
            found = RemoteFile(line.decode(self._encoding, "replace"), line, "other")
        elif self._machine:
            entry = decode_entry(line)
            found = None if entry.type in {"cdir", "pdir"} else remote_file(entry, self._encoding)
        else:
            found = parse_list_line(line, self._encoding, self._now)
        if found is None or found.name in {".", ".."}:
            return
        if len(self.files) >= MAX_ENTRIES:
            raise RemoteProtocolError(f"a folder of more than {MAX_ENTRIES} entries")
        self.files.append(found)
