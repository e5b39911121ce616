"""Java programs with our servers in them, as tests run them."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import subprocess
import sys
import typing

from jvm import build
from jvm.classpath import class_path

if typing.TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = pathlib.Path(__file__).parents[2]
BIG = 30_000_000


def compile_classes(folder: pathlib.Path) -> str:
    """Compile the example and the scenarios into `folder`; return the class path, with our jar and Jep."""
    build.build()
    javac = build.find_javac()
    assert javac
    sources = [ROOT / "jvm/examples/WebHost.java", *pathlib.Path(__file__).parent.glob("*.java")]
    options = ["-d", str(folder), "-cp", str(build.JAR), "-Xlint:all", "-Werror", "--release", "17"]
    subprocess.run([javac, *options, *map(str, sources)], check=True, timeout=60)
    return f"{class_path()}:{folder}"


def write_tap(path: pathlib.Path, site: pathlib.Path, port: int = 0, **options: typing.Any) -> pathlib.Path:
    values = {"path": str(site), "port": port, "interface": "127.0.0.1", **options}
    services = [{"kind": "web", "version": 1, "options": values}]
    document = {"format": "portable-tap", "version": 1, "uid": None, "gid": None, "services": services}
    path.write_text(json.dumps(document))
    return path


# A JVM leaves signals ignored that were when it began, as they are in what a shell runs behind nohup or "&".
SIGNALLED = ("env", "--default-signal=HUP,INT,TERM")


def environment(*folders: pathlib.Path) -> dict[str, str]:
    environ = dict(os.environ)
    # Whoever measures coverage here does not mean the Java program.
    for name in [name for name in environ if name.startswith(("COV_", "COVERAGE_"))]:
        del environ[name]
    path = os.pathsep.join(map(str, (ROOT, *folders)))
    return {**environ, "PORTABLE_PYTHON": sys.executable, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}


def with_modules(folder: pathlib.Path, **sources: str) -> dict[str, str]:
    """Return an environment in which Python finds modules of these names; they are put into `folder`."""
    modules = folder / "modules"
    modules.mkdir()
    for name, source in sources.items():
        (modules / f"{name}.py").write_text(source)
    return environment(modules)


def java(
    class_path: str,
    *words: object,
    status: int = 0,
    env: dict[str, str] | None = None,
    options: typing.Sequence[str] = (),
    program: str = "java",
) -> str:
    """Run a Java program to its end, which must have `status`, and return its standard output."""
    done = subprocess.run(
        [program, "-XX:TieredStopAtLevel=1", "-Xmx256m", *options, "-cp", class_path, *map(str, words)],
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


@contextlib.contextmanager
def running(class_path: str, *words: object) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Yield a Java program with a server, and its port."""
    process = subprocess.Popen(
        [*SIGNALLED, "java", "-XX:TieredStopAtLevel=1", "-cp", class_path, *map(str, words)],
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
