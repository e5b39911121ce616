"""The jar: the same bytes each time, made only when needed, and left out where nothing can make it."""

from __future__ import annotations

import os
import runpy
import sys
import typing
import zipfile

import pytest

from jvm import build

if typing.TYPE_CHECKING:
    from pathlib import Path

_SOURCE = (
    "package portable.jvm; public final class Small { private Small() { Runnable r = () -> { }; r.run(); } }"
)


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A source tree of one file, which compiles faster than ours."""
    directory = tmp_path / "java" / "portable" / "jvm"
    directory.mkdir(parents=True)
    (directory / "Small.java").write_text(_SOURCE)
    monkeypatch.setattr(build, "SOURCES", tmp_path / "java")
    monkeypatch.setattr(build, "JAR", tmp_path / "small.jar")
    return directory


@pytest.fixture
def javac() -> str:
    found = build.find_javac()
    if found is None:
        pytest.skip(build.NO_JAVAC)
    return found


@pytest.fixture
def no_javac(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    monkeypatch.delenv("JAVA_HOME", raising=False)


@pytest.mark.usefixtures("javac")
def test_two_builds_give_the_same_bytes(tmp_path: Path) -> None:
    jars = [tmp_path / "one.jar", tmp_path / "two.jar"]
    for jar in jars:
        assert build.build(jar)
    assert jars[0].read_bytes() == jars[1].read_bytes()
    with zipfile.ZipFile(jars[0]) as archive:
        names = archive.namelist()
        assert names[0] == "META-INF/MANIFEST.MF"
        assert names[1:] == sorted(names[1:])
        assert "portable/jvm/Pump.class" in names
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        # Java 17's class files: they run on every later one, whatever compiled them.
        assert archive.read("portable/jvm/Pump.class")[:8] == bytes.fromhex("cafebabe 0000 003d")


@pytest.mark.usefixtures("javac")
def test_a_jar_stays_until_its_sources_change(sources: Path, tmp_path: Path) -> None:
    jar = tmp_path / "small.jar"
    assert build.build(jar)
    assert build.is_current(jar)
    assert not build.build(jar)
    os.utime(sources / "Small.java")
    assert not build.build(jar)
    (sources / "Other.java").write_text("package portable.jvm; interface Other { }")
    assert build.build(jar)
    (sources / "Other.java").unlink()
    assert build.build(jar)
    with zipfile.ZipFile(jar) as archive:
        assert "portable/jvm/Other.class" not in archive.namelist()
    assert build.build(jar, force=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["java", "small.jar"]


@pytest.mark.usefixtures("javac")
def test_errors_in_the_sources_are_shown_and_the_old_jar_stays(sources: Path, tmp_path: Path) -> None:
    jar = tmp_path / "small.jar"
    build.build(jar)
    before = jar.read_bytes()
    (sources / "Small.java").write_text("package portable.jvm; class Small { int x = nothing; }")
    with pytest.raises(build.BuildError, match="cannot find symbol"):
        build.build(jar)
    assert jar.read_bytes() == before


@pytest.mark.usefixtures("no_javac", "sources")
def test_without_a_compiler_the_error_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(build.BuildError, match="apt-get install openjdk-17-jdk-headless"):
        build.build(tmp_path / "small.jar")


def _program(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_a_compiler_that_is_too_old_or_broken_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = _program(tmp_path / "old" / "bin" / "javac", "echo javac 11.0.2")
    new = _program(tmp_path / "new" / "javac", "echo javac 21")
    monkeypatch.setenv("JAVA_HOME", str(old.parents[1]))
    monkeypatch.setenv("PATH", str(new.parent))
    assert build.find_javac() == str(new)
    _program(new, "exit 1")
    assert build.find_javac() is None
    new.write_bytes(b"\x7fELF, but not for this machine")
    assert build.find_javac() is None
    _program(old, "echo 'javac 17.0.15' >&2")
    assert build.find_javac() == str(old)


class _App:
    def __init__(self) -> None:
        self.warnings: list[str] = []

    def display_warning(self, message: str) -> None:
        self.warnings.append(message)


def _hook() -> tuple[typing.Any, _App]:
    """The hook as hatchling would make it."""
    app = _App()
    kind: typing.Any = type("Hook", (build.JarHook,), {"app": app})
    return kind.__new__(kind), app


@pytest.mark.usefixtures("javac", "sources")
def test_a_wheel_carries_the_jar() -> None:
    hook, app = _hook()
    data: dict[str, typing.Any] = {"artifacts": []}
    hook.initialize("standard", data)
    assert data["artifacts"] == ["/jvm/small.jar"]
    assert build.JAR.exists()
    assert not app.warnings


@pytest.mark.usefixtures("no_javac", "sources")
def test_a_wheel_is_built_without_a_compiler_and_without_an_old_jar() -> None:
    build.JAR.write_bytes(b"made from other sources")
    hook, app = _hook()
    data: dict[str, typing.Any] = {"artifacts": []}
    hook.initialize("standard", data)
    assert data["artifacts"] == []
    assert not build.JAR.exists()
    assert "apt-get install openjdk-17-jdk-headless" in app.warnings[0]


@pytest.mark.usefixtures("javac")
def test_a_wheel_is_not_built_from_broken_sources(sources: Path) -> None:
    (sources / "Small.java").write_text("nonsense")
    hook, _ = _hook()
    with pytest.raises(build.BuildError):
        hook.initialize("standard", {"artifacts": []})


@pytest.mark.usefixtures("javac", "sources")
def test_the_program_tells_what_it_did(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["build"])
    assert build.main() == 0
    assert build.main() == 0
    assert capsys.readouterr().out == f"{build.JAR}: built\n{build.JAR}: up to date\n"


@pytest.mark.usefixtures("no_javac", "sources")
def test_the_program_fails_where_there_is_no_compiler(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["build", "--force"])
    assert build.main() == 1
    assert "no javac" in capsys.readouterr().err


def test_it_works_without_hatchling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hatchling.builders.hooks.plugin.interface", None)
    names = runpy.run_path(build.__file__)
    assert names["JarHook"].__mro__[1] is object
