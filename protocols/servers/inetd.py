"""The server kind `inetd`: the small services of RFC 862 to 868, each on its own port."""

from __future__ import annotations

import os
import typing

from portable.endpoints import TCPEndpoint
from portable.errors import ConfigurationError
from portable.listener import DatagramPort, ServerPort
from portable.listening import listener_options, listening_options
from portable.options import Kind, Option
from portable.service import PortService
from protocols.chargen import Chargen, DatagramCharacters
from protocols.daytime import Daytime
from protocols.discard import Discard, DiscardDatagrams
from protocols.echo import Echo, echo_answer
from protocols.oneanswer import OneAnswer
from protocols.qotd import Quotes
from protocols.timeserver import TimeServer
from protocols.udpguard import DatagramAnswers, ReplyGuard

if typing.TYPE_CHECKING:
    from portable.protocol import DatagramProtocol, Protocol
    from portable.reactor import Reactor
    from portable.service import Service

__all__ = ["KIND", "PORTS", "make_service"]

PORTS = {"echo": 7, "discard": 9, "daytime": 13, "qotd": 17, "chargen": 19, "time": 37}
# Added to the ports where those below 1024 are not ours to bind.
UNPRIVILEGED_BASE = 10_000
HIGHEST_BASE = 65_535 - max(PORTS.values())
# Seconds. A person may think for a while; a peer that has taken nothing of chargen for so long is gone.
IDLE_TIMEOUT = 600.0


class InetdService(PortService):
    """All the small services of one process, with one guard for everything that they answer over UDP.

    Args:
        names: of PORTS.
        base: added to each port.
        values: the checked values of the options.
    """

    def __init__(self, names: typing.Sequence[str], base: int, values: typing.Mapping[str, typing.Any]) -> None:
        self._guard: ReplyGuard | None = None
        # Both turns of the port: another copy of this server may run beside us with the other base.
        self._own_ports = [port + offset for port in PORTS.values() for offset in {base, UNPRIVILEGED_BASE}]
        options = listener_options(values)
        ports: list[ServerPort | DatagramPort] = []
        for name in names:
            endpoint = TCPEndpoint(base + PORTS[name], values["interface"])
            ports.append(ServerPort(name, self._stream_factory(name), endpoint, options))
            if values["udp"]:
                ports.append(DatagramPort(name, self._datagram_factory(name), endpoint))
        super().__init__(KIND.name, ports)

    def _stream_factory(self, name: str) -> typing.Callable[[], Protocol]:
        def make() -> Protocol:
            clock = self._bound_reactor()
            if name == "echo":
                return Echo()
            if name == "discard":
                return Discard()
            if name == "chargen":
                return Chargen(clock)
            if name == "daytime":
                return OneAnswer(Daytime().now, clock)
            if name == "qotd":
                return OneAnswer(Quotes().today, clock)
            return OneAnswer(TimeServer().now, clock)

        return make

    def _datagram_factory(self, name: str) -> typing.Callable[[], DatagramProtocol]:
        def make() -> DatagramProtocol:
            if name == "discard":
                return DiscardDatagrams()
            answers: dict[str, typing.Callable[[bytes], bytes]] = {
                "echo": echo_answer,
                "chargen": DatagramCharacters().answer,
                "daytime": Daytime().answer,
                "qotd": Quotes().answer,
                "time": TimeServer().answer,
            }
            return DatagramAnswers(answers[name], self._shared_guard())

        return make

    def _shared_guard(self) -> ReplyGuard:
        if self._guard is None:
            self._guard = ReplyGuard(self._bound_reactor(), service_ports=self._own_ports)
        return self._guard

    def _bound_reactor(self) -> Reactor:
        reactor = self.reactor
        if reactor is None:
            raise AssertionError("a connection before bind")
        return reactor


def _names(values: typing.Mapping[str, typing.Any]) -> list[str]:
    """Return the services asked for, each once, in the order asked."""
    names: list[str] = []
    for word in values["services"].split(","):
        name = word.strip()
        if name not in PORTS:
            known = ", ".join(sorted(PORTS))
            raise ConfigurationError(f"there is no service {name!r}; known are: {known}", "--services")
        if name not in names:
            names.append(name)
    return names


def make_service(values: typing.Mapping[str, typing.Any]) -> Service:
    """Return the service for checked values. Opens nothing.

    Raises:
        ConfigurationError: a service of that name is not known.
    """
    base = values["port-base"]
    if base is None:
        base = 0 if _is_root() else UNPRIVILEGED_BASE
    return InetdService(_names(values), base, values)


def _is_root() -> bool:
    return hasattr(os, "geteuid") and os.geteuid() == 0


# There is a port for each service, so the options that stand for one port do not apply.
_COMMON = [
    option
    for option in listening_options(0, idle_timeout=IDLE_TIMEOUT)
    if option.name not in {"port", "listen", "interface"}
]

KIND = Kind(
    name="inetd",
    version=1,
    summary="echo, discard, daytime, qotd, chargen and time, on TCP and, when asked, UDP",
    options=(
        Option("services", "str", ",".join(PORTS), "which of them, joined by commas"),
        Option(
            "port-base",
            "int",
            None,
            f"added to each port (echo 7, ...); when not given, 0 for root and {UNPRIVILEGED_BASE} for others",
            minimum=0,
            maximum=HIGHEST_BASE,
        ),
        Option("udp", "bool", False, "serve UDP too, with guards against loops and amplification"),
        Option(
            "interface",
            "interface",
            "127.0.0.1",
            "where to listen: an IP address, or nothing for every address of this machine",
            short="i",
            metavar="IP",
        ),
        *_COMMON,
    ),
    make_service=make_service,
    check=_names,
)
