"""Whatever comes in whatever order: a connection whose client says nothing more ends, and no timer stays."""

from __future__ import annotations

import typing

from hypothesis import given, settings
from hypothesis import strategies as st

from portable.deferred import Deferred
from protocols.http.messages import Response
from tests.protocols.http.bench import Bench, Counting

if typing.TYPE_CHECKING:
    from protocols.http.request import Request
    from protocols.http.resource import Rendered

LONG = 200_000

# A request each: its head, and what comes of its body.
REQUESTS = [
    b"GET /%s HTTP/1.1\r\nHost: a\r\n\r\n",
    b"POST /%s HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
    b"POST /%s HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhe",
    b"POST /%s HTTP/1.1\r\nHost: a\r\nContent-Length: 70000\r\n\r\n" + b"y" * 70000,
    b"POST /%s HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n" + b"y" * LONG,
    b"POST /%s HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    b"POST /%s HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n",
    b"POST /%s HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello",
    b"POST /%s HTTP/1.0\r\n\r\n",
]
ANSWERS = [b"?short", b"?long", b"?later", b"?echo", b"?stream", b"?early", b"?wrong"]
STEPS = st.one_of(
    st.tuples(st.just("receive"), st.sampled_from([1, 60, 1000, LONG])),
    st.tuples(st.just("allow"), st.sampled_from([1, 1000, LONG])),
    st.tuples(st.just("wait"), st.sampled_from([0, 1, 3, 40])),
    st.tuples(st.sampled_from(["answer", "end", "drain", "lose"]), st.just(0)),
)


class Played(Bench):
    """A connection, and the answers that its resource has put off."""

    def __init__(self, window: int | None) -> None:
        self.put_off: list[Deferred[Response]] = []
        super().__init__(self.answer, window=window)

    def answer(self, request: Request) -> Rendered:
        if request.query == "short":
            return Response(200, body=b"x")
        if request.query == "long":
            return Response(200, body=b"x" * LONG)
        if request.query == "later":
            self.put_off.append(Deferred())
            return self.put_off[-1]
        if request.query == "echo":
            return self.echo(request)
        if request.query == "stream":
            return Response(200, body=Counting([b"a", b"b" * LONG]))
        if request.query == "early":
            # Answers, and goes on waiting for the body.
            request.body.next_chunk().add_errback(repr)
            return Response(200, body=b"early")
        raise ValueError

    async def echo(self, request: Request) -> Response:
        return Response(200, body=await request.body.read(100_000))

    def answer_one(self) -> None:
        if self.put_off:
            self.put_off.pop(0).callback(Response(200, body=b"late"))


@settings(max_examples=1500)
@given(
    requests=st.lists(st.tuples(st.sampled_from(REQUESTS), st.sampled_from(ANSWERS)), min_size=1, max_size=4),
    steps=st.lists(STEPS, max_size=30),
    window=st.sampled_from([None, 0, 10, 1000]),
    reads=st.booleans(),
)
def test_every_connection_ends(
    requests: list[tuple[bytes, bytes]], steps: list[tuple[str, int]], window: int | None, reads: bool
) -> None:
    played = Played(window)
    transport = played.transport
    unsent = b"".join(request.replace(b"%s", answer, 1) for request, answer in requests)
    ended = False
    for step, count in steps:
        if transport.lost:
            break
        if step == "receive" and not ended:
            transport.receive(unsent[:count])
            unsent = unsent[count:]
        elif step == "allow":
            transport.allow(count)
        elif step == "wait":
            played.clock.advance(count)
        elif step == "answer":
            played.answer_one()
        elif step == "end" and not ended:
            ended = True
            transport.receive_eof()
        elif step == "drain":
            played.server.drain()
        elif step == "lose":
            transport.lose()
    # From now on the client sends nothing, and takes everything or nothing. The resource does its part.
    if reads and not transport.lost:
        transport.allow(None)
    for _ in range(100):
        played.answer_one()
        played.clock.advance(10)
    assert transport.lost
    assert played.clock.next_time() is None
