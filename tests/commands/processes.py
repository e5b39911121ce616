"""Runs the real commands in a folder of their own, and ends whatever they left running."""

from __future__ import annotations

import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import time
import typing

if typing.TYPE_CHECKING:
    from collections.abc import Callable

ROOT = pathlib.Path(__file__).parents[2]
SECONDS = 20.0

# A server whose connections are given `lines` on request, each with its number; it drains when "end" comes.
PROGRAM = """
import typing
from portable.endpoints import parse_endpoint
from portable.listener import ListenerOptions, ServerPort
from portable.protocol import Protocol
from portable.service import PortService, ServiceGroup

class Talk(Protocol):
    def connection_made(self, transport):
        self.transport = transport
        self.draining = False
        transport.write(b"hello\\n")

    def data_received(self, data):
        self.transport.write(data)
        if b"end" in data:
            self.transport.close()
        if b"block" in data:
            import time
            time.sleep(0.3)

    def drain(self):
        self.transport.write(b"finish\\n")

def talk(endpoint, name="talk"):
    return PortService(name, [ServerPort(name, Talk, parse_endpoint(endpoint), ListenerOptions())])
"""


# What such a server is, at a free port.
TALK = 'application = talk("tcp:0:interface=127.0.0.1")\n'


def wait_until(condition: Callable[[], object], what: str = "the condition", seconds: float = SECONDS) -> None:
    """Wait for something that another process does."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come true in {seconds:g} seconds"
        time.sleep(0.01)


def is_running(pid: int) -> bool:
    """Return whether the process runs: one that has ended but was not waited for does not."""
    try:
        state = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


class Folder:
    """A folder in which commands are run, as a person would."""

    def __init__(self, path: pathlib.Path) -> None:
        self.path = path
        self.environ = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
        for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "LISTEN_FDS", "LISTEN_PID"):
            self.environ.pop(name, None)
        # What twistd is to run on; "" leaves that to it.
        self.reactor = ""
        self._processes: list[subprocess.Popen[str]] = []

    def argv(self, command: str, *words: str) -> list[str]:
        reactor = ["-r", self.reactor] if self.reactor and command == "twistd" else []
        return [sys.executable, "-m", f"portable.commands.{command}", *reactor, *words]

    def run(self, command: str, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            self.argv(command, *words),
            cwd=self.path,
            env={**self.environ, **environ},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS * 2,
            check=False,
        )

    def mktap(self, *words: str) -> str:
        """Run mktap, which must work, and return what it printed."""
        done = self.run("mktap", *words)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        return done.stdout

    def twistd(self, *words: str, **environ: str) -> int:
        """Start a daemon, which must work, and return its process id."""
        done = self.run("twistd", *words, **environ)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), done.stderr
        return int(self.read("twistd.pid"))

    def foreground(self, *words: str, **environ: str) -> subprocess.Popen[str]:
        """Start twistd -n and wait until it listens; its standard output is in "out"."""
        with (
            open(self.path / "out", "w", encoding="utf-8") as out,
            open(self.path / "err", "w", encoding="utf-8") as err,
        ):
            process = subprocess.Popen(
                self.argv("twistd", "-n", *words),
                cwd=self.path,
                env={**self.environ, **environ},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                text=True,
            )
        self._processes.append(process)
        wait_until(lambda: "listening: " in self.logged() or process.poll() is not None, "a listening line")
        return process

    def program(self, last_lines: str) -> None:
        """Write app.py: PROGRAM and `last_lines`."""
        (self.path / "app.py").write_text(PROGRAM + last_lines, encoding="utf-8")

    def read(self, name: str) -> str:
        return (self.path / name).read_text(encoding="utf-8")

    def names(self) -> list[str]:
        return sorted(os.listdir(self.path))

    def logged(self) -> str:
        """Return the whole log, wherever it is."""
        names = [name for name in ("out", "err", "twistd.log") if (self.path / name).exists()]
        return "".join(self.read(name) for name in names)

    def ports(self) -> list[int]:
        """Return the bound ports in the log's last start, in order."""
        return [int(port) for port in re.findall(r"listening: .*:(\d+)", self.logged())]

    def connect(self, port: int | None = None) -> socket.socket:
        """Connect to the (first) bound port."""
        return socket.create_connection(("127.0.0.1", self.ports()[0] if port is None else port), SECONDS)

    def end(self, pid: int) -> None:
        """Stop a daemon and wait for its end."""
        os.kill(pid, signal.SIGTERM)
        wait_until(lambda: not is_running(pid), "the end of the daemon")

    def clean(self) -> None:
        """Kill what is still running."""
        for process in self._processes:
            if process.poll() is None:
                process.kill()
            process.wait()
        pidfile = self.path / "twistd.pid"
        if pidfile.is_file() and not pidfile.is_symlink():
            text = pidfile.read_text(encoding="utf-8", errors="replace").strip()
            if text.isdigit() and is_ours(int(text)):
                os.kill(int(text), signal.SIGKILL)


def is_ours(pid: int) -> bool:
    """Return whether `pid` is a server that a test has started."""
    try:
        words = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return b"portable.commands.twistd" in words


def read_all(stream: socket.socket) -> bytes:
    """Return everything up to the peer's end of stream."""
    parts = []
    while part := stream.recv(65536):
        parts.append(part)
    return b"".join(parts)


def refused(folder: Folder, *words: str, status: int = 1, **environ: str) -> str:
    """Run twistd, which must fail, and return its one line."""
    done = folder.run("twistd", *words, **environ)
    assert done.returncode == status, (done.stdout, done.stderr)
    assert done.stderr.startswith("twistd: ")
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr
