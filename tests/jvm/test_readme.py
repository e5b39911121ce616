"""What the README says about Java programs, done word by word."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import typing

from tests.jvm.hosts import ROOT, environment, write_tap

if typing.TYPE_CHECKING:
    import pathlib


def test_the_java_program_of_the_readme(tmp_path: pathlib.Path, site: pathlib.Path) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = re.search(r"^## Inside a Java program\n(.*?)^## ", text, re.MULTILINE | re.DOTALL)
    assert section is not None
    shell, java, session = re.findall(r"^```(?:java)?\n(.*?)^```", section[1], re.MULTILINE | re.DOTALL)
    (tmp_path / "Host.java").write_text(java)
    write_tap(tmp_path / "web.tap", site)
    typed = re.findall(r"^\$ (.*)\n", shell + session, re.MULTILINE)
    # This environment has been installed, and Main runs until it is stopped.
    script = [line for line in typed if not line.startswith(("pip ", "java portable.jvm.Main"))]
    assert [line.split()[0] for line in script] == ["export", "export", "javac"]
    environ = environment()
    del environ["PORTABLE_PYTHON"]
    environ.update(VIRTUAL_ENV=sys.prefix, PATH=f"{sys.prefix}/bin{os.pathsep}{environ['PATH']}")
    done = subprocess.run(
        ["sh", "-ec", "\n".join(script)],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    address, thread, status = done.stdout.splitlines()
    # As shown, but for the port and the times.
    shown = session.splitlines()[1:]
    assert re.sub(r"\d+\]$", "8080]", address.replace("127.0.0.1", "[::]")) == shown[0]
    assert thread == shown[1]
    assert re.sub("loopLag=.*", "...]", status) == shown[2]


def test_what_is_missing_for_a_class_path_is_said(tmp_path: pathlib.Path) -> None:
    bare = [sys.executable, "-S", "-m", "jvm.classpath"]
    done = subprocess.run(bare, cwd=ROOT, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("jvm.classpath: the Python package jep is not installed: ")
