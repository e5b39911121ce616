"""Clients that others have written: curl, lftp, ncftp, tnftp and Python's ftplib, plain and with TLS."""

from __future__ import annotations

import ftplib
import hashlib
import io
import os
import ssl
import time
import typing

import pytest
import trustme

if typing.TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.protocols.servers.ftp.conftest import Server

    Serve = Callable[..., Server]

NAMES = ("plain", "with spaces in it", "\u00fcml\u00e4ut \u4f60\u597d", "100%", "a'b\"c", "-dash", "[bracket]")
MUCH = bytes(range(256)) * 4000
HUGE = 1 << 30
FILES = 2000


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """A server's certificate with its key, and its authority's."""
    folder = tmp_path_factory.mktemp("certificates")
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1", "localhost")
    issued.private_key_and_cert_chain_pem.write_to_path(str(folder / "server.pem"))
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    yield str(folder / "server.pem"), str(folder / "ca.pem")


def there_and_back(client: ftplib.FTP) -> None:
    for name in NAMES:
        client.storbinary(f"STOR {name}", io.BytesIO(MUCH))
        received: list[bytes] = []
        client.retrbinary(f"RETR {name}", received.append)
        assert b"".join(received) == MUCH
        assert client.size(name) == len(MUCH)
    assert sorted(client.nlst()) == sorted(NAMES)
    assert sorted(name for name, facts in client.mlsd()) == sorted(NAMES)
    lines: list[str] = []
    client.retrlines("LIST", lines.append)
    assert len(lines) == len(NAMES)
    client.mkd("d")
    client.rename("plain", "d/plain")
    client.cwd("d")
    assert client.pwd() == "/d"
    client.storbinary("STOR plain", io.BytesIO(MUCH[1000:]), rest=1000)
    client.set_pasv(False)
    received = []
    client.retrbinary("RETR plain", received.append, rest=1000)
    assert b"".join(received) == MUCH[1000:]
    data = client.transfercmd("RETR plain")
    data.recv(10)
    # Urgent data, as ftplib sends it.
    assert client.abort()[:3] in {"226", "426"}
    data.close()
    client.quit()


def test_ftplib(serve: Serve) -> None:
    server = serve()

    def session() -> None:
        client = ftplib.FTP()
        client.connect("127.0.0.1", server.port, timeout=20)
        client.login("tom", "secret")
        there_and_back(client)

    server.during(session)


def test_ftplib_with_tls(serve: Serve, certificate: tuple[str, str]) -> None:
    server = serve(certificate=certificate[0], require_tls=True)

    def session() -> None:
        client = ftplib.FTP_TLS(context=ssl.create_default_context(cafile=certificate[1]))
        client.connect("127.0.0.1", server.port, timeout=20)
        with pytest.raises(ftplib.error_perm, match="530 Protect"):
            client.sendcmd("USER tom")
        client.login("tom", "secret")
        with pytest.raises(ftplib.error_perm, match="521"):
            client.nlst()
        client.prot_p()
        for command, reply in (("PROT S", "536"), ("PROT X", "504"), ("PROT C", "534"), ("CCC", "534")):
            with pytest.raises(ftplib.error_perm, match=reply):
                client.sendcmd(command)
        for command, reply in (("AUTH TLS", "503"), ("PBSZ x", "501")):
            with pytest.raises(ftplib.error_perm, match=reply):
                client.sendcmd(command)
        there_and_back(client)

    server.during(session)


def test_implicit_tls(serve: Serve, certificate: tuple[str, str]) -> None:
    server = serve(
        certificate=certificate[0],
        listen=[f"tls:0:interface=127.0.0.1:certificate={certificate[0]}"],
    )
    (server.root / "f").write_bytes(MUCH)
    url = server.url("f").replace("ftp:", "ftps:")
    server.run("curl", "-sS", "--cacert", certificate[1], "-o", str(server.root.parent / "got"), url)
    assert (server.root.parent / "got").read_bytes() == MUCH


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_curl(serve: Serve, certificate: tuple[str, str], tls: bool) -> None:
    server = serve(certificate=certificate[0])
    words = ["-sS", *(["--ssl-reqd", "--cacert", certificate[1]] if tls else [])]
    source, got = server.root.parent / "source", server.root.parent / "got"
    source.write_bytes(MUCH)
    server.run("curl", *words, "--ftp-create-dirs", "-T", str(source), server.url("new/a%20file"))
    server.run("curl", *words, "-o", str(got), server.url("new/a%20file"))
    assert got.read_bytes() == MUCH
    assert " a file\n" in server.run("curl", *words, server.url("new/")).replace("\r", "")
    # An interrupted upload, and an interrupted download, resumed.
    (server.root / "new" / "a file").write_bytes(MUCH[:300_000])
    server.run("curl", *words, "-C", "-", "-T", str(source), server.url("new/a%20file"))
    assert (server.root / "new" / "a file").read_bytes() == MUCH
    got.write_bytes(MUCH[:100_000])
    server.run("curl", *words, "-C", "-", "-o", str(got), server.url("new/a%20file"))
    assert got.read_bytes() == MUCH
    if not tls:  # curl 7.88 never shakes hands on an active connection
        server.run("curl", *words, "-P", "-", "-o", str(got), server.url("new/a%20file"))
        assert got.read_bytes() == MUCH


def tree(folder: Path) -> dict[str, tuple[int, str]]:
    """Return the size and checksum of every file below; of a huge one, of its end only."""
    found = {}
    for top, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(top, name)
            size = os.path.getsize(path)
            with open(path, "rb") as file:
                file.seek(max(0, size - 1_000_000))
                found[os.path.relpath(path, folder)] = (size, hashlib.sha256(file.read()).hexdigest())
    return found


def test_lftp_mirrors_a_tree_both_ways(serve: Serve, certificate: tuple[str, str], reactor: typing.Any) -> None:
    server = serve(certificate=certificate[0])
    # The large tree once: what it costs is the same everywhere.
    large = type(reactor).__name__ == "SelectReactor" and reactor.poller.__class__.__name__ != "SelectPoller"
    source, back = server.root.parent / "source", server.root.parent / "back"
    for number in range(FILES if large else 100):
        folder = source / f"folder {number % 20}" / NAMES[number % len(NAMES)]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{NAMES[number % 5]} {number}").write_bytes(b"%d\r\n" % number * (number % 50))
    if large:
        with open(source / "huge", "wb") as huge:
            huge.truncate(HUGE - 5)
            huge.seek(HUGE - 5)
            huge.write(b"the end")
    commands = [
        f"set ssl:ca-file {certificate[1]}",
        f"set ftp:ssl-allow {'no' if large else 'yes'}",
        "set mirror:parallel-transfer-count 4",
        "set cmd:fail-exit yes",
        f"open -u tom,secret -p {server.port} 127.0.0.1",
        f"mirror -R {source} up",
        f"mirror up {back}",
    ]
    begin = time.monotonic()
    server.run("lftp", "-c", "; ".join(commands))
    assert tree(source) == tree(server.root / "up") == tree(back)
    assert time.monotonic() - begin < 50


def test_ncftp(serve: Serve) -> None:
    server = serve()
    source = server.root.parent / "a file"
    source.write_bytes(MUCH)
    login = ["-u", "tom", "-p", "secret", "-P", str(server.port)]
    server.run("ncftpput", *login, "127.0.0.1", "/", str(source))
    assert (server.root / "a file").read_bytes() == MUCH
    assert "a file" in server.run("ncftpls", *login, "ftp://127.0.0.1/")
    back = server.root.parent / "back"
    back.mkdir()
    server.run("ncftpget", *login, "127.0.0.1", str(back), "/a file")
    assert (back / "a file").read_bytes() == MUCH
    server.run("ncftpget", *login, "-E", "127.0.0.1", str(back), "/a file")


def test_tnftp(serve: Serve) -> None:
    server = serve()
    (server.root / "f").write_bytes(MUCH)
    got = server.root.parent / "got"
    server.run("tnftp", "-o", str(got), server.url("f"))
    assert got.read_bytes() == MUCH
    server.run("tnftp", "-u", server.url("up"), str(got))
    assert (server.root / "up").read_bytes() == MUCH
