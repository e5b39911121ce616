"""A folder by FTP: for a user who may write, for everybody who may read, in clear and with TLS."""

from __future__ import annotations

import ftplib
import hashlib
import io
import ssl
import typing

from ci.acceptance.model import Client, Port, Server
from ci.acceptance.stage import read_all
from ci.acceptance.views import mask, only_seen

if typing.TYPE_CHECKING:
    import pathlib

    from ci.acceptance.model import Workshop
    from ci.acceptance.stage import Stage

__all__ = ["SERVERS"]

_MUCH = bytes(range(256)) * 4096
_NAMES = ("plain.txt", "with spaces", "\u00fcml\u00e4ut \u4f60\u597d")

_VIEWS = (
    mask(rb"\(\|\|\|[0-9]+\|\)", b"(|||PORT|)"),
    mask(rb"(\([0-9]+,[0-9]+,[0-9]+,[0-9]+),[0-9]+,[0-9]+\)", rb"\1,PORT)"),
    mask(rb"unique=[^;]+;", b"unique=ID;"),
    mask(rb"modify=[0-9]+;", b"modify=TIME;"),
    mask(rb"(?m)^213 20[0-9]{12}\r?$", b"213 TIME\r"),
    mask(rb"[A-Z][a-z]{2} [ 0-9][0-9] ( [0-9]{4}|[0-9]{2}:[0-9]{2}) ", b"DATE "),
)


def _prepare(shop: Workshop) -> list[list[str]]:
    import trustme

    authority = trustme.CA()
    server = authority.issue_cert("127.0.0.1", "localhost")
    shop.write("server.pem", server.private_key_and_cert_chain_pem.bytes())
    shop.write("ca.pem", authority.cert_pem.bytes())
    for name in _NAMES:
        shop.write(f"root/{name}", _MUCH)
    shop.write("root/folder/inside", b"one\ntwo\n")
    for name in ("root", "root/folder"):
        shop.touch(name)
    words = ["ftp", "--root", "root", "--user", "tom:secret", "--anonymous", "--certificate", "server.pem"]
    return [[*words, "--port", "0", "--interface", "127.0.0.1"]]


def _url(stage: Stage, path: str, user: str = "tom:secret@") -> str:
    return f"ftp://{user}127.0.0.1:{stage.port('ftp')}/{path}"


def _dialogue(stage: Stage) -> None:
    commands = (
        *("USER tom", "PASS secret", "FEAT", "SYST", "HELP", "PWD", "TYPE I", "STAT", "SIZE plain.txt"),
        *(
            "MDTM plain.txt",
            "MLST folder/inside",
            "STAT folder",
            "CWD folder",
            "CDUP",
            "CWD nowhere",
            "MKD new",
        ),
        *(
            "RNFR new",
            "RNTO newer",
            "RMD newer",
            "RETR plain.txt",
            "PORT 10,0,0,1,4,5",
            "EPRT |1|127.0.0.1|25|",
        ),
        *("REST 5", "SITE HELP", "OPTS UTF8 ON", "NOOP", "XYZZY", "REIN", "LIST", "QUIT"),
    )
    answer = stage.ask("ftp", "".join(f"{command}\r\n" for command in commands).encode())
    stage.check(answer.endswith(b"221 Goodbye.\r\n"), f"got {answer[-80:]!r}")


def _anonymous(stage: Stage) -> None:
    commands = b"USER anonymous\r\nPASS me\r\nDELE plain.txt\r\nMKD x\r\nSTOR x\r\nQUIT\r\n"
    answer = stage.ask("ftp", commands)
    stage.check(answer.count(b"550 Permission denied.") == 3, f"got {answer!r}")


def _curl(stage: Stage) -> None:
    stage.run("curl", "-sS", "--max-time", "15", _url(stage, "", user=""))
    got = stage.run("curl", "-sS", "--max-time", "15", _url(stage, "with%20spaces"), note=False)
    stage.check(got == _MUCH, "another file")
    upload = ["curl", "-sS", "--max-time", "15", "-T", "root/plain.txt"]
    stage.run(*upload, "-Q", "-DELE uploaded", _url(stage, "uploaded"))


def _curl_tls(stage: Stage) -> None:
    words = ["curl", "-sS", "--max-time", "15", "--ssl-reqd", "--cacert", "ca.pem"]
    got = stage.run(*words, _url(stage, "plain.txt"), note=False)
    stage.check(got == _MUCH, "another file")
    stage.run(*words, "-T", "root/plain.txt", "-Q", "-DELE uploaded", _url(stage, "uploaded"))


def _checksums(folder: pathlib.Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def _lftp(stage: Stage) -> None:
    commands = [
        "set cmd:fail-exit yes",
        "set ftp:ssl-allow no",
        f"open -u tom,secret -p {stage.port('ftp')} 127.0.0.1",
        "mirror / copy",
        "mirror -R copy up",
        "mirror up back",
        "rm -r up",
    ]
    stage.run("lftp", "-c", "; ".join(commands), note=False)
    root, back = _checksums(stage.folder / "root"), _checksums(stage.folder / "back")
    stage.check(root == back and len(root) == len(_NAMES) + 1, f"{root} is not {back}")
    stage.run("rm", "-r", "copy", "back")


def _ncftp(stage: Stage) -> None:

    stage.run("ncftpls", "-u", "tom", "-p", "secret", "-P", str(stage.port("ftp")), "ftp://127.0.0.1/folder/")


def _tnftp(stage: Stage) -> None:
    stage.run("tnftp", "-o", "got", _url(stage, "plain.txt"), note=False)
    stage.check((stage.folder / "got").read_bytes() == _MUCH, "another file")
    (stage.folder / "got").unlink()


def _ftplib(client: ftplib.FTP, stage: Stage) -> None:
    client.connect("127.0.0.1", stage.port("ftp"), timeout=15)
    client.login("tom", "secret")
    if isinstance(client, ftplib.FTP_TLS):
        client.prot_p()
    client.storbinary("STOR new", io.BytesIO(_MUCH[:500_000]))
    client.storbinary("STOR new", io.BytesIO(_MUCH[500_000:]), rest=500_000)
    parts: list[bytes] = []
    client.retrbinary("RETR new", parts.append, rest=1000)
    stage.check(b"".join(parts) == _MUCH[1000:], "another file")
    stage.see("\n".join([name for name, facts in client.mlsd()]))
    stage.see("\n".join(client.nlst("folder")))
    client.delete("new")
    stage.see(client.quit())


def _python(stage: Stage) -> None:
    _ftplib(ftplib.FTP(), stage)


def _python_tls(stage: Stage) -> None:
    context = ssl.create_default_context(cafile=str(stage.folder / "ca.pem"))
    _ftplib(ftplib.FTP_TLS(context=context), stage)


def _stop(stage: Stage) -> None:
    sock = stage.connect("ftp")
    sock.recv(100)
    stage.terminate()
    answer = read_all(sock)
    stage.check(answer == b"421 The server is being stopped.\r\n", f"got {answer!r}")


SERVERS = (
    Server(
        name="ftp",
        kind="ftp",
        prepare=_prepare,
        ports=(Port("ftp", "tcp", "ftp"),),
        look="Open with a file manager or lftp: ftp://tom:secret@{ftp}/ and see three files and a folder.",
        clients=(
            Client("python: a dialogue", _dialogue),
            Client("python: anonymous", _anonymous),
            Client("curl: list, get, put", _curl),
            Client("curl: TLS", _curl_tls, views=(only_seen,)),
            Client("lftp: mirror both ways", _lftp, views=(only_seen,)),
            Client("ncftp: list", _ncftp, views=(only_seen,)),
            Client("tnftp: get", _tnftp),
            Client("ftplib: put, resume, get", _python),
            Client("ftplib: TLS", _python_tls, views=(only_seen,)),
        ),
        views=_VIEWS,
        ending=Client("SIGTERM with a client logged in", _stop),
        daemon=True,
    ),
)
