"""One telnet connection without a transport: bytes in, events and bytes to send out.

    connection.receive_data(data)
    while (event := connection.next_event()) is not None: ...
    transport.write(connection.data_to_send())

It negotiates by itself, agrees to what it was told to agree to and refuses the rest, and passes over
sub-negotiations of options that are not in effect.
"""

from __future__ import annotations

import typing
from dataclasses import dataclass

from protocols.telnet import nvt
from protocols.telnet.codes import BINARY, IAC
from protocols.telnet.negotiation import Negotiator
from protocols.telnet.parser import (
    Command,
    Data,
    Negotiation,
    Subnegotiation,
    TelnetParser,
    negotiation,
    subnegotiation,
)

__all__ = ["Command", "Data", "OptionChanged", "Subnegotiation", "TelnetConnection"]


@dataclass(frozen=True, slots=True)
class OptionChanged:
    """An option has come into effect, or gone out of it.

    Attributes:
        local: whether it is about what we do; else, what the peer does.
    """

    option: int
    local: bool
    enabled: bool


class TelnetConnection:
    """Joins the parser and the negotiation.

    Args:
        local: options that we do when asked.
        remote: options that the peer may do.
    """

    def __init__(self, local: typing.Iterable[int] = (), remote: typing.Iterable[int] = ()) -> None:
        self._parser = TelnetParser()
        self._options = Negotiator(local, remote)
        self._outgoing = bytearray()

    def receive_data(self, data: bytes) -> None:
        """Buffer `data`. Never raises."""
        self._parser.receive_data(data)

    def next_event(self) -> Event | None:
        """Return the next event, or None if more bytes are needed. `data_to_send` may have grown.

        Raises:
            RemoteProtocolError: see `TelnetParser.next_event` and `Negotiator.receive`.
        """
        while True:
            event = self._parser.next_event()
            if isinstance(event, Negotiation):
                changed = self._negotiate(event)
                if changed is not None:
                    return changed
            elif isinstance(event, Subnegotiation):
                if self.is_enabled(event.option, local=True) or self.is_enabled(event.option, local=False):
                    return event
            else:
                return event

    def data_to_send(self) -> bytes:
        """Return what is to be sent, and forget it."""
        data = bytes(self._outgoing)
        self._outgoing.clear()
        return data

    def is_enabled(self, option: int, *, local: bool) -> bool:
        """Return whether an option is in effect, for what we do or for what the peer does."""
        return self._options.is_enabled(option, local=local)

    def ask(self, option: int, enabled: bool = True, *, local: bool) -> None:
        """Ask the peer to have the option in effect, or not. Does nothing if that is so, or is being asked."""
        change = self._options.ask(option, enabled, local=local)
        if change.verb is not None:
            self._outgoing += negotiation(change.verb, option)

    def send_data(self, data: bytes) -> None:
        """Send data of the stream, with line ends as the NVT wants them unless BINARY is in effect."""
        binary = self.is_enabled(BINARY, local=True)
        self._outgoing += nvt.encode_binary(data) if binary else nvt.encode_nvt(data)

    def send_command(self, code: int) -> None:
        """Send IAC and `code`, which takes no option."""
        self._outgoing += bytes([IAC, code])

    def send_subnegotiation(self, option: int, payload: bytes) -> None:
        """Send parameters of an option."""
        self._outgoing += subnegotiation(option, payload)

    def _negotiate(self, event: Negotiation) -> OptionChanged | None:
        change = self._options.receive(event.verb, event.option)
        if change.verb is not None:
            self._outgoing += negotiation(change.verb, event.option)
        if change.enabled is None:
            return None
        return OptionChanged(event.option, change.local, change.enabled)


if typing.TYPE_CHECKING:
    Event = Data | Command | OptionChanged | Subnegotiation
