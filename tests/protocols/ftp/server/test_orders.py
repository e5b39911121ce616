"""Whatever comes in whatever order: each command is answered once, and a session that ends leaves nothing."""

from __future__ import annotations

import itertools
import re
import typing

from hypothesis import given, settings
from hypothesis import strategies as st

from portable.attempts import LoginAttempts
from portable.deferred import Deferred
from portable.errors import ConnectionRefused, FileError
from portable.testing import ManualClock, MemoryTransport
from portable.transport import Address
from protocols.ftp.server import ALL, Account, FTPServer, Site
from protocols.servers.ftp.memory import MemoryFiles

if typing.TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CLIENT = Address("192.0.2.1", 40000)
STRANGER = Address("192.0.2.66", 40000)

CHANNELS = [b"PASV", b"EPSV", b"EPRT |1|192.0.2.1|50000|"]
TRANSFERS = [b"RETR big", b"RETR text", b"RETR none", b"STOR new", b"APPE text", b"STOU", b"LIST", b"MLSD"]
OTHERS = [b"ABOR", b"STAT", b"STAT /", b"TYPE I", b"REST 5", b"DELE text", b"SIZE big", b"REIN", b"QUIT", b"X"]
LOGIN = b"USER tom\r\nPASS right"
COMMANDS = st.one_of(
    st.sampled_from([*CHANNELS, *TRANSFERS, *OTHERS, LOGIN, b"PASS wrong"]),
    st.tuples(st.sampled_from(CHANNELS), st.sampled_from(TRANSFERS)).map(b"\r\n".join),
)
STEPS = st.one_of(
    st.tuples(st.just("command"), COMMANDS),
    st.tuples(st.just("transfer"), st.sampled_from(TRANSFERS)),
    st.tuples(st.just("connect"), st.sampled_from([CLIENT, CLIENT, STRANGER])),
    st.tuples(st.just("send"), st.sampled_from([1, 600_000])),
    st.tuples(st.just("allow"), st.sampled_from([1000, None])),
    st.tuples(st.just("wait"), st.sampled_from([0, 3, 61, 301])),
    st.tuples(st.sampled_from(["refuse", "answer", "end", "break", "end all", "drain", "lose"]), st.none()),
)


class Port:
    """A passive port."""

    def __init__(self, factory: Callable[[], typing.Any], host: str, port: int) -> None:
        self.factory = factory
        self.address = Address(host, port)
        self.closed = False

    def close(self) -> None:
        self.closed = True


class Disk:
    """Files, and what is open of them. Calls fail as `outcomes` says, and late ones wait for `answer`."""

    def __init__(self, outcomes: Iterator[Exception | None], late: bool) -> None:
        self.files = MemoryFiles(lambda: 0.0)
        self.files.put(("big",), bytes(300_000))
        self.files.put(("text",), b"a line\n")
        self.open = 0
        self.waiting: list[Callable[[], None]] = []
        self._outcomes = outcomes
        self._late = late

    def answer(self) -> None:
        if self.waiting:
            self.waiting.pop(0)()

    def call(self, method: Callable[..., Deferred[typing.Any]], *args: object, **options: object) -> typing.Any:
        result: Deferred[typing.Any] = Deferred()

        def answer() -> None:
            error = next(self._outcomes)
            if error is not None:
                result.errback(error)
            else:
                method(*args, **options).add_callbacks(result.callback, result.errback)

        if self._late:
            self.waiting.append(answer)
        else:
            answer()
        return result


class Slow:
    """What `of` is, by way of a disk."""

    def __init__(self, disk: Disk, of: typing.Any) -> None:
        self._disk = disk
        self._of = of

    def __getattr__(self, name: str) -> typing.Any:
        found = getattr(self._of, name)
        if not callable(found) or name == "start_at":
            return found
        if name == "close":
            return self._close
        if name.startswith("open_"):
            return lambda *args, **options: self._disk.call(found, *args, **options).add_callback(self._opened)
        return lambda *args, **options: self._disk.call(found, *args, **options)

    def _opened(self, handle: object) -> Slow:
        self._disk.open += 1
        return Slow(self._disk, handle)

    def _close(self) -> typing.Any:
        self._disk.open -= 1
        # Of what is written, this may be late and fail; of the rest it gives None.
        return self._disk.call(self._of.close) if hasattr(self._of, "start_at") else None


class Played(ManualClock):
    """A network with one session of a client that does anything."""

    def __init__(self, disk: Disk, window: int | None) -> None:
        super().__init__()
        self.ports: list[Port] = []
        self.dialled: list[tuple[Callable[[], typing.Any], Deferred[typing.Any]]] = []
        self.data: list[MemoryTransport] = []
        self.disk = disk
        self.sent = 0
        account = Account(typing.cast("typing.Any", Slow(disk, disk.files)), ALL)

        def check(_name: str, password: str) -> Account | None:
            return account if password == "right" else None

        def authenticate(name: str, password: str) -> Deferred[Account | None]:
            found: Deferred[Account | None] = disk.call(lambda: disk.files.attempt(check, name, password))
            return found

        self.site = Site(typing.cast("typing.Any", self), authenticate, LoginAttempts(self))
        self.server = FTPServer(self.site)
        self.control = MemoryTransport(self.server, self, window=window)

    def listen(self, factory: Callable[[], typing.Any], host: str, port: int, *, backlog: int) -> Port:
        self.ports.append(Port(factory, host, port))
        return self.ports[-1]

    def connect(self, factory: Callable[[], typing.Any], *_: object, local_host: str) -> Deferred[typing.Any]:
        self.dialled.append((factory, Deferred()))
        return self.dialled[-1][1]

    def command(self, line: bytes) -> None:
        if not self.control.is_closing():
            self.sent += 1 + line.count(b"\r\n")
            self.control.receive(line + b"\r\n")

    def join(self, peer: Address) -> None:
        """Take the connection that the server wants, or make one."""
        while self.dialled:
            factory, result = self.dialled.pop()
            if not result.called:
                self.open(factory, peer)
                result.callback(None)
                return
        for port in self.ports:
            if not port.closed:
                self.open(port.factory, peer)
                return

    def open(self, factory: Callable[[], typing.Any], peer: Address) -> None:
        self.data.append(MemoryTransport(factory(), self, extra={"peername": peer}, window=self.control.window))

    def refuse(self) -> None:
        while self.dialled:
            _, result = self.dialled.pop()
            if not result.called:
                result.errback(ConnectionRefused("nobody listens there"))

    def do(self, what: str, value: typing.Any) -> None:
        if what == "command":
            self.command(value)
        elif what == "transfer":
            self.command(b"EPSV\r\n" + value)
            self.join(CLIENT)
        elif what == "connect":
            self.join(value)
        elif what == "wait":
            self.advance(value)
        elif what == "refuse":
            self.refuse()
        elif what == "answer":
            self.disk.answer()
        elif what == "drain":
            self.server.drain()
        elif what == "end all":
            self.control.receive_eof()
        elif what == "lose":
            self.control.lose()
        for transport in self.data[-1:]:
            if what == "send":
                transport.receive(b"x" * value)
            elif what == "allow":
                transport.allow(value)
            elif what == "end":
                transport.receive_eof()
            elif what == "break":
                transport.lose()
        self.advance(0)


@settings(max_examples=500)
@given(
    steps=st.lists(STEPS, max_size=30),
    window=st.sampled_from([None, None, 0]),
    failures=st.lists(st.booleans(), max_size=5),
    error=st.sampled_from([FileError("no space", "ENOSPC"), RuntimeError("a fault of ours")]),
    late=st.booleans(),
)
def test_every_session_ends(
    steps: list[tuple[str, typing.Any]],
    window: int | None,
    failures: list[bool],
    error: Exception,
    late: bool,
) -> None:
    # The first is that of the login.
    outcomes = itertools.cycle([None, *(error if fails else None for fails in failures)])
    disk = Disk(outcomes, late)
    played = Played(disk, window)
    played.command(LOGIN)
    for what, value in steps:
        if played.control.ended:
            break
        played.do(what, value)
    # From now on the client does nothing, and the disk its part.
    for _ in range(200):
        disk.answer()
        played.advance(10)
    played.refuse()
    assert played.control.lost
    assert all(transport.lost for transport in played.data)
    assert played.next_time() is None
    assert disk.open == 0
    assert all(port.closed for port in played.ports)
    assert not played.site.ports._used
    replies = re.findall(rb"(?m)^[2-5][0-9][0-9] .*", played.control.written)
    if replies and replies[-1].startswith(b"421 Nothing was asked"):
        # Beside these there is the greeting and the farewell.
        assert len(replies) == played.sent + 2
