"""What the commands have in common: parsing arguments, exit statuses, errors on one line."""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import sys
import traceback
import typing

from portable.errors import FrameworkError
from portable.logs import escaped

if typing.TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["DONE", "FAILED", "MISUSED", "CommandError", "Parser", "UsageError", "run_command", "version_text"]

DONE = 0
FAILED = 1
MISUSED = 2


class CommandError(FrameworkError):
    """A command cannot do what it was asked; the message is for the person who asked."""


class UsageError(FrameworkError):
    """The command line is wrong."""


class Parser(argparse.ArgumentParser):
    """An argument parser that raises UsageError and takes no abbreviations."""

    def __init__(
        self, prog: str, description: str, usage: str | None = None, epilog: str | None = None
    ) -> None:
        super().__init__(
            prog=prog,
            description=description,
            usage=usage,
            epilog=epilog,
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )

    def error(self, message: str) -> typing.NoReturn:
        """Raise UsageError."""
        raise UsageError(f"{message}; see {self.prog} --help")


def version_text(command: str) -> str:
    """Return "mktap (Portable) 0.1.0", without the number where nothing is installed."""
    try:
        version = importlib.metadata.version("portable-net")
    except importlib.metadata.PackageNotFoundError:
        version = "from a checkout"
    return f"{command} (Portable) {version}"


def one_line(error: BaseException) -> str:
    """Return what to tell a person about `error`."""
    if isinstance(error, FrameworkError):
        return escaped(str(error))
    if isinstance(error, OSError):
        return escaped(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    return escaped(f"{type(error).__name__}: {error} (this is a bug; --debug shows where)")


def run_command(name: str, run: Callable[[Sequence[str]], int], argv: Sequence[str] | None) -> int:
    """Call `run` with the arguments (by default the process's) and return the exit status.

    Whatever it raises becomes one line on standard error; with `--debug` among the arguments, the traceback
    goes before it.
    """
    arguments = sys.argv[1:] if argv is None else list(argv)
    _replace_closed_streams()
    try:
        try:
            status = run(arguments)
        except SystemExit:
            # So ends argparse after --help and --version.
            _flush_output()
            raise
        _flush_output()
    except BrokenPipeError:
        # Whoever read our output has gone, as `head` does.
        _drop_output()
        return DONE
    except KeyboardInterrupt:
        print(f"{name}: interrupted", file=sys.stderr)
        return FAILED
    except Exception as error:  # noqa: BLE001 - a person gets one line, whatever went wrong
        if "--debug" in arguments:
            traceback.print_exc()
        print(f"{name}: {one_line(error)}", file=sys.stderr)
        return MISUSED if isinstance(error, UsageError) else FAILED
    return status


def _replace_closed_streams() -> None:
    """Open the null device in the place of those of the three standard streams that the caller has closed.

    Otherwise the next files that are opened would get their numbers, and what somebody prints would go there.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 - it stays open


def _flush_output() -> None:
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        _drop_output()
        raise CommandError(f"cannot write to standard output: {error.strerror}") from error


def _drop_output() -> None:
    """Send what is left in the buffer nowhere: Python would complain once more at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
