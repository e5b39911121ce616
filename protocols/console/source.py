"""Statements, put together from lines as people type them."""

from __future__ import annotations

import ast
import codeop
import typing

if typing.TYPE_CHECKING:
    from types import CodeType

__all__ = ["FILENAME", "MAX_SOURCE", "Source"]

# As tracebacks call what was typed.
FILENAME = "<console>"
# Characters of one statement. With each line all that came before is compiled again, on the loop; this takes
# a few milliseconds at most. A longer definition belongs in a module.
MAX_SOURCE = 16384


class Source:
    """Collects the lines of a statement. `from __future__ import` is remembered for those that follow.

    Attributes:
        pending: whether more lines are wanted.
        text: the lines of the last statement.
    """

    def __init__(self) -> None:
        self.text = ""
        self._compile = codeop.CommandCompiler()
        # A statement may await, as in `python -m asyncio`.
        self._compile.compiler.flags |= ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        self._lines: list[str] = []

    @property
    def pending(self) -> bool:
        """See the class."""
        return bool(self._lines)

    def add(self, line: str) -> CodeType | None:
        """Take the next line; return the statement, or None if it is not complete.

        Raises:
            SyntaxError, ValueError, OverflowError, MemoryError, RecursionError: there is no such statement; the
                lines are forgotten.
        """
        lines = [*self._lines, line]
        self._lines = []
        self.text = "\n".join(lines)
        if len(self.text) > MAX_SOURCE:
            raise SyntaxError(f"a statement of more than {MAX_SOURCE} characters")
        code = self._compile(self.text, FILENAME, "single")
        if code is None:
            self._lines = lines
        return code

    def reset(self) -> None:
        """Forget an incomplete statement."""
        self._lines = []
