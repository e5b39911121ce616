"""Certificates for the whole session: making them takes time."""

from __future__ import annotations

import pytest

from tests.portable.tls.certs import Certificates


@pytest.fixture(scope="session")
def certs(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))
