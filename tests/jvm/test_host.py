"""Servers inside a Java program."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
import typing
import urllib.request

import pytest

from tests.jvm.hosts import BIG, ROOT, SIGNALLED, environment, java, running, told, with_modules, write_tap

if typing.TYPE_CHECKING:
    import pathlib


def test_two_servers_at_once_do_not_know_each_other(
    class_path: str, tap: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "index.html").write_text("other\n")
    output = java(class_path, "Scenarios", "two", tap, write_tap(tmp_path / "two.tap", other))
    assert output.splitlines() == [
        "first hello",
        "second other",
        "second other",
        "states STOPPED RUNNING",
        "beans 0",
    ]


def test_a_stop_lets_the_request_in_flight_finish(class_path: str, tap: pathlib.Path) -> None:
    lines = java(class_path, "Scenarios", "drain", tap).splitlines()
    assert lines[:3] == ["state STOPPING", "done false", "late refused"]
    assert int(lines[3].split()[1]) > BIG
    assert lines[4:] == ["state STOPPED", "accepted 1", "sent true"]


@pytest.mark.parametrize("status", [0, 3])
def test_a_host_that_forgets_its_server_ends(class_path: str, tap: pathlib.Path, status: int) -> None:
    words = [str(status)] if status else []
    began = time.monotonic()
    assert "forgotten" in java(class_path, "Scenarios", "forget", tap, *words, status=status)
    assert time.monotonic() - began < 10


def test_a_host_whose_server_hangs_ends_a_little_after_the_drain_of_the_file(
    class_path: str, site: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """Not a minute later, and not before: the time that the hook gives follows the file."""
    began = time.monotonic()
    java(class_path, "Scenarios", "stuck", write_tap(tmp_path / "web.tap", site, drain=2.0), status=3)
    assert 12 < time.monotonic() - began < 30


def test_a_missing_file_is_told_with_both_stacks(class_path: str, tmp_path: pathlib.Path) -> None:
    output = java(class_path, "Scenarios", "error", tmp_path / "none.tap")
    assert "type portable.errors.ConfigurationError" in output
    assert "none.tap" in told(output)["message"]
    assert "Traceback (most recent call last)" in output
    assert "load_tap" in output
    assert "at portable.jvm.PortableServer.serve(" in output
    assert "state FAILED" in output
    assert "ended true" in output


def test_a_broken_file_tells_where(class_path: str, tmp_path: pathlib.Path, site: pathlib.Path) -> None:
    broken = write_tap(tmp_path / "web.tap", site, port=-1)
    output = java(class_path, "Scenarios", "error", broken)
    assert "services[0].options.port" in told(output)["message"]


def test_a_port_in_use_is_told_with_the_exception_of_java(
    class_path: str, tmp_path: pathlib.Path, site: pathlib.Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        busy = write_tap(tmp_path / "web.tap", site, taken.getsockname()[1])
        output = java(class_path, "Scenarios", "error", busy)
    assert "ListenError" in told(output)["type"] or "AddressInUse" in told(output)["type"]
    assert told(output)["cause"] == "portable.jvm.PumpException"
    assert "at portable.jvm.Pump.listenTcp(" in output
    assert "in bind" in output


def test_the_mbean_tells_and_stops(class_path: str, tap: pathlib.Path) -> None:
    assert told(java(class_path, "Scenarios", "bean", tap)) == {
        "State": "RUNNING",
        "Connections": "1",
        "Accepted": "2",
        "Refused": "0",
        "Addresses": "1",
        "BytesReceived": "true",
        "BytesSent": "true",
        "UptimeSeconds": "true",
        "early": "true",
        "busy": "State = RUNNING",
        "quick": "true",
        "lag": "true",
        "registered": "false",
    }


def test_what_is_submitted_runs_in_the_loop_and_answers(
    class_path: str, tap: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    env = with_modules(
        tmp_path,
        asked=(
            "from portable.deferred import Deferred\n"
            "def add(service, a, b): return a + b\n"
            "def things(service): return [1, 2.5, 'x', None, True, {'k': (1,)}]\n"
            "def later(service):\n"
            "    result = Deferred()\n"
            "    service.reactor.call_later(0.01, result.callback, service.name)\n"
            "    return result\n"
            "async def broken(service): raise KeyError('no')\n"
            "def opaque(service): return service\n"
        ),
    )
    output = java(class_path, "Scenarios", "ask", tap, env=env)
    assert told(output) == {
        "early": "PortableException ",
        "thread": "portable-web",
        "raised": "IllegalStateException",
        "add": "5",
        "things": "[1, 2.5, x, null, true, {k=[1]}]",
        "later": "web",
        "broken": "PortableException builtins.KeyError",
        "nowhere": "PortableException builtins.AttributeError",
        "opaque": "PortableException builtins.TypeError",
        "inside": "true",
        "late": "PortableException ",
    }


def test_python_code_that_would_exit_does_not_end_the_process(
    class_path: str, tap: pathlib.Path, site: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    env = with_modules(
        tmp_path,
        leaving=(
            "import sys\n"
            "def now(service): sys.exit(4)\n"
            "async def later(service): sys.exit(4)\n"
            "def interrupt(service): raise KeyboardInterrupt\n"
        ),
        leaving_at_once="import sys\nsys.exit(4)\n",
    )
    for name, head in (("now", "def"), ("later", "async def")):
        source = f"import sys\nfrom protocols.http.resource import Page\n{head} answer(request): sys.exit(7)\n"
        (site / f"{name}.rpy").write_text(f"{source}resource = Page(answer)\n")
    broken = tmp_path / "broken.tap"
    broken.write_text(tap.read_text().replace(f'"path": "{site}"', '"class": "leaving_at_once.Site"'))
    output = java(class_path, "Scenarios", "exit", tap, broken, env=env)
    found = told(output)
    assert found["called"] == found["later"] == "PortableException builtins.SystemExit"
    assert found["interrupt"] == "PortableException builtins.KeyboardInterrupt"
    assert found["pages"] == "500 500 200"
    assert (found["type"], found["message"]) == ("builtins.SystemExit", "SystemExit(4)")
    assert found["state"] == "FAILED"
    assert found["running"] == "RUNNING"


def test_a_server_runs_once_and_may_be_stopped_at_any_time(class_path: str, tap: pathlib.Path) -> None:
    assert told(java(class_path, "Scenarios", "life", tap)) == {
        "new": "NEW",
        "closed": "STOPPED",
        "hasty": "STOPPED",
        "settled": "true",
        "again": "refused",
    }


def fetch(port: int, curl: bool = False) -> str:
    url = f"http://127.0.0.1:{port}/"
    if curl:
        return subprocess.run(
            ["curl", "-sf", url], capture_output=True, text=True, check=True, timeout=20
        ).stdout
    with urllib.request.urlopen(url, timeout=20) as answer:
        return str(answer.read().decode())


def test_the_example_answers_curl_and_the_console(class_path: str, tap: pathlib.Path) -> None:
    assert shutil.which("curl")
    with running(class_path, "WebHost", tap) as (process, port):
        assert fetch(port, curl=True) == "hello\n"
        output, _ = process.communicate("status\nstop\n", timeout=20)
    assert process.returncode == 0, output
    assert "status: RUNNING, 0 connections of 1" in output or "status: RUNNING, 1 connections of 1" in output
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port), timeout=5)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_main_finish_what_is_in_flight(
    class_path: str, tap: pathlib.Path, signum: signal.Signals
) -> None:
    words = ("portable.jvm.Main", "-f", tap)
    with running(class_path, *words) as (process, port):
        with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
            client.sendall(b"GET /big.bin HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            count = len(client.recv(1000))
            process.send_signal(signum)
            assert process.stdout
            for line in process.stdout:
                if "work in flight" in line:
                    break
            while data := client.recv(1 << 20):
                count += len(data)
        output, _ = process.communicate(timeout=20)
    assert count > BIG
    assert process.returncode == 0, output
    assert output.rstrip().endswith("info    portable.jvm: stopped")


def test_a_second_signal_ends_main_at_once(class_path: str, tap: pathlib.Path) -> None:
    words = ("portable.jvm.Main", "-f", tap, "--drain", "100")
    with (
        running(class_path, *words) as (process, port),
        socket.create_connection(("127.0.0.1", port), timeout=20) as client,
    ):
        client.sendall(b"GET /big.bin HTTP/1.1\r\nHost: x\r\n\r\n")
        client.recv(1000)
        process.send_signal(signal.SIGTERM)
        assert process.stdout
        for line in process.stdout:
            if "work in flight" in line:
                break
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=20)
    assert process.returncode == 0, output
    assert "stopping at once: a signal again" in output


def test_a_hangup_has_main_reload_and_open_its_log_anew(
    class_path: str, tap: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    log, moved = tmp_path / "log", tmp_path / "log.1"
    words = ("portable.jvm.Main", "-f", tap, "-l", log)
    process = subprocess.Popen([*SIGNALLED, "java", "-cp", class_path, *map(str, words)], env=environment())
    try:
        wait_for_text(log, "listening: ")
        log.rename(moved)
        process.send_signal(signal.SIGHUP)
        wait_for_text(log, "portable.jvm: reloaded")
        process.terminate()
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
    assert log.read_text().endswith("portable.jvm: stopped\n")
    assert "reloaded" not in moved.read_text()


def wait_for_text(path: pathlib.Path, text: str) -> None:
    deadline = time.monotonic() + 20
    while not (path.exists() and text in path.read_text()):
        assert time.monotonic() < deadline, text
        time.sleep(0.02)


def test_main_explains_itself_and_its_failures(class_path: str, tmp_path: pathlib.Path) -> None:
    assert "usage: java" in java(class_path, "portable.jvm.Main", "--help")
    for wrong in (["--what"], ["-f"], ["--drain", "x"], ["--drain", "-1"]):
        java(class_path, "portable.jvm.Main", *wrong, status=2)
    # Java makes no path of it, as it knows only the characters of the locale.
    java(class_path, "portable.jvm.Main", "-f", "\u00fc.tap", status=2, env={**environment(), "LC_ALL": "C"})
    java(class_path, "portable.jvm.Main", "-f", tmp_path / "none.tap", status=1)
    java(class_path, "portable.jvm.Main", "--python", "/nonexistent/python", status=1)


def test_the_documentation_of_the_public_classes_is_complete(tmp_path: pathlib.Path) -> None:
    words = ["-quiet", "-Xdoclint:all", "-Werror", "-d", str(tmp_path), "--release", "17"]
    words += ["-sourcepath", str(ROOT / "jvm/java"), "-subpackages", "portable.jvm"]
    done = subprocess.run(
        ["javadoc", *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
