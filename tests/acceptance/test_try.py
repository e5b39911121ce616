"""`ci/try`, which shows the project to somebody who has nothing but Python."""

from __future__ import annotations

import os
import pathlib
import re
import signal
import subprocess
import sys
import typing

import pytest

from tests.acceptance.shell import free_ports, wait_until
from tests.acceptance.test_browser import browse
from tests.commands.processes import ROOT

if typing.TYPE_CHECKING:
    from tests.acceptance.shell import Shell

pytestmark = pytest.mark.slow

TRY = str(ROOT / "ci" / "try")


@pytest.fixture
def bare(shell: Shell) -> Shell:
    """A shell with a virtual environment of nothing but Python: without pip, ci/try runs from the checkout."""
    environment = shell.path / "environment"
    made = [sys.executable, "-m", "venv", "--without-pip", str(environment)]
    subprocess.run(made, check=True, capture_output=True, timeout=40)
    temporary = shell.path / "temporary"
    temporary.mkdir()
    shell.environ.update(PORTABLE_VENV=str(environment), PORT=str(free_ports(0)), TMPDIR=str(temporary))
    return shell


def begin(shell: Shell, *words: str) -> tuple[subprocess.Popen[bytes], str]:
    """Run ci/try and return its process and the address that it prints."""
    with open(shell.path / "out", "wb") as out:
        process = shell.start("bash", TRY, *words, stdout=out, stderr=out)
    printed = re.compile(r"^ +(http://127\.0\.0\.1:\d+/)$", re.MULTILINE)
    wait_until(lambda: printed.search(shell.read("out")) or process.poll() is not None, "an address", 50)
    found = printed.search(shell.read("out"))
    assert found is not None, shell.read("out")
    return process, found[1]


def test_ctrl_c_ends_a_folder_on_show(bare: Shell) -> None:
    bare.static(index_html=b"<h1>mine</h1>", page_epy=b"print('ran')")
    process, address = begin(bare, "static")
    assert bare.curl(address) == "<h1>mine</h1>"
    # Who wants to look at a folder has not asked for its programs to be run.
    assert bare.curl(f"{address}page.epy") == "print('ran')"
    # The terminal tells every process in the group.
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(20) == 0
    assert bare.curl(address, status=7) == ""
    assert os.listdir(bare.path / "temporary") == []
    assert "Traceback" not in bare.read("out")


def test_from_nothing_to_a_page_in_the_browser(bare: Shell) -> None:
    # A new environment, with pip; without a package index this is the machine that has only Python.
    new = bare.path / "new"
    bare.environ.update(PORTABLE_VENV=str(new), PYTHON=sys.executable, PIP_NO_INDEX="1")
    process, address = begin(bare)
    assert (new / "bin" / "pip").exists()
    assert f"making a virtual environment in {new}" in bare.read("out")
    # Chromium keeps a socket where TMPDIR says, and the path of a socket is short: 107 bytes.
    del bare.environ["TMPDIR"]
    assert "<h1>It works</h1>" in browse(bare, address, "--dump-dom")
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    assert bare.curl(address, status=7) == ""
    assert os.listdir(bare.path / "temporary") == []


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["nowhere"], 1, "ci/try: there is no folder nowhere"),
        (["file"], 1, "ci/try: file is not a folder"),
        (["--fast"], 2, "ci/try: unknown option --fast"),
        (["static", "more"], 2, "ci/try: one folder at most"),
    ],
)
def test_what_cannot_be_shown_is_said_in_a_line(
    bare: Shell, words: list[str], status: int, message: str
) -> None:
    (bare.path / "file").touch()
    bare.static()
    process = bare.start("bash", TRY, *words)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == status
    assert errors.decode().startswith(message)
    assert errors.count(b"\n") == 1


def test_a_port_that_is_taken_is_said(bare: Shell) -> None:
    bare.static()
    _, address = begin(bare, "static")
    bare.environ["PORT"] = address.rpartition(":")[2].rstrip("/")
    second = bare.start("bash", TRY, "static")
    _, errors = second.communicate(timeout=20)
    assert second.returncode == 1
    assert b"cannot be used" in errors
    assert pathlib.Path(bare.environ["PORTABLE_VENV"]).is_dir()
