"""The telnet programs that people have, against our server; our client against another server."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import typing

import pytest

from portable.errors import ConnectionRefused
from portable.testing import wait_for, wait_until
from protocols.telnet import codes
from protocols.telnet.client import TelnetClient
from protocols.telnet.naws import WindowSize
from tests.acceptance.shell import free_ports
from tests.protocols.servers.telnet.consoles import console
from tests.protocols.servers.telnet.programs import require, terminal

if typing.TYPE_CHECKING:
    import pathlib
    from collections.abc import Iterator

    from portable.reactor import Reactor

pytestmark = pytest.mark.usefixtures("untraced_threads")

PROGRAMS = [
    pytest.param(["inetutils-telnet"], "inetutils-telnet", id="inetutils"),
    pytest.param(["busybox", "telnet"], "busybox-static", id="busybox"),
]


@pytest.mark.parametrize(("words", "package"), PROGRAMS)
def test_telnet_programs(reactor: Reactor, words: list[str], package: str) -> None:
    program = [require(words[0], package), *words[1:]]
    with console(reactor) as served, terminal(reactor, *program, "127.0.0.1", str(served.port)) as user:
        user.wait("login: ")
        user.type("me\r")
        user.wait("me\r\npassword: ")
        user.type("secret\r")
        assert "secret" not in user.wait("ends the session.\r\n>>> ")
        user.type("def f(x):\r  return x * 2\r\rf(21)\r")
        user.wait("\r\n42\r\n>>> ")
        user.type("'gr\xfc\xdfe \u20ac'\r")
        user.wait("\r\n'gr\xfc\xdfe \u20ac'\r\n>>> ")
        user.type("1/0\r")
        user.wait("ZeroDivisionError: division by zero\r\n>>> ")
        user.type("import o\t\x15\x1b[A\x1b[A\x7f\x7f + ''\r")
        user.wait(">>> ")
        user.type("while True: pass\r\r")
        user.wait("... \r\n")
        user.type("\x03")
        user.wait("KeyboardInterrupt\r\n>>> ")
        user.type("len('" + "x" * 60 + "\x1b[D\x1b[D\x01\x05')\r")
        user.wait("\r\n60\r\n>>> ")
        user.resize(40)
        user.type("y" * 50)
        user.wait("y" * 14)
        user.type("\x15exit()\r")
        assert user.wait_for_end() in {0, 1}


def test_inetutils_sends_an_interruption_and_asks_whether_we_are_there(reactor: Reactor) -> None:
    program = require("inetutils-telnet", "inetutils-telnet")
    with console(reactor) as served, terminal(reactor, program, "127.0.0.1", str(served.port)) as user:
        user.wait("login: ")
        user.type("\x1d")
        user.wait("telnet> ")
        user.type("send ayt\r")
        user.wait("[yes]")
        user.type("\x1d")
        user.wait("telnet> ")
        user.type("send ip\r")
        assert user.wait_for_end() in {0, 1}


TELNETLIB3 = """
import asyncio, sys, telnetlib3

async def main():
    reader, writer = await telnetlib3.open_connection(
        "127.0.0.1", int(sys.argv[1]), encoding="utf8", term="XTERM-256COLOR", cols=100, rows=30
    )

    async def until(text):
        shown = ""
        while text not in shown:
            part = await reader.read(1000)
            if not part:
                break
            shown += part
        return shown

    await until("login: ")
    writer.write("me\\r")
    await until("password: ")
    writer.write("secret\\r")
    await until(">>> ")
    writer.write("'gr\\u00fc\\u00dfe \\u20ac'\\r")
    print(ascii(await until(">>> ")))
    writer.write("t, = on_loop(service.terminals); (t.kind, t.columns, t.rows, t.encoding)\\r")
    print(ascii(await until(">>> ")))
    writer.write("exit()\\r")
    print(ascii(await until("never")))

asyncio.run(main())
"""


def test_telnetlib3(reactor: Reactor) -> None:
    pytest.importorskip("telnetlib3")
    with console(reactor) as served:
        words = [sys.executable, "-W", "ignore", "-c", TELNETLIB3, str(served.port)]
        done = wait_for(
            reactor,
            reactor.run_in_thread(
                lambda: subprocess.run(words, capture_output=True, text=True, timeout=30, check=False)
            ),
            40,
        )
    assert done.returncode == 0, done.stderr
    euro, size, end = [line[1:-1].replace("\\r\\n", "\n") for line in done.stdout.splitlines()]
    assert euro.count(r"gr\xfc\xdfe \u20ac") == 2
    assert "('xterm-256color', 100, 30, 'utf-8')\n" in size.replace("\\'", "'")
    assert end == "exit()\n"


@pytest.mark.parametrize("ending", [b"\n", b"\r\n"])
def test_what_is_no_telnet_at_all(reactor: Reactor, ending: bytes) -> None:
    """As nc: whole lines, no answer to any offer, and the end of its stream behind the last."""

    def talk(port: int) -> bytes:
        with socket.create_connection(("127.0.0.1", port)) as sock:
            sock.settimeout(20)
            sock.sendall(ending.join([b"me", b"secret", b"6 * 7", b"def f(): return 8", b"", b"f()", b""]))
            sock.shutdown(socket.SHUT_WR)
            shown = b""
            while part := sock.recv(65536):
                shown += part
            return shown

    with console(reactor) as served:
        shown = wait_for(reactor, reactor.run_in_thread(talk, served.port), 30)
    assert shown.endswith(b">>> 42\r\n>>> ... >>> 8\r\n>>> ")


@contextlib.contextmanager
def telnetd(reactor: Reactor, tmp_path: pathlib.Path) -> Iterator[int]:
    """Busybox's server, and a program that says what its terminal is."""
    busybox = require("busybox", "busybox-static")
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\nread line\nstty size\nread line\necho got $line\nstty size\nread line\n")
    script.chmod(0o755)
    # Not a port that clients are given: while nobody listens there yet, ours could connect to itself.
    port = free_ports(0)
    words = [busybox, "telnetd", "-F", "-K", "-b", f"127.0.0.1:{port}", "-l", str(script), "-f", "/dev/null"]
    process = subprocess.Popen(words, start_new_session=True)
    try:
        yield port
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def test_our_client_against_busybox_telnetd(reactor: Reactor, tmp_path: pathlib.Path) -> None:
    shown: list[str] = []
    ends: list[Exception | None] = []

    def client() -> TelnetClient:
        return TelnetClient(shown.append, ends.append, size=WindowSize(132, 50), terminal="vt220")

    def see(text: str) -> None:
        wait_until(reactor, lambda: text in "".join(shown), 20, f"{text!r} in {shown}")

    with telnetd(reactor, tmp_path) as port:
        while True:
            try:
                made = wait_for(reactor, reactor.connect(client, "127.0.0.1", port))
                break
            except ConnectionRefused:
                reactor.step(0.02)
        # The program asks for the size when it has read a line, which comes after the size.
        wait_until(reactor, lambda: made.server_echoes, 20, "the negotiation")
        made.send_line("")
        see("50 132\r\n")
        # Not 255 columns: busybox does not know that IAC is doubled inside a sub-negotiation.
        made.resize(WindowSize(100, 25))
        made.send("hello \u20ac\r")
        see("got hello \u20ac\r\n25 100\r\n")
        made.send_command(codes.NOP)
        made.send_line("")
        wait_until(reactor, lambda: ends, 20, "the end")


def run(reactor: Reactor, *words: str) -> str:
    """Run a program to its end while the reactor goes on."""

    def work() -> str:
        return subprocess.run(words, capture_output=True, text=True, timeout=20, check=True).stdout

    return wait_for(reactor, reactor.run_in_thread(work), 30)


def test_a_session_in_tmux_with_completion_and_a_resize(reactor: Reactor, tmp_path: pathlib.Path) -> None:
    """What a person sees: the screen of a real terminal, compared as a whole."""
    tmux = [require("tmux", "tmux"), "-S", str(tmp_path / "tmux"), "-f", "/dev/null"]
    telnet = require("inetutils-telnet", "inetutils-telnet")

    def screen() -> list[str]:
        return run(reactor, *tmux, "capture-pane", "-p").rstrip("\n").split("\n")

    def type_and_see(*keys: str, last: str) -> list[str]:
        run(reactor, *tmux, "send-keys", *keys)
        wait_until(reactor, lambda: screen()[-1] == last, 20, f"{last!r} below {screen()}")
        return screen()

    with console(reactor, names={"answer": 42, "answers": []}) as served:
        command = f"{telnet} 127.0.0.1 {served.port}; sleep 60"
        run(reactor, *tmux, "new-session", "-d", "-x", "60", "-y", "20", command)
        try:
            wait_until(reactor, lambda: screen()[-1] == "login:", 20, "a prompt")
            type_and_see("me", "Enter", last="password:")
            type_and_see("secret", "Enter", last=">>>")
            type_and_see("C-l", last=">>>")
            type_and_see("ans", "Tab", last=">>> answer")
            type_and_see("Tab", last=">>> answer")
            type_and_see("s.app", "Tab", "(answer)", last=">>> answers.append(answer)")
            type_and_see("Enter", last=">>>")
            digits = "0123456789" * 6
            before = type_and_see(f"len('{digits}')", last=f"{digits[51:]}')")
            assert before == [
                ">>> answer",
                "answer   answers",
                ">>> answers.append(answer)",
                f">>> len('{digits[:51]}",
                f"{digits[51:]}')",
            ]
            run(reactor, *tmux, "resize-window", "-x", "40", "-y", "20")
            type_and_see("Left", "Left", "ABC", last=f"{digits[31:]}ABC')")
            after = type_and_see("C-a", "C-k", "answers", "Enter", last=">>>")
            assert after[-3:] == [">>> answers", "[42]", ">>>"]
        finally:
            run(reactor, *tmux, "kill-server")
