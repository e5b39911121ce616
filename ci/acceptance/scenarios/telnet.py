"""A Python console: what telnet programs and plain sockets get of it."""

from __future__ import annotations

import fcntl
import os
import select
import shutil
import struct
import subprocess
import termios
import time
import typing

from ci.acceptance.model import Client, Port, Server
from ci.acceptance.record import Failed
from ci.acceptance.stage import SECONDS, read_all
from ci.acceptance.views import only_seen

if typing.TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from ci.acceptance.model import Workshop
    from ci.acceptance.stage import Stage

__all__ = ["SERVERS"]

_PROMPT = b"\r\n>>> "
_ECHO_AGREED = b"\xff\xfd\x01\xff\xfd\x03"
# A window of 255 columns and 24 rows: its 255 is doubled.
_WINDOW = b"\xff\xfb\x1f\xff\xfa\x1f\x00\xff\xff\x00\x18\xff\xf0"


def _prepare(_shop: Workshop) -> list[list[str]]:
    return [["telnet", "-u", "me", "-w", "secret", "--user", "other:word", "--port", "0"]]


def _until(read: Callable[[], bytes], text: bytes) -> bytes:
    shown = b""
    while text not in shown:
        part = read()
        if not part:
            raise Failed(f"it ended before {text!r}: {shown[-200:]!r}")
        shown += part
    return shown


def _say(sock: socket.socket, line: bytes, until: bytes = _PROMPT) -> bytes:
    sock.sendall(line + b"\r\0")
    return _until(lambda: sock.recv(65536), until)


def _log_in(stage: Stage, offers: bytes = _ECHO_AGREED + _WINDOW) -> socket.socket:
    sock = stage.connect("telnet")
    _until(lambda: sock.recv(65536), b"login: ")
    sock.sendall(offers)
    _say(sock, b"me", b"password: ")
    _say(sock, b"secret")
    return sock


def _session(stage: Stage) -> None:
    sock = _log_in(stage)
    stage.check(b"\r\n42\r\n" in _say(sock, b"6 * 7"), "6 * 7 is not 42")
    _say(sock, b"def f(x):", b"... ")
    _say(sock, b"    return 1 / x", b"... ")
    _say(sock, b"")
    stage.check(b"ZeroDivisionError" in _say(sock, b"f(0)"), "no traceback")
    _say(sock, b"1 +* 2")
    _say(sock, b"print('gr\xc3\xbc\xc3\x9fe'); import sys; print('error', file=sys.stderr)")
    _say(sock, b"await reactor.resolve('127.0.0.1')")
    _say(sock, b"on_loop(len, 'on the loop')")
    sock.sendall(b"exit('bye')\r\0")
    stage.check(read_all(sock).endswith(b"bye\r\n"), "no farewell")


def _editing(stage: Stage) -> None:
    sock = _log_in(stage)
    _say(sock, b"first = 1")
    for keys in (b"\x1b[A\x01(\x05)", b"fir\t + 1", b"junk\x15'\x1b[D\x1b[C'", b"len('\x0b1234567\x7f89')"):
        _say(sock, keys)
    sock.sendall(b"reactor.call_\t")
    _until(lambda: sock.recv(65536), b">>> reactor.call_")
    sock.sendall(b"\x15\x04")
    read_all(sock)


def _interruption(stage: Stage) -> None:
    sock = _log_in(stage)
    # In one line, which the traceback names: the interruption may come while `print` has not returned.
    _say(sock, b"def forever(begun):", b"... ")
    _say(sock, b"    while begun or begun.append(print('begun')) or True: pass", b"... ")
    _say(sock, b"")
    for stop in (b"\x03", b"\xff\xf4"):
        _say(sock, b"forever([])", b"begun\r\n")
        sock.sendall(stop)
        _until(lambda: sock.recv(65536), _PROMPT)
    sock.sendall(b"\x04")
    read_all(sock)


def _endless_output(stage: Stage) -> None:
    sock = _log_in(stage)
    _say(sock, b"while True: print('spam')\r\0", b"spam\r\n" * 100)
    sock.sendall(b"\x03")
    _until(lambda: sock.recv(65536), b"KeyboardInterrupt" + _PROMPT)
    stage.see("stopped")


def _refusals(stage: Stage) -> None:
    """A client that offers what nobody wants, and that has no echo of ours: its lines are its own."""
    offers = b"".join(
        [b"\xff\xfb" + bytes([option]) + b"\xff\xfd" + bytes([option]) for option in (34, 39, 36, 200)]
    )
    sock = _log_in(stage, offers)
    _say(sock, b"1 + 1")
    sock.sendall(b"\xff\xec")
    read_all(sock)


def _flood(stage: Stage) -> None:
    for flood in (b"\xff\xfa\x18" + b"\xff\xff" * 2000, b"\xff\xfb\xc8" * 100):
        sock = stage.connect("telnet")
        _until(lambda sock=sock: sock.recv(65536), b"login: ")  # type: ignore[misc]  # a default
        sock.sendall(flood)
        try:
            stage.see(f"{len(read_all(sock))} bytes\n")
        except ConnectionResetError:
            stage.see("reset\n")


def _wrong_password(stage: Stage) -> None:
    began = time.monotonic()
    sock = stage.connect("telnet")
    _until(lambda: sock.recv(65536), b"login: ")
    _say(sock, b"me", b"password: ")
    _say(sock, b"wrong", b"Login incorrect\r\nlogin: ")
    stage.check(time.monotonic() - began > 1, "a wrong password costs no time")
    _say(sock, b"other", b"password: ")
    _say(sock, b"word")


def _program(*words: str) -> Callable[[Stage], None]:
    """Return a client that types into a telnet program at a pseudo-terminal of 60 columns."""

    def run(stage: Stage) -> None:
        found = shutil.which(words[0])
        if found is None:
            raise Failed(f"{words[0]} is not installed")
        master, slave = os.openpty()
        fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 60, 0, 0))
        process = subprocess.Popen(
            ["setsid", "--ctty", "--wait", found, *words[1:], "127.0.0.1", str(stage.port("telnet"))],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={**os.environ, "TERM": "xterm"},
        )
        os.close(slave)

        def read() -> bytes:
            ready, _, _ = select.select([master], [], [], SECONDS)
            shown = os.read(master, 65536) if ready else b""
            stage.see(shown)
            return shown

        try:
            _until(read, b"login: ")
            for keys, shown in (
                (b"me\r", b"password: "),
                (b"secret\r", b">>> "),
                (b"for i in range(3): print(i)\r", b"... "),
                (b"\r", b"2\r\n>>> "),
                (b"len('" + b"x" * 70 + b"')\x1b[D\x1b[Dy\r", b"71\r\n>>> "),
            ):
                os.write(master, keys)
                _until(read, shown)
            os.write(master, b"exit()\r")
            process.wait(SECONDS)
        finally:
            os.close(master)
            process.kill()
            process.wait()

    return run


def _stop(stage: Stage) -> None:
    """Stop while one types and another has a statement running, which may end."""
    idle, busy = _log_in(stage), _log_in(stage)
    _say(busy, b"import time; print('begun'); time.sleep(0.5); print('ended')", b"begun\r\n")
    idle.sendall(b"half a line")
    _until(lambda: idle.recv(65536), b"half a line")
    stage.terminate()
    stage.check(read_all(idle).endswith(b"The server is stopping.\r\n"), "no farewell")
    stage.check(read_all(busy) == b"ended\r\nThe server is stopping.\r\n", "the statement did not end")


SERVERS = (
    Server(
        name="telnet",
        kind="telnet",
        prepare=_prepare,
        ports=(Port("telnet", "tcp", "telnet"),),
        look="Type into: telnet {telnet} (with a space for the colon), as me with the password secret.",
        clients=(
            Client("python: a session", _session),
            Client("python: editing and completion", _editing),
            Client("python: interruptions", _interruption),
            Client("python: endless output", _endless_output, (only_seen,)),
            Client("python: refused options, lines of its own", _refusals),
            Client("python: floods", _flood, (only_seen,)),
            Client("python: a wrong password", _wrong_password),
            # When such a program answers our questions is a matter of chance.
            Client("inetutils telnet: a session", _program("inetutils-telnet"), (only_seen,)),
            Client("busybox telnet: a session", _program("busybox", "telnet"), (only_seen,)),
        ),
        ending=Client("SIGTERM with two sessions", _stop),
        daemon=True,
    ),
)
