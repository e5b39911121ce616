"""What the server answers to each command, on every backend."""

from __future__ import annotations

import typing

import pytest

from portable.testing import wait_until

if typing.TYPE_CHECKING:
    from tests.protocols.ftp.server.conftest import Case


def test_the_dialogue_of_rfc_959(case: Case) -> None:
    """Appendix III and 7: log in, store, retrieve, leave."""
    client = case.client()
    assert client.greeting == "220 FTP server ready."
    assert client.ask("LIST") == "530 Log in first."
    assert client.ask("PASS right") == "503 Give USER first."
    assert client.ask("user tom") == "331 Give the password."
    assert client.ask("pass wrong") == "530 The name or the password is wrong."
    assert client.ask("PASS right") == "503 Give USER first."
    client.log_in()
    assert client.ask("TYPE I") == "200 Type I."
    assert client.store("STOR test.c", b"main\r\n") == "226 Transfer complete."
    assert client.fetch("RETR test.c") == b"main\r\n"
    assert client.fetch("LIST") == b"-rw-r--r-- 1 ftp ftp            6 Nov 14 22:13 test.c\r\n"
    assert client.ask("QUIT") == "221 Goodbye."
    client.wait_for_end()


@pytest.mark.parametrize(
    ("command", "reply"),
    [
        ("ACCT x", "202"),
        ("ALLO 100", "202"),
        ("SYST", "215 UNIX Type: L8"),
        ("NOOP", "200"),
        ("NOOP x", "501 NOOP takes no argument."),
        ("CWD", "501 It is CWD <path>."),
        ("NONSENSE", "500"),
        ("TYPE A N", "200 Type A."),
        ("TYPE L 8", "200 Type I."),
        ("TYPE E", "504"),
        ("TYPE L 7", "504"),
        ("TYPE X", "501"),
        ("STRU F", "200"),
        ("STRU R", "504"),
        ("STRU X", "501"),
        ("MODE s", "200"),
        ("MODE Z", "504"),
        ("REST x", "501"),
        ("REST \u0661", "501"),
        ("REST 10", "504"),
        ("REST 0", "350"),
        ("HELP", "214-"),
        ("HELP retr", "214 RETR <path>"),
        ("HELP x", "502"),
        ("SITE HELP", "214-"),
        ("SITE EXEC rm", "504"),
        ("OPTS UTF8 ON", "200"),
        ("OPTS utf8", "200"),
        ("OPTS UTF8 OFF", "504"),
        ("OPTS X", "501"),
        ("HOST ftp.example.org", "503"),
        ("CCC", "533"),
        ("PBSZ 0", "503"),
        ("PROT P", "503"),
        ("AUTH TLS", "502"),
        ("ABOR", "225"),
        ("RETR nothing", "425"),
        ("PORT 1,2,3", "501"),
        ("EPRT x", "501"),
        ("EPRT |3|x|1|", "522"),
        ("EPRT |2|::1|2000|", "522"),
        ("EPSV 2", "522 Network protocol not supported, use (1)"),
        ("EPSV x", "501"),
        ("EPSV 1", "229"),
        ("CWD nothing", "550 There is no such file or folder."),
        ("CWD file", "550 It is not a folder."),
        ("CWD \x01", "553"),
        (b"CWD \xe4", "501 That is not UTF-8."),
        ("RMD /", "550 The root stays as it is."),
        ("RNTO x", "503"),
        ("MDTM file", "213 20231114221320"),
        ("SIZE file", "550"),
        ("MFMT 2023 file", "501"),
        ("MFMT 20230101000000", "501"),
        ("SITE CHMOD 4755 file", "501"),
        ("MLST file", "250-The facts:\n type=file;"),
        ("STAT", "211-Status:"),
    ],
)
def test_one_command(case: Case, command: str | bytes, reply: str) -> None:
    case.files.put(("file",), b"12345")
    assert case.user().ask(command).startswith(reply)


def test_features(case: Case) -> None:
    client = case.client()
    assert client.ask("FEAT").split("\n")[1:-1] == [
        " EPRT",
        " EPSV",
        " HOST",
        " MDTM",
        " MFMT",
        " MLST type*;size*;modify*;perm*;unique*;unix.mode*;",
        " REST STREAM",
        " SIZE",
        " TVFS",
        " UTF8",
    ]
    assert client.ask("OPTS MLST size;nonsense;Type;") == "200 MLST OPTS type;size;"
    assert " MLST type*;size*;modify;perm;unique;unix.mode;" in client.ask("FEAT")
    client.log_in()
    case.files.put(("file",), b"12345")
    assert client.fetch("MLSD") == b"type=file;size=5; file\r\n"
    assert client.ask("OPTS MLST") == "200 MLST OPTS"
    assert client.ask("MLST file") == "250-The facts:\n  /file\n250 End."


def test_host_comes_first(case: Case) -> None:
    """RFC 7151 3.1 and 3.2."""
    client = case.client()
    for name in ("ftp.example.org", "192.0.2.1", "[2001:db8::1]", "localhost", "a.b."):
        assert client.ask(f"HOST {name}").startswith("220")
    for name in ("a b", "[::1", "[x]", "[fe80::1%eth0]", "-" * 300, "a..b", "a" * 63 + "!"):
        assert client.ask(f"HOST {name}").startswith("501")
    client.ask("USER tom")
    assert client.ask("HOST a").startswith("503")
    assert client.ask("REIN").startswith("220")
    assert client.ask("HOST a").startswith("220")


def test_folders_and_names(case: Case) -> None:
    client = case.user()
    assert client.ask("PWD") == '257 "/" is the working folder.'
    assert client.ask('MKD a "b"') == '257 "/a ""b""" is made.'
    assert client.ask('MKD a "b"') == "550 The file exists already."
    assert client.ask('CWD a "b"').startswith("250")
    assert client.ask("XPWD").startswith('257 "/a ""b"""')
    assert client.ask("XMKD \u00e4").startswith("257")
    assert client.ask("CWD ../../..").startswith("250")
    assert client.ask("PWD").startswith('257 "/"')
    assert client.ask('RMD a "b"') == "550 The folder is not empty."
    assert client.ask('XRMD /a "b"/\u00e4').startswith("250")
    assert client.ask('CWD a "b"').startswith("250")
    assert client.ask("CDUP").startswith("250")
    assert client.ask('RMD a "b"').startswith("250")


def test_renaming(case: Case) -> None:
    client = case.user()
    case.files.put(("a",), b"a")
    case.files.put(("d", "b"), b"b")
    assert client.ask("RNFR nothing").startswith("550")
    assert client.ask("RNTO x").startswith("503")
    assert client.ask("RNFR a").startswith("350")
    assert client.ask("NOOP").startswith("200")
    assert client.ask("RNTO x").startswith("503")
    assert client.ask("RNFR a").startswith("350")
    assert client.ask("RNTO d/b").startswith("250")
    assert case.files.get(("d", "b")) == b"a"
    assert client.ask("RNFR d").startswith("350")
    assert client.ask("RNTO d/e").startswith("553")
    case.permissions = case.permissions - {"d"}
    case.files.put(("a",), b"a")
    client = case.user()
    assert client.ask("RNFR a").startswith("350")
    assert client.ask("RNTO d/b").startswith("550")


def test_times_and_modes(case: Case) -> None:
    client = case.user()
    case.files.put(("a",), b"12345")
    assert client.ask("MFMT 20200102030405 a") == "213 Modify=20200102030405; a"
    assert client.ask("MDTM a") == "213 20200102030405"
    assert client.ask("SITE CHMOD 600 a").startswith("200")
    assert "unix.mode=0600" in client.ask("MLST a")
    assert client.ask("TYPE I").startswith("200")
    assert client.ask("SIZE a") == "213 5"
    assert client.ask("SIZE /").startswith("550")
    assert client.ask("DELE a").startswith("250")
    assert client.ask("DELE a").startswith("550")


def test_permissions(case: Case) -> None:
    case.permissions = frozenset("lr")
    case.files.put(("a",), b"a")
    client = case.user()
    for command in ("CWD /", "DELE a", "RNFR a", "MKD b", "RMD b", "STOR a", "APPE a", "STOU", "MFMT 2 a"):
        assert client.ask(command) == "550 Permission denied.", command
    assert client.ask("SITE CHMOD 600 a") == "550 Permission denied."
    assert client.fetch("RETR a") == b"a"
    assert b"perm=r;" in client.fetch("MLSD")
    case.permissions = frozenset("e")
    client = case.user()
    for command in ("LIST", "STAT a", "MLST", "SIZE a", "RETR a"):
        assert client.ask(command) == "550 Permission denied.", command


def test_status_shows_a_folder_within_limits(case: Case) -> None:
    case.limit(status=3)
    for number in range(5):
        case.files.put((f"f{number}",), b"")
    client = case.user()
    reply = client.ask("STAT /")
    assert reply.startswith("213-The listing:\n-rw")
    assert reply.count("\n") == 4
    assert reply.endswith("213 There is more: use LIST.")
    assert client.ask("STAT f1").endswith(" f1\n213 End.")
    assert client.ask("STAT x").startswith("550")


def test_reinitialising_forgets_all(case: Case) -> None:
    client = case.user()
    client.ask("TYPE I")
    client.ask("EPSV ALL")
    assert client.ask("REIN").startswith("220")
    assert client.ask("PWD").startswith("530")
    client.log_in()
    assert "Type A" in client.ask("STAT")
    assert client.ask("PASV").startswith("227")


def test_commands_before_the_end_are_answered(case: Case) -> None:
    client = case.client()
    client.send("USER tom\r\nPASS right\r\nPWD\r\n")
    client.control.transport.write_eof()
    replies = [client.read()[:3] for _ in range(4)]
    assert replies == ["331", "230", "257", "221"]
    client.wait_for_end()


def test_a_drained_server_says_goodbye(case: Case) -> None:
    idle, busy = case.user(), case.user()
    data = busy.connect()
    assert busy.ask("STOR a").startswith("150")
    for server in case.servers:
        server.drain()
    assert idle.read() == "421 The server is being stopped."
    idle.wait_for_end()
    data.transport.write(b"the rest")
    data.transport.close()
    assert busy.read().startswith("226")
    assert busy.read().startswith("421")
    busy.wait_for_end()
    assert case.files.get(("a",)) == b"the rest"


def test_quit_waits_for_the_transfer(case: Case) -> None:
    client = case.user()
    data = client.connect()
    assert client.ask("STOR a").startswith("150")
    client.send("QUIT\r\n")
    for _ in range(3):
        case.reactor.step()
    data.transport.close()
    assert client.read().startswith("226")
    assert client.read().startswith("221")
    client.wait_for_end()


def test_a_client_that_goes_leaves_nothing(case: Case) -> None:
    client = case.user()
    data = client.connect()
    assert client.ask("STOR a").startswith("150")
    data.transport.write(b"some")
    client.control.transport.abort()
    wait_until(case.reactor, lambda: data.lost)
