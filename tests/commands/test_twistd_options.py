"""What `twistd` runs, on each reactor that it knows: options, privileges, metrics."""

from __future__ import annotations

import contextlib
import http.client
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import typing

import pytest

from tests.acceptance.shell import free_ports
from tests.commands.processes import TALK, refused, wait_until

if typing.TYPE_CHECKING:
    from tests.commands.processes import Folder

pytestmark = pytest.mark.usefixtures("each_reactor")


# --- The other options ------------------------------------------------------------------------------------


def test_the_folder_to_run_in_gets_the_log_and_the_pid_file(talk: Folder) -> None:
    (talk.path / "run").mkdir()
    done = talk.run("twistd", "-y", "app.py", "-d", "run")
    assert done.returncode == 0
    pid = int(talk.read("run/twistd.pid"))
    assert os.readlink(f"/proc/{pid}/cwd") == str(talk.path / "run")
    talk.end(pid)
    assert os.listdir(talk.path / "run") == ["twistd.log"]


@pytest.mark.parametrize(("words", "umask"), [((), "0077"), (("--umask", "27"), "0027")])
def test_the_umask(talk: Folder, words: tuple[str, ...], umask: str) -> None:
    pid = talk.twistd("-y", "app.py", *words)
    status = pathlib.Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    assert f"Umask:\t{umask}" in status
    talk.end(pid)


def test_the_profile_is_written(talk: Folder) -> None:
    import pstats

    process = talk.foreground("-y", "app.py", "--profile", "out.prof")
    process.send_signal(signal.SIGTERM)
    assert process.wait() == 0
    assert pstats.Stats(str(talk.path / "out.prof")).total_calls > 0  # type: ignore[attr-defined] # typeshed lacks it


def test_systemd_is_told(talk: Folder) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(str(talk.path / "notify"))
        notify.settimeout(20)
        process = talk.foreground(
            "-y", "app.py", NOTIFY_SOCKET=str(talk.path / "notify"), WATCHDOG_USEC="20000"
        )
        assert notify.recv(1000) == f"READY=1\nMAINPID={process.pid}".encode()
        assert notify.recv(1000) == b"WATCHDOG=1"
        assert notify.recv(1000) == b"WATCHDOG=1"
        process.send_signal(signal.SIGHUP)
        while not (message := notify.recv(1000)).startswith(b"RELOADING=1\nMONOTONIC_USEC="):
            assert message == b"WATCHDOG=1"
        while (message := notify.recv(1000)) == b"WATCHDOG=1":
            pass
        assert message.startswith(b"READY=1")
        process.send_signal(signal.SIGTERM)
        while (message := notify.recv(1000)) == b"WATCHDOG=1":
            pass
        assert message == b"STOPPING=1"
        process.wait()


# --- Privileges -------------------------------------------------------------------------------------------


def test_privileges_are_dropped_after_binding(talk: Folder) -> None:
    talk.program('application = talk("tcp:523:interface=127.0.0.1")\n')
    if os.geteuid() != 0:
        assert "only root can change to uid" in refused(
            talk, "-y", "app.py", "--uid", "65534", "--gid", "65534"
        )
        return
    done = talk.run("twistd", "-y", "app.py", "--uid", "65534", "--gid", "65533")
    assert (done.returncode, done.stderr) == (0, "")
    pid = int(talk.read("twistd.pid"))
    status = pathlib.Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    assert "Uid:\t65534\t65534\t65534\t65534" in status
    assert "Gid:\t65533\t65533\t65533\t65533" in status
    groups = next(line for line in status.splitlines() if line.startswith("Groups:"))
    assert "0" not in groups.split()[1:]
    with talk.connect(523) as peer:
        assert peer.recv(100) == b"hello\n"
    owner = os.stat(talk.path / "twistd.log")
    assert (owner.st_uid, owner.st_gid) == (65534, 65533)
    talk.end(pid)
    # The folder is root's: the file cannot be removed by what we have become, so it is empty, which is stale.
    assert talk.read("twistd.pid") == ""
    assert "stopped" in talk.read("twistd.log")
    talk.program(TALK)
    talk.end(talk.twistd("-y", "app.py"))


def test_the_logs_of_servers_belong_to_the_user_too(folder: Folder, request: pytest.FixtureRequest) -> None:
    # A folder that this user may enter.
    logs = pathlib.Path(tempfile.mkdtemp())
    logs.chmod(0o755)
    request.addfinalizer(lambda: shutil.rmtree(logs))
    at = ("-p", "0", "-i", "127.0.0.1")
    folder.mktap("-o", "twistd.tap", "web", "--path", ".", *at, "--logfile", str(logs / "web.log"))
    folder.mktap("-a", "twistd.tap", "socks", *at, "--log", str(logs / "socks.log"))
    if os.geteuid() != 0:
        assert "only root can change to uid" in refused(folder, "--uid", "65534", "--gid", "65534")
        return
    pid = folder.twistd("--uid", "65534", "--gid", "65533")
    for name in ("web.log", "socks.log"):
        owner = os.stat(logs / name)
        assert (owner.st_uid, owner.st_gid) == (65534, 65533)
    os.kill(pid, signal.SIGHUP)
    wait_until(lambda: "reloaded" in folder.read("twistd.log"))
    folder.end(pid)
    assert "goes on in the file that was open" not in folder.read("twistd.log")


def test_a_tap_may_name_the_user(folder: Folder) -> None:
    words = ("portforward", "-p", "0", "-i", "127.0.0.1", "--to", "tcp:127.0.0.1:1")
    folder.mktap("-o", "twistd.tap", "--uid", "65534", "--gid", "65534", *words)
    if os.geteuid() != 0:
        assert "only root can change to uid" in refused(folder)
        return
    os.chown(folder.path, 65534, 65534)
    pid = folder.twistd()
    assert os.stat(f"/proc/{pid}").st_uid == 65534
    folder.end(pid)
    # Here the folder is the user's own.
    assert "twistd.pid" not in folder.names()


def test_chroot(talk: Folder) -> None:
    if os.geteuid() != 0:
        assert "only root can change the root folder" in refused(talk, "-y", "app.py", "--chroot", ".")
        return
    jail = talk.path / "jail"
    jail.mkdir()
    talk.program('application = talk("unix:/x.sock")\n')
    done = talk.run("twistd", "-y", "app.py", "--chroot", "jail", "-d", "jail")
    assert (done.returncode, done.stderr) == (0, "")
    pid = int((jail / "twistd.pid").read_text())
    assert os.readlink(f"/proc/{pid}/root") == str(jail)
    with socket.socket(socket.AF_UNIX) as peer:
        peer.connect(str(jail / "x.sock"))
        assert peer.recv(100) == b"hello\n"
    os.kill(pid, signal.SIGUSR1)
    wait_until((jail / "twistd.log.1").exists)
    talk.end(pid)
    assert not (jail / "twistd.pid").exists()


def put_a_shell_into(jail: pathlib.Path) -> None:
    """Copy /bin/sh and its libraries."""
    libraries = re.findall(r"/\S+", subprocess.check_output(["ldd", "/bin/sh"], text=True))
    for name in ("/bin/sh", *libraries):
        copy = jail / name.lstrip("/")
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(name, copy)


def test_a_folder_of_web_lies_in_the_new_root(folder: Folder) -> None:
    """With its programs: what runs them is not loaded from a root where Python is not."""
    www = folder.path / "jail" / "www"
    www.mkdir(parents=True)
    (www / "page").write_text("inside\n")
    program = www / "program.cgi"
    program.write_text("#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\n'; echo ran\n")
    program.chmod(0o755)
    put_a_shell_into(folder.path / "jail")
    folder.mktap("web", "--path", "jail/www", "-p", "0", "-i", "127.0.0.1")
    tap = folder.path / "web.tap"
    tap.write_text(tap.read_text().replace(str(folder.path / "jail"), ""))
    if os.geteuid() != 0:
        assert "only root can change the root folder" in refused(folder, "-f", "web.tap", "--chroot", "jail")
        return
    process = folder.foreground("-f", "web.tap", "--chroot", "jail", "--pidfile", "/pid", "--metrics", "tcp:0")
    assert fetch(folder.ports()[0], "/page")[2] == "inside\n"
    assert fetch(folder.ports()[0], "/program.cgi")[2] == "ran\n", folder.logged()
    assert "portable_loop_lag_seconds" in fetch(folder.ports()[1], "/metrics")[2]
    process.send_signal(signal.SIGTERM)
    assert process.wait() == 0


# --- Metrics, and the session that must work --------------------------------------------------------------


def fetch(port: int, path: str) -> tuple[int, str, str]:
    """Return status, content type and body."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as client:
        client.request("GET", path)
        answer = client.getresponse()
        return answer.status, answer.getheader("Content-Type", ""), answer.read().decode()


def test_metrics_are_served_on_loopback(talk: Folder) -> None:
    assert "--metrics: " in refused(talk, "-y", "app.py", "--metrics", "9100", status=2)
    done = talk.run("twistd", "--check", "-y", "app.py", "--metrics", "tcp:0")
    assert "would listen: metrics tcp:0:interface=127.0.0.1\n" in done.stdout
    process = talk.foreground("-y", "app.py", "--metrics", "tcp:0")
    wait_until(lambda: len(talk.ports()) == 2)
    talk_port, metrics_port = talk.ports()
    with talk.connect() as peer:
        assert peer.recv(100) == b"hello\n"
        status, kind, body = fetch(metrics_port, "/metrics")
    assert status == 200
    assert kind.startswith("text/plain")
    label = f'address="127.0.0.1:{talk_port}",kind="tcp",listener="talk"'
    assert f"portable_connections_open{{{label}}} 1.0" in body
    assert "portable_loop_lag_seconds" in body
    assert fetch(metrics_port, "/")[0] == 404
    assert fetch(metrics_port, "/else")[0] == 404
    process.send_signal(signal.SIGTERM)
    assert process.wait() == 0


def test_the_session_of_the_readme(folder: Folder) -> None:
    # As a person types it, but for the port, which may be taken where this runs.
    port = free_ports(0)
    command = f"""
        PATH={folder.path}/bin:$PATH
        mkdir static && echo '<h1>hello</h1>' > static/index.html
        mktap web --path static -p {port} && twistd -f web.tap && curl -sS http://127.0.0.1:{port}/
        kill `cat twistd.pid`
    """
    (folder.path / "bin").mkdir()
    for name in ("mktap", "twistd"):
        script = folder.path / "bin" / name
        script.write_text(f'#!/bin/sh\nexec {" ".join(folder.argv(name))} "$@"\n')
        script.chmod(0o755)
    done = subprocess.run(
        ["sh", "-c", command],
        cwd=folder.path,
        env=folder.environ,
        capture_output=True,
        text=True,
        timeout=40,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "<h1>hello</h1>\n", "")
    wait_until(lambda: "twistd.pid" not in folder.names())
    assert f":{port}" in folder.read("twistd.log")


def test_a_download_in_flight_completes_while_the_server_stops(folder: Folder) -> None:
    size = 100_000_000
    (folder.path / "static").mkdir()
    with open(folder.path / "static" / "big", "wb") as file:
        file.truncate(size)
    folder.mktap("web", "--path", "static", "-p", "0", "-i", "127.0.0.1")
    process = folder.foreground("-f", "web.tap")
    port = folder.ports()[0]
    with folder.connect() as peer:
        peer.sendall(b"GET /big HTTP/1.1\r\nHost: x\r\n\r\n")
        got = len(peer.recv(1000))
        process.send_signal(signal.SIGTERM)
        wait_until(lambda: "stopping: SIGTERM" in folder.read("out"))
        with pytest.raises(ConnectionRefusedError):
            folder.connect(port)
        while part := peer.recv(1 << 20):
            got += len(part)
    assert got > size
    assert process.wait() == 0
    assert "twistd.pid" not in folder.names()
