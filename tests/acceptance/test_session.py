"""The walk-through of the documentation, and a stop in the middle of work."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import typing

import pytest

from tests.acceptance.shell import is_running, wait_until

if typing.TYPE_CHECKING:
    from collections.abc import Callable

    from tests.acceptance.shell import Shell

# As it stands in the documentation, port and all.
SESSION = """
mkdir static && echo '<h1>hello</h1>' > static/index.html
mktap web --path static && twistd -f web.tap && curl http://127.0.0.1:8080/
"""
STOP = "kill `cat twistd.pid`"

# In a network of its own port 8080 is free, but loopback is down: SIOCSIFFLAGS with IFF_UP | IFF_RUNNING.
LOOPBACK = """
import fcntl, os, socket, struct, sys
with socket.socket() as any_socket:
    fcntl.ioctl(any_socket, 0x8914, struct.pack("16sH14x", b"lo", 0x41))
os.execvp(sys.argv[1], sys.argv[1:])
"""

SIZE = 100_000_000  # bytes
# So that the download has about two seconds to go when the stop comes.
RATE = "45M"


def own_network(shell: Shell) -> list[str]:
    """Return the words before a command that give it a network of its own; none where that is not allowed."""
    unshare = shell.find("unshare")
    for options in (["--net"], ["--map-root-user", "--net"]):
        words = [unshare, *options, sys.executable, "-c", LOOPBACK]
        if subprocess.run([*words, "true"], capture_output=True, check=False).returncode == 0:
            return words
    return []


def test_the_session_of_the_documentation(shell: Shell) -> None:
    shell.type_commands()
    shell.find("curl")
    words = own_network(shell)
    lines = SESSION
    if not words:
        # Somebody else may have 8080: the same, but for the port.
        lines = SESSION.replace("static &&", "static -p 0 &&").replace(
            "127.0.0.1:8080", "127.0.0.1:$(sed -n 's/.*listening: .*://p' twistd.log)"
        )
        assert lines.count("-p 0") == 1
    done = subprocess.run(
        [*words, shell.find("bash"), "-e"],
        input=lines + "cp twistd.pid kept.pid\n" + STOP,
        cwd=shell.path,
        env=shell.environ,
        capture_output=True,
        text=True,
        timeout=40,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "<h1>hello</h1>\n"), done.stderr
    pid = int(shell.read("kept.pid"))
    wait_until(lambda: not is_running(pid), "the end of the daemon")
    assert "twistd.pid" not in shell.names()
    log = shell.read("twistd.log")
    assert ("listening: web tcp [::]:8080\n" in log or "0.0.0.0:8080\n" in log) == bool(words)
    assert log.rstrip().endswith("stopped")
    assert not shell.complaints()
    assert os.stat(shell.path / "web.tap").st_mode & 0o777 == 0o600


def write_large_file(shell: Shell) -> str:
    """Write static/large, no two parts of which are equal; return its checksum."""
    digest = hashlib.sha256()
    block = os.urandom(1_000_000 - 8)
    with open(shell.path / "static" / "large", "wb") as file:
        for number in range(SIZE // 1_000_000):
            part = number.to_bytes(8) + block
            digest.update(part)
            file.write(part)
    return digest.hexdigest()


def download(process: subprocess.Popen[bytes], on_first: Callable[[], None]) -> str:
    """Read all that curl writes, calling `on_first` when it has begun; return the checksum."""
    assert process.stdout is not None
    digest = hashlib.sha256(process.stdout.read(1_000_000))
    on_first()
    while part := process.stdout.read(1_000_000):
        digest.update(part)
    return digest.hexdigest()


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["foreground", "daemon"])
def test_a_stop_lets_a_download_of_100_mb_complete(shell: Shell, mode: str) -> None:
    static = shell.static()
    checksum = write_large_file(shell)
    shell.mktap("web", "--path", "static", "-p", "0", "-i", "127.0.0.1")
    server = shell.foreground("-f", "web.tap") if mode == "foreground" else None
    pid = server.pid if server else shell.twistd("-f", "web.tap")
    url = f"http://127.0.0.1:{shell.port('web')}/large"
    client = shell.start("curl", "-sS", "--limit-rate", RATE, url)

    def stop() -> None:
        os.kill(pid, signal.SIGTERM)
        wait_until(lambda: "stopping: SIGTERM" in shell.logged(), "the log's word of the stop")
        # 7: "Failed to connect to host".
        shell.curl(url, status=7)
        # The refusal counts only if there was a server still.
        assert is_running(pid)
        assert "twistd.pid" in shell.names()
        assert client.poll() is None

    try:
        assert download(client, stop) == checksum
    finally:
        (static / "large").unlink()
    assert client.wait(20) == 0
    if server is not None:
        assert server.wait(20) == 0
    wait_until(lambda: not is_running(pid), "the end of the server")
    assert "twistd.pid" not in shell.names()
    assert not shell.complaints()
    assert shell.logged().rstrip().endswith("stopped")


@pytest.mark.slow
def test_a_download_longer_than_the_drain_time_is_cut_off(shell: Shell) -> None:
    large = shell.static() / "large.bin"
    large.touch()
    # More than the two systems' buffers hold. curl waits in its turn: nobody reads what it writes.
    os.truncate(large, 100_000_000)
    port = shell.serve(twistd=("--drain", "0.5"))
    client = shell.start("curl", "-sS", f"http://127.0.0.1:{port}/large.bin")
    assert client.stdout is not None
    client.stdout.read(100_000)
    shell.end(shell.pid())
    assert "twistd.pid" not in shell.names()
    client.stdout.read()
    # 18: "Partial file", or 56: "Failure in receiving network data".
    assert client.wait(20) in {18, 56}
