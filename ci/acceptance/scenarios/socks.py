"""A SOCKS proxy: to a page and an echo, to nobody, to whoever must not be reached, for somebody who comes."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import typing

from ci.acceptance.model import Client, Port, Server
from ci.acceptance.record import Transcript
from ci.acceptance.stage import read_all, read_some
from ci.acceptance.targets import echo, nobody, serve
from ci.acceptance.views import mask

if typing.TYPE_CHECKING:
    from collections.abc import Callable

    from ci.acceptance.model import Workshop
    from ci.acceptance.stage import Stage

__all__ = ["SERVERS"]

_PAGE = b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 8\r\n\r\na page.\n"
_MUCH = bytes(range(256)) * 4096
_HERE = socket.inet_aton("127.0.0.1")
# Where the target and nobody are; the same for every runtime, as a server is prepared once.
_ports = {"target": 0, "nobody": 0}


def _page_or_echo(sock: socket.socket) -> None:
    """Give a page to whoever asks for one, and echo the rest."""
    if sock.recv(4, socket.MSG_PEEK) == b"GET ":
        sock.recv(65536)
        sock.sendall(_PAGE)
    else:
        echo(sock)


def _prepare(shop: Workshop) -> list[list[str]]:
    _ports.update(target=serve(shop, _page_or_echo), nobody=nobody(shop))
    log = ["--log", "traffic.log"]
    here = ["--allow", "127.0.0.0/8", "--deny", "*.denied.example"]
    return [
        ["socks", "--port", "0", "--socks5", *here, *log],
        ["socks", "--port", "0"],
        ["socks", "--port", "0", "--socks5", "--socks5-user", "alice:secret", *here],
    ]


def _connect_4(host: str, port: int, command: int = 1) -> bytes:
    return struct.pack("!BBH4s", 4, command, port, socket.inet_aton(host)) + b"fred\0"


def _connect_5(host: str, port: int, command: int = 1) -> bytes:
    return struct.pack("!BBBB4sH", 5, command, 0, 1, socket.inet_aton(host), port)


def _curl(*words: str, port: str = "open", status: int = 0) -> Callable[[Stage], None]:
    """Return a client: curl, where the last word is a flag that is followed by the proxy."""

    def run(stage: Stage) -> None:
        url = f"http://127.0.0.1:{_ports['target']}/"
        stage.curl(*words, f"127.0.0.1:{stage.port(port)}", url, status=status)

    return run


def _proxychains(version: str) -> Callable[[Stage], None]:
    def run(stage: Stage) -> None:
        settings = stage.folder / "chain.conf"
        settings.write_text(f"strict_chain\n[ProxyList]\n{version} 127.0.0.1 {stage.port('open')}\n")
        url = f"http://127.0.0.1:{_ports['target']}/"
        stage.run("proxychains4", "-q", "-f", str(settings), "curl", "-sS", "--max-time", "15", url)

    return run


def _dante(version: str) -> Callable[[Stage], None]:
    def run(stage: Stage) -> None:
        settings = stage.folder / "socks.conf"
        settings.write_text(
            "resolveprotocol: fake\nroute {\n"
            f"from: 0.0.0.0/0 to: 0.0.0.0/0 via: 127.0.0.1 port = {stage.port('open')}\n"
            f"proxyprotocol: {version}\ncommand: connect\nprotocol: tcp\n}}\n"
        )
        url = f"http://127.0.0.1:{_ports['target']}/"
        environ = (f"SOCKS_CONF={settings}", "SOCKS_AUTOADD_LANROUTES=no")
        stage.run("env", *environ, "socksify", "curl", "-sS", "--max-time", "15", url)

    return run


def _early_data_and_half_close(stage: Stage) -> None:
    sock = stage.connect("open")

    def send() -> None:
        sock.sendall(_connect_4("127.0.0.1", _ports["target"]) + _MUCH)
        sock.shutdown(socket.SHUT_WR)

    sender = threading.Thread(target=send)
    sender.start()
    answer = read_all(sock)
    sender.join()
    stage.check(answer[8:] == _MUCH, f"{len(answer) - 8} bytes of {len(_MUCH)} came back, or others")


def _refused(request: bytes, answer: bytes, port: str = "open") -> Callable[[Stage], None]:
    """Return a client: this request, which gets this answer and an end."""

    def run(stage: Stage) -> None:
        got = stage.ask(port, request)
        stage.check(got == answer, f"got {got!r}")

    return run


def _nobody(stage: Stage) -> None:
    stage.ask("open", _connect_4("127.0.0.1", _ports["nobody"]))
    stage.ask("open", b"\5\1\0" + _connect_5("127.0.0.1", _ports["nobody"]))


def _dropped(request: bytes, port: str) -> Callable[[Stage], None]:
    """Return a client: this, which is no request there, gets no answer."""

    def run(stage: Stage) -> None:
        sock = stage.connect(port)
        sock.sendall(request)
        try:
            stage.see(f"{len(read_all(sock))} bytes")
        except ConnectionResetError:
            stage.see("reset")

    return run


def _bind(comes_from: str) -> Callable[[Stage], None]:
    """Return a client: waits for 127.0.0.1, and somebody comes."""

    def run(stage: Stage) -> None:
        sock = stage.connect("open")
        sock.sendall(_connect_4("127.0.0.1", 21, command=2))
        code, port, host = struct.unpack("!xBH4s", read_some(sock, 8))
        stage.check((code, host) == (90, _HERE), f"waits with code {code} at {host!r}")
        with socket.create_connection(("127.0.0.1", port), source_address=(comes_from, 0)) as peer:
            code = read_some(sock, 8)[1]
            stage.see(f"code {code}")
            if code == 90:
                peer.sendall(b"from the peer")
                stage.check(read_some(sock, 13) == b"from the peer", "something else came")
                sock.sendall(b"from the client")
                stage.check(read_some(peer, 15) == b"from the client", "something else came")
            else:
                with contextlib.suppress(ConnectionResetError):
                    stage.check(read_all(peer) == b"", "a stranger got something")

    return run


def _in_any_order(transcript: Transcript) -> Transcript:
    """A line is written when its connection ends: one that lingers comes after one that began later."""
    return Transcript(transcript.conversations, b"".join(sorted(transcript.seen.splitlines(keepends=True))))


def _stop(stage: Stage) -> None:
    sock = stage.connect("open")
    sock.sendall(_connect_4("127.0.0.1", _ports["target"]) + b"open")
    read_some(sock, 12)
    stage.terminate()
    stage.check(read_all(sock) == b"", "more than was sent")


_NO_4 = b"\0\x5b" + bytes(6)
_NO_5 = b"\5\0\5\2\0\1" + bytes(6)
_AT_5 = b"\5\1\0\5\1\0"

SERVERS = (
    Server(
        name="socks",
        kind="socks",
        prepare=_prepare,
        ports=(Port("open", "tcp", "socks"), Port("closed", "tcp", "socks"), Port("login", "tcp", "socks")),
        look="Run: curl --socks5 {open} with an address of this machine: it works. With {closed}: it does not.",
        clients=(
            *(Client(f"curl {flag}", _curl(flag)) for flag in ("--socks4", "--socks4a", "--socks5")),
            Client("curl --socks5-hostname", _curl("--socks5-hostname")),
            Client("curl: with a password", _curl("-U", "alice:secret", "--socks5", port="login")),
            Client("curl: wrong password", _curl("-U", "alice:no", "--socks5", port="login", status=97)),
            Client("curl: private address", _curl("--socks4", port="closed", status=97)),
            *(Client(f"proxychains: {version}", _proxychains(version)) for version in ("socks4", "socks5")),
            *(Client(f"dante: {version}", _dante(version)) for version in ("socks_v4", "socks_v5")),
            Client("python: 1 MB of early data, half-closed", _early_data_and_half_close),
            Client("python: refused target", _nobody),
            Client("python: metadata by 4", _refused(_connect_4("169.254.169.254", 80), _NO_4)),
            Client("python: metadata by 5", _refused(b"\5\1\0" + _connect_5("169.254.169.254", 80), _NO_5)),
            Client(
                "python: mapped address",
                _refused(_AT_5 + b"\4" + bytes(10) + b"\xff\xff\x0a\0\0\1\0\x50", _NO_5),
            ),
            Client("python: denied name", _refused(_AT_5 + b"\3\x10a.denied.example\0\x50", _NO_5)),
            Client("python: name with NUL", _refused(_AT_5 + b"\3\3a\0b\0\x50", b"\5\0\5\1\0\1" + bytes(6))),
            Client("python: 4a without a name", _refused(b"\4\1\0\x50\0\0\0\1\0\0", _NO_4)),
            Client("python: user id without end", _refused(b"\4\1\0\x50" + _HERE + b"u" * 513, _NO_4)),
            Client(
                "python: UDP", _refused(b"\5\1\0" + _connect_5("127.0.0.1", 53, 3), b"\5\0\5\7\0\1" + bytes(6))
            ),
            Client("python: no method", _refused(b"\5\1\1", b"\5\xff")),
            Client("python: 5 where it is not spoken", _dropped(b"\5\1\0", "closed")),
            Client("python: HTTP", _dropped(b"GET / HTTP/1.0\r\n\r\n", "open")),
            Client("python: BIND", _bind("127.0.0.1")),
            Client("python: BIND, wrong peer", _bind("127.0.0.2")),
        ),
        views=(
            # The port from which the proxy connects, or at which it waits, or from which a peer comes.
            mask(rb"\A(\x00\x5a)[\s\S]{2}(\x7f\x00\x00\x01)", rb"\1??\2"),
            mask(rb"\A(\x00\x5a..\x7f\x00\x00\x01\x00\x5a)[\s\S]{2}(\x7f\x00\x00\x01)", rb"\1??\2"),
            mask(rb"(\x05\x00\x00\x01\x7f\x00\x00\x01)[\s\S]{2}", rb"\1??"),
        ),
        ending=Client("SIGTERM with a connection open", _stop),
        daemon=True,
        logs={
            "traffic.log": (
                mask(rb"\[\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\]", b"[<time>]"),
                mask(rb" \d+\.\d{3} ", b" <seconds> "),
                mask(rb"127\.0\.0\.1:\d+", b"127.0.0.1:<port>"),
                _in_any_order,
            )
        },
    ),
)
