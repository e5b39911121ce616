"""The boundary to this machine's database of users, which may be files, LDAP or whatever the system asks."""

from __future__ import annotations

import typing

from portable.errors import CapabilityMissing

try:
    import pwd
except ImportError:
    # Windows has no such database.
    pwd = None  # type: ignore[assignment]  # which is how its absence is told

__all__ = ["SystemUser", "require_system_users", "system_user"]


class SystemUser(typing.NamedTuple):
    """One account of this machine.

    Attributes:
        login: its name.
        uid: its number.
        home: the path of its folder, which need not exist.
        gecos: what is told of the person: by custom full name, office, office phone and more, joined by commas.
    """

    login: str
    uid: int
    home: str
    gecos: str


def require_system_users() -> None:
    """Return if this machine has a database of users that can be asked.

    Raises:
        CapabilityMissing: it has none.
    """
    if pwd is None:
        raise CapabilityMissing("system", "users", "there is no database of users on this system")


def system_user(login: str) -> SystemUser | None:
    """Return the account called `login`, None if there is none. Where a network is asked, this takes its time:
    call it in a thread.

    Raises:
        CapabilityMissing: as `require_system_users`.
    """
    require_system_users()
    try:
        entry = pwd.getpwnam(login)
    except (KeyError, ValueError):
        # ValueError: a NUL, or a character that the system's encoding lacks.
        return None
    return SystemUser(entry.pw_name, entry.pw_uid, entry.pw_dir, entry.pw_gecos)
