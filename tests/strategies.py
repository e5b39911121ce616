"""Hypothesis strategies for everything that is cut into pieces by a network."""

from __future__ import annotations

import itertools
import typing

from hypothesis import strategies as st

if typing.TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["alphabet", "cuts", "splits"]


def splits(data: bytes, max_cuts: int = 12) -> st.SearchStrategy[list[bytes]]:
    """Ways to cut `data` into pieces, in order and without empty ones: whole, byte by byte, and all between.

    Joined, they are `data` again; for b"" there is only the empty list.
    """
    if not data:
        return st.just([])
    every_byte = [data[i : i + 1] for i in range(len(data))]
    return st.one_of(
        st.just([data]), st.just(every_byte), cuts(len(data), max_cuts).map(lambda at: _cut(data, at))
    )


def cuts(length: int, max_cuts: int = 12) -> st.SearchStrategy[list[int]]:
    """Offsets inside a string of `length` bytes, sorted, each once."""
    if length < 2:
        return st.just([])
    offsets = st.integers(min_value=1, max_value=length - 1)
    return st.lists(offsets, unique=True, max_size=min(max_cuts, length - 1)).map(sorted)


def alphabet(pieces: Iterable[bytes], max_size: int = 20) -> st.SearchStrategy[bytes]:
    """Strings that mix `pieces` of a language with noise: noise alone seldom passes the first state."""
    piece = st.one_of(st.sampled_from(list(pieces)), st.binary(max_size=4))
    return st.lists(piece, max_size=max_size).map(b"".join)


def _cut(data: bytes, offsets: list[int]) -> list[bytes]:
    edges = [0, *offsets, len(data)]
    return [data[start:end] for start, end in itertools.pairwise(edges)]
