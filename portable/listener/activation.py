"""Listening sockets that systemd has opened for us (sd_listen_fds(3))."""

from __future__ import annotations

import os
import typing

from portable.errors import ConfigurationError

__all__ = ["FIRST_FD", "environment", "inherited_sockets"]

# SD_LISTEN_FDS_START.
FIRST_FD = 3
# More than anybody has; a wrong number must not make us go through millions.
MAX_SOCKETS = 4096


def environment() -> typing.Mapping[str, str]:
    """Return this process's environment. Everything else here takes it as an argument."""
    return os.environ


def inherited_sockets(name: str, environ: typing.Mapping[str, str], pid: int) -> list[int]:
    """Return the descriptors of the sockets called `name`, or of socket number `name` counted from 0.

    Args:
        name: a FileDescriptorName= of the socket unit.
        environ: LISTEN_FDS, LISTEN_PID and LISTEN_FDNAMES are read.
        pid: our process id. Variables for another process, inherited by accident, count for nothing.

    Raises:
        ConfigurationError: there is no such socket; the message says which there are.
    """
    where = f"endpoint 'systemd:{name}'"
    count = environ.get("LISTEN_FDS", "")
    if not count:
        raise ConfigurationError("systemd gave this process no sockets; start it from a .socket unit", where)
    if environ.get("LISTEN_PID", "") != str(pid):
        raise ConfigurationError(
            "systemd's sockets (LISTEN_PID) are for another process; run in the foreground, without a shell",
            where,
        )
    if not count.isascii() or not count.isdigit() or not 0 < int(count[:9]) <= MAX_SOCKETS:
        raise ConfigurationError(f"LISTEN_FDS is {count!r}; it must be a number of sockets", where)
    names = environ.get("LISTEN_FDNAMES", "").split(":")
    found = [FIRST_FD + index for index in range(int(count)) if index < len(names) and names[index] == name]
    if found:
        return found
    if name.isascii() and name.isdigit() and int(name[:9]) < int(count):
        return [FIRST_FD + int(name[:9])]
    known = ", ".join(sorted({word for word in names if word})) or "no names"
    raise ConfigurationError(f"systemd gave no socket of that name; it gave {count}: {known}", where)
