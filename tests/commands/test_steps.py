"""The steps of a start that need no process of their own."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
import typing

import pytest

from portable.commands import loading, privileges
from portable.commands.daemon import Daemon, daemonize
from portable.commands.pidfile import PidFile
from portable.commands.privileges import Identity, drop_privileges, find_identity
from portable.commands.systemd import Notifier, adopt_sockets
from portable.commands.usage import CommandError, one_line, run_command
from portable.errors import ConfigurationError
from portable.options import Kind, Option
from portable.service import Service
from portable.tap import Tap, make_entry
from tests.commands.processes import ROOT

if typing.TYPE_CHECKING:
    import pathlib
    from collections.abc import Callable, Sequence

# --- The pid file -----------------------------------------------------------------------------------------


def test_a_pid_file_is_written_and_removed(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "x.pid"
    pidfile = PidFile(str(path))
    pidfile.refuse_live()
    pidfile.create()
    assert path.read_text() == f"{os.getpid()}\n"
    assert os.listdir(tmp_path) == ["x.pid"]
    pidfile.remove()
    pidfile.remove()
    assert os.listdir(tmp_path) == []


def test_somebody_elses_pid_file_is_not_removed(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "x.pid"
    pidfile = PidFile(str(path))
    pidfile.create()
    path.unlink()
    path.write_text("1\n")
    pidfile.remove()
    assert path.read_text() == "1\n"
    pidfile = PidFile(str(tmp_path / "y.pid"))
    pidfile.create()
    (tmp_path / "y.pid").unlink()
    pidfile.remove()


def test_a_pid_file_that_came_since_the_check_is_refused(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "x.pid"
    pidfile = PidFile(str(path))
    pidfile.refuse_live()
    path.write_text(f"{os.getppid()}\n")
    with pytest.raises(CommandError, match="another server is running"):
        pidfile.create()
    assert path.read_text() == f"{os.getppid()}\n"


@pytest.mark.parametrize("content", ["", "\n", "SELF\n", "9999999999\n"])
def test_a_stale_file_is_replaced(tmp_path: pathlib.Path, content: str) -> None:
    path = tmp_path / "x.pid"
    path.write_text(content.replace("SELF", str(os.getpid())))
    PidFile(str(path)).create()
    assert path.read_text() == f"{os.getpid()}\n"


def test_a_zombie_is_no_live_server(tmp_path: pathlib.Path) -> None:
    # A name that looks like the end of the name, and a state.
    (tmp_path / "x) S (").symlink_to("/bin/true")
    with subprocess.Popen([str(tmp_path / "x) S (")]) as ended:
        os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
        path = tmp_path / "x.pid"
        path.write_text(f"{ended.pid}\n")
        PidFile(str(path)).create()
        assert path.read_text() == f"{os.getpid()}\n"


def test_a_system_that_tells_no_states_has_no_zombies(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*words: object, **more: object) -> typing.NoReturn:
        raise FileNotFoundError

    path = tmp_path / "x.pid"
    path.write_text(f"{os.getppid()}\n")
    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(CommandError, match="another server is running"):
        PidFile(str(path)).refuse_live()


def test_a_process_of_another_user_is_alive(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(pid: int, signum: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", refuse)
    (tmp_path / "x.pid").write_text("1\n")
    with pytest.raises(CommandError, match="another server is running"):
        PidFile(str(tmp_path / "x.pid")).refuse_live()


def test_a_fifo_is_no_pid_file(tmp_path: pathlib.Path) -> None:
    os.mkfifo(tmp_path / "x.pid")
    with pytest.raises(CommandError, match="is not a regular file"):
        PidFile(str(tmp_path / "x.pid")).refuse_live()


def test_a_pid_file_that_cannot_be_linked_leaves_nothing(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*words: object, **more: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(CommandError, match="cannot write the pid file"):
        PidFile(str(tmp_path / "x.pid")).create()
    assert os.listdir(tmp_path) == []


def test_a_pid_file_that_cannot_be_removed_is_emptied(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pidfile = PidFile(str(tmp_path / "x.pid"))
    pidfile.create()

    def refuse(*words: object, **more: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "unlink", refuse)
    pidfile.remove()
    assert (tmp_path / "x.pid").read_text() == ""


# --- Privileges -------------------------------------------------------------------------------------------


def test_identities() -> None:
    assert find_identity(None, None) is None
    assert find_identity("root", None) == Identity(0, 0, "root")
    assert find_identity(0, 5) == Identity(0, 5, "root")
    assert find_identity("root", "root") == Identity(0, 0, "root")
    assert find_identity(4_000_000, 7) == Identity(4_000_000, 7, "")
    mine = find_identity(None, 7)
    assert mine is not None
    assert (mine.uid, mine.gid) == (os.getuid(), 7)


class System:
    """The calls that change who a process is, and what they were asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, euid: int = 0) -> None:
        self.calls: list[tuple[object, ...]] = []
        self.ids = [(0, 0, 0), (0, 0, 0)]
        self.root_again = False
        for name in ("initgroups", "setgroups", "setresgid", "setresuid"):
            monkeypatch.setattr(os, name, self._record(name))
        monkeypatch.setattr(os, "geteuid", lambda: euid)
        monkeypatch.setattr(os, "getresuid", lambda: self.ids[0])
        monkeypatch.setattr(os, "getresgid", lambda: self.ids[1])
        monkeypatch.setattr(os, "setuid", self._setuid)

    def _record(self, name: str) -> Callable[..., None]:
        def call(*words: typing.Any) -> None:
            self.calls.append((name, *words))
            if name == "setresuid":
                self.ids[0] = words
            elif name == "setresgid":
                self.ids[1] = words

        return call

    def _setuid(self, uid: int) -> None:
        if not self.root_again:
            raise PermissionError


def test_groups_go_first_and_the_user_last(monkeypatch: pytest.MonkeyPatch) -> None:
    system = System(monkeypatch)
    drop_privileges(Identity(5, 6, "www"))
    assert system.calls == [("initgroups", "www", 6), ("setresgid", 6, 6, 6), ("setresuid", 5, 5, 5)]
    system.calls.clear()
    drop_privileges(Identity(5, 6, ""))
    assert system.calls[0] == ("setgroups", [6])


def test_a_drop_that_does_not_hold_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    system = System(monkeypatch)
    system.root_again = True
    with pytest.raises(CommandError, match="become root again"):
        drop_privileges(Identity(5, 6, ""))
    drop_privileges(Identity(0, 6, ""))
    monkeypatch.setattr(os, "setresuid", lambda *ids: None)
    with pytest.raises(CommandError, match="did not make us"):
        drop_privileges(Identity(5, 6, ""))


def test_a_drop_that_the_system_refuses_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    System(monkeypatch)

    def refuse(*ids: int) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "setresgid", refuse)
    with pytest.raises(CommandError, match="cannot become uid 5 gid 6"):
        drop_privileges(Identity(5, 6, ""))


def test_who_is_not_root_can_only_stay_who_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    system = System(monkeypatch, euid=1000)
    drop_privileges(Identity(os.getuid(), os.getgid(), ""))
    assert system.calls == []
    with pytest.raises(CommandError, match="only root can change to uid"):
        privileges.drop_privileges(Identity(os.getuid() + 1, os.getgid(), ""))


# --- Loading ----------------------------------------------------------------------------------------------


def refuse_nine(values: typing.Mapping[str, typing.Any]) -> Service:
    if values["number"] == 9:
        raise ConfigurationError("nine is refused")
    return Service("x")


SECRETIVE = Kind(
    "secretive",
    1,
    "",
    (
        Option("number", "int", 1, ""),
        Option("word", "str", None, "", secret=True),
        Option("words", "str", (), "", repeatable=True, secret=True),
        Option("file", "path", None, "", must_exist=True),
    ),
    refuse_nine,
)


def loaded(monkeypatch: pytest.MonkeyPatch, *given: dict[str, typing.Any]) -> loading.Application:
    """Return what is loaded from a file with a service for each of `given`."""
    found = Tap(tuple([make_entry(SECRETIVE, one) for one in given]))
    monkeypatch.setattr(loading, "load_tap", lambda path: found)
    return loading.load_tap_file("x.tap")


def test_secrets_are_told_to_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    application = loaded(monkeypatch, {"word": "sesame"}, {"words": ["a", "b"]}, {})
    assert application.secrets == ("sesame", "a", "b")
    assert len(application.service.children) == 3


def test_what_is_missing_when_it_runs_is_named_with_file_and_place(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    application = loaded(monkeypatch, {}, {"file": str(tmp_path / "gone")})
    with pytest.raises(ConfigurationError, match=r"x\.tap: services\[1\]\.options\.file: "):
        application.verify()
    with pytest.raises(ConfigurationError, match=r"x\.tap: services\[0\]: nine is refused"):
        loaded(monkeypatch, {"number": 9})


def test_what_is_imported_late_is_there_before_the_root_changes() -> None:
    program = """
import sys
import backends.select
from portable.commands.loading import import_the_rest
late = {"backends.sockets.process", "encodings.idna", "encodings.cp1252"}
assert not late & sys.modules.keys()
import_the_rest()
assert late <= sys.modules.keys()
"""
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, timeout=20)


# --- systemd ----------------------------------------------------------------------------------------------


def test_an_abstract_notify_socket() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(b"\0portable-test-%d" % os.getpid())
        environ = {"NOTIFY_SOCKET": f"@portable-test-{os.getpid()}", "KEEP": "1"}
        notifier = Notifier(environ)
        assert environ == {"KEEP": "1"}
        notifier.ready()
        assert notify.recv(100) == f"READY=1\nMAINPID={os.getpid()}".encode()
        notifier.close()
        notifier.close()
        notifier.stopping()


def test_a_notify_socket_that_is_gone_is_one_warning(
    tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    Notifier({"NOTIFY_SOCKET": str(tmp_path / "gone")}).ready()
    assert "cannot reach systemd" in caplog.text
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(str(tmp_path / "n"))
        notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "n")})
    notifier.ready()
    notifier.stopping()
    notifier.close()
    assert caplog.text.count("does not take our messages") == 1


@pytest.mark.parametrize(
    "environ",
    [{"WATCHDOG_USEC": "x"}, {"WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1"}, {"WATCHDOG_USEC": "1000"}],
)
def test_no_watchdog_without_a_socket_or_for_another_process(environ: dict[str, str]) -> None:
    # The reactor is never asked for a timer.
    Notifier(environ).watch(typing.cast("typing.Any", None))


def test_sockets_given_to_our_former_self_are_ours() -> None:
    environ = {"LISTEN_PID": "7"}
    adopt_sockets(environ, 8)
    assert environ == {"LISTEN_PID": "7"}
    adopt_sockets(environ, 7)
    assert environ == {"LISTEN_PID": str(os.getpid())}


# --- Errors and exits -------------------------------------------------------------------------------------


def test_news_for_a_parent_that_was_killed_are_nobodys() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    Daemon(writing).failed("too late")


def test_a_system_out_of_processes_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> int:
        raise OSError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", refuse)
    with pytest.raises(CommandError, match="cannot start a process"):
        daemonize()


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ConfigurationError("no\nsuch", "x"), "x: no\\x0asuch"),
        (FileNotFoundError(errno.ENOENT, "No such file", "a b"), "a b: No such file"),
        (OSError("odd"), "odd"),
        (ZeroDivisionError("x"), "ZeroDivisionError: x (this is a bug; --debug shows where)"),
    ],
)
def test_every_error_is_one_line(error: Exception, text: str) -> None:
    assert one_line(error) == text


def test_an_interrupted_command(capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt(_: Sequence[str]) -> int:
        raise KeyboardInterrupt

    assert run_command("x", interrupt, []) == 1
    assert capsys.readouterr().err == "x: interrupted\n"
