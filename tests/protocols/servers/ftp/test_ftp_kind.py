"""The options of `mktap ftp`, and what they do."""

from __future__ import annotations

import ftplib
import io
import logging
import os
import ssl
import threading
import typing

import pytest

from portable.attempts import LoginAttempts
from portable.errors import ConfigurationError
from portable.options import check_values
from protocols.servers.ftp import KIND
from tests.portable.tls.certs import Authority

if typing.TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.backends_under_test import Backend
    from tests.conftest import ErrorLog
    from tests.protocols.servers.ftp.conftest import Server


def refused(root: Path, **options: typing.Any) -> str:
    values = {"root": str(root), **{name.replace("_", "-"): value for name, value in options.items()}}
    with pytest.raises(ConfigurationError) as caught:
        KIND.make_service(check_values(KIND.options, values))
    return str(caught.value)


def test_the_root_is_looked_at_apart_because_it_may_lie_in_another_root(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("x")
    for root, reason in ((file, "is not a folder"), (tmp_path / "missing", "--root")):
        values = check_values(KIND.options, {"root": str(root), "anonymous": True})
        KIND.make_service(values)
        assert KIND.check is not None
        with pytest.raises(ConfigurationError, match=reason):
            KIND.check(values)


def test_options_that_make_no_sense(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("x")
    user = KIND.option("user").parse("tom:secret")
    assert "nobody could log in" in refused(tmp_path)
    assert "NAME=LETTERS" in refused(tmp_path, user=[user], permissions=["tom"])
    assert "NAME=LETTERS" in refused(tmp_path, user=[user], permissions=["tom=xyz"])
    assert "twice" in refused(tmp_path, user=[user], permissions=["tom=r", "tom=l"])
    assert "no --user ann" in refused(tmp_path, user=[user], permissions=["ann=r"])
    for text in ("1", "2000-1000", "80-90", "60000-70000", "a-b"):
        assert "--passive-ports" in refused(tmp_path, anonymous=True, passive_ports=text)
    assert "--masquerade" in refused(tmp_path, anonymous=True, masquerade="::1")
    assert "--privkey" in refused(tmp_path, anonymous=True, privkey=str(file))
    pair = {"certificate": [str(file), str(file)], "privkey": [str(file)]}
    assert "--privkey" in refused(tmp_path, anonymous=True, **pair)
    assert "--require-tls" in refused(tmp_path, anonymous=True, require_tls=True)
    endpoint = f"tls:0:certificate={file}"
    assert "--listen" in refused(tmp_path, anonymous=True, listen=[endpoint])


def log_in(server: Server, name: str = "tom", password: str = "secret") -> ftplib.FTP:
    client = ftplib.FTP()
    client.connect("127.0.0.1", server.port, timeout=20)
    try:
        client.login(name, password)
    except ftplib.Error:
        client.close()
        raise
    return client


def test_users_have_their_permissions(serve: Callable[..., Server]) -> None:
    server = serve(permissions=["tom=elrw"])

    def session() -> list[str]:
        with log_in(server) as client:
            client.storbinary("STOR f", io.BytesIO())
            with pytest.raises(ftplib.error_perm, match="550 Permission denied"):
                client.delete("f")
            return client.nlst()

    assert server.during(session) == ["f"]


def test_wrong_passwords(serve: Callable[..., Server]) -> None:
    server = serve()

    def session(name: str, password: str) -> None:
        with pytest.raises(ftplib.error_perm, match="530"):
            log_in(server, name, password)

    server.during(session, "tom", "wrong")


def test_the_log_says_who_came_and_no_name_that_may_be_a_password(
    serve: Callable[..., Server], caplog: pytest.LogCaptureFixture
) -> None:
    server = serve()

    def session() -> None:
        log_in(server).close()
        with pytest.raises(ftplib.error_perm, match="530"):
            log_in(server, "typed too early", "x")

    with caplog.at_level(logging.INFO, "protocols.ftp"):
        server.during(session)
    said = [record.getMessage() for record in caplog.records]
    assert said[0].startswith("login: tom from 127.0.0.1:")
    assert said[1].startswith("failed login from 127.0.0.1:")
    assert "typed too early" not in caplog.text


@pytest.mark.parametrize("name", ["anonymous", "ftp", "Anonymous"])
def test_anonymous_reads_only(serve: Callable[..., Server], name: str) -> None:
    server = serve(anonymous=True)
    (server.root / "f").write_text("hello")

    def session() -> None:
        with log_in(server, name, "me@example.org") as client:
            lines: list[str] = []
            client.retrlines("RETR f", lines.append)
            assert lines == ["hello"]
            for command in ("DELE f", "MKD d", "STOR g", "APPE f", "STOU", "RNFR f", "RMD d", "MFMT 2 f"):
                with pytest.raises(ftplib.error_perm, match="550 Permission denied"):
                    client.voidcmd(command)
            with pytest.raises(ftplib.error_perm, match="550 Permission denied"):
                client.voidcmd("SITE CHMOD 777 f")

    server.during(session)


@pytest.mark.parametrize(("name", "forgotten"), [("anonymous", 0), ("tom", 1)])
def test_to_be_anonymous_does_not_help_in_guessing(
    serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch, name: str, forgotten: int
) -> None:
    peers: list[object] = []
    monkeypatch.setattr(LoginAttempts, "succeeded", lambda _, peer: peers.append(peer))
    server = serve(anonymous=True, user=[KIND.option("user").parse("tom:secret")])
    server.during(lambda: log_in(server, name).quit())
    assert len(peers) == forgotten


def test_passive_ports_and_masquerade(serve: Callable[..., Server]) -> None:
    server = serve(passive_ports="61200-61400", masquerade="192.0.2.1")

    def session() -> str:
        with log_in(server) as client:
            return client.sendcmd("PASV")

    numbers = server.during(session).partition("(")[2].rstrip(").").split(",")
    assert numbers[:4] == ["192", "0", "2", "1"]
    assert 61200 <= int(numbers[4]) * 256 + int(numbers[5]) <= 61400


def test_the_control_connection_outlives_a_transfer(serve: Callable[..., Server]) -> None:
    server = serve(idle_timeout=1.0)
    never = threading.Event()

    def session() -> str:
        with log_in(server) as client:
            with client.transfercmd("STOR f") as data:
                for _ in range(15):
                    data.sendall(b"x")
                    never.wait(0.1)
            assert client.voidresp().startswith("226")
            never.wait(2.0)
            return client.getresp()

    with pytest.raises(ftplib.error_temp, match="421 Nothing was asked for too long"):
        server.during(session)


def test_reload_reads_passwords_again(serve: Callable[..., Server], tmp_path: Path) -> None:
    passwords = tmp_path / "passwords"
    passwords.write_text("ann:first\n")
    server = serve(passwords=str(passwords), permissions=["ann=elr"])
    server.during(lambda: log_in(server, "ann", "first").close())
    passwords.write_text("ann:second\n")
    server.service.reload()
    server.during(lambda: log_in(server, "ann", "second").close())


def test_a_reload_of_bad_passwords_changes_nothing(
    serve: Callable[..., Server], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    passwords = tmp_path / "passwords"
    passwords.write_text("ann:first\n")
    pair = Authority(tmp_path, "ours").issue("server", "localhost")
    server = serve(passwords=str(passwords), certificate=pair.cert, privkey=pair.key)
    passwords.write_text("ann:second\nnonsense\n")
    with caplog.at_level(logging.INFO), pytest.raises(ConfigurationError, match=r"passwords:2"):
        server.service.reload()
    assert "loaded the certificate" not in caplog.text
    server.during(lambda: log_in(server, "ann", "first").close())


def test_a_reload_of_bad_certificates_says_so_and_goes_on_with_the_old(
    serve: Callable[..., Server], tmp_path: Path, error_log: ErrorLog
) -> None:
    passwords = tmp_path / "passwords"
    passwords.write_text("ann:first\n")
    authority = Authority(tmp_path, "ours")
    pair = authority.issue("server", "localhost")
    server = serve(passwords=str(passwords), certificate=pair.cert, privkey=pair.key)
    passwords.write_text("ann:second\n")
    with open(pair.cert, "w") as file:
        file.write("nonsense")
    server.service.reload()
    error_log.expect(pair.cert)

    def session() -> None:
        client = ftplib.FTP_TLS(context=ssl.create_default_context(cafile=authority.pem))
        client.connect("127.0.0.1", server.port, timeout=20)
        client.host = "localhost"
        client.login("ann", "second")
        client.close()

    server.during(session)


def test_certificates_for_several_hosts(serve: Callable[..., Server], tmp_path: Path) -> None:
    authority = Authority(tmp_path, "ours")
    pairs = [authority.issue(name, f"{name}.example") for name in ("one", "two")]
    server = serve(certificate=[pair.cert for pair in pairs], privkey=[pair.key for pair in pairs])

    def session() -> None:
        for name in ("one.example", "two.example"):
            client = ftplib.FTP_TLS(context=ssl.create_default_context(cafile=authority.pem))
            client.connect("127.0.0.1", server.port, timeout=20)
            client.host = name
            client.login("tom", "secret")
            client.close()

    server.during(session)


MANY = 100_000


def test_a_listing_of_a_hundred_thousand_files_keeps_the_loop_free(
    serve: Callable[..., Server], backend: Backend
) -> None:
    """Each turn is short, and what waits is a piece. Once: what it costs is the same everywhere."""
    count = MANY if backend.name == "select" else 2000
    server = serve()
    for number in range(count):
        os.close(os.open(server.root / f"{number:06d}", os.O_CREAT, 0o644))

    def session() -> int:
        with log_in(server) as client:
            return sum(1 for _ in client.mlsd(facts=["type", "size"]))

    server.reactor.loop_lag()
    assert server.during(session) == count
    assert server.reactor.loop_lag() < 0.5
