"""What one client may ask of a server: every limit by name, with the reason for it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

__all__ = ["Limits"]


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes in bytes, times in seconds. The defaults suit a server on the open Internet."""

    # RFC 9112 3 asks for 8,000 at least. Without a limit a client fills our memory before it has said a thing.
    max_request_line: int = 8192
    # All of the request line and the fields. Cookies and tokens of a large site need about half.
    max_head: int = 32768
    # Each field costs objects, whatever its size. A browser sends about 20.
    max_headers: int = 100
    # Bodies are streamed, so this bounds what is stored or computed rather than memory.
    max_body: int = 16 * 1024 * 1024
    # A chunk's size and extensions. Nobody uses extensions.
    max_chunk_line: int = 256
    # The extensions of one whole body, or each byte could come with 250 of those (CVE-2023-39326).
    max_chunk_extensions: int = 4096
    max_trailers: int = 32
    max_trailer_bytes: int = 8192
    # Received beyond the request being answered. Above it the connection is not read, until there is room.
    max_pipelined: int = 65536
    # Of a body that its resource did not read. Up to this it is read and dropped, so that the connection can
    # go on; a longer one costs more than a new connection.
    max_unread_body: int = 65536
    # From the first byte of a request to the end of its head. Against clients that send a byte now and then.
    head_timeout: float = 20.0
    # From a new connection, or the last answer, to the next request. Browsers keep connections for minutes;
    # each costs memory.
    idle_timeout: float = 60.0
    # A body may take this long, and a second more for each min_body_rate bytes. The time that the resource
    # lets it wait does not count.
    body_grace: float = 20.0
    min_body_rate: float = 1024
    # While there is something to send, at least min_write_rate bytes per second must leave, taken over this
    # time; else the client does not read, and holds a file or a buffer.
    write_timeout: float = 30.0
    min_write_rate: float = 128
    # After an answer that ends the connection, what the client still sends is read and dropped until it sends
    # nothing for linger_timeout, or less than min_body_rate, for linger_time at most: closing with data unread
    # would reset the connection, and who sends all of a long body before reading would not see the answer.
    linger_timeout: float = 2.0
    linger_time: float = 30.0
    # A client that is gone and one that only ended its sending look alike. An answer under way may take this
    # much longer to begin; once it has begun, what it is made from may be silent for one write_timeout.
    half_closed_timeout: float = 10.0

    def throttled(self, throttle: float) -> Limits:
        """Return the limits of connections that we slow down ourselves: nobody is to be blamed for that.

        Args:
            throttle: bytes per second in each direction; 0 for no limit.
        """
        if not throttle:
            return self
        return dataclasses.replace(
            self,
            min_body_rate=min(self.min_body_rate, throttle / 2),
            min_write_rate=min(self.min_write_rate, throttle / 2),
        )
