"""Run the benchmarks and print a table: `ci/bench [SCENARIO ...]`.

Each scenario is run in rounds; in a round every peer has its turn, so that what else the machine does hits all
of them. The figure is the median over the rounds of the server's CPU time (of all its threads, from /proc) per
unit of work; for memory the growth of the server's proportional set size per connection. Ratios are to the
first peer named for the scenario: below 1 is better than that peer.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import pathlib
import statistics
import subprocess
import sys
import time
import typing

from ci.benchmarks import load

_LINES = b"".join(b"line number %02d of a pipelined batch\r\n" % number for number in range(16))
_IDLE = 3000
# Seconds of CPU time before the measurement. A JVM compiles in threads of its own; that is paid once.
_WARM_UP = {"portable-nio": 5.0}


@dataclasses.dataclass(frozen=True)
class Scenario:
    """What is measured: `peers[0]` is what the ratios are to; `goal` bounds Portable's, `nio_goal` that on the
    JVM.
    """

    title: str
    unit: str
    server: str
    peers: tuple[str, ...]
    goal: float
    work: typing.Callable[[int, float], int] | None  # None: memory
    nio_goal: float = 0.0


SCENARIOS = {
    "echo": Scenario(
        "64-byte echo on 100 connections",
        "us CPU per message",
        "echo",
        ("asyncio", "uvloop", "twisted", "portable", "portable-port", "portable-nio"),
        0.95,
        lambda port, seconds: load.ping_pong(port, seconds, b"x" * 64),
        nio_goal=0.95,
    ),
    "lines": Scenario(
        "16 pipelined lines, each answered",
        "us CPU per line",
        "lines",
        ("asyncio", "uvloop", "twisted", "portable", "portable-nio"),
        0.35,
        lambda port, seconds: 16 * load.ping_pong(port, seconds, _LINES),
        nio_goal=0.40,
    ),
    "bulk": Scenario(
        "64 KB echo on 4 connections",
        "us CPU per 64 KB",
        "echo",
        ("asyncio", "uvloop", "portable", "portable-nio"),
        0.0,  # no goal
        lambda port, seconds: load.ping_pong(port, seconds, bytes(65536), connections=4),
        nio_goal=1.80,
    ),
    "connect": Scenario(
        "connect, echo 64 bytes, close",
        "us CPU per connection",
        "echo",
        ("asyncio", "uvloop", "twisted", "portable", "portable-port"),
        0.60,
        load.connect_echo_close,
    ),
    "memory": Scenario(
        f"memory of {_IDLE} idle connections",
        "bytes per connection",
        "echo",
        ("asyncio", "uvloop", "twisted", "portable", "portable-port"),
        0.60,
        None,
    ),
    "http": Scenario(
        "HTTP hello, keep-alive",
        "us CPU per request",
        "http",
        ("twisted", "portable"),
        0.50,
        load.http_requests,
    ),
    "ftp-small": Scenario(
        "FTP: EPSV and RETR of 1,000 bytes",
        "us CPU per file",
        "ftp",
        ("pyftpdlib", "portable"),
        1.00,
        load.ftp_small,
    ),
    "ftp-large": Scenario(
        "FTP: RETR of 256 MB",
        "us CPU per MB",
        "ftp",
        ("pyftpdlib", "portable"),
        1.00,
        load.ftp_large,
    ),
}


@contextlib.contextmanager
def server(peer: str, scenario: str) -> typing.Iterator[tuple[int, int]]:
    """Run a server; give its process id and port."""
    command = [sys.executable, "-m", "ci.benchmarks.servers", peer, scenario]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            if not line:
                raise SystemExit(f"ci/bench: the {peer} server for {scenario!r} did not start")
            yield process.pid, int(line)
        finally:
            process.kill()


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that all threads of a process have had, in seconds."""
    tasks = pathlib.Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(path.read_text().split()[0]) for path in tasks) / 1e9


def memory(pid: int) -> int:
    """Return the proportional set size of a process in bytes."""
    for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise SystemExit("ci/bench: /proc tells no Pss")


def measure(peer: str, scenario: Scenario, seconds: float) -> float:
    """Return one figure: microseconds of CPU per unit, or bytes per connection."""
    with server(peer, scenario.server) as (pid, port):
        if scenario.work is None:
            first = load.idle_connections(port, 200)  # pays for what is only made once
            before = memory(pid)
            socks = load.idle_connections(port, _IDLE)
            figure = (memory(pid) - before) / _IDLE
            for sock in first + socks:
                sock.close()
            return figure
        scenario.work(port, seconds / 2)
        while cpu_seconds(pid) < _WARM_UP.get(peer, 0.0):
            scenario.work(port, seconds / 2)
        before_cpu = cpu_seconds(pid)
        units = scenario.work(port, seconds)
        time.sleep(0.05)
        return (cpu_seconds(pid) - before_cpu) / units * 1e6


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="ci/bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("scenario", nargs="*", choices=[*SCENARIOS, []], help="default: all of them")
    parser.add_argument("--rounds", type=int, default=5, help="how often each peer has its turn (5)")
    parser.add_argument("--seconds", type=float, default=2.0, help="length of a turn (2.0)")
    parser.add_argument("--json", metavar="FILE", help="write all figures there, too")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a goal is missed")
    options = parser.parse_args()
    results: dict[str, dict[str, list[float]]] = {}
    missed = []
    for name in options.scenario or SCENARIOS:
        scenario = SCENARIOS[name]
        figures: dict[str, list[float]] = {peer: [] for peer in scenario.peers}
        for number in range(options.rounds):
            for peer in scenario.peers:
                print(f"\r{name}: round {number + 1} of {options.rounds}, {peer:14}", end="", file=sys.stderr)
                figures[peer].append(measure(peer, scenario, options.seconds))
        print("\r" + " " * 60 + "\r", end="", file=sys.stderr)
        results[name] = figures
        base = scenario.peers[0]
        print(f"{scenario.title} ({scenario.unit})")
        for peer, values in figures.items():
            # Pairs of one round: what slowed the machine then slowed both.
            ratio = statistics.median(value / other for value, other in zip(values, figures[base], strict=True))
            goal = ""
            bound = {"portable": scenario.goal, "portable-nio": scenario.nio_goal}.get(peer)
            if bound:
                goal = f"   goal {bound:.2f}: {'met' if ratio <= bound else 'MISSED'}"
                if ratio > bound:
                    missed.append(name)
            print(f"  {peer:14} {statistics.median(values):10.2f}   {ratio:5.2f} of {base}{goal}")
        print(flush=True)
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(results, indent=2) + "\n")
    return 1 if options.check and missed else 0


if __name__ == "__main__":
    sys.exit(main())
