"""The contract of water marks, large writes and files."""

from __future__ import annotations

import contextlib
import hashlib
import io
import pathlib
import random
import resource
import socket
import typing

import pytest

from portable.errors import ConnectionLost, FileError
from portable.testing import wait_for, wait_until
from tests.conformance.judge import End, connected, raw_client

if typing.TYPE_CHECKING:
    from portable.deferred import Deferred
    from portable.reactor import Reactor


# Bytes; more than the kernel's buffers of one connection hold.
MUCH = 16_000_000


def receive_all(reactor: Reactor, peer: socket.socket, expected: int) -> bytes:
    """Read from `peer` by and by, letting the reactor turn, until `expected` bytes or the end came."""
    peer.setblocking(False)
    received = bytearray()
    ended = False

    def read() -> bool:
        nonlocal ended
        try:
            chunk = peer.recv(1_000_000)
        except BlockingIOError:
            return False
        received.extend(chunk)
        ended = not chunk
        return ended or len(received) >= expected

    wait_until(reactor, read, seconds=30)
    return bytes(received)


def fill(reactor: Reactor, server: End) -> int:
    """Fill the kernel's buffers, so that whatever is written now stays in ours; return how much is there."""
    server.transport.set_write_buffer_limits(100 * MUCH)
    server.transport.write(bytes(MUCH))
    size = -1
    while size != server.transport.get_write_buffer_size():
        size = server.transport.get_write_buffer_size()
        reactor.step(0.02)
    assert size > 1000, "the kernel took everything"
    return size


def test_pause_above_the_high_mark_and_resume_at_the_low_one(reactor: Reactor) -> None:
    """pause_writing when the buffer is above `high`, never at it; resume_writing at `low` or below."""
    server = End()
    sizes: list[int] = []
    with raw_client(reactor, server) as peer:
        size = fill(reactor, server)
        transport = server.transport
        transport.set_write_buffer_limits(high=size + 10, low=size // 2)
        transport.write(b"0123456789")
        for _ in range(2):
            reactor.step()
        assert transport.get_write_buffer_size() == size + 10
        assert server.calls == ["made"], "paused at the high mark"
        transport.write(b"x")
        for _ in range(2):
            reactor.step()
        assert server.calls == ["made", "pause"]
        resume = server.resume_writing
        server.resume_writing = lambda: (sizes.append(transport.get_write_buffer_size()), resume())[1]  # type: ignore[method-assign, func-returns-value] # notes the size at that moment
        received = receive_all(reactor, peer, MUCH + 11)
        wait_until(reactor, lambda: server.calls == ["made", "pause", "resume"])
        assert received.endswith(b"\x000123456789x")
    assert sizes[0] <= size // 2


def test_no_resume_above_the_low_mark(reactor: Reactor) -> None:
    """What has sunk below the high mark only stays paused."""
    server = End()
    with raw_client(reactor, server) as peer:
        size = fill(reactor, server)
        server.transport.set_write_buffer_limits(high=size - 1, low=10)
        wait_until(reactor, lambda: server.paused)
        received = receive_all(reactor, peer, MUCH - size // 2)
        if server.transport.get_write_buffer_size() > 10:
            assert server.paused
        receive_all(reactor, peer, MUCH - len(received))
        wait_until(reactor, lambda: not server.paused)


def test_limits(reactor: Reactor) -> None:
    """The defaults are 16 and 64 KiB; low is a quarter of high; anything out of order is a ValueError."""
    client, server = End(), End()
    connected(reactor, client, server)
    assert client.transport.get_write_buffer_limits() == (16384, 65536)
    client.transport.set_write_buffer_limits(high=1000)
    assert client.transport.get_write_buffer_limits() == (250, 1000)
    client.transport.set_write_buffer_limits(high=0)
    assert client.transport.get_write_buffer_limits() == (0, 0)
    for high, low in [(1, 2), (5, -1), (-1, None)]:
        with pytest.raises(ValueError, match="low"):
            client.transport.set_write_buffer_limits(high, low)


class Producer(End):
    """Writes `total` bytes in pieces, but only while it may."""

    PIECE = bytes(range(256)) * 256

    def __init__(self, total: int) -> None:
        super().__init__()
        self.left = total
        self.most = 0

    def produce(self) -> None:
        while self.left and not self.paused:
            self.transport.write(self.PIECE[: self.left])
            self.left -= len(self.PIECE[: self.left])
            size = self.transport.get_write_buffer_size()
            self.most = max(self.most, size)
            if size > 300_000:
                break

    def resume_writing(self) -> None:
        super().resume_writing()
        self.produce()


def test_a_slow_reader_costs_no_memory(reactor: Reactor) -> None:
    """50 MB to a reader slower than the writer: the buffer stays small, pauses and resumes come in pairs."""
    total = 50_000_000
    server, reader = Producer(total), End()
    connected(reactor, reader, server)
    digest, received = hashlib.sha256(), 0

    def slow(data: bytes) -> None:
        nonlocal received
        received += len(data)
        digest.update(data)
        reader.transport.pause_reading()
        reactor.call_later(0, reader.transport.resume_reading)

    reader.data_received = slow  # type: ignore[method-assign] # keeps 50 MB out of the End's record
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    def write() -> bool:
        server.produce()
        return received == total

    wait_until(reactor, write, seconds=40)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 25_000, f"{grown} KB more memory"
    assert server.most < 2_000_000
    expected = hashlib.sha256()
    pieces, rest = divmod(total, len(Producer.PIECE))
    for _ in range(pieces):
        expected.update(Producer.PIECE)
    expected.update(Producer.PIECE[:rest])
    assert digest.digest() == expected.digest()


def test_one_large_write(reactor: Reactor) -> None:
    """50 MB in one write arrive whole."""
    client, server = End(), End()
    connected(reactor, client, server)
    data = bytes(range(250)) * 200_000
    client.transport.write(data)
    client.transport.close()
    wait_until(reactor, lambda: server.lost and client.lost, seconds=30)
    assert server.data == data


def test_resume_is_not_forgotten_after_close(reactor: Reactor) -> None:
    """A connection that is closed while writing is paused still flushes and ends."""
    server = End()
    with raw_client(reactor, server) as peer:
        server.transport.write(bytes(MUCH))
        wait_until(reactor, lambda: server.paused)
        server.transport.close()
        assert len(receive_all(reactor, peer, MUCH + 1)) == MUCH
        wait_until(reactor, lambda: server.lost)
    assert server.reason is None


@pytest.fixture
def big_file(tmp_path: pathlib.Path) -> pathlib.Path:
    path = tmp_path / "big"
    path.write_bytes(bytes(range(256)) * (MUCH // 256))
    return path


@pytest.mark.parametrize("offset", [0, 1, 1000])
@pytest.mark.parametrize("count", [0, 1, 100, 70_000, 2_000_000])
def test_send_file_keeps_its_place(reactor: Reactor, big_file: pathlib.Path, offset: int, count: int) -> None:
    """After everything written before, before everything written after."""
    client, server = End(), End()
    connected(reactor, client, server)
    with big_file.open("rb") as file:
        server.transport.write(b"<")
        sent = server.transport.send_file(file, offset, count)
        server.transport.write(b">")
        assert wait_for(reactor, sent) == count
    expected = b"<" + big_file.read_bytes()[offset : offset + count] + b">"
    wait_until(reactor, lambda: len(client.data) == len(expected))
    assert client.data == expected
    assert server.transport.get_write_buffer_size() == 0
    assert server.transport.get_extra_info("bytes_sent") == len(expected)


def test_several_files_and_a_close(reactor: Reactor, big_file: pathlib.Path) -> None:
    """close flushes files too."""
    client, server = End(), End()
    connected(reactor, client, server)
    with big_file.open("rb") as file:
        sent = [server.transport.send_file(file, start, 100_000) for start in (0, 5, 0)]
        server.transport.close()
        assert [wait_for(reactor, deferred) for deferred in sent] == [100_000] * 3
    wait_until(reactor, lambda: client.lost and server.lost)
    data = big_file.read_bytes()
    assert client.data == data[:100_000] + data[5:100_005] + data[:100_000]


@pytest.mark.parametrize("count", [100, 200_000])
def test_a_file_is_told_before_the_end(reactor: Reactor, big_file: pathlib.Path, count: int) -> None:
    """Its Deferred fires first, then comes connection_lost."""
    order: list[object] = []
    client, server = End(), End(on_lost=lambda _end: order.append("lost"))
    connected(reactor, client, server)
    with big_file.open("rb") as file:

        def send() -> None:
            server.transport.send_file(file, 0, count).add_callback(order.append)
            server.transport.close()

        reactor.call_soon(send)
        wait_until(reactor, lambda: len(order) == 2)
    assert order == [count, "lost"]
    wait_until(reactor, lambda: client.lost)


@pytest.mark.parametrize("count", [100, 100_000, 10_000_000])
def test_send_file_of_a_file_shorter_than_said(reactor: Reactor, tmp_path: pathlib.Path, count: int) -> None:
    """The result is the number of bytes there were, and what was written after follows."""
    path = tmp_path / "short"
    path.write_bytes(b"0123456789" * 9)
    client, server = End(), End()
    connected(reactor, client, server)
    with path.open("rb") as file:
        sent = server.transport.send_file(file, 10, count)
        server.transport.write(b">")
        assert wait_for(reactor, sent) == 80
    wait_until(reactor, lambda: client.data.endswith(b">"))
    assert client.data == b"0123456789" * 8 + b">"
    assert server.transport.get_write_buffer_size() == 0


def test_send_file_to_a_slow_reader(reactor: Reactor, big_file: pathlib.Path) -> None:
    """Nothing blocks, nothing is lost, and other work goes on meanwhile."""
    server = End()
    with raw_client(reactor, server) as peer, big_file.open("rb") as file:
        sent = server.transport.send_file(file, 0, MUCH)
        server.transport.write(b"end")
        beats: list[int] = []
        reactor.call_later(0.01, beats.append, 1)
        wait_until(reactor, lambda: beats)
        assert not sent.called
        received = receive_all(reactor, peer, MUCH + 3)
        assert received == big_file.read_bytes()[:MUCH] + b"end"
        assert wait_for(reactor, sent) == MUCH


def test_writes_and_files_to_a_slow_reader_keep_their_order(reactor: Reactor, big_file: pathlib.Path) -> None:
    """Wherever the kernel cuts what it takes, and whatever is written meanwhile."""
    draw = random.Random(5)
    content = big_file.read_bytes()
    expected = bytearray()
    server = End(keep_open=True)
    with raw_client(reactor, server) as peer, big_file.open("rb") as file:
        received = bytearray()
        for _ in range(80):
            for _ in range(draw.randrange(5)):
                count = draw.choice([1, 100, 20_000, 70_000, 300_000, 600_000])
                offset = draw.randrange(1_000_000)
                if draw.randrange(2):
                    server.transport.write(content[offset : offset + count])
                else:
                    server.transport.send_file(file, offset, count)
                expected += content[offset : offset + count]
            reactor.step()
            peer.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                received += peer.recv(draw.choice([100, 100_000]))
        server.transport.write_eof()
        received += receive_all(reactor, peer, len(expected) - len(received) + 1)
        assert received == expected
        assert server.transport.get_extra_info("bytes_sent") == len(expected)
        assert server.transport.get_write_buffer_size() == 0


def resident() -> int:
    """Return the bytes of memory that this process has now."""
    return int(pathlib.Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def test_many_slow_readers_of_a_file_cost_no_memory(reactor: Reactor, big_file: pathlib.Path) -> None:
    """What the kernel does not take stays in the file, however many readers there are; and none is cut off."""
    many = 150
    servers: list[End] = []

    def made() -> End:
        servers.append(End())
        return servers[-1]

    listener = reactor.listen(made, "127.0.0.1")
    assert not isinstance(listener.address, str)
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(big_file.open("rb"))
        peers: list[socket.socket] = []
        while len(peers) < many:
            peers.append(stack.enter_context(socket.create_connection(listener.address)))
            wait_until(reactor, lambda: len(servers) == len(peers))
        before = resident()
        sent = [server.transport.send_file(file, 0, MUCH) for server in servers]
        for _ in range(40):
            reactor.step(0.005)
        grown = resident() - before
        assert receive_all(reactor, peers[0], MUCH) == big_file.read_bytes()[:MUCH]
        assert wait_for(reactor, sent[0]) == MUCH
        assert not any(server.lost for server in servers)
        for deferred in sent[1:]:
            deferred.add_errback(lambda _: None)
            assert not deferred.called
        for server in servers:
            server.transport.abort()
        wait_until(reactor, lambda: all(server.lost for server in servers))
        listener.close()
    assert grown < 15_000_000, f"{grown} bytes more memory"


@pytest.mark.parametrize("ending", ["peer", "abort"])
def test_send_file_when_the_connection_ends(reactor: Reactor, big_file: pathlib.Path, ending: str) -> None:
    """Every file that waits fails with ConnectionLost."""
    server = End(keep_open=True)
    with raw_client(reactor, server) as peer, big_file.open("rb") as file:
        sent: list[Deferred[int]] = [server.transport.send_file(file, 0, MUCH) for _ in range(4)]
        for _ in range(3):
            reactor.step()
        if ending == "peer":
            peer.close()
        else:
            server.transport.abort()
        for deferred in sent:
            with pytest.raises(ConnectionLost):
                wait_for(reactor, deferred)
        wait_until(reactor, lambda: server.lost)
        with pytest.raises(ConnectionLost):
            wait_for(reactor, server.transport.send_file(file, 0, 1))


def test_send_file_of_a_file_object_without_a_descriptor(reactor: Reactor) -> None:
    """Any seekable binary file will do."""
    client, server = End(), End()
    connected(reactor, client, server)
    data = bytes(range(256)) * 4000
    assert wait_for(reactor, server.transport.send_file(io.BytesIO(data), 256, 1_000_000)) == 1_000_000
    wait_until(reactor, lambda: len(client.data) == 1_000_000)
    assert client.data == data[256:1_000_256]


@pytest.mark.parametrize("count", [10, 1_000_000])
def test_send_file_that_cannot_be_read(reactor: Reactor, tmp_path: pathlib.Path, count: int) -> None:
    """FileError; the stream cannot be right any more for what was promised, but does not crash."""
    path = tmp_path / "write-only"
    client, server = End(), End()
    connected(reactor, client, server)
    with path.open("wb") as file:
        file.write(bytes(2_000_000))
        file.flush()
        with pytest.raises(FileError):
            wait_for(reactor, server.transport.send_file(typing.cast("typing.BinaryIO", file), 0, count))
