"""A program on Twisted that our tests talk to: a server of objects, or a client of ours.

    python twisted_peer.py server SOCKET            serves Root on a Unix socket, prints "READY"
    python twisted_peer.py client SOCKET            calls our server, prints a line for each thing it saw
    python twisted_peer.py portal SOCKET            serves people who log in, prints "READY"
    python twisted_peer.py login SOCKET             logs in to our server, prints a line for each thing it saw

It uses Twisted as any of its users does, and nothing of ours.
"""

from __future__ import annotations

import datetime
import decimal
import gc
import sys
from typing import Any

from twisted.cred import checkers, credentials, portal
from twisted.internet import defer, reactor
from twisted.spread import pb
from zope.interface import implementer

VALUES: list[Any] = [
    None, True, False, 0, 1, -1, 2**31 - 1, 2**31, -(2**31), -(2**31) - 1, 2**70, -(2**70), 1.5, -0.0,
    "text", "\u20ac", "", b"bytes", b"", b"\x00\xff", (1, "a"), [1, [2]], {"a": 1, b"b": [2]}, {1, 2},
    frozenset([3]),
    datetime.datetime(2020, 1, 2, 3, 4, 5, 6), datetime.date(1, 1, 1), datetime.time(3, 4, 5, 6),
    datetime.timedelta(-1, 2, 3), decimal.Decimal("1.50"), decimal.Decimal("-7E+3"),
]  # fmt: skip


class Point(pb.Copyable, pb.RemoteCopy):
    def __init__(self, x: int = 0, y: int = 0) -> None:
        self.x = x
        self.y = y

    def getTypeToCopyFor(self, _perspective: object) -> bytes:
        return b"tests.Point"


pb.setUnjellyableForClass("tests.Point", Point)


class Told(pb.Error):
    pass


class Counter(pb.Referenceable):
    def __init__(self) -> None:
        self.value = 0

    def remote_add(self, number: int) -> int:
        self.value += number
        return self.value


class Root(pb.Root):
    def __init__(self) -> None:
        self.kept: list[Any] = []
        self.calls = 0

    def remote_echo(self, *args: Any, **kwargs: Any) -> Any:
        return (args, kwargs) if kwargs or len(args) != 1 else args[0]

    def remote_values(self) -> list[Any]:
        return VALUES

    def remote_is_values(self, values: list[Any]) -> bool:
        return values == VALUES and [type(v) for v in values] == [type(v) for v in VALUES]

    def remote_counter(self) -> Counter:
        return Counter()

    def remote_call_back(self, reference: Any, number: int) -> Any:
        self.calls += 1
        return reference.callRemote("add", number, twice=True)

    def remote_keep(self, reference: Any) -> None:
        self.kept.append(reference)

    def remote_drop(self) -> int:
        count = len(self.kept)
        self.kept.clear()
        gc.collect()
        return count

    def remote_point(self, point: Point) -> Point:
        return Point(point.y, point.x)

    def remote_shared(self) -> Any:
        inner = [1]
        return [inner, inner, {"again": inner}]

    def remote_cycle(self) -> Any:
        cycle: list[Any] = [1]
        cycle.append(cycle)
        return cycle

    def remote_is_cycle(self, value: Any) -> bool:
        return value[1] is value

    def remote_told(self) -> None:
        raise Told("the reason")

    def remote_bug(self) -> None:
        raise ValueError("a bug")

    def remote_class(self) -> Any:
        return datetime.date

    def remote_never(self) -> Any:
        return defer.Deferred()

    def remote_hang_up(self) -> None:
        for broker in BROKERS:
            broker.transport.loseConnection()


BROKERS: list[Any] = []


class Server(pb.PBServerFactory):
    def clientConnectionMade(self, protocol: Any) -> None:
        BROKERS.append(protocol)


def say(*words: object) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


class Callback(pb.Referenceable):
    def remote_add(self, number: int, twice: bool = False) -> int:
        return number * 2 if twice else number


@defer.inlineCallbacks
def be_client(path: str) -> Any:
    factory = pb.PBClientFactory()
    reactor.connectUNIX(path, factory)
    root = yield factory.getRootObject()
    values = yield root.callRemote("echo", VALUES)
    say("echo", values == VALUES and [type(v) for v in values] == [type(v) for v in VALUES])
    say("kwargs", (yield root.callRemote("named", 1, word="w")))
    say("callback", (yield root.callRemote("call_back", Callback(), 21)))
    counter = yield root.callRemote("counter")
    yield counter.callRemote("add", 3)
    say("counter", (yield counter.callRemote("add", 4)))
    say("own", (yield root.callRemote("is_own", counter)))
    point = yield root.callRemote("point", Point(1, 2))
    say("point", type(point).__name__, point.x, point.y)
    for name in ("told", "bug", "nothing", "secret_", "__class__", "unsendable"):
        try:
            yield root.callRemote(name)
        except pb.RemoteError as error:
            say("error", name, error.remoteType.decode(), error.args[0])
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told
            say("error", name, type(error).__name__, error)
    check = root.callRemote("told").addErrback(lambda failure: failure.check(pb.Error) is not None)
    say("check", (yield check))
    try:
        yield root.callRemote("echo", Unregistered())
    except pb.RemoteError as error:
        say("insecure", error.remoteType.decode())
    cycle: list[Any] = [1]
    cycle.append(cycle)
    back = yield root.callRemote("echo", cycle)
    say("cycle", back[1] is back)
    say("size", len((yield root.callRemote("echo", b"x" * 640 * 1024))))
    del counter, point, back
    gc.collect()
    say("alive", (yield root.callRemote("alive")))
    gone: defer.Deferred[None] = defer.Deferred()
    root.notifyOnDisconnect(lambda _reference: gone.callback(None))
    root.callRemote("hang_up").addErrback(lambda failure: say("lost", failure.type.__name__))
    yield gone
    try:
        yield root.callRemote("echo", 1)
    except pb.DeadReferenceError:
        say("dead")


class Unregistered(pb.Copyable):
    pass


@implementer(portal.IRealm)
class Realm:
    def requestAvatar(self, avatar_id: Any, mind: Any, *interfaces: Any) -> Any:
        avatar = Person(avatar_id, mind)
        return pb.IPerspective, avatar, lambda: say("logout", avatar.name)


class Person(pb.Avatar):
    def __init__(self, name: Any, mind: Any) -> None:
        self.name = name.decode() if isinstance(name, bytes) else "anonymous"
        self.mind = mind

    def perspective_whoami(self) -> str:
        return self.name

    def perspective_ask_mind(self, number: int) -> Any:
        return self.mind.callRemote("add", number)


@defer.inlineCallbacks
def log_in(path: str) -> Any:
    factory = pb.PBClientFactory()
    reactor.connectUNIX(path, factory)
    avatar = yield factory.login(credentials.UsernamePassword(b"alice", b"secret"), Mind())
    say("whoami", (yield avatar.callRemote("whoami")))
    say("mind", (yield avatar.callRemote("ask_mind", 4)))
    wrong = factory.login(credentials.UsernamePassword(b"alice", b"wrong"))
    yield wrong.addErrback(lambda failure: say("refused", failure.type.decode()))
    avatar = yield factory.login(credentials.Anonymous())
    say("whoami", (yield avatar.callRemote("whoami")))


class Mind(pb.Referenceable):
    def remote_add(self, number: int) -> int:
        return number + 1


def main() -> None:
    role, path = sys.argv[1:]
    if role in {"client", "login"}:
        done = be_client(path) if role == "client" else log_in(path)
        done.addErrback(lambda failure: say("failed", failure.getTraceback()))
        done.addBoth(lambda _: reactor.stop())
    elif role == "portal":
        known = checkers.InMemoryUsernamePasswordDatabaseDontUse(alice=b"secret")
        realm = portal.Portal(Realm(), [known, checkers.AllowAnonymousAccess()])
        reactor.listenUNIX(path, pb.PBServerFactory(realm))
        say("READY")
    else:
        reactor.listenUNIX(path, Server(Root()))
        say("READY")
    reactor.run()


if __name__ == "__main__":
    main()
