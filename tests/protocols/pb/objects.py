"""Objects that are called in the tests of the broker."""

from __future__ import annotations

import typing

from portable.deferred import Deferred
from protocols.pb import Error, Referenceable, RemoteReference

__all__ = ["Counter", "Root", "Told"]


class Told(Error):
    pass


class Counter(Referenceable):
    def __init__(self) -> None:
        self.value = 0

    def remote_add(self, number: int) -> int:
        self.value += number
        return self.value


class Root(Referenceable):
    secret = "not a method"
    remote_value = "not callable"

    def __init__(self) -> None:
        self.kept: list[typing.Any] = []
        self.pending: list[Deferred[typing.Any]] = []

    def remote_echo(self, value: typing.Any) -> typing.Any:
        return value

    def remote_named(self, *, word: str) -> str:
        return word

    def remote_keep(self, value: typing.Any) -> None:
        self.kept.append(value)

    def remote_counter(self) -> Counter:
        return Counter()

    def remote_later(self) -> Deferred[typing.Any]:
        self.pending.append(Deferred())
        return self.pending[-1]

    async def remote_ask(self, reference: RemoteReference) -> typing.Any:
        return await reference.call_remote("add", 20)

    def remote_told(self) -> None:
        raise Told("the reason")

    def remote_bug(self) -> None:
        raise ValueError("a secret")

    def remote_unsendable(self) -> object:
        return object()

    def remote_surrogate(self) -> None:
        raise Error("\ud800")

    def hidden(self) -> None:
        raise AssertionError("called")
