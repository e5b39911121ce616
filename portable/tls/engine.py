"""One end of one TLS connection, as bytes in and bytes out. Knows no transport, clock or file."""

from __future__ import annotations

import contextlib
import re
import ssl
import sys
import typing

from portable.errors import CertificateError, TLSError

if typing.TYPE_CHECKING:
    from portable.tls.options import TLSOptions

__all__ = ["AGREED", "MAX_HANDSHAKE", "READ_SIZE", "SLICE", "Engine", "tls_error"]

# Bytes. What a peer may send before the handshake is done. Chains of certificates stay below 20 KB,
# post-quantum ones too.
MAX_HANDSHAKE = 64 * 1024
# Bytes that one `next_data` gives at most: what transports read at once.
READ_SIZE = 256 * 1024
# RFC 8446 5.1: no record has more plain text.
RECORD_SIZE = 16 * 1024
# Bytes. A MemoryBIO never gives back the memory that it once needed: with whole reads and writes in it, each
# connection would keep half a megabyte for its life.
SLICE = 32 * 1024

_ALERT = re.compile("(?:TLSV1|TLSV13|SSLV3)_ALERT_(.+)")
_ABOUT_CERTIFICATES = ("CERTIFICATE", "UNKNOWN_CA")
# OpenSSL's names for what people run into.
_REASONS = {
    "HTTP_REQUEST": "the peer speaks plain HTTP, not TLS",
    "HTTPS_PROXY_REQUEST": "the peer speaks plain HTTP, not TLS",
    "WRONG_VERSION_NUMBER": "the peer does not speak TLS",
    "UNKNOWN_PROTOCOL": "the peer does not speak TLS",
    "PACKET_LENGTH_TOO_LONG": "the peer does not speak TLS",
    "BAD_RECORD_TYPE": "the peer does not speak TLS",
    "UNEXPECTED_MESSAGE": "the peer does not speak TLS, or not as it should",
    "UNSUPPORTED_PROTOCOL": "the peer speaks no version of TLS that we accept",
    "VERSION_TOO_LOW": "the peer speaks no version of TLS that we accept",
    "NO_SHARED_CIPHER": "the peer and we have no cipher suite in common",
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "the peer sent no certificate",
    "DECRYPTION_FAILED_OR_BAD_RECORD_MAC": "a record was changed on its way",
    "CALLBACK_FAILED": "the peer asked for a host name that is not ASCII",
}


def tls_error(exc: ssl.SSLError) -> TLSError:
    """Return the framework's error for `exc`, with a message that a person can act on."""
    if isinstance(exc, ssl.SSLCertVerificationError):
        return CertificateError(f"the peer's certificate was refused: {exc.verify_message}")
    reason = exc.reason or ""
    alert = _ALERT.fullmatch(reason)
    if alert is not None:
        name = alert.group(1).lower().replace("_", " ")
        if any(word in reason for word in _ABOUT_CERTIFICATES):
            return CertificateError(f"the peer refused our certificate, or the lack of one: {name}")
        return TLSError(f"the peer broke off with the TLS alert {name!r}")
    message = _REASONS.get(reason) or f"TLS failed: {reason.lower().replace('_', ' ') or exc}"
    if "PEER_DID_NOT_RETURN" in reason:
        return CertificateError(message)
    return TLSError(message)


# What `_tell_others` passes on to.
_hook: typing.Callable[[sys.UnraisableHookArgs], object] = sys.unraisablehook


def _tell_others(unraisable: sys.UnraisableHookArgs) -> None:
    if not isinstance(unraisable.exc_value, UnicodeDecodeError):
        _hook(unraisable)


@contextlib.contextmanager
def _no_traceback_for_names() -> typing.Iterator[None]:
    """Keep the ssl module from printing a traceback when a client asks for a host name that is not ASCII.

    It refuses the handshake as it should (RFC 6066 3), but anybody could fill our standard error with that.
    Loops in several threads may shake hands at once: then the first that ends it lets the others print, but
    the hook that was there comes back in any order of events.
    """
    global _hook
    current = sys.unraisablehook
    if current is not _tell_others:
        _hook = current
        sys.unraisablehook = _tell_others
    try:
        yield
    finally:
        sys.unraisablehook = _hook


class Engine:
    """Turns what the peer sends into plain bytes, and plain bytes into what to send to it.

    Feed `receive_data`; call `handshake` until it says True, then `next_data`. After every call send
    `data_to_send`, after one that raised as well: it may hold the alert that tells the peer why.

    Attributes:
        closed: whether the peer has said that it will send no more (close_notify, RFC 8446 6.1).
        tls: the SSLObject, for asking what was agreed on.
        server_name: the host name the client asked for, or None.
    """

    def __init__(self, options: TLSOptions) -> None:
        self.closed = False
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self.tls = options.wrap(self._incoming, self._outgoing)
        self._error: TLSError | None = None
        # What was received and OpenSSL has not been given yet, from `_given` on.
        self._received = b""
        self._given = 0

    @property
    def server_name(self) -> str | None:
        """The host name the client asked for, or None."""
        if self.tls.server_side:
            name: str | None = getattr(self.tls, "requested_name", None)
            return name
        return self.tls.server_hostname

    def receive_data(self, data: bytes) -> None:
        """Buffer `data`, bytes from the peer. Never raises."""
        self._received = self._received[self._given :] + data if self._received else data
        self._given = 0

    def _give(self) -> bool:
        """Give OpenSSL the next slice of what was received; return False if there is none."""
        if not self._received:
            return False
        end = self._given + SLICE
        self._incoming.write(self._received[self._given : end])
        self._given = end
        if end >= len(self._received):
            self._received = b""
            self._given = 0
        return True

    def data_to_send(self) -> bytes:
        """Return the bytes that must go to the peer now; often none."""
        return self._outgoing.read() if self._outgoing.pending else b""

    def handshake(self) -> bool:
        """Go on with the handshake and return whether it is done.

        Raises:
            TLSError: it failed.
        """
        while True:
            try:
                with _no_traceback_for_names():
                    self.tls.do_handshake()
                return True
            except ssl.SSLWantReadError:
                if not self._give():
                    return False
            except ssl.SSLError as exc:
                raise tls_error(exc) from exc

    def next_data(self) -> bytes:
        """Return up to READ_SIZE plain bytes; none if more must be received first, or the peer has `closed`.

        Raises:
            TLSError: the peer broke off or broke the rules. Everything before was returned.
        """
        if self._error is not None:
            raise self._error
        parts: list[bytes] = []
        size = 0
        while size < READ_SIZE and not self.closed:
            try:
                part = self.tls.read(RECORD_SIZE)
            except ssl.SSLWantReadError:
                if self._give():
                    continue
                break
            except ssl.SSLZeroReturnError:
                part = b""
            except ssl.SSLError as exc:
                self._error = tls_error(exc)
                self._error.__cause__ = exc
                break
            if part:
                parts.append(part)
                size += len(part)
            else:
                self.closed = True
        if self._error is not None and not parts:
            raise self._error
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def write(self, data: bytes) -> None:
        """Encrypt `data`, which is not empty; best not more than SLICE bytes before the next `data_to_send`.

        Raises:
            TLSError: the connection has failed already.
        """
        try:
            # Into memory, so all of it is taken.
            self.tls.write(data)
        except ssl.SSLError as exc:
            # If a record that could not be read is why, say so.
            raise self._error or tls_error(exc) from exc

    def close(self) -> None:
        """Say close_notify. Never raises: a connection that has failed needs no farewell."""
        try:
            self.tls.unwrap()
        except ssl.SSLError:
            # As a rule SSLWantReadError: the peer's close_notify is not here yet, and need not come.
            return


def _cipher(engine: Engine) -> str | None:
    cipher = engine.tls.cipher()
    return None if cipher is None else cipher[0]


# What the ends have agreed on, by the names of `Transport.get_extra_info`; known when the handshake is done.
AGREED: dict[str, typing.Callable[[Engine], object]] = {
    # An unverified certificate is shown as {}: nobody should take it for one.
    "peercert": lambda engine: engine.tls.getpeercert() or None,
    "tls_version": lambda engine: engine.tls.version(),
    "tls_cipher": _cipher,
    "alpn_protocol": lambda engine: engine.tls.selected_alpn_protocol(),
    "server_name": lambda engine: engine.server_name,
}
