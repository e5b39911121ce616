"""Header fields (RFC 9110 5): an ordered list of names and values, looked up without regard to case."""

from __future__ import annotations

import typing

__all__ = ["Headers", "list_members"]


class Headers:
    """Fields in the order they came or are to be sent; a name may stand in several.

    Values are str with one character per octet (ISO 8859-1), as RFC 9110 5.5 leaves it; those of a request have
    no white space around them and no control characters inside. Nothing is checked when a field is added: the
    encoder checks what is sent.
    """

    __slots__ = ("_items",)

    def __init__(self, items: typing.Iterable[tuple[str, str]] = ()) -> None:
        self._items: list[tuple[str, str]] = list(items)

    def get(self, name: str) -> str | None:
        """Return the value of field `name`, or None if there is none.

        Several fields of one name give one value joined by ", " ("; " for Cookie), which is what they mean
        (RFC 9110 5.3). A field that may stand only once thus becomes invalid when repeated, instead of the
        first or the last one winning.
        """
        name = name.lower()
        found: str | None = None
        for key, value in self._items:
            if key.lower() == name:
                found = value if found is None else found + ("; " if name == "cookie" else ", ") + value
        return found

    def get_all(self, name: str) -> list[str]:
        """Return the values of every field `name`, in order."""
        name = name.lower()
        return [value for key, value in self._items if key.lower() == name]

    def items(self) -> list[tuple[str, str]]:
        """Return every field as (name, value), in order. A new list."""
        return list(self._items)

    def add(self, name: str, value: str) -> None:
        """Append a field; others of the same name stay."""
        self._items.append((name, value))

    def set(self, name: str, value: str) -> None:
        """Replace every field `name` by one at the end."""
        self.remove(name)
        self._items.append((name, value))

    def remove(self, name: str) -> None:
        """Drop every field `name`; nothing happens if there is none."""
        name = name.lower()
        self._items = [item for item in self._items if item[0].lower() != name]

    def copy(self) -> Headers:
        """Return an equal one that can be changed by itself."""
        return Headers(self._items)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.get(name) is not None

    def __iter__(self) -> typing.Iterator[tuple[str, str]]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Headers):
            return NotImplemented
        return [(name.lower(), value) for name, value in self._items] == [
            (name.lower(), value) for name, value in other._items
        ]

    # A container that can change has no hash.
    __hash__ = None  # type: ignore[assignment]  # how Python spells "unhashable"

    def __repr__(self) -> str:
        return f"Headers({self._items!r})"


def list_members(value: str) -> list[str]:
    """Return the members of a comma-separated list (RFC 9110 5.6.1): trimmed, lower-case, no empty ones.

    For lists of tokens only: a comma inside a quoted string is not understood.
    """
    return [member for member in (part.strip(" \t").lower() for part in value.split(",")) if member]
