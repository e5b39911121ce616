"""The pages of this machine's users: /NAME/ from their folders, /NAME.twistd/ from servers of their own.

Of ~/public_html no more is shown than a stranger on this machine could read, whatever rights the server has:
each folder on the way must be open to all, a file readable by all and the user's own, so that neither a
symbolic nor a hard link shows somebody else's.

A user's own server listens on the socket ~/.twistd-web-pb. It must belong to that user, and lie in a home
folder that nobody else may write to; who may write to the socket is its owner's business. A link to somebody
else's may be swapped in after that was looked at, so the connection is asked who listens, where it can tell
(java.nio's cannot). It may still lead to one of root's, who opens sockets for systemd: we have connected to
something then, and that is all, as nothing is said before the other side has spoken Perspective Broker.

Who has no such server, or no account, is answered alike: there is nothing to learn from it.
"""

from __future__ import annotations

import logging
import re
import stat
import typing

from portable.errors import CapabilityMissing, ConnectError, FileError
from portable.files import file_status, open_beneath, open_file, socket_owner
from portable.systemusers import require_system_users, system_user
from protocols.http.messages import Response
from protocols.http.resource import PAGE_STYLE, allow_options, error_page, method_not_allowed
from protocols.servers.web.distributed.relay import Relay

if typing.TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from portable.files import OpenFile
    from portable.reactor import Reactor
    from portable.systemusers import SystemUser
    from protocols.http.request import Request
    from protocols.http.resource import Rendered, Resource
    from protocols.servers.web.static import StaticFolder

__all__ = ["PAGES", "SOCKET", "SUFFIX", "UserDirectory"]

# In the home folder: where the pages are, and where a server of the user's own listens.
PAGES = "public_html"
SOCKET = ".twistd-web-pb"
# What follows the name of a user whose own server is meant.
SUFFIX = ".twistd"

_log = logging.getLogger("protocols.servers.web")
_ROOT = 0  # the user id
# No more than such names is ever asked of LDAP and the like.
_LOGIN = re.compile(r"[0-9A-Za-z_][0-9A-Za-z_.-]{0,255}\$?")
_METHODS = ("GET", "HEAD")
_INDEX = f"""<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Pages of users</title>
<style>{PAGE_STYLE}</style>
<h1>Pages of users</h1>
<p>They are at <code>/NAME/</code>, and at <code>/NAME.twistd/</code> where a user has a server running.</p>
</html>
""".encode("ascii")


class UserDirectory:
    """The root of a site, with the pages of users beneath it. Gives no list of them.

    Args:
        make_folder: makes the resource for a user's pages from their folder and what opens things in it.
        lookup: asks the database of users, by default this machine's.
        max_body: bytes of the longest body that the site takes.

    Attributes:
        relay: what talks to the users' servers; None before `start`.
    """

    def __init__(
        self,
        make_folder: Callable[[str, Callable[[Sequence[str], bool], OpenFile]], StaticFolder],
        lookup: Callable[[str], SystemUser | None] | None = None,
        *,
        max_body: int = 0,
    ) -> None:
        self.relay: Relay | None = None
        self._reactor: Reactor | None = None
        self._make_folder = make_folder
        self._max_body = max_body
        self._lookup = system_user if lookup is None else lookup

    def start(self, reactor: Reactor) -> None:
        """Use `reactor` from now on. Needed before the first request.

        Raises:
            CapabilityMissing: the reactor, or this machine, cannot do what is needed.
        """
        for capability in ("unix", "threads"):
            if capability not in reactor.capabilities:
                raise CapabilityMissing(reactor.name, capability, "--user needs it")
        require_system_users()
        self._reactor = reactor
        self.relay = Relay(reactor, max_body=self._max_body)

    def child(self, segment: str, request: Request) -> Resource | None:
        """Return the pages of the user, or the user's server, that `segment` names."""
        if segment.endswith(SUFFIX):
            return _OwnServer(self, segment[: -len(SUFFIX)])
        return _Pages(self, segment, ())

    def render(self, request: Request) -> Rendered:
        """Return a page that tells what is where."""
        if request.method not in _METHODS:
            return _other_method(request)
        return Response(200, [("Content-Type", "text/html; charset=utf-8")], _INDEX)

    async def render_pages(self, login: str, segments: tuple[str, ...], request: Request) -> Response:
        """Return what stands in the user's folder under `segments`."""
        if request.method not in _METHODS:
            # Before the user is looked for, so that nobody learns from it whether there is one.
            return _other_method(request)
        reactor = self._running()
        account = await reactor.run_in_thread(self._account_with_home, login)
        if account is None:
            return error_page(404)
        home = account.home
        uid = account.uid
        folder = self._make_folder(home, lambda beneath, to_list: open_as_stranger(home, uid, beneath, to_list))
        folder.threads = reactor
        rendered = folder.render_at(request, segments)
        if isinstance(rendered, Response):
            return rendered
        return await rendered

    async def render_own(self, login: str, request: Request) -> Response:
        """Return what the user's own server answers."""
        reactor = self._running()
        found = await reactor.run_in_thread(self._find_socket, login)
        try:
            if found is not None and self.relay is not None:
                path, uid = found
                # Where systemd has opened it, it was root that did.
                return await self.relay.render(request, path, 1, {uid, _ROOT})
        except ConnectError as error:
            _log.info("%s: %s", login, error)
        return error_page(502, "Cannot connect to this user's server.")

    def _running(self) -> Reactor:
        if self._reactor is None:
            raise AssertionError("a request before the start")
        return self._reactor

    def _account(self, login: str) -> SystemUser | None:
        return self._lookup(login) if _LOGIN.fullmatch(login) else None

    def _account_with_home(self, login: str) -> SystemUser | None:
        """Look for an account, and at its home folder, which a network may have to bring. In a thread."""
        account = self._account(login)
        if account is not None:
            try:
                file_status(account.home)
            except FileError:
                return None
        return account

    def _find_socket(self, login: str) -> tuple[str, int] | None:
        """Return the path of the user's socket and the user's id, None if none can be trusted. In a thread."""
        account = self._account(login)
        if account is None:
            return None
        path = f"{account.home}/{SOCKET}"
        try:
            home = file_status(account.home)
            safe = home.owner in {account.uid, _ROOT} and not home.mode & (stat.S_IWGRP | stat.S_IWOTH)
            return (path, account.uid) if safe and socket_owner(path) == account.uid else None
        except FileError:
            return None


class _Pages:
    """Something beneath a user's folder."""

    def __init__(self, users: UserDirectory, login: str, segments: tuple[str, ...]) -> None:
        self._users = users
        self._login = login
        self._segments = segments

    def child(self, segment: str, request: Request) -> Resource | None:
        return _Pages(self._users, self._login, (*self._segments, segment))

    def render(self, request: Request) -> Rendered:
        return self._users.render_pages(self._login, self._segments, request)


class _OwnServer:
    """A user's own server, and everything beneath it."""

    def __init__(self, users: UserDirectory, login: str) -> None:
        self._users = users
        self._login = login

    def child(self, segment: str, request: Request) -> Resource | None:
        return self

    def render(self, request: Request) -> Rendered:
        return self._users.render_own(self._login, request)


def _other_method(request: Request) -> Response:
    return allow_options(_METHODS) if request.method == "OPTIONS" else method_not_allowed(_METHODS)


def open_as_stranger(home: str, uid: int, segments: Sequence[str], to_list: bool) -> OpenFile:
    """Open what `segments` lead to in the pages of a user, if everybody on this machine may.

    Args:
        uid: of the user, to whom a file must belong.
        to_list: whether the names in a folder are wanted.

    Raises:
        FileError: ENOENT if it is not for everybody, or not there; or as `open_beneath`.
    """
    opened = open_file(home)
    try:
        for segment in (PAGES, *segments):
            _check_open(opened, stat.S_IXOTH)
            beneath = open_beneath(opened, [segment])
            opened.close()
            opened = beneath
        if not opened.status.is_dir:
            if opened.status.owner != uid:
                raise FileError(f"{opened.path!r} belongs to somebody else", "ENOENT")
            _check_open(opened, stat.S_IROTH)
        else:
            _check_open(opened, stat.S_IXOTH | (stat.S_IROTH if to_list else 0))
    except FileError as error:
        opened.close()
        if error.code in {"EACCES", "EPERM"}:
            # Where we have no more rights than a stranger, it is to look the same.
            raise FileError(str(error), "ENOENT") from error
        raise
    return opened


def _check_open(opened: OpenFile, wanted: int) -> None:
    if opened.status.mode & wanted != wanted:
        raise FileError(f"{opened.path!r} is not for everybody", "ENOENT")
