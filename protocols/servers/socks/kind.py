"""What `mktap socks` makes."""

from __future__ import annotations

import dataclasses
import time
import typing

from portable.accounts import Accounts, account_options
from portable.errors import ConfigurationError
from portable.listening import listening_options, server_ports
from portable.options import Kind, Option
from portable.peers import PeerSet
from portable.recording import RecordingService
from protocols.servers.socks.trafficlog import TrafficLog
from protocols.servers.socks.users import PasswordCheck, UserCheck
from protocols.socks import v4, v5
from protocols.socks.proxy import Limits, Policy, SharedState
from protocols.socks.rules import Rules, parse_rule
from protocols.socks.server import SocksServer

if typing.TYPE_CHECKING:
    from portable.reactor import Reactor
    from portable.service import Service
    from portable.transport import Address
    from protocols.socks.proxy import Peer, Record

__all__ = ["KIND", "SocksService", "make_service"]

DEFAULT_PORT = 1080
# Seconds: as long as a NAT has to keep an idle connection (RFC 5382, REQ-5).
IDLE_TIMEOUT = 2 * 3600.0 + 4 * 60.0
_THIS_MACHINE = ("127.0.0.0/8", "::1", "unix")
_LIMITS = Limits()


class SocksService(RecordingService[TrafficLog]):
    """One proxy on any number of ports.

    Args:
        values: checked values of the options of KIND.
    """

    def __init__(self, values: typing.Mapping[str, typing.Any]) -> None:
        super().__init__(
            KIND.name,
            server_ports(values, KIND.name, self._make_protocol),
            open_log=TrafficLog,
            log_path=values["log"],
            log_option="--log",
        )
        self._values = values
        self._rules = _rules(values)
        self._accounts = _accounts(values)
        self._shared: SharedState | None = None

    def bind(self, reactor: Reactor) -> None:
        """See `Service.bind`. Reads the passwords too: their folder may be root's."""
        values = self._values
        if self._accounts is not None:
            self._accounts.load()
        self._shared = SharedState(
            reactor,
            self._policy(reactor),
            dataclasses.replace(
                _LIMITS,
                request=values["request-timeout"],
                connect=values["connect-timeout"],
                bind=values["bind-timeout"],
            ),
            record=self._record,
            wall_clock=time.time,
            own_addresses=self._own_addresses,
            bind_host="127.0.0.1" if values["bind-address"] == "localhost" else values["bind-address"],
        )
        super().bind(reactor)

    def _policy(self, reactor: Reactor) -> Policy:
        values = self._values
        clients = PeerSet(values["allow-from"] or _THIS_MACHINE, "--allow-from")
        everybody = self._accounts is not None and not values["allow-from"]

        def serves(peer: Peer) -> bool:
            return everybody or peer in clients

        if self._accounts is not None:
            return Policy(
                serves,
                self._rules,
                frozenset((v5.VERSION,)),
                check_password=PasswordCheck(reactor, self._accounts),
            )
        check_user = None
        if values["user"] or values["identd"]:
            check_user = UserCheck(reactor, values["user"], identd=values["identd"])
        versions = (v4.VERSION, v5.VERSION) if values["socks5"] else (v4.VERSION,)
        return Policy(serves, self._rules, frozenset(versions), check_user)

    def reload(self) -> bool:
        """See `Service.reload`. Reads the passwords again."""
        complete = super().reload()
        if self._accounts is not None:
            self._accounts.load()
        return complete

    def _record(self, record: Record) -> None:
        if self.log is not None:
            self.log(record)

    def _own_addresses(self) -> list[Address | str]:
        return [port.address for port in self.ports()]

    def _make_protocol(self) -> SocksServer:
        if self._shared is None:
            raise AssertionError("a connection before bind")
        return SocksServer(self._shared)


def make_service(values: typing.Mapping[str, typing.Any]) -> Service:
    """Return the service for checked values. Opens nothing.

    Raises:
        ConfigurationError: a rule is none, or options exclude each other.
    """
    _check(values)
    return SocksService(values)


def _rules(values: typing.Mapping[str, typing.Any]) -> Rules:
    return Rules(
        [parse_rule(text, "--allow") for text in values["allow"]],
        [parse_rule(text, "--deny") for text in values["deny"]],
    )


def _accounts(values: typing.Mapping[str, typing.Any]) -> Accounts | None:
    """Return who has a password; None if nobody needs one."""
    lines, path = values["socks5-user"], values["socks5-passwords"]
    return Accounts(lines, path) if lines or path else None


def _check(values: typing.Mapping[str, typing.Any]) -> None:
    """Refuse rules that are none, and options that would let somebody go around others."""
    _rules(values)
    if _accounts(values) is not None and not values["socks5"]:
        raise ConfigurationError("passwords need --socks5: SOCKS 4 has none", "--socks5-user")
    for name in ("user", "identd"):
        if values["socks5"] and values[name]:
            advice = "give --socks5-user instead"
            raise ConfigurationError(f"SOCKS 5 has no user ids that could be checked: {advice}", f"--{name}")


def _check_accounts(values: typing.Mapping[str, typing.Any]) -> None:
    """Refuse a file of accounts that cannot be used."""
    accounts = _accounts(values)
    if accounts is not None:
        accounts.load()


KIND = Kind(
    name="socks",
    version=1,
    summary="a SOCKS 4 and 4a proxy, and 5 when asked, for clients of this machine unless told otherwise",
    options=(
        Option(
            "allow",
            "str",
            (),
            "connect to these and to nothing else; private addresses only where such a network is named here",
            metavar="HOST|NET[:PORTS]",
            repeatable=True,
        ),
        Option(
            "deny",
            "str",
            (),
            "never connect to these, such as *.example.com, 192.0.2.0/24:80,443, [2001:db8::]/32:80 or *:25",
            metavar="HOST|NET[:PORTS]",
            repeatable=True,
        ),
        Option(
            "allow-from",
            "network",
            (),
            "serve these clients; when not given, those of this machine, and with passwords everybody",
            repeatable=True,
            choices=("unix",),
        ),
        Option(
            "user",
            "str",
            (),
            "serve this SOCKS 4 user id, and no others; anybody may claim it unless --identd is given",
            metavar="NAME",
            repeatable=True,
        ),
        Option("identd", "bool", False, "have the client's identd confirm the SOCKS 4 user id (RFC 1413)"),
        Option("socks5", "bool", False, "speak SOCKS 5 too"),
        *[
            dataclasses.replace(
                option, name=f"socks5-{option.name}", help=f"SOCKS 5 only, and no SOCKS 4 at all: {option.help}"
            )
            for option in account_options()
        ],
        Option(
            "log", "path", None, "write a line for each connection here", short="l", metavar="FILE", writes=True
        ),
        Option(
            "bind-address",
            "interface",
            "",
            "where BIND waits, which clients are told; when not given, the address they are connected to",
            metavar="IP",
        ),
        Option(
            "request-timeout", "duration", _LIMITS.request, "time for a client to say what it wants", minimum=1
        ),
        Option(
            "connect-timeout",
            "duration",
            _LIMITS.connect,
            "time for connecting, name resolution included",
            minimum=1,
        ),
        Option(
            "bind-timeout", "duration", _LIMITS.bind, "time for the peer of a BIND request to come", minimum=1
        ),
        *listening_options(DEFAULT_PORT, "127.0.0.1", idle_timeout=IDLE_TIMEOUT),
    ),
    make_service=make_service,
    check=_check_accounts,
)
