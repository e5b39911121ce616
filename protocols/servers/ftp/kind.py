"""What `mktap ftp` makes."""

from __future__ import annotations

import ipaddress
import re
import typing

from portable.accounts import Accounts, account_options
from portable.attempts import LoginAttempts
from portable.deferred import succeed
from portable.endpoints import TLSEndpoint, parse_endpoint
from portable.errors import ConfigurationError, FileError
from portable.files import file_status
from portable.listening import certificate_options, certificates, listening_options, server_ports
from portable.options import Kind, Option
from portable.service import PortService
from portable.tls import CertificateWatch, server_options
from protocols.ftp.server import ALL, PERMISSIONS, READING, Account, FTPServer, Limits, PassivePorts, Site
from protocols.servers.ftp.folder import RealFolder

if typing.TYPE_CHECKING:
    from portable.deferred import Deferred
    from portable.reactor import Reactor
    from portable.service import Service
    from portable.tls import TLSOptions

__all__ = ["KIND", "FTPService", "make_service"]

DEFAULT_PORT = 2121
DEFAULT_IDLE = 300.0  # seconds
ANONYMOUS = ("anonymous", "ftp")
_PORTS = re.compile("([0-9]{1,5})-([0-9]{1,5})\\Z")


class FTPService(PortService):
    """One folder by FTP, on any number of ports.

    Args:
        values: checked values of the options of KIND.
    """

    def __init__(self, values: typing.Mapping[str, typing.Any]) -> None:
        # The control connection is idle during a transfer. Only the protocol knows, so it has the time-out.
        listening = {**values, "idle-timeout": 0.0}
        super().__init__(KIND.name, server_ports(listening, KIND.name, self._make_protocol))
        self._values = values
        self._accounts = Accounts.from_values(values)
        self._permissions = _permissions(values["permissions"])
        self._files: RealFolder | None = None
        self._tls: TLSOptions | None = None
        self._watch: CertificateWatch | None = None
        self._site: Site | None = None

    def bind(self, reactor: Reactor) -> None:
        """See `Service.bind`. Reads passwords and certificates: they may be root's."""
        values = self._values
        self._accounts.load()
        self._tls = _tls_options(values)
        self._files = RealFolder(values["root"], reactor)
        self._site = Site(
            reactor,
            self._authenticate,
            LoginAttempts(reactor),
            PassivePorts(*_port_range(values["passive-ports"])) if values["passive-ports"] else PassivePorts(),
            masquerade=values["masquerade"] or "",
            tls=self._tls,
            require_tls=values["require-tls"],
            throttle=values["throttle"],
            limits=Limits(idle=values["idle-timeout"]),
        )
        super().bind(reactor)

    def start(self) -> None:
        """See `Service.start`."""
        super().start()
        if self._tls is not None and self.reactor is not None:
            self._watch = CertificateWatch(self._tls, self.reactor)

    def stop(self, seconds: float) -> Deferred[None]:
        """See `Service.stop`."""
        if self._watch is not None:
            self._watch.stop()
            self._watch = None
        return super().stop(seconds)

    def reload(self) -> bool:
        """See `Service.reload`. Reads the passwords and certificates again; each stays as it was if it is bad.

        Raises:
            ConfigurationError: names what is wrong with the passwords; certificates were not touched.
        """
        # First: if this raises, nothing has changed. Certificates that are bad are told in the log.
        self._accounts.load()
        complete = super().reload()
        return (self._tls is None or self._tls.reload()) and complete

    def _make_protocol(self) -> FTPServer:
        if self._site is None:
            raise AssertionError("a connection before bind")
        return FTPServer(self._site)

    def _authenticate(self, name: str, password: str) -> Deferred[Account | None]:
        reactor, files = self.reactor, self._files
        if reactor is None or files is None:
            raise AssertionError("a login before bind")
        if self._values["anonymous"] and name.lower() in ANONYMOUS:
            return succeed(Account(files, READING, proven=False))
        account = Account(files, self._permissions.get(name, ALL))

        def checked(right: bool) -> Account | None:
            return account if right else None

        return self._accounts.check(reactor, name, password).add_callback(checked)


def make_service(values: typing.Mapping[str, typing.Any]) -> Service:
    """Return the service for checked values. Opens nothing.

    Raises:
        ConfigurationError: options make no sense, alone or together.
    """
    _check(values)
    return FTPService(values)


def _tls_options(values: typing.Mapping[str, typing.Any]) -> TLSOptions | None:
    """Load the certificates; None if there are none."""
    if not values["certificate"]:
        return None
    first, *others = [(certificate, privkey or None) for certificate, privkey in certificates(values)]
    return server_options(*first, others=others, tickets=False)


def _permissions(words: typing.Sequence[str]) -> dict[str, frozenset[str]]:
    """Return the letters of each name.

    Raises:
        ConfigurationError: a word is not NAME=LETTERS, or a name is there twice.
    """
    found: dict[str, frozenset[str]] = {}
    for word in words:
        name, equals, letters = word.rpartition("=")
        if not equals or not name or not frozenset(letters) <= ALL:
            known = ", ".join([f"{letter} ({what})" for letter, what in PERMISSIONS.items()])
            raise ConfigurationError(f"{word!r} is not NAME=LETTERS, with letters of: {known}", "--permissions")
        if name in found:
            raise ConfigurationError(f"{name!r} is there twice", "--permissions")
        found[name] = frozenset(letters)
    return found


def _port_range(text: str) -> tuple[int, int]:
    match = _PORTS.match(text)
    first, last = (int(match.group(1)), int(match.group(2))) if match is not None else (0, 0)
    if not 1024 <= first <= last <= 65535:
        raise ConfigurationError(f"{text!r} is not A-B with two ports of 1024 to 65535", "--passive-ports")
    return first, last


def _check_files(values: typing.Mapping[str, typing.Any]) -> None:
    """Refuse passwords and a certificate that cannot be used, and a root that is no folder."""
    Accounts.from_values(values).load()
    _tls_options(values)
    try:
        if not file_status(values["root"]).is_dir:
            raise ConfigurationError(f"{values['root']!r} is not a folder", "--root")
    except FileError as error:
        raise ConfigurationError(str(error), "--root") from error


def _check(values: typing.Mapping[str, typing.Any]) -> None:
    """Refuse options that have no meaning, alone or together."""
    names = Accounts.from_values(values).names()
    if not names and values["passwords"] is None and not values["anonymous"]:
        raise ConfigurationError("nobody could log in: give --user, --passwords or --anonymous")
    for name in _permissions(values["permissions"]):
        if name not in names and values["passwords"] is None:
            raise ConfigurationError(f"there is no --user {name}", "--permissions")
    if values["passive-ports"] is not None:
        _port_range(values["passive-ports"])
    if values["masquerade"] is not None:
        try:
            ipaddress.IPv4Address(values["masquerade"])
        except ValueError as error:
            raise ConfigurationError(f"{values['masquerade']!r} is no IPv4 address", "--masquerade") from error
    certificates(values)
    if not values["certificate"]:
        if values["require-tls"]:
            raise ConfigurationError("needs --certificate FILE (PEM)", "--require-tls")
        if any(isinstance(parse_endpoint(text), TLSEndpoint) for text in values["listen"]):
            raise ConfigurationError("data connections need --certificate FILE (PEM), too", "--listen")


KIND = Kind(
    name="ftp",
    version=1,
    summary="an FTP server for a folder, in clear and by TLS",
    options=(
        Option(
            "root", "path", None, "folder to serve", required=True, must_exist=True, short="r", metavar="DIR"
        ),
        *account_options(),
        Option(
            "permissions",
            "str",
            (),
            "what a user may do, instead of everything, in letters: "
            + ", ".join([f"{letter} {what}" for letter, what in PERMISSIONS.items()]),
            metavar="NAME=LETTERS",
            repeatable=True,
        ),
        Option("anonymous", "bool", False, "let everybody read, as the user anonymous or ftp", short="a"),
        Option(
            "passive-ports",
            "str",
            None,
            "ports for passive data connections, such as a firewall lets through; otherwise 49152-65535",
            metavar="A-B",
        ),
        Option(
            "masquerade",
            "str",
            None,
            "the IPv4 address that PASV announces, where a router translates ours",
            metavar="ADDR",
        ),
        *certificate_options(),
        Option("require-tls", "bool", False, "take no password and transfer nothing without TLS"),
        *listening_options(DEFAULT_PORT, idle_timeout=DEFAULT_IDLE),
    ),
    make_service=make_service,
    check=_check_files,
)
