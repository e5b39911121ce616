"""Programs that are not ours through our proxy, and our endpoint through a proxy that is not ours."""

from __future__ import annotations

import contextlib
import functools
import os
import pwd
import socket
import subprocess
import typing

import pytest

from portable.endpoints import TCPClientEndpoint
from portable.errors import ConnectError, ConnectionRefused
from portable.framing import LineEnding, LineReader
from portable.passwords import normal_account
from portable.protocol import Protocol
from portable.testing import wait_for, wait_until
from protocols.socks.endpoint import SocksEndpoint
from tests.protocols.servers.socks.proxies import Page, find, port_of, proxy, run

if typing.TYPE_CHECKING:
    import pathlib
    from collections.abc import Iterator

    from portable.reactor import Reactor
    from portable.transport import Transport

DANTE_CLIENT = """
resolveprotocol: fake
route {{
    from: 0.0.0.0/0 to: 0.0.0.0/0 via: 127.0.0.1 port = {port}
    proxyprotocol: {version}
    command: connect bind
    protocol: tcp
}}
"""
DANTE_SERVER = """
logoutput: stderr
internal: 127.0.0.1 port = {port}
external: lo
clientmethod: none
socksmethod: {method}
user.privileged: {user}
user.unprivileged: {user}
client pass {{ from: 127.0.0.0/8 to: 0.0.0.0/0 }}
socks block {{ from: 0.0.0.0/0 to: 127.0.0.9/32 }}
socks pass {{ from: 0.0.0.0/0 to: 0.0.0.0/0 command: connect }}
"""


@pytest.mark.parametrize("flag", ["--socks4", "--socks4a", "--socks5", "--socks5-hostname"])
def test_curl(reactor: Reactor, flag: str) -> None:
    curl = find("curl", "curl")
    page = reactor.listen(Page, "127.0.0.1", 0)
    with proxy(reactor, socks5=True) as ours:
        through = [curl, "-sS", "--max-time", "15", flag, f"127.0.0.1:{ours.port}"]
        for host in ("127.0.0.1", "localhost"):
            assert run(reactor, *through, f"http://{host}:{port_of(page)}/").stdout == b"hi\n"
        page.close()
        # 97: the proxy said no.
        run(reactor, *through, f"http://127.0.0.1:{port_of(page)}/", status=97)
        run(reactor, *through, "http://169.254.169.254/latest/meta-data/", status=97)


def test_curl_to_ipv6_through_socks_5(reactor: Reactor) -> None:
    curl = find("curl", "curl")
    page = reactor.listen(Page, "::1", 0)
    with proxy(reactor, socks5=True) as ours:
        through = (curl, "-sS", "--max-time", "15", "--socks5", f"127.0.0.1:{ours.port}")
        assert run(reactor, *through, f"http://[::1]:{port_of(page)}/").stdout == b"hi\n"


def test_curl_with_a_password(reactor: Reactor) -> None:
    curl = find("curl", "curl")
    page = reactor.listen(Page, "127.0.0.1", 0)
    with proxy(reactor, socks5=True, socks5_user=(normal_account("alice:secret"),)) as ours:
        url = f"http://127.0.0.1:{port_of(page)}/"
        through = [curl, "-sS", "--max-time", "15", "--proxy"]
        assert run(reactor, *through, f"socks5://alice:secret@127.0.0.1:{ours.port}", url).stdout == b"hi\n"
        run(reactor, *through, f"socks5://alice:wrong@127.0.0.1:{ours.port}", url, status=97)
        run(reactor, *through, f"socks5://127.0.0.1:{ours.port}", url, status=97)
        run(reactor, *through, f"socks4://alice@127.0.0.1:{ours.port}", url, status=97)


@pytest.mark.parametrize("version", ["socks4", "socks5"])
def test_proxychains(reactor: Reactor, version: str, tmp_path: pathlib.Path) -> None:
    program, curl = find("proxychains4", "proxychains4"), find("curl", "curl")
    page = reactor.listen(Page, "127.0.0.1", 0)
    with proxy(reactor, socks5=True) as ours:
        settings = tmp_path / "chain.conf"
        settings.write_text(f"strict_chain\n[ProxyList]\n{version} 127.0.0.1 {ours.port}\n")
        url = f"http://127.0.0.1:{port_of(page)}/"
        assert run(reactor, program, "-q", "-f", str(settings), curl, "-sS", url).stdout == b"hi\n"


class ActiveFTP(Protocol):
    """As much of an FTP server as it takes to send a file to where the client waits."""

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor
        self._lines = LineReader(512, LineEnding.LENIENT)
        self._target = ("", 0)

    def connection_made(self, transport: Transport) -> None:
        self._transport = transport
        transport.write(b"220 ready\r\n")

    def data_received(self, data: bytes) -> None:
        self._lines.receive_data(data)
        while (line := self._lines.next_line()) is not None:
            self._obey(line.decode())

    def _obey(self, line: str) -> None:
        verb, _, rest = line.partition(" ")
        if verb == "EPRT":
            _, _, host, port, _ = rest.split("|")
            self._target = (host, int(port))
        if verb == "RETR":
            self._transport.write(b"150 here it comes\r\n")
            self._reactor.connect(lambda: Sender(b"the file\n"), *self._target).add_callback(
                lambda _: self._transport.write(b"226 done\r\n")
            )
        else:
            self._transport.write(b"230 welcome\r\n" if verb == "USER" else b"200 ok\r\n")


class Sender(Protocol):
    """Sends one thing."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def connection_made(self, transport: Transport) -> None:
        transport.write(self._data)
        transport.close()


@pytest.mark.parametrize("version", ["socks_v4", "socks_v5"])
def test_dantes_client_with_connect_and_active_ftp_by_bind(
    reactor: Reactor, version: str, tmp_path: pathlib.Path
) -> None:
    socksify, curl = find("socksify", "dante-client"), find("curl", "curl")
    page = reactor.listen(Page, "127.0.0.1", 0)
    ftp = reactor.listen(lambda: ActiveFTP(reactor), "127.0.0.1", 0)
    with proxy(reactor, socks5=True, log=str(tmp_path / "log")) as ours:
        settings = tmp_path / "socks.conf"
        settings.write_text(DANTE_CLIENT.format(port=ours.port, version=version))
        env = {"SOCKS_CONF": str(settings), "SOCKS_AUTOADD_LANROUTES": "no"}
        through = (socksify, curl, "-sS", "--max-time", "15")
        assert run(reactor, *through, f"http://127.0.0.1:{port_of(page)}/", env=env).stdout == b"hi\n"
        url = f"ftp://127.0.0.1:{port_of(ftp)}/file"
        assert run(reactor, *through, "--ftp-port", "-", url, env=env).stdout == b"the file\n"
    log = (tmp_path / "log").read_text()
    assert log.count('"CONNECT ') == 2
    assert log.count('"BIND 127.0.0.1:') == 1


@contextlib.contextmanager
def danted(reactor: Reactor, tmp_path: pathlib.Path, method: str = "none") -> Iterator[TCPClientEndpoint]:
    """Run Debian's Dante."""
    program = find("danted", "dante-server")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    user = pwd.getpwuid(os.getuid()).pw_name
    settings = tmp_path / "danted.conf"
    settings.write_text(DANTE_SERVER.format(port=port, method=method, user=user))
    with (tmp_path / "danted.log").open("wb") as log:
        server = subprocess.Popen([program, "-f", str(settings), "-p", str(tmp_path / "pid")], stderr=log)
    ours = TCPClientEndpoint("127.0.0.1", port)
    try:
        for _ in range(500):
            assert server.poll() is None, (tmp_path / "danted.log").read_text()
            try:
                wait_for(reactor, ours.connect(reactor, lambda: Sender(b"")))
                break
            except ConnectionRefused:
                reactor.step(0.02)
        yield ours
    finally:
        server.terminate()
        server.wait(10)


class Reader(Protocol):
    """Asks for a page."""

    def __init__(self) -> None:
        self.got = b""
        self.ended = False

    def connection_made(self, transport: Transport) -> None:
        transport.write(b"GET / HTTP/1.0\r\n\r\n")

    def data_received(self, data: bytes) -> None:
        self.got += data

    def connection_lost(self, exc: object) -> None:
        self.ended = True


def test_our_endpoint_through_dantes_server(reactor: Reactor, tmp_path: pathlib.Path) -> None:
    page = reactor.listen(Page, "127.0.0.1", 0)
    with danted(reactor, tmp_path) as dante:
        for version in ("4", "5"):  # it does not know 4a
            through = SocksEndpoint(dante, "localhost", port_of(page), version, timeout=15.0)
            reader = wait_for(reactor, through.connect(reactor, Reader), 20)
            wait_until(reactor, functools.partial(getattr, reader, "ended"))
            assert reader.got.endswith(b"hi\n")
            with pytest.raises(ConnectError):
                wait_for(reactor, SocksEndpoint(dante, "127.0.0.9", 80, version).connect(reactor, Reader))
        page.close()
        with pytest.raises(ConnectionRefused):
            wait_for(reactor, SocksEndpoint(dante, "127.0.0.1", port_of(page)).connect(reactor, Reader))
