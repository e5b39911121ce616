"""Serve under load for minutes, on one runtime after the other, and fail if anything keeps growing: `ci/soak`.

The load is of all manners: requests, downloads, clients that give up or read slowly, echoes and datagrams. The
table shows the server's memory, the Java heap after a collection, direct buffers, descriptors and threads.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import pathlib
import random
import re
import socket
import subprocess
import sys
import tempfile
import time
import typing

from ci.acceptance.runtimes import RUNTIMES, Runtime, command, environment
from ci.soaking.clients import BIG, BODY, Clients
from ci.soaking.samples import COLUMNS, Probe, Sample, growing, take

if typing.TYPE_CHECKING:
    from collections.abc import Iterator

_SAMPLES = 30  # in a run
_PATIENCE = 20.0  # seconds
_ECHO = 7
_LISTENING = re.compile(r"listening: (\S+) (tcp|udp) \S*:(\d+)$", re.MULTILINE)
# Whoever looks into a JVM asks it by a signal, which is Python's where Python has started it; this JVM listens.
_LISTEN = "-XX:+StartAttachListener"


@contextlib.contextmanager
def serving(runtime: Runtime, folder: pathlib.Path) -> Iterator[tuple[int, dict[tuple[str, str], int]]]:
    """Run web and echo; give the process id and the ports by name and protocol."""
    site = folder / "site"
    site.mkdir()
    (site / "index.html").write_bytes(BODY)
    (site / "big.bin").write_bytes(bytes(BIG))
    local = ("--interface", "127.0.0.1", "--max-per-peer", "1000")
    make = ["web", "--path", "site", "--port", "0", *local]
    subprocess.run([*command("mktap"), "-o", "soak.tap", *make], cwd=folder, env=environment(), check=True)
    # Ports of its own, well below those that the system gives to clients.
    make = ["inetd", "--services", "echo", "--udp", "--port-base", str(_free_base()), *local]
    subprocess.run([*command("mktap"), "-a", "soak.tap", *make], cwd=folder, env=environment(), check=True)
    words = runtime.start(folder / "soak.tap", False)
    environ = {**environment(), "PORTABLE_JVM_OPTIONS": _LISTEN}
    with (
        open(folder / "output", "wb") as output,
        subprocess.Popen(
            words, cwd=folder, env=environ, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        ) as process,
    ):
        try:
            yield process.pid, _ports(process, folder)
            process.terminate()
            if process.wait(_PATIENCE) != 0:
                raise SystemExit(f"ci/soak: {runtime.name}: exit status {process.returncode}")
        finally:
            process.kill()


def _free_base() -> int:
    """Return a number that, added to the number of echo, is a port that nobody has."""
    while True:
        base = random.randrange(12_000, 32_000)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", base + _ECHO)):
            return base


def _ports(process: subprocess.Popen[bytes], folder: pathlib.Path) -> dict[tuple[str, str], int]:
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        log = folder / "twistd.log"
        found = _LISTENING.findall(log.read_text(encoding="utf-8") if log.exists() else "")
        if len(found) == 3:
            return {(name, protocol): int(number) for name, protocol, number in found}
        time.sleep(0.05)
    raise SystemExit(f"ci/soak: it does not start: {(folder / 'output').read_text(encoding='utf-8')}")


def soak(runtime: Runtime, seconds: float, clients: int) -> tuple[list[Sample], list[str]]:
    """Return the samples of one run, and what is wrong."""
    with tempfile.TemporaryDirectory(prefix="portable-soak-") as name, contextlib.ExitStack() as stack:
        pid, ports = stack.enter_context(serving(runtime, pathlib.Path(name)))
        probe = Probe(pid) if runtime.name != "cpython" else None
        if probe is not None:
            stack.callback(probe.close)
        load = Clients(clients, ports["web", "tcp"], ports["echo", "tcp"], ports["echo", "udp"])
        samples: list[Sample] = []
        begun = time.monotonic()
        try:
            while (now := time.monotonic() - begun) < seconds:
                samples.append(take(pid, probe, now))
                show(samples[-1])
                time.sleep(seconds / _SAMPLES)
        finally:
            load.stop()
        print("  done: " + ", ".join(f"{count} x {thing}" for thing, count in sorted(load.done.items())))
        return samples, growing(samples) + load.failures


def show(sample: Sample) -> None:
    numbers = (f"{getattr(sample, name):>14,}" for name in COLUMNS)
    print(f"  {sample.seconds:7.0f} {' '.join(numbers)}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="ci/soak", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [runtime.name for runtime in RUNTIMES]
    parser.add_argument("runtime", nargs="*", choices=[*names, []], help="default: all of them")
    parser.add_argument("--minutes", type=float, default=10.0, help="on each (10)")
    parser.add_argument("--clients", type=int, default=16, help="at the same time (16)")
    parser.add_argument("--json", metavar="FILE", help="write all samples there, too")
    options = parser.parse_args()
    wrong: dict[str, list[str]] = {}
    results = {}
    for runtime in RUNTIMES:
        if options.runtime and runtime.name not in options.runtime:
            continue
        print(f"{runtime.title}\n  seconds {' '.join(f'{name:>14}' for name in COLUMNS)}")
        missing = runtime.missing()
        if missing:
            wrong[runtime.name] = [missing]
        else:
            samples, wrong[runtime.name] = soak(runtime, options.minutes * 60, options.clients)
            results[runtime.name] = [dataclasses.asdict(sample) for sample in samples]
        for line in wrong[runtime.name] or ["flat"]:
            print(f"  {runtime.name}: {line}", flush=True)
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    return 1 if any(wrong.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
