r"""What protocols and servers are tested with: no sockets, no waiting, any fault on demand.

    clock = ManualClock()
    transport = MemoryTransport(MyProtocol(), clock)    # its connection_made has been called
    transport.receive(b"HELLO\r\n")
    assert transport.take() == b"WELCOME\r\n"
    clock.advance(60)                                   # the idle time-out
    assert transport.lost

    link = connect_in_memory(MyClient(), MyServer())
    link.flush(chunk=1)                                 # everything they say to each other, byte by byte

`wait_for` and `wait_until` drive a real reactor until something has happened.
"""

from __future__ import annotations

from portable.testing.clock import ManualClock
from portable.testing.datagram import MemoryDatagramTransport
from portable.testing.link import Link, connect_in_memory
from portable.testing.memory import MemoryTransport
from portable.testing.wait import wait_for, wait_until

__all__ = [
    "Link",
    "ManualClock",
    "MemoryDatagramTransport",
    "MemoryTransport",
    "connect_in_memory",
    "wait_for",
    "wait_until",
]
