"""What all connections of one FTP server share: who may log in, where data connections go, and the limits."""

from __future__ import annotations

import secrets
import time
import typing
from dataclasses import dataclass, field, replace

from protocols.ftp.server.channels import PassivePorts

if typing.TYPE_CHECKING:
    from collections.abc import Callable

    from portable.attempts import LoginAttempts
    from portable.deferred import Deferred
    from portable.tls import TLSOptions
    from protocols.ftp.server.account import Account
    from protocols.ftp.server.channels import Network

__all__ = ["Limits", "Site"]


@dataclass(frozen=True)
class Limits:
    """Seconds, unless said otherwise.

    Attributes:
        login: from the connection to the login, and from a logout to the next one. Commands do not put it off.
        idle: from one complete command to the next, transfers not counted; 0 for no limit. Bytes that are no
            command yet do not put it off.
        connect: for a data connection to be used after its announcement, and then to come about.
        stall: in which a transfer must get on, by `min_rate`.
        min_rate: bytes per second, taken over `stall`, that must pass in the direction of a transfer. A line of
            300 bit/s does seven times that; with less asked for, a client that takes or sends a byte now and
            then could keep a file open and a port in use for ever.
        close: for the last reply to be taken.
        failures: wrong passwords on one connection.
        nonsense: lines in a row that are no commands at all: a program that speaks something else.
        status: files that STAT shows of a folder; its reply is made in memory.
    """

    login: float = 60.0
    idle: float = 300.0
    connect: float = 60.0
    stall: float = 300.0
    min_rate: float = 4
    close: float = 30.0
    failures: int = 3
    nonsense: int = 10
    status: int = 1000


@dataclass
class Site:
    """One FTP server.

    Attributes:
        network: the reactor: clock, and data connections.
        authenticate: gives the account for a name and a password, None if they are wrong. It never fails.
        attempts: counts failed logins.
        ports: for passive data connections.
        masquerade: the IPv4 address that PASV announces, if a router translates it; "" for our own.
        tls: allows AUTH TLS, and protects data connections.
        require_tls: for passwords, and for all data.
        throttle: bytes per second in each direction of each data connection; 0 for no limit.
        greeting: the text of the first reply.
        now: gives seconds since 1970.
        unique_name: gives a part of a name that nobody else gets, for STOU.
    """

    network: Network
    authenticate: Callable[[str, str], Deferred[Account | None]]
    attempts: LoginAttempts
    ports: PassivePorts = field(default_factory=PassivePorts)
    masquerade: str = ""
    tls: TLSOptions | None = None
    require_tls: bool = False
    throttle: int = 0
    limits: Limits = field(default_factory=Limits)
    greeting: str = "FTP server ready."
    now: Callable[[], float] = time.time
    unique_name: Callable[[], str] = lambda: secrets.token_hex(8)

    @property
    def transfer_limits(self) -> Limits:
        """The limits of transfers: nobody is to be blamed for our own throttle."""
        limits = self.limits
        if not self.throttle:
            return limits
        return replace(limits, min_rate=min(limits.min_rate, self.throttle / 2))
