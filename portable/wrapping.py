"""A transport that stands before another one, for those that change a little of what it does."""

from __future__ import annotations

import typing

from portable.tls import upgrade

if typing.TYPE_CHECKING:
    from portable.deferred import Deferred
    from portable.protocol import StreamProtocol
    from portable.tls import TLSOptions, TLSTransport
    from portable.transport import Buffer, Transport

__all__ = ["WrappedTransport"]


class WrappedTransport:
    """A `portable.transport.Transport` that passes every call on to another, until a method is overridden."""

    __slots__ = ("below",)

    def __init__(self, below: Transport) -> None:
        self.below = below

    def write(self, data: Buffer) -> None:
        """See `Transport.write`."""
        self.below.write(data)

    def writelines(self, chunks: typing.Iterable[Buffer]) -> None:
        """See `Transport.writelines`."""
        self.below.writelines(chunks)

    def write_eof(self) -> None:
        """See `Transport.write_eof`."""
        self.below.write_eof()

    def can_write_eof(self) -> bool:
        """See `Transport.can_write_eof`."""
        return self.below.can_write_eof()

    def close(self) -> None:
        """See `Transport.close`."""
        self.below.close()

    def abort(self) -> None:
        """See `Transport.abort`."""
        self.below.abort()

    def is_closing(self) -> bool:
        """See `Transport.is_closing`."""
        return self.below.is_closing()

    def pause_reading(self) -> None:
        """See `Transport.pause_reading`."""
        self.below.pause_reading()

    def resume_reading(self) -> None:
        """See `Transport.resume_reading`."""
        self.below.resume_reading()

    def is_reading(self) -> bool:
        """See `Transport.is_reading`."""
        return self.below.is_reading()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """See `Transport.set_write_buffer_limits`."""
        self.below.set_write_buffer_limits(high, low)

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """See `Transport.get_write_buffer_limits`."""
        return self.below.get_write_buffer_limits()

    def get_write_buffer_size(self) -> int:
        """See `Transport.get_write_buffer_size`."""
        return self.below.get_write_buffer_size()

    def get_extra_info(self, name: str, default: typing.Any = None) -> typing.Any:
        """See `Transport.get_extra_info`."""
        return self.below.get_extra_info(name, default)

    def set_protocol(self, protocol: StreamProtocol) -> None:
        """See `Transport.set_protocol`."""
        self.below.set_protocol(protocol)

    def get_protocol(self) -> StreamProtocol:
        """See `Transport.get_protocol`."""
        return self.below.get_protocol()

    def start_tls(self, options: TLSOptions, unread: int) -> TLSTransport:
        """See `Transport.start_tls`. TLS then runs over this wrapper, so that what it changes stays changed."""
        return upgrade(self, options, unread)

    def send_file(self, file: typing.BinaryIO, offset: int, count: int) -> Deferred[int]:
        """See `Transport.send_file`."""
        return self.below.send_file(file, offset, count)
