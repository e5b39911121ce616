"""The contract of child processes."""

from __future__ import annotations

import errno
import os
import signal
import sys
import typing

import pytest

from portable.errors import FileError
from portable.process import ProcessProtocol
from portable.testing import wait_until

if typing.TYPE_CHECKING:
    import pathlib
    from collections.abc import Mapping

    from portable.errors import TransportError
    from portable.process import Process
    from portable.reactor import Reactor

ENV = {"PATH": os.environ.get("PATH", os.defpath)}


class Parent(ProcessProtocol):
    """Records every call, and judges their order."""

    def __init__(self) -> None:
        self.output = {1: bytearray(), 2: bytearray()}
        self.closed: dict[int, TransportError | None] = {}
        self.returncode: int | None = None
        self.lost = False
        self.pauses: list[str] = []
        self.process: Process

    def connection_made(self, process: Process) -> None:
        assert not hasattr(self, "process")
        self.process = process

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        assert not self.lost
        assert fd not in self.closed
        assert data
        self.output[fd] += data

    def pipe_connection_lost(self, fd: int, exc: TransportError | None) -> None:
        assert not self.lost
        assert fd not in self.closed
        self.closed[fd] = exc

    def pause_writing(self) -> None:
        assert 0 not in self.closed
        self.pauses.append("pause")

    def resume_writing(self) -> None:
        assert 0 not in self.closed
        self.pauses.append("resume")

    def process_exited(self, returncode: int) -> None:
        assert not self.lost
        assert self.returncode is None
        assert self.process.returncode == returncode
        self.returncode = returncode

    def connection_lost(self) -> None:
        assert not self.lost
        assert self.returncode is not None
        self.lost = True


@pytest.fixture
def processes(reactor: Reactor) -> Reactor:
    if "processes" not in reactor.capabilities:
        pytest.skip("no processes here")
    return reactor


def start(
    reactor: Reactor,
    *argv: str,
    env: Mapping[str, str] = ENV,
    cwd: str | None = None,
    merge_stderr: bool = False,
) -> Parent:
    parent = Parent()
    process = reactor.spawn(lambda: parent, argv, env=env, cwd=cwd, merge_stderr=merge_stderr)
    assert process.returncode is None
    wait_until(reactor, lambda: hasattr(parent, "process"))
    assert parent.process is process
    return parent


def shell(reactor: Reactor, script: str, **options: typing.Any) -> Parent:
    return start(reactor, "/bin/sh", "-c", script, **options)


def ended(reactor: Reactor, parent: Parent, seconds: float = 20) -> None:
    wait_until(reactor, lambda: parent.lost, seconds, what="the end of a child")


def test_three_pipes(processes: Reactor) -> None:
    """Input goes in, output and errors come out apart; each pipe's end is told once, then the end."""
    parent = shell(processes, "cat; echo error >&2")
    parent.process.stdin.write(b"through the child")
    parent.process.stdin.close()
    ended(processes, parent)
    assert parent.output == {1: b"through the child", 2: b"error\n"}
    assert parent.closed == {0: None, 1: None, 2: None}
    assert parent.returncode == parent.process.returncode == 0


@pytest.mark.parametrize("status", [0, 1, 77, 255])
def test_exit_status(processes: Reactor, status: int) -> None:
    """As the child gave it."""
    parent = shell(processes, f"exit {status}")
    ended(processes, parent)
    assert parent.returncode == status


def test_death_by_a_signal(processes: Reactor) -> None:
    """Minus the signal's number; send_signal to a dead child does nothing."""
    parent = start(processes, "sleep", "1000")
    parent.process.send_signal(signal.SIGTERM)
    ended(processes, parent)
    assert parent.returncode == -signal.SIGTERM
    parent.process.send_signal(signal.SIGTERM)
    parent.process.kill_group(signal.SIGKILL)


def test_kill_group_reaches_grandchildren(processes: Reactor) -> None:
    """Also when the child itself has ended: its output stays open as long as a grandchild has it."""
    parent = shell(processes, "sleep 1000 & echo started; exit 0")
    wait_until(processes, lambda: parent.returncode == 0 and parent.output[1])
    assert not parent.lost
    parent.process.kill_group(signal.SIGKILL)
    ended(processes, parent)


def test_environment_and_folder(processes: Reactor, tmp_path: pathlib.Path) -> None:
    """`env` is all that the child gets; `cwd` is where it starts."""
    parent = shell(
        processes, 'echo "$GREETING,$HOME,$(pwd)"', env={"GREETING": "hello", **ENV}, cwd=str(tmp_path)
    )
    ended(processes, parent)
    assert parent.output[1] == f"hello,,{tmp_path}\n".encode()


def test_merged_errors(processes: Reactor) -> None:
    """Both in one stream, in the order they were written."""
    parent = shell(processes, "echo one; echo two >&2; echo three", merge_stderr=True)
    ended(processes, parent)
    assert parent.output == {1: b"one\ntwo\nthree\n", 2: b""}


@pytest.mark.parametrize(
    ("program", "code"), [("no-such-program", "ENOENT"), ("/no/such", "ENOENT"), ("/", "EACCES")]
)
def test_a_program_that_cannot_be_started(processes: Reactor, program: str, code: str) -> None:
    """FileError with the code, from spawn itself."""
    with pytest.raises(FileError) as caught:
        processes.spawn(Parent, [program], env=ENV)
    assert caught.value.code == code


def test_a_folder_that_is_not_there(processes: Reactor, tmp_path: pathlib.Path) -> None:
    """FileError likewise."""
    with pytest.raises(FileError):
        processes.spawn(Parent, ["true"], env=ENV, cwd=str(tmp_path / "missing"))


def test_large_input_and_output_at_once(processes: Reactor) -> None:
    """5 MB through `cat`: neither side waits for the other forever."""
    parent = start(processes, "cat")
    data = bytes(range(256)) * 20_000
    parent.process.stdin.write(data)
    parent.process.stdin.close()
    ended(processes, parent)
    assert parent.output[1] == data


def test_pause_reading_makes_the_child_wait(processes: Reactor) -> None:
    """Its pipe fills up; resume_reading lets it go on."""
    parent = shell(processes, "head -c 1000000 /dev/zero; echo done >&2")
    parent.process.pause_reading(1)
    size = -1
    while size != len(parent.output[1]):
        size = len(parent.output[1])
        processes.step(0.02)
    assert size < 1_000_000
    assert parent.output[2] == b""
    parent.process.resume_reading(1)
    ended(processes, parent)
    assert len(parent.output[1]) == 1_000_000


def test_a_child_that_does_not_read_pauses_who_writes_to_it(processes: Reactor) -> None:
    """Once its pipe and our buffer are full; when it reads, writing may go on."""
    parent = shell(processes, "cat >/dev/null")
    parent.process.kill_group(signal.SIGSTOP)
    while not parent.pauses:
        parent.process.stdin.write(b"x" * 100_000)
        processes.step(0.01)
    assert parent.pauses == ["pause"]
    parent.process.kill_group(signal.SIGCONT)
    wait_until(processes, lambda: parent.pauses == ["pause", "resume"])
    parent.process.stdin.close()
    ended(processes, parent)


def test_writing_to_a_child_that_has_closed_its_input(processes: Reactor) -> None:
    """The pipe's end is told; nothing is raised, and the child goes on."""
    parent = shell(processes, "exec 0<&-; echo closed; read x <&1; sleep 1000")
    wait_until(processes, lambda: parent.output[1])

    def write() -> bool:
        parent.process.stdin.write(b"x" * 1000)
        return 0 in parent.closed

    wait_until(processes, write)
    assert parent.returncode is None
    parent.process.kill_group(signal.SIGKILL)
    ended(processes, parent)


def test_a_child_that_closes_its_output_early(processes: Reactor) -> None:
    """The ends of its pipes come before its own."""
    parent = shell(processes, "exec 1>&- 2>&-; read x; exit 3")
    wait_until(processes, lambda: {1, 2} <= parent.closed.keys())
    assert parent.returncode is None
    parent.process.stdin.write(b"\n")
    ended(processes, parent)
    assert parent.returncode == 3


def test_no_other_descriptor_is_inherited(processes: Reactor) -> None:
    """Only 0, 1 and 2."""
    script = "import os; print([n for n in range(3, 256) if os.path.exists(f'/proc/self/fd/{n}')])"
    reading, writing = os.pipe()
    os.set_inheritable(writing, True)
    parent = start(processes, sys.executable, "-I", "-S", "-c", script)
    os.close(reading)
    os.close(writing)
    ended(processes, parent)
    # The listing tests each number by itself, so it opens none.
    assert parent.output[1] == b"[]\n"


def test_the_child_has_a_process_group_of_its_own(processes: Reactor) -> None:
    """A signal to our group, such as the terminal's, does not reach it."""
    parent = start(processes, "sleep", "1000")
    assert os.getpgid(parent.process.pid) == parent.process.pid != os.getpgrp()
    parent.process.kill_group(signal.SIGTERM)
    ended(processes, parent)


def test_closing_the_reactor_ends_the_children(processes: Reactor) -> None:
    """Nobody would ever read from them again."""
    parent = start(processes, "sleep", "1000")
    pid = parent.process.pid
    processes.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_many_children_leave_nothing_behind(processes: Reactor) -> None:
    """1,000, fifty at a time; the `reactor` fixture looks for descriptors and threads."""
    for _ in range(20):
        parents = [start(processes, "/bin/true") for _ in range(50)]
        for parent in parents:
            ended(processes, parent)
            assert parent.returncode == 0
            with pytest.raises(ChildProcessError):
                os.waitpid(parent.process.pid, os.WNOHANG)


@pytest.mark.parametrize("descriptors", [True, False])
def test_close_kills_the_children(
    processes: Reactor, monkeypatch: pytest.MonkeyPatch, descriptors: bool
) -> None:
    """Also where the system has no descriptors for processes, and a thread waits for the child."""

    def no_descriptor(pid: int, flags: int = 0) -> int:
        raise OSError(errno.ENOSYS, "no process descriptors")

    if not descriptors:
        monkeypatch.setattr(os, "pidfd_open", no_descriptor, raising=False)
    parent = Parent()
    processes.spawn(lambda: parent, ["sleep", "60"], env=ENV)
    wait_until(processes, lambda: hasattr(parent, "process"))
    processes.close()
    assert parent.returncode == -signal.SIGKILL
    assert parent.lost


def test_close_pipes_ends_what_a_daemon_holds_open(processes: Reactor) -> None:
    """It has left the group, so no signal reaches it; but the ends of the pipes are told, and then the end."""
    parent = shell(processes, "setsid sh -c 'echo $$; exec sleep 1000' &")
    wait_until(processes, lambda: parent.returncode == 0 and parent.output[1])
    daemon = int(parent.output[1])
    try:
        parent.process.kill_group(signal.SIGKILL)
        for _ in range(5):
            processes.step(0.01)
        assert not parent.lost
        parent.process.close_pipes()
        ended(processes, parent)
        assert parent.closed == {0: None, 1: None, 2: None}
        parent.process.close_pipes()
    finally:
        os.kill(daemon, signal.SIGKILL)


@pytest.mark.parametrize("argv", [["tr\0ue"], ["true", "\0"], ["true", "\ud800"]])
def test_what_the_system_cannot_be_told(processes: Reactor, argv: list[str]) -> None:
    """FileError, as for all else that cannot be started."""
    with pytest.raises(FileError) as caught:
        processes.spawn(Parent, argv, env=ENV)
    assert caught.value.code == "EINVAL"


def test_a_group_of_another_user_is_left_alone(processes: Reactor, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program may give itself other rights, and then may not be signalled."""
    parent = start(processes, "sleep", "1000")

    def refuse(group: int, signum: int) -> None:
        raise PermissionError(errno.EPERM, "not permitted")

    with monkeypatch.context() as patch:
        patch.setattr(os, "killpg", refuse)
        parent.process.kill_group(signal.SIGKILL)
    parent.process.kill_group(signal.SIGKILL)
    ended(processes, parent)
