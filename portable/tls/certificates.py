"""Certificate and key files into an `ssl.SSLContext`, with errors that name the file and what is wrong with it.

The standard library tells a certificate's validity only for the verified certificate of a peer, and the
function that decodes a file is private. So `not_after` walks the few DER elements that lead to the date itself
(RFC 5280 4.1): forty lines, and no dependency.
"""

from __future__ import annotations

import calendar
import re
import ssl
import typing
from dataclasses import dataclass

from portable.errors import ConfigurationError, FileError
from portable.files import read_file

__all__ = ["Identity", "load_authorities", "load_identity", "not_after"]

# Bytes. A chain of ten certificates has 20 KB; the bundle of all public authorities 250 KB.
MAX_FILE = 4 * 1024 * 1024

_CERTIFICATE = re.compile("-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----")
_PRIVATE_KEY = re.compile("-----BEGIN ([A-Z]+ )?PRIVATE KEY-----")
# DER tags (X.690 8.1.2).
_SEQUENCE = 0x30
_EXPLICIT_0 = 0xA0
_UTC_TIME = 0x17
_GENERALIZED_TIME = 0x18


@dataclass(frozen=True)
class Identity:
    """A certificate and its private key, as files.

    Attributes:
        certificate: PEM file, our certificate first, then the intermediate ones.
        privkey: PEM file with the key; None if it stands in `certificate` too.
        password: what decrypts the key; None if it is not encrypted.
    """

    certificate: str
    privkey: str | None = None
    password: str | None = None

    def paths(self) -> list[str]:
        """Return the files' names."""
        return [self.certificate] if self.privkey is None else [self.certificate, self.privkey]


class _PasswordMissing(Exception):
    """OpenSSL would ask on the terminal for a password."""


class _Password:
    """Hands out the password and remembers whether somebody asked."""

    def __init__(self, password: str | None) -> None:
        self._password = password
        self.asked = False

    def __call__(self) -> str:
        self.asked = True
        if self._password is None:
            raise _PasswordMissing
        return self._password


def load_identity(context: ssl.SSLContext, identity: Identity) -> float:
    """Load the certificate and key into `context`.

    Returns:
        When the certificate expires, in seconds since 1970 UTC.

    Raises:
        ConfigurationError: names the file and what is wrong with it.
    """
    keyfile = identity.certificate if identity.privkey is None else identity.privkey
    text = _read_pem(identity.certificate)
    found = _CERTIFICATE.search(text)
    if found is None:
        raise ConfigurationError("holds no certificate in PEM form", identity.certificate)
    if _PRIVATE_KEY.search(_read_pem(keyfile)) is None:
        raise ConfigurationError("holds no private key in PEM form", keyfile)
    password = _Password(identity.password)
    try:
        context.load_cert_chain(identity.certificate, keyfile, password)
        return not_after(ssl.PEM_cert_to_DER_cert(found.group()))
    except _PasswordMissing as exc:
        raise ConfigurationError("the private key is encrypted and no password was given", keyfile) from exc
    except ssl.SSLError as exc:
        reason = exc.reason or ""
        if reason == "KEY_VALUES_MISMATCH":
            message = f"the private key does not belong to the certificate in {identity.certificate}"
            raise ConfigurationError(message, keyfile) from exc
        if password.asked:
            raise ConfigurationError("the password does not decrypt the private key", keyfile) from exc
        message = f"cannot be used as a certificate with its key: {_words(exc)}"
        raise ConfigurationError(message, identity.certificate) from exc
    except ValueError as exc:
        # Base64 or DER that is none; or a password longer than OpenSSL takes.
        raise ConfigurationError(f"cannot be used: {exc}", identity.certificate) from exc


def load_authorities(context: ssl.SSLContext, path: str) -> None:
    """Trust the authorities whose certificates stand in the PEM file `path`.

    Raises:
        ConfigurationError: names the file and what is wrong with it.
    """
    text = _read_pem(path)
    if _CERTIFICATE.search(text) is None:
        raise ConfigurationError("holds no certificate in PEM form", path)
    try:
        context.load_verify_locations(cadata=text)
    except ssl.SSLError as exc:
        raise ConfigurationError(f"cannot be used as authorities: {_words(exc)}", path) from exc


def _read_pem(path: str) -> str:
    try:
        data = read_file(path, MAX_FILE)
    except FileError as exc:
        raise ConfigurationError(f"cannot be read ({exc.code}): {exc}", path) from exc
    if data[:1] == b"\x30" and b"-----BEGIN" not in data:
        raise ConfigurationError(
            "is in DER form, not PEM; convert it with `openssl x509` or `openssl pkey`", path
        )
    # PEM is ASCII, but comments between the blocks may be anything.
    return data.decode("ascii", "replace").replace("\ufffd", "?")


def _words(exc: ssl.SSLError) -> str:
    return (exc.reason or "not valid").lower().replace("_", " ")


def not_after(certificate: bytes) -> float:
    """Return when a DER certificate expires, in seconds since 1970 UTC.

    Raises:
        ValueError: this is not a certificate.
    """
    body = _element(certificate, 0, _SEQUENCE)
    fields = _element(certificate, body.start, _SEQUENCE)
    position = fields.start
    # version [0] EXPLICIT OPTIONAL, serialNumber, signature, issuer, validity { notBefore, notAfter }
    first = _element(certificate, position)
    if first.tag == _EXPLICIT_0:
        position = first.end
    for _ in range(3):
        position = _element(certificate, position).end
    validity = _element(certificate, position, _SEQUENCE)
    start = _element(certificate, validity.start)
    end = _element(certificate, start.end)
    return _time(end.tag, certificate[end.start : end.end].decode("ascii"))


class _Element(typing.NamedTuple):
    tag: int
    start: int
    end: int


def _element(data: bytes, position: int, tag: int | None = None) -> _Element:
    """Read the head of the DER element at `position` (X.690 8.1)."""
    head = data[position : position + 2]
    if len(head) < 2 or (tag is not None and head[0] != tag):
        raise ValueError("not a certificate")
    length = head[1]
    start = position + 2
    if length >= 0x80:
        count = length & 0x7F
        length = int.from_bytes(data[start : start + count], "big")
        start += count
    if start + length > len(data):
        raise ValueError("a certificate cut short")
    return _Element(head[0], start, start + length)


def _time(tag: int, text: str) -> float:
    # RFC 5280 4.1.2.5: UTCTime is YYMMDDHHMMSSZ, of 1950 to 2049; GeneralizedTime YYYYMMDDHHMMSSZ.
    if tag == _UTC_TIME:
        text = ("20" if text < "50" else "19") + text
    elif tag != _GENERALIZED_TIME:
        raise ValueError("a certificate without a date")
    if re.fullmatch("[0-9]{14}Z", text) is None:
        raise ValueError("a certificate with a date that is none")
    parts = [int(text[:4])] + [int(text[at : at + 2]) for at in range(4, 14, 2)]
    return float(calendar.timegm((*parts, 0, 0, 0)))
