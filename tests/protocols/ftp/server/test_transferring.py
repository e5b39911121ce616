"""Data connections: what they carry, and every way in which they end."""

from __future__ import annotations

import typing

import pytest

from portable.deferred import fail, succeed
from portable.errors import FileError
from portable.testing import wait_for, wait_until
from protocols.ftp.server.sources import PIECE
from tests.protocols.ftp.server.conftest import Line

if typing.TYPE_CHECKING:
    from portable.deferred import Deferred
    from portable.transport import Address
    from tests.protocols.ftp.server.conftest import Case, Client

MUCH = bytes(range(256)) * 4096  # 1 MiB


def active(client: Client, command: str, template: str = "PORT") -> tuple[Line, str]:
    """Have the server connect to us, for `command`; return the connection and the first reply."""
    line = Line()
    listener = client.reactor.listen(lambda: line, "127.0.0.1")
    port = typing.cast("Address", listener.address).port
    if template == "PORT":
        assert client.ask(f"PORT 127,0,0,1,{port >> 8},{port & 255}").startswith("200")
    else:
        assert client.ask(f"EPRT |1|127.0.0.1|{port}|").startswith("200")
    reply = client.ask(command)
    if reply.startswith("150"):
        wait_until(client.reactor, lambda: hasattr(line, "transport"))
    listener.close()
    return line, reply


@pytest.mark.parametrize("data", [b"", b"x", b"a\r\nb\nc\rd", MUCH], ids=["empty", "one", "lines", "much"])
def test_binary_there_and_back(case: Case, data: bytes) -> None:
    client = case.user()
    client.ask("TYPE I")
    assert client.store("STOR f", data).startswith("226")
    assert case.files.get(("f",)) == data
    assert client.fetch("RETR f") == data


def test_texts_there_and_back(case: Case) -> None:
    client = case.user()
    text = b"one\r\ntwo\r\n" * 20000
    assert client.store("STOR f", text).startswith("226")
    assert case.files.get(("f",)) == text.replace(b"\r\n", b"\n")
    assert client.fetch("RETR f") == text


@pytest.mark.parametrize("template", ["PORT", "EPRT"])
def test_active_connections(case: Case, template: str) -> None:
    case.files.put(("f",), b"hello")
    client = case.user()
    client.ask("TYPE I")
    line, _ = active(client, "RETR f", template)
    assert client.read().startswith("226")
    wait_until(case.reactor, lambda: line.ended)
    line.transport.close()
    assert line.received == b"hello"


def test_an_active_connection_that_is_refused(case: Case) -> None:
    case.files.put(("f",), b"hello")
    client = case.user()
    listener = case.reactor.listen(Line, "127.0.0.1")
    port = typing.cast("Address", listener.address).port
    listener.close()
    assert client.ask(f"PORT 127,0,0,1,{port >> 8},{port & 255}").startswith("200")
    assert client.ask("RETR f").startswith("150")
    assert client.read() == "425 The data connection failed: the connection was refused."


def test_pasv(case: Case) -> None:
    case.files.put(("f",), b"hello")
    client = case.user()
    numbers = client.ask("PASV").partition("(")[2].partition(")")[0].split(",")
    assert numbers[:4] == ["127", "0", "0", "1"]
    line = Line()
    wait_for(
        case.reactor, case.reactor.connect(lambda: line, "127.0.0.1", int(numbers[4]) * 256 + int(numbers[5]))
    )
    assert client.ask("RETR f").startswith("150")
    assert client.read().startswith("226")
    line.transport.close()
    case.site.masquerade = "192.0.2.9"
    assert "(192,0,2,9," in client.ask("PASV")


def test_restarting(case: Case) -> None:
    case.files.put(("f",), b"0123456789")
    client = case.user()
    client.ask("TYPE I")
    assert client.ask("REST 4") == "350 Restarting at 4."
    assert client.fetch("RETR f") == b"456789"
    # Used up.
    assert client.fetch("RETR f") == b"0123456789"
    client.ask("REST 10")
    assert client.fetch("RETR f") == b""
    client.connect()
    client.ask("REST 11")
    assert client.ask("RETR f").startswith("554")
    client.ask("REST 11")
    assert client.ask("STOR f").startswith("554")
    client.ask("REST 4")
    assert client.store("STOR f", b"abc").startswith("226")
    assert case.files.get(("f",)) == b"0123abc"
    client.ask("REST 2")
    client.fetch("NLST")
    assert client.fetch("RETR f") == b"0123abc"
    assert client.store("APPE f", b"+").startswith("226")
    assert client.store("APPE new", b"+").startswith("226")
    assert case.files.get(("f",)) == b"0123abc+"


def test_an_interrupted_upload_is_resumed(case: Case) -> None:
    case.files.put(("f",), b"old")
    client = case.user()
    client.ask("TYPE I")
    data = client.connect()
    assert client.ask("STOR f").startswith("150")
    data.transport.write(MUCH[:300_000])
    wait_until(case.reactor, lambda: len(case.files.get(("f",))) == 300_000)
    data.transport.abort()
    assert client.read().startswith("426")
    size = int(client.ask("SIZE f").split()[1])
    assert size == 300_000
    client.ask(f"REST {size}")
    assert client.store("STOR f", MUCH[size:]).startswith("226")
    assert case.files.get(("f",)) == MUCH


def test_a_store_without_a_data_connection_changes_nothing(case: Case) -> None:
    case.limit(connect=0.05)
    case.files.put(("f",), b"precious")
    client = case.user()
    assert client.ask("EPSV").startswith("229")
    assert client.ask("STOR f").startswith("150")
    assert client.read() == "425 The data connection failed: it took too long."
    assert case.files.get(("f",)) == b"precious"


@pytest.mark.parametrize("command", ["STOR new", "APPE new", "STOU new"])
def test_a_store_without_a_data_connection_leaves_no_empty_file(case: Case, command: str) -> None:
    case.limit(connect=0.05)
    client = case.user()
    assert client.ask("EPSV").startswith("229")
    assert client.ask(command).startswith("150")
    assert client.read().startswith("425")
    case.limit()
    assert client.fetch("NLST") == b""


@pytest.mark.parametrize("command", ["STOR new", "APPE new", "STOU new", "STOR old"])
def test_a_store_that_breaks_before_its_first_byte_changes_nothing(case: Case, command: str) -> None:
    case.files.put(("old",), b"precious")
    client = case.user()
    data = client.connect()
    assert client.ask(command).startswith("150")
    data.transport.abort()
    assert client.read().startswith("426")
    assert client.fetch("NLST") == b"old\r\n"
    assert case.files.get(("old",)) == b"precious"


def test_unique_names(case: Case) -> None:
    client = case.user()
    data = client.connect()
    assert client.ask("STOU") == "150 FILE: /ftp.unique"
    data.transport.write(b"x")
    data.transport.close()
    assert client.read() == "226 Transfer complete; it is /ftp.unique."
    client.connect()
    assert client.ask("STOU") == "550 The file exists already."
    assert client.store("STOU some/where", b"").startswith("550")
    assert client.ask("STOU /").startswith("553")
    assert case.files.get(("ftp.unique",)) == b"x"


def test_listings(case: Case) -> None:
    case.files.put(("d", "a.txt"), b"1")
    case.files.put(("d", "b.bin"), b"12")
    client = case.user()
    assert client.fetch("NLST d") == b"d/a.txt\r\nd/b.bin\r\n"
    assert client.fetch("NLST /d/") == b"/d/a.txt\r\n/d/b.bin\r\n"
    assert client.fetch("NLST d/*.txt") == b"d/a.txt\r\n"
    assert client.fetch("NLST d/a.txt") == b"d/a.txt\r\n"
    assert client.fetch("NLST") == b"d\r\n"
    assert client.fetch("LIST -la d").count(b"\r\n") == 2
    assert client.fetch("LIST d/?.bin").endswith(b" b.bin\r\n")
    client.ask("CWD d")
    assert client.fetch("NLST *.bin") == b"b.bin\r\n"
    assert client.fetch("MLSD").count(b"\r\n") == 2
    client.connect()
    assert client.ask("MLSD a.txt").startswith("501")
    assert client.ask("MLSD nothing").startswith("550")
    assert client.ask("LIST nothing*/x").startswith("550")


def test_a_folder_larger_than_a_piece(case: Case) -> None:
    for number in range(PIECE * 2 + 10):
        case.files.put((f"{number:05d}",), b"")
    case.files.put(("bad\nname",), b"")
    names = case.user().fetch("NLST").split()
    assert names == [b"%05d" % number for number in range(PIECE * 2 + 10)]


def test_aborting(case: Case) -> None:
    client = case.user()
    client.ask("TYPE I")
    data = client.connect()
    assert client.ask("STOR f").startswith("150")
    client.send(b"\xff\xf4\xff\xf2ABOR\r\n")
    assert client.read() == "426 Transfer aborted."
    assert client.read() == "226 Abort complete."
    wait_until(case.reactor, lambda: data.lost)
    assert client.ask("EPSV").startswith("229")
    assert client.ask("ABOR").startswith("225")
    assert client.ask("RETR f").startswith("425")
    # Before there is a connection.
    assert client.ask("EPSV").startswith("229")
    assert client.ask("STOR f").startswith("150")
    client.send("ABOR\r\n")
    assert client.read().startswith("426")
    assert client.read().startswith("226")
    assert client.ask("NOOP").startswith("200")


def test_a_download_is_aborted(case: Case) -> None:
    case.files.put(("f",), MUCH * 16)
    client = case.user()
    client.ask("TYPE I")
    data = client.connect(reading=False)
    assert client.ask("RETR f").startswith("150")
    client.send("ABOR\r\n")
    assert client.read().startswith("426")
    assert client.read().startswith("226")
    data.transport.resume_reading()
    wait_until(case.reactor, lambda: data.lost)
    assert data.reason is not None, "what is not complete must not look complete"


def test_commands_wait_for_a_transfer(case: Case) -> None:
    client = case.user()
    data = client.connect()
    assert client.ask("STOR f").startswith("150")
    client.send("STAT\r\n")
    assert "bytes have been transferred" in client.read()
    client.send("NOOP\r\nPWD\r\n" + "NOOP\r\n" * 2000)
    for _ in range(5):
        case.reactor.step()
    data.transport.close()
    assert client.read().startswith("226")
    assert client.read().startswith("200")
    assert client.read().startswith("257")
    for _ in range(2000):
        assert client.read().startswith("200")


@pytest.mark.parametrize("command", ["STOR f", "RETR big", "LIST"])
def test_a_data_connection_that_stalls(case: Case, command: str) -> None:
    case.limit(stall=0.05)
    case.files.put(("big",), MUCH * 16)
    for number in range(20_000 if command == "LIST" else 0):
        case.files.put((f"{number:0200d}",), b"")
    client = case.user()
    client.ask("TYPE I")
    client.connect(reading=False)
    assert client.ask(command).startswith("150")
    assert client.read() == "426 The data connection failed: it took too long."


def test_an_unused_data_connection_is_given_up(case: Case) -> None:
    case.limit(connect=0.05)
    client = case.user()
    data = client.connect()
    wait_until(case.reactor, lambda: data.lost)
    client.connect()
    data = client.connect()
    assert client.ask("RETR nothing").startswith("550")
    wait_until(case.reactor, lambda: data.lost)
    assert client.ask("STOR x").startswith("150")
    assert client.read().startswith("425")


def test_a_client_that_closes_its_data_connection(case: Case) -> None:
    case.files.put(("big",), MUCH * 16)
    client = case.user()
    client.ask("TYPE I")
    data = client.connect(reading=False)
    assert client.ask("RETR big").startswith("150")
    data.transport.abort()
    assert client.read().startswith("426")
    data = client.connect()
    data.transport.abort()
    for _ in range(5):
        case.reactor.step(0.01)
    assert client.ask("RETR big").startswith("150")
    assert client.read()[:3] in {"425", "426"}


def test_a_full_disk(case: Case) -> None:
    case.files.grow(64 * 1024 * 1024 - 10)
    client = case.user()
    client.ask("TYPE I")
    data = client.connect()
    assert client.ask("STOR f").startswith("150")
    data.transport.write(b"x" * 100)
    assert client.read() == "552 There is no space left."
    wait_until(case.reactor, lambda: data.lost)


@pytest.mark.parametrize(
    ("code", "reply"),
    [
        ("EMFILE", "451 The server is in trouble; try again later."),
        ("ELOOP", "550 There is no such file or folder."),
    ],
)
def test_errors_of_the_file_system(case: Case, monkeypatch: pytest.MonkeyPatch, code: str, reply: str) -> None:
    def refuse(path: object) -> Deferred[None]:
        return fail(FileError("/secret/place", code))

    monkeypatch.setattr(case.files, "make_folder", refuse)
    assert case.user().ask("MKD x") == reply


def test_a_file_that_cannot_be_read_to_its_end(case: Case) -> None:
    class Broken:
        size = 100_000
        content: bytes | None = None
        file: typing.BinaryIO | None = None

        def read(self, offset: int, count: int) -> Deferred[bytes]:
            return succeed(b"x" * 10) if not offset else fail(FileError("bad block", "EROFS"))

        def close(self) -> None:
            pass

    case.files.open_file = lambda path: succeed(Broken())  # type: ignore[method-assign]
    client = case.user()
    data = client.connect()
    assert client.ask("RETR f").startswith("150")
    assert client.read().startswith("451")
    wait_until(case.reactor, lambda: data.lost)


def test_throttled_data(case: Case) -> None:
    case.site.throttle = 200_000
    case.files.put(("f",), bytes(60_000))
    client = case.user()
    client.ask("TYPE I")
    begin = case.reactor.time()
    assert client.fetch("RETR f") == bytes(60_000)
    assert client.store("STOR g", bytes(60_000)).startswith("226")
    assert 0.3 < case.reactor.time() - begin < 5


def test_nobody_is_blamed_for_our_own_throttle(case: Case) -> None:
    case.site.throttle = 400
    case.limit(stall=0.4, min_rate=1000)
    case.files.put(("f",), bytes(300))
    client = case.user()
    client.ask("TYPE I")
    assert client.fetch("RETR f") == bytes(300)
    assert client.store("STOR g", bytes(300)).startswith("226")
