"""The page that shows a folder: plain HTML that needs no script, made in chunks so that none is slow.

Names of files are data that anybody may have chosen, so all of them are escaped for where they stand, kept from
turning the direction of the text around them, and a Content-Security-Policy leaves the page no script at all.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import html
import os
import pkgutil
import re
import typing
import urllib.parse

if typing.TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from portable.files import FolderEntry

__all__ = ["CHUNK_ROWS", "SECURITY_POLICY", "SORTS", "ListingBody", "human_size", "link_to", "sort_entries"]

# Rows made in one go: about a millisecond of work, 60 KB.
CHUNK_ROWS = 250
# What ?sort= may say. "-" turns the order round.
SORTS = ("name", "-name", "size", "-size", "date", "-date")

_CSS = (pkgutil.get_data(__name__, "listing.css") or b"").decode("utf-8")
_CSS_HASH = base64.b64encode(hashlib.sha256(_CSS.encode("utf-8")).digest()).decode("ascii")
# Nothing may be loaded or run, only our own style applies, and no other site can frame the page.
SECURITY_POLICY = (
    f"default-src 'none'; style-src 'sha256-{_CSS_HASH}'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'self'"
)

_ICONS = (pkgutil.get_data(__name__, "listing.svg") or b"").decode("utf-8")
_FOLDER = '<svg class="folder" aria-hidden="true"><use href="#d"/></svg>'
_FILE = '<svg aria-hidden="true"><use href="#f"/></svg>'
_UP = '<svg aria-hidden="true"><use href="#u"/></svg>'
_COLUMNS = (
    ("name", "Name", ""),
    ("size", "Size", ' class="size"'),
    ("date", "Modified (UTC)", ' class="date"'),
)
# Controls, halves of surrogate pairs (bytes that are no UTF-8), and what turns the direction of reading: that
# would make "evil<202E>gnp.exe" look like "evilexe.png".
_UNSHOWABLE = re.compile("[\\x00-\\x1f\\x7f-\\x9f\\u200e\\u200f\\u2028-\\u202e\\u2066-\\u2069\\ud800-\\udfff]")
_DIGITS = re.compile("[0-9]+")
_EPOCH = datetime.datetime(1970, 1, 1)


def human_size(size: int) -> str:
    """Return a number of bytes for people: "512 B", "1.5 kB", "27 MB" (powers of 1000)."""
    if size < 1000:
        return f"{size} B"
    amount = float(size)
    for unit in ("kB", "MB", "GB", "TB", "PB", "EB"):
        amount /= 1000
        if amount < 9.95:
            return f"{amount:.1f} {unit}"
        if amount < 999.5:
            return f"{amount:.0f} {unit}"
    return f"{amount:.0f} EB"


def link_to(name: str) -> str | None:
    """Return the path segment, percent-encoded, that leads to `name`; None if no request can.

    Such are names that are not UTF-8, or have control characters or a backslash (see `Request.segments`).
    """
    if "\\" in name or any(char < " " or char == "\x7f" for char in name):
        return None
    try:
        return urllib.parse.quote(name.encode("utf-8"), safe="")
    except UnicodeEncodeError:
        return None


def _shown(name: str) -> str:
    """Return `name` as HTML. What cannot be shown, or would deceive, stands as percent-encoded bytes."""
    if _UNSHOWABLE.search(name) is not None:
        name = _UNSHOWABLE.sub(_percent_encoded, name)
    return f"<bdi>{html.escape(name)}</bdi>"


def _percent_encoded(match: re.Match[str]) -> str:
    return "".join([f"%{octet:02X}" for octet in os.fsencode(match.group())])


def sort_entries(entries: list[FolderEntry], sort: str) -> list[FolderEntry]:
    """Return `entries` as the page shows them: folders first, each sorted by `sort`, one of SORTS.

    Names are compared without regard to case, numbers in them by value ("x9" before "x10"), and decide
    between equal sizes and dates. May take a second for a huge folder: call it in a thread.
    """
    entries = sorted(entries, key=_by_name)
    if sort.endswith("size"):
        entries.sort(key=_by_size, reverse=sort.startswith("-"))
    elif sort.endswith("date"):
        entries.sort(key=_by_date, reverse=sort.startswith("-"))
    elif sort.startswith("-"):
        entries.reverse()
    return [entry for entry in entries if entry.is_dir] + [entry for entry in entries if not entry.is_dir]


def _by_name(entry: FolderEntry) -> tuple[str, str]:
    return _DIGITS.sub(_padded, entry.name.casefold()), entry.name


def _padded(match: re.Match[str]) -> str:
    return match.group().rjust(20, "0")


def _by_size(entry: FolderEntry) -> int:
    # The size of a folder is an accident of the file system.
    return 0 if entry.is_dir else entry.size


def _by_date(entry: FolderEntry) -> int:
    return entry.mtime_ns


class ListingBody:
    """The page as a BodyStream.

    Args:
        segments: the decoded path of the folder, for title and breadcrumb.
        entries: sorted, see `sort_entries`; only what may be seen.
        sort: one of SORTS.
        truncated: whether there are more names than `entries` has.
    """

    length: int | None = None

    def __init__(self, segments: Sequence[str], entries: list[FolderEntry], sort: str, truncated: bool) -> None:
        self._chunks = _page(segments, entries, sort, truncated)

    def next_chunk(self) -> bytes:
        """Return the next part of the page, b"" at its end."""
        return next(self._chunks, b"")

    def close(self) -> None:
        """Forget the rest."""
        self._chunks = iter(())


def _page(segments: Sequence[str], entries: list[FolderEntry], sort: str, truncated: bool) -> Iterator[bytes]:
    yield _head(segments, sort, bool(entries)).encode("utf-8")
    rows: list[str] = []
    total = 0
    folders = 0
    for entry in entries:
        rows.append(_row(entry))
        if entry.is_dir:
            folders += 1
        else:
            total += entry.size
        if len(rows) == CHUNK_ROWS:
            yield "".join(rows).encode("utf-8")
            rows = []
    rows.append(_foot(folders, len(entries) - folders, total, truncated))
    yield "".join(rows).encode("utf-8")


def _head(segments: Sequence[str], sort: str, any_entries: bool) -> str:
    title = _plain("/" + "".join([segment + "/" for segment in segments]))
    depth = len(segments)
    crumbs = [f'<a href="{"../" * depth or "./"}">Home</a>']
    for place, segment in enumerate(segments, 1):
        if place == depth:
            crumbs.append(_shown(segment))
        else:
            crumbs.append(f'<a href="{"../" * (depth - place)}">{_shown(segment)}</a>')
    up = ""
    if depth:
        up = f'<tr><td><a href="../">{_UP}Parent folder</a></td><td></td><td class="date"></td></tr>\n'
    empty = "" if any_entries else '<tr><td colspan="3" class="empty">This folder is empty.</td></tr>\n'
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Index of {title}</title>\n<style>{_CSS}</style>\n</head>\n<body>\n{_ICONS}<main>\n"
        f"<h1>{'<span>/</span>'.join(crumbs)}</h1>\n"
        f'<div class="card"><table>\n<thead><tr>{_column_heads(sort)}</tr></thead>\n<tbody>\n{up}{empty}'
    )


def _plain(text: str) -> str:
    return html.escape(text.encode("utf-8", "replace").decode("utf-8"))


def _column_heads(sort: str) -> str:
    cells = []
    for key, title, attributes in _COLUMNS:
        target, mark, state = key, "", ""
        if sort.lstrip("-") == key:
            descending = sort.startswith("-")
            target = key if descending else "-" + key
            mark = " \u2193" if descending else " \u2191"
            state = ' aria-sort="descending"' if descending else ' aria-sort="ascending"'
        cells.append(f'<th{attributes}{state}><a href="?sort={target}" rel="nofollow">{title}{mark}</a></th>')
    return "".join(cells)


def _row(entry: FolderEntry) -> str:
    slash = "/" if entry.is_dir else ""
    label = f"{_FOLDER if entry.is_dir else _FILE}{_shown(entry.name)}{slash}"
    link = link_to(entry.name)
    if link is None:
        cell = f'<i title="This name cannot be written in an address">{label}</i>'
    else:
        cell = f'<a href="{link}{slash}">{label}</a>'
    size = "" if entry.is_dir else f'<span title="{entry.size} bytes">{human_size(entry.size)}</span>'
    date = _date(entry.mtime_ns)
    return f'<tr><td>{cell}</td><td class="size">{size}</td><td class="date">{date}</td></tr>\n'


def _date(mtime_ns: int) -> str:
    try:
        moment = _EPOCH + datetime.timedelta(seconds=mtime_ns // 1_000_000_000)
    except OverflowError:
        # File systems can hold dates that calendars cannot.
        return ""
    return f'<time datetime="{moment.isoformat()}Z">{moment.isoformat(" ")[:16]}</time>'


def _foot(folders: int, files: int, total: int, truncated: bool) -> str:
    counts = [f"{folders:,} folder{'' if folders == 1 else 's'}", f"{files:,} file{'' if files == 1 else 's'}"]
    note = ". There are more; they are not shown." if truncated else ""
    size = f", {human_size(total)}" if files else ""
    summary = ", ".join(counts)
    return f"</tbody>\n</table></div>\n<footer>{summary}{size}{note}</footer>\n</main>\n</body>\n</html>\n"
