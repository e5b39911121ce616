"""`python -m jvm.classpath`: prints the class path that a Java program needs to have our servers in it.

That is our jar and Jep's own, which lies where `pip install 'portable-net[jvm-host]'` has put it. Jep is looked
for and not imported, which works only inside Java.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

from jvm import launch

__all__ = ["class_path"]

_NO_JEP = (
    "the Python package jep is not installed: JAVA_HOME=... pip install jep "
    "(it is compiled, with gcc and the headers of Python)"
)


def class_path() -> str:
    """Return the class path.

    Raises:
        JVMMissing: a part of it is not there; the message says how to get it.
    """
    lacking = launch.missing(running=True)
    if lacking:
        raise launch.JVMMissing(lacking)
    spec = importlib.util.find_spec("jep")
    folders = list(spec.submodule_search_locations or ()) if spec is not None else []
    jars = [jar for folder in folders for jar in sorted(Path(folder).glob("jep-*.jar"))]
    if not jars:
        raise launch.JVMMissing(_NO_JEP)
    return os.pathsep.join([str(launch.JAR), str(jars[0])])


def main() -> int:
    """Print it, or what is missing."""
    try:
        print(class_path())  # noqa: T201 - a program
    except launch.JVMMissing as exc:
        print(f"jvm.classpath: {exc}", file=sys.stderr)  # noqa: T201 - a program
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
