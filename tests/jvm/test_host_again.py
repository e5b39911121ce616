"""Servers started and stopped in one Java program, again and again."""

from __future__ import annotations

import typing

from tests.jvm.hosts import java, told

if typing.TYPE_CHECKING:
    import pathlib

# A heap that is there from the beginning, so that memory tells of everything but the heap.
STEADY = ("-XX:+UseSerialGC", "-Xms32m", "-Xmx32m", "-XX:+AlwaysPreTouch")


def test_a_hundred_servers_one_after_the_other_leave_nothing_behind(class_path: str, tap: pathlib.Path) -> None:
    found = told(java(class_path, "Scenarios", "cycles", tap, 100, options=STEADY))
    resident = [int(text) for text in found.pop("resident").split()]
    left = {name: int(value) for name, value in found.items()}
    assert left["descriptors"] == 0
    assert left["threads"] <= 0
    assert left["beans"] == 0
    assert left["tasks"] <= 1  # the JVM's compilers come and go
    assert left["heap"] < 1_000_000
    # What the C library keeps and gives back makes it swing by 15 MB; a pump's buffers, kept each time, would
    # make 100 MB of the second half.
    assert min(resident[5:]) - min(resident[:5]) < 20_000_000, resident
