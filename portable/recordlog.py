"""Logs with a line for each request or connection, written so that a slow or full disk slows no client.

Lines are collected and written by a thread; if the disk is full or does not keep up, lines are dropped and
their number is told, but the server goes on. What a client has sent goes through `escape`.
"""

from __future__ import annotations

import logging
import re
import time
import typing

from portable.deferred import Deferred, fail
from portable.errors import FileError
from portable.files import AppendFile

if typing.TYPE_CHECKING:
    from portable.clock import Clock, Timer
    from portable.reactor import Threads
    from portable.transport import Address

__all__ = ["RecordLog", "clf_peer", "clf_time", "escape"]

# Seconds that a line may wait before it is written.
FLUSH_DELAY = 1.0
# Bytes that may wait for the disk: some 30,000 lines.
MAX_PENDING = 4 * 1024 * 1024
# Seconds that the end waits for a thread that is writing. A disk that hangs must not keep a server running.
PATIENCE = 5.0

_log = logging.getLogger("portable.recordlog")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_UNSAFE = re.compile(r"[^ !#-\[\]-~]")
# As Apache writes them; the rest of what a log must not hold is \xhh.
_SHORT = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v"}


def escape(text: str) -> str:
    """Return client data so that it can end neither its field nor its line: as Apache does."""
    if _UNSAFE.search(text) is None:
        return text
    return _UNSAFE.sub(_escape_char, text)


def _escape_char(match: re.Match[str]) -> str:
    char = match.group()
    if char in _SHORT:
        return _SHORT[char]
    return "".join([f"\\x{octet:02x}" for octet in _octets(char)])


def _octets(char: str) -> bytes:
    # Fields come with one character for each octet; anything else did not come from the network.
    return char.encode("latin-1") if char <= "\xff" else char.encode("utf-8", "replace")


def clf_time(seconds: float) -> str:
    """Return a time of POSIX as the Common Log Format has it: "23/Nov/2026:13:55:36 +0000"."""
    moment = time.gmtime(seconds)
    return (
        f"{moment.tm_mday:02d}/{_MONTHS[moment.tm_mon - 1]}/{moment.tm_year:04d}:"
        f"{moment.tm_hour:02d}:{moment.tm_min:02d}:{moment.tm_sec:02d} +0000"
    )


def clf_peer(peer: Address | str | None) -> str:
    """Return the first field of a line: an address, the path of a Unix socket or "unix", "-" for nobody."""
    if isinstance(peer, str):
        # Spaces in its path would look like further fields.
        return escape(peer).replace(" ", "\\x20") or "unix"
    return "-" if peer is None else peer.host


class RecordLog:
    """Appends lines to a file.

    Raises nothing once it is open: what goes wrong with the file is told in the server's own log, once for each
    time it begins to.
    """

    def __init__(self, path: str, name: str) -> None:
        """Open the file at `path`; `name` is what messages call the log.

        Raises:
            FileError: it cannot be opened.
        """
        self._file = AppendFile(path)
        self._name = name
        self._lines: list[bytes] = []
        self._pending = 0  # bytes in _lines and on their way to the disk
        self._dropped = 0
        self._failing = False
        self._writing = False
        self._reopen = False
        self._closed = False
        self._ending: list[Deferred[None]] = []
        self._timer: Timer | None = None
        self._clock: Clock | None = None
        self._threads: Threads | None = None

    def give_to(self, uid: int, gid: int) -> None:
        """Make the file belong to the user that the process is about to become: see `AppendFile.give_to`."""
        self._file.give_to(uid, gid)

    def start(self, clock: Clock, threads: Threads | None) -> None:
        """Begin to write, in a thread if there are any. Lines that came before wait until now."""
        self._clock = clock
        self._threads = threads
        if self._lines:
            self._schedule()

    def add(self, text: str) -> None:
        """Add a line, given without its end."""
        line = text.encode("ascii", "backslashreplace") + b"\n"
        if self._closed or self._pending + len(line) > MAX_PENDING:
            self._drop(1)
            return
        self._lines.append(line)
        self._pending += len(line)
        self._schedule()

    def _schedule(self) -> None:
        if self._clock is not None and self._timer is None and not self._writing:
            self._timer = self._clock.call_later(FLUSH_DELAY, self._flush)

    def _flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        lines, self._lines = self._lines, []
        reopen, self._reopen = self._reopen, False
        if self._threads is None:
            self._written(lines, self._write(lines, reopen))
            return
        self._writing = True
        self._threads.run_in_thread(self._write, lines, reopen).add_callbacks(
            lambda errors: self._written(lines, errors), lambda error: self._not_begun(lines, reopen, error)
        )

    def _write(self, lines: list[bytes], reopen: bool) -> tuple[FileError | None, FileError | None]:
        """Do what may wait for the disk. In a thread: touches nothing but the file.

        Returns:
            What went wrong with opening it anew, and with writing.
        """
        return (
            self._try(self._file.reopen) if reopen else None,
            self._try(self._file.write, b"".join(lines)) if lines else None,
        )

    @staticmethod
    def _try(call: typing.Callable[..., object], *args: object) -> FileError | None:
        try:
            call(*args)
        except FileError as error:
            return error
        return None

    def _written(self, lines: list[bytes], errors: tuple[FileError | None, Exception | None]) -> None:
        self._writing = False
        self._pending -= sum([len(line) for line in lines])
        self._tell(lines, errors)
        if self._closed:
            self._finish()
        elif self._lines or self._reopen:
            self._schedule()

    def _not_begun(self, lines: list[bytes], reopen: bool, error: Exception) -> None:
        """There was no thread to write `lines` in."""
        self._reopen = reopen or self._reopen
        self._written(lines, (None, error))

    def _tell(self, lines: list[bytes], errors: tuple[FileError | None, Exception | None]) -> None:
        """Say in the server's log how the writing of `lines` went, where that is news."""
        not_reopened, not_written = errors
        if not_reopened is not None:
            _log.error(
                "%s %s: goes on in the file that was open: %s", self._name, self._file.path, not_reopened
            )
        if not_written is not None:
            self._drop(len(lines), str(not_written))
        elif lines:
            if self._failing:
                _log.warning(
                    "%s %s: writing again, %d lines are missing", self._name, self._file.path, self._dropped
                )
            self._failing = False
            self._dropped = 0

    def _drop(self, count: int, reason: str = "the disk does not keep up") -> None:
        self._dropped += count
        if not self._failing:
            self._failing = True
            _log.error("%s %s: lines are being lost: %s", self._name, self._file.path, reason)

    def reopen(self) -> None:
        """Open the path anew before the next line is written: the file was renamed. Returns at once."""
        if self._closed:
            return
        self._reopen = True
        if self._threads is None:
            self._flush()
        else:
            self._schedule()

    def close(self) -> Deferred[None]:
        """Write what waits and close the file; lines that come later are dropped. Idempotent.

        Returns:
            Nothing, when the file is closed: at once, unless a thread is writing to it, for which we wait up to
            PATIENCE.
        """
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        done: Deferred[None] = Deferred()
        self._ending.append(done)
        if not self._writing:
            self._finish()
        elif self._clock is not None:
            self._timer = self._clock.call_later(PATIENCE, self._tell_ended)
        return done

    def close_after(self, outcome: object) -> Deferred[typing.Any]:
        """Close, then pass `outcome` on: for `add_both` of what a service's `stop` waits for."""
        return self.close().add_callback(lambda _: fail(outcome) if isinstance(outcome, Exception) else outcome)

    def _finish(self) -> None:
        lines, self._lines = self._lines, []
        reopen, self._reopen = self._reopen, False
        self._tell(lines, self._write(lines, reopen))
        self._file.close()
        self._tell_ended()

    def _tell_ended(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        ending, self._ending = self._ending, []
        for done in ending:
            done.callback(None)
