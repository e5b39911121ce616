"""What a server can run on. To add a runtime, add an entry to RUNTIMES."""

from __future__ import annotations

import dataclasses
import functools
import os
import pathlib
import shutil
import subprocess
import sys
import typing

from ci.acceptance.views import mask
from jvm.classpath import class_path
from jvm.launch import JVMMissing

if typing.TYPE_CHECKING:
    from collections.abc import Callable

    from ci.acceptance.record import View

__all__ = ["RUNTIMES", "Runtime", "command", "environment"]

ROOT = pathlib.Path(__file__).parents[2]


@dataclasses.dataclass(frozen=True)
class Runtime:
    """How to start a server.

    Attributes:
        name: as on the command line, and the column of the matrix.
        title: what it is.
        start: returns the words that run a .tap file in the foreground, logging to "twistd.log" in the current
            folder; with True in the background, if `daemons`.
        missing: why it cannot run here; "" if it can.
        daemons: whether it can put itself in the background.
        log_views: hide what its log says and others' do not.
    """

    name: str
    title: str
    start: Callable[[pathlib.Path, bool], list[str]]
    missing: Callable[[], str]
    daemons: bool = True
    log_views: tuple[View, ...] = ()


def command(name: str) -> list[str]:
    """Return the words that run one of our commands from this checkout, installed or not."""
    return [sys.executable, "-m", f"portable.commands.{name}"]


def environment() -> dict[str, str]:
    """Return an environment for commands and clients, without the settings of whoever calls."""
    environ = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "LISTEN_FDS", "LISTEN_PID"):
        environ.pop(name, None)
    environ.update(PYTHONPATH=str(ROOT), PYTHONDONTWRITEBYTECODE="1", LC_ALL="C.UTF-8", TZ="UTC")
    return environ


@functools.cache
def _reactors() -> dict[str, str]:
    """Return what `twistd --reactors` says of each reactor."""
    done = subprocess.run(
        [*command("twistd"), "--reactors"],
        env=environment(),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    said = [line.split(None, 1) for line in done.stdout.splitlines() if line.strip() and not line[0].isspace()]
    return {words[0]: words[1] if len(words) > 1 else "" for words in said}


def _reactor_missing(name: str) -> str:
    said = _reactors().get(name, "twistd --reactors does not list it")
    return "" if said.startswith("can run here") else said


def _twistd(reactor: str) -> Callable[[pathlib.Path, bool], list[str]]:
    def start(tap: pathlib.Path, background: bool) -> list[str]:
        foreground = [] if background else ["-n"]
        return [*command("twistd"), *foreground, "-r", reactor, "-f", str(tap), "-l", "twistd.log"]

    return start


def _no_host() -> str:
    if shutil.which("java") is None:
        return "no java on PATH"
    try:
        class_path()
    except JVMMissing as error:
        return str(error)
    return ""


def _host(tap: pathlib.Path, _background: bool) -> list[str]:
    program = ["java", "-cp", class_path(), "portable.jvm.Main", "--python", sys.executable]
    return [*program, "--modules", str(ROOT), "-f", str(tap), "-l", "twistd.log"]


# The same facts, told by other loggers; and a signal is Java's, which does not say which one.
_HOST_LOG: tuple[View, ...] = (
    mask(rb" portable\.host: listening: ", b" twistd: listening: "),
    mask(rb"^.* portable\.jvm: stopping: a signal\n", b""),
    mask(rb" portable\.host: stopping; ", b" twistd: stopping: SIGTERM; "),
    mask(rb" portable\.jvm: stopped$", b" twistd: stopped"),
)

RUNTIMES = (
    Runtime("cpython", "CPython, selectors", _twistd("select"), lambda: _reactor_missing("select")),
    Runtime("jvm", "CPython with a JVM by JPype, java.nio", _twistd("nio"), lambda: _reactor_missing("nio")),
    Runtime(
        "host",
        "a Java program with CPython by Jep, java.nio",
        _host,
        _no_host,
        daemons=False,
        log_views=_HOST_LOG,
    ),
)
