"""The server's side of telnet: a terminal at the other end, for somebody here to write to and read from.

The server offers to echo and to suppress go-ahead (RFC 857, RFC 858), which has clients send each key as it
is hit; and asks for the size of the window, the type of the terminal and the encoding. A client may refuse
any of that. Everything else is refused, LINEMODE (RFC 1184) and NEW-ENVIRON (RFC 1572) too: the latter has
let people log in as somebody else (CVE-1999-0073, CVE-2026-24061).

Go-ahead is never sent, as RFC 1123 3.2.2 allows who has offered to suppress it.
"""

from __future__ import annotations

import logging
import typing

from portable.errors import RemoteProtocolError
from portable.protocol import Protocol
from protocols.telnet.charset import CharsetNegotiation
from protocols.telnet.codes import (
    ABORT,
    AYT,
    BINARY,
    BRK,
    CHARSET,
    EC,
    ECHO,
    EL,
    EOF,
    IP,
    NAWS,
    SGA,
    TTYPE,
)
from protocols.telnet.connection import Command, Data, OptionChanged, Subnegotiation, TelnetConnection
from protocols.telnet.naws import decode_naws
from protocols.telnet.nvt import KeyboardDecoder
from protocols.telnet.ttype import SEND, decode_ttype

if typing.TYPE_CHECKING:
    from portable.clock import Clock, Timer
    from portable.errors import TransportError
    from portable.transport import Address, Transport

__all__ = ["CLOSE_TIMEOUT", "COLUMNS", "ROWS", "TelnetServer", "TerminalUser"]

# Of a client that does not tell.
COLUMNS = 80
ROWS = 24

_LOCAL = (ECHO, SGA, BINARY, CHARSET)
_REMOTE = (SGA, BINARY, NAWS, TTYPE, CHARSET)
# The keys that stand for commands, as terminals of Unix have them.
_KEYS = {IP: b"\x03", BRK: b"\x03", ABORT: b"\x03", EOF: b"\x04", EC: b"\x7f", EL: b"\x15"}
# Seconds that a client is given to take what was written last.
CLOSE_TIMEOUT = 30.0
# RFC 854: "some visible evidence".
_HERE = b"\r\n[yes]\r\n"

_log = logging.getLogger("protocols.telnet")


class TerminalUser(typing.Protocol):
    """What sits at a terminal, on our side. No method may be called after `connection_lost`."""

    def data_received(self, data: bytes) -> None:
        """Take keys. Enter is CR; telnet's commands to interrupt, erase and end are ^C, DEL, ^U and ^D."""

    def input_ended(self) -> None:
        """Take that no more keys will come. Close the terminal when nothing is left to be done."""

    def terminal_changed(self) -> None:
        """Look at the attributes of the terminal again."""

    def pause_writing(self) -> None:
        """See `Protocol.pause_writing`."""

    def resume_writing(self) -> None:
        """See `Protocol.resume_writing`."""

    def drain(self) -> None:
        """See `SupportsDrain.drain`."""

    def connection_lost(self) -> None:
        """Forget the terminal."""


class TelnetServer(Protocol):
    """Serves one connection; a terminal for whoever `make_user` makes.

    Args:
        make_user: called when the connection is made.

    Attributes:
        columns, rows: of the window, in characters.
        kind: of the terminal, as terminfo has it ("xterm-256color"); "" if the client does not tell.
        interactive: whether the client sends each key, and shows nothing but what we write. If not, it sends
            whole lines and shows them itself.
        encoding: of text, as Python calls it.
        peer: the client's address.
    """

    _transport: Transport
    _user: TerminalUser

    def __init__(self, make_user: typing.Callable[[TelnetServer], TerminalUser]) -> None:
        self.columns = COLUMNS
        self.rows = ROWS
        self.kind = ""
        self._make_user = make_user
        self._connection = TelnetConnection(_LOCAL, _REMOTE)
        self._keyboard = KeyboardDecoder()
        self._charset = CharsetNegotiation()
        self._crowded = False
        self._last_words: Timer | None = None

    @property
    def interactive(self) -> bool:
        """See the class."""
        return self._connection.is_enabled(ECHO, local=True)

    @property
    def encoding(self) -> str:
        """See the class."""
        return self._charset.encoding

    @property
    def peer(self) -> Address | str | None:
        """See the class."""
        peer: Address | str | None = self._transport.get_extra_info("peername")
        return peer

    @property
    def transport(self) -> Transport:
        """The connection's."""
        return self._transport

    def write(self, text: str) -> None:
        r"""Show `text`, in which "\n" begins a new line and "\r" goes back to the beginning of this one.

        Characters that the encoding lacks become question marks.
        """
        self._connection.send_data(text.replace("\n", "\r\n").encode(self.encoding, "replace"))
        self._flush()

    def close(self) -> None:
        """Close the connection when everything is sent, in CLOSE_TIMEOUT seconds at the latest. Idempotent."""
        if not self._transport.is_closing():
            clock: Clock = self._transport.get_extra_info("reactor")
            self._last_words = clock.call_later(CLOSE_TIMEOUT, self._transport.abort)
            self._transport.close()

    # Calls of the transport.

    def connection_made(self, transport: Transport) -> None:
        """Offer and ask."""
        self._transport = transport
        for option in (ECHO, SGA, CHARSET):
            self._connection.ask(option, local=True)
        for option in (NAWS, TTYPE):
            self._connection.ask(option, local=False)
        self._flush()
        self._user = self._make_user(self)

    def data_received(self, data: bytes) -> None:
        """See `Protocol.data_received`."""
        self._connection.receive_data(data)
        try:
            while not self._transport.is_closing():
                event = self._connection.next_event()
                if event is None:
                    break
                self._take(event)
        except RemoteProtocolError as error:
            _log.info("closing the connection of %s: %s", self.peer, error)
            # What was answered before that leaves first, as it would have if the rest had come later.
            self._flush()
            self.close()
            return
        self._flush()

    def eof_received(self) -> bool | None:
        """Let what was sent before be answered."""
        self._user.input_ended()
        return True

    def pause_writing(self) -> None:
        """See `Protocol.pause_writing`."""
        self._crowded = True
        self._user.pause_writing()

    def resume_writing(self) -> None:
        """See `Protocol.resume_writing`."""
        self._crowded = False
        self._user.resume_writing()

    def connection_lost(self, exc: TransportError | None) -> None:
        """See `Protocol.connection_lost`."""
        if self._last_words is not None:
            self._last_words.cancel()
        self._user.connection_lost()

    def drain(self) -> None:
        """See `SupportsDrain.drain`."""
        self._user.drain()

    def _take(self, event: Data | Command | OptionChanged | Subnegotiation) -> None:
        if isinstance(event, Data):
            keys = self._keyboard.decode(event.data)
            if keys:
                self._user.data_received(keys)
        elif isinstance(event, Command):
            self._obey(event.code)
        elif isinstance(event, OptionChanged):
            self._option_changed(event)
        else:
            self._take_parameters(event.option, event.payload)

    def _obey(self, code: int) -> None:
        if code in _KEYS:
            self._user.data_received(_KEYS[code])
        elif code == AYT and not self._crowded:
            self._connection.send_data(_HERE)

    def _option_changed(self, event: OptionChanged) -> None:
        if event.option == ECHO:
            self._user.terminal_changed()
        elif event.option == TTYPE and event.enabled:
            self._connection.send_subnegotiation(TTYPE, SEND)
        elif event.option == CHARSET and event.local and event.enabled:
            self._connection.send_subnegotiation(CHARSET, self._charset.request("UTF-8"))

    def _take_parameters(self, option: int, payload: bytes) -> None:
        if option == NAWS:
            columns, rows = decode_naws(payload)
            self.columns = columns or COLUMNS
            self.rows = rows or ROWS
        elif option == TTYPE:
            self.kind = decode_ttype(payload) or self.kind
        elif option == CHARSET:
            answer = self._charset.receive(payload)
            if answer is not None:
                self._connection.send_subnegotiation(CHARSET, answer)
        self._user.terminal_changed()

    def _flush(self) -> None:
        data = self._connection.data_to_send()
        if data:
            self._transport.write(data)
