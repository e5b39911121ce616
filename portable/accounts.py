"""Who may log in to a server: the accounts of its options and of a file of them.

The file has a line `NAME:PASSWORD` or `NAME:HASH` for each; empty lines and comments, which begin with "#", are
passed over.
It is read when the server is bound and again on every reload, so that accounts come and go without a restart.
"""

from __future__ import annotations

import collections
import functools
import hmac
import logging
import typing
import unicodedata

from portable import files
from portable.deferred import Deferred
from portable.errors import ConfigurationError, FileError
from portable.options import Option
from portable.passwords import hash_password, split_account, verify_password

if typing.TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from portable.reactor import Threads

__all__ = ["MAX_CHECKS", "MAX_FILE", "Accounts", "account_options"]

# Bytes. Some ten thousand accounts; whoever has more has a database.
MAX_FILE = 1024 * 1024
# Passwords checked at one time. Each takes a thread, a core and 16 MiB: a crowd that logs in, or guesses, must
# leave threads for files and names. The others wait their turn.
MAX_CHECKS = 2

_log = logging.getLogger("portable.accounts")


def account_options(prefix: str = "") -> tuple[Option, ...]:
    """Return the options `--user` and `--passwords`.

    Args:
        prefix: begins their names, "telnet-" for "telnet-user", where a kind has other users.
    """
    return (
        Option(
            prefix + "user",
            "account",
            (),
            "somebody who may log in; without a password it is asked for, or read from standard input",
            metavar="NAME[:PASSWORD]",
            repeatable=True,
            secret=True,
        ),
        Option(
            prefix + "passwords",
            "path",
            None,
            "more of them: a file with lines NAME:PASSWORD or NAME:HASH (see mktap --hash-password)",
            metavar="FILE",
            must_exist=True,
        ),
    )


class Accounts:
    """The accounts of one server.

    Args:
        lines: "NAME:HASH" each, from options.
        path: of the file; None for none. It is not read before `load`.

    Raises:
        ConfigurationError: a line is wrong, or a name is there twice.
    """

    def __init__(self, lines: Sequence[str] = (), path: str | None = None) -> None:
        self._path = path
        self._given = _collect([("--user", line) for line in lines], {})
        self._secrets = self._given
        # What an unknown name is checked against, so that it takes as long as a known one.
        self._nobody = ""
        self._running = 0
        self._waiting: collections.deque[tuple[Threads, str, str, Deferred[bool]]] = collections.deque()

    @classmethod
    def from_values(cls, values: Mapping[str, typing.Any]) -> Accounts:
        """Return the accounts that checked values of `account_options` stand for.

        Raises:
            ConfigurationError: a name is there twice.
        """
        return cls(values["user"], values["passwords"])

    def __len__(self) -> int:
        return len(self._secrets)

    def names(self) -> frozenset[str]:
        """Return every name."""
        return frozenset(self._secrets)

    def load(self) -> None:
        """Read the file, if there is one. Blocks: for `Service.bind` and `Service.reload`.

        Raises:
            ConfigurationError: it cannot be read, or a line of it is wrong; what was loaded before stays.
        """
        if self._path is None:
            return
        try:
            text = files.read_file(self._path, MAX_FILE).decode("utf-8")
        except FileError as error:
            raise ConfigurationError(str(error)) from error
        except UnicodeDecodeError as error:
            raise ConfigurationError("it is not UTF-8 text", self._path) from error
        lines = [
            (f"{self._path}:{number}", line)
            for number, line in enumerate(text.splitlines(), 1)
            if line.strip() and not line.startswith("#")
        ]
        self._secrets = _collect(lines, self._given)

    def check(self, threads: Threads, name: str, password: str) -> Deferred[bool]:
        """Give whether `password` is that of `name`. An unknown name takes as long as a wrong password.

        Runs in a thread, at most MAX_CHECKS at one time, in the order in which they were asked for. Cancelling
        gives up a check that has not begun. Never fails: what cannot be checked is False.
        """
        result: Deferred[bool] = Deferred()
        self._waiting.append((threads, unicodedata.normalize("NFC", name), password, result))
        self._check_next()
        return result

    def _check_next(self) -> None:
        while self._waiting and self._running < MAX_CHECKS:
            threads, name, password, result = self._waiting.popleft()
            if result.called:
                continue
            self._running += 1
            secret = self._secrets.get(name, "")
            checking = threads.run_in_thread(self._verify, secret, password)
            checking.add_errback(_log_failure).add_callback(functools.partial(self._checked, result))

    def _verify(self, secret: str, password: str) -> bool:
        if secret.startswith("$scrypt$"):
            return verify_password(password, secret)
        if not self._nobody:
            self._nobody = hash_password("")
        verify_password(password, self._nobody)
        known, given = (
            unicodedata.normalize("NFC", text).encode("utf-8", "replace") for text in (secret, password)
        )
        return hmac.compare_digest(known, given) and bool(known)

    def _checked(self, result: Deferred[bool], right: bool) -> None:
        self._running -= 1
        if not result.called:
            result.callback(right)
        self._check_next()


def _log_failure(error: Exception) -> bool:
    _log.error("a password cannot be checked: %s: %s", type(error).__name__, error)
    return False


def _collect(lines: Sequence[tuple[str, str]], given: Mapping[str, str]) -> dict[str, str]:
    """Return `given` and what the lines say, each with the place it stands at."""
    secrets = dict(given)
    for where, line in lines:
        try:
            name, secret = split_account(line)
        except ConfigurationError as error:
            raise ConfigurationError(str(error), where) from error
        if name in secrets:
            raise ConfigurationError(f"account {name!r} is there twice", where)
        secrets[name] = secret
    return secrets
