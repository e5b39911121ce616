"""What is recorded of a server and a client, and how it is said that one of them did wrong."""

from __future__ import annotations

import dataclasses
import typing

if typing.TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Conversation", "Failed", "Transcript", "View"]


class Failed(Exception):
    """A client did not get what it should, or a command did not do what it should."""


@dataclasses.dataclass(frozen=True)
class Conversation:
    """One connection, or all the datagrams between one client address and the server.

    Attributes:
        port: the name of the `Port`.
        protocol: "tcp" or "udp".
        sent: what the client sent: of TCP one piece, however it was cut; of UDP a piece for each datagram.
        received: what the server sent, likewise.
        end: how the server ended its stream: "eof", "reset", "refused" (there was no server),
            "open" (it did not), or "cut" (the client was gone before); "" for UDP.
    """

    port: str
    protocol: str
    sent: tuple[bytes, ...]
    received: tuple[bytes, ...]
    end: str


@dataclasses.dataclass(frozen=True)
class Transcript:
    """Everything about one client and one server.

    Attributes:
        conversations: in the order in which they began.
        seen: what the client told: its output, its exit status.
    """

    conversations: tuple[Conversation, ...]
    seen: bytes


# Takes out of a transcript what may differ between two runs of the same server.
View: typing.TypeAlias = "Callable[[Transcript], Transcript]"
