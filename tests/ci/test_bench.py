"""`ci/bench`: that it measures every peer. What it measures is no test's business."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import typing

import pytest

from tests.commands.processes import ROOT

if typing.TYPE_CHECKING:
    import pathlib

BENCH = [str(ROOT / "ci" / "bench"), "--rounds", "2", "--seconds", "0.1"]
ENVIRON = os.environ | {"PORTABLE_VENV": sys.prefix}


@pytest.mark.parametrize("scenario", ["connect", "http", "ftp-small"])
def test_there_is_a_figure_for_every_peer_in_every_round(tmp_path: pathlib.Path, scenario: str) -> None:
    file = tmp_path / "figures"
    command = [*BENCH, scenario, "--json", str(file)]
    run = subprocess.run(command, check=False, env=ENVIRON, capture_output=True, text=True, timeout=50)
    assert run.returncode == 0, run.stderr
    figures = json.loads(file.read_text())[scenario]
    assert "portable" in figures
    assert len(figures) > 1
    for values in figures.values():
        assert len(values) == 2
        assert all(value > 0 for value in values)
    # The table has a title, and a line for each of them.
    assert len(run.stdout.strip().splitlines()) == 1 + len(figures)


def test_without_a_compiler_it_says_what_is_missing(tmp_path: pathlib.Path) -> None:
    environ = ENVIRON | {"PATH": str(tmp_path)}
    command = [sys.executable, "-m", "ci.benchmarks", "connect"]
    run = subprocess.run(
        command, check=False, env=environ, cwd=ROOT, capture_output=True, text=True, timeout=50
    )
    assert run.returncode == 1
    assert "install gcc" in run.stderr
    assert "Traceback" not in run.stderr
