"""The client's side of telnet: it is the terminal, for a program or a person.

It lets the server echo and suppress go-ahead, tells it the size of its window, the type of its terminal and an
encoding when asked, and refuses everything else.
"""

from __future__ import annotations

import codecs
import typing

from portable.errors import RemoteProtocolError
from portable.protocol import Protocol
from protocols.telnet.charset import CharsetNegotiation
from protocols.telnet.codes import BINARY, CHARSET, ECHO, NAWS, SGA, TTYPE
from protocols.telnet.connection import Data, OptionChanged, Subnegotiation, TelnetConnection
from protocols.telnet.naws import WindowSize, encode_naws
from protocols.telnet.nvt import PrinterDecoder
from protocols.telnet.ttype import decode_ttype, encode_ttype

if typing.TYPE_CHECKING:
    from portable.errors import TransportError
    from portable.transport import Transport

__all__ = ["MAX_QUESTIONS", "TelnetClient"]

# Times that a server is told the type of the terminal. RFC 1091 has it ask until a name comes twice.
MAX_QUESTIONS = 32

_LOCAL = (SGA, BINARY, NAWS, TTYPE, CHARSET)
_REMOTE = (ECHO, SGA, BINARY, CHARSET)
_USUAL_SIZE = WindowSize(80, 24)


class TelnetClient(Protocol):
    r"""One connection to a telnet server.

    Args:
        received: called with what the server sends, decoded; its lines end with "\r\n".
        ended: called once with the error that ended the connection, or None.
        size: of the window.
        terminal: its type; a name that servers know.

    Attributes:
        server_echoes: whether the server shows what is typed, or hides it: then nobody else must show it.
    """

    _transport: Transport

    def __init__(
        self,
        received: typing.Callable[[str], object],
        ended: typing.Callable[[Exception | None], object] | None = None,
        *,
        size: WindowSize = _USUAL_SIZE,
        terminal: str = "xterm",
    ) -> None:
        self._received = received
        self._ended = ended
        self._size = size
        self._terminal = encode_ttype(terminal)
        self._questions = 0
        self._connection = TelnetConnection(_LOCAL, _REMOTE)
        self._printer = PrinterDecoder()
        self._charset = CharsetNegotiation()
        self._decoder = _decoder(self._charset.encoding)
        self._error: RemoteProtocolError | None = None

    @property
    def server_echoes(self) -> bool:
        """See the class."""
        return self._connection.is_enabled(ECHO, local=False)

    def send(self, text: str) -> None:
        r"""Send keys as they are typed. "\r" alone is the key Enter where the server echoes."""
        self._connection.send_data(text.encode(self._charset.encoding, "replace"))
        self._flush()

    def send_line(self, line: str) -> None:
        """Send a line and its end."""
        self.send(line + "\n")

    def send_command(self, code: int) -> None:
        """Send a command such as `codes.IP`."""
        self._connection.send_command(code)
        self._flush()

    def resize(self, size: WindowSize) -> None:
        """Tell the server, now or when it asks, that the window has another size."""
        self._size = size
        if self._connection.is_enabled(NAWS, local=True):
            self._connection.send_subnegotiation(NAWS, encode_naws(size))
            self._flush()

    def close(self) -> None:
        """Close the connection when everything is sent."""
        self._transport.close()

    # Calls of the transport.

    def connection_made(self, transport: Transport) -> None:
        """Wait for the server to ask: what listens may be no telnet."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """See `Protocol.data_received`."""
        self._connection.receive_data(data)
        try:
            while not self._transport.is_closing():
                event = self._connection.next_event()
                if event is None:
                    break
                if isinstance(event, Data):
                    self._print(event.data)
                elif isinstance(event, OptionChanged):
                    self._option_changed(event)
                elif isinstance(event, Subnegotiation):
                    self._take_parameters(event.option, event.payload)
        except RemoteProtocolError as error:
            self._error = error
            # What was answered before that leaves first, as it would have if the rest had come later.
            self._flush()
            self._transport.close()
            return
        self._flush()

    def connection_lost(self, exc: TransportError | None) -> None:
        """See `Protocol.connection_lost`."""
        if self._ended is not None:
            self._ended(self._error or exc)

    def _print(self, data: bytes) -> None:
        text = self._decoder.decode(self._printer.decode(data))
        if text:
            self._received(text)

    def _option_changed(self, event: OptionChanged) -> None:
        if event.option == NAWS and event.enabled:
            self._connection.send_subnegotiation(NAWS, encode_naws(self._size))

    def _take_parameters(self, option: int, payload: bytes) -> None:
        if option == TTYPE and decode_ttype(payload) is None:
            self._questions += 1
            if self._questions > MAX_QUESTIONS:
                raise RemoteProtocolError(f"asked for the type of the terminal more than {MAX_QUESTIONS} times")
            self._connection.send_subnegotiation(TTYPE, self._terminal)
        elif option == CHARSET:
            answer = self._charset.receive(payload)
            if answer is not None:
                self._connection.send_subnegotiation(CHARSET, answer)
                self._decoder = _decoder(self._charset.encoding)

    def _flush(self) -> None:
        data = self._connection.data_to_send()
        if data:
            self._transport.write(data)


def _decoder(encoding: str) -> codecs.IncrementalDecoder:
    return codecs.getincrementaldecoder(encoding)("replace")
