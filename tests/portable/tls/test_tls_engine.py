"""The engine alone: bytes in, bytes out."""

from __future__ import annotations

import ssl
import sys
import threading
import types
import typing

import pytest

from portable.errors import TLSError
from portable.tls import client_options, server_options
from portable.tls.engine import READ_SIZE, Engine, tls_error

if typing.TYPE_CHECKING:
    from tests.portable.tls.certs import Certificates


def joined(certs: Certificates) -> tuple[Engine, Engine]:
    client, server = Engine(client_options("server.test", ca=certs.ca)), Engine(server_options(*certs.server))
    while not (client.handshake() & server.handshake()):
        server.receive_data(client.data_to_send())
        client.receive_data(server.data_to_send())
    server.receive_data(client.data_to_send())
    client.receive_data(server.data_to_send())
    return client, server


def test_what_comes_at_once_is_given_in_large_pieces(certs: Certificates) -> None:
    client, server = joined(certs)
    client.write(bytes(1_000_000))
    server.receive_data(client.data_to_send())
    sizes = []
    data = server.next_data()
    while data:
        sizes.append(len(data))
        data = server.next_data()
    assert sum(sizes) == 1_000_000
    assert sizes[0] == READ_SIZE
    assert not server.closed


def test_a_farewell_answered_is_a_farewell(certs: Certificates) -> None:
    client, server = joined(certs)
    client.close()
    server.receive_data(client.data_to_send())
    server.close()
    client.receive_data(server.data_to_send())
    assert server.next_data() == b""
    assert server.closed
    assert client.next_data() == b""
    assert client.closed
    client.close()


def test_an_error_comes_after_the_data_before_it_and_stays(certs: Certificates) -> None:
    client, server = joined(certs)
    client.write(b"good")
    server.receive_data(client.data_to_send() + b"\x17\x03\x03\x00\x20" + bytes(32))
    assert server.next_data() == b"good"
    for _ in range(2):
        with pytest.raises(TLSError, match="changed on its way"):
            server.next_data()
    with pytest.raises(TLSError):
        server.write(b"x")


def test_tracebacks_of_others_are_printed_during_a_handshake(
    certs: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    printed: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: printed.append(unraisable.exc_value))
    error = ZeroDivisionError()

    class Failing:
        server_side = True

        def do_handshake(self) -> None:
            sys.unraisablehook(typing.cast("typing.Any", types.SimpleNamespace(exc_value=error)))

    engine = Engine(server_options(*certs.server))
    engine.tls = typing.cast("ssl.SSLObject", Failing())
    assert engine.handshake()
    assert printed == [error]


def test_handshakes_in_two_threads_leave_the_hook_as_it_was(
    certs: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ssl module lets other threads run meanwhile, such as that of another server in a Java program."""

    def hook(_: object) -> None:
        raise AssertionError("nothing is to be told")

    monkeypatch.setattr(sys, "unraisablehook", hook)
    began, ended = threading.Event(), threading.Event()

    class First:
        server_side = True

        def do_handshake(self) -> None:
            began.set()
            assert ended.wait(10)

    class Second:
        server_side = True

        def do_handshake(self) -> None:
            ended.set()
            first_done.join(10)

    one, other = (Engine(server_options(*certs.server)) for _ in range(2))
    one.tls = typing.cast("ssl.SSLObject", First())
    other.tls = typing.cast("ssl.SSLObject", Second())
    first_done = threading.Thread(target=one.handshake)
    first_done.start()
    assert began.wait(10)
    assert other.handshake()
    assert sys.unraisablehook is hook


def test_unknown_failures_are_told_in_openssl_s_words() -> None:
    error = ssl.SSLError(1, "[SSL] whatever")
    error.reason = ""
    assert "whatever" in str(tls_error(error))
