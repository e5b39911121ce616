"""Running somebody else's client."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Finished", "run_program"]


@dataclass
class Finished:
    """How a program ended."""

    status: int
    output: bytes
    errors: bytes


def run_program(argv: Sequence[str]) -> Finished:
    """Run `argv` to its end, 25 seconds at most, without any proxy that this machine may be set up to use."""
    environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    done = subprocess.run(argv, capture_output=True, timeout=25, check=False, env=environment)
    return Finished(done.returncode, done.stdout, done.stderr)
