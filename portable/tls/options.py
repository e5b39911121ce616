"""What to speak TLS with: certificates, authorities, protocol names.

TLS 1.2 is the oldest version spoken (RFC 8996), renegotiation and compression are off, cipher suites are the
system's choice. TLS 1.3 early data is never accepted, so nothing can be replayed.
"""

from __future__ import annotations

import copy
import logging
import ssl
import time
import typing
from dataclasses import dataclass

from portable.errors import ConfigurationError, FileError
from portable.files import file_status
from portable.logpace import LogPace
from portable.tls.certificates import Identity, load_authorities, load_identity

if typing.TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["NEAR_EXPIRY", "TLSOptions", "client_options", "context_options", "server_options"]

logger = logging.getLogger("portable.tls")

# Seconds. Let's Encrypt renews 30 days before the end: at 14 days something has gone wrong for two weeks.
NEAR_EXPIRY = 14 * 24 * 3600


class NamedSSLObject(ssl.SSLObject):
    """An SSLObject that remembers which host name the client asked for.

    Attributes:
        requested_name: as sent in the server_name extension (RFC 6066 3), or None.
    """

    requested_name: str | None = None


@dataclass(frozen=True)
class Loaded:
    """The outcome of one reading of all files.

    Attributes:
        context: the default certificate's.
        expiries: for each certificate file, when its certificate expires.
    """

    context: ssl.SSLContext
    expiries: dict[str, float]


class TLSOptions:
    """How to speak TLS, as a server or a client. Made by `server_options` and `client_options`.

    One object serves any number of connections. `reload` changes what new connections get; open ones go on
    with what they began with.

    Attributes:
        server_side: whether we are the server.
        server_name: as a client, the name of the server; "" as a server.
        alpn: the protocols we offer or accept, best first.
        failures: of handshakes, for the log.
    """

    def __init__(self, spec: _ServerSpec | _ClientSpec | _ContextSpec) -> None:
        """Load all files.

        Raises:
            ConfigurationError: names the file and what is wrong with it.
        """
        self._spec = spec
        self.server_side = spec.server_side
        self.server_name = spec.server_name
        self.alpn = spec.alpn
        self._seen = self._signature()
        self._loaded = spec.load()
        self._session: ssl.SSLSession | None = None
        self.failures = LogPace()

    @property
    def context(self) -> ssl.SSLContext:
        """The context for the next connection."""
        return self._loaded.context

    @property
    def not_after(self) -> float | None:
        """When the first of our certificates expires, in seconds since 1970 UTC; None if we have none."""
        return min(self._loaded.expiries.values(), default=None)

    @property
    def expiries(self) -> dict[str, float]:
        """When each certificate file's certificate expires, in seconds since 1970 UTC."""
        return dict(self._loaded.expiries)

    def paths(self) -> list[str]:
        """Return the names of all files that are read."""
        return self._spec.paths()

    def resuming(self, connection: object) -> TLSOptions:
        """Return options for one more connection, as a client, that resumes the session of an open one.

        If there is none to resume, or the server does not want to, it gets a full handshake.

        Args:
            connection: what `get_extra_info("ssl_object")` of its transport gives; these options made it.
        """
        options = copy.copy(self)
        # A session belongs to its context, and that may have been loaded anew since.
        if isinstance(connection, ssl.SSLObject) and connection.context is self.context:
            options._session = connection.session  # noqa: SLF001 -- the copy is ours
        return options

    def wrap(self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO) -> ssl.SSLObject:
        """Return the TLS engine of one new connection."""
        return self.context.wrap_bio(
            incoming,
            outgoing,
            server_side=self.server_side,
            server_hostname=self.server_name or None,
            session=self._session,
        )

    def changed(self) -> bool:
        """Return whether a file is another than at the last loading, successful or not.

        Links are followed on all the path, so it sees certificates being changed by the swap of a link to their
        folder.
        """
        return self._signature() != self._seen

    def reload(self) -> bool:
        """Load all files anew for the connections to come.

        Returns:
            Whether that worked. If not, the error is in the log and the last good certificates stay in use.
        """
        # Taken before: if a file changes while we read, `changed` says so afterwards.
        self._seen = self._signature()
        try:
            self._loaded = self._spec.load()
        except ConfigurationError as exc:
            logger.error("cannot reload certificates, going on with the old ones: %s", exc)
            return False
        except Exception:
            # A file that vanished between two looks at it, say. Whatever it is, the old ones still work.
            logger.exception("cannot reload certificates, going on with the old ones")
            return False
        for path in self._loaded.expiries:
            logger.info("loaded the certificate %s", path)
        self.warn_of_expiry()
        return True

    def warn_of_expiry(self) -> None:
        """Log a warning for each certificate that has expired or will in the next 14 days."""
        now = time.time()
        for path, when in self._loaded.expiries.items():
            date = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(when))
            if when <= now:
                logger.warning("the certificate %s expired at %s", path, date)
            elif when - now < NEAR_EXPIRY:
                logger.warning("the certificate %s expires soon, at %s", path, date)

    def _signature(self) -> list[tuple[int, int, int, int] | None]:
        return [_file_signature(path) for path in self.paths()]


def _file_signature(path: str) -> tuple[int, int, int, int] | None:
    try:
        status = file_status(path)
    except FileError:
        return None
    return status.device, status.inode, status.mtime_ns, status.size


@dataclass(frozen=True)
class _ServerSpec:
    identities: tuple[Identity, ...]
    client_ca: str | None
    require_client_certificate: bool
    alpn: tuple[str, ...]
    tickets: bool
    server_side: bool = True
    server_name: str = ""

    def paths(self) -> list[str]:
        files = [path for identity in self.identities for path in identity.paths()]
        if self.client_ca is not None:
            files.append(self.client_ca)
        return files

    def load(self) -> Loaded:
        expiries: dict[str, float] = {}
        contexts: dict[str, ssl.SSLContext] = {}
        loaded = [self._context(identity, contexts, expiries) for identity in self.identities]
        default = loaded[0]

        def choose(connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> int | None:
            if name is not None and isinstance(connection, NamedSSLObject):
                connection.requested_name = name
                connection.context = find_name(contexts, name, default)
            return None

        default.sni_callback = choose
        return Loaded(default, expiries)

    def _context(
        self, identity: Identity, contexts: dict[str, ssl.SSLContext], expiries: dict[str, float]
    ) -> ssl.SSLContext:
        """Return the context of a certificate, and enter it for those of its names that have none yet."""
        context = _new_context(ssl.PROTOCOL_TLS_SERVER, self.alpn)
        context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
        if not self.tickets:
            context.num_tickets = 0
        leaf = load_identity(context, identity)
        if not leaf.names and identity is not self.identities[0]:
            raise ConfigurationError("is for no host name, so that nobody would get it", identity.certificate)
        expiries[identity.certificate] = leaf.not_after
        for name in leaf.names:
            contexts.setdefault(name, context)
        if self.client_ca is not None:
            load_authorities(context, self.client_ca)
            required = self.require_client_certificate
            context.verify_mode = ssl.CERT_REQUIRED if required else ssl.CERT_OPTIONAL
        return context


@dataclass(frozen=True)
class _ClientSpec:
    server_name: str
    ca: str | None
    identity: Identity | None
    verify: bool
    alpn: tuple[str, ...]
    server_side: bool = False

    def paths(self) -> list[str]:
        files = [] if self.identity is None else self.identity.paths()
        return files if self.ca is None else [*files, self.ca]

    def load(self) -> Loaded:
        context = _new_context(ssl.PROTOCOL_TLS_CLIENT, self.alpn)
        expiries: dict[str, float] = {}
        if self.identity is not None:
            expiries[self.identity.certificate] = load_identity(context, self.identity).not_after
        if not self.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        elif self.ca is not None:
            load_authorities(context, self.ca)
        else:
            context.load_default_certs()
        return Loaded(context, expiries)


@dataclass(frozen=True)
class _ContextSpec:
    context: ssl.SSLContext
    server_side: bool
    server_name: str
    alpn: tuple[str, ...] = ()

    def paths(self) -> list[str]:
        return []

    def load(self) -> Loaded:
        return Loaded(self.context, {})


def _new_context(protocol: int, alpn: Sequence[str]) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.sslobject_class = NamedSSLObject
    if alpn:
        context.set_alpn_protocols(alpn)
    return context


def find_name(contexts: Mapping[str, ssl.SSLContext], name: str, default: ssl.SSLContext) -> ssl.SSLContext:
    """Return the context for the host `name`: its own, or that of a wildcard for its first label (RFC 6125
    6.4.3), or `default`.
    """
    wanted = name.lower().rstrip(".")
    own = contexts.get(wanted)
    if own is not None:
        return own
    return contexts.get("*." + wanted.partition(".")[2], default)


def server_options(
    certificate: str,
    privkey: str | None = None,
    *,
    password: str | None = None,
    alpn: Sequence[str] = (),
    client_ca: str | None = None,
    require_client_certificate: bool = False,
    others: Sequence[tuple[str, str | None]] = (),
    tickets: bool = True,
) -> TLSOptions:
    """Return the options of a server.

    Args:
        certificate: PEM file: our certificate, then the intermediate ones.
        privkey: PEM file of the private key; None if it stands in `certificate`.
        password: of the private key, and of those of `others` that have one.
        alpn: protocols we speak, best first, such as ("h2", "http/1.1") (RFC 7301). A client that offers none
            of them, or does not offer any, is served too, and `alpn_protocol` is None.
        client_ca: PEM file of the authorities for clients' certificates. Clients are then asked for one.
        require_client_certificate: refuse clients without one; needs `client_ca`.
        others: certificates and private keys (None: in the same file) for further host names. A client that
            asks for a name (SNI) gets the first certificate that is for it; if none is, or it asks for none,
            `certificate`.
        tickets: let clients of TLS 1.3 resume sessions. For protocols in which a client sends, reads nothing
        and
            closes, this must be False: tickets come after the handshake, and a client's system answers unread
            data with a reset, which takes with it what the client has sent.

    Raises:
        ConfigurationError: names the file and what is wrong with it.
    """
    if require_client_certificate and client_ca is None:
        raise ConfigurationError("client certificates can only be required with the file of their authorities")
    identities = tuple([Identity(*files, password) for files in [(certificate, privkey), *others]])
    spec = _ServerSpec(identities, client_ca, require_client_certificate, _alpn(alpn), tickets)
    return TLSOptions(spec)


def client_options(
    server_name: str,
    *,
    ca: str | None = None,
    certificate: str | None = None,
    privkey: str | None = None,
    password: str | None = None,
    alpn: Sequence[str] = (),
    verify: bool = True,
) -> TLSOptions:
    """Return the options of a client.

    Args:
        server_name: the host name or literal IP address that the server's certificate must be for; a name is
            also told to the server (SNI).
        ca: PEM file of the authorities that are trusted instead of the system's.
        certificate: PEM file of our own certificate, if the server asks for one.
        privkey: PEM file of its key; None if it stands in `certificate`.
        password: of the private key.
        alpn: protocols we offer, best first.
        verify: False accepts any certificate, so anybody on the path can read and change everything.

    Raises:
        ConfigurationError: names the file and what is wrong with it.
    """
    name = server_name if ":" in server_name else _host_name(server_name)
    if name[:1] == "*":
        raise ConfigurationError(f"{server_name!r} is not the name of one host")
    if certificate is None and privkey is not None:
        raise ConfigurationError("a private key without its certificate", privkey)
    identity = None if certificate is None else Identity(certificate, privkey, password)
    return TLSOptions(_ClientSpec(name, ca, identity, verify, _alpn(alpn)))


def context_options(context: ssl.SSLContext, *, server_side: bool, server_name: str = "") -> TLSOptions:
    """Return options with a context that somebody else has set up, and answers for: nothing is checked, and
    there is nothing to reload.

    Args:
        context: used as it is for every connection.
        server_side: whether we are the server.
        server_name: as `client_options`.
    """
    return TLSOptions(_ContextSpec(context, server_side, server_name))


def _host_name(name: str) -> str:
    """Return `name` as it is sent: lower case, ASCII, no dot at the end (RFC 6066 3)."""
    try:
        plain = name.rstrip(".").encode("idna").decode("ascii").lower()
    except UnicodeError as exc:
        raise ConfigurationError(f"{name!r} is not a host name: {exc}") from exc
    if not plain or plain[0] == "." or "\0" in plain:
        raise ConfigurationError(f"{name!r} is not a host name")
    return plain


def _alpn(names: Sequence[str]) -> tuple[str, ...]:
    for name in names:
        # RFC 7301 3.1.
        if not 0 < len(name) < 256 or not name.isascii():
            raise ConfigurationError(f"the ALPN name {name!r} does not have 1 to 255 ASCII characters")
    return tuple(names)
