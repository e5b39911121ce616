"""The users of this machine, with the plans in their home folders.

Whatever rights the server has, it tells no more than a stranger on this machine could read: the home folder
must be open to all (search permission), the file readable by all, a regular file and the user's own, so that
neither a symbolic nor a hard link can show somebody else's file. The folders above the home folder are not
looked at: where one of them is closed, do not run the server as root. Whoever has a file ".nofinger" in the
home folder is not found.
"""

from __future__ import annotations

import collections
import functools
import re
import stat
import typing

from portable.deferred import Deferred
from portable.errors import FileError
from portable.files import open_beneath, open_file
from portable.systemusers import system_user
from protocols.servers.finger.users import User

if typing.TYPE_CHECKING:
    from portable.files import OpenFile
    from portable.reactor import Threads
    from portable.systemusers import SystemUser

__all__ = ["MAX_NOTE", "MAX_READS", "SystemUsers"]

# Bytes shown of a plan or project: ten pages. A file may be of any size, or grow while it is read.
MAX_NOTE = 32 * 1024
# Users read at one time. Each takes a thread, for ever if the home folder lies on a network that is down: that
# must leave threads for other servers' files and names. The others wait their turn.
MAX_READS = 2

_LOGIN = re.compile(r"[0-9A-Za-z_][0-9A-Za-z_.-]{0,255}\$?")
_CUT = "\n(The rest is not shown.)"


class SystemUsers:
    """The accounts of this machine.

    Args:
        threads: where the database and the files are read.
        lookup: asks the database.
    """

    def __init__(
        self, threads: Threads, lookup: typing.Callable[[str], SystemUser | None] = system_user
    ) -> None:
        self._threads = threads
        self._lookup = lookup
        self._reading = 0
        self._waiting: collections.OrderedDict[Deferred[User | None], str] = collections.OrderedDict()

    def find(self, login: str) -> Deferred[User | None]:
        """See `Users.find`. Cancelling gives up what has not begun."""
        result: Deferred[User | None] = Deferred(lambda result: self._waiting.pop(result, None))
        self._waiting[result] = login
        self._read_next()
        return result

    def _read_next(self) -> None:
        while self._waiting and self._reading < MAX_READS:
            result, login = self._waiting.popitem(last=False)
            self._reading += 1
            reading = self._threads.run_in_thread(self._read, login)
            reading.add_both(functools.partial(self._done, result))

    def _done(self, result: Deferred[User | None], outcome: User | Exception | None) -> None:
        self._reading -= 1
        if isinstance(outcome, Exception):
            result.errback(outcome)
        else:
            result.callback(outcome)
        self._read_next()

    def _read(self, login: str) -> User | None:
        # More than such names is never asked of LDAP and the like.
        account = self._lookup(login) if _LOGIN.fullmatch(login) else None
        if account is None:
            return None
        fields = [field.strip(" ") for field in account.gecos.split(",")]
        fields += [""] * 3
        # By an old custom "&" stands for the login name.
        name = fields[0].replace("&", login.capitalize()) or login
        try:
            home = open_file(account.home)
        except FileError:
            return User(login, name, fields[1], fields[2])
        with home:
            if _exists(home, ".nofinger"):
                return None
            project = _read_note(home, ".project", account.uid)
            plan = _read_note(home, ".plan", account.uid)
        return User(login, name, fields[1], fields[2], project, plan)


def _exists(home: OpenFile, name: str) -> bool:
    """Return whether there is something of that name: a link, too, or what only its owner may read."""
    try:
        open_beneath(home, [name]).close()
    except FileError as error:
        # EACCES comes as well where the folder is closed to us, and nobody can know.
        seen = bool(home.status.mode & stat.S_IXOTH)
        return error.code in {"ELOOP", "EINVAL"} or (error.code == "EACCES" and seen)
    return True


def _read_note(home: OpenFile, name: str, uid: int) -> str:
    """Return the beginning of a text in `home`; "" if there is none, or it is not for everybody."""
    if not home.status.is_dir or not home.status.mode & stat.S_IXOTH:
        return ""
    try:
        with open_beneath(home, [name]) as note:
            if note.status.is_dir or note.status.owner != uid or not note.status.mode & stat.S_IROTH:
                return ""
            data = note.read(0, MAX_NOTE + 1)
    except FileError:
        return ""
    text = data[:MAX_NOTE].decode("utf-8", "replace")
    return text + _CUT if len(data) > MAX_NOTE else text
