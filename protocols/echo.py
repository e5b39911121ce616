"""Echo (RFC 862), server side: sends back whatever it receives, until the peer ends the stream.

Over UDP it is `DatagramAnswers(echo_answer, guard)`.
"""

from __future__ import annotations

import typing

from portable.protocol import Protocol

if typing.TYPE_CHECKING:
    from portable.transport import Transport

__all__ = ["Echo", "echo_answer"]


class Echo(Protocol):
    """Echoes one connection. Reads no faster than the peer takes the echo; its end of stream ends ours."""

    _transport: Transport

    def connection_made(self, transport: Transport) -> None:
        """See `Protocol.connection_made`."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Send `data` back."""
        self._transport.write(data)

    def pause_writing(self) -> None:
        """Stop reading: what is not read cannot fill our memory."""
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """Read on."""
        self._transport.resume_reading()


def echo_answer(data: bytes) -> bytes:
    """Return the answer to a datagram: its own data."""
    return data
