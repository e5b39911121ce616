"""Framing: cutting a byte stream into lines, netstrings and length-prefixed frames, and the way back.

Every reader is pulled: `receive_data(data)` stores, `next_...()` returns the next piece or None when it needs
more bytes. The result never depends on how the network cut the stream.
"""

from portable.framing.lines import LineEnding, LineReader, encode_line
from portable.framing.netstrings import NetstringReader, encode_netstring
from portable.framing.prefixes import PrefixReader, encode_prefixed
from portable.framing.reader import Reader

__all__ = [
    "LineEnding",
    "LineReader",
    "NetstringReader",
    "PrefixReader",
    "Reader",
    "encode_line",
    "encode_netstring",
    "encode_prefixed",
]
