"""Run the benchmarks and print a table: `ci/bench [SCENARIO ...]`.

Each scenario is run in rounds; in a round every peer has its turn, so that what else the machine does hits all
of them. The figure is the median over the rounds of the server's CPU time (of all its threads, from /proc) per
unit of work; for memory the growth of the server's proportional set size per connection. Ratios are to the
first peer named for the scenario, round by round: below 1 is better than that peer. Behind the median are the
least and the greatest.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
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
_WARM_UP = {"portable-nio": 8.0}

_PROCESSORS = sorted(os.sched_getaffinity(0))

# Takes a port and seconds; returns the units of work done.
Work = typing.Callable[[int, float], int]
# For each peer one value a round.
Figures = dict[str, list[float]]


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
    work: Work | None  # None: memory
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
            keep_apart(process.pid)
            yield process.pid, int(line)
        finally:
            process.kill()


def keep_apart(pid: int) -> None:
    """Give the servers a processor, and the clients, our children, the others: moving about costs both."""
    first, *others = _PROCESSORS
    if others:
        for task in os.listdir(f"/proc/{pid}/task"):
            os.sched_setaffinity(int(task), {first})
        os.sched_setaffinity(0, others)


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


def warm_up(peer: str, pid: int, work: Work, port: int, seconds: float) -> None:
    """Have a server do what it does once only."""
    work(port, seconds / 2)
    while cpu_seconds(pid) < _WARM_UP.get(peer, 0.0):
        work(port, seconds / 2)


def cpu_figures(name: str, rounds: int, seconds: float) -> Figures:
    """Measure microseconds of CPU per unit. All servers run from beginning to end, and have their turns."""
    scenario = SCENARIOS[name]
    work = scenario.work
    assert work is not None
    figures: Figures = {peer: [] for peer in scenario.peers}
    with contextlib.ExitStack() as stack:
        running = {peer: stack.enter_context(server(peer, scenario.server)) for peer in scenario.peers}
        for peer, (pid, port) in running.items():
            show_progress(f"{name}: warming up {peer}")
            warm_up(peer, pid, work, port, seconds)
        for number in range(rounds):
            # Forth and back, so that nobody always comes after the same other.
            for peer in list(running)[:: 1 if number % 2 == 0 else -1]:
                show_progress(f"{name}: round {number + 1} of {rounds}, {peer}")
                pid, port = running[peer]
                before = cpu_seconds(pid)
                units = work(port, seconds)
                time.sleep(0.05)
                figures[peer].append((cpu_seconds(pid) - before) / units * 1e6)
    return figures


def memory_figures(name: str, rounds: int) -> Figures:
    """Measure bytes per connection, of a new server each time."""
    scenario = SCENARIOS[name]
    figures: Figures = {peer: [] for peer in scenario.peers}
    for number in range(rounds):
        for peer in scenario.peers:
            show_progress(f"{name}: round {number + 1} of {rounds}, {peer}")
            with server(peer, scenario.server) as (pid, port):
                first = load.idle_connections(port, 200)  # pays for what is only made once
                before = memory(pid)
                socks = load.idle_connections(port, _IDLE)
                figures[peer].append((memory(pid) - before) / _IDLE)
                for sock in first + socks:
                    sock.close()
    return figures


def show_progress(text: str) -> None:
    """Replace the line on the terminal, if there is one."""
    if sys.stderr.isatty():
        print(f"\r{text:60}\r", end="", file=sys.stderr, flush=True)


def report(scenario: Scenario, figures: Figures) -> bool:
    """Print a table; return whether the goals are met."""
    met = True
    base = scenario.peers[0]
    print(f"{scenario.title} ({scenario.unit})")
    for peer, values in figures.items():
        # Pairs of one round: what slowed the machine then slowed both.
        ratios = [value / other for value, other in zip(values, figures[base], strict=True)]
        ratio = statistics.median(ratios)
        goal = ""
        bound = {"portable": scenario.goal, "portable-nio": scenario.nio_goal}.get(peer)
        if bound:
            goal = f"   goal {bound:.2f}: {'met' if ratio <= bound else 'MISSED'}"
            met = met and ratio <= bound
        spread = f"({min(ratios):.2f} to {max(ratios):.2f})"
        print(f"  {peer:14} {statistics.median(values):10.2f}   {ratio:5.2f} of {base} {spread}{goal}")
    print(flush=True)
    return met


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="ci/bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("scenario", nargs="*", choices=[*SCENARIOS, []], help="default: all of them")
    parser.add_argument("--rounds", type=int, default=9, help="how often each peer has its turn (9)")
    parser.add_argument("--seconds", type=float, default=1.0, help="length of a turn (1.0)")
    parser.add_argument("--json", metavar="FILE", help="write all figures there, too")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a goal is missed")
    options = parser.parse_args()
    results: dict[str, Figures] = {}
    missed = False
    for name in options.scenario or SCENARIOS:
        scenario = SCENARIOS[name]
        if scenario.work is None:
            results[name] = memory_figures(name, options.rounds)
        else:
            results[name] = cpu_figures(name, options.rounds, options.seconds)
        show_progress("")
        missed = not report(scenario, results[name]) or missed
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(results, indent=2) + "\n")
    return 1 if options.check and missed else 0


if __name__ == "__main__":
    sys.exit(main())
