"""Other people's servers, one process of each for the whole session."""

from __future__ import annotations

import typing

import pytest

from tests.portable.tls.certs import Certificates
from tests.protocols.ftp.client.foreign_servers import ForeignServer, pyftpdlib_server, vsftpd_server
from tests.protocols.ftp.client.scripted import Script

if typing.TYPE_CHECKING:
    from collections.abc import Iterator

RUNNERS = {"pyftpdlib": pyftpdlib_server, "vsftpd": vsftpd_server}


@pytest.fixture(autouse=True)
def no_script_left() -> Iterator[None]:
    """End every Script of the test."""
    yield
    while Script.made:
        Script.made.pop().end()


@pytest.fixture(scope="session")
def certs(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="session", params=list(RUNNERS))
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForeignServer]:
    """Servers in clear."""
    with RUNNERS[request.param](tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture(scope="session", params=list(RUNNERS))
def tls_server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, certs: Certificates
) -> Iterator[ForeignServer]:
    """Servers that demand TLS for everything."""
    with RUNNERS[request.param](tmp_path_factory.mktemp("server"), certs) as running:
        yield running


@pytest.fixture(scope="session")
def pyftpdlib(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForeignServer]:
    """One that knows MLSD."""
    with pyftpdlib_server(tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture(scope="session")
def vsftpd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForeignServer]:
    """One that does not know MLSD."""
    with vsftpd_server(tmp_path_factory.mktemp("server")) as running:
        yield running
