#!/usr/bin/env python3
"""Refuses Python in portable/ and protocols/ that cannot be translated mechanically for other runtimes.

These two packages are written so that a small pass over the syntax tree can turn them into the Python that runs
on the JVM. This program says where a module leaves that subset, as far as the syntax shows it, and what to
write instead. CONTRIBUTING.md explains the subset. The commands are free of it.

    ci/subset.py [FILE or FOLDER ...]     default: portable and protocols of this checkout

Exit status: 0 all is well, 1 something was found, 2 a file cannot be read or parsed.
"""

from __future__ import annotations

import argparse
import ast
import dataclasses
import io
import re
import sys
import tokenize
import typing
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CHECKED = ("portable", "protocols")
FREE = ("portable/commands",)

# What may be imported of the standard library, and why that does no harm: none of it waits for anything, opens
# sockets or starts threads, and each exists on the other runtimes or is easily supplied there.
ALLOWED_IMPORTS = {
    "__future__": "a notice to the compiler",
    "ast": "pure computation",
    "base64": "pure computation",
    "binascii": "pure computation",
    "bisect": "pure computation",
    "builtins": "the names of Python itself",
    "calendar": "pure computation; used for timegm",
    "codecs": "pure computation",
    "codeop": "calls the compiler",
    "collections": "containers",
    "collections.abc": "interfaces of containers",
    "contextlib": "context managers; suppress() is held to the rule about OSError",
    "contextvars": "variables that follow a coroutine; a stand-in with one context is enough elsewhere",
    "copy": "pure computation",
    "dataclasses": "expanded by the translation",
    "datetime": "pure computation; the time itself comes from a clock that is passed in",
    "decimal": "pure computation",
    "enum": "expanded by the translation",
    "fnmatch": "pure computation",
    "functools": "pure computation",
    "hashlib": "pure computation; the JVM has the same digests",
    "heapq": "pure computation",
    "hmac": "pure computation",
    "html": "escaping of text",
    "importlib": "server kinds and reactors are found by name",
    "importlib.metadata": "reads the entry points of installed packages",
    "importlib.resources": "reads this package's own data files",
    "io": "BytesIO and the interfaces of files",
    "ipaddress": "parses addresses, asks nobody",
    "itertools": "pure computation",
    "json": "pure computation",
    "keyword": "a table",
    "logging": "logging calls; handlers and files are set up by the commands",
    "math": "pure computation",
    "mimetypes": "a table; callers take the built-in one, not the system's",
    "operator": "pure computation",
    "os": "paths, environment and ids only: see ALLOWED_OS",
    "os.path": "paths",
    "pkgutil": "lists this distribution's own modules and reads its data files",
    "posixpath": "pure computation",
    "random": "numbers that need not be secret",
    "re": "patterns; see the rule about digits",
    "secrets": "numbers that must be secret; the JVM has SecureRandom",
    "shlex": "pure computation",
    "stat": "constants and predicates",
    "string": "constants",
    "struct": "packs and unpacks bytes",
    "sys": "platform, frames, standard streams' encodings",
    "textwrap": "pure computation",
    "time": "formats times, and is the default of clocks that are passed in; sleep() is refused",
    "tomllib": "pure computation",
    "traceback": "formats errors; the lines of source files are read",
    "types": "names of types",
    "typing": "erased by the translation",
    "unicodedata": "a table",
    "urllib.parse": "takes URLs apart; opens none",
    "weakref": "exists on every runtime",
    "zlib": "pure computation; java.util.zip is the same library",
}

# Modules at the border to the outside world, what they may import more, and why. Keys are paths or folders.
BOUNDARIES = {
    "portable/files": (("errno", "fcntl", "tempfile"), "it is how everybody else reaches the file system"),
    "portable/systemusers.py": (("pwd",), "it is how servers ask who has an account on this machine"),
    "portable/running": (("ctypes", "threading"), "it runs what people typed, and stops it"),
    "portable/tls": (("ssl", "errno"), "TLS over memory buffers: bytes in, bytes out, no sockets"),
}
MAY_CATCH_OS_ERRORS = ("portable/files",)
MAY_USE_ALL_OF_OS = ("portable/files",)

ALLOWED_OS = frozenset(
    (
        "PathLike", "R_OK", "W_OK", "X_OK", "access", "altsep", "curdir", "environ", "extsep", "fsdecode",
        "fsencode", "fspath", "getcwd", "getegid", "geteuid", "getgid", "getpid", "getuid", "linesep",
        "name", "path", "pathsep", "sep", "urandom",
    )
)  # fmt: skip

OS_ERRORS = frozenset(
    (
        "OSError", "IOError", "EnvironmentError", "BlockingIOError", "BrokenPipeError",
        "ChildProcessError", "ConnectionAbortedError", "ConnectionError", "ConnectionRefusedError",
        "ConnectionResetError", "FileExistsError", "FileNotFoundError", "InterruptedError",
        "IsADirectoryError", "NotADirectoryError", "PermissionError", "ProcessLookupError",
        "TimeoutError",
    )
)  # fmt: skip

BUILTIN_TYPES = frozenset(
    (
        "bool", "bytearray", "bytes", "complex", "dict", "float", "frozenset", "int", "list",
        "memoryview", "object", "set", "str", "tuple", "type",
    )
)  # fmt: skip
GENERIC_BUILTINS = frozenset(("dict", "frozenset", "list", "set", "tuple", "type"))
TYPE_MODULES = ("typing", "collections.abc")

# A method of the JVM holds 64 KB of code, and a literal of a thousand entries comes near it.
MAX_ENTRIES = 1000
_DIGIT_CLASS = re.compile(r"(?<!\\)(?:\\\\)*\\d")


@dataclasses.dataclass(frozen=True, order=True)
class Finding:
    """One place that leaves the subset."""

    path: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.message}"


def _beneath(path: str, places: typing.Iterable[str]) -> bool:
    return any(path == place or path.startswith(place + "/") for place in places)


def _is_type_checking(test: ast.expr) -> bool:
    name = test.attr if isinstance(test, ast.Attribute) else test.id if isinstance(test, ast.Name) else ""
    return name == "TYPE_CHECKING"


def _walrus_may_stand(test: ast.expr) -> typing.Iterator[ast.NamedExpr]:
    """Yield the walrus that is evaluated first in the test of an `if` or `while`, if there is one."""
    while True:
        if isinstance(test, ast.NamedExpr):
            yield test
            return
        if isinstance(test, ast.Compare):
            test = test.left
        elif isinstance(test, ast.BoolOp):
            test = test.values[0]
        elif isinstance(test, ast.UnaryOp):
            test = test.operand
        else:
            return


def _own_nodes(function: ast.AST) -> typing.Iterator[ast.AST]:
    """Yield the nodes of a function without those of functions and classes inside it."""
    waiting = list(ast.iter_child_nodes(function))
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            waiting.extend(ast.iter_child_nodes(node))


class Checker(ast.NodeVisitor):
    """Collects the findings of one module."""

    def __init__(self, path: str) -> None:
        """Check the module at `path`, which is relative to the checkout and has forward slashes."""
        self.path = path
        self.findings: list[Finding] = []
        self.boundary = [names for place, (names, _) in BOUNDARIES.items() if _beneath(path, [place])]
        self.allowed_walruses: set[ast.NamedExpr] = set()
        self.allowed_awaits: set[ast.Await] = set()
        self.allowed_subscripts: set[ast.expr] = set()
        self.type_names: set[str] = set(GENERIC_BUILTINS)
        self.views: list[set[str]] = [set()]

    def add(self, node: ast.AST, what: str, instead: str) -> None:
        self.findings.append(Finding(self.path, getattr(node, "lineno", 1), f"{what}; {instead}"))

    # Parts of the tree that the translation erases.

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self._allow_await(node.value)
        annotation = node.annotation
        name = annotation.attr if isinstance(annotation, ast.Attribute) else getattr(annotation, "id", "")
        if name == "TypeAlias" and not (
            isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        ):
            self.add(
                node, "a type alias made at run time", "put it under TYPE_CHECKING, or its value in quotes"
            )
        elif node.value is not None:
            self._note_view(node.target, node.value)
            self.visit(node.value)

    def visit_arg(self, node: ast.arg) -> None:
        pass

    def visit_If(self, node: ast.If) -> None:
        self.allowed_walruses.update(_walrus_may_stand(node.test))
        if _is_type_checking(node.test):
            for statement in node.orelse:
                self.visit(statement)
        else:
            self.generic_visit(node)

    # Statements.

    def visit_While(self, node: ast.While) -> None:
        self.allowed_walruses.update(_walrus_may_stand(node.test))
        self.generic_visit(node)

    def visit_Match(self, node: ast.Match) -> None:
        self.add(node, "match", "write if and elif")
        self.generic_visit(node)

    def visit_AsyncFor(self, node: ast.AsyncFor) -> None:
        self.add(node, "async for", "await the items one by one in a while loop")
        self.generic_visit(node)

    def visit_AsyncWith(self, node: ast.AsyncWith) -> None:
        self.add(node, "async with", "use try and finally")
        self.generic_visit(node)

    def visit_For(self, node: ast.For) -> None:
        self._check_target(node.target)
        self.generic_visit(node)

    def visit_comprehension(self, node: ast.comprehension) -> None:
        if node.is_async:
            self.add(node.target, "an asynchronous comprehension", "await in a loop")
        self._check_target(node.target)
        self.generic_visit(node)

    def _check_target(self, target: ast.expr) -> None:
        if any(isinstance(part, ast.Starred) for part in ast.walk(target)):
            self.add(target, "a starred target in for", "take one name and unpack it inside the loop")

    def visit_Try(self, node: ast.Try) -> None:
        for statement in node.finalbody:
            self._check_continue(statement)
        self.generic_visit(node)

    def visit_TryStar(self, node: typing.Any) -> None:
        self.add(node, "except*", "catch one exception")
        self.generic_visit(node)

    def _check_continue(self, node: ast.AST) -> None:
        if isinstance(node, ast.Continue):
            self.add(node, "continue in finally", "move it behind the try statement")
        elif not isinstance(node, ast.For | ast.While | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            for child in ast.iter_child_nodes(node):
                self._check_continue(child)

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        if node.type is not None:
            self._check_caught(node.type)
        self.generic_visit(node)

    def _check_caught(self, caught: ast.expr) -> None:
        if _beneath(self.path, MAY_CATCH_OS_ERRORS):
            return
        for part in ast.walk(caught):
            name = (
                part.id if isinstance(part, ast.Name) else part.attr if isinstance(part, ast.Attribute) else ""
            )
            if name in OS_ERRORS:
                self.add(part, f"catching {name}", "catch the framework's own error (portable.errors)")

    def visit_Expr(self, node: ast.Expr) -> None:
        # A body of three dots, as of an overload, is no value; so is a result that nobody takes.
        if isinstance(node.value, ast.Constant) and node.value.value is ...:
            return
        self._allow_await(node.value)
        if isinstance(node.value, ast.YieldFrom):
            self.visit(node.value.value)
        else:
            self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        self._allow_await(node.value)
        for target in node.targets:
            self._note_view(target, node.value)
            if isinstance(target, ast.Tuple | ast.List) and _is_bytes(node.value):
                self.add(node, "unpacking bytes", "take slices, or use struct")
        self.generic_visit(node)

    def visit_Return(self, node: ast.Return) -> None:
        self._allow_await(node.value)
        self.generic_visit(node)

    def _allow_await(self, value: ast.expr | None) -> None:
        if isinstance(value, ast.Await):
            self.allowed_awaits.add(value)

    # Definitions.

    def visit_Module(self, node: ast.Module) -> None:
        for statement in node.body:
            if isinstance(statement, ast.FunctionDef) and statement.name in ("__getattr__", "__dir__"):
                self.add(statement, f"{statement.name} of a module", "define the names themselves")
        self.generic_visit(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._check_type_parameters(node)
        for keyword in node.keywords:
            if keyword.arg != "metaclass":
                self.add(
                    node,
                    f"the class keyword {keyword.arg or '**'}",
                    "set a class attribute, or use a decorator",
                )
        self.allowed_subscripts.update(base for base in node.bases if isinstance(base, ast.Subscript))
        for statement in node.body:
            if isinstance(statement, ast.FunctionDef) and statement.name in (
                "__init_subclass__",
                "__set_name__",
            ):
                self.add(statement, statement.name, "use a decorator, or register by hand")
        self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        if any(isinstance(part, ast.Yield | ast.YieldFrom) for part in _own_nodes(node)):
            self._check_returns(node)
        self._visit_function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._visit_function(node)

    def _visit_function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self._check_type_parameters(node)
        for part in [*node.decorator_list, *node.args.defaults, *node.args.kw_defaults]:
            if part is not None:
                self.visit(part)
        self.views.append(set())
        for statement in node.body:
            self.visit(statement)
        self.views.pop()

    def _check_returns(self, function: ast.FunctionDef) -> None:
        for part in _own_nodes(function):
            if isinstance(part, ast.Try):
                for inner in _own_nodes(part):
                    if isinstance(inner, ast.Return) and inner.value is not None:
                        self.add(
                            inner, "return with a value inside try in a generator", "return behind the try"
                        )

    def _check_type_parameters(self, node: typing.Any) -> None:
        if getattr(node, "type_params", None):
            self.add(node, "type parameters in brackets", "use typing.TypeVar")

    def visit_TypeAlias(self, node: typing.Any) -> None:
        self.add(node, "a type statement", "put a plain alias under TYPE_CHECKING")

    def visit_Lambda(self, node: ast.Lambda) -> None:
        if node.args.kwonlyargs:
            self.add(node, "a keyword-only parameter of a lambda", "define a function")
        self.generic_visit(node)

    # Expressions.

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        if node not in self.allowed_walruses:
            self.add(
                node, "a walrus that is not what an if or while tests first", "assign in a statement before"
            )
        self.generic_visit(node)

    def visit_Await(self, node: ast.Await) -> None:
        if node not in self.allowed_awaits:
            self.add(node, "await inside an expression", "assign its result to a name first")
        self.generic_visit(node)

    def visit_YieldFrom(self, node: ast.YieldFrom) -> None:
        self.add(node, "yield from as an expression", "yield in a loop, and pass the result another way")
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        if node.value is ...:
            self.add(node, "... as a value", "use None or a named object")
        elif node.value == "surrogateescape":
            self.add(node, "surrogateescape", "keep bytes as bytes, or decode as latin-1")

    def visit_BinOp(self, node: ast.BinOp) -> None:
        operands = (node.left, node.right)
        if isinstance(node.op, ast.MatMult):
            self.add(node, "the operator @", "call a method")
        elif isinstance(node.op, ast.Mod) and _is_bytes(node.left):
            self.add(node, "% formatting of bytes", "join the parts, or format a str and encode it")
        elif isinstance(node.op, ast.BitOr) and any(self._is_type(operand) for operand in operands):
            self.add(
                node,
                "a union of types at run time",
                "use a tuple in isinstance; put an alias under TYPE_CHECKING or in quotes",
            )
        if isinstance(node.op, ast.BitOr | ast.BitAnd | ast.BitXor | ast.Sub) and any(
            map(_is_view_of_dict, operands)
        ):
            self.add(node, "set algebra on the keys of a dict", "wrap them in set()")
        self.generic_visit(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        if isinstance(node.op, ast.MatMult):
            self.add(node, "the operator @=", "call a method")
        self.generic_visit(node)

    def _is_type(self, node: ast.expr) -> bool:
        if isinstance(node, ast.Constant):
            return node.value is None
        if isinstance(node, ast.Subscript):
            return self._names_generic(node.value)
        return isinstance(node, ast.Name) and node.id in BUILTIN_TYPES

    def _names_generic(self, node: ast.expr) -> bool:
        if isinstance(node, ast.Attribute):
            return ast.unparse(node.value) in TYPE_MODULES
        return isinstance(node, ast.Name) and node.id in self.type_names

    def visit_Subscript(self, node: ast.Subscript) -> None:
        if node not in self.allowed_subscripts and self._names_generic(node.value):
            self.add(
                node,
                f"{ast.unparse(node.value)}[...] at run time",
                "put it in quotes (typing.cast takes a string), or under TYPE_CHECKING",
            )
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        if sum(keyword.arg is None for keyword in node.keywords) > 1:
            self.add(node, "several ** in one call", "merge the dicts first")
        function = node.func
        name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
        if name == "suppress":
            for argument in node.args:
                self._check_caught(argument)
        if name == "__import__":
            self.add(node, "__import__", "write an import, which can be checked")
        if isinstance(function, ast.Attribute):
            owner = function.value
            if name in ("find", "rfind") and node.args and _is_int(node.args[0]):
                self.add(node, f"{name}() of a number in bytes", "look for a slice: b'x'")
            if isinstance(owner, ast.Name) and owner.id == "re" and node.args:
                self._check_pattern(node.args[0])
            if isinstance(owner, ast.Name) and owner.id == "time" and name == "sleep":
                self.add(node, "time.sleep", "ask the clock that you were given to call you later")
        elif name == "open" and not _beneath(self.path, MAY_USE_ALL_OF_OS):
            self.add(node, "open()", "go through portable.files")
        self.generic_visit(node)

    def _check_pattern(self, pattern: ast.expr) -> None:
        for part in ast.walk(pattern):
            if isinstance(part, ast.Constant) and isinstance(part.value, str | bytes):
                text = part.value if isinstance(part.value, str) else part.value.decode("latin-1")
                if _DIGIT_CLASS.search(text):
                    self.add(
                        part, r"\d in a pattern, which also matches digits of other scripts", "write [0-9]"
                    )

    def visit_Attribute(self, node: ast.Attribute) -> None:
        owner = node.value
        if isinstance(owner, ast.Name):
            if owner.id == "os" and node.attr not in ALLOWED_OS and not _beneath(self.path, MAY_USE_ALL_OF_OS):
                self.add(node, f"os.{node.attr}", "go through portable.files or an interface")
            if any(owner.id in names for names in self.views):
                self._check_view(node)
        elif isinstance(owner, ast.Call) and isinstance(owner.func, ast.Name) and owner.func.id == "memoryview":
            self._check_view(node)
        self.generic_visit(node)

    def _note_view(self, target: ast.expr, value: ast.expr) -> None:
        if not isinstance(target, ast.Name):
            return
        makes_one = (
            isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id == "memoryview"
        )
        if makes_one:
            self.views[-1].add(target.id)
        else:
            self.views[-1].discard(target.id)

    def _check_view(self, node: ast.Attribute) -> None:
        self.add(node, f"memoryview.{node.attr}", "use memoryviews for slicing only; bytes(view) copies")

    def visit_List(self, node: ast.List) -> None:
        self._check_size(node, len(node.elts))

    def visit_Tuple(self, node: ast.Tuple) -> None:
        self._check_size(node, len(node.elts))

    def visit_Set(self, node: ast.Set) -> None:
        self._check_size(node, len(node.elts))

    def visit_Dict(self, node: ast.Dict) -> None:
        self._check_size(node, len(node.values))

    def _check_size(self, node: ast.expr, entries: int) -> None:
        if entries > MAX_ENTRIES:
            self.add(node, f"a literal of {entries} entries", "put the table into a data file")
        self.generic_visit(node)

    # Imports.

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self._check_import(node, alias.name)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        module = node.module or ""
        if node.level:
            self.add(node, "a relative import", "name the whole module")
            return
        if module in TYPE_MODULES:
            self.type_names.update(alias.asname or alias.name for alias in node.names)
        if module == "os":
            for alias in node.names:
                if alias.name not in ALLOWED_OS and not _beneath(self.path, MAY_USE_ALL_OF_OS):
                    self.add(node, f"os.{alias.name}", "go through portable.files or an interface")
        self._check_import(node, module)

    def _check_import(self, node: ast.AST, module: str) -> None:
        top = module.partition(".")[0]
        if top in CHECKED or module in ALLOWED_IMPORTS or any(module in names for names in self.boundary):
            return
        if top in sys.stdlib_module_names:
            self.add(
                node,
                f"import of {module}",
                "take it through an interface; if it does no harm, say why in ci/subset.py (ALLOWED_IMPORTS)",
            )
        else:
            self.add(
                node, f"import of {module}", "only the standard library, portable and protocols are used here"
            )


def _is_bytes(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, bytes)


def _is_int(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and type(node.value) is int


def _is_view_of_dict(node: ast.expr) -> bool:
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("keys", "items")
        and not node.args
    )


def check_source(source: str, path: str) -> list[Finding]:
    """Return what leaves the subset in the module `source`, by line.

    Args:
        source: the text of the module.
        path: its place in the checkout, with forward slashes.

    Raises:
        SyntaxError: it is not Python.
    """
    checker = Checker(path)
    checker.visit(ast.parse(source, path))
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.NAME and not token.string.isascii():
            checker.findings.append(
                Finding(path, token.start[0], f"the name {token.string}; use letters of ASCII in names")
            )
    return sorted(set(checker.findings))


def _modules(places: list[Path]) -> typing.Iterator[Path]:
    for place in places:
        yield from sorted(place.rglob("*.py")) if place.is_dir() else [place]


def main(arguments: list[str] | None = None, root: Path = ROOT) -> int:
    """Check the files named in `arguments`, print what is found, and return the exit status."""
    parser = argparse.ArgumentParser(
        description="Check that portable/ and protocols/ keep to their subset of Python."
    )
    parser.add_argument(
        "places", nargs="*", type=Path, metavar="FILE", help="files or folders (default: both packages)"
    )
    places = parser.parse_args(arguments).places or [root / name for name in CHECKED]
    findings: list[Finding] = []
    checked = 0
    for module in _modules(places):
        full = module.resolve()
        path = full.relative_to(root).as_posix() if full.is_relative_to(root) else module.as_posix()
        if _beneath(path, FREE):
            continue
        try:
            findings += check_source(full.read_text("utf-8"), path)
        except (OSError, UnicodeDecodeError, SyntaxError) as error:
            print(f"{path}: cannot be checked: {error}", file=sys.stderr)
            return 2
        checked += 1
    for finding in findings:
        print(finding)
    print(f"subset: {checked} modules, {len(findings)} findings")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
