"""The options --personal and --user of the server kind `web`."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from portable.errors import CapabilityMissing, ConfigurationError
from portable.listener import activation
from portable.systemusers import SystemUser
from portable.testing import wait_for
from protocols.servers.web import KIND, make_service
from protocols.servers.web.distributed.users import PAGES, SOCKET
from tests.protocols.servers.web.distributed.people import short_folder
from tests.protocols.servers.web.test_web import Running, values

if TYPE_CHECKING:
    from collections.abc import Iterator

    from portable.reactor import Reactor
    from tests.protocols.servers.web.distributed.people import Town


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    made = Path(short_folder())
    made.chmod(0o755)
    monkeypatch.setenv("HOME", str(made))
    yield made
    shutil.rmtree(made)


def test_personal_and_user_together(reactor: Reactor, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pages = home / PAGES
    pages.mkdir()
    (pages / "index.html").write_bytes(b"from the folder")
    account = SystemUser("alice", os.getuid(), str(home), "")
    monkeypatch.setattr(
        "protocols.servers.web.distributed.users.system_user", {"alice": account}.get, raising=True
    )
    (home / "own").mkdir()
    (home / "own" / "index.html").write_bytes(b"from the own server")
    (home / "own" / "x.cgi").write_bytes(
        b"#!/bin/sh\necho Content-Type: text/plain\necho\necho $SCRIPT_NAME $PATH_INFO $REMOTE_ADDR\n"
    )
    (home / "own" / "x.cgi").chmod(0o755)
    (home / "own" / "length.cgi").write_bytes(
        b"#!/bin/sh\necho Content-Type: text/plain\necho\necho $CONTENT_LENGTH $(wc -c)\n"
    )
    (home / "own" / "length.cgi").chmod(0o755)
    for name, location in (("own.cgi", "/alice.twistd/"), ("elsewhere.cgi", "/alice/?a")):
        (home / "own" / name).write_text(f"#!/bin/sh\necho 'Location: {location}'\necho\n")
        (home / "own" / name).chmod(0o755)
    personal = make_service(values(personal=True, path=str(home / "own"), logfile=str(home / "access.log")))
    personal.bind(reactor)
    personal.start()
    assert personal.addresses() == [f"web unix {home / SOCKET}"]
    assert stat.S_IMODE((home / SOCKET).stat().st_mode) == 0o600
    (pages / "x.cgi").write_bytes(b"#!/bin/sh\nsecret")
    (pages / "x.cgi").chmod(0o755)
    relay = Running(reactor, user=True)
    try:
        assert b"secret" not in relay.curl("/alice/x.cgi").output
        assert relay.curl("/alice/").output == b"from the folder"
        assert relay.curl("/alice.twistd/").output == b"from the own server"
        # Programs run in the user's own server, with the user's rights.
        assert relay.curl("/alice.twistd/x.cgi/info").output == b"/alice.twistd/x.cgi /info 127.0.0.1\n"
        # However their input has come, and however long it is: there are two ways for it.
        for size in (5, 700_000):
            (home / "input").write_bytes(b"x" * size)
            words = ("--data-binary", f"@{home}/input", "-H", "Transfer-Encoding: chunked")
            assert relay.curl("/alice.twistd/length.cgi", *words).output == f"{size} {size}\n".encode()
        # A redirect within the own server is followed there, one to elsewhere by the client.
        assert relay.curl("/alice.twistd/own.cgi").output == b"from the own server"
        assert b"location: /alice/?a\r\n" in relay.curl("/alice.twistd/elsewhere.cgi", "-i").output
        assert b"Cannot connect" in relay.curl("/nobody-at-all.twistd/").output
    finally:
        relay.stop()
        wait_for(reactor, personal.stop(5))
    assert not (home / SOCKET).exists()
    assert '"GET /alice.twistd/ HTTP/1.1" 200 19 ' in (home / "access.log").read_text()


def test_a_personal_server_is_drained(reactor: Reactor, town: Town) -> None:
    """Its page in flight is completed, and then it is gone."""
    folder = town.add("alice")
    (folder / "big").write_bytes(b"x" * 3_000_000)
    listen = (f"unix:{town.socket('alice')}:mode=600",)
    personal = make_service(values(personal=True, path=str(folder), listen=listen))
    personal.bind(reactor)
    personal.start()
    stopped: list[None] = []

    def stop() -> None:
        personal.stop(20).add_callback(stopped.append)

    done = town.curl(
        "/alice.twistd/big", "--limit-rate", "4M", when=lambda: town.port.bytes_sent > 1000, then=stop
    )
    assert done.output.endswith(b"x" * 1_000_000)
    assert b"Content-Length: 3000000\r\n" in done.output
    assert len(done.output.partition(b"\r\n\r\n")[2]) == 3_000_000
    deadline = time.monotonic() + 10
    while not stopped and time.monotonic() < deadline:
        reactor.step(0.05)
    assert stopped


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"personal": True, "user": True}, "cannot be behind"),
        ({"personal": True}, "nothing to serve"),
        ({"user": True, "path": "/tmp"}, "not both"),
        ({"user": True, "class": "a.B"}, "not both"),
        ({"personal": True, "path": "/tmp", "port": 8081}, "not on a port"),
        ({"personal": True, "path": "/tmp", "port": 8080, "listen": ("unix:/tmp/x",)}, "not on a port"),
        ({"personal": True, "path": "/tmp", "interface": "127.0.0.1"}, "has no address"),
        ({"personal": True, "path": "/tmp", "https": 443, "certificate": "/etc/hostname"}, "no use for HTTPS"),
        ({"personal": True, "path": "/tmp", "listen": ("tcp:8080",)}, "unix: and systemd: only"),
    ],
)
def test_options_that_have_no_meaning_together(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        make_service(values(**options))


def test_a_port_that_systemd_opened_is_refused(
    reactor: Reactor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = make_service(values(personal=True, path=str(tmp_path), listen=("systemd:web",)))
    opened = socket.create_server(("127.0.0.1", 0))
    monkeypatch.setattr(activation, "FIRST_FD", opened.fileno())
    for name, value in (("FDS", "1"), ("PID", str(os.getpid())), ("FDNAMES", "web")):
        monkeypatch.setenv(f"LISTEN_{name}", value)
    if "adopt" in reactor.capabilities:
        with pytest.raises(ConfigurationError, match="needs a Unix socket"):
            service.bind(reactor)
        # It was adopted, and closed.
        opened.detach()
    else:
        with pytest.raises(CapabilityMissing):
            service.bind(reactor)
        opened.close()


def test_old_files_have_neither() -> None:
    assert KIND.version == 1
    made = values(path="/tmp")
    assert made["user"] is made["personal"] is False


def test_a_machine_without_users(reactor: Reactor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("portable.systemusers.pwd", None)
    service = make_service(values(user=True))
    with pytest.raises(CapabilityMissing, match="users"):
        service.bind(reactor)


def test_the_commands(home: Path, tmp_path: Path) -> None:
    """`mktap web --personal` and `twistd`, and an ordinary program of Twisted's before it."""
    (tmp_path / "index.html").write_bytes(b"hello over PB")
    environ = {**os.environ, "HOME": str(home), "PYTHONPATH": os.getcwd()}
    mktap = [sys.executable, "-m", "portable.commands.mktap", "web", "--personal", "--path", "."]
    subprocess.run(mktap, cwd=tmp_path, env=environ, check=True, timeout=30, capture_output=True)
    twistd = [sys.executable, "-m", "portable.commands.twistd", "-f", "web.tap", "-n", "-l", "-"]
    with subprocess.Popen(twistd, cwd=tmp_path, env=environ, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        for line in server.stdout:
            if b"listening: web unix" in line:
                break
        assert str(home / SOCKET).encode() in line
        relay = Path(__file__).with_name("twisted_web.py")
        with subprocess.Popen(
            [sys.executable, str(relay), "relay", str(home / SOCKET)], stdout=subprocess.PIPE
        ) as other:
            assert other.stdout is not None
            port = other.stdout.readline().split()[1].decode()
            url = f"http://127.0.0.1:{port}/u/"
            done = subprocess.run(["curl", "-sS", "--max-time", "10", url], capture_output=True, check=True)
            other.kill()
        assert done.stdout == b"hello over PB"
        server.terminate()
        assert server.wait(20) == 0
    assert not (home / SOCKET).exists()
