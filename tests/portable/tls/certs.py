"""Certificates made for the tests."""

from __future__ import annotations

import datetime
import typing

import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

if typing.TYPE_CHECKING:
    from pathlib import Path

PASSWORD = "open sesame"


class Pair(typing.NamedTuple):
    """The files of a certificate and of its key."""

    cert: str
    key: str


class Authority:
    """A certificate authority that writes what it issues to files."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._ca = trustme.CA(organization_name=name)
        self.pem = str(folder / f"{name}-ca.pem")
        self._ca.cert_pem.write_to_path(self.pem)

    def issue(self, file_name: str, *names: str, days: float = 365.0) -> Pair:
        """Issue a certificate for `names` that expires `days` from now."""
        now = datetime.datetime.now(datetime.UTC)
        leaf = self._ca.issue_cert(
            *names,
            common_name=names[0],
            not_before=now - datetime.timedelta(days=400),
            not_after=now + datetime.timedelta(days=days),
        )
        pair = Pair(str(self._folder / f"{file_name}.pem"), str(self._folder / f"{file_name}.key"))
        with open(pair.cert, "wb") as file:
            file.writelines(blob.bytes() for blob in leaf.cert_chain_pems)
        leaf.private_key_pem.write_to_path(pair.key)
        return pair


class Certificates:
    """What most tests need."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = Authority(folder, "ours")
        self.stranger = Authority(folder, "stranger")
        self.ca = self.authority.pem
        self.server = self.authority.issue("server", "server.test", "localhost", "127.0.0.1", "::1")
        self.other = self.authority.issue("other", "other.test")
        self.wild = self.authority.issue("wild", "*.wild.test")
        self.client = self.authority.issue("client", "client@example.org")
        self.strange_client = self.stranger.issue("strange", "mallory@example.org")
        self.expired = self.authority.issue("expired", "server.test", days=-1)
        self.encrypted = Pair(self.server.cert, str(folder / "encrypted.key"))
        self._encrypt_key()
        self.single = str(folder / "single.pem")
        with open(self.single, "w") as file:
            file.write(read(self.server.key) + read(self.server.cert))

    def _encrypt_key(self) -> None:
        key = load_pem_private_key(read(self.server.key).encode(), None)
        encryption = BestAvailableEncryption(PASSWORD.encode())
        with open(self.encrypted.key, "wb") as file:
            file.write(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))

    def file(self, name: str, content: bytes | str) -> str:
        """Write `content` to a new file and return its path."""
        path = self.folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)


def read(path: str) -> str:
    with open(path) as file:
        return file.read()


def common_name(peercert: dict[str, typing.Any]) -> str:
    """Return the common name of `get_extra_info("peercert")`."""
    return next(str(value) for part in peercert["subject"] for key, value in part if key == "commonName")
