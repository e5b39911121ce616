"""Compiles the Java sources into `portable-jvm.jar`, beside this module.

`python -m jvm.build` does it by hand; when a wheel or an editable installation is built, hatchling does it
through `JarHook`. The same sources and the same compiler give the same bytes: entries are sorted, not
compressed, and bear one date. The jar says which sources it was made from, and stays while they are the same.

Without a compiler a build goes on, with a warning, and the package works as far as it needs no JVM.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ImportError:  # run by hand, without the tool that builds wheels
    BuildHookInterface = object  # type: ignore[assignment,misc]

__all__ = ["JAR", "BuildError", "JarHook", "build", "find_javac", "is_current"]

_HERE = Path(__file__).resolve().parent
SOURCES = _HERE / "java"
JAR = _HERE / "portable-jvm.jar"

# The oldest Java that runs the jar.
RELEASE = 17
_FLAGS = ("-encoding", "UTF-8", "-proc:none", "-Xlint:all", "-Werror")
# The earliest that a zip file can tell.
_DATE = (1980, 1, 1, 0, 0, 0)
_MANIFEST = "META-INF/MANIFEST.MF"

NO_JAVAC = (
    f"no javac of Java {RELEASE} or later was found in JAVA_HOME or PATH (on Debian and Ubuntu: "
    "apt-get install openjdk-17-jdk-headless)"
)


class BuildError(Exception):
    """The Java sources could not be compiled."""


def find_javac() -> str | None:
    """Return the path of a compiler that is new enough, from JAVA_HOME or else from PATH."""
    home = os.environ.get("JAVA_HOME")
    for path in (str(Path(home, "bin")) if home else "", None):
        javac = shutil.which("javac", path=path) if path != "" else None
        if javac and _version(javac) >= RELEASE:
            return javac
    return None


def _version(javac: str) -> int:
    """Return the major version of a compiler, 0 if it does not tell."""
    try:
        told = _run([javac, "-version"])
    except OSError:
        return 0
    found = re.search(r"javac (\d+)", told.stdout + told.stderr)
    return int(found[1]) if found else 0


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own words


def is_current(jar: Path = JAR) -> bool:
    """Return whether `jar` exists and was made from the sources as they are."""
    try:
        with zipfile.ZipFile(jar) as archive:
            return archive.read(_MANIFEST) == _manifest()
    except (OSError, KeyError, zipfile.BadZipFile):
        return False


def build(jar: Path = JAR, *, force: bool = False) -> bool:
    """Make `jar` from the sources; return False if it was theirs already.

    Args:
        jar: the file to write; it is replaced at once, never half-written.
        force: compile even if nothing has changed.

    Raises:
        BuildError: there is no compiler, or it found errors.
    """
    if not force and is_current(jar):
        return False
    javac = find_javac()
    if javac is None:
        raise BuildError(NO_JAVAC)
    with tempfile.TemporaryDirectory(prefix="portable-jvm-") as directory:
        classes = Path(directory, "classes")
        done = _run([javac, "--release", str(RELEASE), *_FLAGS, "-d", str(classes), *map(str, _sources())])
        if done.returncode:
            raise BuildError(f"{javac} failed:\n{done.stdout}{done.stderr}")
        written = Path(directory, jar.name)
        _write_jar(written, classes)
        # Beside the target, since it may be on another file system, and under a name of our own.
        beside = jar.with_name(f"{jar.name}.{os.getpid()}")
        try:
            shutil.copyfile(written, beside)
            beside.replace(jar)
        finally:
            beside.unlink(missing_ok=True)
    return True


def _sources() -> list[Path]:
    return sorted(SOURCES.rglob("*.java"))


def _manifest() -> bytes:
    digest = hashlib.sha256()
    for path in _sources():
        content = path.read_bytes()
        digest.update(f"{path.relative_to(SOURCES).as_posix()}\0{len(content)}\0".encode() + content)
    # No line may be longer than 72 bytes.
    lines = [
        "Manifest-Version: 1.0",
        "Automatic-Module-Name: portable.jvm",
        f"Portable-Sources: {digest.hexdigest()[:48]}",
    ]
    return "".join(f"{line}\r\n" for line in [*lines, ""]).encode()


def _write_jar(jar: Path, classes: Path) -> None:
    entries = [(path.relative_to(classes).as_posix(), path.read_bytes()) for path in classes.rglob("*.class")]
    with zipfile.ZipFile(jar, "w", zipfile.ZIP_STORED) as archive:
        for name, content in [(_MANIFEST, _manifest()), *sorted(entries)]:
            entry = zipfile.ZipInfo(name, _DATE)
            entry.create_system = 3
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content)


class JarHook(BuildHookInterface):  # type: ignore[misc,type-arg,unused-ignore] # an object, without hatchling
    """Has hatchling compile the Java sources, if it can, and put the jar into the wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called before the wheel is put together; `version` is "standard" or "editable"."""
        del version
        try:
            build(JAR)
        except BuildError as exc:
            if find_javac() is not None:
                raise
            self.app.display_warning(f"{JAR.name} is left out, so nothing will run on the JVM: {exc}")
            JAR.unlink(missing_ok=True)  # made from other sources
        else:
            build_data["artifacts"].append(f"/{_HERE.name}/{JAR.name}")


def main() -> int:
    """Build the jar, and say what was done."""
    try:
        built = build(JAR, force="--force" in sys.argv[1:])
    except BuildError as exc:
        print(f"jvm.build: {exc}", file=sys.stderr)  # noqa: T201 - a program
        return 1
    print(f"{JAR}: {'built' if built else 'up to date'}")  # noqa: T201 - a program
    return 0


if __name__ == "__main__":
    sys.exit(main())
