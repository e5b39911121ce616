"""The pages of users: a relay, and behind it the server of whoever runs this, both in one process."""

from __future__ import annotations

import os
import pwd
import re
import subprocess
import sys
import typing

from ci.acceptance.model import Client, Port, Server
from ci.acceptance.record import Failed
from ci.acceptance.runtimes import ROOT, environment
from ci.acceptance.stage import read_all, read_some
from ci.acceptance.views import http_dates

if typing.TYPE_CHECKING:
    from collections.abc import Callable

    from ci.acceptance.model import Workshop
    from ci.acceptance.stage import Stage

__all__ = ["SERVERS"]

_ME = pwd.getpwuid(os.getuid())
_OWN = f"/{_ME.pw_name}.twistd"
_SOCKET = f"{_ME.pw_dir}/.twistd-web-pb"
_TWISTED = ROOT / "tests" / "protocols" / "servers" / "web" / "distributed" / "twisted_web.py"
_LARGE = 5_000_000
_HUGE = 24_000_000


def _prepare(shop: Workshop) -> list[list[str]]:
    shop.write("own/index.html", b"<h1>my own</h1>\n")
    shop.write("own/digits.txt", b"0123456789" * 10)
    shop.write("own/large", bytes(range(250)) * (_LARGE // 250))
    shop.write("own/huge", b"\0" * _HUGE)
    return [
        ["web", "--user", "--port", "0", "--interface", "127.0.0.1"],
        ["web", "--personal", "--path", "own", "--listen", f"unix:{_SOCKET}:mode=600"],
    ]


def _curl(path: str, *words: str, status: int) -> Callable[[Stage], None]:
    def run(stage: Stage) -> None:
        output = stage.curl(*words, stage.url(path))
        found = [int(code) for code in re.findall(rb"^HTTP/1\.1 (\d\d\d) ", output, re.MULTILINE)]
        stage.check(found == [status], f"status {found}, not {status}")

    return run


def _nobody(stage: Stage) -> None:
    """Whoever has no server, or no account, is answered alike, and the answer has an end."""
    answers = {stage.curl(stage.url(f"/{name}.twistd/")) for name in ("nobody", "no-such-user")}
    bodies = {answer.partition(b"\r\n\r\n")[2] for answer in answers}
    stage.check(len(bodies) == 1 and b"Cannot connect" in bodies.pop(), "not the page that says so")


def _large(stage: Stage) -> None:
    stage.run("curl", "-sS", "--max-time", "15", "-o", "got", stage.url(f"{_OWN}/large"))
    stage.check((stage.folder / "got").read_bytes() == bytes(range(250)) * (_LARGE // 250), "not the file")


def _twisted(stage: Stage) -> None:
    """Twisted's relay before our publisher."""
    words = [sys.executable, str(_TWISTED), "relay", _SOCKET]
    with subprocess.Popen(words, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as relay:
        try:
            if relay.stdout is None:
                raise Failed("Twisted's relay says nothing")
            port = int(relay.stdout.readline().split()[1])
            for path in ("", "digits.txt", "large"):
                output = stage.run("curl", "-sS", "--max-time", "15", f"http://127.0.0.1:{port}/u/{path}")
                stage.check(output == (stage.folder / "own" / (path or "index.html")).read_bytes(), path)
        finally:
            relay.kill()


def _drain(stage: Stage) -> None:
    """Stop relay and publisher with a download in flight: it completes."""
    sock = stage.connect("web", buffer=16384)
    sock.sendall(f"GET {_OWN}/huge HTTP/1.1\r\nHost: localhost\r\n\r\n".encode("ascii"))
    begun = read_some(sock, 100_000)
    stage.terminate()
    body = (begun + read_all(sock)).partition(b"\r\n\r\n")[2]
    stage.check(len(body) == _HUGE, f"{len(body)} bytes of {_HUGE} came")


SERVERS = (
    Server(
        name="web-user",
        kind="web",
        prepare=_prepare,
        ports=(Port("web", "tcp", "web"),),
        look=f"Open http://{{web}}{_OWN}/ (a heading), http://{{web}}/nobody.twistd/ (it cannot connect).",
        views=(http_dates,),
        clients=(
            Client("curl: the root", _curl("/", status=200)),
            Client("curl: own index", _curl(f"{_OWN}/", status=200)),
            Client("curl: own, without slash", _curl(_OWN, status=301)),
            Client("curl: own, HEAD", _curl(f"{_OWN}/digits.txt", "-I", status=200)),
            Client("curl: own, range", _curl(f"{_OWN}/digits.txt", "-r", "10-19", status=206)),
            Client("curl: own, 404", _curl(f"{_OWN}/none", status=404)),
            Client("curl: own, POST refused", _curl(f"{_OWN}/", "-d", "a=b", status=405)),
            Client("curl: nobody", _nobody),
            Client("curl: no pages", _curl("/no-such-user/", status=404)),
            Client("curl: traversal", _curl("/..%2f..%2fetc/passwd", "--path-as-is", status=400)),
            Client("curl: own, 5 MB", _large),
            Client("twisted: relay before our publisher", _twisted),
        ),
        ending=Client("SIGTERM with a download", _drain),
    ),
)
