"""The contract of streams: order of calls, the ways to end, and what writing means."""

from __future__ import annotations

import contextlib
import socket
import typing

import pytest

from portable.errors import ConnectionAborted, ConnectionReset
from portable.testing import wait_for, wait_until
from tests.conformance.judge import End, connected, raw_client, raw_server, reset

if typing.TYPE_CHECKING:
    from collections.abc import Callable

    from portable.reactor import Reactor
    from tests.conftest import ErrorLog


def both_lost(*ends: End) -> Callable[[], bool]:
    return lambda: all(end.lost for end in ends)


def test_a_regular_life(reactor: Reactor) -> None:
    """connection_made data_received* eof_received? connection_lost; None after a regular end."""
    client, server = End(), End(on_data=lambda end, data: end.transport.write(data))
    connected(reactor, client, server)
    client.transport.write(b"hello")
    wait_until(reactor, lambda: client.data == b"hello")
    client.transport.close()
    wait_until(reactor, both_lost(client, server))
    assert client.calls == ["made", "data", "lost"]
    assert server.calls == ["made", "data", "eof", "lost"]
    assert (client.reason, server.reason) == (None, None)
    for _ in range(3):
        reactor.step()
    assert server.calls[-1] == "lost"


def test_nothing_may_be_called_after_the_end(reactor: Reactor) -> None:
    """Every method may be called after connection_lost, and then does nothing."""
    client, server = End(), End()
    connected(reactor, client, server)
    client.transport.close()
    wait_until(reactor, both_lost(client, server))
    transport = client.transport
    transport.write(b"x")
    transport.writelines([b"x"])
    transport.write_eof()
    transport.close()
    transport.abort()
    transport.pause_reading()
    transport.resume_reading()
    assert transport.get_write_buffer_size() == 0
    assert not transport.is_reading()
    transport.get_extra_info("peername")
    for _ in range(3):
        reactor.step()
    assert client.calls == ["made", "lost"]


def test_connect_gives_the_protocol_just_after_connection_made(reactor: Reactor) -> None:
    """What the protocol writes in connection_made comes first."""
    client = End(on_made=lambda end: end.transport.write(b"first "))
    server = End()
    connected(reactor, client, server)
    client.transport.write(b"second")
    wait_until(reactor, lambda: server.data == b"first second")


def test_urgent_data_come_in_the_stream(reactor: Reactor) -> None:
    """RFC 6093 4: where it stands, and not lost."""
    server = End()
    with raw_client(reactor, server) as peer:
        peer.sendall(b"before ")
        peer.send(b"urgent", socket.MSG_OOB)
        peer.sendall(b" after")
        wait_until(reactor, lambda: server.data.endswith(b" after"))
    assert server.data == b"before urgent after"
    wait_until(reactor, both_lost(server))


def test_urgent_data_come_in_the_stream_of_who_has_connected(reactor: Reactor) -> None:
    """The same for the other side."""
    client = End()
    listening, port = raw_server()
    with listening:
        wait_for(reactor, reactor.connect(lambda: client, "127.0.0.1", port))
        peer, _ = listening.accept()
        with peer:
            peer.sendall(b"before ")
            peer.send(b"urgent", socket.MSG_OOB)
            peer.sendall(b" after")
            wait_until(reactor, lambda: client.data.endswith(b" after"))
    assert client.data == b"before urgent after"
    wait_until(reactor, both_lost(client))


def test_half_close_by_us(reactor: Reactor) -> None:
    """write_eof flushes and ends our direction; reading goes on, writing is ignored."""
    client = End(keep_open=False)
    server = End(keep_open=True)
    connected(reactor, client, server)
    assert client.transport.can_write_eof()
    client.transport.write(b"question")
    client.transport.write_eof()
    client.transport.write_eof()
    client.transport.write(b"ignored")
    wait_until(reactor, lambda: server.eof)
    assert not client.transport.is_closing()
    server.transport.write(b"answer")
    wait_until(reactor, lambda: client.data == b"answer")
    assert not client.lost
    server.transport.close()
    wait_until(reactor, both_lost(client, server))
    assert server.data == b"question"
    assert client.reason is server.reason is None


def test_eof_received_true_keeps_the_connection_open(reactor: Reactor) -> None:
    """After True the protocol may write, and must close."""
    server = End(keep_open=True)
    with raw_client(reactor, server) as peer:
        peer.shutdown(socket.SHUT_WR)
        wait_until(reactor, lambda: server.eof)
        for _ in range(3):
            reactor.step()
        assert not server.transport.is_closing()
        server.transport.write(b"late")
        server.transport.close()
        wait_until(reactor, lambda: server.lost)
        assert peer.recv(100) == b"late"
        assert peer.recv(100) == b""


@pytest.mark.parametrize("answer", [None, False])
def test_eof_received_otherwise_flushes_and_closes(reactor: Reactor, answer: bool | None) -> None:
    """After None or False the transport flushes and closes itself."""
    server = End(keep_open=answer, on_eof=lambda end: end.transport.write(b"bye"))
    with raw_client(reactor, server) as peer:
        peer.shutdown(socket.SHUT_WR)
        wait_until(reactor, lambda: server.lost)
        assert peer.recv(100) == b"bye"
        assert peer.recv(100) == b""
    assert server.calls == ["made", "eof", "lost"]


def test_reset_by_the_peer(reactor: Reactor) -> None:
    """A reset is ConnectionReset with the code ECONNRESET, and no eof_received."""
    server = End()
    reset(raw_client(reactor, server))
    wait_until(reactor, lambda: server.lost)
    assert type(server.reason) is ConnectionReset
    assert server.reason.code == "ECONNRESET"
    assert server.calls == ["made", "lost"]


def test_data_and_a_reset_at_once(reactor: Reactor) -> None:
    """The data come, and then the end, though nobody writes."""
    server = End()
    with raw_client(reactor, server) as peer:
        peer.sendall(b"x")
        reset(peer)
    wait_until(reactor, lambda: server.lost)
    assert type(server.reason) is ConnectionReset
    assert server.calls == ["made", "data", "lost"]


def test_writing_to_a_peer_that_is_gone(reactor: Reactor) -> None:
    """write never raises for a dead peer: connection_lost tells, with the same class and code as a reset."""
    server = End(keep_open=True)
    peer = raw_client(reactor, server)
    peer.close()
    wait_until(reactor, lambda: server.eof)

    def write() -> bool:
        server.transport.write(b"x" * 1000)
        return server.lost

    wait_until(reactor, write)
    assert type(server.reason) is ConnectionReset
    assert server.reason.code == "ECONNRESET"


def test_what_fails_is_not_counted_as_sent(reactor: Reactor) -> None:
    """bytes_sent has what the system took."""
    server = End()
    peer = raw_client(reactor, server)
    server.transport.write(b"taken")
    server.transport.pause_reading()  # so that it is writing that finds out
    reactor.step()
    assert peer.recv(5) == b"taken"
    reset(peer)
    server.transport.write(b"lost")
    wait_until(reactor, lambda: server.lost)
    assert server.transport.get_extra_info("bytes_sent") == 5


def test_pause_reading_holds_data_back(reactor: Reactor) -> None:
    """No data_received until resume_reading; both idempotent."""
    server = End()
    with raw_client(reactor, server) as peer:
        server.transport.pause_reading()
        server.transport.pause_reading()
        assert not server.transport.is_reading()
        peer.sendall(b"waits")
        for _ in range(5):
            reactor.step(0.01)
        assert server.calls == ["made"]
        server.transport.resume_reading()
        server.transport.resume_reading()
        wait_until(reactor, lambda: server.data == b"waits")


def test_pause_reading_inside_data_received(reactor: Reactor) -> None:
    """What has been read already or waits in the kernel is held back from the next call on."""
    server = End(on_data=lambda end, _: end.transport.pause_reading())
    with raw_client(reactor, server) as peer:
        peer.sendall(b"one")
        wait_until(reactor, lambda: server.data)
        peer.sendall(b"two")
        for _ in range(5):
            reactor.step(0.01)
        assert server.data == b"one"
        server.transport.resume_reading()
        wait_until(reactor, lambda: server.data == b"onetwo")


def test_pause_reading_by_another_connection_in_the_same_turn(reactor: Reactor) -> None:
    """As a proxy does: whichever of the two is told first, the other has data already, and keeps them."""
    ends: list[End] = []

    def pause_the_other(end: End, _: bytes) -> None:
        (other,) = (one for one in ends if one is not end)
        other.transport.pause_reading()

    ends += [End(on_data=pause_the_other), End(on_data=pause_the_other)]
    with raw_client(reactor, ends[0]) as one, raw_client(reactor, ends[1]) as two:
        one.sendall(b"x")
        two.sendall(b"x")
        wait_until(reactor, lambda: any(end.data for end in ends))
        for _ in range(3):
            reactor.step(0.01)
        assert sorted(bytes(end.data) for end in ends) == [b"", b"x"]
        for end in ends:
            end.transport.resume_reading()
        wait_until(reactor, lambda: all(end.data == b"x" for end in ends))


def test_pause_reading_holds_the_end_of_stream_back(reactor: Reactor) -> None:
    """No eof_received while reading is paused."""
    server = End()
    with raw_client(reactor, server) as peer:
        server.transport.pause_reading()
        peer.sendall(b"last words")
        peer.shutdown(socket.SHUT_WR)
        for _ in range(5):
            reactor.step(0.01)
        assert server.calls == ["made"]
        server.transport.resume_reading()
        wait_until(reactor, lambda: server.lost)
    assert server.calls == ["made", "data", "eof", "lost"]


def test_what_waited_while_reading_was_paused_comes_before_a_reset(reactor: Reactor) -> None:
    """What the peer sent before it reset the connection is received first, however late reading is resumed."""
    server = End(on_data=lambda end, _: end.transport.pause_reading())
    peer = raw_client(reactor, server)
    peer.sendall(bytes(100_000))
    reset_sent = False
    while not server.lost:
        wait_until(reactor, lambda: server.lost or not server.transport.is_reading())
        for _ in range(5):
            reactor.step(0.01)
        if not reset_sent:
            reset_sent = True
            reset(peer)
        # From a call that the loop makes before it looks at the sockets.
        reactor.call_soon(server.transport.resume_reading)
        reactor.step()
    assert len(server.data) == 100_000
    assert type(server.reason) is ConnectionReset


def test_pause_reading_in_connection_made(reactor: Reactor) -> None:
    """The earliest moment is early enough."""
    server = End(on_made=lambda end: end.transport.pause_reading())
    with raw_client(reactor, server) as peer:
        peer.sendall(b"early")
        for _ in range(5):
            reactor.step(0.01)
        assert server.calls == ["made"]
        server.transport.resume_reading()
        wait_until(reactor, lambda: server.data == b"early")


def test_write_after_close_is_ignored(reactor: Reactor) -> None:
    """close flushes what was written before it and nothing else."""
    client, server = End(), End()
    connected(reactor, client, server)
    client.transport.write(b"before")
    client.transport.close()
    client.transport.write(b"after")
    client.transport.writelines([b"after"])
    assert client.transport.is_closing()
    client.transport.close()
    wait_until(reactor, both_lost(client, server))
    assert server.data == b"before"


def test_what_write_takes(reactor: Reactor) -> None:
    """bytes, bytearray and memoryview; a mutable one has been copied when write returns."""
    client, server = End(), End()
    connected(reactor, client, server)
    mutable = bytearray(b"bytearray ")
    client.transport.write(mutable)
    mutable[:] = b"##########"
    viewed = bytearray(b"memoryview ")
    client.transport.write(memoryview(viewed)[:])
    viewed[:] = b"###########"
    client.transport.write(b"")
    client.transport.write(b"bytes ")
    client.transport.writelines([b"a", bytearray(b"b"), memoryview(b"c")])
    wait_until(reactor, lambda: server.data == b"bytearray memoryview bytes abc")


@pytest.mark.parametrize("wrong", ["text", None, 7, [b"x"]])
def test_what_write_refuses(reactor: Reactor, wrong: typing.Any) -> None:
    """Anything else is a TypeError, and the connection goes on."""
    client, server = End(), End()
    connected(reactor, client, server)
    with pytest.raises(TypeError):
        client.transport.write(wrong)
    client.transport.write(b"fine")
    wait_until(reactor, lambda: server.data == b"fine")


def test_abort_drops_what_was_not_sent(reactor: Reactor) -> None:
    """abort closes at once; connection_lost(None) follows."""
    server = End()
    with raw_client(reactor, server, receive_buffer=4096) as peer:
        server.transport.write(bytes(20_000_000))
        for _ in range(3):
            reactor.step()
        server.transport.abort()
        server.transport.abort()
        assert server.transport.is_closing()
        assert not server.lost
        wait_until(reactor, lambda: server.lost, seconds=2)
        assert server.reason is None
        received = 0
        try:
            while chunk := peer.recv(1_000_000):
                received += len(chunk)
        except ConnectionResetError:
            pass
        assert received < 20_000_000


def test_close_flushes(reactor: Reactor) -> None:
    """Everything written before close arrives, however much it is."""
    client, server = End(), End()
    connected(reactor, client, server)
    data = bytes(range(256)) * 20_000
    client.transport.write(data)
    client.transport.close()
    wait_until(reactor, both_lost(client, server))
    assert server.data == data
    assert client.reason is server.reason is None


def test_close_stops_reading(reactor: Reactor) -> None:
    """No data_received after close, though the flush takes long."""
    server = End()
    with raw_client(reactor, server, receive_buffer=4096) as peer:
        server.transport.write(bytes(5_000_000))
        server.transport.close()
        peer.sendall(b"too late")
        for _ in range(5):
            reactor.step(0.01)
        assert server.calls in (["made"], ["made", "pause"])
        server.transport.abort()
        wait_until(reactor, lambda: server.lost)


@pytest.mark.parametrize("method", ["close", "abort"])
@pytest.mark.parametrize("moment", ["on_made", "on_data", "on_eof", "on_lost"])
def test_ending_inside_any_call(reactor: Reactor, method: str, moment: str) -> None:
    """close and abort may be called from every call, and connection_lost still comes once, later."""
    arguments: dict[str, typing.Any] = {moment: lambda end, *_: getattr(end.transport, method)()}
    server = End(**arguments)
    with raw_client(reactor, server) as peer:
        with contextlib.suppress(OSError):  # aborted already
            peer.sendall(b"x")
            peer.shutdown(socket.SHUT_WR)
        wait_until(reactor, lambda: server.lost)
        for _ in range(3):
            reactor.step()
    assert server.calls.count("lost") == 1


@pytest.mark.parametrize("error", [ZeroDivisionError, SystemExit])
def test_an_exception_in_a_call_ends_that_connection_only(
    reactor: Reactor, error_log: ErrorLog, error: type[BaseException]
) -> None:
    """It is logged and aborts the connection; the others and the listener go on. SystemExit is no more."""

    def fail(end: End, data: bytes) -> None:
        raise error("on purpose")

    broken, good, client, other = End(on_data=fail), End(), End(), End()
    connected(reactor, client, broken)
    connected(reactor, other, good)
    client.transport.write(b"x")
    other.transport.write(b"x")
    wait_until(reactor, both_lost(client, broken))
    wait_until(reactor, lambda: good.data == b"x")
    assert isinstance(broken.reason, ConnectionAborted)
    assert not good.lost
    error_log.expect("on purpose", 1)


@pytest.mark.parametrize("error", [ZeroDivisionError, SystemExit])
@pytest.mark.parametrize("moment", ["on_made", "on_eof", "on_lost"])
def test_an_exception_in_any_call_is_logged(
    reactor: Reactor, error_log: ErrorLog, moment: str, error: type[BaseException]
) -> None:
    """Whichever call it was, the descriptor is given back and the loop goes on."""

    def fail(end: End) -> None:
        raise error("on purpose")

    arguments: dict[str, typing.Any] = {moment: fail}
    server = End(**arguments)
    with raw_client(reactor, server) as peer:
        with contextlib.suppress(OSError):  # reset already
            peer.shutdown(socket.SHUT_WR)
        wait_until(reactor, lambda: server.lost)
    error_log.expect("on purpose", 1)


def test_addresses_and_counters(reactor: Reactor) -> None:
    """peername, sockname, bytes_received, bytes_sent; an unknown key gives the default."""
    client, server = End(), End()
    listener = connected(reactor, client, server, keep=True)
    client.transport.write(b"12345")
    wait_until(reactor, lambda: server.data)
    ours, theirs = client.transport.get_extra_info, server.transport.get_extra_info
    assert theirs("sockname") == ours("peername") == listener.address
    assert theirs("peername") == ours("sockname")
    assert ours("peername").host == "127.0.0.1"
    assert (ours("bytes_sent"), theirs("bytes_received")) == (5, 5)
    assert ours("nonsense") is None
    assert ours("nonsense", 7) == 7


def test_set_protocol_changes_who_is_called(reactor: Reactor) -> None:
    """connection_made is not called again."""
    client, server, second = End(), End(), End()
    connected(reactor, client, server)
    server.transport.set_protocol(second)
    assert server.transport.get_protocol() is second
    second.calls.append("made")
    second.transport = server.transport
    client.transport.write(b"x")
    wait_until(reactor, lambda: second.data == b"x")
    client.transport.close()
    wait_until(reactor, both_lost(second, client))
    assert server.calls == ["made"]
