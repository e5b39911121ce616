"""Servers inside a Java program."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time
import typing
import urllib.request

import pytest

from jvm import build

if typing.TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = pathlib.Path(__file__).parents[2]
BIG = 30_000_000


@pytest.fixture(scope="session")
def class_path(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The class path with our jar, Jep's, the example and the scenarios."""
    build.build()
    spec = importlib.util.find_spec("jep")
    assert spec is not None, "JAVA_HOME=... pip install jep"
    assert spec.submodule_search_locations
    (jep,) = pathlib.Path(spec.submodule_search_locations[0]).glob("jep-*.jar")
    classes = tmp_path_factory.mktemp("classes")
    javac = build.find_javac()
    assert javac
    sources = [ROOT / "jvm/examples/WebHost.java", pathlib.Path(__file__).with_name("Scenarios.java")]
    options = ["-d", str(classes), "-cp", str(build.JAR), "-Xlint:all", "-Werror", "--release", "17"]
    subprocess.run([javac, *options, *map(str, sources)], check=True, timeout=60)
    return f"{build.JAR}:{jep}:{classes}"


@pytest.fixture
def site(tmp_path: pathlib.Path) -> pathlib.Path:
    folder = tmp_path / "www"
    folder.mkdir()
    (folder / "index.html").write_text("hello\n")
    with (folder / "big.bin").open("wb") as file:
        file.truncate(BIG)
    return folder


def write_tap(path: pathlib.Path, site: pathlib.Path, port: int = 0, **options: typing.Any) -> pathlib.Path:
    values = {"path": str(site), "port": port, "interface": "127.0.0.1", **options}
    services = [{"kind": "web", "version": 1, "options": values}]
    document = {"format": "portable-tap", "version": 1, "uid": None, "gid": None, "services": services}
    path.write_text(json.dumps(document))
    return path


@pytest.fixture
def tap(tmp_path: pathlib.Path, site: pathlib.Path) -> pathlib.Path:
    return write_tap(tmp_path / "web.tap", site)


def environment(*folders: pathlib.Path) -> dict[str, str]:
    environ = dict(os.environ)
    # Whoever measures coverage here does not mean the Java program.
    for name in [name for name in environ if name.startswith(("COV_", "COVERAGE_"))]:
        del environ[name]
    path = os.pathsep.join(map(str, (ROOT, *folders)))
    return {**environ, "PORTABLE_PYTHON": sys.executable, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}


def java(class_path: str, *words: object, status: int = 0, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        ["java", "-XX:TieredStopAtLevel=1", "-Xmx256m", "-cp", class_path, *map(str, words)],
        env=env or environment(),
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout


def told(output: str) -> dict[str, str]:
    return {line.partition(" ")[0]: line.partition(" ")[2] for line in output.splitlines()}


def test_a_hundred_servers_one_after_the_other_leave_nothing_behind(class_path: str, tap: pathlib.Path) -> None:
    left = {name: int(value) for name, value in told(java(class_path, "Scenarios", "cycles", tap, 100)).items()}
    assert left["descriptors"] == 0
    assert left["threads"] <= 0
    assert left["beans"] == 0
    assert left["tasks"] <= 1  # the JVM's compilers come and go
    assert left["heap"] < 1_000_000


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
        "busy": "RUNNING",
        "lag": "true",
        "registered": "false",
    }


def test_what_is_submitted_runs_in_the_loop_and_answers(
    class_path: str, tap: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    modules = tmp_path / "modules"
    modules.mkdir()
    (modules / "asked.py").write_text(
        "from portable.deferred import Deferred\n"
        "def add(service, a, b): return a + b\n"
        "def things(service): return [1, 2.5, 'x', None, True, {'k': (1,)}]\n"
        "def later(service):\n"
        "    result = Deferred()\n"
        "    service.reactor.call_later(0.01, result.callback, service.name)\n"
        "    return result\n"
        "async def broken(service): raise KeyError('no')\n"
        "def opaque(service): return service\n"
    )
    output = java(class_path, "Scenarios", "ask", tap, env=environment(modules))
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


def test_a_server_runs_once_and_may_be_stopped_at_any_time(class_path: str, tap: pathlib.Path) -> None:
    assert told(java(class_path, "Scenarios", "life", tap)) == {
        "new": "NEW",
        "closed": "STOPPED",
        "hasty": "STOPPED",
        "settled": "true",
        "again": "refused",
    }


@contextlib.contextmanager
def running(class_path: str, *words: object) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Yield a Java program with a server, and its port."""
    process = subprocess.Popen(
        ["java", "-XX:TieredStopAtLevel=1", "-cp", class_path, *map(str, words)],
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    with process:
        assert process.stdout
        try:
            port = 0
            for line in process.stdout:
                if "listening: " in line:
                    port = int(line.rpartition(":")[2])
                    break
            assert port
            yield process, port
        finally:
            process.kill()


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


def test_main_explains_itself_and_its_failures(class_path: str, tmp_path: pathlib.Path) -> None:
    assert "usage: java" in java(class_path, "portable.jvm.Main", "--help")
    for wrong in (["--what"], ["-f"], ["--drain", "x"], ["--drain", "-1"]):
        java(class_path, "portable.jvm.Main", *wrong, status=2)
    java(class_path, "portable.jvm.Main", "-f", tmp_path / "none.tap", status=1)
    java(class_path, "portable.jvm.Main", "--python", "/nonexistent/python", status=1)


def test_the_documentation_of_the_public_classes_is_complete(tmp_path: pathlib.Path) -> None:
    # Pump and what belongs to it are for Python's side.
    names = ["LogSink", "Main", "PortableException", "PortableServer", "PortableServerMXBean"]
    names += ["HostLoop", "HostRequest", "ServerState", "ServerStatus"]
    sources = [ROOT / f"jvm/java/portable/jvm/{name}.java" for name in names]
    options = ["-quiet", "-Xdoclint:all", "-Werror", "-d", str(tmp_path), "--release", "17"]
    path = ["-sourcepath", str(ROOT / "jvm/java")]
    done = subprocess.run(
        ["javadoc", *options, *path, *map(str, sources)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
