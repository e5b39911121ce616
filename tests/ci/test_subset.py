"""The subset checker: every rule refuses what it should and leaves alone what is allowed."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import typing
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def load_checker() -> typing.Any:
    specification = importlib.util.spec_from_file_location("subset", ROOT / "ci" / "subset.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules["subset"] = module  # dataclasses look their module up
    specification.loader.exec_module(module)
    return module


subset = load_checker()


def messages(source: str, path: str = "protocols/example.py") -> list[str]:
    return [finding.message for finding in subset.check_source(source, path)]


REFUSED = {
    "match": ("match x:\n    case 1:\n        pass", "match"),
    "walrus in an expression": ("y = [(x := 1)]", "walrus"),
    "walrus behind and": ("if a and (x := f()):\n    pass", "walrus"),
    "walrus in a comprehension": ("y = [z for a in b if (z := a)]", "walrus"),
    "async for": ("async def f():\n    async for x in y:\n        pass", "async for"),
    "async with": ("async def f():\n    async with x:\n        pass", "async with"),
    "asynchronous comprehension": (
        "async def f():\n    return [x async for x in y]",
        "asynchronous comprehension",
    ),
    "except*": ("try:\n    pass\nexcept* ValueError:\n    pass", "except*"),
    "yield from as an expression": ("def f():\n    x = yield from g()", "yield from"),
    "class keyword": ("class A(B, frozen=True):\n    pass", "class keyword frozen"),
    "class keywords": ("class A(B, **options):\n    pass", "class keyword **"),
    "matmul": ("a = b @ c", "operator @"),
    "dots as a value": ("x = ...", "... as a value"),
    "dots as a default": ("def f(x=...):\n    pass", "... as a value"),
    "dots as a keyword's default": ("def f(*, x=...):\n    pass", "... as a value"),
    "alias of a list": ("X = list[int]", "list[...] at run time"),
    "alias from typing": ("import typing\nX = typing.Callable[[int], int]", "typing.Callable[...] at run time"),
    "alias from collections.abc": (
        "from collections.abc import Sequence as Seq\nX = Seq[int]",
        "Seq[...] at run time",
    ),
    "alias of a union": ("X = int | str", "union of types"),
    "alias with None": ("X = Foo | None", "union of types"),
    "alias of a union of generics": ("X = list[int] | Foo", "union of types"),
    "union in isinstance": ("isinstance(x, bytes | bytearray)", "union of types"),
    "cast to a runtime type": ("import typing\ny = typing.cast(list[int], x)", "list[...] at run time"),
    "TypeAlias": ("import typing\nX: typing.TypeAlias = int", "type alias"),
    "module __getattr__": ("def __getattr__(name):\n    pass", "__getattr__ of a module"),
    "__init_subclass__": ("class A:\n    def __init_subclass__(cls):\n        pass", "__init_subclass__"),
    "__set_name__": ("class A:\n    def __set_name__(self, owner, name):\n        pass", "__set_name__"),
    "continue in finally": (
        "for x in y:\n    try:\n        pass\n    finally:\n        if x:\n            continue",
        "continue in finally",
    ),
    "return in try in a generator": (
        "def f():\n    try:\n        yield 1\n        return 2\n    finally:\n        pass",
        "return with a value inside try",
    ),
    "await in an argument": ("async def f():\n    g(await x)", "await inside an expression"),
    "await in a return's expression": ("async def f():\n    return 1 + await x", "await inside an expression"),
    "await in an augmented assignment": ("async def f():\n    x += await y", "await inside an expression"),
    "await in a condition": ("async def f():\n    if await x:\n        pass", "await inside an expression"),
    "formatting of bytes": ('x = b"%d" % 3', "% formatting of bytes"),
    "unpacking bytes": ('a, b = b"xy"', "unpacking bytes"),
    "find of a number": ("i = data.find(10)", "find() of a number"),
    "rfind of a number": ("i = data.rfind(10, 2)", "rfind() of a number"),
    "surrogateescape": ('x = y.decode("utf-8", "surrogateescape")', "surrogateescape"),
    "method of a memoryview": ("v = memoryview(x)\nv.cast('B')", "memoryview.cast"),
    "method of a memoryview in place": ("n = memoryview(x).nbytes", "memoryview.nbytes"),
    "method of an annotated memoryview": (
        "def f(x):\n    v: memoryview = memoryview(x)\n    v.nbytes",
        "memoryview.nbytes",
    ),
    "set algebra of keys": ("x = a.keys() & b", "set algebra"),
    "set algebra of items": ("x = a - b.items()", "set algebra"),
    "starred for": ("for a, *b in c:\n    pass", "starred target"),
    "starred for in a comprehension": ("x = [b for a, *b in c]", "starred target"),
    "several double stars": ("f(**a, **b)", "several **"),
    "keyword-only lambda": ("f = lambda *, a: a", "keyword-only"),
    "catching OSError": ("try:\n    pass\nexcept OSError:\n    pass", "catching OSError"),
    "catching an attribute": ("try:\n    pass\nexcept builtins.OSError:\n    pass", "catching OSError"),
    "importing by a call": ("__import__('socket')", "__import__"),
    "matrix product in place": ("a @= b", "the operator @="),
    "catching one of several": (
        "try:\n    pass\nexcept (ValueError, ConnectionResetError):\n    pass",
        "catching ConnectionResetError",
    ),
    "suppressing": (
        "import contextlib\nwith contextlib.suppress(FileNotFoundError):\n    pass",
        "FileNotFoundError",
    ),
    "import of socket": ("import socket", "import of socket"),
    "import from asyncio": ("from asyncio import Future", "import of asyncio"),
    "import of ssl elsewhere": ("import ssl", "import of ssl"),
    "import of others' packages": ("import twisted", "only the standard library"),
    "import inside a function": ("def f():\n    import threading", "import of threading"),
    "relative import": ("from . import x", "relative import"),
    "import of a dangerous part of os": ("from os import fork", "os.fork"),
    "dangerous part of os": ("import os\nos.unlink('x')", "os.unlink"),
    "open": ("f = open('x')", "open()"),
    "sleep": ("import time\ntime.sleep(1)", "time.sleep"),
    "large table": ("x = [" + "1, " * 1001 + "]", "literal of 1001 entries"),
    "large tuple": ("x = (" + "1, " * 1001 + ")", "literal of 1001 entries"),
    "large set": ("x = {" + "1, " * 1001 + "}", "literal of 1001 entries"),
    "large dict": ("x = {" + "1: 2, " * 1001 + "}", "literal of 1001 entries"),
    "digit class": (r"import re" + "\n" + r"x = re.compile(r'a\d+')", r"\d in a pattern"),
    "digit class in bytes": (r"import re" + "\n" + r"x = re.fullmatch(rb'\d', y)", r"\d in a pattern"),
    "name outside ASCII": ("größe = 1", "the name größe"),
}

ALLOWED = {
    "annotations": (
        "def f(a: list[int] | None = None) -> dict[str, int]:\n    x: tuple[int, ...] = (1,)\n    return x"
    ),
    "annotation without a value": "class A:\n    x: list[int] | None",
    "alias under TYPE_CHECKING": (
        "import typing\nif typing.TYPE_CHECKING:\n    import socket\n    X = list[int] | None"
    ),
    "alias in quotes": "import typing\nX: typing.TypeAlias = 'list[int] | None'",
    "cast in quotes": "import typing\nx = typing.cast('list[int]', y)",
    "generic base": "import typing\nclass A(typing.Generic[T], dict[str, int]):\n    pass",
    "metaclass": "class A(metaclass=B):\n    pass",
    "walrus in if": "if x := f():\n    pass",
    "walrus in while": "while (x := f()) is not None:\n    pass",
    "walrus first in and": "if (x := f()) and x > 1:\n    pass\nelif not (y := g()):\n    pass",
    "awaits": "async def f():\n    await a\n    b = await c\n    d: int = await e\n    return await g",
    "yield from as a statement": "def f():\n    yield from g()",
    "return in a generator": "def f():\n    x = yield 1\n    return x",
    "return in try elsewhere": "def f():\n    try:\n        return 1\n    finally:\n        pass",
    "return of an inner function in a generator": (
        "def f():\n"
        "    try:\n"
        "        yield 1\n"
        "        def g():\n"
        "            return 1\n"
        "    finally:\n"
        "        pass"
    ),
    "bare return in try in a generator": (
        "def f():\n    try:\n        yield 1\n        return\n    finally:\n        pass"
    ),
    "continue in a loop of a finally": "try:\n    pass\nfinally:\n    for x in y:\n        continue",
    "dots as a body": "def f(): ...",
    "numbers or-ed": "x = a | 1",
    "subscripts": "x = a[0]\ny = table[key]",
    "formatting of str": "x = '%d' % 3",
    "find of a slice": "i = data.find(b'x')\nj = data.index(3)",
    "memoryview sliced": (
        "def f(x):\n    v = memoryview(x)[2:]\n    v = bytes(v)\n    v.find(b'x')\n    v[0] = v.y = 1"
    ),
    "views of other functions": "def f(x):\n    v = memoryview(x)\ndef g(v):\n    v.nbytes",
    "stars": "f(*a, **b)\nx = [*a, *b]\ny = {**a, **b}\nc, *d = e",
    "keys": "x = set(a.keys()) & b\ny = a.keys(1) & b",
    "own errors": "try:\n    pass\nexcept (ValueError, errors.ConnectError):\n    pass\nexcept:\n    pass",
    "suppress": "import contextlib\nwith contextlib.suppress(ValueError):\n    pass",
    "modules": (
        "import re, os.path\nfrom portable import errors\nimport protocols.http\nfrom collections import abc"
    ),
    "harmless parts of os": "import os\nfrom os import path\nx = os.environ, os.path.join",
    "patterns": "import re\nx = re.compile(r'[0-9]\\\\d')\ny = log('\\\\d')\nre.purge()",
    "decorators and defaults": (
        "@dataclass(frozen=True)\nclass A:\n    @property\n    def f(self, x=1, *, y, z=2):\n        pass"
    ),
    "TYPE_CHECKING with else": "if TYPE_CHECKING:\n    X = list[int]\nelse:\n    X = object",
    "lambda": "f = lambda a, b=1: a",
    "a file's own open": "f = files.open('x')",
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    source, expected = REFUSED[name]
    found = messages(source)
    assert any(expected in message for message in found), found
    # Each says what to write instead.
    assert all("; " in message or "only the standard library" in message for message in found)


@pytest.mark.parametrize("name", ALLOWED)
def test_allowed(name: str) -> None:
    assert messages(ALLOWED[name]) == []


def test_the_else_of_type_checking_is_checked() -> None:
    assert messages("if TYPE_CHECKING:\n    pass\nelse:\n    import socket") != []


def test_boundary_modules_may_do_what_they_are_for() -> None:
    catching = "import os\ntry:\n    os.unlink('x')\n    open('x')\nexcept OSError:\n    pass"
    assert messages(catching, "portable/files/opened.py") == []
    assert len(messages(catching, "portable/other.py")) == 3
    assert messages("import ssl", "portable/tls/engine.py") == []
    assert messages("import ssl", "portable/tls.py") != []


def test_findings_name_the_line() -> None:
    [finding] = subset.check_source("x = 1\ny = a @ b\n", "protocols/example.py")
    assert str(finding) == "protocols/example.py:2: the operator @; call a method"


def test_every_allowed_import_says_why_and_exists() -> None:
    for module, reason in subset.ALLOWED_IMPORTS.items():
        assert reason
        assert module.partition(".")[0] in sys.stdlib_module_names


def make_checkout(root: Path, files: dict[str, str]) -> Path:
    for package in ("portable", "protocols"):
        (root / package).mkdir()
    for name, source in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(source)
    return root


def test_status_0_when_all_is_well(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = make_checkout(
        tmp_path,
        {"portable/a.py": "x = 1\n", "protocols/b.py": "y = 2\n", "portable/commands/c.py": "import socket\n"},
    )
    assert subset.main([], root) == 0
    assert capsys.readouterr().out == "subset: 2 modules, 0 findings\n"


def test_status_1_and_a_line_for_each_finding(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = make_checkout(tmp_path, {"protocols/b.py": "y = 2\nimport socket\nx = a @ b\n"})
    assert subset.main([str(root / "protocols" / "b.py")], root) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" ")[0] for line in lines] == ["protocols/b.py:2:", "protocols/b.py:3:", "subset:"]


@pytest.mark.parametrize("content", [b"x = (", b"x = '\xff'", None])
def test_status_2_when_a_file_cannot_be_checked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes | None
) -> None:
    module = tmp_path / "broken.py"
    if content is not None:
        module.write_bytes(content)
    assert subset.main([str(module)]) == 2
    assert "cannot be checked" in capsys.readouterr().err


def test_it_runs_as_a_program() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "ci" / "subset.py", ROOT / "portable" / "deferred.py"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("subset: 1 modules, 0 findings\n")
