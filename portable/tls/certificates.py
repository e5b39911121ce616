"""Certificate and key files into an `ssl.SSLContext`, with errors that name the file and what is wrong with it.

The standard library tells a certificate's validity only for the verified certificate of a peer, and the
function that decodes a file is private. So `not_after` and `host_names` walk the few DER elements that lead to
the date and the names (RFC 5280 4.1 and 4.2.1.6): sixty lines, and no dependency.
"""

from __future__ import annotations

import calendar
import re
import ssl
import typing
from dataclasses import dataclass

from portable.errors import ConfigurationError, FileError, describe
from portable.files import read_file

__all__ = ["Identity", "Leaf", "host_names", "load_authorities", "load_identity", "not_after"]

# Bytes. A chain of ten certificates has 20 KB; the bundle of all public authorities 250 KB.
MAX_FILE = 4 * 1024 * 1024

_CERTIFICATE = re.compile("-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----")
_PRIVATE_KEY = re.compile("-----BEGIN ([A-Z]+ )?PRIVATE KEY-----")
# DER tags (X.690 8.1.2).
_SEQUENCE = 0x30
_EXPLICIT_0 = 0xA0
_EXPLICIT_3 = 0xA3
_DNS_NAME = 0x82
_UTC_TIME = 0x17
_GENERALIZED_TIME = 0x18
# The object identifier 2.5.29.17.
_SUBJECT_ALT_NAME = b"\x55\x1d\x11"


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


class Leaf(typing.NamedTuple):
    """What a certificate says of itself.

    Attributes:
        not_after: when it expires, in seconds since 1970 UTC.
        names: the host names it is for.
    """

    not_after: float
    names: list[str]


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


def load_identity(context: ssl.SSLContext, identity: Identity) -> Leaf:
    """Load the certificate and key into `context`.

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
        certificate = ssl.PEM_cert_to_DER_cert(found.group())
        return Leaf(not_after(certificate), host_names(certificate))
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
        raise ConfigurationError(f"cannot be read: {describe(exc.code)}", path) from exc
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


def host_names(certificate: bytes) -> list[str]:
    """Return the host names in the subjectAltName of a DER certificate, in lower case; "*.example.org" too.

    The name in its subject counts for nothing (RFC 9525 2).

    Raises:
        ValueError: this is not a certificate.
    """
    body = _element(certificate, 0, _SEQUENCE)
    for field in _elements(certificate, _element(certificate, body.start, _SEQUENCE)):
        if field.tag == _EXPLICIT_3:
            for extension in _elements(certificate, _element(certificate, field.start, _SEQUENCE)):
                # extnID, critical DEFAULT FALSE, extnValue
                parts = _elements(certificate, extension)
                if parts and certificate[parts[0].start : parts[0].end] == _SUBJECT_ALT_NAME:
                    names = _elements(certificate, _element(certificate, parts[-1].start, _SEQUENCE))
                    return [
                        certificate[name.start : name.end].decode("latin-1").lower()
                        for name in names
                        if name.tag == _DNS_NAME
                    ]
    return []


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


def _elements(data: bytes, parent: _Element) -> list[_Element]:
    """Return the elements that `parent` is made of."""
    found: list[_Element] = []
    position = parent.start
    while position < parent.end:
        found.append(_element(data, position))
        position = found[-1].end
    return found


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
