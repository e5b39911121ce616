"""PROXY headers: who must send one, what the protocol sees of it, and what comes behind it."""

from __future__ import annotations

import typing

import pytest

from portable.endpoints import TCPEndpoint
from portable.errors import ConfigurationError
from portable.listener import ListenerOptions, ServerPort
from portable.transport import Address
from tests.portable.listening import HEADER, PROXY, FakeReactor, Pausing, Recorder, last, started

if typing.TYPE_CHECKING:
    import pathlib

    from portable.transport import Transport

UNKNOWN = b"PROXY UNKNOWN\r\n"


def port(loop: FakeReactor, factory: type[Recorder] = Recorder, **options: typing.Any) -> ServerPort:
    return started(loop, ServerPort("web", factory, TCPEndpoint(8080), ListenerOptions(**options)))


def info(name: str) -> typing.Any:
    return last().transport.get_extra_info(name)


def test_a_listed_proxy_tells_the_addresses(loop: FakeReactor) -> None:
    server = port(loop, proxy_protocol_from=("192.0.2.0/24",))
    transport = loop.accept(PROXY)
    assert Recorder.made == []
    transport.receive(HEADER[:20])
    transport.receive(HEADER[20:] + b"GET?")
    assert last().events == ["made", b"GET?"]
    assert bytes(transport.written) == b"!"
    assert (info("peername"), info("sockname")) == (
        Address("198.51.100.7", 56324),
        Address("198.51.100.8", 443),
    )
    assert info("proxied") is True
    assert info("bytes_received") == len(HEADER) + 4
    transport.receive(b"more")
    transport.receive_eof()
    assert last().events[-3:] == [b"more", "eof", "lost"]
    assert (server.accepted, server.open) == (1, 0)
    assert loop.next_time() is None


@pytest.mark.parametrize("header", [HEADER, b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\0\x0c" + bytes(12)])
def test_proxy_header_from_an_unlisted_peer_is_data(loop: FakeReactor, header: bytes) -> None:
    port(loop, proxy_protocol_from=("10.0.0.0/8", "::1"))
    transport = loop.accept(PROXY)
    transport.receive(header)
    assert last().events == ["made", header]
    assert info("peername") == Address(PROXY, 40000)
    assert info("proxied") is None


def test_a_proxy_that_speaks_for_itself_keeps_its_address(loop: FakeReactor) -> None:
    port(loop, proxy_protocol_from=(PROXY,))
    loop.accept(PROXY).receive(UNKNOWN + b"x")
    assert last().events == ["made", b"x"]
    assert info("peername") == Address(PROXY, 40000)


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n", HEADER.replace(b"TCP4", b"TCP5")])
def test_a_listed_proxy_must_send_a_proper_header(
    loop: FakeReactor, data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    server = port(loop, proxy_protocol_from=(PROXY,))
    transport = loop.accept(PROXY)
    transport.receive(data)
    assert transport.lost
    assert Recorder.made == []
    assert server.open == 0
    assert f"web: dropped 1 connection(s), the last from {Address(PROXY, 40000)}: PROXY header" in caplog.text


def test_a_flood_of_improper_headers_does_not_fill_the_log(
    loop: FakeReactor, caplog: pytest.LogCaptureFixture
) -> None:
    port(loop, proxy_protocol_from=(PROXY,))
    for _ in range(100):
        loop.accept(PROXY).receive(b"GET / HTTP/1.1\r\n")
    loop.advance(1)
    loop.accept(PROXY).receive(b"GET / HTTP/1.1\r\n")
    assert [record.message.partition(",")[0] for record in caplog.records] == [
        "web: dropped 1 connection(s)",
        "web: dropped 100 connection(s)",
    ]


def test_a_listed_proxy_that_hangs_up_leaves_nothing(loop: FakeReactor) -> None:
    server = port(loop, proxy_protocol_from=(PROXY,))
    transport = loop.accept(PROXY)
    transport.receive_eof()
    assert transport.lost
    assert server.open == 0
    assert loop.next_time() is None


def test_an_idle_proxy_is_dropped_in_time(loop: FakeReactor) -> None:
    port(loop, proxy_protocol_from=(PROXY,), handshake_timeout=10)
    transport = loop.accept(PROXY)
    for byte in HEADER[:9]:
        loop.advance(1)
        transport.receive(bytes([byte]))
    assert not transport.lost
    loop.advance(1)
    assert transport.lost


def test_without_a_handshake_timeout_nothing_is_timed(loop: FakeReactor) -> None:
    port(loop, proxy_protocol_from=(PROXY,), handshake_timeout=0)
    loop.accept(PROXY)
    assert loop.next_time() is None


def test_peer_limits_count_the_clients_behind_a_proxy(loop: FakeReactor) -> None:
    server = port(loop, proxy_protocol_from=(PROXY,), max_per_peer=1)
    other = HEADER.replace(b"100.7", b"100.9")
    first, second, third = (loop.accept(PROXY) for _ in range(3))
    first.receive(HEADER)
    second.receive(HEADER)
    third.receive(other)
    assert [first.lost, second.lost, third.lost] == [False, True, False]
    assert (server.accepted, server.refused, server.open) == (2, 1, 2)


def test_unix_peers_are_proxies_when_they_are_listed(loop: FakeReactor) -> None:
    port(loop, proxy_protocol_from=("unix",))
    loop.accept("").receive(HEADER)
    assert info("peername") == Address("198.51.100.7", 56324)
    loop.accept("192.0.2.1").receive(HEADER)
    assert last().events == ["made", HEADER]


def test_a_wrong_network_is_a_configuration_error() -> None:
    with pytest.raises(ConfigurationError, match=r"web: proxy_protocol_from: '10\.0\.0\.1/8' is neither"):
        ServerPort("web", Recorder, TCPEndpoint(1), ListenerOptions(proxy_protocol_from=("10.0.0.1/8",)))


def test_drain_closes_a_connection_without_its_proxy_header(loop: FakeReactor) -> None:
    server = port(loop, proxy_protocol_from=(PROXY,))
    transport = loop.accept(PROXY)
    server.drain(10)
    loop.advance()
    assert transport.lost
    assert loop.next_time() is None


def test_a_protocol_that_closes_at_once_gets_no_data_behind_the_header(loop: FakeReactor) -> None:
    class Hasty(Recorder):
        def connection_made(self, transport: Transport) -> None:
            super().connection_made(transport)
            transport.close()

    port(loop, Hasty, proxy_protocol_from=(PROXY,))
    loop.accept(PROXY).receive(HEADER + b"x")
    assert last().events == ["made", "lost"]


@pytest.mark.parametrize("throttle", [0, 1000])
@pytest.mark.parametrize("header", [HEADER, UNKNOWN])
def test_data_behind_the_header_waits_while_the_protocol_pauses(
    loop: FakeReactor, header: bytes, throttle: int
) -> None:
    port(loop, Pausing, proxy_protocol_from=(PROXY,), throttle=throttle)
    raw = loop.accept(PROXY)
    raw.receive(header + b"early?")
    raw.receive(b"late")
    raw.receive_eof()
    loop.advance(1)
    assert last().events == ["made"]
    assert not last().transport.is_reading()
    last().transport.resume_reading()
    assert last().events == ["made"]  # nothing is called from inside the transport's method
    assert last().transport.is_reading()
    loop.advance(1)
    assert last().events == ["made", b"early?"]
    last().transport.resume_reading()
    loop.advance(1)
    assert last().events == ["made", b"early?", b"late"]
    last().transport.resume_reading()
    loop.advance(1)
    assert last().events[-2:] == ["eof", "lost"]


def test_data_behind_the_header_is_dropped_with_the_connection(loop: FakeReactor) -> None:
    port(loop, Pausing, proxy_protocol_from=(PROXY,))
    loop.accept(PROXY).receive(HEADER + b"early")
    last().transport.resume_reading()
    last().transport.abort()
    loop.advance()
    assert last().events == ["made", "lost"]


def test_a_protocol_that_fails_over_data_that_waited_loses_its_connection(loop: FakeReactor) -> None:
    class Failing(Pausing):
        def data_received(self, data: bytes) -> None:
            raise ZeroDivisionError

    port(loop, Failing, proxy_protocol_from=(PROXY,))
    raw = loop.accept(PROXY)
    raw.receive(HEADER + b"early")
    last().transport.resume_reading()
    with pytest.raises(ZeroDivisionError):
        loop.advance()
    assert raw.aborted


def test_the_wrapped_transport_is_a_whole_transport(loop: FakeReactor, tmp_path: pathlib.Path) -> None:
    port(loop, proxy_protocol_from=(PROXY,))
    raw = loop.accept(PROXY)
    raw.receive(HEADER)
    transport = last().transport
    transport.set_write_buffer_limits(8, 2)
    assert transport.get_write_buffer_limits() == (2, 8)
    transport.writelines([b"a", b"b"])
    assert transport.get_write_buffer_size() == 0
    transport.pause_reading()
    assert not transport.is_reading()
    raw.receive(b"later")
    transport.resume_reading()
    loop.advance()
    assert last().received == b"later"
    (tmp_path / "file").write_bytes(b"0123456789")
    with (tmp_path / "file").open("rb") as file:
        sent: list[int] = []
        transport.send_file(file, 2, 3).add_callback(sent.append)
        loop.advance()
    assert sent == [3]
    other = Recorder()
    assert transport.get_protocol() is raw.get_protocol()
    transport.set_protocol(other)
    assert transport.get_protocol() is other
    assert transport.can_write_eof()
    transport.write_eof()
    assert raw.eof_written
    assert not transport.is_closing()
    transport.abort()
    assert raw.aborted
    assert bytes(raw.written) == b"ab234"
