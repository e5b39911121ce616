"""`twistd` where it runs nothing: what it refuses, and what it tells."""

from __future__ import annotations

import os
import typing

import pytest

from portable.commands import twistd
from tests.commands.processes import refused

if typing.TYPE_CHECKING:
    from tests.commands.processes import Folder


def test_a_live_pid_file_is_refused_and_left_alone(talk: Folder) -> None:
    (talk.path / "twistd.pid").write_text(f"{os.getpid()}\n")
    text = refused(talk, "-y", "app.py")
    assert f"process {os.getpid()}" in text
    assert talk.names() == ["app.py", "twistd.pid"]


@pytest.mark.parametrize("content", ["nonsense", "-1\n", "0\n", "12 34\n", "99999999999999\n"])
def test_a_pid_file_that_is_none_is_refused_and_left_alone(talk: Folder, content: str) -> None:
    (talk.path / "twistd.pid").write_text(content)
    assert "is not a pid file" in refused(talk, "-y", "app.py")
    assert talk.read("twistd.pid") == content


def test_a_pid_file_that_is_a_link_is_refused(talk: Folder) -> None:
    (talk.path / "target").write_text("1\n")
    (talk.path / "twistd.pid").symlink_to("target")
    assert "symbolic link" in refused(talk, "-y", "app.py")
    assert talk.read("target") == "1\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-l", "-"], "a daemon has no standard output"),
        (["-f", "a.tap", "-y", "app.py"], "not allowed with"),
        (["--umask", "8"], "--umask"),
        (["--drain", "soon"], "--drain"),
        (["--log-format", "xml"], "--log-format"),
        (["extra"], "unrecognized arguments"),
    ],
)
def test_wrong_usage_is_status_2(folder: Folder, words: list[str], message: str) -> None:
    assert message in refused(folder, *words, status=2)


def test_what_cannot_be_loaded_is_refused(talk: Folder) -> None:
    (talk.path / "bad.tap").write_text('{"format": "portable-tap"}')
    (talk.path / "fails.py").write_text("1 / 0\n")
    (talk.path / "empty.py").write_text("application = 7\n")
    assert "twistd.tap': name another file with -f, or make one with mktap" in refused(talk)
    assert "No such file or directory; mktap KIND --output FILE makes one" in refused(talk, "-f", "gone.tap")
    os.mkfifo(talk.path / "fifo")
    assert "fifo': Invalid argument: it is no regular file" in refused(talk, "-f", "fifo")
    assert "Is a directory; name the file in it" in refused(talk, "-f", ".")
    assert "bad.tap: version: this field is missing" in refused(talk, "-f", "bad.tap")
    assert "ZeroDivisionError" in refused(talk, "-y", "fails.py")
    (talk.path / "exits.py").write_text("raise SystemExit(3)")
    assert "exits.py: it calls sys.exit" in refused(talk, "-y", "exits.py")
    assert "must define 'application'" in refused(talk, "-y", "empty.py")
    assert "there is no such file" in refused(talk, "-y", "gone.py")
    assert "there is no reactor 'fast'" in refused(talk, "-y", "app.py", "-r", "fast")
    assert "no user 'no-such-user'" in refused(talk, "-y", "app.py", "--uid", "no-such-user")
    assert "log file" in refused(talk, "-y", "app.py", "-l", "no/such/folder/x.log")
    assert "--rundir: 'no/such': No such file" in refused(talk, "-y", "app.py", "-d", "no/such")
    assert "--chroot: 'no/such' is not a folder" in refused(talk, "-y", "app.py", "--chroot", "no/such")
    assert "pid file" in refused(talk, "-y", "app.py", "--pidfile", "no/such/x.pid")
    assert "twistd.pid" not in talk.names()


def test_debug_gives_the_traceback(talk: Folder) -> None:
    done = talk.run("twistd", "--debug", "-f", "gone.tap")
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback")


def test_check_says_what_would_be_bound_and_touches_nothing(folder: Folder) -> None:
    folder.mktap("-o", "twistd.tap", "portforward", "-p", "7777", "--to", "tcp:127.0.0.1:1")
    folder.mktap("-a", "twistd.tap", "inetd", "--services", "echo", "--udp", "--port-base", "100")
    done = folder.run("twistd", "--check")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "would listen: portforward tcp:7777",
        "would listen: echo tcp:107:interface=127.0.0.1",
        "would listen: echo udp:107:interface=127.0.0.1",
    ]
    assert folder.names() == ["twistd.tap"]
    assert "gone.tap" in refused(folder, "--check", "-f", "gone.tap")


def test_check_finds_what_would_fail_at_the_start_or_the_end(talk: Folder) -> None:
    (talk.path / "hidden").mkdir()
    (talk.path / "hidden" / "prometheus_client.py").write_text("raise ImportError\n")
    path = f"{talk.path / 'hidden'}{os.pathsep}{talk.environ['PYTHONPATH']}"
    words = ("--check", "-y", "app.py")
    assert "pip install" in refused(talk, *words, "--metrics", "tcp:0", PYTHONPATH=path)
    assert "--profile: no file can be made in " in refused(talk, *words, "--profile", "no/such/profile")
    (talk.path / "logs").mkdir()
    talk.mktap("web", "--path", ".", "--logfile", "logs/web.log")
    (talk.path / "logs").rmdir()
    for check in ((), ("--check",)):
        assert "web.tap: services[0].options.logfile: '" in refused(talk, *check, "-f", "web.tap")


def test_reactors_are_listed(folder: Folder) -> None:
    done = folder.run("twistd", "--reactors")
    assert done.returncode == 0
    assert ["select", "can", "run", "here"] in [line.split() for line in done.stdout.splitlines()]


def test_version_and_help(folder: Folder) -> None:
    assert folder.run("twistd", "--version").stdout.startswith("twistd (Portable)")
    assert "SIGHUP" in folder.run("twistd", "--help").stdout


def test_wrong_usage_without_a_process(capsys: pytest.CaptureFixture[str]) -> None:
    assert twistd.main(["--umask", "x"]) == 2
    assert capsys.readouterr().err.startswith("twistd: --umask")
