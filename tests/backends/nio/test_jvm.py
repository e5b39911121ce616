"""The JVM that a reactor runs on: somebody else's, or a broken one. Each test has a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import typing
import zipfile

import pytest

from tests.backends_under_test import BACKENDS
from tests.commands.processes import ROOT

if typing.TYPE_CHECKING:
    import pathlib

ECHO = """
from backends.nio import NioReactor
from portable.testing import wait_for
from protocols.echo import Echo

reactor = NioReactor()
listener = reactor.listen(Echo, "127.0.0.1")
wait_for(reactor, reactor.connect(Echo, "127.0.0.1", listener.address.port))
reactor.close()
print("connected")
"""

# As a program does that uses Java itself, and does not know of us.
OTHERS = """
import jpype
from jvm.launch import find_jvm
jpype.startJVM("-Xrs", jvmpath=str(find_jvm().library), interrupt=False)
"""

# With room for one descriptor after the other, until it starts.
WITHOUT_DESCRIPTORS = """
import os, resource
from backends.nio import NioReactor
from portable.errors import ConfigurationError

NioReactor().close()
resource.setrlimit(resource.RLIMIT_NOFILE, (200, 200))
before = len(os.listdir("/proc/self/fd"))
room, started = 0, False
while not started:
    taken = []
    try:
        while True:
            taken.append(os.dup(1))
    except OSError:
        for fd in taken[:room]:
            os.close(fd)
    try:
        NioReactor().close()
        started = True
    except ConfigurationError:
        pass
    for fd in taken[room:]:
        os.close(fd)
    left = len(os.listdir("/proc/self/fd")) - before
    assert not left, (room, left)
    room += 1
print("started", room > 3)
"""


@pytest.fixture(autouse=True)
def needs_a_jvm() -> None:
    (nio,) = (backend for backend in BACKENDS if backend.name == "nio")
    nio.require()


def run(program: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=40,
        check=False,
    )


def test_a_running_jvm_is_joined() -> None:
    done = run(OTHERS + ECHO)
    assert (done.stdout, done.returncode) == ("connected\n", 0), done.stderr
    # It is asked for no other one, so none need be found.
    done = run(OTHERS + "import os\nos.environ['PORTABLE_JVM'] = '/nowhere'\n" + ECHO)
    assert (done.stdout, done.returncode) == ("connected\n", 0), done.stderr


def test_a_second_reactor_shares_the_jvm_of_the_first() -> None:
    done = run(ECHO + ECHO)
    assert (done.stdout, done.returncode) == ("connected\nconnected\n", 0), done.stderr


def test_a_jvm_that_does_not_start_is_told() -> None:
    done = run(ECHO, PORTABLE_JVM_OPTIONS="-XX:NoSuchOption=1")
    assert done.returncode == 1
    assert "ConfigurationError: the JVM does not start: " in done.stderr.splitlines()[-1]


def test_a_jar_that_is_none_of_ours_is_told(tmp_path: pathlib.Path) -> None:
    jar = tmp_path / "other.jar"
    with zipfile.ZipFile(jar, "w") as archive:
        archive.writestr("empty", "")
    use = f"import pathlib\nfrom jvm import launch\nlaunch.JAR = pathlib.Path({str(jar)!r})\n"
    done = run(use + ECHO)
    assert done.returncode == 1
    assert "python -m jvm.build --force" in done.stderr.splitlines()[-1]


def test_too_few_descriptors_are_told_and_none_is_lost() -> None:
    done = run(WITHOUT_DESCRIPTORS)
    assert (done.stdout, done.returncode) == ("started True\n", 0), done.stderr
