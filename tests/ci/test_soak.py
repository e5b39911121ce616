"""`ci/soak`: what it calls flat, and short runs of it."""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import sys

import pytest

from ci.soaking.samples import COLUMNS, Sample, growing
from tests.commands.processes import ROOT

FLAT = Sample(0.0, 100_000_000, 4_000_000, 2_000_000, 40, 18)


def test_what_stays_or_swings_is_flat() -> None:
    assert growing([FLAT] * 9) == []
    swinging = [dataclasses.replace(FLAT, descriptors=40 + 20 * (number % 2)) for number in range(30)]
    assert growing(swinging) == []


def test_what_grows_while_it_warms_up_is_flat() -> None:
    assert growing([dataclasses.replace(FLAT, resident=1_000)] * 3 + [FLAT] * 6) == []


@pytest.mark.parametrize("name", COLUMNS)
def test_what_grows_on_and_on_is_found_and_named(name: str) -> None:
    value = getattr(FLAT, name)
    samples = [dataclasses.replace(FLAT, **{name: round(value * (1 + number / 2))}) for number in range(9)]
    (line,) = growing(samples)
    assert line.startswith(f"{name} has grown from ")


def test_a_run_that_is_too_short_says_so() -> None:
    assert growing([FLAT]) == ["too few samples to tell"]


@pytest.mark.slow
@pytest.mark.parametrize("runtime", ["cpython", "jvm", "host"])
def test_a_short_run(runtime: str) -> None:
    words = [str(ROOT / "ci" / "soak"), runtime, "--minutes", "0.05", "--clients", "4"]
    # Without coverage in the servers: what its tracer takes is not what is measured.
    environ = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    environ["PORTABLE_VENV"] = sys.prefix
    done = subprocess.run(words, env=environ, capture_output=True, text=True, timeout=50, check=False)
    # Three seconds are all warming up: it may have grown, but every client was served.
    assert done.returncode in {0, 1}, done.stderr
    lines = done.stdout.splitlines()
    assert lines[1].split() == ["seconds", *COLUMNS]
    counts = [int(text.replace(",", "")) for text in lines[2].split()]
    _, resident, heap, direct, descriptors, threads = counts
    assert min(resident, descriptors, threads) > 0
    assert [heap > 0, direct > 0] == [runtime != "cpython"] * 2
    said = [line.removeprefix(f"  {runtime}: ") for line in lines if line.startswith(f"  {runtime}: ")]
    assert said, done.stdout + done.stderr
    assert all(re.fullmatch("flat|.* has grown .*|too few samples to tell", each) for each in said), said
