"""A second connection to the same server that resumes the session of the first."""

from __future__ import annotations

import shutil
import ssl
import typing

import pytest

from portable.testing import MemoryTransport
from portable.tls import client_options, context_options, server_options
from tests.portable.tls.recording import Pair

if typing.TYPE_CHECKING:
    from pathlib import Path

    from portable.transport import Transport
    from tests.portable.tls.certs import Certificates


def reused(transport: Transport) -> bool | None:
    connection: ssl.SSLObject = transport.get_extra_info("ssl_object")
    return connection.session_reused


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_session_is_resumed(certs: Certificates, version: ssl.TLSVersion) -> None:
    client, server = client_options("server.test", ca=certs.ca), server_options(*certs.server)
    client.context.maximum_version = version
    first = Pair(client, server).shake()
    # The tickets of TLS 1.3 come with the first data.
    first.server.transport.write(b"hello")
    first.flush()
    assert not reused(first.client.transport)
    second = Pair(client.resuming(first.client.transport.get_extra_info("ssl_object")), server).shake()
    assert reused(second.client.transport)
    assert reused(second.server.transport)
    third = Pair(client, server).shake()
    assert not reused(third.client.transport)


def test_a_server_may_issue_no_tickets(certs: Certificates) -> None:
    client = client_options("server.test", ca=certs.ca)
    server = server_options(*certs.server, tickets=False)
    first = Pair(client, server).shake()
    first.server.transport.write(b"hello")
    first.flush()
    assert not reused(Pair(client.resuming(first.client.transport), server).shake().client.transport)


def test_after_a_reload_the_handshake_is_a_full_one(certs: Certificates, tmp_path: Path) -> None:
    ca = str(tmp_path / "ca.pem")
    shutil.copy(certs.ca, ca)
    client, server = client_options("server.test", ca=ca), server_options(*certs.server)
    first = Pair(client, server).shake()
    assert client.reload()
    assert not reused(
        Pair(client.resuming(first.client.transport.get_extra_info("ssl_object")), server)
        .shake()
        .client.transport
    )


def test_where_there_is_no_session_the_handshake_is_a_full_one(certs: Certificates) -> None:
    client, server = client_options("server.test", ca=certs.ca), server_options(*certs.server)
    assert not reused(
        Pair(client.resuming(MemoryTransport().get_extra_info("ssl_object")), server).shake().client.transport
    )
    context = context_options(client.context, server_side=False, server_name="server.test")
    assert not reused(Pair(context, server).shake().client.transport)
