"""Users and groups: finding them, and becoming one for good."""

from __future__ import annotations

import grp
import os
import pwd
from dataclasses import dataclass

from portable.commands.usage import CommandError

__all__ = ["Identity", "drop_privileges", "find_identity"]


@dataclass(frozen=True)
class Identity:
    """Whom a process is to become.

    Attributes:
        uid, gid: numbers.
        name: of the user, for its other groups; "" if the system knows none with this number.
    """

    uid: int
    gid: int
    name: str


def find_identity(uid: str | int | None, gid: str | int | None) -> Identity | None:
    """Return whom `uid` and `gid` (names, numbers, or None for no change) stand for; None for nobody new.

    Raises:
        CommandError: the system does not know that user or group.
    """
    if uid is None and gid is None:
        return None
    number = os.getuid() if uid is None else _find_user(uid)
    try:
        entry = pwd.getpwuid(number)
    except KeyError:
        if gid is None:
            raise CommandError(f"user {uid} has no entry and so no main group: add --gid") from None
        return Identity(number, _find_group(gid), "")
    return Identity(number, entry.pw_gid if gid is None else _find_group(gid), entry.pw_name)


def _find_user(uid: str | int) -> int:
    if isinstance(uid, int):
        return uid
    try:
        return pwd.getpwnam(uid).pw_uid
    except KeyError:
        raise CommandError(f"--uid: this system has no user {uid!r}") from None


def _find_group(gid: str | int) -> int:
    if isinstance(gid, int):
        return gid
    try:
        return grp.getgrnam(gid).gr_gid
    except KeyError:
        raise CommandError(f"--gid: this system has no group {gid!r}") from None


def check_may_become(identity: Identity) -> None:
    """Raise CommandError if this process will not be able to become `identity`."""
    if os.geteuid() != 0 and (identity.uid, identity.gid) != (os.getuid(), os.getgid()):
        raise CommandError(
            f"only root can change to uid {identity.uid} gid {identity.gid}: start twistd as root"
        )


def drop_privileges(identity: Identity) -> None:
    """Become `identity` for good: supplementary groups, group, user (real, effective and saved), and make sure.

    Does nothing for a process that is it already and not root.

    Raises:
        CommandError: it did not work; the process may then be in any state between and must end.
    """
    check_may_become(identity)
    if os.geteuid() != 0:
        return
    try:
        if identity.name:
            os.initgroups(identity.name, identity.gid)
        else:
            os.setgroups([identity.gid])
        os.setresgid(identity.gid, identity.gid, identity.gid)
        os.setresuid(identity.uid, identity.uid, identity.uid)
    except OSError as error:
        raise CommandError(f"cannot become uid {identity.uid} gid {identity.gid}: {error.strerror}") from error
    if os.getresuid() != (identity.uid,) * 3 or os.getresgid() != (identity.gid,) * 3:
        raise CommandError(f"the system did not make us uid {identity.uid} gid {identity.gid}")
    if identity.uid != 0 and _can_be_root_again():
        raise CommandError("the system would let us become root again")


def _can_be_root_again() -> bool:
    try:
        os.setuid(0)
    except OSError:
        return False
    return True
