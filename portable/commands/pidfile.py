"""The pid file: at most one server per file, and `kill` of its content hits nobody else.

A file is stale when the process it names is gone, or a zombie, or is ourselves (the first process of a
container has the same number after each start), or when it is empty (left by a server that could not remove
it). Anything else that is not a number and an optional line break is refused, as is everything but a regular
file: never followed, never overwritten.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import secrets
import stat
import typing

from portable.commands.usage import CommandError

if typing.TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["PidFile"]

_PID = re.compile(rb"[1-9][0-9]{0,9}\n?\Z")


class PidFile:
    """One pid file.

    Its folder is opened once, before privileges are dropped or the root folder changes: afterwards its path may
    lead nowhere.

    Args:
        path: absolute.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._folder_path, self._name = os.path.split(path)
        self._folder = -1
        self._fd = -1

    def refuse_live(self) -> None:
        """Remove the file if it is stale.

        Raises:
            CommandError: the process it names is alive, or it is not a pid file, or cannot be read or removed.
        """
        try:
            with self._locked():
                self._remove_stale()
        except OSError as error:
            raise self._failure("check", error) from error

    def create(self, uid: int = -1, gid: int = -1) -> None:
        """Write our process id, whole at once, belonging to `uid` and `gid` (-1: to us).

        Raises:
            CommandError: as `refuse_live`; or it cannot be written.
        """
        # Written aside and linked: whoever sees the file sees all of it, and `link` replaces nothing.
        aside = f".{self._name}.{secrets.token_hex(8)}"
        try:
            with self._locked():
                self._remove_stale()
                flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
                fd = os.open(aside, flags, 0o644, dir_fd=self._folder)
                try:
                    os.fchmod(fd, 0o644)
                    os.fchown(fd, uid, gid)
                    os.write(fd, b"%d\n" % os.getpid())
                    os.link(aside, self._name, src_dir_fd=self._folder, dst_dir_fd=self._folder)
                except BaseException:
                    os.close(fd)
                    raise
                finally:
                    os.unlink(aside, dir_fd=self._folder)
                self._fd = fd
        except OSError as error:
            raise self._failure("write", error) from error

    def remove(self) -> None:
        """Remove the file if it is the one that `create` made; where we may not, empty it. Never raises."""
        fd, self._fd = self._fd, -1
        if fd < 0:
            return
        try:
            if os.path.samestat(os.lstat(self._name, dir_fd=self._folder), os.fstat(fd)):
                os.unlink(self._name, dir_fd=self._folder)
        except FileNotFoundError:
            pass
        except OSError:
            # We have become somebody who may not write in that folder.
            with contextlib.suppress(OSError):
                os.ftruncate(fd, 0)
        finally:
            os.close(fd)

    def _remove_stale(self) -> None:
        try:
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
            fd = os.open(self._name, flags, dir_fd=self._folder)
        except FileNotFoundError:
            return
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise CommandError(f"{self.path!r} is not a regular file; choose another with --pidfile")
            content = os.read(fd, 64)
        finally:
            os.close(fd)
        if content.strip() and _PID.match(content) is None:
            raise CommandError(f"{self.path!r} is not a pid file; choose another with --pidfile")
        pid = int(content) if content.strip() else 0
        if pid and pid != os.getpid() and _is_alive(pid):
            raise CommandError(
                f"another server is running, process {pid} says {self.path!r}; stop it with: kill {pid}"
            )
        os.unlink(self._name, dir_fd=self._folder)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep other starting servers out of the folder between looking at the file and changing it."""
        if self._folder < 0:
            self._folder = os.open(self._folder_path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(self._folder, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._folder, fcntl.LOCK_UN)

    def _failure(self, what: str, error: OSError) -> CommandError:
        reason = "it is a symbolic link" if error.errno == errno.ELOOP else error.strerror
        return CommandError(
            f"cannot {what} the pid file {self.path!r}: {reason}; choose another with --pidfile"
        )


def _is_alive(pid: int) -> bool:
    """Return whether there is a process with this number that has not ended."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        # There is one, of somebody else's.
        pass
    return not _is_zombie(pid)


def _is_zombie(pid: int) -> bool:
    """Return whether a process has ended, and is only there because its parent has not asked how: for good in a
    container whose first process never asks. False where the system does not tell (proc_pid_stat(5)).
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The name of the program, in parentheses, may have any characters.
            return file.read().rpartition(b") ")[2][:1] in {b"Z", b"X"}
    except OSError:
        return False
