"""Who can be asked for: what a server needs of its users, and users that stand in a file.

The file is TOML, or JSON if its name ends in ".json": a table for each login name, whose fields are texts.

    [alice]
    name = "Alice Liddell"
    plan = '''
    Down the rabbit hole.
    '''
"""

from __future__ import annotations

import json
import tomllib
import typing
from dataclasses import dataclass

from portable.deferred import succeed
from portable.errors import ConfigurationError, FileError
from portable.files import read_file

if typing.TYPE_CHECKING:
    from portable.deferred import Deferred

__all__ = ["FIELDS", "MAX_FILE", "FileUsers", "User", "Users"]

# Bytes. The file is held in memory: this is some thousand users with plans.
MAX_FILE = 1024 * 1024
# What a user's table may have.
FIELDS = ("name", "office", "phone", "project", "plan")


@dataclass(frozen=True, slots=True)
class User:
    """What is told of one user. "" for what is not known; everything is filtered before it is sent.

    Attributes:
        login: the name to ask for.
        name: in full (RFC 1288 2.5.2: "must" be told).
        office, phone: told when more is asked for.
        project, plan: lines separated by LF; of the project, the first is told.
    """

    login: str
    name: str
    office: str = ""
    phone: str = ""
    project: str = ""
    plan: str = ""


class Users(typing.Protocol):
    """Finds users by their login names, and by nothing else.

    Whoever searches by real names would tell who is here, without knowing any login (RFC 1288 3.2.6 leaves it
    to the administrator).
    """

    def find(self, login: str) -> Deferred[User | None]:
        """Give the user, or None if there is none who wants to be found. Fails with FrameworkError."""


class FileUsers:
    """Users from a file.

    Args:
        path: of the file; it is read by `load`.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._users: dict[str, User] = {}

    def load(self) -> None:
        """Read the file. Blocks: for start-up and reload. If it fails, those that were read before stay.

        Raises:
            ConfigurationError: it cannot be read, or is not as the module's text says.
        """
        try:
            text = read_file(self._path, MAX_FILE).decode("utf-8")
            tables = json.loads(text) if self._path.endswith(".json") else tomllib.loads(text)
        except FileError as error:
            raise ConfigurationError(str(error), "--users") from error
        except (ValueError, RecursionError) as error:
            raise ConfigurationError(f"{self._path!r}: {error}", "--users") from error
        if not isinstance(tables, dict):
            raise ConfigurationError(f"{self._path!r}: not a table of users", "--users")
        self._users = {login: self._user(login, fields) for login, fields in tables.items()}

    def _user(self, login: str, fields: object) -> User:
        place = f"{self._path!r}: user {login!r}"
        if not login or any(character in " \t@" for character in login):
            raise ConfigurationError(f"{place}: nobody could ask for that name", "--users")
        if not isinstance(fields, dict):
            raise ConfigurationError(f"{place}: not a table", "--users")
        for name, value in fields.items():
            if name not in FIELDS:
                known = ", ".join(FIELDS)
                raise ConfigurationError(f"{place}: unknown field {name!r}; known are: {known}", "--users")
            if not isinstance(value, str):
                raise ConfigurationError(f"{place}: {name} is not a text", "--users")
        if not fields.get("name"):
            raise ConfigurationError(f"{place}: the full name is missing", "--users")
        return User(login=login, **fields)

    def find(self, login: str) -> Deferred[User | None]:
        """See `Users.find`."""
        return succeed(self._users.get(login))

    def everybody(self) -> list[User]:
        """Return all of them, in the order of the file."""
        return list(self._users.values())
