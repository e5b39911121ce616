"""The life of what `twistd` runs, on each reactor that it knows: start, signals, stop, and what goes wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import typing

import pytest
import trustme

from tests.commands.processes import TALK, read_all, refused, wait_until

if typing.TYPE_CHECKING:
    from tests.commands.processes import Folder

pytestmark = pytest.mark.usefixtures("each_reactor")


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


def test_a_caller_may_have_closed_the_standard_streams(talk: Folder) -> None:
    """As some who start daemons do. Otherwise the log would have got the number of standard output, say."""
    command = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *talk.argv("twistd", "-y", "app.py")]
    assert subprocess.run(command, cwd=talk.path, env=talk.environ, timeout=40, check=False).returncode == 0
    pid = int(talk.read("twistd.pid"))
    assert {os.readlink(f"/proc/{pid}/fd/{fd}") for fd in range(3)} == {"/dev/null"}
    talk.end(pid)
    assert "listening: talk" in talk.read("twistd.log")


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
    return True

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


def test_a_certificate_that_cannot_be_reloaded_is_not_called_reloaded(talk: Folder) -> None:
    issued = trustme.CA().issue_cert("localhost")
    issued.private_key_and_cert_chain_pem.write_to_path(talk.path / "server.pem")
    talk.program('application = talk("tls:0:interface=127.0.0.1:certificate=server.pem")\n')
    process = talk.foreground("-y", "app.py")
    trustme.CA().issue_cert("localhost").cert_chain_pems[0].write_to_path(talk.path / "server.pem")
    process.send_signal(signal.SIGHUP)
    wait_until(lambda: "reloaded" in talk.read("out"))
    assert "cannot reload certificates, going on with the old ones: server.pem" in talk.read("out")
    assert "twistd: reloaded in part: " in talk.read("out")
    assert "twistd: reloaded\n" not in talk.read("out")
    issued.private_key_and_cert_chain_pem.write_to_path(talk.path / "server.pem")
    process.send_signal(signal.SIGHUP)
    wait_until(lambda: "twistd: reloaded\n" in talk.read("out"))
    process.send_signal(signal.SIGTERM)
    assert process.wait() == 0


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


def test_a_stale_pid_file_is_removed(talk: Folder) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    (talk.path / "twistd.pid").write_text(f"{gone.pid}\n")
    pid = talk.twistd("-y", "app.py")
    assert pid != gone.pid
    talk.end(pid)


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


def test_debug_warns_of_a_callback_that_blocks(talk: Folder) -> None:
    process = talk.foreground("-y", "app.py", "--debug")
    with talk.connect() as peer:
        peer.sendall(b"block\n")
        wait_until(lambda: "a callback blocks" in talk.read("out"))
    process.send_signal(signal.SIGTERM)
    process.wait()
