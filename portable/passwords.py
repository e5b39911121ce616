"""Passwords, kept as scrypt hashes (RFC 7914) in the PHC string format: `$scrypt$ln=14,r=8,p=1$SALT$HASH`.

Checking one takes tens of milliseconds on purpose, and 16 MiB of memory: call `verify_password` in a thread.

Names and passwords are compared in Unicode's normal form C, because one keyboard composes what another sends as
letter and accent (RFC 8265 section 4.2.2).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
import unicodedata

from portable.errors import ConfigurationError

__all__ = ["MAX_NAME", "MAX_PASSWORD", "hash_password", "normal_account", "split_account", "verify_password"]

# Bytes of UTF-8. Longer than people's names and shorter than any protocol's line.
MAX_NAME = 256
# Bytes of UTF-8. A pass phrase of a page; more would only be work for us.
MAX_PASSWORD = 1024

# The work factors of new hashes: 2^14 blocks of 128 * 8 bytes, the cost of an interactive login in RFC 7914's
# paper. A server checks many at a time, so more is left to those who bring hashes of their own.
_LOG_N, _R, _P = 14, 8, 1
# What hashes made elsewhere may ask of us. Beyond this a file of accounts could stop the server.
_MOST_MEMORY = 256 * 1024 * 1024
_MOST_PARALLEL = 16
_SALT = 16  # bytes
_LENGTH = 32  # bytes

_BASE64 = "[A-Za-z0-9+/]"
_HASH = re.compile(
    rf"\$scrypt\$ln=([0-9]{{1,2}}),r=([0-9]{{1,3}}),p=([0-9]{{1,3}})\$({_BASE64}{{11,86}})\$({_BASE64}{{22,86}})\Z"
)
# What other programs' hashes look like: "$6$...", "$2b$...", "$argon2id$...".
_SOME_HASH = re.compile(r"\$[a-z0-9-]{1,16}\$")
_CONTROLS = re.compile("[\x00-\x1f\x7f]")


def hash_password(password: str) -> str:
    """Return a new hash of `password`, with a salt of its own."""
    salt = secrets.token_bytes(_SALT)
    digest = _scrypt(password, salt, _LOG_N, _R, _P, _LENGTH)
    return f"$scrypt$ln={_LOG_N},r={_R},p={_P}${_encode(salt)}${_encode(digest)}"


def verify_password(password: str, hashed: str) -> bool:
    """Return whether `hashed` was made from `password`. False for a password beyond MAX_PASSWORD.

    Raises:
        ConfigurationError: `hashed` is no hash of ours.
    """
    log_n, r, p, salt, digest = _parse(hashed)
    if len(password.encode("utf-8", "replace")) > MAX_PASSWORD:
        # As much work as any other, so that the time tells nothing.
        password = ""
        digest = bytes(len(digest))
    return hmac.compare_digest(_scrypt(password, salt, log_n, r, p, len(digest)), digest)


def split_account(text: str) -> tuple[str, str]:
    """Return (name, password or hash) out of "NAME:PASSWORD".

    Raises:
        ConfigurationError: it is neither that nor "NAME:HASH", or goes beyond a limit. Never says the password.
    """
    name, colon, password = text.partition(":")
    name = unicodedata.normalize("NFC", name)
    if not colon or not password:
        raise ConfigurationError(f"account {name!r} has no password; write NAME:PASSWORD")
    if not name or name.strip() != name or _CONTROLS.search(name) is not None:
        raise ConfigurationError(f"{name!r} cannot be the name of an account")
    if len(name.encode("utf-8")) > MAX_NAME:
        raise ConfigurationError(f"the name of an account has more than {MAX_NAME} bytes")
    if len(password.encode("utf-8")) > MAX_PASSWORD:
        raise ConfigurationError(f"the password of {name!r} has more than {MAX_PASSWORD} bytes")
    if _CONTROLS.search(password) is not None:
        raise ConfigurationError(f"the password of {name!r} has control characters")
    if password.startswith("$scrypt$"):
        try:
            _parse(password)
        except ConfigurationError as error:
            raise ConfigurationError(f"account {name!r}: {error}") from error
    elif _SOME_HASH.match(password) is not None:
        raise ConfigurationError(
            f"account {name!r} has a hash of another program; scrypt hashes can be used, "
            "which mktap --hash-password makes"
        )
    return name, password


def normal_account(text: str) -> str:
    """Return "NAME:HASH" for "NAME:PASSWORD" or "NAME:HASH".

    Raises:
        ConfigurationError: as `split_account`.
    """
    name, password = split_account(text)
    return f"{name}:{password if password.startswith('$scrypt$') else hash_password(password)}"


def _scrypt(password: str, salt: bytes, log_n: int, r: int, p: int, length: int) -> bytes:
    data = unicodedata.normalize("NFC", password).encode("utf-8", "replace")
    return hashlib.scrypt(data, salt=salt, n=1 << log_n, r=r, p=p, maxmem=2 * _MOST_MEMORY, dklen=length)


def _parse(hashed: str) -> tuple[int, int, int, bytes, bytes]:
    found = _HASH.match(hashed)
    if found is None:
        raise ConfigurationError("not a hash such as mktap --hash-password makes")
    log_n, r, p = int(found.group(1)), int(found.group(2)), int(found.group(3))
    if not (1 <= log_n < 25 and r >= 1 and 1 <= p <= _MOST_PARALLEL) or (128 * r << log_n) > _MOST_MEMORY:
        raise ConfigurationError(f"the hash asks for more than {_MOST_MEMORY >> 20} MiB, or for nonsense")
    try:
        return log_n, r, p, _decode(found.group(4)), _decode(found.group(5))
    except ValueError as error:
        raise ConfigurationError("the hash is cut short") from error


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii").rstrip("=")


def _decode(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
