"""Files and folders as resources.

Everything is opened through `portable.files.open_beneath`, so nothing outside of the root can be reached.
Opening and reading the beginning of a file happens on the loop, as it is seldom slower than passing it to a
thread; reading folders, which may be huge, happens in a thread.

Names that begin with a dot are neither served nor shown, whatever their place in the path; `.well-known` at the
top is (RFC 8615). Where programs are run (`protocols.servers.web.processors`), their source is never served.
"""

from __future__ import annotations

import logging
import re
import time
import typing
import urllib.parse

from portable.errors import FileError
from portable.files import open_beneath, open_file
from protocols.http.messages import Response
from protocols.http.resource import allow_options, error_page, method_not_allowed, redirect
from protocols.servers.web.listing import SECURITY_POLICY, SORTS, ListingBody, sort_entries
from protocols.servers.web.mime import CONTENT_CODINGS, content_type, is_compressible
from protocols.servers.web.negotiate import accepted_codings
from protocols.servers.web.processors import HIDDEN, Program
from protocols.servers.web.representation import file_response

if typing.TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from portable.files import FolderEntry, OpenFile
    from portable.reactor import Threads
    from protocols.http.request import Request
    from protocols.http.resource import Rendered, Resource
    from protocols.servers.web.processors import Answer, Processors

__all__ = ["DEFAULT_INDEX", "DEFAULT_TYPE", "MAX_LISTED", "StaticFile", "StaticFolder"]

DEFAULT_INDEX = ("index.html", "index.htm")
DEFAULT_TYPE = "application/octet-stream"
# Names shown of one folder. Each costs some 200 bytes while its page is sent; nobody reads more.
MAX_LISTED = 100_000

_log = logging.getLogger("protocols.servers.web")
_METHODS = ("GET", "HEAD")
_SORT = re.compile("(?:^|&)sort=(" + "|".join(SORTS) + ")(?:&|$)")
_STATUS = {
    # What is there and must not be reached looks like what is not there: links, devices.
    "ENOENT": 404,
    "ENOTDIR": 404,
    "ELOOP": 404,
    "EINVAL": 404,
    "ENAMETOOLONG": 404,
    "EACCES": 403,
    "EPERM": 403,
    "EMFILE": 503,
    "ENFILE": 503,
    "ENOMEM": 503,
}


def _is_hidden(segments: Sequence[str]) -> bool:
    for place, segment in enumerate(segments):
        if segment.startswith(".") and (place != 0 or segment != ".well-known"):
            return True
    return False


def _refuse(error: FileError) -> Response:
    status = _STATUS.get(error.code, 500)
    if status >= 500:
        _log.error("cannot serve %s", error)
    headers = [("Retry-After", "1")] if status == 503 else []
    return error_page(status, headers=headers)


def _refuse_method(request: Request) -> Response | None:
    if request.method in _METHODS:
        return None
    return allow_options(_METHODS) if request.method == "OPTIONS" else method_not_allowed(_METHODS)


class StaticFile:
    """One file, at one address.

    Args:
        path: of the file, which may change; a trusted path, links are followed.
        default_type: see `StaticFolder`.
        now: gives the seconds since 1970.
    """

    def __init__(
        self, path: str, default_type: str = DEFAULT_TYPE, *, now: Callable[[], float] = time.time
    ) -> None:
        self._path = path
        self._type = content_type(path.replace("\\", "/").rpartition("/")[2], default_type)
        self._now = now

    def child(self, segment: str, request: Request) -> Resource | None:
        """Return None."""
        return None

    def render(self, request: Request) -> Rendered:
        """Return the file."""
        refused = _refuse_method(request)
        if refused is not None:
            return refused
        try:
            opened = open_file(self._path)
            if opened.status.is_dir:
                opened.close()
                return error_page(404)
            return file_response(request, opened, self._type, self._now())
        except FileError as error:
            return _refuse(error)


class StaticFolder:
    """A folder and all beneath it.

    Args:
        root: a trusted path.
        index_names: files that are shown for a folder, the first that exists.
        listing: whether a folder without them is listed; otherwise it is forbidden (status 403).
        default_type: Content-Type of files whose name tells none.
        ignore_suffix: whether "/foo" also finds "foo.html", or whichever "foo.*" comes first.
        follow_links: follow symbolic links that stay beneath the root, see `open_beneath`; else they are
            hidden.
        opener: opens what segments lead to, in the place of `open_beneath`; also told whether it is a folder
            that is going to be listed.
        now: gives the seconds since 1970.

    Attributes:
        threads: where folders are read; None reads them on the loop.
        processors: what runs the programs in it; None serves them as any other file.
    """

    def __init__(
        self,
        root: str,
        *,
        index_names: Sequence[str] = DEFAULT_INDEX,
        listing: bool = True,
        default_type: str = DEFAULT_TYPE,
        ignore_suffix: bool = False,
        follow_links: bool = False,
        opener: Callable[[Sequence[str], bool], OpenFile] | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.threads: Threads | None = None
        self.processors: Processors | None = None
        self._root = root
        self._index_names = tuple(index_names)
        self._listing = listing
        self._default_type = default_type
        self._ignore_suffix = ignore_suffix
        self._follow_links = follow_links
        self._opener = opener
        self._now = now

    def child(self, segment: str, request: Request) -> Resource | None:
        """Return what stands for the name `segment`; whether it exists is found out by `render`."""
        return self.beneath(segment)

    def beneath(self, name: str) -> Resource:
        """Return what stands for the name `name` in this folder."""
        return _Beneath(self, (name,))

    def render(self, request: Request) -> Rendered:
        """Return the root itself."""
        return self.render_at(request, ())

    def render_at(self, request: Request, segments: tuple[str, ...]) -> Rendered:
        """Return the file or folder that `segments` lead to from the root, or the answer of a program."""
        refused = _refuse_method(request)
        if refused is not None and self.processors is None:
            return refused
        if _is_hidden(segments):
            return error_page(404)
        try:
            program = self._program_on_the_way(request, segments)
            if program is not None:
                return program
            opened = self._open(segments)
        except FileError as error:
            if error.code == "ENOENT" and self._ignore_suffix and segments and not request.path.endswith("/"):
                return self._in_thread(_Search(self, request, segments))
            return refused or _refuse(error)
        try:
            if not opened.status.is_dir:
                # "x.php/" must not be another way to ask for the file x.php.
                if request.path.endswith("/"):
                    opened.close()
                    return error_page(404)
                return self._file(request, segments, opened)
            opened.close()
            return self._folder(request, segments)
        except FileError as error:
            opened.close()
            return _refuse(error)

    def render_file(self, request: Request, segments: tuple[str, ...]) -> Answer:
        """Return the file that `segments` lead to; status 404 for a folder."""
        try:
            opened = self._open(segments)
            if not opened.status.is_dir:
                return self._file(request, segments, opened)
            opened.close()
            return error_page(404)
        except FileError as error:
            return _refuse(error)

    def _program_on_the_way(self, request: Request, segments: tuple[str, ...]) -> Answer | None:
        """Return the answer of the first of `segments` that is a program; what follows it is its PATH_INFO."""
        if self.processors is None:
            return None
        for place, segment in enumerate(segments, 1):
            if self.processors.kind(segment) not in {"", HIDDEN}:
                opened = self._open(segments[:place])
                if not opened.status.is_dir:
                    return self._run(self.processors, request, segments[:place], opened, segments[place:])
                opened.close()
        return None

    def _run(
        self,
        processors: Processors,
        request: Request,
        segments: Sequence[str],
        opened: OpenFile,
        rest: Sequence[str] = (),
        index: Sequence[str] = (),
    ) -> Answer:
        """Return the answer of a program.

        Args:
            segments: lead to it from the root.
            rest: of the request's segments, those behind it.
            index: its own name, if the request named only its folder.
        """
        try:
            changed_by_all = self._changed_by_all(processors, segments, opened)
        except FileError:
            opened.close()
            raise
        if changed_by_all:
            _log.warning("%r is not run: everybody may write to %r", opened.path, changed_by_all)
            opened.close()
            return error_page(403)
        path_info = "".join(["/" + segment for segment in rest])
        if not index and request.path.endswith("/"):
            path_info += "/"
        named = request.segments[: len(request.segments) - len(rest)]
        path = "/".join([self._root.rstrip("/"), *segments])
        program = Program(self._root, path, (*named, *index), path_info)
        return processors.render(processors.kind(segments[-1]), request, program, opened)

    def _changed_by_all(self, processors: Processors, segments: Sequence[str], program: OpenFile) -> str:
        """Return what everybody may write to: the program, or a folder on its way, where they could put another
        one ("" if there is none).
        """
        if not processors.may_run(program):
            return program.path
        for depth in range(len(segments)):
            with self._open(segments[:depth]) as folder:
                if not processors.may_run(folder):
                    return folder.path
        return ""

    def _open(self, segments: Sequence[str], to_list: bool = False) -> OpenFile:
        if self._opener is not None:
            return self._opener(segments, to_list)
        return open_beneath(self._root, segments, follow_links=self._follow_links)

    def _file(self, request: Request, segments: Sequence[str], opened: OpenFile, index: bool = False) -> Answer:
        if self.processors is not None:
            if self._tells_source(segments[-1], opened):
                opened.close()
                return error_page(404)
            if self.processors.kind(segments[-1]):
                return self._run(
                    self.processors, request, segments, opened, index=segments[-1:] if index else ()
                )
            refused = _refuse_method(request)
            if refused is not None:
                opened.close()
                return refused
        media_type = content_type(segments[-1], self._default_type)
        coded = self._siblings(segments, opened) if is_compressible(media_type) else {}
        wanted = accepted_codings(request.headers.get("accept-encoding"), list(coded))
        coding = wanted[0] if wanted else ""
        chosen = coded.pop(coding) if coding else opened
        for other in coded.values():
            other.close()
        if chosen is not opened:
            opened.close()
        varies = bool(coded) or bool(coding)
        try:
            return file_response(request, chosen, media_type, self._now(), coding=coding, varies=varies)
        except FileError:
            chosen.close()
            raise

    def _siblings(self, segments: Sequence[str], opened: OpenFile) -> dict[str, OpenFile]:
        """Open the precompressed files beside `opened` that are at least as new, by content coding."""
        found: dict[str, OpenFile] = {}
        for suffix, coding in CONTENT_CODINGS.items():
            try:
                sibling = self._open([*segments[:-1], segments[-1] + suffix])
            except FileError:
                # Not there, most often; if it cannot be read, the file itself still can.
                continue
            name = segments[-1] + suffix
            is_older = sibling.status.mtime_ns < opened.status.mtime_ns
            if is_older or sibling.status.is_dir or self._tells_source(name, sibling):
                sibling.close()
            else:
                found[coding] = sibling
        return found

    def _folder(self, request: Request, segments: tuple[str, ...]) -> Answer:
        if not request.path.endswith("/"):
            # Relative to the folder above, so that it also holds behind a proxy that adds a prefix, and cannot
            # lead to another host.
            name = urllib.parse.quote(request.segments[-1], safe="")
            return redirect(f"{name}/?{request.query}" if request.query else f"{name}/", 301)
        for name in self._index_names:
            try:
                opened = self._open([*segments, name])
            except FileError as error:
                if _STATUS.get(error.code) == 404:
                    continue
                raise
            if not opened.status.is_dir:
                return self._file(request, [*segments, name], opened, index=True)
            opened.close()
        refused = _refuse_method(request)
        if refused is not None:
            return refused
        if not self._listing:
            return error_page(403, "This folder is not listed.")
        return self._in_thread(_Listing(self, request, segments))

    def _in_thread(self, work: _Search | _Listing) -> Answer:
        if self.threads is None:
            try:
                return work.answer(work.read())
            except FileError as error:
                return _refuse(error)
        return self.threads.run_in_thread(work.read).add_callbacks(work.answer, _refuse_or_raise)

    def visible(self, segments: tuple[str, ...]) -> tuple[list[FolderEntry], bool]:
        """Return what may be seen of a folder, and whether there is more. In a thread.

        Raises:
            FileError: it cannot be read.
        """
        with self._open(segments, to_list=True) as folder:
            entries, truncated = folder.list_directory(MAX_LISTED)
        shown: list[FolderEntry] = []
        for entry in entries:
            if entry.name.startswith(".") or (not entry.is_dir and self._is_copy(entry.name)):
                continue
            if not entry.is_link:
                shown.append(entry)
            elif self._follow_links:
                self._add_link(segments, entry, shown)
        return shown, truncated

    def _is_copy(self, name: str) -> bool:
        """Return whether a file of this name may show the source of a program."""
        return self.processors is not None and self.processors.kind(name) == HIDDEN

    def _tells_source(self, name: str, opened: OpenFile) -> bool:
        """Return whether to send `opened`, which stands under `name`, would show the source of a program."""
        if self.processors is None:
            return False
        kind = self.processors.kind(name)
        # A link with a harmless name may lead to one.
        return kind == HIDDEN or (not kind and self.processors.kind(opened.link_target) != "")

    def _add_link(self, segments: tuple[str, ...], entry: FolderEntry, shown: list[FolderEntry]) -> None:
        try:
            with self._open([*segments, entry.name]) as target:
                status = target.status
                hidden = self._tells_source(entry.name, target)
        except FileError:
            return
        if not hidden:
            shown.append(entry._replace(is_dir=status.is_dir, size=status.size, mtime_ns=status.mtime_ns))


def _refuse_or_raise(error: Exception) -> Response:
    if isinstance(error, FileError):
        return _refuse(error)
    raise error


class _Beneath:
    """A name beneath a StaticFolder."""

    def __init__(self, folder: StaticFolder, segments: tuple[str, ...]) -> None:
        self._folder = folder
        self._segments = segments

    def child(self, segment: str, request: Request) -> Resource | None:
        return _Beneath(self._folder, (*self._segments, segment))

    def render(self, request: Request) -> Rendered:
        return self._folder.render_at(request, self._segments)


class _Listing:
    """Shows a folder: `read` in a thread, then `answer` on the loop."""

    def __init__(self, folder: StaticFolder, request: Request, segments: tuple[str, ...]) -> None:
        self._folder = folder
        self._request = request
        self._segments = segments
        asked = _SORT.search(request.query)
        self._sort = asked.group(1) if asked is not None else SORTS[0]
        self._truncated = False

    def read(self) -> list[FolderEntry]:
        entries, self._truncated = self._folder.visible(self._segments)
        return sort_entries(entries, self._sort)

    def answer(self, entries: list[FolderEntry]) -> Answer:
        headers = [
            ("Content-Type", "text/html; charset=utf-8"),
            ("X-Content-Type-Options", "nosniff"),
            ("Content-Security-Policy", SECURITY_POLICY),
            ("Referrer-Policy", "same-origin"),
            ("Cache-Control", "no-cache"),
        ]
        body = ListingBody(self._request.segments, entries, self._sort, self._truncated)
        return Response(200, headers, body)


class _Search:
    """Finds "foo.html" for "foo"."""

    def __init__(self, folder: StaticFolder, request: Request, segments: tuple[str, ...]) -> None:
        self._folder = folder
        self._request = request
        self._segments = segments

    def read(self) -> list[FolderEntry]:
        entries, _ = self._folder.visible(self._segments[:-1])
        wanted = self._segments[-1] + "."
        found = [entry for entry in entries if entry.name.startswith(wanted) and not entry.is_dir]
        found.sort(key=lambda entry: (entry.name not in {wanted + "html", wanted + "htm"}, entry.name))
        return found[:1]

    def answer(self, entries: list[FolderEntry]) -> Answer:
        if not entries:
            return _refuse_method(self._request) or error_page(404)
        return self._folder.render_file(self._request, (*self._segments[:-1], entries[0].name))
