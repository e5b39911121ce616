"""Executing one statement: where its output and its result go, and how its errors are shown."""

from __future__ import annotations

import traceback
import typing

from portable.running import calling, streams, textpipe

if typing.TYPE_CHECKING:
    from types import CodeType

__all__ = ["MAX_RESULT", "Statement", "describe_error"]

# Characters of a result that are shown. Whoever wants all of it prints it, and can stop that.
MAX_RESULT = 65536

# What `co_flags` says of a statement that awaits: inspect.CO_COROUTINE.
_COROUTINE = 0x80
# Frames of these are ours, and tell a user nothing; nor does what is called from the pipe.
_OWN_FILES = frozenset([__file__, calling.__file__, streams.__file__, textpipe.__file__])


class Statement:
    """One statement, and whoever has typed it (`portable.running.streams.Audience`).

    Args:
        code: compiled for "single": the values of expressions are displayed.
        namespace: its globals; "_" becomes the last value displayed.
        write: takes what it prints. Called in the thread that executes it.
    """

    def __init__(
        self, code: CodeType, namespace: dict[str, typing.Any], write: typing.Callable[[str], object]
    ) -> None:
        self._code = code
        self._namespace = namespace
        self.write = write

    @property
    def awaits(self) -> bool:
        """Whether it has an `await` that belongs to no function."""
        return bool(self._code.co_flags & _COROUTINE)

    def execute(self) -> bool:
        """Execute it; return whether to go on: not after SystemExit. Errors are printed; none comes out."""
        try:
            eval(self._code, self._namespace)  # noqa: S307 - it is what a console is for
        except BaseException as error:  # noqa: BLE001 - likewise: whatever it raises is for its author
            return self._failed(error)
        return True

    async def execute_awaiting(self) -> bool:
        """Do the same for a statement that awaits."""
        try:
            await eval(self._code, self._namespace)  # noqa: S307 - see execute
        except BaseException as error:  # noqa: BLE001 - likewise
            return self._failed(error)
        return True

    def display(self, value: object) -> None:
        """Show the value of an expression, as `sys.displayhook` does: None is nothing."""
        if value is None:
            return
        # Not the built-in's: other people have their own.
        self._namespace.pop("_", None)
        text = repr(value)
        if len(text) > MAX_RESULT:
            text = f"{text[:MAX_RESULT]}... ({len(text)} characters)"
        self.write(text + "\n")
        self._namespace["_"] = value

    def _failed(self, error: BaseException) -> bool:
        if isinstance(error, SystemExit):
            if error.code is not None and not isinstance(error.code, int):
                self.write(f"{error.code}\n")
            return False
        self.write(describe_error(error))
        return True


def _foreign(frames: typing.Iterable[traceback.FrameSummary]) -> list[traceback.FrameSummary]:
    """Return those that are not ours."""
    found = []
    for frame in frames:
        if frame.filename == textpipe.__file__:
            break
        if frame.filename not in _OWN_FILES:
            found.append(frame)
    return found


def describe_error(error: BaseException) -> str:
    """Return the traceback of an error, with its causes, without the frames that are ours."""
    try:
        described = traceback.TracebackException.from_exception(error)
        part: traceback.TracebackException | None = described
        while part is not None:
            part.stack[:] = _foreign(part.stack)
            part = part.__cause__ or part.__context__
        lines = list(described.format())
    except BaseException:  # noqa: BLE001 - an exception may do anything when it is looked at
        return f"{type(error).__name__} (its traceback cannot be shown)\n"
    return "".join(lines)
