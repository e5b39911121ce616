"""Objects that stay where they are: ours that a peer may call, and what stands for the peer's."""

from __future__ import annotations

import re
import typing

from protocols.pb.failures import NoSuchMethod, WrongArguments

if typing.TYPE_CHECKING:
    from portable.deferred import Deferred

__all__ = ["MAX_NAME", "Caller", "Referenceable", "RemoteReference"]

# Characters of the name of a method.
MAX_NAME = 100

_NAME = re.compile("[A-Za-z][A-Za-z0-9_]*")


class Referenceable:
    """An object whose methods named `remote_...` a peer may call, once it has been sent to that peer.

    Such a method gets what the peer sent, checked by nobody yet. It returns a value, a Deferred or a coroutine.
    """

    def message_received(
        self, name: str, args: tuple[typing.Any, ...], kwargs: dict[str, typing.Any]
    ) -> object:
        """Call the method that the peer knows by `name`. Not named `remote_...` itself: a peer could call it.

        Raises:
            NoSuchMethod: there is none.
            WrongArguments: it does not take these.
            Exception: whatever the method raises.
        """
        method = None
        if len(name) <= MAX_NAME and _NAME.fullmatch(name):
            method = getattr(self, f"remote_{name}", None)
        if not callable(method):
            raise NoSuchMethod(f"No such method: remote_{name[:MAX_NAME]}")
        try:
            return method(*args, **kwargs)
        except TypeError as error:
            if error.__traceback__ is not None and error.__traceback__.tb_next is None:
                # From the call, not from inside the method: no fault of ours, to be logged with a traceback.
                raise WrongArguments(f"{name} does not take these arguments") from error
            raise


class Caller(typing.Protocol):
    """What a RemoteReference speaks through: the broker."""

    @property
    def connected(self) -> bool:
        """Whether calls can be made."""

    def call(
        self, luid: int | bytes, name: str, args: tuple[typing.Any, ...], kwargs: dict[str, typing.Any]
    ) -> Deferred[typing.Any]:
        """Call a method of the peer's object."""

    def drop(self, luid: int, count: int) -> None:
        """Note that a reference which had come `count` times was collected. From any thread."""

    def on_disconnect(self, function: typing.Callable[[], object]) -> None:
        """Call `function` when the connection has ended."""


class RemoteReference:
    """Stands for an object of the peer. It lives there for as long as this lives here.

    Attributes:
        luid: what the peer calls it.
        count: how often the peer has sent it. For the table of references.
    """

    __slots__ = ("__weakref__", "_caller", "count", "luid")

    def __init__(self, caller: Caller, luid: int | bytes) -> None:
        self._caller = caller
        self.count = 0
        self.luid = luid

    def call_remote(self, name: str, *args: typing.Any, **kwargs: typing.Any) -> Deferred[typing.Any]:
        """Call the peer's method `remote_NAME`.

        Returns:
            Its result. Fails with RemoteError if the method does, with DeadReference if the connection has
            ended already, with ConnectionLost if it ends before the answer. Cancelling drops the answer; the
            call is made all the same.

        Raises:
            LocalProtocolError: an argument cannot be sent.
            Error: the peer would hold too many of our objects.
        """
        return self._caller.call(self.luid, name, args, kwargs)

    @property
    def connected(self) -> bool:
        """Whether the peer can still be reached."""
        return self._caller.connected

    def belongs_to(self, caller: Caller) -> bool:
        """Return whether the object is that peer's."""
        return self._caller is caller

    def on_disconnect(self, function: typing.Callable[[], object]) -> None:
        """Call `function`, without arguments, when the connection has ended; at once if it has."""
        self._caller.on_disconnect(function)

    def __del__(self) -> None:
        if isinstance(self.luid, int):
            self._caller.drop(self.luid, self.count)

    def __repr__(self) -> str:
        return f"<RemoteReference {self.luid!r}>"
