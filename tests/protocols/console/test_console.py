"""Statements out of lines, what executing them shows, and names completed."""

from __future__ import annotations

import typing

import pytest

from portable.deferred import Deferred, ensure_deferred
from portable.running import streams
from portable.running.textpipe import TextPipe
from protocols.console.completion import complete
from protocols.console.source import MAX_SOURCE, Source
from protocols.console.statement import MAX_RESULT, Statement, describe_error


class Session:
    """Types lines, and has what is shown for them."""

    def __init__(self) -> None:
        self.source = Source()
        self.namespace: dict[str, typing.Any] = {"__name__": "__console__"}
        self.text = ""
        self.going_on = True

    def _write(self, text: str) -> None:
        self.text += text

    def type(self, *lines: str) -> str:
        """What is shown for the lines."""
        self.text = ""
        streams.install()
        try:
            for line in lines:
                code = self.source.add(line)
                if code is not None:
                    statement = Statement(code, self.namespace, self._write)
                    assert not statement.awaits
                    self.going_on = streams.run_for(statement, statement.execute)
        finally:
            streams.uninstall()
        return self.text


def test_results_are_shown_and_kept() -> None:
    session = Session()
    assert session.type("x = 20") == ""
    assert session.type("x + 1") == "21\n"
    assert session.type("_ * 2") == "42\n"
    assert session.type("None") == ""
    assert session.type("_") == "42\n"
    assert session.type("for i in range(2): i", "") == "0\n1\n"
    assert session.type("print('a', end=''); 'b'") == "a'b'\n"


def test_a_definition_ends_with_an_empty_line() -> None:
    session = Session()
    assert session.type("def f(x):", "    if x:", "        return x", "    return 0") == ""
    pending = [session.source.pending]
    assert session.type("") == ""
    pending.append(session.source.pending)
    assert pending == [True, False]
    assert session.type("f(3)") == "3\n"
    assert session.type("'''one", "two'''") == "'one\\ntwo'\n"
    assert session.type("(1,", "2)") == "(1, 2)\n"


def test_an_incomplete_statement_is_forgotten_when_asked() -> None:
    session = Session()
    session.type("def f(:"[:5] + "(x):")
    session.source.reset()
    assert session.type("1") == "1\n"


def test_what_comes_from_the_future_stays() -> None:
    session = Session()
    session.type("from __future__ import annotations")
    assert session.type("def f(x: nowhere): pass", "", "f.__annotations__") == "{'x': 'nowhere'}\n"


@pytest.mark.parametrize(
    "line", ["1 +* 2", "'open", "  x", "(" * 3000, "\0", "x" * (MAX_SOURCE + 1), "-" * 10000 + "1"]
)
def test_what_is_no_python_is_an_error_and_forgotten(line: str) -> None:
    session = Session()
    with pytest.raises((SyntaxError, ValueError, MemoryError, RecursionError)):
        session.type(line)
    assert session.type("1") == "1\n"


def test_tracebacks_have_the_frames_of_the_user_alone() -> None:
    session = Session()
    session.type("def f(): return 1/0", "")
    assert session.type("f()") == (
        "Traceback (most recent call last):\n"
        '  File "<console>", line 1, in <module>\n'
        '  File "<console>", line 1, in f\n'
        "ZeroDivisionError: division by zero\n"
    )
    assert "During handling" in session.type("try: f()", "except Exception: raise KeyError('other')", "")
    assert "direct cause" in session.type(
        "try: f()", "except Exception as e: raise KeyError('other') from e", ""
    )
    assert session.going_on


def test_an_interruption_while_the_loop_is_woken_shows_no_frames_of_ours() -> None:
    def wake() -> None:
        raise KeyboardInterrupt

    def fail() -> None:
        TextPipe(wake).write("text")

    session = Session()
    session.namespace["fail"] = fail
    shown = session.type("fail()")
    assert shown.startswith("Traceback")
    assert "in fail" in shown
    assert "textpipe" not in shown
    assert "in wake" not in shown


def test_a_recursion_without_end_is_an_error() -> None:
    session = Session()
    session.type("def f(): f()", "")
    shown = session.type("f()")
    assert "RecursionError" in shown
    assert len(shown) < 2000


@pytest.mark.parametrize("name", ["__str__", "__repr__", "__getattr__"])
def test_errors_that_fail_to_be_shown_are_shown_all_the_same(name: str) -> None:
    session = Session()
    session.type("class Bad(Exception):", f"    def {name}(self, *args): raise SystemExit", "")
    assert "Bad" in session.type("raise Bad()")
    assert session.going_on


def test_a_result_that_cannot_be_shown_is_an_error() -> None:
    session = Session()
    session.type("class Bad:", "    def __repr__(self): raise ValueError('no')", "")
    assert session.type("Bad()").endswith("ValueError: no\n")


def test_a_result_of_100_mb_is_cut() -> None:
    shown = Session().type("'x' * 100_000_000")
    assert len(shown) < MAX_RESULT + 100
    assert shown.endswith("x... (100000002 characters)\n")


@pytest.mark.parametrize("line", ["exit()", "quit()", "import sys; sys.exit(3)", "raise SystemExit"])
def test_exit_ends_the_session_alone(line: str) -> None:
    session = Session()
    assert session.type(line) == ""
    assert not session.going_on


def test_exit_with_a_word_says_it() -> None:
    session = Session()
    assert session.type("exit('bye')") == "bye\n"
    assert not session.going_on


def test_what_is_raised_otherwise_does_not_end_it() -> None:
    session = Session()
    assert session.type("raise KeyboardInterrupt").endswith("KeyboardInterrupt\n")
    assert session.type("raise GeneratorExit").endswith("GeneratorExit\n")
    assert session.going_on


def test_errors_without_a_traceback() -> None:
    assert describe_error(SyntaxError("so it is")) == "SyntaxError: so it is\n"


def test_a_statement_may_await() -> None:
    source = Source()
    namespace: dict[str, typing.Any] = {"later": Deferred()}
    shown: list[str] = []
    results = []
    streams.install()
    try:
        for line in ("await later", "await nothing", "await exiting()"):
            code = source.add(line)
            assert code is not None
            statement = Statement(code, namespace, shown.append)
            assert statement.awaits
            results.append(streams.run_for(statement, ensure_deferred, statement.execute_awaiting()))
            if line == "await later":
                assert shown == []
                namespace["later"].callback(42)

                async def exiting() -> None:
                    raise SystemExit

                namespace["exiting"] = exiting
    finally:
        streams.uninstall()
    assert shown[0] == "42\n"
    assert shown[1].endswith("NameError: name 'nothing' is not defined\n")
    ended: list[bool] = []
    for result in results:
        result.add_callback(ended.append)
    assert ended == [True, True, False]


class Sample:
    start = 1
    stop = 2
    _hidden = 3

    def __getattr__(self, name: str) -> object:
        raise RuntimeError(name)


@pytest.mark.parametrize(
    ("before", "start", "choices"),
    [
        ("samp", 0, ["sample"]),
        ("x = samp", 4, ["sample"]),
        ("print(sample.st", 13, ["start", "stop"]),
        ("sample._hid", 7, ["_hidden"]),
        ("sample.start.bit_l", 13, ["bit_length"]),
        ("sample.nothing.x", 15, []),
        ("nobody.x", 7, []),
        ("isinst", 0, ["isinstance"]),
        ("lamb", 0, ["lambda"]),
        ("f(1).pri", 8, []),
        ("1.pri", 5, []),
        ("str.isalp", 4, ["isalpha"]),
    ],
)
def test_completion(before: str, start: int, choices: list[str]) -> None:
    assert complete(before, {"sample": Sample()}) == (start, choices)


def test_completion_hides_what_begins_with_an_underscore() -> None:
    _, choices = complete("sample.", {"sample": Sample()})
    assert choices == ["start", "stop"]


def test_completion_of_what_does_not_want_to_be_looked_at() -> None:
    class Bad:
        def __init__(self, error: type[BaseException]) -> None:
            self.error = error

        def __dir__(self) -> typing.NoReturn:
            raise self.error

    assert complete("bad.x", {"bad": Bad(ValueError)}) == (4, [])
    assert complete("bad.x", {"bad": Bad(SystemExit)}) == (4, [])


def test_completion_offers_nothing_but_names() -> None:
    class Record:
        pass

    record = Record()
    record.__dict__.update({"name": 1, "no name": 2, "n\x1b[2J": 3})
    assert complete("record.n", {"record": record}) == (7, ["name"])
