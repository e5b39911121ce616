"""Ten thousand browsers that have nothing to ask at the moment."""

from __future__ import annotations

import os
import pathlib
import re
import resource
import sys
import time
import typing

import pytest

from tests.acceptance.shell import wait_until

if typing.TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

    from tests.acceptance.shell import Shell

COUNT = 10_000
# Seconds. Well within the 60 after which the server closes an idle connection.
WATCHED = 5.0
# Of that time, for processor time: a thousand turns of the loop in a second, with nothing to do, take 0.04.
FLAT = 0.02
# Seconds. A machine that is busy with other tests is slow, too.
PROMPT = 1.0

CLIENT = pathlib.Path(__file__).with_name("idle_client.py")


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    """Lets this process, and those that it starts, open as many files as they may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = COUNT + 500
    if hard != resource.RLIM_INFINITY and hard < needed:
        pytest.fail(f"{COUNT} connections need {needed} descriptors, but only {hard} are allowed: ulimit -Hn")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def processor_seconds(pid: int) -> float:
    """Return the processor time that the process has used so far: utime and stime of proc(5)."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def said(client: subprocess.Popen[bytes]) -> str:
    """Return what the client says next."""
    assert client.stdout is not None
    line = client.stdout.readline().decode().strip()
    if not line:
        assert client.stderr is not None
        pytest.fail(f"the client ended: {client.stderr.read().decode()}")
    return line


def open_connections(shell: Shell) -> int:
    """Return what the server says about itself."""
    page = shell.curl(f"http://127.0.0.1:{shell.port('metrics')}/metrics")
    found = re.search(
        r'^portable_connections_open\{[^}]*listener="web"[^}]*\} ([0-9.e+]+)$', page, re.MULTILINE
    )
    assert found is not None, page
    return int(float(found[1]))


@pytest.mark.slow
@pytest.mark.usefixtures("many_descriptors")
@pytest.mark.parametrize("reactor_name", ["select", "nio"])
def test_ten_thousand_idle_connections_cost_nothing(shell: Shell, reactor_name: str) -> None:
    shell.reactor = reactor_name
    shell.static(index_html=b"<h1>hello</h1>")
    port = shell.serve(twistd=("--metrics", "tcp:0"))
    pid = shell.pid()
    client = shell.start(sys.executable, str(CLIENT), str(port), str(COUNT), stdin=-1)
    assert client.stdin is not None
    assert said(client) == "open"
    assert open_connections(shell) == COUNT

    before = processor_seconds(pid)
    assert before > FLAT * WATCHED, "this system does not tell processor time"
    time.sleep(WATCHED)
    used = processor_seconds(pid) - before
    assert used < FLAT * WATCHED, f"{used:.2f} seconds of processor time in {WATCHED:g} seconds of nothing"

    # On connections that have waited, and on a new one.
    client.stdin.write(b"again\n")
    client.stdin.flush()
    assert float(said(client)) < PROMPT
    started = time.perf_counter()
    assert shell.curl(f"http://127.0.0.1:{port}/") == "<h1>hello</h1>"
    assert time.perf_counter() - started < PROMPT

    client.stdin.close()
    assert said(client) == "closed"
    wait_until(lambda: open_connections(shell) <= 1, "the end of the connections")
    assert client.wait(20) == 0
    shell.stop()


@pytest.mark.slow
@pytest.mark.usefixtures("many_descriptors")
def test_a_stop_does_not_wait_for_idle_connections(shell: Shell) -> None:
    shell.static(index_html=b"<h1>hello</h1>")
    port = shell.serve()
    client = shell.start(sys.executable, str(CLIENT), str(port), "500", stdin=-1)
    assert said(client) == "open"
    started = time.perf_counter()
    shell.stop()
    # Far from the 10 seconds that work in flight would get.
    assert time.perf_counter() - started < 3
