"""The contract of Unix sockets and of listeners made by somebody else."""

from __future__ import annotations

import os
import socket
import stat
import threading
import typing

import pytest

from portable.errors import AddressInUse, ConnectError, ConnectionRefused, ListenError
from portable.testing import wait_for, wait_until
from portable.transport import Address
from tests.conformance.judge import End, port_of

if typing.TYPE_CHECKING:
    import pathlib

    from portable.reactor import Reactor


@pytest.fixture
def unix(reactor: Reactor) -> Reactor:
    if "unix" not in reactor.capabilities:
        pytest.skip("no Unix sockets here")
    return reactor


def test_there_and_back(unix: Reactor, tmp_path: pathlib.Path) -> None:
    """A stream like any other; the address is the path, "" for a client."""
    path = str(tmp_path / "s")
    server = End(on_data=lambda end, data: end.transport.write(data))
    listener = unix.listen_unix(lambda: server, path)
    assert listener.address == path
    client = wait_for(unix, unix.connect_unix(End, path))
    client.transport.write(b"hello")
    wait_until(unix, lambda: client.data == b"hello")
    assert client.transport.get_extra_info("peername") == path
    assert server.transport.get_extra_info("sockname") == path
    assert server.transport.get_extra_info("peername") == ""
    client.transport.write_eof()
    wait_until(unix, lambda: client.lost and server.lost)
    assert server.calls == ["made", "data", "eof", "lost"]


def test_pause_writing_comes_before_the_loop_waits(unix: Reactor, tmp_path: pathlib.Path) -> None:
    """Also if nothing else happens then: time-outs for slow readers begin there."""
    path = str(tmp_path / "socket")
    server = End()
    unix.listen_unix(lambda: server, path)
    with socket.socket(socket.AF_UNIX) as peer:
        peer.connect(path)
        wait_until(unix, lambda: server.made)
        server.transport.set_write_buffer_limits(0)
        paused: list[float] = []
        server.pause_writing = lambda: paused.append(unix.time())  # type: ignore[method-assign] # notes the time
        while not paused:
            written = unix.time()
            server.transport.write(bytes(100_000))
            unix.step(0.5)
        assert paused[0] - written < 0.3


def test_whose_the_other_end_is(unix: Reactor, tmp_path: pathlib.Path) -> None:
    """The user id, or None from a backend that cannot tell; never of a TCP connection, nor of a closed one."""
    path = str(tmp_path / "s")
    server = End()
    unix.listen_unix(lambda: server, path)
    client = wait_for(unix, unix.connect_unix(End, path))
    wait_until(unix, lambda: server.made)
    known = None if unix.name == "nio" or not hasattr(socket, "SO_PEERCRED") else os.getuid()
    for end in (client, server):
        assert end.transport.get_extra_info("peer_uid") == known
    client.transport.close()
    wait_until(unix, lambda: client.lost and server.lost)
    assert client.transport.get_extra_info("peer_uid") is None
    by_tcp = wait_for(unix, unix.connect(End, "127.0.0.1", port_of(unix.listen(End, "127.0.0.1"))))
    assert by_tcp.transport.get_extra_info("peer_uid") is None
    by_tcp.transport.abort()
    wait_until(unix, lambda: by_tcp.lost)


@pytest.mark.parametrize("mode", [0o600, 0o660, 0o777])
def test_mode(unix: Reactor, tmp_path: pathlib.Path, mode: int) -> None:
    """The file has its permissions before the first connection."""
    path = tmp_path / "s"
    unix.listen_unix(End, str(path), mode=mode)
    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_the_mode_of_other_files(unix: Reactor, tmp_path: pathlib.Path) -> None:
    """What other threads make while a listener gets its mode, can be used by who made it."""
    unusable: list[int] = []
    done = threading.Event()

    def make_files() -> None:
        while not done.is_set():
            path = tmp_path / "other"
            path.mkdir()
            mode = stat.S_IMODE(path.stat().st_mode)
            if mode & 0o700 != 0o700:
                unusable.append(mode)
            path.rmdir()

    maker = threading.Thread(target=make_files)
    maker.start()
    try:
        for _ in range(100):
            unix.listen_unix(End, str(tmp_path / "s"), mode=0o600).close()
    finally:
        done.set()
        maker.join()
    assert unusable == []


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
def test_nobody_connects_before_the_mode_is_right(
    unix: Reactor, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, mask: int
) -> None:
    """Until then the file gives no more rights to connect, or nobody listens; and the umask stays as it was."""
    path = tmp_path / "s"
    too_open: list[int] = []
    chmod = os.chmod

    def look(path: str, mode: int) -> None:
        before = stat.S_IMODE(os.stat(path).st_mode)
        with socket.socket(socket.AF_UNIX) as peer:
            if before & ~mode & 0o222 and not peer.connect_ex(path):
                too_open.append(before)
        chmod(path, mode)

    monkeypatch.setattr(os, "chmod", look)
    usual = os.umask(mask)
    try:
        unix.listen_unix(End, str(path), mode=0o660)
    finally:
        kept = os.umask(usual)
    assert kept == mask
    assert too_open == []
    assert stat.S_IMODE(path.stat().st_mode) == 0o660


def test_the_file_goes_with_the_listener(unix: Reactor, tmp_path: pathlib.Path) -> None:
    """close removes it; a second close does nothing, though another has the path then."""
    path = tmp_path / "s"
    first = unix.listen_unix(End, str(path))
    first.close()
    assert not path.exists()
    second = unix.listen_unix(End, str(path))
    first.close()
    assert path.exists()
    second.close()


def test_a_stale_file_is_replaced(unix: Reactor, tmp_path: pathlib.Path) -> None:
    """A socket file nobody listens on, as a crash leaves it."""
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    unix.listen_unix(End, str(path))
    client = wait_for(unix, unix.connect_unix(End, str(path)))
    assert client.made


def test_a_living_listener_is_not_replaced(unix: Reactor, tmp_path: pathlib.Path) -> None:
    """AddressInUse."""
    path = tmp_path / "s"
    unix.listen_unix(End, str(path))
    with pytest.raises(AddressInUse, match="s"):
        unix.listen_unix(End, str(path))
    assert wait_for(unix, unix.connect_unix(End, str(path))).made


@pytest.mark.parametrize("kind", ["file", "folder", "link"])
def test_another_file_is_not_replaced(unix: Reactor, tmp_path: pathlib.Path, kind: str) -> None:
    """A ListenError, and the file is still there."""
    path, other = tmp_path / "s", tmp_path / "other"
    other.write_text("precious")
    if kind == "file":
        path.write_text("precious")
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to(other)
    with pytest.raises(ListenError):
        unix.listen_unix(End, str(path))
    assert path.is_dir() if kind == "folder" else path.read_text() == "precious"


@pytest.mark.parametrize("path", ["missing/folder/s", "x" * 200])
def test_paths_that_cannot_be(unix: Reactor, tmp_path: pathlib.Path, path: str) -> None:
    """A ListenError, a ConnectError; never anything else."""
    with pytest.raises(ListenError):
        unix.listen_unix(End, str(tmp_path / path))
    with pytest.raises(ConnectError):
        wait_for(unix, unix.connect_unix(End, str(tmp_path / path)))


@pytest.mark.parametrize("path", ["", "\0", "folder\0/s", "\ud800"])
def test_paths_that_are_none(
    unix: Reactor, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """EINVAL, of listening and of connecting; and no file is made."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ListenError) as listening:
        unix.listen_unix(End, path, mode=0o600)
    with pytest.raises(ConnectError) as connecting:
        wait_for(unix, unix.connect_unix(End, path))
    assert listening.value.code == connecting.value.code == "EINVAL"
    assert list(tmp_path.iterdir()) == []


def test_a_path_that_is_no_text(unix: Reactor, tmp_path: pathlib.Path) -> None:
    """Bytes that are not UTF-8: a file like any other, or an error of ours where the system takes none."""
    path = str(tmp_path / "\udcff")
    try:
        listener = unix.listen_unix(End, path)
    except ListenError as exc:
        assert exc.code == "EINVAL"  # noqa: PT017 - both are right
        with pytest.raises(ConnectError) as caught:
            wait_for(unix, unix.connect_unix(End, path))
        assert caught.value.code == "EINVAL"
    else:
        assert listener.address == path
        assert wait_for(unix, unix.connect_unix(End, path)).made


def test_nobody_listens(unix: Reactor, tmp_path: pathlib.Path) -> None:
    """ConnectionRefused for a stale file; a ConnectError with ENOENT where there is none."""
    path = tmp_path / "s"
    with pytest.raises(ConnectError) as caught:
        wait_for(unix, unix.connect_unix(End, str(path)))
    assert caught.value.code == "ENOENT"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with pytest.raises(ConnectionRefused):
        wait_for(unix, unix.connect_unix(End, str(path)))


@pytest.fixture
def adopting(reactor: Reactor) -> Reactor:
    if "adopt" not in reactor.capabilities:
        pytest.skip("no adoption here")
    return reactor


def test_adopting_a_tcp_listener(adopting: Reactor) -> None:
    """The descriptor belongs to the listener from then on."""
    made = socket.create_server(("127.0.0.1", 0))
    address = Address(*made.getsockname())
    server = End()
    listener = adopting.adopt_listener(lambda: server, made.detach())
    assert listener.address == address
    client = wait_for(adopting, adopting.connect(End, "127.0.0.1", port_of(listener)))
    wait_until(adopting, lambda: server.made)
    client.transport.close()
    wait_until(adopting, lambda: client.lost and server.lost)


def test_adopting_a_unix_listener(adopting: Reactor, tmp_path: pathlib.Path) -> None:
    """Its file stays when it closes: whoever made it removes it."""
    path = tmp_path / "s"
    made = socket.socket(socket.AF_UNIX)
    made.bind(str(path))
    made.listen()
    listener = adopting.adopt_listener(End, made.detach())
    assert listener.address == str(path)
    assert wait_for(adopting, adopting.connect_unix(End, str(path))).made
    listener.close()
    assert path.exists()


@pytest.mark.parametrize("kind", ["file", "datagram", "connected", "closed"])
def test_what_cannot_be_adopted(adopting: Reactor, tmp_path: pathlib.Path, kind: str) -> None:
    """A ListenError for everything that is not a listening stream socket; the caller keeps the descriptor."""
    if kind == "file":
        fd = os.open(tmp_path / "f", os.O_CREAT | os.O_RDWR)
    elif kind == "datagram":
        fd = socket.socket(socket.AF_INET, socket.SOCK_DGRAM).detach()
    elif kind == "connected":
        ours, theirs = socket.socketpair()
        theirs.close()
        fd = ours.detach()
    else:
        fd = 10_000
    with pytest.raises(ListenError):
        adopting.adopt_listener(End, fd)
    if kind != "closed":
        os.close(fd)
