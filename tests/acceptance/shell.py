"""A user's shell in a folder of its own: our commands, and the programs that others wrote for our servers."""

from __future__ import annotations

import contextlib
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import typing

import pytest

from tests.commands.processes import SECONDS, Folder, is_running, wait_until

if typing.TYPE_CHECKING:
    import pathlib

__all__ = ["Shell", "free_ports", "is_running", "wait_until"]

# Program to the Debian package that has it.
PACKAGES = {
    "ab": "apache2-utils",
    "bash": "bash",
    "chromium": "chromium",
    "curl": "curl",
    "nc": "netcat-openbsd",
    "openssl": "openssl",
    "unshare": "util-linux",
    "wget": "wget",
    "wrk": "wrk",
}

# Everything that the daemon's log and the foreground's output say about a bound TCP or TLS port.
_LISTENING = re.compile(r"listening: (\S+) (tcp|tls|udp) \S*:(\d+)$", re.MULTILINE)

# A twistd that knows one reactor more: the one that Windows would get, without epoll or pipes.
_ENTRY_POINTS = "[portable.reactors]\nselect-plain = plain_reactor:make\n"
_PLAIN_REACTOR = """
from backends.select import SelectReactor

def make():
    return SelectReactor("select")
"""


class Shell(Folder):
    """A `Folder` with programs, and with importable modules in "lib"."""

    def __init__(self, path: pathlib.Path) -> None:
        super().__init__(path)
        self.lib = path / "lib"
        self.lib.mkdir()
        self.environ = {
            name: value for name, value in self.environ.items() if not name.lower().endswith("_proxy")
        }
        # No settings of whoever runs the tests, and messages as they are in the programs.
        self.environ.update(HOME=str(path), LC_ALL="C.UTF-8")
        self.environ["PYTHONPATH"] += f"{os.pathsep}{self.lib}"
        self._groups: list[subprocess.Popen[bytes]] = []

    def plain_reactor(self) -> str:
        """Return the name of a reactor for `twistd -r` that waits by select(2)."""
        (self.lib / "plain_reactor.py").write_text(_PLAIN_REACTOR, encoding="utf-8")
        described = self.lib / "plain_reactor-1.dist-info"
        described.mkdir()
        (described / "METADATA").write_text("Metadata-Version: 2.1\nName: plain-reactor\nVersion: 1\n")
        (described / "entry_points.txt").write_text(_ENTRY_POINTS)
        return "select-plain"

    def type_commands(self) -> None:
        """Put `mktap` and `twistd` on the path, as an installation does."""
        folder = self.path / "bin"
        folder.mkdir()
        for name in ("mktap", "twistd"):
            script = folder / name
            script.write_text(f'#!/bin/sh\nexec {sys.executable} -m portable.commands.{name} "$@"\n')
            script.chmod(0o755)
        self.environ["PATH"] = f"{folder}{os.pathsep}{self.environ.get('PATH', os.defpath)}"

    def static(self, **files: bytes) -> pathlib.Path:
        """Make the folder "static" with these files."""
        folder = self.path / "static"
        folder.mkdir()
        for name, content in files.items():
            (folder / name.replace("_", ".")).write_bytes(content)
        return folder

    def serve(self, *words: str, twistd: tuple[str, ...] = ()) -> int:
        """Serve "static" from a daemon and return the port; `words` are for mktap, `twistd` for twistd."""
        self.mktap("web", "--path", "static", "--port", "0", "--interface", "127.0.0.1", *words)
        self.twistd("-f", "web.tap", *twistd)
        return self.port("web")

    def port(self, name: str, kind: str = "tcp") -> int:
        """Return the first port that `name` listens on, as soon as the log says so."""

        def found() -> list[int]:
            return [
                int(number)
                for found, what, number in _LISTENING.findall(self.logged())
                if (found, what) == (name, kind)
            ]

        wait_until(found, f"a {kind} port of {name} in the log")
        return found()[0]

    def pid(self) -> int:
        return int(self.read("twistd.pid"))

    def stop(self) -> None:
        """End the daemon as `kill` does, and check that it cleaned up and complained of nothing."""
        self.end(self.pid())
        assert "twistd.pid" not in self.names()
        assert not self.complaints()

    def complaints(self) -> list[str]:
        """Return the lines of the log that are errors, and tracebacks."""
        return [line for line in self.logged().splitlines() if re.search(r" (error|critical) |Traceback", line)]

    def find(self, name: str) -> str:
        """Return the path of a program. Without it there is nothing to test with, which is a failure."""
        path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
        found = shutil.which(name, path=path)
        if found is None:
            pytest.fail(f"{name} is not installed; on Debian: apt-get install {PACKAGES[name]}")
        return found

    def start(self, name: str, *words: str, **options: typing.Any) -> subprocess.Popen[bytes]:
        """Start a program, in a process group of its own that is killed at the end."""
        settings: dict[str, typing.Any] = {
            "cwd": self.path,
            "env": self.environ,
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            **options,
        }
        process = subprocess.Popen([self.find(name), *words], start_new_session=True, **settings)
        self._groups.append(process)
        return process

    def do(self, name: str, *words: str, status: int = 0, typed: bytes = b"", seconds: float = SECONDS) -> str:
        """Run a program to its end, with `typed` as its standard input; return its standard output."""
        process = self.start(name, *words, stdin=subprocess.PIPE)
        try:
            output, errors = process.communicate(typed, timeout=seconds)
        except subprocess.TimeoutExpired:
            pytest.fail(f"{name} {' '.join(words)} took more than {seconds:g} seconds")
        assert process.returncode == status, f"{name} {' '.join(words)}: {errors.decode()}{output.decode()}"
        return output.decode()

    def curl(self, *words: str, status: int = 0) -> str:
        """Run curl, which complains only of failures."""
        return self.do("curl", "-sS", "--max-time", "15", *words, status=status)

    def clean(self) -> None:
        """Kill what is still running."""
        for process in self._groups:
            # The group first: waiting frees its number, unless somebody else is still in it.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream is not None:
                    # Closing flushes what a killed program will not read.
                    with contextlib.suppress(BrokenPipeError):
                        stream.close()
        super().clean()


def free_ports(*offsets: int) -> int:
    """Return a number that, added to each of `offsets`, gives a free port: for servers that cannot take 0.

    Not from the range that systems take for clients and for port 0: there one could be taken at any moment, and
    after a benchmark many cannot be bound for a minute.
    """
    for _ in range(1000):
        base = random.randrange(12_000, 32_000)
        with contextlib.ExitStack() as stack:
            try:
                for offset in offsets:
                    stack.enter_context(socket.create_server(("127.0.0.1", base + offset)))
            except OSError:
                continue
            return base
    pytest.fail("no such ports are free")
