"""The Java side's own tests, compiled and run: see jvm/tests."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from jvm import build

_TESTS = Path(build.__file__).parent / "tests"
# Where Debian's package junit5 puts what it needs.
_JARS = Path("/usr/share/java")
_JUNIT = (
    "junit-jupiter-api",
    "junit-jupiter-engine",
    "junit-jupiter-params",
    "junit-platform-commons",
    "junit-platform-console",
    "junit-platform-engine",
    "junit-platform-launcher",
    "junit-platform-reporting",
    "opentest4j",
    "apiguardian-api",
    "picocli",
)


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_the_java_side(tmp_path: Path) -> None:
    javac = build.find_javac()
    if javac is None:
        pytest.skip(build.NO_JAVAC)
    jars = [_JARS / f"{name}.jar" for name in _JUNIT]
    absent = [str(jar) for jar in jars if not jar.exists()]
    if absent:
        pytest.skip(f"there is no {', '.join(absent)}: apt-get install junit5")
    build.build()
    java = Path(javac).resolve().with_name("java")
    classpath = ":".join(map(str, [build.JAR, tmp_path, *jars]))
    compiler = [
        javac,
        "--release",
        str(build.RELEASE),
        "-encoding",
        "UTF-8",
        "-Xlint:all,-try,-path",
        "-Werror",
    ]
    sources = [str(path) for path in sorted(_TESTS.rglob("*.java"))]
    _run([*compiler, "-cp", classpath, "-d", str(tmp_path), *sources])
    launcher = [str(java), "-cp", classpath, "org.junit.platform.console.ConsoleLauncher"]
    plain = ["--disable-banner", "--disable-ansi-colors", "--details=tree"]
    told = _run([*launcher, *plain, "--fail-if-no-tests", "--select-package=portable.jvm"])
    assert " 0 tests skipped " in told
    assert " 0 tests failed " in told


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
