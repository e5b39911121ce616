"""Discard (RFC 863), server side: takes everything and says nothing."""

from __future__ import annotations

from portable.protocol import DatagramProtocol, Protocol

__all__ = ["Discard", "DiscardDatagrams"]


class Discard(Protocol):
    """Throws away what one connection sends, until the peer ends it."""


class DiscardDatagrams(DatagramProtocol):
    """Throws away every datagram. There is nothing to guard: it never answers."""
