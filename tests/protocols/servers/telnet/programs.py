"""Programs at a pseudo-terminal, driven while a reactor runs."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import struct
import subprocess
import termios
import typing

import pytest

from portable.testing import wait_until

if typing.TYPE_CHECKING:
    from collections.abc import Iterator

    from portable.reactor import Reactor

__all__ = ["Terminal", "require", "terminal"]


def require(program: str, package: str) -> str:
    """Return the path of a program; without it the test is skipped, which fails in CI."""
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"there is no {program} here: apt-get install {package}")
    return found


class Terminal:
    """A program whose terminal is ours."""

    def __init__(self, reactor: Reactor, words: list[str], columns: int = 80) -> None:
        self._reactor = reactor
        self._master, slave = os.openpty()
        os.set_blocking(self._master, False)
        self.resize(columns)
        # It gets the terminal as its own without a fork of ours, which a JVM would not survive.
        self.process = subprocess.Popen(
            [require("setsid", "util-linux"), "--ctty", "--wait", *words],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={**os.environ, "TERM": "xterm", "LC_ALL": "C.UTF-8"},
        )
        os.close(slave)
        self.text = ""
        self._seen = 0

    def _read(self) -> None:
        with contextlib.suppress(OSError):
            while data := os.read(self._master, 65536):
                self.text += data.decode("utf-8", "replace")

    def wait(self, text: str) -> str:
        """Wait until `text` is shown, and return what was up to it since the last wait."""

        def shown() -> bool:
            self._read()
            return text in self.text[self._seen :]

        wait_until(self._reactor, shown, 20, f"{text!r} on the terminal")
        end = self.text.index(text, self._seen) + len(text)
        found = self.text[self._seen : end]
        self._seen = end
        return found

    def type(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def resize(self, columns: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))

    def wait_for_end(self) -> int:
        def ended() -> bool:
            self._read()
            return self.process.poll() is not None

        wait_until(self._reactor, ended, 20, "the end of the program")
        return int(self.process.returncode)

    def close(self) -> None:
        # Its terminal is gone then, which ends whatever still runs.
        os.close(self._master)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@contextlib.contextmanager
def terminal(reactor: Reactor, *words: str, columns: int = 80) -> Iterator[Terminal]:
    """Run a program at a terminal, and end it."""
    made = Terminal(reactor, list(words), columns)
    try:
        yield made
    finally:
        made.close()
