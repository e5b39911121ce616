"""A publisher and a relay made of Twisted's own distributed web, as programs of their own.

python twisted_web.py publisher SOCKET FOLDER   publishes a few resources and FOLDER, prints "READY"
python twisted_web.py relay SOCKET              relays /u/ to SOCKET by HTTP, prints "READY PORT"
"""

from __future__ import annotations

import hashlib
import sys
from typing import Any

from twisted.internet import reactor, task
from twisted.spread import pb
from twisted.web import distrib, resource, server, static

MEGABYTE = bytes(range(256)) * 4096


class Page(resource.Resource):
    def __init__(self, answer: Any) -> None:
        super().__init__()
        self.isLeaf = True
        self.render_GET = self.render_POST = answer


def about(request: Any) -> bytes:
    request.setResponseCode(203, b"Odd")
    request.setHeader(b"x-one", b"1")
    request.addCookie(b"first", b"1", path=b"/", httpOnly=True)
    request.addCookie(b"second", b"2")
    told = [
        request.method, request.uri, b"/".join(request.postpath), repr(request.args).encode(),
        request.getHeader(b"x-asked") or b"", request.getCookie(b"biscuit") or b"",
        request.getClientAddress().host.encode(),
    ]  # fmt: skip
    return b"\n".join(told)


def digest(request: Any) -> bytes:
    content = request.content.read()
    return b"%d %s" % (len(content), hashlib.sha256(content).hexdigest().encode())


def validators(request: Any) -> bytes:
    request.setLastModified(1_000_000_000)
    request.setETag(b'"tag"')
    return b"x"


def slowly(request: Any) -> Any:
    request.write(b"one,")
    task.deferLater(reactor, 0.05, request.write, b"two")
    task.deferLater(reactor, 0.1, request.finish)
    return server.NOT_DONE_YET


class Pusher:
    """Writes 10 MB unless it is told to pause."""

    def __init__(self, request: Any) -> None:
        self.request = request
        self.left = 160
        request.registerProducer(self, True)
        self.resumeProducing()

    def resumeProducing(self) -> None:
        self.running = True
        self.write()

    def write(self) -> None:
        if not self.running:
            return
        if not self.left:
            self.running = False
            self.request.unregisterProducer()
            self.request.finish()
            return
        self.left -= 1
        self.request.write(MEGABYTE[: 64 * 1024])
        reactor.callLater(0, self.write)

    def pauseProducing(self) -> None:
        self.running = False

    def stopProducing(self) -> None:
        self.running = False


def push(request: Any) -> Any:
    Pusher(request)
    return server.NOT_DONE_YET


def begin(request: Any) -> Any:
    request.write(b"the beginning")
    return server.NOT_DONE_YET


def never(request: Any) -> Any:
    return server.NOT_DONE_YET


def boom(request: Any) -> Any:
    raise ValueError("a secret")


def say(*words: object) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def main() -> None:
    role, path = sys.argv[1:3]
    root = resource.Resource()
    if role == "publisher":
        pages = (about, digest, validators, slowly, push, begin, never, boom)
        for page in pages:
            root.putChild(page.__name__.encode(), Page(page))
        root.putChild(b"files", static.File(sys.argv[3]))
        reactor.listenUNIX(path, pb.PBServerFactory(distrib.ResourcePublisher(server.Site(root))))
        say("READY")
    else:
        root.putChild(b"u", distrib.ResourceSubscription("unix", path))
        port = reactor.listenTCP(0, server.Site(root), interface="127.0.0.1")
        say("READY", port.getHost().port)
    reactor.run()


if __name__ == "__main__":
    main()
