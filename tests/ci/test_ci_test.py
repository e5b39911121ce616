"""`ci/test` on a machine that lacks the programs which tests talk to."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import typing

import pytest

from tests.commands.processes import ROOT

if typing.TYPE_CHECKING:
    import pathlib

# What the script itself needs.
TOOLS = ("bash", "cat", "chmod", "cp", "dirname", "env", "ls", "mktemp", "rm", "tail")

APT = """#!/bin/sh
echo "apt-get $*" >>{log}
case "$*" in *install*) cp /usr/sbin/policy-rc.d {log}.policy; exit {status};; esac
"""


class Machine:
    """A machine with next to nothing on its PATH, on which nobody but the script is real."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.log = folder / "apt"
        self._bin = folder / "bin"
        self._bin.mkdir()
        for name in TOOLS:
            found = shutil.which(name)
            assert found is not None
            (self._bin / name).symlink_to(found)
        # Ends the script when it has come to the environment.
        self._venv = folder / "venv"
        (self._venv / "bin").mkdir(parents=True)
        self._program(self._venv / "bin" / "python", "#!/bin/sh\nexit 7\n")

    def program(self, name: str, text: str) -> None:
        self._program(self._bin / name, text)

    @staticmethod
    def _program(path: pathlib.Path, text: str) -> None:
        path.write_text(text)
        path.chmod(0o755)

    def run(self) -> str:
        """Run it, in a mount namespace where /usr/sbin is empty; return what it prints."""
        unshare = ["unshare", "--mount", *(["--map-root-user"] if os.geteuid() else [])]
        script = f"mount -t tmpfs none /usr/sbin && PATH='{self._bin}' ci/test; ls /usr/sbin"
        done = subprocess.run(
            [*unshare, "sh", "-c", script],
            cwd=ROOT,
            env={**os.environ, "PYTHON": sys.executable, "PORTABLE_VENV": str(self._venv)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=30,
            check=False,
        )
        return done.stdout


@pytest.fixture
def machine(tmp_path: pathlib.Path) -> Machine:
    return Machine(tmp_path)


def test_root_has_them_installed_and_no_service_started(machine: Machine) -> None:
    machine.program("id", "#!/bin/sh\necho 0\n")
    machine.program("apt-get", APT.format(log=machine.log, status=0))
    machine.program("apt-cache", "#!/bin/sh\n")
    output = machine.run()
    update, install = machine.log.read_text().splitlines()
    assert update == "apt-get -qq update"
    assert {"curl", "nginx-light", "haproxy", "openjdk-17-jdk-headless"} < set(install.split())
    assert "--no-install-recommends" in install
    # Debian's way to say that services are not to be started; it is gone afterwards, as /usr/sbin was empty.
    assert machine.log.with_name("apt.policy").read_text() == "#!/bin/sh\nexit 101\n"
    assert output.splitlines()[-1].startswith("ci/test: FAILED: environment")


def test_a_release_without_that_java_gets_its_own(machine: Machine) -> None:
    machine.program("id", "#!/bin/sh\necho 0\n")
    machine.program("apt-get", APT.format(log=machine.log, status=0))
    machine.program("apt-cache", "#!/bin/sh\nexit 100\n")
    machine.run()
    words = machine.log.read_text().split()
    assert "default-jdk-headless" in words
    assert "openjdk-17-jdk-headless" not in words


def test_what_apt_cannot_install_is_a_failure(machine: Machine) -> None:
    machine.program("id", "#!/bin/sh\necho 0\n")
    machine.program("apt-get", APT.format(log=machine.log, status=100).replace("exit", "echo E: no; exit"))
    machine.program("apt-cache", "#!/bin/sh\n")
    lines = machine.run().splitlines()
    assert lines[-2] == "E: no"
    assert lines[-1].startswith("ci/test: FAILED: programs")


def test_who_is_not_root_is_told_what_to_install(machine: Machine) -> None:
    machine.program("id", "#!/bin/sh\necho 1000\n")
    output = machine.run()
    assert "not installed, and only root can: curl wget apache2-utils " in output
    assert "as root: apt-get install curl wget " in output
    assert not machine.log.exists()
    assert "FAILED: environment" in output
