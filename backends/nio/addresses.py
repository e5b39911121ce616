"""Addresses as Java and Python tell them to each other: a literal host, a newline and the port; or the path of
a Unix socket.
"""

from __future__ import annotations

from portable.transport import Address, normalise_host

__all__ = ["format_address", "parse_address"]


def parse_address(text: str) -> Address | str:
    """Return the framework's form of an address."""
    host, newline, port = text.rpartition("\n")
    # A path may hold a newline too, but it does not go on with nothing but a number after a host.
    if newline and port.isdigit() and "/" not in host:
        return Address(normalise_host(host), int(port))
    return text


def format_address(address: Address) -> bytes:
    """Return Java's form of an address."""
    return f"{address[0]}\n{address[1]}".encode()
