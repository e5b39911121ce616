"""Programs that misbehave, clients that go, and everybody who wants to see a source."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import socket
import struct
import typing

import pytest

from portable.errors import ConfigurationError, FileError
from portable.testing import wait_until
from protocols.servers.web import make_service, programrun, spool, turns
from protocols.servers.web.cgi import MAX_RUNNING
from protocols.servers.web.processors import HIDDEN, Processors
from tests.protocols.servers.web.site import SECRET, Site
from tests.protocols.servers.web.test_web import values

if typing.TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from portable.reactor import Reactor

OK = "printf 'Content-Type: text/plain\\n\\n'"
EXTENSIONS = ("cgi", "php", "epy", "rpy")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "site"
    made.mkdir()
    return made


@pytest.fixture
def site(reactor: Reactor, folder: Path) -> Iterator[Site]:
    made = Site(reactor, folder)
    yield made
    made.settle()
    made.stop()


def is_alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] != b"Z"
    except FileNotFoundError:
        return False


def pids(site: Site) -> list[int]:
    """Return the processes that the program has noted, once it has noted two."""
    noted = site.folder / "pids"
    wait_until(site.reactor, lambda: noted.exists() and noted.read_text().count("\n") == 2, 20)
    return [int(word) for word in noted.read_text().split()]


# A child of its own, and both deaf to the polite signal.
STUBBORN = "trap '' TERM; sleep 1000 & echo $! >> pids; echo $$ >> pids"


# Disclosure of sources.


@pytest.mark.parametrize(
    "name",
    [
        "x.{}~",
        "x.{}.bak",
        "x.{}.orig",
        "x.{}.old",
        "x.{}.gz",
        "x.{}.txt",
        "x.{}_",
        "x.{} copy",
        "x.{}-1",
        "x.{}2",
        "#x.{}#",
        ".x.{}.swp",
        "nph-x.{}",
        "NPH-x.{}~",
    ],
)
@pytest.mark.parametrize("extension", EXTENSIONS)
def test_copies_of_programs_are_hidden(name: str, extension: str) -> None:
    processors = Processors(dict.fromkeys(EXTENSIONS, typing.cast("typing.Any", None)))
    for shown in (name.format(extension), name.format(extension.upper())):
        assert processors.kind(shown) == HIDDEN


@pytest.mark.parametrize(
    "name", ["x.php3", "x.php7", "x.phtml", "x.PHP5", "x.php7~", "x.phps", "x.pht", "x.phar"]
)
def test_other_names_of_php_are_hidden(name: str) -> None:
    assert Processors(dict.fromkeys(EXTENSIONS, typing.cast("typing.Any", None))).kind(name) == HIDDEN


@pytest.mark.parametrize("name", ["cgi", "x.cgis", "xcgi", "x.phpbook", "x.html", "php.txt", "cgi.html"])
def test_other_files_are_files(name: str) -> None:
    assert Processors({}).kind(name) == ""


def test_no_spelling_of_its_path_shows_a_source(site: Site) -> None:
    site.shell("x.cgi", f"{OK}; echo ran")
    for name in ("x.cgi~", "x.cgi.bak", "x.cgi.gz", ".x.cgi.swp", "nph-x.cgi", "x.php3"):
        site.shell(name, "")
    ran = ["/x.cgi", "/x.cgi/", "/x.cgi/y", "/x%2ecgi", "/%78.cgi", "/x.cgi?y", "/x.cgi/%20"]
    for target in ran:
        answer = site.ask(target)
        assert (answer.status, answer.body) == (200, b"ran\n")
    for target in (
        "/x.cgi~",
        "/x.cgi.bak",
        "/x.cgi.gz",
        "/.x.cgi.swp",
        "/nph-x.cgi",
        "/nph-x.cgi/",
        "/x.php3",
        "/x.cgi%20",
        "/x.cgi.",
        "/x.CGI",
        "/x.cgi::$DATA",
        "/x.cgi%00",
        "/x.cgi%00.html",
        "/x.cgi%2f",
        "/x.cgi%5c",
        "/x.cgi%0a",
        "/./x.cgi",
        "//x.cgi",
        "/y/../x.cgi",
        "/x.cgi/../x.cgi",
    ):
        for fields in ((), ("Range: bytes=0-100",), ("Accept-Encoding: gzip",), ("If-None-Match: *",)):
            answer = site.ask(target, "GET", None, *fields)
            assert answer.status in {400, 404}, target
            assert SECRET.encode() not in answer.body
    listing = site.ask("/").body
    assert b'"x.cgi"' in listing
    assert b"x.cgi~" not in listing
    assert b"x.cgi.bak" not in listing


def test_a_name_in_capitals_is_run_where_a_file_has_it(site: Site) -> None:
    site.shell("X.CGI", f"{OK}; echo ran")
    assert site.ask("/X.CGI").body == b"ran\n"


def test_a_program_as_index_is_run_and_not_shown(reactor: Reactor, folder: Path) -> None:
    site = Site(reactor, folder, index=("x.php~", "x.cgi"))
    site.shell("x.php~", "")
    site.shell("x.cgi", f"{OK}; echo ran")
    assert site.ask("/").status == 404
    (folder / "x.php~").unlink()
    assert site.ask("/").body == b"ran\n"
    site.settle()
    site.stop()


def test_programs_that_are_switched_off_are_neither_run_nor_shown(reactor: Reactor, folder: Path) -> None:
    site = Site(reactor, folder, processors="php")
    site.shell("x.cgi", f"{OK}; echo ran")
    assert site.ask("/x.cgi").status == 404
    assert site.ask("/x.cgi/").status == 404
    assert b"x.cgi" not in site.ask("/").body
    site.stop()


def test_without_processors_programs_are_files(reactor: Reactor, folder: Path) -> None:
    site = Site(reactor, folder, processors="none")
    path = site.shell("x.cgi", f"{OK}; echo ran")
    assert site.ask("/x.cgi").body == path.read_bytes()
    assert site.ask("/x.cgi/").status == 404
    assert site.ask("/x.cgi", "POST", b"x").status == 405
    site.stop()


def test_unknown_processors_are_refused(folder: Path) -> None:
    for names in ("cgi,asp", "", "none,cgi"):
        with pytest.raises(ConfigurationError, match="--processors"):
            make_service(values(path=str(folder), processors=names))


# Links, and who may write.


def test_a_program_behind_a_symbolic_link_is_not_run(site: Site, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    outside = tmp_path / "outside" / "x.cgi"
    outside.write_text(f"#!/bin/sh\n{OK}; echo ran")
    outside.chmod(0o755)
    site.shell("real.cgi", f"{OK}; echo ran")
    (site.folder / "x.cgi").symlink_to(outside)
    (site.folder / "y.cgi").symlink_to("real.cgi")
    (site.folder / "sub").symlink_to(tmp_path / "outside")
    for target in ("/x.cgi", "/y.cgi", "/sub/x.cgi", "/x.cgi/y"):
        assert site.ask(target).status == 404


def test_a_link_that_stays_inside_is_run_where_links_are_followed(reactor: Reactor, folder: Path) -> None:
    site = Site(reactor, folder, symlinks=True)
    site.shell("real.cgi", f'{OK}; echo "$SCRIPT_NAME"')
    (folder / "y.cgi").symlink_to("real.cgi")
    (folder / "z.cgi").symlink_to("/bin/sh")
    assert site.ask("/y.cgi").body == b"/y.cgi\n"
    assert site.ask("/z.cgi").status == 404
    site.settle()
    site.stop()


def test_a_link_of_another_name_shows_no_source(reactor: Reactor, folder: Path) -> None:
    site = Site(reactor, folder, symlinks=True)
    site.put("x.epy", f"# {SECRET}")
    site.put("x.php~", f"# {SECRET}")
    site.put("text.txt", "harmless")
    (folder / "sub").mkdir()
    (folder / "a.txt").symlink_to("x.epy")
    (folder / "b.txt").symlink_to("x.php~")
    (folder / "sub" / "c.txt").symlink_to("../a.txt")
    (folder / "text.txt.gz").symlink_to("x.epy")
    (folder / "same.txt").symlink_to("text.txt")
    for target in ("/a.txt", "/b.txt", "/sub/c.txt", "/text.txt.gz"):
        assert site.ask(target).status == 404
    assert site.ask("/text.txt", "GET", None, "Accept-Encoding: gzip").body == b"harmless"
    assert site.ask("/same.txt").body == b"harmless"
    listing = site.ask("/").body
    assert b"same.txt" in listing
    assert b"a.txt" not in listing
    site.stop()


def test_a_program_that_everybody_may_change_is_not_run(site: Site) -> None:
    site.shell("x.cgi", f"{OK}; echo ran", mode=0o757)
    assert site.ask("/x.cgi").status == 403
    site.put("x.epy", "print('ran')", mode=0o666)
    assert site.ask("/x.epy").status == 403


@pytest.mark.parametrize("mode", [0o777, 0o1777])
def test_a_program_where_everybody_may_put_one_is_not_run(site: Site, mode: int) -> None:
    site.put("incoming/theirs/x.epy", "print('ran')", 0o644)
    site.put("incoming/theirs/index.epy", "print('ran')", 0o644)
    site.put("incoming/x.txt", "text", 0o644)
    assert site.ask("/incoming/theirs/").body == b"ran\n"
    (site.folder / "incoming").chmod(mode)
    assert site.ask("/incoming/theirs/x.epy").status == 403
    assert site.ask("/incoming/theirs/").status == 403
    assert site.ask("/incoming/x.txt").body == b"text"
    (site.folder / "incoming").chmod(0o755)
    site.folder.chmod(mode)
    assert site.ask("/incoming/theirs/x.epy").status == 403


def test_a_program_that_cannot_be_started(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    site.put("x.cgi", "#!/no/such/interpreter\n")
    site.put("y.cgi", f"#!/bin/sh\n{OK}", mode=0o644)
    for target in ("/x.cgi", "/y.cgi"):
        answer = site.ask(target)
        assert answer.status == 500
        assert b"interpreter" not in answer.body
        assert str(site.folder).encode() not in answer.body
    assert "cannot be run" in caplog.text


# What comes in.


def test_httpoxy(site: Site) -> None:
    site.shell("x.cgi", f"{OK}; env")
    answer = site.ask(
        "/x.cgi", "GET", None, "Proxy: http://evil", "PROXY: http://evil", "Authorization: Basic eDp5"
    )
    assert b"PROXY" not in answer.body
    assert b"evil" not in answer.body
    assert b"eDp5" not in answer.body


def test_nothing_of_the_servers_environment_leaks(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_OF_THE_SERVER", "leaked")
    site.shell("x.cgi", f"{OK}; env; ls /proc/self/fd")
    answer = site.ask("/x.cgi")
    assert b"leaked" not in answer.body
    assert b"HOME=" not in answer.body


def test_a_query_is_no_command_line(site: Site) -> None:
    site.shell("x.cgi", f'{OK}; echo "$#"')
    for query in ("-s", "a+b+c", "-d+allow_url_include%3d1"):
        assert site.ask(f"/x.cgi?{query}").body == b"0\n"


def test_a_body_that_is_cut_starts_no_program(site: Site) -> None:
    site.shell("x.cgi", f"touch begun; {OK}")
    cut = b"POST /x.cgi HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nabc"

    def talk() -> bytes:
        with site.connect() as sock:
            sock.sendall(cut)
            sock.shutdown(socket.SHUT_WR)
            return read_all(sock)

    assert site.beside(talk).startswith(b"HTTP/1.1 400 ")
    assert not (site.folder / "begun").exists()


def test_slow_uploads_take_no_turns(site: Site) -> None:
    service: typing.Any = site.service
    in_line = service._folder.processors._processors["cgi"]._turns
    site.shell("x.cgi", f"{OK}; cat")
    head = b"POST /x.cgi HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 6\r\n\r\n"
    port = service.ports()[0]
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(site.connect()) for _ in range(MAX_RUNNING + 1)]
        for sock in slow:
            sock.sendall(head + b"abc")
        wait_until(site.reactor, lambda: port.bytes_received == len(slow) * len(head + b"abc"))
        assert in_line.taken == 0
        assert site.ask("/x.cgi", "POST", b"quick").body == b"quick"
        slow[0].sendall(b"def")
        assert b"abcdef" in site.beside(lambda: read_all(slow[0]))


def test_a_long_body_goes_through_the_disk(site: Site) -> None:
    site.shell("x.cgi", f"{OK}; sha256sum")
    body = bytes(range(256)) * 4096
    expected = hashlib.sha256(body).hexdigest().encode()
    assert expected in site.ask("/x.cgi", "POST", body).body
    site.settle()
    service: typing.Any = site.service
    assert service._folder.processors._processors["cgi"]._spool.on_disk == 0


def test_a_disk_without_room_is_told(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(spool, "MAX_ON_DISK", 100_000)
    site.shell("x.cgi", f"{OK}; cat")
    # Whatever --max-body allows has room, as long as it is alone.
    assert site.ask("/x.cgi", "POST", bytes(150_000)).body == bytes(150_000)
    service: typing.Any = site.service
    service._folder.processors._processors["cgi"]._spool._longest = 0
    answer = site.ask("/x.cgi", "POST", bytes(100_001))
    assert answer.status == 503
    assert "Retry-After: 1" in answer.head
    assert "on the disk" in caplog.text
    assert site.ask("/x.cgi", "POST", bytes(99_999)).body == bytes(99_999)


def test_a_client_that_goes_while_it_is_in_line_leaves_nothing(site: Site) -> None:
    service: typing.Any = site.service
    programs = service._folder.processors._processors["cgi"]
    programs._turns._most = 0
    site.shell("x.cgi", f"{OK}; cat")
    with site.connect() as sock:
        sock.sendall(
            b"POST /x.cgi HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n" + bytes(100_000)
        )
        wait_until(site.reactor, lambda: programs._turns._waiting)
        assert programs._spool.on_disk > 0
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    wait_until(site.reactor, lambda: not programs._turns._waiting)
    assert programs._spool.on_disk == 0


# What comes out.


@pytest.mark.parametrize(
    "script",
    [
        "exit 0",
        "exit 3",
        "kill -9 $$",
        "echo no header",
        "echo",
        "printf 'HTTP/1.1 200 OK\\nContent-Type: a/b\\n\\nbody'",
        "printf 'Content-Type: a/b\\n'",
        "printf 'Status: 101\\n\\n'",
        "head -c 1000000 /dev/zero",
        "yes 'X: y'",
        "exec >&-",
    ],
)
def test_output_that_is_none_gets_a_502_without_details(site: Site, script: str) -> None:
    site.shell("x.cgi", f"echo 'a traceback' >&2; {script}")
    answer = site.ask("/x.cgi")
    assert answer.status == 502
    assert SECRET.encode() not in answer.body
    assert b"traceback" not in answer.body
    assert b"x.cgi" not in answer.body


def test_a_header_cannot_forge_another_answer(site: Site) -> None:
    site.shell("x.cgi", "printf 'Content-Type: a/b\\rX: y\\r\\n\\r\\n'")
    assert site.ask("/x.cgi").status == 502


def test_errors_are_logged_escaped_and_bounded(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    site.shell("x.cgi", "printf 'one\\n\\033[31mtwo\\007\\r\\nlast' >&2; " + OK)
    assert site.ask("/x.cgi").status == 200
    site.settle()
    said = [record.getMessage().partition(" says: ")[2] for record in caplog.records]
    assert [line for line in said if line] == ["one", "\\x1b[31mtwo\\x07", "last"]
    caplog.clear()
    site.shell("y.cgi", f"head -c 3000000 /dev/zero | tr '\\0' x >&2; {OK}; echo done")
    assert site.ask("/y.cgi").body == b"done\n"
    site.settle()
    assert len(caplog.text) < 40_000
    assert "says more" in caplog.text
    caplog.clear()
    site.shell("z.cgi", f"yes '' | head -c 15000 >&2; {OK}; echo done")
    assert site.ask("/z.cgi").body == b"done\n"
    site.settle()
    assert len(caplog.text) < 80_000
    assert caplog.text.count("says more") == 1


# Time, and clients that go.


def test_a_program_that_never_ends_is_ended_with_its_children(
    reactor: Reactor, folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(programrun, "KILL_GRACE", 0.2)
    site = Site(reactor, folder, script_timeout=0.7)
    site.shell("x.cgi", f"{STUBBORN}; wait; wait")
    answer = site.ask("/x.cgi")
    assert answer.status == 504
    assert "not done in 0.7 seconds" in caplog.text
    running = pids(site)
    site.settle()
    wait_until(reactor, lambda: not any(map(is_alive, running)))
    site.stop()


def test_a_daemon_that_keeps_its_output_does_not_keep_the_turn(
    reactor: Reactor, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programrun, "KILL_GRACE", 0.1)
    site = Site(reactor, folder, script_timeout=0.5)
    site.shell("x.cgi", f"{OK}; echo some; setsid sh -c 'echo $$ > daemon; exec sleep 1000' &")
    assert b"some" in site.get_until_broken("/x.cgi")
    daemon = int((folder / "daemon").read_text())
    try:
        site.settle()
        assert is_alive(daemon)
    finally:
        os.kill(daemon, signal.SIGKILL)
    site.stop()


def test_a_program_that_has_closed_its_output_is_not_waited_for(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programrun, "EXIT_WAIT", 0.1)
    site.shell("x.cgi", "exec >&-; touch begun; while [ ! -e go ]; do sleep 0.05; done")
    assert site.ask("/x.cgi").status == 502
    assert site.running() == 1
    (site.folder / "go").touch()


def test_an_answer_whose_program_is_ended_is_cut(
    reactor: Reactor, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programrun, "KILL_GRACE", 0.2)
    site = Site(reactor, folder, script_timeout=0.7)
    site.shell("x.cgi", f"{OK}; echo some; {STUBBORN}; wait; wait")
    data = site.get_until_broken("/x.cgi")
    assert b"some" in data
    assert b"0\r\n\r\n" not in data
    site.settle()
    site.stop()


def test_an_answer_whose_program_died_is_cut(site: Site) -> None:
    site.shell("x.cgi", f"{OK}; head -c 100000 /dev/zero; kill -9 $$")
    assert b"0\r\n\r\n" not in site.get_until_broken("/x.cgi")


@pytest.mark.parametrize(
    ("before", "how"), [("", "reset"), (f"{OK}; echo some; ", "reset"), (f"{OK}; echo some; ", "close")]
)
def test_a_program_whose_client_goes_is_ended_with_its_children(
    site: Site, monkeypatch: pytest.MonkeyPatch, before: str, how: str
) -> None:
    monkeypatch.setattr(programrun, "KILL_GRACE", 0.2)
    # Who has only closed could be waiting for the answer, until something that is sent to it comes back.
    more = "echo more || exit" if before else ":"
    site.shell("x.cgi", f"{before}{STUBBORN}; while :; do {more}; sleep 0.05; done")
    sock = site.connect()
    sock.sendall(b"GET /x.cgi HTTP/1.1\r\nHost: localhost\r\n\r\n")
    running = pids(site)
    if how == "reset":
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()
    site.settle()
    wait_until(site.reactor, lambda: not any(map(is_alive, running)))


def test_few_programs_run_at_a_time_and_the_others_wait(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    service: typing.Any = site.service
    in_line = service._folder.processors._processors["cgi"]._turns
    in_line._most = 1
    os.mkfifo(site.folder / "go")
    site.shell("x.cgi", f"{OK}; read x < go; echo done")
    site.shell("y.cgi", f"{OK}; echo done")
    with site.connect() as first, site.connect() as second:
        first.sendall(b"GET /x.cgi HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        wait_until(site.reactor, lambda: site.running() == 1)
        second.sendall(b"GET /y.cgi HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        wait_until(site.reactor, lambda: in_line._waiting)
        monkeypatch.setattr(turns, "WAIT_SECONDS", 0.1)
        answer = site.ask("/y.cgi")
        assert answer.status == 503
        assert "Retry-After: 1" in answer.head
        site.beside(lambda: (site.folder / "go").write_text("go\n"))
        assert b"done" in site.beside(lambda: read_all(second))
    assert site.ask("/y.cgi").body == b"done\n"


def read_all(sock: socket.socket) -> bytes:
    data = b""
    while piece := sock.recv(65536):
        data += piece
    return data


def test_a_service_that_stops_lets_a_program_finish(reactor: Reactor, folder: Path) -> None:
    site = Site(reactor, folder)
    site.shell("x.cgi", f"touch begun; sleep 0.3; {OK}; echo done")
    with site.connect() as sock:
        sock.sendall(b"GET /x.cgi HTTP/1.1\r\nHost: localhost\r\n\r\n")
        wait_until(reactor, (folder / "begun").exists)
        site.stop()
        data = b""
        while piece := sock.recv(65536):
            data += piece
    assert b"done\n" in data


def test_a_folder_that_cannot_be_looked_at(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.shell("sub/x.cgi", f"{OK}; echo ran")
    service: typing.Any = site.service
    open_beneath = service._folder._open

    def refuse(segments: tuple[str, ...]) -> typing.Any:
        if len(segments) < 2:
            raise FileError("no descriptors left", "EMFILE")
        return open_beneath(segments)

    monkeypatch.setattr(service._folder, "_open", refuse)
    assert site.ask("/sub/x.cgi").status == 503


def test_a_file_that_vanishes_while_it_is_looked_at(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.shell("x.cgi", f"{OK}; echo ran")
    service: typing.Any = site.service

    def vanish(segments: object) -> None:
        raise FileError("gone", "ENOENT")

    monkeypatch.setattr(service._folder, "_open", vanish)
    assert site.ask("/x.cgi").status == 404
