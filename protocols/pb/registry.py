"""Which objects may be copied to a peer and from it: a list of names for each broker, and nothing beside it."""

from __future__ import annotations

import typing

if typing.TYPE_CHECKING:
    # Makes an object of the state that was sent. What it raises becomes a refusal of the message.
    Make = typing.Callable[[dict[str, typing.Any]], object]
    # Gives the state to send, of the kinds that jelly knows.
    State = typing.Callable[[typing.Any], dict[str, typing.Any]]

__all__ = ["Registry"]


class Registry:
    """Classes by the names they have on the wire. A name is only looked up here, never imported."""

    def __init__(self) -> None:
        self._makers: dict[str, Make] = {}
        self._states: dict[type, tuple[str, State]] = {}

    def accept(self, name: str, make: Make) -> None:
        """Take copies called `name`, such as "module.Class".

        Args:
            make: gets the attributes that the peer sent. It must check them: they may be anything.
        """
        self._makers[name] = make

    def send(self, kind: type, name: str, state: State) -> None:
        """Send instances of `kind`, and of no subclass, as copies called `name`."""
        self._states[kind] = (name, state)

    def maker(self, name: str) -> Make | None:
        """Return what `accept` was given for `name`."""
        return self._makers.get(name)

    def state_of(self, value: object) -> tuple[str, dict[str, typing.Any]] | None:
        """Return name and state of an object that is to be sent as a copy; None if it may not be."""
        found = self._states.get(type(value))
        return None if found is None else (found[0], found[1](value))
