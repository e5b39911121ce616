"""The objects that one connection knows: ours that the peer was given, and the peer's that we were given.

Both sides count. Whenever one side sends one of its objects it adds one; when the other side has no more use
for what it got, it sends as many `decref` as it got it times. A count thus stays right when an object is sent
again while its last reference is just being dropped.
"""

from __future__ import annotations

import collections
import typing
import weakref

from portable.errors import LocalProtocolError, RemoteProtocolError
from protocols.pb.failures import Error
from protocols.pb.jelly import InsecureJelly
from protocols.pb.references import Referenceable, RemoteReference

if typing.TYPE_CHECKING:
    from protocols.pb.banana import Expression
    from protocols.pb.references import Caller
    from protocols.pb.registry import Registry

__all__ = ["MAX_REFERENCES", "ReferenceTable"]

# Of our objects that a peer may keep alive, and of its objects that it may have us keep: the protocol's own
# limit. A peer that never drops any would otherwise have all our memory.
MAX_REFERENCES = 1024


class _Export:
    """One of our objects that the peer knows."""

    __slots__ = ("count", "value")

    def __init__(self, value: Referenceable) -> None:
        self.value = value
        self.count = 0


class ReferenceTable:
    """What jelly asks about objects (see `jelly.References`), for one connection.

    Args:
        caller: what references to the peer's objects speak through.
        registry: which copies may be sent and received.
    """

    def __init__(self, caller: Caller, registry: Registry) -> None:
        self._caller = caller
        self._registry = registry
        self._exports: dict[int, _Export] = {}
        self._luids: dict[int, int] = {}  # by id of the object, which an export keeps alive
        self._last = 0
        self._unsent: list[int] = []  # counted, but the message is not sent yet
        self._imports: weakref.WeakValueDictionary[int, RemoteReference] = weakref.WeakValueDictionary()
        # Filled from wherever the collector runs, emptied by the broker.
        self._dropped: collections.deque[tuple[int, int]] = collections.deque()

    @property
    def registry(self) -> Registry:
        """See `jelly.References.registry`."""
        return self._registry

    def refer(self, value: object) -> list[typing.Any] | None:
        """See `jelly.References.refer`."""
        if isinstance(value, RemoteReference):
            if not value.belongs_to(self._caller):
                raise LocalProtocolError("an object of one peer cannot be sent to another")
            return [b"local", value.luid]
        if not isinstance(value, Referenceable):
            return None
        luid = self._luids.get(id(value))
        if luid is None:
            if len(self._exports) >= MAX_REFERENCES:
                raise Error(f"the peer holds {MAX_REFERENCES} objects already")
            self._last += 1
            luid = self._last
            self._luids[id(value)] = luid
            self._exports[luid] = _Export(value)
        self._exports[luid].count += 1
        self._unsent.append(luid)
        return [b"remote", luid]

    def settle(self, sent: bool) -> None:
        """Say whether the message was sent for which `refer` was asked since this was last called."""
        unsent, self._unsent = self._unsent, []
        if not sent:
            for luid in unsent:
                self.decref(luid)

    def remote(self, luid: int) -> RemoteReference:
        """See `jelly.References.remote`."""
        reference = self._imports.get(luid)
        if reference is None:
            if len(self._imports) >= MAX_REFERENCES:
                raise InsecureJelly(f"more than {MAX_REFERENCES} objects of one peer")
            reference = RemoteReference(self._caller, luid)
            self._imports[luid] = reference
        reference.count += 1
        return reference

    def local(self, luid: Expression) -> Referenceable:
        """See `jelly.References.local`."""
        export = self._exports.get(luid) if isinstance(luid, int) else None
        if export is None:
            raise InsecureJelly("an object that the peer was not given")
        return export.value

    def decref(self, luid: int) -> None:
        """Count one less: the peer has dropped one of our objects.

        Raises:
            RemoteProtocolError: it has none.
        """
        export = self._exports.get(luid)
        if export is None:
            raise RemoteProtocolError(f"object {luid} was dropped more often than it was sent")
        export.count -= 1
        if export.count == 0:
            del self._exports[luid]
            del self._luids[id(export.value)]

    def drop(self, luid: int, count: int) -> None:
        """See `references.Caller.drop`."""
        self._dropped.append((luid, count))

    def dropped(self) -> list[int]:
        """Return the peer's objects that we have no more use for, each as often as it was sent. Once."""
        found: list[int] = []
        while self._dropped:
            luid, count = self._dropped.popleft()
            found.extend([luid] * count)
        return found

    def clear(self) -> None:
        """Forget all: the connection has ended."""
        self._exports.clear()
        self._luids.clear()
        self._dropped.clear()
