"""What a finger server says (RFC 1288 2.5)."""

from __future__ import annotations

import typing

if typing.TYPE_CHECKING:
    from protocols.finger import Query
    from protocols.servers.finger.users import User, Users

    # Asks another host.
    Forward = typing.Callable[[Query], typing.Coroutine[typing.Any, typing.Any, str]]
    # Gives everybody.
    Everybody = typing.Callable[[], list[User]]

__all__ = ["Answers", "describe_user", "list_users"]

# The words are those of RFC 1288 3.2.1 and 3.2.2.
FORWARDING_DENIED = "Finger forwarding service denied"
LIST_DENIED = "Finger online user list denied"


class Answers:
    """Answers queries.

    Args:
        users: who can be asked for.
        everybody: lists them; None refuses it.
        forward: asks another host; None refuses it.
    """

    def __init__(
        self, users: Users, everybody: Everybody | None = None, forward: Forward | None = None
    ) -> None:
        self._users = users
        self._everybody = everybody
        self._forward = forward

    async def answer(self, query: Query) -> str:
        """Return the answer, lines separated by LF."""
        if query.hosts:
            if self._forward is None:
                return FORWARDING_DENIED
            return await self._forward(query)
        if not query.user:
            return LIST_DENIED if self._everybody is None else list_users(self._everybody())
        user = await self._users.find(query.user)
        return f"{query.user}: no such user" if user is None else describe_user(user, query.verbose)


def describe_user(user: User, verbose: bool) -> str:
    """Return all that is told of one user; `verbose` adds where to meet or call him, and what he works on."""
    lines = [f"Login: {_one_line(user.login)}", f"Name: {_one_line(user.name)}"]
    if verbose:
        for title, value in (("Office", user.office), ("Phone", user.phone), ("Project", user.project)):
            if value.strip():
                lines.append(f"{title}: {_one_line(value)}")
    plan = user.plan.strip("\r\n")
    lines.append(f"Plan:\n{plan}" if plan else "No plan.")
    return "\n".join(lines)


def list_users(users: list[User]) -> str:
    """Return a table of `users`, with their full names (RFC 1288 2.5.1)."""
    width = max([len(user.login) for user in users], default=0)
    return "\n".join([f"{user.login:{width}}  {_one_line(user.name)}" for user in users]) or "Nobody is here."


def _one_line(text: str) -> str:
    return text.strip().partition("\n")[0].rstrip("\r")
