"""Standard streams that belong to whoever is running code, and otherwise to the process.

`sys.stdout` and its kin are one for the whole process, while several people may run code at the same time, in
threads or in turns on the loop. So they are replaced once, by streams that look at a context variable: where
that is set, it has the text; elsewhere, everything goes where it went before. A thread that such code starts
has a context of its own, so its output is the process's.

There is nobody to answer `input()`: it finds the end of the stream. What child processes and libraries in C
write to the descriptors 1 and 2 does not pass through here.
"""

from __future__ import annotations

import contextvars
import io
import sys
import typing

__all__ = ["Audience", "install", "run_for", "uninstall"]

R = typing.TypeVar("R")


class Audience(typing.Protocol):
    """Whoever is running code."""

    def write(self, text: str) -> object:
        """Take what it prints, to standard output or error."""

    def display(self, value: object) -> object:
        """Take the value of an expression, instead of `sys.displayhook`."""


_audience: contextvars.ContextVar[Audience | None] = contextvars.ContextVar("audience", default=None)
_users = 0
_previous_hook: typing.Callable[[object], object] = sys.displayhook


class _Shared:
    """A standard stream of everybody; `original` may be None, as it is in a process without a console.

    It is no `io.TextIOBase`: those close themselves when they are collected, and the original with them.
    """

    def __init__(self, original: typing.Any) -> None:
        self.original = original

    def write(self, text: str) -> int:
        """Pass `text` to whoever runs the code, or on."""
        audience = _audience.get()
        if audience is not None:
            if not isinstance(text, str):
                raise TypeError(f"write() argument must be str, not {type(text).__name__}")
            audience.write(text)
        elif self.original is not None:
            self.original.write(text)
        return len(text)

    def writelines(self, lines: typing.Iterable[str]) -> None:
        """Write each of `lines`."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Flush the original."""
        if not self._is_ours():
            self.original.flush()

    def read(self, size: int | None = -1) -> str:
        """Return "", or what the original has."""
        return "" if self._is_ours() else self.original.read(size)

    def readline(self, size: int = -1) -> str:
        """Return "", or what the original has."""
        return "" if self._is_ours() else self.original.readline(size)

    def isatty(self) -> bool:
        """Return whether there is a terminal to ask."""
        return False if self._is_ours() else self.original.isatty()

    def fileno(self) -> int:
        """Return the original's descriptor; whoever runs code has none."""
        if self._is_ours():
            raise io.UnsupportedOperation("this stream has no descriptor")
        return int(self.original.fileno())

    def close(self) -> None:
        """Do nothing for whoever runs code: `quit()` closes `sys.stdin`, which is everybody's."""
        if not self._is_ours():
            self.original.close()

    @property
    def closed(self) -> bool:
        """Whether nothing can be written."""
        return False if self._is_ours() else self.original.closed

    @property
    def encoding(self) -> str:
        """Of the text."""
        return "utf-8" if self._is_ours() else self.original.encoding

    @property
    def errors(self) -> str | None:
        """What becomes of characters that the encoding lacks."""
        return "replace" if self._is_ours() else self.original.errors

    def __getattr__(self, name: str) -> typing.Any:
        """Give what only the original has, such as `buffer`; not to whoever runs code: it would bypass us."""
        if name.startswith("__") or self._is_ours():
            raise AttributeError(name)
        return getattr(self.original, name)

    def _is_ours(self) -> bool:
        return self.original is None or _audience.get() is not None


_NAMES = ("stdin", "stdout", "stderr")


def install() -> None:
    """Replace the standard streams. Each call wants one of `uninstall`."""
    global _users, _previous_hook
    _users += 1
    if _users > 1:
        return
    for name in _NAMES:
        setattr(sys, name, _Shared(getattr(sys, name)))
    _previous_hook = sys.displayhook
    sys.displayhook = _display


def uninstall() -> None:
    """Put the streams back, after the last of those that have called `install`; unless others replaced ours."""
    global _users
    _users -= 1
    if _users:
        return
    for name in _NAMES:
        stream = getattr(sys, name)
        if isinstance(stream, _Shared):
            setattr(sys, name, stream.original)
    if sys.displayhook is _display:
        sys.displayhook = _previous_hook


def run_for(audience: Audience, function: typing.Callable[..., R], *args: object) -> R:
    """Call `function(*args)` with the streams, and everything that follows in its context, for `audience`."""
    context = contextvars.copy_context()
    context.run(_audience.set, audience)
    return context.run(function, *args)


def _display(value: object) -> None:
    audience = _audience.get()
    if audience is not None:
        audience.display(value)
    else:
        _previous_hook(value)
