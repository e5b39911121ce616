"""Becoming a daemon, with a parent that waits for the news.

The process that a person started forks and waits at a pipe. The daemon says `ready`, and the parent ends with
status 0; or it says why not, and the parent ends with status 1 and that on its standard error; or it dies
without a word, which is an error too.
"""

from __future__ import annotations

import contextlib
import os
import sys

from portable.commands.usage import DONE, FAILED, CommandError

__all__ = ["Daemon"]

UMASK = 0o077
_READY = b"\x00"
# Bytes. One line; the parent reads no more.
_MAX_NEWS = 65536


class Daemon:
    """The daemon's end of the pipe to its parent."""

    def __init__(self, news: int) -> None:
        self._news = news
        # Opened now: a new root folder has no devices.
        self._null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)

    def ready(self) -> None:
        """Let the parent end with status 0, and take leave of the terminal."""
        for fd in (0, 1, 2):
            os.dup2(self._null, fd)
        os.close(self._null)
        self._tell(_READY)

    def failed(self, text: str) -> None:
        """Let the parent write `text` to its standard error and end with status 1."""
        self._tell(text.encode("utf-8", "backslashreplace")[:_MAX_NEWS])

    def _tell(self, data: bytes) -> None:
        # If somebody has killed the parent, nobody is left to be told.
        with contextlib.suppress(BrokenPipeError):
            os.write(self._news, data)
        os.close(self._news)


def daemonize() -> Daemon | int:
    """Return twice: in the daemon with a Daemon, in the parent, once it knows, with its exit status.

    The daemon is the grandchild, in a session of its own whose leader is gone, so that it can never get a
    terminal. No threads may be running.

    Raises:
        CommandError: the system cannot fork.
    """
    reading, writing = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        child = os.fork()
    except OSError as error:
        raise CommandError(f"cannot start a process: {error.strerror}") from error
    if child:
        os.close(writing)
        os.waitpid(child, 0)
        return _wait_for_news(reading)
    os.close(reading)
    os.setsid()
    # The middle process ends without the farewells of Python: they are the parent's to say.
    if os.fork():
        os._exit(DONE)
    return Daemon(writing)


def _wait_for_news(reading: int) -> int:
    with os.fdopen(reading, "rb") as pipe:
        news = pipe.read(_MAX_NEWS)
    if news == _READY:
        return DONE
    text = news.decode("utf-8", "replace") or "twistd: the server ended while it was starting; see its log"
    print(text, file=sys.stderr)
    return FAILED
