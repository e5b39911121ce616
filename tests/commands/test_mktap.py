from __future__ import annotations

import getpass
import io
import json
import os
import random
import signal
import stat
import subprocess
import sys
import typing

import pytest

from portable.accounts import account_options
from portable.commands import mktap
from portable.commands.usage import Parser, UsageError
from portable.options import Kind, Option
from portable.passwords import hash_password, verify_password
from portable.service import Service
from portable.tap import load_tap

if typing.TYPE_CHECKING:
    from tests.commands.processes import Folder

FORWARD = ("portforward", "--port", "0", "--to", "tcp:127.0.0.1:1")


@pytest.fixture
def here(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> Folder:
    """The folder, as this process's current one, for tests that call `main` directly."""
    monkeypatch.chdir(folder.path)
    return folder


def test_it_writes_a_file_named_after_the_kind(folder: Folder) -> None:
    folder.mktap(*FORWARD)
    assert folder.names() == ["portforward.tap"]
    document = json.loads(folder.read("portforward.tap"))
    assert document["services"] == [
        {"kind": "portforward", "version": 1, "options": {"to": "tcp:127.0.0.1:1", "port": 0}}
    ]
    assert stat.S_IMODE(os.stat(folder.path / "portforward.tap").st_mode) == 0o600


def test_append_adds_a_server_and_keeps_the_others(here: Folder) -> None:
    assert mktap.main(["--uid", "0", *FORWARD]) == 0
    assert mktap.main(["--append", "portforward.tap", "inetd", "--services", "echo"]) == 0
    loaded = load_tap("portforward.tap")
    assert [service.kind.name for service in loaded.services] == ["portforward", "inetd"]
    assert loaded.uid == 0
    assert mktap.main(["-a", "portforward.tap", "-o", "other.tap", "-g", "0", *FORWARD]) == 0
    assert len(load_tap("portforward.tap").services) == 2
    assert len(load_tap("other.tap").services) == 3
    assert load_tap("other.tap").gid == 0


def test_the_kinds_are_listed_with_one_line_each(folder: Folder) -> None:
    lines = folder.mktap("--list").splitlines()
    assert any(line.startswith("inetd ") for line in lines)
    assert any(line.startswith("portforward ") for line in lines)


def test_help_of_a_kind_is_made_from_its_options(here: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["portforward", "--help"], ["--help", "portforward"]):
        with pytest.raises(SystemExit) as caught:
            mktap.main(words)
        assert caught.value.code == 0
        text = " ".join(capsys.readouterr().out.split())
        assert (
            "-p PORT, --port PORT TCP port; 0 for any free one (default: 6666 unless --listen is given)" in text
        )
        assert "--handshake-timeout TIME" in text
        assert "in seconds; default: 30s" in text
        assert "(required)" in text


def test_help_and_version(folder: Folder) -> None:
    assert "mktap KIND --help" in folder.mktap("--help")
    assert folder.mktap("--version").startswith("mktap (Portable) ")
    assert folder.mktap("inetd", "--version").startswith("mktap (Portable) ")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "which kind of server? See mktap --list"),
        (["--append"], "expected one argument"),
        (["--append", "x.tap"], "which kind of server?"),
        (["--nonsense", "inetd"], "--nonsense"),
        (["nokind"], "there is no server kind 'nokind'; known are: "),
        (["portforward"], "--to: this option is required"),
        (["portforward", "--to", "tcp:1"], "--to: "),
        (["portforward", "--to", "tcp:h:1", "--port", "65536"], "--port: 65536 is not from 0 to 65535"),
        (["portforward", "--to", "tcp:h:1", "--po", "1"], "unrecognized arguments: --po 1"),
        (["portforward", "--to", "tcp:h:1", "more"], "unrecognized arguments: more"),
        (["portforward", "--to", "tcp:h:1", "--listen", "tcp:99999"], "--listen: "),
        (["portforward", "--port", "5", "--to", "tcp:localhost:5"], "forwarded to itself"),
        (["web"], "nothing to serve"),
        (["web", "--path", ".", "--index", "a/b"], "--index: "),
        (["inetd", "--services", "bogus"], "bogus"),
        (["web", "--path", ".", "--https", "0"], "--https: needs --certificate"),
        (["web", "--path", ".", "--privkey", "k.pem"], "--privkey: goes with --https"),
        (["web", "--path", ".", "--telnet-user", "a:b"], "--telnet-user: goes with --telnet"),
        (["web", "--path", "\udcff"], "--path: has a NUL character, or bytes that are no UTF-8"),
        (
            ["socks", "--allow-from", "10.0.0.1/8"],
            "'10.0.0.1/8' is no IP network; 10.0.0.0/8 is one",
        ),
        (["socks", "--allow-from", "x"], "--allow-from: 'x' is no IP network such as 10.0.0.0/8\n"),
        (["ftp", "--root", ".", "--anonymous", "--require-tls"], "--require-tls: needs --certificate"),
        (["ftp", "--root", ".", "--anonymous", "--masquerade", "x"], "--masquerade: 'x' is no IPv4 address"),
        (["ftp", "--root", "."], "nobody could log in"),
        (["finger"], "either --users FILE, or --system"),
        (["telnet"], "with an account"),
    ],
)
def test_wrong_usage_is_one_line_and_status_2(
    here: Folder, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert mktap.main(words) == 2
    text = capsys.readouterr().err
    assert text.startswith("mktap: ")
    assert message in text
    assert text.count("\n") == 1
    assert here.names() == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--append", "gone.tap", *FORWARD], "gone.tap"),
        (["--append", "bad.tap", *FORWARD], "bad.tap: not a .tap file"),
        (["--output", "no/such/folder.tap", *FORWARD], "no/such/folder.tap"),
        (["--uid", "no-such-user", *FORWARD], "--uid: this system has no user 'no-such-user'"),
        (["--gid", "no-such-group", *FORWARD], "--gid: this system has no group 'no-such-group'"),
        (["--uid", "4000000", *FORWARD], "add --gid"),
        (["web", "--path", "gone"], "--path: "),
        (["web", "--path", ".", "--logfile", "no/such/log"], "--logfile: "),
        (["socks", "--log", "no/such/log"], "--log: "),
        (["ftp", "--root", "bad.tap", "--anonymous"], "bad.tap' is not a folder"),
        (["ftp", "--root", ".", "--passwords", "bad.tap"], "bad.tap: it is not UTF-8 text"),
        (["ftp", "--root", ".", "--anonymous", "--certificate", "bad.tap"], "bad.tap: holds no certificate"),
        (["socks", "--log", "."], "is a folder"),
        (["socks", "--socks5", "--socks5-passwords", "bad.tap"], "bad.tap: it is not UTF-8 text"),
        (["telnet", "--passwords", "bad.tap"], "bad.tap: it is not UTF-8 text"),
        (["web", "--path", ".", "--https", "0", "--certificate", "bad.tap"], "bad.tap: holds no certificate"),
        (["web", "--path", ".", "--telnet", "0", "--telnet-passwords", "bad.tap"], "it is not UTF-8 text"),
        (
            ["web", "--path", ".", "--listen", "tls:0:certificate=gone"],
            "gone: cannot be read: there is no such file",
        ),
        (["finger", "--users", "/dev/null"], "'/dev/null': Invalid argument: it is no regular file"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_status_1(
    here: Folder, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (here.path / "bad.tap").write_bytes(b"\x80\x04pickle")
    assert mktap.main(words) == 1
    text = capsys.readouterr().err
    assert text.startswith("mktap: ")
    assert message in text
    assert text.count("\n") == 1
    assert here.names() == ["bad.tap"]


def test_debug_shows_the_traceback(folder: Folder) -> None:
    done = folder.run("mktap", "--append", "gone.tap", *FORWARD, "--debug")
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback")
    assert done.stderr.splitlines()[-1].startswith("mktap: ")


def test_a_reader_that_goes_away_is_no_error(folder: Folder) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        folder.argv("mktap", "--list"),
        cwd=folder.path,
        env=folder.environ,
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("word", ["--list", "--help"])
def test_output_that_cannot_be_written_is_an_error(folder: Folder, word: str) -> None:
    environ = {name: value for name, value in folder.environ.items() if name != "PYTHONUNBUFFERED"}
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = subprocess.run(
            folder.argv("mktap", word),
            cwd=folder.path,
            env=environ,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr == "mktap: cannot write to standard output: No space left on device\n"


def test_output_that_the_caller_has_closed_is_none(folder: Folder) -> None:
    command = ["sh", "-c", 'exec "$@" >&-', "sh", *folder.argv("mktap", "--list")]
    done = subprocess.run(
        command, cwd=folder.path, env=folder.environ, stderr=subprocess.PIPE, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def every_type(values: typing.Any) -> Service:
    return Service("x")


EVERY = Kind(
    "every",
    1,
    "Every type",
    (
        Option("text", "str", "100%", "A text"),
        Option("small", "int", 2, "A number", minimum=1, maximum=3, unit="apples"),
        Option("least", "int", 2, "A number", minimum=1),
        Option("most", "int", 2, "A number", maximum=3),
        Option("big", "size", 1024, "A size", minimum=1, maximum=2048),
        Option("wait", "duration", 60.0, "A time", minimum=1),
        Option("color", "choice", "red", "A color", choices=("red", "green")),
        Option("flag", "bool", True, "A flag"),
        Option("files", "path", (), "Files", repeatable=True, must_exist=True),
        Option("word", "str", "hidden", "A secret", secret=True),
    ),
    every_type,
)


def test_help_tells_defaults_units_and_limits() -> None:
    text = " ".join(mktap.kind_parser(EVERY).format_help().split())
    for part in (
        "--text TEXT A text (default: 100%)",
        "--small N A number (in apples; from 1 to 3; default: 2)",
        "--least N A number (at least 1; default: 2)",
        "--most N A number (at most 3; default: 2)",
        "--big SIZE A size (in bytes; from 1 to 2k; default: 1k)",
        "--wait TIME A time (in seconds; at least 1s; default: 1m)",
        "--color red|green A color (default: red)",
        "--flag, --no-flag A flag (default: yes)",
        "--files PATH Files (may be repeated)",
        "(default: ***)",
    ):
        assert part in text


def test_options_of_every_type_reach_the_file(here: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mktap, "find_kind", lambda name: EVERY)
    words = ["--big", "2k", "--wait", "2m", "--no-flag", "--files", "a", "--files", "b", "--color", "green"]
    (here.path / "a").touch()
    assert mktap.main(["every", *words]) == 1
    (here.path / "b").touch()
    assert mktap.main(["every", *words]) == 0
    options = json.loads(here.read("every.tap"))["services"][0]["options"]
    paths = [str(here.path / "a"), str(here.path / "b")]
    assert options == {"big": 2048, "wait": 120.0, "flag": False, "files": paths, "color": "green"}


def test_a_file_that_would_be_too_large_to_load_is_not_written(
    here: Folder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(mktap, "MAX_SIZE", 10)
    assert mktap.main(list(FORWARD)) == 1
    assert "more than 10 bytes" in capsys.readouterr().err
    assert here.names() == []


def test_a_broken_entry_point_is_named_beside_the_others(
    here: Folder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from portable.kinds import Kinds

    found = Kinds({"every": EVERY}, {"bad": "'bad' is no kind"})
    monkeypatch.setattr(mktap, "find_kinds", lambda: found)
    assert mktap.main(["--list"]) == 1
    out, err = capsys.readouterr()
    assert out == "every  Every type\n"
    assert err == "mktap: 'bad' is no kind\n"


def test_the_parser_takes_no_abbreviations() -> None:
    parser = Parser("x", "")
    parser.add_argument("--long")
    with pytest.raises(UsageError):
        parser.parse_args(["--lo", "1"])


# As often as the argument says: the whole command again and again, without a start of Python for each.
APPENDER = """
import sys
from portable.commands.mktap import main
words = ["--append", "x.tap", "portforward", "--to", "tcp:127.0.0.1:1"]
main(words)
sys.stdout.write("ready\\n")
sys.stdout.flush()
for _ in range(int(sys.argv[1])):
    main(words)
"""


def test_kill_while_appending_leaves_the_old_or_the_new_file_whole(folder: Folder) -> None:
    chance = random.Random(4)
    folder.mktap("--output", "x.tap", *FORWARD)
    for _ in range(15):
        count = len(load_tap(str(folder.path / "x.tap")).services)
        process = subprocess.Popen(
            [sys.executable, "-c", APPENDER, "1000"],
            cwd=folder.path,
            env=folder.environ,
            stdout=subprocess.PIPE,
        )
        assert process.stdout is not None
        process.stdout.readline()
        try:
            process.wait(chance.random() * 0.05)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
        process.stdout.close()
        process.wait()
        # It loads, so it is whole; nothing that was there before is gone.
        assert len(load_tap(str(folder.path / "x.tap")).services) >= count
    assert count > 1


def test_servers_that_are_appended_at_the_same_time_are_all_there(folder: Folder) -> None:
    folder.mktap("--output", "x.tap", *FORWARD)
    commands = [
        subprocess.Popen(
            [sys.executable, "-c", APPENDER, "4"], cwd=folder.path, env=folder.environ, stdout=subprocess.PIPE
        )
        for _ in range(4)
    ]
    for command in commands:
        command.communicate()
    assert [command.returncode for command in commands] == [0] * 4
    assert len(load_tap(str(folder.path / "x.tap")).services) == 1 + 4 * 5


def accounts_kind() -> Kind:
    return Kind("door", 1, "a door", account_options(), lambda values: Service("door"))


def test_a_password_on_the_command_line_is_hashed(here: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mktap, "find_kind", lambda name: accounts_kind())
    assert mktap.main(["door", "--user", "ann:se:cret", "--user", f"bob:{hash_password('other')}"]) == 0
    text = here.read("door.tap")
    assert "se:cret" not in text
    ann, bob = json.loads(text)["services"][0]["options"]["user"]
    assert verify_password("se:cret", ann.partition(":")[2])
    assert verify_password("other", bob.partition(":")[2])


def test_a_missing_password_is_read_from_standard_input(here: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mktap, "find_kind", lambda name: accounts_kind())
    monkeypatch.setattr(sys, "stdin", io.StringIO("first\r\nsecond\n"))
    assert mktap.main(["door", "--user", "ann", "--user", "bob"]) == 0
    ann, bob = json.loads(here.read("door.tap"))["services"][0]["options"]["user"]
    assert verify_password("first", ann.partition(":")[2])
    assert verify_password("second", bob.partition(":")[2])


def test_no_password_on_standard_input_is_said(
    here: Folder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(mktap, "find_kind", lambda name: accounts_kind())
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    assert mktap.main(["door", "--user", "ann"]) == 1
    assert "no password for 'ann' on standard input" in capsys.readouterr().err
    assert mktap.main(["door", "--user", "ann:"]) == 2
    assert "--user: account 'ann' has no password" in capsys.readouterr().err
    assert here.names() == []


@pytest.mark.parametrize(
    ("typed", "status", "told"),
    [
        (["secret", "secret"], 0, "ann:$scrypt$"),
        (["secret", "secrex"], 1, "two different passwords"),
        (["", ""], 1, "is empty"),
        ([], 1, "no password was given"),
    ],
)
def test_a_person_is_asked_twice(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    typed: list[str],
    status: int,
    told: str,
) -> None:
    def ask(prompt: str) -> str:
        if not typed:
            raise EOFError
        return typed.pop(0)

    monkeypatch.setattr(getpass, "getpass", ask)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    assert mktap.main(["--hash-password", "ann"]) == status
    output = capsys.readouterr()
    assert told in output.out + output.err
    assert "secre" not in output.out + output.err


def test_hash_password_prints_a_line_for_a_file_of_accounts(folder: Folder) -> None:
    name, _, hashed = folder.mktap("--hash-password", "ann:secret").strip().partition(":")
    assert name == "ann"
    assert verify_password("secret", hashed)
