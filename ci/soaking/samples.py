"""What a process has of everything that it should not have more and more of."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import statistics
import subprocess
import tempfile
import typing

if typing.TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["COLUMNS", "Probe", "Sample", "growing", "take"]

_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclasses.dataclass(frozen=True)
class Sample:
    """One look; `heap` (after a collection) and `direct` are 0 where there is no JVM. Bytes, and numbers."""

    seconds: float
    resident: int
    heap: int
    direct: int
    descriptors: int
    threads: int


# Each with what it may grow from the middle third of a run to its last and be flat: a part, and a number.
COLUMNS: dict[str, tuple[float, int]] = {
    "resident": (0.05, 4_000_000),  # the C library keeps what it may need again
    "heap": (0.05, 500_000),  # it remembers the addresses of many senders of datagrams
    "direct": (0.05, 1_000_000),  # buffers of 64 KB each, for as many slow readers as there were at once
    "descriptors": (0.0, 8),  # some are open when a sample is taken, and some are not
    "threads": (0.0, 6),  # the JVM's compilers come and go
}


class Probe:
    """Looks into the JVM of a process, from one of its own."""

    def __init__(self, pid: int) -> None:
        # As a program of one source file it would not know the attach API.
        self._folder = tempfile.TemporaryDirectory(prefix="portable-soak-")
        source = pathlib.Path(__file__).with_name("Probe.java")
        subprocess.run(["javac", "-d", self._folder.name, str(source)], check=True, timeout=60)
        words = ["java", "-Xmx32m", "-XX:TieredStopAtLevel=1", "-cp", self._folder.name, "Probe", str(pid)]
        self._process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def look(self) -> tuple[int, int]:
        """Return the bytes on the heap after a collection, and those of direct buffers."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        heap, direct = self._process.stdout.readline().split()
        return int(heap), int(direct)

    def close(self) -> None:
        """End it."""
        self._process.communicate()
        self._folder.cleanup()


def take(pid: int, probe: Probe | None, seconds: float) -> Sample:
    """Look at a process."""
    heap, direct = probe.look() if probe is not None else (0, 0)
    process = pathlib.Path(f"/proc/{pid}")
    return Sample(
        seconds,
        int((process / "statm").read_text(encoding="ascii").split()[1]) * _PAGE,
        heap,
        direct,
        len(os.listdir(process / "fd")),
        len(os.listdir(process / "task")),
    )


def growing(samples: Sequence[Sample]) -> list[str]:
    """Return what has grown, in words; nothing if all is flat.

    The first third of a run is for warming up. The medians of the other two are compared.
    """
    third = len(samples) // 3
    if third == 0:
        return ["too few samples to tell"]
    found = []
    for name, (part, number) in COLUMNS.items():
        values = [getattr(sample, name) for sample in samples]
        middle = statistics.median(values[third : 2 * third])
        last = statistics.median(values[2 * third :])
        if last > middle * (1 + part) + number:
            found.append(f"{name} has grown from {middle:,.0f} to {last:,.0f}")
    return found
