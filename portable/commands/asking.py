"""Asking the person at the terminal for a password."""

from __future__ import annotations

import getpass
import sys

from portable.commands.usage import CommandError

__all__ = ["with_password"]


def with_password(text: str) -> str:
    """Return "NAME:PASSWORD" as it is; ask for the password of "NAME", twice and unseen.

    Where standard input is no terminal, its next line is the password.

    Raises:
        CommandError: none was given, or two different ones.
    """
    if ":" in text:
        return text
    if not sys.stdin.isatty():
        password = sys.stdin.readline().rstrip("\r\n")
        if not password:
            raise CommandError(
                f"there is no password for {text!r} on standard input: give a line for each account"
            )
        return f"{text}:{password}"
    try:
        password = getpass.getpass(f"Password of {text}: ")
        if password != getpass.getpass("Once more: "):
            raise CommandError("these were two different passwords; nothing is written")
    except EOFError as error:
        raise CommandError(f"no password was given for {text!r}") from error
    if not password:
        raise CommandError(f"the password of {text!r} is empty")
    return f"{text}:{password}"
