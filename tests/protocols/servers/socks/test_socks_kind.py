"""The kind `socks`: its options, its life, and what it does over real sockets."""

from __future__ import annotations

import functools
import socket
import typing

import pytest

from portable.errors import AddressInUse, ConfigurationError, ConnectError, ConnectTimedOut, FileError
from portable.flow import Pacer
from portable.passwords import normal_account
from portable.protocol import Protocol
from portable.testing import wait_for, wait_until
from portable.tls import client_options, server_options, tls_factory
from portable.transport import Address
from protocols.echo import Echo
from protocols.servers.socks import KIND, kind
from protocols.servers.socks.users import UserCheck
from protocols.socks.endpoint import SocksEndpoint
from tests.portable.tls.certs import Certificates
from tests.protocols.servers.socks.proxies import endpoint, make, port_of, proxy

if typing.TYPE_CHECKING:
    import pathlib

    from portable.endpoints import TCPClientEndpoint
    from portable.reactor import Reactor
    from portable.transport import Transport

MEBIBYTE = 1024 * 1024


class Talk(Protocol):
    """Keeps what it gets, and does not answer an end of stream."""

    def __init__(self) -> None:
        self.transport: Transport
        self.got = b""
        self.eof = False
        self.lost = False

    def connection_made(self, transport: Transport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.got += data

    def eof_received(self) -> bool:
        self.eof = True
        return True

    def connection_lost(self, exc: object) -> None:
        self.lost = True


def through(reactor: Reactor, ours: TCPClientEndpoint, port: int, **options: typing.Any) -> Talk:
    """Return a connection to a port of this machine, through a proxy."""
    options = {"host": "127.0.0.1", "version": "4", **options}
    return wait_for(reactor, SocksEndpoint(ours, port=port, **options).connect(reactor, Talk))


# Options.


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"allow": ("no host",)}, "--allow"),
        ({"deny": ("10.0.0.1/8",)}, "--deny"),
        ({"socks5_user": ("a:b",)}, "passwords need --socks5"),
        ({"user": ("fred",), "socks5": True}, "--user"),
        ({"identd": True, "socks5": True}, "--identd"),
    ],
)
def test_options_that_are_wrong_or_exclude_each_other(options: dict[str, typing.Any], complaint: str) -> None:
    if "socks5_user" in options:
        options = {"socks5_user": (normal_account("a:b"),)}
    with pytest.raises(ConfigurationError, match=complaint):
        make(**options)


def test_what_has_a_default_is_safe() -> None:
    options = {option.name: option.default for option in KIND.options}
    assert options["interface"] == "127.0.0.1"
    assert options["port"] == 1080
    assert options["socks5"] is False


def test_a_log_or_passwords_that_cannot_be_opened(reactor: Reactor, tmp_path: pathlib.Path) -> None:
    with pytest.raises(ConfigurationError, match="--log"):
        make(log=str(tmp_path)).bind(reactor)
    passwords = tmp_path / "passwords"
    passwords.write_text("nonsense\n")
    with pytest.raises(ConfigurationError, match="passwords:1"):
        make(socks5=True, socks5_passwords=str(passwords)).bind(reactor)


def test_a_port_that_is_taken_leaves_no_log_open(reactor: Reactor, tmp_path: pathlib.Path) -> None:
    taken = port_of(reactor.listen(Talk, "127.0.0.1", 0))
    service: typing.Any = make(port=taken, log=str(tmp_path / "log"))
    with pytest.raises(AddressInUse):
        service.bind(reactor)
    with pytest.raises(FileError):
        service.log._file.size()


# Over the network.


def test_half_close_goes_through_both_ways(reactor: Reactor) -> None:
    ends: list[Talk] = []

    def accept() -> Talk:
        ends.append(Talk())
        return ends[-1]

    target = reactor.listen(accept, "127.0.0.1", 0)
    with proxy(reactor) as ours:
        client = through(reactor, ours, port_of(target))
        client.transport.write(b"question")
        client.transport.write_eof()
        wait_until(reactor, lambda: ends and ends[0].eof)
        assert ends[0].got == b"question"
        ends[0].transport.write(b"answer")
        ends[0].transport.close()
        wait_until(reactor, lambda: client.eof)
        assert client.got == b"answer"
        client.transport.close()


def test_tls_with_the_target_through_the_proxy(reactor: Reactor, tmp_path: pathlib.Path) -> None:
    certificates = Certificates(tmp_path)
    pair = certificates.authority.issue("target", "localhost")
    secure = tls_factory(Echo, server_options(pair.cert, pair.key))
    target = reactor.listen(secure, "127.0.0.1", 0)
    with proxy(reactor) as ours:
        through_it = SocksEndpoint(ours, "localhost", port_of(target), "4a")
        wrapped = tls_factory(Talk, client_options("localhost", ca=certificates.authority.pem))
        tls = wait_for(reactor, through_it.connect(reactor, wrapped))
        wait_for(reactor, tls.handshake)
        talk: typing.Any = tls.get_protocol()
        talk.transport.write(b"in private")
        wait_until(reactor, lambda: talk.got == b"in private")
        talk.transport.close()
        wait_until(reactor, lambda: talk.lost)


def test_a_proxy_behind_a_proxy(reactor: Reactor) -> None:
    target = reactor.listen(Echo, "127.0.0.1", 0)
    with proxy(reactor) as first, proxy(reactor, socks5=True) as second:
        chain: typing.Any = SocksEndpoint(first, second.host, second.port, "4")
        talk = through(reactor, chain, port_of(target), version="5")
        talk.transport.write(b"hello")
        wait_until(reactor, lambda: talk.got == b"hello")
        talk.transport.close()


def test_a_proxy_that_is_asked_for_itself(reactor: Reactor) -> None:
    with proxy(reactor, socks5=True, interface="") as ours, pytest.raises(ConnectError, match="not allowed"):
        through(reactor, ours, ours.port, version="5")


def test_a_target_that_never_answers(reactor: Reactor) -> None:
    # A queue of one that is full: what comes next gets no answer from the system.
    with socket.create_server(("127.0.0.1", 0), backlog=0) as deaf:
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(deaf.getsockname())
        try:
            with (
                proxy(reactor, socks5=True, connect_timeout=1.0) as ours,
                pytest.raises(ConnectTimedOut, match="took too long"),
            ):
                through(reactor, ours, deaf.getsockname()[1], version="5")
        finally:
            for filler in fillers:
                filler.close()


def test_who_is_served(reactor: Reactor) -> None:
    with proxy(reactor, allow_from=("192.0.2.0/24",)) as ours, pytest.raises(ConnectError):
        through(reactor, ours, 80)


def test_user_ids(reactor: Reactor) -> None:
    target = port_of(reactor.listen(Echo, "127.0.0.1", 0))
    with proxy(reactor, user=("fred", "grün")) as ours:
        for name in ("fred", "grün".encode().decode("latin-1")):
            through(reactor, ours, target, username=name).transport.close()
        with pytest.raises(ConnectError):
            through(reactor, ours, target, username="mallory")


def test_passwords_are_read_again(reactor: Reactor, tmp_path: pathlib.Path) -> None:
    passwords = tmp_path / "passwords"
    passwords.write_text("alice:one\n")
    target = port_of(reactor.listen(Echo, "127.0.0.1", 0))
    service = make(socks5=True, socks5_passwords=str(passwords), allow=("127.0.0.1",))
    service.bind(reactor)
    service.start()

    def log_in(password: str) -> None:
        talk = through(reactor, endpoint(service), target, version="5", username="alice", password=password)
        talk.transport.close()

    log_in("one")
    passwords.write_text("alice:two\n")
    service.reload()
    log_in("two")
    with pytest.raises(ConnectError, match="user name or password"):
        log_in("one")
    wait_for(reactor, service.stop(0.0))


def test_the_log_is_opened_anew(reactor: Reactor, tmp_path: pathlib.Path) -> None:
    log = tmp_path / "log"
    target = port_of(reactor.listen(Echo, "127.0.0.1", 0))
    service = make(log=str(log), allow=("127.0.0.1",))
    service.bind(reactor)
    service.start()
    through(reactor, endpoint(service), target).transport.close()
    log.rename(tmp_path / "log.1")
    service.reload()
    wait_until(reactor, log.exists)
    through(reactor, endpoint(service), target, username="two words").transport.close()
    wait_for(reactor, service.stop(5.0))
    assert " two\\x20words [" in log.read_text()
    assert f'"CONNECT 127.0.0.1:{target} SOCKS4" 90 ' in log.read_text()


@pytest.mark.parametrize("first", ["client", "target"])
def test_a_reset_is_in_the_log(reactor: Reactor, tmp_path: pathlib.Path, first: str) -> None:
    log = tmp_path / "log"
    ends: list[Talk] = []

    def accept() -> Talk:
        ends.append(Talk())
        return ends[-1]

    target = port_of(reactor.listen(accept, "127.0.0.1", 0))
    service = make(log=str(log), allow=("127.0.0.1",))
    service.bind(reactor)
    service.start()
    client = through(reactor, endpoint(service), target)
    wait_until(reactor, lambda: ends)
    breaker, other = (client, ends[0]) if first == "client" else (ends[0], client)
    breaker.transport.abort()
    wait_until(reactor, lambda: other.eof or other.lost)
    other.transport.close()
    wait_for(reactor, service.stop(5.0))
    assert log.read_text().endswith(f' "the connection to the {first} broke: the peer reset the connection"\n')


def test_a_stop_lets_what_is_relayed_finish(reactor: Reactor) -> None:
    target = port_of(reactor.listen(Echo, "127.0.0.1", 0))
    service = make(allow=("127.0.0.1",))
    service.bind(reactor)
    service.start()
    talk = through(reactor, endpoint(service), target)
    idle = wait_for(reactor, endpoint(service).connect(reactor, Talk))
    stopping = service.stop(10.0)
    talk.transport.write(b"last words")
    wait_for(reactor, stopping)
    assert talk.got == b"last words"
    wait_until(reactor, lambda: talk.eof and idle.eof)
    for each in (talk, idle):
        each.transport.close()


class Source(Protocol):
    """Sends as much as is taken of `count` bytes, and ends."""

    def __init__(self, reactor: Reactor, count: int) -> None:
        self._reactor = reactor
        self._count = count
        self.sent = 0

    def connection_made(self, transport: Transport) -> None:
        self._transport = transport
        self._pacer = Pacer(transport, self._reactor, self._step)
        self._pacer.wake()

    def _step(self) -> bool:
        if self.sent == self._count:
            self._transport.close()
            return False
        self.sent += MEBIBYTE // 4
        self._transport.write(bytes(MEBIBYTE // 4))
        return True

    def pause_writing(self) -> None:
        self._pacer.pause_writing()

    def resume_writing(self) -> None:
        self._pacer.resume_writing()


class SlowSink(Talk):
    """Counts what it gets. Now and then reads no more, until the source has noticed."""

    def __init__(self, reactor: Reactor, source: Source) -> None:
        super().__init__()
        self.count = 0
        self.most_on_the_way = 0
        self._reactor = reactor
        self._source = source
        self._next = 8 * MEBIBYTE

    def data_received(self, data: bytes) -> None:
        self.count += len(data)
        if self.count >= self._next:
            self._next *= 4
            self.transport.pause_reading()
            self._wait_for_stand_still(-1)

    def _wait_for_stand_still(self, before: int) -> None:
        now = self._source.sent
        if now != before:
            self._reactor.call_later(0.1, self._wait_for_stand_still, now)
            return
        self.most_on_the_way = max(self.most_on_the_way, now - self.count)
        self.transport.resume_reading()


def test_relaying_a_gibibyte_to_a_client_that_pauses_takes_no_memory(reactor: Reactor) -> None:
    count = 1024 * MEBIBYTE
    source = Source(reactor, count)
    target = reactor.listen(lambda: source, "127.0.0.1", 0)
    with proxy(reactor) as ours:
        through_it = SocksEndpoint(ours, "127.0.0.1", port_of(target), "4")
        sink = wait_for(reactor, through_it.connect(reactor, lambda: SlowSink(reactor, source)))
        wait_until(reactor, lambda: sink.eof, 55)
        assert sink.count == count
        # What the buffers of two connections hold, which the system lets grow, and little of ours.
        assert 0 < sink.most_on_the_way < 64 * MEBIBYTE
        sink.transport.close()


def test_identd_is_asked_about_the_right_connection(reactor: Reactor, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bytes] = []

    class Identd(Protocol):
        def connection_made(self, transport: Transport) -> None:
            self._transport = transport

        def data_received(self, data: bytes) -> None:
            asked.append(data)
            self._transport.write(data.strip() + b" : USERID : UNIX : fred\r\n")

    target = port_of(reactor.listen(Echo, "127.0.0.1", 0))
    identd = reactor.listen(Identd, "127.0.0.1", 0)
    # 113 is for root, and may be taken.
    monkeypatch.setattr(kind, "UserCheck", functools.partial(UserCheck, port=port_of(identd)))
    with proxy(reactor, identd=True) as ours:
        talk = through(reactor, ours, target, username="fred")
        local = talk.transport.get_extra_info("sockname")
        assert isinstance(local, Address)
        assert asked == [f"{local.port}, {ours.port}\r\n".encode()]
        talk.transport.close()
        with pytest.raises(ConnectError, match="names another user"):
            through(reactor, ours, target, username="root")
        identd.close()
        with pytest.raises(ConnectError, match="identd cannot be asked"):
            through(reactor, ours, target, username="fred")
