"""Attacks and bad inputs, each with its bytes."""

from __future__ import annotations

import functools
import logging
import ssl
import typing

import pytest

from portable.attempts import MAX_FAILURES, LoginAttempts
from portable.deferred import Deferred, succeed
from portable.testing import ManualClock, MemoryTransport, wait_for, wait_until
from portable.tls import client_options, context_options, server_options
from protocols.ftp.server import Account, FTPServer, PassivePorts
from protocols.ftp.server import channels as channels_module
from tests.portable.tls.certs import Authority
from tests.protocols.ftp.server.conftest import Line

if typing.TYPE_CHECKING:
    from pathlib import Path

    from portable.tls import TLSOptions
    from portable.transport import Address
    from tests.protocols.ftp.server.conftest import Case, Client


@pytest.mark.parametrize(
    "command",
    [
        "PORT 192,0,2,1,4,210",  # CVE-1999-0017: somebody else
        "PORT 127,0,0,2,4,210",
        "PORT 127,0,0,1,0,25",  # ourselves, and the mail server
        "PORT 127,0,0,1,3,255",
        "EPRT |1|192.0.2.1|2000|",
        "EPRT |1|127.0.0.1|25|",
    ],
)
def test_bounce_is_refused(case: Case, command: str) -> None:
    client = case.user()
    assert client.ask(command).startswith("504")
    assert client.ask("LIST").startswith("425")


def knock(case: Case, port: int, local_host: str = "") -> Line:
    """Connect to a passive port."""
    line = Line()
    return wait_for(case.reactor, case.reactor.connect(lambda: line, "127.0.0.1", port, local_host=local_host))


@pytest.mark.parametrize("command", ["PORT 127,0,0,1,0,0", "PORT 127,0,0,1,256,1", "EPRT |1|localhost|2000|"])
def test_addresses_that_are_none(case: Case, command: str) -> None:
    assert case.user().ask(command).startswith("501")


def test_a_foreign_data_peer_is_dropped_and_the_right_one_served(case: Case) -> None:
    case.files.put(("f",), b"for tom only")
    client = case.user()
    port = int(client.ask("EPSV").split("|")[3])
    thief = knock(case, port, "127.0.0.2")
    wait_until(case.reactor, lambda: thief.lost)
    owner = knock(case, port)
    assert client.ask("RETR f").startswith("150")
    assert client.read().startswith("226")
    wait_until(case.reactor, lambda: owner.ended)
    owner.transport.close()
    assert (owner.received, thief.received) == (b"for tom only", b"")


def test_strangers_without_end_close_the_port(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channels_module, "MAX_STRANGERS", 2)
    client = case.user()
    port = int(client.ask("EPSV").split("|")[3])
    for _ in range(2):
        line = knock(case, port, "127.0.0.2")
        wait_until(case.reactor, functools.partial(getattr, line, "lost"))
    assert client.ask("RETR f").startswith("550")


def test_a_second_data_connection_is_dropped(case: Case) -> None:
    client = case.user()
    port = int(client.ask("EPSV").split("|")[3])
    first, second = Line(), Line()
    # Both at once: the second may be refused, if the port is closed already.
    for line in (first, second):
        case.reactor.connect(functools.partial(typing.cast, Line, line), "127.0.0.1", port).add_both(
            lambda _: None
        )
    wait_until(case.reactor, lambda: hasattr(first, "transport"))
    assert client.ask("STOR f").startswith("150")
    first.transport.close()
    assert client.read().startswith("226")


def test_passive_ports_run_out(case: Case) -> None:
    probe = case.reactor.listen(Line, "127.0.0.1")
    free = typing.cast("Address", probe.address).port
    probe.close()
    case.site.ports = PassivePorts(free, free, lambda _: 0)
    first, second = case.user(), case.user()
    assert f"|{free}|" in first.ask("EPSV")
    assert second.ask("EPSV") == "425 There is no port for a data connection; try again later."
    assert first.ask("ABOR").startswith("225")
    assert f"|{free}|" in second.ask("EPSV")
    # Somebody else on this machine has it.
    second.ask("ABOR")
    other = case.reactor.listen(Line, "127.0.0.1", free)
    assert first.ask("EPSV").startswith("425")
    other.close()


@pytest.mark.parametrize(
    "path",
    [
        "../../etc/passwd",
        "/../../../etc/passwd",
        "a/../../../etc/passwd",
        "..\\..\\etc\\passwd",
        "%2e%2e/etc/passwd",
    ],
)
def test_paths_lead_nowhere_else(case: Case, path: str) -> None:
    client = case.user()
    client.connect()
    assert client.ask(f"RETR {path}").startswith("550")


# The last are the beginnings of Telnet's commands, which would take away what comes first by TLS.
@pytest.mark.parametrize("bytes_after", [b"PASS right\r\n", b"\x16\x03\x01", b"x", b"\xff", b"\xff\xfa"])
def test_auth_tls_takes_nothing_that_came_in_clear(
    case: Case, bytes_after: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """The class of CVE-2011-0411."""
    case.site.tls = context_options(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), server_side=True)
    client = case.client()
    client.send(b"AUTH TLS\r\n" + bytes_after)
    wait_until(case.reactor, lambda: client.control.lost or client.control.ended)
    assert b"331" not in client.control.received
    assert b"230" not in client.control.received


@pytest.mark.parametrize("name", [b"a\nDELE f", b"a\rDELE f", b"a\r\0b"])
def test_a_name_cannot_hold_a_command(case: Case, name: bytes) -> None:
    case.files.put(("f",), b"x")
    client = case.user()
    assert client.ask(b"MKD " + name).startswith("500")
    client.wait_for_end()
    assert case.files.get(("f",)) == b"x"


def test_nul_and_escapes_are_no_names(case: Case) -> None:
    client = case.user()
    for name in ("a\0b", "\x1b]0;x\x07"):
        assert client.ask(f"MKD {name}").startswith("553")


def test_a_line_without_end(case: Case) -> None:
    client = case.client()
    client.send(b"USER " + b"x" * 100_000)
    assert client.read().startswith("500")
    client.wait_for_end()


def test_another_protocol_is_sent_away(case: Case) -> None:
    client = case.client()
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nX: b\r\n" + b"Y: z\r\n" * 20 + b"\r\nUSER tom\r\n")
    replies = [client.read() for _ in range(10)]
    assert replies[-1] == "421 This is an FTP server."
    client.wait_for_end()
    assert b"331" not in client.control.received


def test_guessing_is_slow_and_ends(case: Case, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    case.site.attempts = LoginAttempts(case.reactor, 3)
    waits: list[object] = []

    def wait(peer: object) -> float:
        waits.append(peer)
        return 0.0

    case.site.attempts.wait = wait  # type: ignore[method-assign]
    client = case.client()
    replies = []
    for _ in range(3):
        client.ask("USER tom-the-secret-name")
        replies.append(client.ask("PASS a-secret-guess")[:3])
    assert replies == ["530", "530", "421"]
    client.wait_for_end()
    assert len(waits) == 3
    # From now on not even the right password is looked at.
    client = case.client()
    client.ask("USER tom")
    assert client.ask("PASS right").startswith("421")
    client.wait_for_end()
    assert "secret" not in caplog.text


def test_guesses_that_are_made_at_once_count(case: Case) -> None:
    case.site.attempts = LoginAttempts(case.reactor, 3)
    case.site.attempts.wait = lambda peer: 0.0  # type: ignore[method-assign]
    waiting: list[Deferred[Account | None]] = []

    def later(name: str, password: str) -> Deferred[Account | None]:
        waiting.append(Deferred())
        return waiting[-1]

    case.authenticate = later
    clients = [case.client() for _ in range(4)]
    for client in clients:
        client.send("USER tom\r\nPASS guess\r\n")
    wait_until(case.reactor, lambda: len(waiting) == 4)
    for deferred, password in zip(waiting, ["a", "b", "c", "right"], strict=True):
        case._authenticate("tom", password).add_callback(deferred.callback)
    for client in clients:
        assert [client.read()[:3] for _ in range(2)] == ["331", "530"]


@pytest.mark.parametrize(("proven", "refused"), [(False, True), (True, False)])
def test_only_a_password_has_failures_forgotten(case: Case, proven: bool, refused: bool) -> None:
    case.site.attempts = LoginAttempts(case.reactor, 2)
    case.site.attempts.wait = lambda peer: 0.0  # type: ignore[method-assign]
    account = Account(case.files, proven=proven)
    case.authenticate = lambda name, password: succeed(account if password == "right" else None)
    client = case.client()
    for password, code in (("wrong", "530"), ("right", "230"), ("wrong", "530")):
        client.ask("USER anybody")
        assert client.ask(f"PASS {password}").startswith(code)
    client.ask("USER anybody")
    assert client.ask("PASS right").startswith("421" if refused else "230")


def test_names_are_not_told_apart(case: Case) -> None:
    client = case.client()
    assert client.ask("USER tom") == client.ask("USER nobody-at-all")


def test_a_hundred_logins_at_once(case: Case) -> None:
    waiting: list[Deferred[Account | None]] = []

    def later(name: str, password: str) -> Deferred[Account | None]:
        waiting.append(Deferred())
        return waiting[-1]

    case.authenticate = later
    clients = [case.client() for _ in range(100)]
    for client in clients:
        client.send("USER tom\r\nPASS right\r\nPWD\r\n")
    wait_until(case.reactor, lambda: len(waiting) == 100)
    for deferred in waiting:
        case._authenticate("tom", "right").add_callback(deferred.callback)
    for client in clients:
        assert [client.read()[:3] for _ in range(3)] == ["331", "230", "257"]


def test_a_session_that_is_gone_before_its_login(case: Case) -> None:
    waiting: Deferred[Account | None] = Deferred()
    case.authenticate = lambda name, password: waiting
    client = case.client()
    client.ask("USER tom")
    client.send("PASS right\r\n")
    for _ in range(3):
        case.reactor.step()
    client.control.transport.abort()
    for _ in range(5):
        case.reactor.step(0.01)
    case._authenticate("tom", "right").add_callback(waiting.callback)


def test_checks_of_passwords_end_with_their_connections_and_count(case: Case) -> None:
    """Somebody who does not wait for the answers could otherwise keep all others waiting for theirs."""
    waiting: list[Deferred[Account | None]] = []

    def later(name: str, password: str) -> Deferred[Account | None]:
        waiting.append(Deferred())
        return waiting[-1]

    case.authenticate = later
    clock = Timed(case).clock
    for _ in range(MAX_FAILURES + 1):
        transport = MemoryTransport(FTPServer(case.site), clock)
        transport.receive(b"USER tom\r\nPASS guess\r\n")
        transport.lose()
    assert [check.called for check in waiting] == [True] * MAX_FAILURES


def test_a_client_that_reads_no_replies_does_not_fill_our_memory(case: Case) -> None:
    client = case.user()
    client.control.transport.pause_reading()
    client.send("HELP\r\n" * 200_000)
    for _ in range(200):
        case.reactor.step()
    server = case.servers[0]
    assert len(server._parser) < 500_000
    assert server._session.transport.get_write_buffer_size() < 500_000
    client.control.transport.abort()


# Time. A clock that is moved by hand needs no network.


class Timed:
    """A control connection on a clock of the test's."""

    def __init__(self, case: Case) -> None:
        self.clock = ManualClock()
        case.site.network = typing.cast("typing.Any", self.clock)
        case.site.attempts = LoginAttempts(self.clock)
        self.server = FTPServer(case.site)
        self.transport = MemoryTransport(self.server, self.clock)
        self.transport.take()

    def log_in(self) -> None:
        self.transport.receive(b"USER tom\r\nPASS right\r\n")
        assert b"230" in self.transport.take()


def test_one_byte_per_second_does_not_put_the_login_off(case: Case) -> None:
    timed = Timed(case)
    for byte in b"USER tom\r\n" * 100:
        timed.transport.receive(bytes([byte]))
        timed.clock.advance(1)
        if timed.transport.lost:
            break
    assert timed.clock.time() <= 61
    assert timed.transport.take().endswith(b"421 The login took too long.\r\n")


def test_one_byte_per_second_is_no_command(case: Case) -> None:
    timed = Timed(case)
    timed.log_in()
    timed.clock.advance(299)
    timed.transport.receive(b"NOOP\r\n")
    begin = timed.clock.time()
    while not timed.transport.lost:
        timed.transport.receive(b"x")
        timed.clock.advance(1)
    assert 299 <= timed.clock.time() - begin <= 302
    assert timed.transport.take().endswith(b"421 Nothing was asked for too long.\r\n")


def test_a_command_fed_at_one_byte_per_second_is_done(case: Case) -> None:
    timed = Timed(case)
    timed.log_in()
    for byte in b"NOOP\r\n":
        timed.transport.receive(bytes([byte]))
        timed.clock.advance(1)
    assert timed.transport.take() == b"200 Nothing done.\r\n"


def test_the_last_reply_is_not_waited_for_without_end(case: Case) -> None:
    timed = Timed(case)
    timed.log_in()
    timed.transport.window = 0
    timed.transport.receive(b"QUIT\r\n")
    timed.clock.advance(29)
    assert not timed.transport.lost
    timed.clock.advance(2)
    assert timed.transport.aborted


def test_a_wrong_password_is_told_later(case: Case) -> None:
    timed = Timed(case)
    timed.transport.receive(b"USER tom\r\nPASS wrong\r\nNOOP\r\n")
    assert timed.transport.take() == b"331 Give the password.\r\n"
    timed.clock.advance(0.9)
    assert timed.transport.take() == b""
    timed.clock.advance(0.2)
    assert timed.transport.take().startswith(b"530")


def test_no_time_limit(case: Case) -> None:
    case.limit(idle=0)
    timed = Timed(case)
    timed.log_in()
    timed.clock.advance(100_000)
    timed.transport.receive(b"NOOP\r\n")
    assert timed.transport.take().startswith(b"200")
    timed.server.drain()
    timed.clock.advance(0)
    assert timed.transport.take().startswith(b"421")


@pytest.mark.parametrize("idle", [0, 300])
@pytest.mark.parametrize("command", [b"REIN", b"USER ann"])
def test_who_has_logged_out_must_log_in_again_in_time(case: Case, idle: float, command: bytes) -> None:
    case.limit(idle=idle)
    timed = Timed(case)
    timed.log_in()
    timed.clock.advance(50)
    begin = timed.clock.time()
    while not timed.transport.lost and timed.clock.time() < begin + 1000:
        timed.transport.receive(command + b"\r\n")
        timed.clock.advance(10)
    assert timed.clock.time() - begin <= 61
    assert timed.transport.take().endswith(b"421 The login took too long.\r\n")


def protect(client: Client, case: Case, folder: Path) -> TLSOptions:
    """Give AUTH TLS; return what the client's data connections are to be protected with."""
    authority = Authority(folder, "ours")
    case.site.tls = server_options(*authority.issue("server", "localhost"))
    options = client_options("localhost", ca=authority.pem)
    assert client.ask("AUTH TLS").startswith("234")
    client.control.transport = client.control.transport.start_tls(options, 0)
    return options


def test_whom_auth_tls_has_logged_out_must_log_in_again_in_time(case: Case, tmp_path: Path) -> None:
    client = case.user()
    case.limit(idle=0, login=0.3)
    protect(client, case, tmp_path)
    assert client.read() == "421 The login took too long."


def test_who_sends_by_a_download_over_tls_does_not_put_its_limit_off(case: Case, tmp_path: Path) -> None:
    case.files.put(("big",), bytes(16 * 1024 * 1024))
    client = case.client()
    options = protect(client, case, tmp_path)
    client.log_in()
    for command in ("PBSZ 0", "PROT P", "TYPE I"):
        assert client.ask(command).startswith("200")
    data = client.connect()
    case.limit(stall=1.0)
    assert client.ask("RETR big").startswith("150")
    secured = data.transport.start_tls(options, 0)
    wait_for(case.reactor, secured.handshake)
    secured.pause_reading()

    def trickle() -> bool:
        secured.write(b"x")
        return len(client.control.received) > client.seen

    wait_until(case.reactor, trickle)
    assert client.read() == "426 The data connection failed: it took too long."


def test_unix_sockets_have_no_data_connections(case: Case) -> None:
    timed = Timed(case)
    timed.transport = MemoryTransport(
        FTPServer(case.site), timed.clock, extra={"peername": "", "sockname": "/run/ftp"}
    )
    timed.transport.take()
    timed.log_in()
    for command in (b"EPSV", b"PASV", b"PORT 1,2,3,4,5,6", b"EPRT |1|1.2.3.4|2000|"):
        timed.transport.receive(command + b"\r\n")
        assert timed.transport.take().startswith(b"425")


def test_a_failing_handler_is_told_and_logged(case: Case, caplog: pytest.LogCaptureFixture) -> None:
    timed = Timed(case)
    timed.log_in()
    case.files.status = lambda path: Deferred()  # type: ignore[method-assign]
    timed.transport.receive(b"CWD x\r\nNOOP\r\n")
    assert timed.transport.take() == b""
    timed.clock.advance(301)
    timed.transport.receive(b"NOOP\r\n")
    assert timed.transport.take() == b"", "what is under way is not idle"
    timed.transport.lose()
