from __future__ import annotations

import contextlib
import http.client
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import typing

import pytest

from portable.commands import twistd
from tests.commands.processes import read_all, wait_until

if typing.TYPE_CHECKING:
    from tests.commands.processes import Folder

TALK = 'application = talk("tcp:0:interface=127.0.0.1")\n'


@pytest.fixture
def talk(folder: Folder) -> Folder:
    """A folder with app.py, whose server says hello and echoes."""
    folder.program(TALK)
    return folder


# --- Start and stop ---------------------------------------------------------------------------------------


def test_a_daemon_is_ready_when_its_parent_returns(talk: Folder) -> None:
    pid = talk.twistd("-y", "app.py")
    assert talk.read("twistd.pid") == f"{pid}\n"
    # At once, without waiting for anything.
    with talk.connect() as peer:
        assert peer.recv(100) == b"hello\n"
    assert os.getsid(pid) != os.getsid(0)
    assert os.getsid(pid) != pid
    assert {os.readlink(f"/proc/{pid}/fd/{fd}") for fd in range(3)} == {"/dev/null"}
    talk.end(pid)
    assert "twistd.pid" not in talk.names()
    assert "listening: talk tcp 127.0.0.1:" in talk.read("twistd.log")
    assert talk.read("twistd.log").rstrip().endswith("stopped")


def test_the_default_file_is_twistd_tap(folder: Folder) -> None:
    folder.mktap("-o", "twistd.tap", "portforward", "-p", "0", "-i", "127.0.0.1", "--to", "tcp:127.0.0.1:1")
    folder.end(folder.twistd())


def test_a_tap_with_two_servers_runs_both(talk: Folder) -> None:
    process = talk.foreground("-y", "app.py")
    target = talk.ports()[0]
    process.send_signal(signal.SIGTERM)
    process.wait()
    (talk.path / "out").unlink()
    talk.mktap("-o", "two.tap", "portforward", "-p", "0", "-i", "127.0.0.1", "--to", f"tcp:127.0.0.1:{target}")
    talk.mktap("-a", "two.tap", "portforward", "--listen", "unix:x.sock", "--to", f"tcp:127.0.0.1:{target}")
    pid = talk.twistd("-f", "two.tap")
    assert f"listening: portforward unix {talk.path}/x.sock" in talk.read("twistd.log")
    assert len(talk.ports()) == 1
    talk.end(pid)
    assert "x.sock" not in talk.names()


def test_in_the_foreground_the_log_is_standard_output(talk: Folder) -> None:
    process = talk.foreground("-y", "app.py")
    assert talk.read("twistd.pid") == f"{process.pid}\n"
    process.send_signal(signal.SIGINT)
    assert process.wait() == 0
    assert "stopping: SIGINT" in talk.read("out")
    assert talk.read("err") == ""
    assert "twistd.log" not in talk.names()
    assert "twistd.pid" not in talk.names()


def test_in_the_foreground_a_log_file_may_be_named(talk: Folder) -> None:
    process = talk.foreground("-y", "app.py", "-l", "twistd.log", "--pidfile", "x.pid")
    assert talk.read("x.pid") == f"{process.pid}\n"
    process.send_signal(signal.SIGTERM)
    assert process.wait() == 0
    assert talk.read("out") == ""


def test_json_lines(talk: Folder) -> None:
    process = talk.foreground("-y", "app.py", "--log-format", "json")
    process.send_signal(signal.SIGTERM)
    process.wait()
    records = [json.loads(line) for line in talk.read("out").splitlines()]
    assert any(record["message"].startswith("listening: talk tcp 127.0.0.1:") for record in records)
    assert {"time", "level", "logger", "message"} == set(records[0])


def test_drain_lets_the_work_in_flight_finish(talk: Folder) -> None:
    process = talk.foreground("-y", "app.py")
    port = talk.ports()[0]
    with talk.connect() as peer:
        assert peer.recv(100) == b"hello\n"
        process.send_signal(signal.SIGTERM)
        # The server asks us to finish, takes nobody else, and waits.
        assert peer.recv(100) == b"finish\n"
        with pytest.raises(ConnectionRefusedError):
            talk.connect(port)
        assert process.poll() is None
        peer.sendall(b"the end\n")
        assert read_all(peer) == b"the end\n"
    assert process.wait() == 0
    assert "twistd.pid" not in talk.names()


def test_a_second_signal_stops_at_once(talk: Folder) -> None:
    process = talk.foreground("-y", "app.py", "--drain", "1h")
    with talk.connect() as peer:
        assert peer.recv(100) == b"hello\n"
        process.send_signal(signal.SIGTERM)
        assert peer.recv(100) == b"finish\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    assert "stopping at once: SIGTERM again" in talk.read("out")
    assert "twistd.pid" not in talk.names()


def test_after_the_drain_time_the_rest_is_cut_off(talk: Folder) -> None:
    process = talk.foreground("-y", "app.py", "--drain", "100ms")
    with talk.connect() as peer:
        assert peer.recv(100) == b"hello\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


def test_the_drain_time_of_the_file_counts(folder: Folder) -> None:
    words = ("portforward", "-p", "0", "-i", "127.0.0.1", "--to", "tcp:127.0.0.1:1", "--drain")
    folder.mktap("-o", "twistd.tap", *words, "7s")
    folder.mktap("-a", "twistd.tap", *words, "3s")
    process = folder.foreground()
    process.send_signal(signal.SIGTERM)
    process.wait()
    assert "work in flight has 7 seconds" in folder.read("out")


def test_a_service_that_never_stops_or_fails_to_cannot_keep_us(talk: Folder) -> None:
    talk.program(
        TALK
        + """
import os
import portable.commands.serving
from portable.deferred import Deferred, fail

portable.commands.serving.GRACE = 0.1
application.stop = lambda seconds: Deferred() if "HANG" in os.environ else fail(ValueError("no"))
"""
    )
    process = talk.foreground("-y", "app.py", "--drain", "0")
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0
    assert "did not stop cleanly" in talk.read("out")
    process = talk.foreground("-y", "app.py", "--drain", "0", HANG="1")
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0
    assert "did not stop in 0.1 seconds" in talk.read("out")


# --- Signals ----------------------------------------------------------------------------------------------


def test_sighup_reopens_the_log_and_reloads(talk: Folder) -> None:
    talk.program(
        TALK
        + """
import logging

fails = iter([False, True])

def reload():
    logging.warning("reload called")
    if next(fails):
        raise ValueError("bad certificate")

application.reload = reload
"""
    )
    pid = talk.twistd("-y", "app.py")
    os.rename(talk.path / "twistd.log", talk.path / "moved.log")
    os.kill(pid, signal.SIGHUP)
    wait_until(lambda: (talk.path / "twistd.log").exists() and "reloaded" in talk.read("twistd.log"))
    assert "reload called" in talk.read("twistd.log")
    os.kill(pid, signal.SIGHUP)
    wait_until(lambda: "bad certificate" in talk.read("twistd.log"))
    assert "what was loaded before stays in use" in talk.read("twistd.log")
    talk.end(pid)
    assert "stopping" not in talk.read("moved.log")


def test_sigusr1_rotates_the_log(talk: Folder) -> None:
    pid = talk.twistd("-y", "app.py")
    os.kill(pid, signal.SIGUSR1)
    wait_until(lambda: "twistd.log.1" in talk.names() and "log rotated" in talk.read("twistd.log"))
    assert "listening" in talk.read("twistd.log.1")
    os.kill(pid, signal.SIGUSR1)
    wait_until(lambda: "twistd.log.2" in talk.names())
    assert "listening" in talk.read("twistd.log.2")
    talk.end(pid)


def test_signals_in_the_foreground_with_the_log_on_standard_output(talk: Folder) -> None:
    process = talk.foreground("-y", "app.py")
    process.send_signal(signal.SIGUSR1)
    wait_until(lambda: "log rotated" in talk.read("out"))
    process.send_signal(signal.SIGHUP)
    wait_until(lambda: "reloaded" in talk.read("out"))
    process.send_signal(signal.SIGTERM)
    assert process.wait() == 0


# --- What goes wrong --------------------------------------------------------------------------------------


def refused(folder: Folder, *words: str, status: int = 1, **environ: str) -> str:
    """Run twistd, which must fail, and return its one line."""
    done = folder.run("twistd", *words, **environ)
    assert done.returncode == status, (done.stdout, done.stderr)
    assert done.stderr.startswith("twistd: ")
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


@pytest.mark.parametrize("mode", ["-n", ""])
def test_a_port_that_is_taken_is_the_parents_error(talk: Folder, mode: str) -> None:
    pid = talk.twistd("-y", "app.py")
    port = talk.ports()[0]
    talk.program(
        f'application = ServiceGroup("two", [talk("tcp:0"), talk("tcp:{port}:interface=127.0.0.1")])\n'
    )
    words = [*([mode] if mode else []), "-y", "app.py", "--pidfile", "second.pid", "-l", "second.log"]
    text = refused(talk, *words)
    assert f"127.0.0.1:{port}" in text
    assert "second.pid" not in talk.names()
    assert "listening" not in talk.read("second.log")
    # The first one serves on, unharmed.
    with talk.connect(port) as peer:
        assert peer.recv(100) == b"hello\n"
    talk.end(pid)


def test_a_live_pid_file_is_refused_and_left_alone(talk: Folder) -> None:
    (talk.path / "twistd.pid").write_text(f"{os.getpid()}\n")
    text = refused(talk, "-y", "app.py")
    assert f"process {os.getpid()}" in text
    assert talk.names() == ["app.py", "twistd.pid"]


def test_a_stale_pid_file_is_removed(talk: Folder) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    (talk.path / "twistd.pid").write_text(f"{gone.pid}\n")
    pid = talk.twistd("-y", "app.py")
    assert pid != gone.pid
    talk.end(pid)


@pytest.mark.parametrize("content", ["nonsense", "-1\n", "0\n", "12 34\n", "99999999999999\n"])
def test_a_pid_file_that_is_none_is_refused_and_left_alone(talk: Folder, content: str) -> None:
    (talk.path / "twistd.pid").write_text(content)
    assert "is not a pid file" in refused(talk, "-y", "app.py")
    assert talk.read("twistd.pid") == content


def test_a_pid_file_that_is_a_link_is_refused(talk: Folder) -> None:
    (talk.path / "target").write_text("1\n")
    (talk.path / "twistd.pid").symlink_to("target")
    assert "symbolic link" in refused(talk, "-y", "app.py")
    assert talk.read("target") == "1\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-l", "-"], "a daemon has no standard output"),
        (["-f", "a.tap", "-y", "app.py"], "not allowed with"),
        (["--umask", "8"], "--umask"),
        (["--drain", "soon"], "--drain"),
        (["--log-format", "xml"], "--log-format"),
        (["extra"], "unrecognized arguments"),
    ],
)
def test_wrong_usage_is_status_2(folder: Folder, words: list[str], message: str) -> None:
    assert message in refused(folder, *words, status=2)


def test_what_cannot_be_loaded_is_refused(talk: Folder) -> None:
    (talk.path / "bad.tap").write_text('{"format": "portable-tap"}')
    (talk.path / "fails.py").write_text("1 / 0\n")
    (talk.path / "empty.py").write_text("application = 7\n")
    assert "twistd.tap" in refused(talk)
    assert "bad.tap: version: this field is missing" in refused(talk, "-f", "bad.tap")
    assert "ZeroDivisionError" in refused(talk, "-y", "fails.py")
    assert "must define 'application'" in refused(talk, "-y", "empty.py")
    assert "there is no such file" in refused(talk, "-y", "gone.py")
    assert "there is no reactor 'fast'" in refused(talk, "-y", "app.py", "-r", "fast")
    assert "no user 'no-such-user'" in refused(talk, "-y", "app.py", "--uid", "no-such-user")
    assert "log file" in refused(talk, "-y", "app.py", "-l", "no/such/folder/x.log")
    assert "no/such" in refused(talk, "-y", "app.py", "-d", "no/such")
    assert "pid file" in refused(talk, "-y", "app.py", "--pidfile", "no/such/x.pid")
    assert "twistd.pid" not in talk.names()


def test_a_service_that_cannot_start_is_the_parents_error(talk: Folder) -> None:
    talk.program(TALK + "def start():\n    raise ValueError('no start\\nforged')\napplication.start = start\n")
    assert "ValueError: no start\\x0aforged" in refused(talk, "-y", "app.py")
    assert "no start" in refused(talk, "-n", "-y", "app.py")
    assert "twistd.pid" not in talk.names()


def test_a_daemon_that_dies_while_starting_is_an_error(talk: Folder) -> None:
    talk.program(TALK + "import os\napplication.start = lambda: os._exit(7)\n")
    assert "the server ended while it was starting" in refused(talk, "-y", "app.py")


def test_a_loop_that_fails_is_logged_and_ends_the_server(talk: Folder) -> None:
    talk.program(
        TALK
        + "def start():\n    def run(): raise ValueError('loop broke')\n    application.reactor.run = run\n"
        "application.start = start\n"
    )
    done = talk.run("twistd", "-y", "app.py")
    assert done.returncode == 0
    wait_until(lambda: "stopped" in talk.read("twistd.log"))
    assert "loop broke" in talk.read("twistd.log")
    wait_until(lambda: "twistd.pid" not in talk.names())


def test_debug_gives_the_traceback(talk: Folder) -> None:
    done = talk.run("twistd", "--debug", "-f", "gone.tap")
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback")


def test_debug_warns_of_a_callback_that_blocks(talk: Folder) -> None:
    process = talk.foreground("-y", "app.py", "--debug")
    with talk.connect() as peer:
        peer.sendall(b"block\n")
        wait_until(lambda: "a callback blocks" in talk.read("out"))
    process.send_signal(signal.SIGTERM)
    process.wait()


# --- The other options ------------------------------------------------------------------------------------


def test_check_says_what_would_be_bound_and_touches_nothing(folder: Folder) -> None:
    folder.mktap("-o", "twistd.tap", "portforward", "-p", "7777", "--to", "tcp:127.0.0.1:1")
    folder.mktap("-a", "twistd.tap", "inetd", "--services", "echo", "--udp", "--port-base", "100")
    done = folder.run("twistd", "--check")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "would listen: portforward tcp:7777",
        "would listen: echo tcp:107:interface=127.0.0.1",
        "would listen: echo udp:107:interface=127.0.0.1",
    ]
    assert folder.names() == ["twistd.tap"]
    assert "gone.tap" in refused(folder, "--check", "-f", "gone.tap")


def test_reactors_are_listed(folder: Folder) -> None:
    done = folder.run("twistd", "--reactors")
    assert done.returncode == 0
    assert ["select", "can", "run", "here"] in [line.split() for line in done.stdout.splitlines()]


def test_version_and_help(folder: Folder) -> None:
    assert folder.run("twistd", "--version").stdout.startswith("twistd (Portable)")
    assert "SIGHUP" in folder.run("twistd", "--help").stdout


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


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def test_the_session_of_the_readme(folder: Folder) -> None:
    # As a person types it, but for the port, which may be taken where this runs.
    port = free_port()
    command = f"""
        PATH={folder.path}/bin:$PATH
        mkdir static && echo '<h1>hello</h1>' > static/index.html
        mktap web --path static -p {port} && twistd -f web.tap && curl -sS http://127.0.0.1:{port}/
        kill `cat twistd.pid`
    """
    (folder.path / "bin").mkdir()
    for name in ("mktap", "twistd"):
        script = folder.path / "bin" / name
        script.write_text(f'#!/bin/sh\nexec {sys.executable} -m portable.commands.{name} "$@"\n')
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


# --- In this process --------------------------------------------------------------------------------------


def test_wrong_usage_without_a_process(capsys: pytest.CaptureFixture[str]) -> None:
    assert twistd.main(["--umask", "x"]) == 2
    assert capsys.readouterr().err.startswith("twistd: --umask")
