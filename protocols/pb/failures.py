"""Errors that cross the wire: what a peer is told of ours, and what we make of the peer's.

On the wire an error is a copy of Twisted's CopyableFailure: the dotted name of its class, those of the classes
it is derived from, and its text. There is never a traceback in ours.
"""

from __future__ import annotations

import typing

from portable.errors import FrameworkError
from protocols.pb.jelly import InsecureJelly

__all__ = [
    "FAILURE",
    "Error",
    "NoSuchMethod",
    "RemoteError",
    "WrongArguments",
    "failure_state",
    "remote_error",
]

# The name of the copy.
FAILURE = b"twisted.spread.pb.CopyableFailure"
# Characters of a name or a text that are kept of a peer's error, and classes: it will be logged.
MAX_TEXT = 1000
MAX_CLASSES = 32

_NO_TRACEBACK = "Traceback unavailable\n"
_NOT_TOLD = "the peer's log says more"


class Error(FrameworkError):
    """An error that is meant for the peer, who is told its text. Raise it, or a subclass, in remote methods.

    Of any other exception the peer is told the class alone: its text may hold what is none of its business.
    """

    wire_name = "twisted.spread.pb.Error"


class NoSuchMethod(Error):
    """A peer called a method, or an object, that is not there."""

    wire_name = "twisted.spread.flavors.NoSuchMethod"


class WrongArguments(Error):
    """A peer called a method with arguments that it does not take."""

    wire_name = "builtins.TypeError"


class RemoteError(FrameworkError):
    """The peer answered a call with an error.

    Attributes:
        type: the dotted name of its class, such as "builtins.ValueError".
        text: what the peer says of it.
        classes: the dotted names of its class and those it is derived from.
    """

    def __init__(self, type: str, text: str, classes: typing.Sequence[str] = ()) -> None:  # noqa: A002
        super().__init__(f"{type}: {text}" if text else type)
        self.type = type
        self.text = text
        self.classes = tuple(classes)

    def check(self, *names: str) -> bool:
        """Return whether one of these dotted names is its class, or one that it is derived from."""
        return any(name == self.type or name in self.classes for name in names)


def failure_state(error: Exception) -> dict[str, typing.Any]:
    """Return what the peer is told of `error`: the attributes of the copy."""
    told = isinstance(error, (Error, InsecureJelly, RemoteError))
    if isinstance(error, RemoteError):
        # Passed on, as it was told to us.
        names = [error.type, *error.classes]
    else:
        names = [_dotted(kind) for kind in type(error).__mro__]
        if isinstance(error, InsecureJelly):
            names.insert(0, "twisted.spread.jelly.InsecureJelly")
    text = error.text if isinstance(error, RemoteError) else str(error)
    # Half a surrogate pair, as in the name of a file, cannot be sent.
    text = text[:MAX_TEXT].encode("utf-8", "replace").decode("utf-8")
    return {
        "type": names[0].encode("utf-8"),
        "value": text if told else _NOT_TOLD,
        "parents": names[:MAX_CLASSES],
        "traceback": _NO_TRACEBACK,
        "tb": None,
        "frames": [],
        "stack": [],
        "count": 0,
        "captureVars": False,
        "unsafeTracebacks": False,
    }


def _dotted(kind: type) -> str:
    wire_name = vars(kind).get("wire_name")
    return wire_name if isinstance(wire_name, str) else f"{kind.__module__}.{kind.__qualname__}"


def remote_error(state: dict[str, typing.Any]) -> RemoteError:
    """Return the error that a copy stands for. Takes whatever attributes come."""
    parents = state.get("parents")
    names = parents[:MAX_CLASSES] if isinstance(parents, list) else []
    return RemoteError(_text(state.get("type")), _text(state.get("value")), [_text(name) for name in names])


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return value[:MAX_TEXT].decode("utf-8", "replace")
    return value[:MAX_TEXT] if isinstance(value, str) else ""
