"""Hostile servers, people on the path, and names that are more than names: each has a test of its own."""

from __future__ import annotations

import typing

import pytest

from portable.errors import CertificateError, LocalProtocolError, RemoteProtocolError, TLSError, TLSTruncated
from portable.testing import MemoryTransport
from portable.tls import client_options, server_options, upgrade
from portable.transport import Address
from protocols.ftp.client import CommandRefused, download, mirror
from protocols.ftp.client import walking as walking_module
from protocols.ftp.client.control import MAX_PRELIMINARY, encode_command
from protocols.ftp.client.replies import MAX_REPLY
from tests.portable.tls.recording import Recorder
from tests.protocols.ftp.client.scripted import SERVER, Script

if typing.TYPE_CHECKING:
    from pathlib import Path

    from protocols.ftp.client.listing import RemoteFile
    from tests.portable.tls.certs import Certificates
    from tests.protocols.ftp.client.scripted import Running


# Addresses.


@pytest.mark.parametrize("address", ["10,0,0,1,0,22", "127,0,0,1,31,144", "198,51,100,7,0,80"])
def test_a_foreign_pasv_address_is_never_connected_to(address: str) -> None:
    """Or a server could have us reach what only we can reach (CVE-2021-4189 and many more)."""
    script = Script()
    running = script.run(script.client.read("x", 10))
    script.play(f"C: TYPE I\nS: 200 ok\nC: EPSV\nS: 502 no\nC: PASV\nS: 227 ok ({address})\nC: RETR x")
    assert {host for host, _ in script.reactor.dialled[1:]} == {SERVER.host}
    running.deferred.cancel()


def test_an_epsv_reply_names_no_host() -> None:
    script = Script()
    running = script.run(script.client.read("x", 10))
    script.play("C: TYPE I\nS: 200 ok\nC: EPSV\nS: 229 ok (|1|10.0.0.1|80|)")
    assert isinstance(running.error, RemoteProtocolError)
    assert len(script.reactor.dialled) == 1


def test_a_data_connection_from_a_foreign_peer_is_refused_in_active_mode() -> None:
    """Whoever is first at our port could otherwise give us a file, or get ours (RFC 2577 4)."""
    script = Script(active=True)
    running = script.run(script.client.read("x", 10))
    script.play("C: TYPE I\nS: 200 ok\nC: EPRT |1|192.0.2.1|50000|\nS: 200 ok\nC: RETR x\nS: 150 coming")
    listener = script.reactor.listeners[-1]
    thief = script.reactor.accept(Address("198.51.100.66", 20))
    assert thief.aborted
    assert not listener.closed
    data = script.reactor.accept(Address(SERVER.host, 3333))
    late = script.reactor.accept(Address(SERVER.host, 3334))
    assert late.aborted
    data.receive(b"hello")
    data.receive_eof()
    script.say("226 ok")
    assert running.result == b"hello"


# Injection.


@pytest.mark.parametrize("path", ["a\r\nDELE b", "a\nb", "a\rb", "a\0b", b"a\r\nDELE b"])
@pytest.mark.parametrize("method", ["cwd", "delete", "list", "size", "mkd", "mlst", "stat", "names", "mdtm"])
def test_an_argument_cannot_inject_commands(method: str, path: str | bytes) -> None:
    script = Script()
    script.announce()
    running: Running[object] = script.run(getattr(script.client, method)(path))
    while not running.done():
        heard = script.heard()
        assert heard in (["TYPE I"], ["EPSV"])
        script.say("200 ok" if heard == ["TYPE I"] else "229 (|||2000|)")
    assert isinstance(running.error, LocalProtocolError)
    assert b"DELE" not in script.control.written
    later = script.run(script.client.noop())
    assert script.heard() == ["NOOP"]
    script.say("200 ok")
    assert later.done()


def test_credentials_and_the_rest_cannot_inject_commands() -> None:
    script = Script()
    client = script.client
    for coroutine in (
        client.login("joe\r\nDELE x"),
        client.rename("x", "y\r\nDELE z"),
        client.site("X\r\nDELE z"),
        client.chmod("x\r\nDELE z", 0o600),
        client.mfmt("x\r\nDELE z", 0),
        client.help("x\r\nDELE z"),
    ):
        running = script.run(typing.cast("typing.Coroutine[typing.Any, typing.Any, object]", coroutine))
        if script.heard():
            script.say("350 go on")
        assert isinstance(running.error, LocalProtocolError)
        assert script.heard() == []
    for verb in ("NOOP\r\nDELE x", "noop", "", "A" * 9):
        assert isinstance(script.run(client.command(verb)).error, LocalProtocolError)


def test_paths_that_cannot_be_sent() -> None:
    script = Script(encoding="ascii")
    assert isinstance(script.run(script.client.cwd("\u00e4")).error, LocalProtocolError)
    assert isinstance(script.run(script.client.cwd("")).error, LocalProtocolError)


def test_telnet_in_an_argument_is_escaped() -> None:
    """RFC 2640 3.1: or a name with IAC IP in it would interrupt the server."""
    assert encode_command("CWD", b"a\xff\xf4b") == b"CWD a\xff\xff\xf4b\r\n"


def test_a_name_is_not_taken_for_options_of_ls() -> None:
    script = Script()
    script.announce()
    script.run(script.client.list("-aR /"))
    script.passive()
    assert script.heard() == ["LIST ./-aR /"]


# Replies.


def test_a_reply_that_came_before_its_command_is_not_believed() -> None:
    """It would be taken for the reply to the next command, and each later one for that of another."""
    script = Script()
    script.say("230 logged in")
    running = script.run(script.client.login("joe", "secret"))
    assert isinstance(running.error, RemoteProtocolError)
    assert script.control.aborted
    assert script.heard() == []


def test_replies_that_came_with_another_are_not_believed() -> None:
    script = Script()
    running = script.run(script.client.login("joe", "secret"))
    script.heard()
    script.say("331 password", "230 logged in")
    assert isinstance(running.error, RemoteProtocolError)
    assert b"secret" not in script.control.written


def test_a_server_that_talks_without_being_asked_fills_no_memory() -> None:
    script = Script()
    for _ in range(MAX_REPLY // 1000 + 2):
        script.control.receive(b"211-" + b"x" * 994 + b"\r\n")
    assert script.control.aborted


def test_preliminary_replies_have_an_end() -> None:
    script = Script()
    running = script.run(script.client.noop())
    script.say(*["150 wait"] * (MAX_PRELIMINARY + 1))
    assert isinstance(running.error, RemoteProtocolError)
    assert script.control.aborted


def test_a_reply_without_end_fills_no_memory() -> None:
    script = Script()
    running = script.run(script.client.noop())
    script.say("200-begin")
    for _ in range(MAX_REPLY // 1000 + 2):
        script.say("x" * 998)
    assert isinstance(running.error, RemoteProtocolError)
    assert script.control.aborted


@pytest.mark.parametrize("line", ["HTTP/1.1 400 Bad Request", "\x00\x01", "220\nSSH-2.0-x"])
def test_a_server_of_another_protocol(line: str) -> None:
    script = Script(line)
    assert isinstance(script.opening.error, RemoteProtocolError)
    assert script.control.aborted


# TLS.


def test_auth_tls_response_injection(certs: Certificates) -> None:
    """CVE-2011-0411, the client's side: what follows the 234 in clear was added by somebody on the path."""
    script = Script(tls=client_options("localhost", ca=certs.ca))
    assert script.heard() == ["AUTH TLS"]
    script.say("234 go on", "200 PBSZ=0", "200 ok", "230 logged in")
    assert isinstance(script.opening.error, RemoteProtocolError)
    assert script.control.aborted


@pytest.mark.parametrize("reply", ["500 what?", "530 no", "200 ok", "334 more", "421 bye"])
def test_a_refused_auth_tls_never_leads_to_clear_text(certs: Certificates, reply: str) -> None:
    script = Script(tls=client_options("localhost", ca=certs.ca))
    assert script.heard() == ["AUTH TLS"]
    script.say(reply)
    assert isinstance(script.opening.error, CommandRefused)
    assert script.control.ended
    assert script.heard() == []


class SecureServer:
    """The test's end of a control connection that speaks TLS after AUTH, or from the first byte on."""

    def __init__(self, script: Script, certs: Certificates, *, implicit: bool = False) -> None:
        self.script = script
        if not implicit:
            assert script.heard() == ["AUTH TLS"]
            script.say("234 go on")
        self.inner = Recorder()
        self.raw = MemoryTransport(self.inner, script.reactor)
        self.tls = upgrade(self.raw, server_options(*certs.server), 0)
        self.pump()

    def pump(self) -> None:
        """Pass on what either side has said, until there is nothing more."""
        moved = True
        while moved:
            self.script.reactor.advance(0)
            up, down = self.script.control.take(), self.raw.take()
            self.raw.receive(up)
            self.script.control.receive(down)
            moved = bool(up or down)

    def heard(self) -> list[str]:
        self.pump()
        text, self.inner.data = self.inner.data.decode(), b""
        return text.split("\r\n")[:-1]

    def say(self, line: str) -> None:
        self.tls.write(line.encode() + b"\r\n")
        self.pump()


def test_everything_is_protected_and_nothing_said_in_clear_is_kept(certs: Certificates) -> None:
    script = Script("")
    options = client_options("localhost", ca=certs.ca)
    script.say("220 ok")
    script.announce("MLST type*;")
    running = script.run(script.client.start_tls(options))
    server = SecureServer(script, certs)
    assert server.heard() == ["PBSZ 0"]
    server.say("200 ok")
    assert server.heard() == ["PROT P"]
    server.say("200 ok")
    assert running.done()
    asking = script.run(script.client.features())
    assert server.heard() == ["FEAT"]
    server.say("211 none")
    assert asking.result == {}
    # Again is no new handshake.
    script.run(script.client.start_tls(options))
    assert server.heard() == ["PBSZ 0"]


@pytest.mark.parametrize("refused", ["PBSZ", "PROT"])
def test_unprotected_data_is_refused(certs: Certificates, refused: str) -> None:
    script = Script(tls=client_options("localhost", ca=certs.ca))
    server = SecureServer(script, certs)
    for command in ("PBSZ 0", "PROT P"):
        assert server.heard() == [command]
        server.say("536 no" if command.startswith(refused) else "200 ok")
        if command.startswith(refused):
            break
    assert isinstance(script.opening.error, CommandRefused)
    assert script.control.ended


def test_a_server_whose_certificate_is_for_somebody_else(certs: Certificates) -> None:
    script = Script(tls=client_options("elsewhere.test", ca=certs.ca))
    SecureServer(script, certs)
    assert isinstance(script.opening.error, CertificateError)
    assert script.control.ended


def test_tls_from_the_first_byte(certs: Certificates) -> None:
    script = Script("", tls=client_options("localhost", ca=certs.ca), implicit_tls=True)
    server = SecureServer(script, certs, implicit=True)
    server.say("220 ok")
    assert server.heard() == ["PBSZ 0"]
    server.say("200 ok")
    server.heard()
    server.say("200 ok")
    assert script.client.greeting.text == "ok"


def test_a_handshake_that_does_not_end(certs: Certificates) -> None:
    for options in ({"implicit_tls": True}, {}):
        script = Script("" if options else "220 ok", tls=client_options("localhost", ca=certs.ca), **options)
        if not options:
            script.say("234 go on")
        script.reactor.advance(61)
        assert script.opening.errors
        assert script.control.ended


def secure_download(certs: Certificates) -> tuple[Script, SecureServer, Running[bytes]]:
    script = Script(tls=client_options("localhost", ca=certs.ca))
    server = SecureServer(script, certs)
    for _ in range(2):
        server.heard()
        server.say("200 ok")
    running = script.run(script.client.read("x", 100))
    server.heard()
    server.say("200 ok")
    server.heard()
    server.say("229 (|||2000|)")
    assert server.heard() == ["RETR x"]
    server.say("150 ok")
    return script, server, running


def test_a_download_in_clear_after_prot_p_is_refused(certs: Certificates) -> None:
    script, server, running = secure_download(certs)
    script.data.receive(b"in clear, from whoever it is" * 10)
    server.say("226 ok")
    assert isinstance(running.error, TLSError)


def test_a_protected_download_that_is_cut_short_is_not_complete(certs: Certificates) -> None:
    """Anyone on the path can end a TCP connection; only the server can end TLS (RFC 8446 6.1)."""
    script, server, running = secure_download(certs)
    raw = MemoryTransport(Recorder(), script.reactor)
    tls = upgrade(raw, server_options(*certs.server), 0)
    tls.write(b"half")
    data = script.data
    for _ in range(4):
        raw.receive(data.take())
        data.receive(raw.take())
    data.receive_eof()
    server.say("226 ok")
    assert isinstance(running.error, TLSTruncated)


# Names.

NAMES = [
    *(b"..", b"../up", b"/etc/passwd", b"a/b", b"a\\b", b"C:\\x"),
    *(b"a\x1b[2Jb", b"\xc2\x9b2J", b"tab\t", b"J\xf6rg", b"\xff\xfe"),
]


class Tree:
    """A server with what `listings` say in its folders, and one letter in each file."""

    def __init__(self, script: Script, listings: dict[str, bytes]) -> None:
        self.script = script
        self.listings = listings
        self.retrieved: list[str] = []

    def serve(self, running: Running[typing.Any]) -> None:
        while not running.done():
            (command,) = self.script.control.take().decode().split("\r\n")[:-1]
            verb, _, path = command.partition(" ")
            if verb == "TYPE":
                self.script.say("200 ok")
            elif verb == "EPSV":
                self.script.say("229 (|||2000|)")
            else:
                self.script.say("150 ok")
                if verb == "RETR":
                    self.retrieved.append(path)
                self.script.data.receive(self.listings.get(path, b"") if verb == "MLSD" else b"x")
                self.script.data.receive_eof()
                self.script.say("226 ok")


@pytest.mark.parametrize("kind", ["file", "dir"])
def test_mirroring_leaves_out_names_that_lead_elsewhere(tmp_path: Path, kind: str) -> None:
    target = tmp_path / "target"
    target.mkdir()
    script = Script()
    script.announce("MLST type*;")
    bad = b"".join(b"type=" + kind.encode() + b"; " + name + b"\r\n" for name in NAMES)
    tree = Tree(
        script, {"pub": bad + b"type=file; good\r\ntype=dir; sub\r\n", "pub/sub": b"type=file; deep\r\n"}
    )
    running = script.run(mirror(script.client, "pub", str(target)))
    tree.serve(running)
    assert running.result == 2
    assert tree.retrieved == ["pub/good", "pub/sub/deep"]
    found = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*"))
    assert found == ["target", "target/good", "target/sub", "target/sub/deep"]


def test_names_that_lead_elsewhere_are_counted() -> None:
    script = Script()
    script.announce("MLST type*;")
    walk = script.client.walk("")
    tree = Tree(script, {"": b"".join(b"type=file; " + name + b"\r\n" for name in NAMES)})
    running = script.run(walk.next_folder())
    tree.serve(running)
    assert running.result is not None
    assert list(running.result.files) == []
    assert walk.left_out == len(NAMES) - 1  # ".." is left out of every listing


def test_mirroring_follows_no_link_that_is_there_already(tmp_path: Path) -> None:
    outside, target = tmp_path / "outside", tmp_path / "target"
    outside.mkdir()
    target.mkdir()
    (target / "sub").symlink_to(outside)
    (target / "file").symlink_to(outside / "file")
    script = Script()
    script.announce("MLST type*;")
    tree = Tree(script, {"pub": b"type=file; file\r\ntype=dir; sub\r\n", "pub/sub": b"type=file; deep\r\n"})
    running = script.run(mirror(script.client, "pub", str(target)))
    tree.serve(running)
    assert running.errors
    assert list(outside.iterdir()) == []
    # The link has been replaced, and what it leads to not been touched.
    assert not (target / "file").is_symlink()


def test_a_link_in_the_place_of_the_part_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "victim").write_bytes(b"precious")
    (tmp_path / ".x.part").symlink_to(tmp_path / "victim")
    script = Script()
    running = script.run(download(script.client, "x", str(tmp_path / "x")))
    assert running.errors
    assert (tmp_path / "victim").read_bytes() == b"precious"


def test_folders_within_each_other_have_an_end() -> None:
    script = Script()
    script.announce("MLST type*;")

    class Endless(dict[str, bytes]):
        def get(self, key: str, default: object = None) -> bytes:
            return b"type=dir; d\r\n"

    async def walk_all() -> None:
        walk = script.client.walk("top")
        while await walk.next_folder() is not None:
            pass

    running = script.run(walk_all())
    Tree(script, Endless()).serve(running)
    assert isinstance(running.error, RemoteProtocolError)


def test_the_entries_of_a_walk_have_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walking_module, "MAX_WALK", 5)
    script = Script()
    script.announce("MLST type*;")
    running = script.run(script.client.walk("top").next_folder())
    Tree(script, {"top": b"".join(b"type=file; %d\r\n" % number for number in range(6))}).serve(running)
    assert isinstance(running.error, RemoteProtocolError)


def listing_of(line: bytes) -> tuple[Script, Running[typing.Sequence[RemoteFile]]]:
    script = Script()
    script.announce("MLST type*;")
    running = script.transfer(script.client.list())
    script.data.receive(line)
    return script, running


@pytest.mark.parametrize("line", [b"x" * 10_000, b"no entry\r\n", b"type=file;" * 700 + b" x\r\n"])
def test_absurd_listings_end_the_transfer(line: bytes) -> None:
    script, running = listing_of(line)
    assert isinstance(running.error, RemoteProtocolError)
    assert script.data.aborted
    assert script.heard() == ["ABOR"]
    script.say("426 broken off", "226 aborted")
    later = script.run(script.client.noop())
    script.say("200 ok")
    assert later.done()


def test_a_server_that_sends_what_it_should_receive() -> None:
    script = Script()
    running = script.run(script.client.store("x", lambda: b"y"))
    script.passive()
    script.heard()
    script.data.window = 0
    script.say("150 ok")
    script.data.receive(b"surprise")
    assert isinstance(running.error, RemoteProtocolError)
    assert script.data.aborted
