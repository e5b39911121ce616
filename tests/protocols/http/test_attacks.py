"""Attacks on HTTP servers that have worked elsewhere, each under its name.

HTTP/2 is not offered, so its floods have nothing to flood. Request bodies are neither decompressed nor parsed
as multipart, so bombs of both kinds are bytes under the body limit.
"""

from __future__ import annotations

import io
import logging
import shutil
import subprocess
import typing
import zlib

import pytest

from portable.deferred import Deferred
from portable.protocol import Protocol
from portable.testing import wait_until
from protocols.http.messages import FileBody, FilePiece, Response
from protocols.http.resource import Page, Tree, error_page, redirect
from protocols.http.rules import RULES
from protocols.http.server import Site
from tests.protocols.http.bench import ALL, Bench, Counting, hello
from tests.protocols.http.corpus import CASES, SMUGGLED
from tests.protocols.http.test_corpus import make_tree

if typing.TYPE_CHECKING:
    import pathlib

    from portable.errors import TransportError
    from portable.reactor import Reactor
    from portable.transport import Address, Transport
    from protocols.http.request import Request

HEAD = b"POST / HTTP/1.1\r\nHost: a\r\n"
GET = b"GET / HTTP/1.1\r\nHost: a\r\n"


def refused(data: bytes, status: int) -> None:
    """Assert that `data` gets `status` and a close, and that what follows is no request."""
    hits: list[str] = []

    async def answer(request: Request) -> Response:
        await request.body.read(1000)
        hits.append(request.path)
        return Response()

    bench = Bench(Page(answer, ALL))
    reply = bench.send(data + SMUGGLED)
    assert reply.startswith(f"HTTP/1.1 {status} ".encode())
    assert bench.transport.eof_written
    assert not hits


@pytest.mark.parametrize("second", [b"5", b"6", b"44"])
def test_cl_cl_cve_2020_10108(second: bytes) -> None:
    refused(HEAD + b"Content-Length: 5\r\nContent-Length: " + second + b"\r\n\r\nhello", 400)


@pytest.mark.parametrize("coding", [b"chunked", b"Chunked", b"\tchunked", b"gzip", b"x"])
def test_cl_te_cve_2020_10109(coding: bytes) -> None:
    refused(HEAD + b"Content-Length: 4\r\nTransfer-Encoding: " + coding + b"\r\n\r\n0\r\n\r\n", 400)
    refused(HEAD + b"Transfer-Encoding: " + coding + b"\r\nContent-Length: 4\r\n\r\n0\r\n\r\n", 400)


def test_te_te_ghsa_753j_mpmx_qq6g() -> None:
    refused(HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400)
    refused(HEAD + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 400)
    refused(HEAD + b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400)


@pytest.mark.parametrize("length", [b"+5", b"-5", b"0x5", b"5_0", b"5 0", b"\xb2", b"9" * 40])
def test_signed_or_hex_length_cve_2022_24801(length: bytes) -> None:
    refused(HEAD + b"Content-Length: " + length + b"\r\n\r\nhello", 400)


@pytest.mark.parametrize("size", [b"+5", b"-5", b"0x5", b"5_", b" 5", b"5 ", b"0" * 17])
def test_signed_or_hex_chunk_size_cve_2022_24801(size: bytes) -> None:
    refused(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + size + b"\r\nhello\r\n0\r\n\r\n", 400)


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\n\r", b"\r\r\n"])
def test_bare_lf_or_cr_cve_2023_30589(end: bytes) -> None:
    refused(HEAD + b"X: y" + end + b"Content-Length: 5\r\n\r\nhello", 400)


@pytest.mark.parametrize("line", [b"5;x\n", b"5;x=y\n", b'5;x="\n"\r\n', b"5;\nGET\r\n"])
def test_lf_in_chunk_extension_cve_2025_58056_cve_2025_22871(line: bytes) -> None:
    refused(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + line + b"hello\r\n0\r\n\r\n", 400)


@pytest.mark.parametrize("end", [b"XX", b"\n", b"\rX", b"\n\n", b"0\r"])
def test_junk_after_a_chunk_h11(end: bytes) -> None:
    refused(HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello" + end + b"0\r\n\r\n", 400)


@pytest.mark.parametrize("line", [b" folded", b"\tfolded", b" Content-Length: 5"])
def test_obs_fold(line: bytes) -> None:
    refused(GET + b"X: y\r\n" + line + b"\r\n\r\n", 400)


@pytest.mark.parametrize("name", [b"Content-Length ", b"Content-Length\t", b"X "])
def test_space_before_colon(name: bytes) -> None:
    refused(HEAD + name + b": 5\r\n\r\nhello", 400)


def test_duplicate_host() -> None:
    refused(GET + b"Host: b\r\n\r\n", 400)
    refused(b"GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", 400)


def test_pipelining_order_cve_2023_46137_cve_2024_41671() -> None:
    waiting: list[Deferred[Response]] = []

    def answer(request: Request) -> Deferred[Response] | Response:
        if request.query == "slow":
            waiting.append(Deferred())
            return waiting[-1]
        return Response(200, body=b"quick")

    bench = Bench(answer)
    assert bench.send(b"GET /?slow HTTP/1.1\r\nHost: a\r\n\r\n" + GET + b"\r\n") == b""
    waiting[0].callback(Response(200, body=b"slow"))
    reply = bench.transport.take()
    assert 0 < reply.index(b"slow") < reply.index(b"quick")


def test_pipelining_order_with_a_body_read_late() -> None:
    gates: list[Deferred[None]] = []

    async def answer(request: Request) -> Response:
        gate: Deferred[None] = Deferred()
        gates.append(gate)
        await gate
        body = await request.body.read(100)
        return Response(200, body=b"<" + body + b">")

    bench = Bench(answer)
    bench.send((HEAD + b"Content-Length: 3\r\n\r\none") + (HEAD + b"Content-Length: 3\r\n\r\ntwo"))
    assert len(gates) == 1
    gates[0].callback(None)
    assert len(gates) == 2
    gates[1].callback(None)
    reply = bench.transport.take()
    assert reply.index(b"<one>") < reply.index(b"<two>")


def test_html_in_host_cve_2022_39348() -> None:
    refused(b"GET / HTTP/1.1\r\nHost: <script>alert(1)</script>\r\n\r\n", 400)
    bench = Bench(Tree())
    assert b"<script>" not in bench.get("/%3Cscript%3E")


def test_html_in_a_redirect_cve_2024_41810() -> None:
    bench = Bench(lambda request: redirect('https://a/?q="><script>alert(1)</script>'))
    reply = bench.get()
    assert b"<script>" not in reply
    assert b'">' in reply
    assert b"<script>" not in Bench(lambda request: error_page(404, "<script>")).get()


def test_a_redirect_does_not_lead_to_another_host() -> None:
    reply = Bench(Tree(Page(hello))).get("/?//evil.example")
    assert b"Location" not in reply
    assert b"Location: /evil.example\r\n" in Bench(lambda request: redirect("//evil.example")).get()


@pytest.mark.parametrize("value", ["x\r\nSet-Cookie: a=b", "x\nSet-Cookie: a=b", "x\rSet-Cookie: a=b"])
def test_response_splitting(value: str) -> None:
    reply = Bench(lambda request: Response(200, [("X", value)])).get()
    assert reply.startswith(b"HTTP/1.1 500 ")
    assert b"Set-Cookie" not in reply


def test_http2_is_not_offered() -> None:
    refused(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505)
    bench = Bench(hello)
    reply = bench.get("/", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQ")
    assert reply.startswith(b"HTTP/1.1 200 ")
    assert b"Upgrade" not in reply
    assert bench.get("/", "Connection: Upgrade", "Upgrade: websocket").startswith(b"HTTP/1.1 200 ")


def test_slow_headers_cve_2007_6750() -> None:
    bench = Bench(hello)
    bench.send(GET)
    for _ in range(30):
        bench.clock.advance(1)
        bench.transport.receive(b"X-a: b\r\n")
    assert bench.transport.take().startswith(b"HTTP/1.1 408 ")
    assert bench.transport.lost


def test_slow_body() -> None:
    async def answer(request: Request) -> Response:
        return Response(200, body=await request.body.read(10**6))

    bench = Bench(answer)
    bench.send(HEAD + b"Content-Length: 1000000\r\n\r\n")
    for _ in range(60):
        bench.clock.advance(1)
        bench.transport.receive(b"x")
    assert bench.transport.take().startswith(b"HTTP/1.1 408 ")
    assert bench.transport.lost


def test_slow_read() -> None:
    file = io.BytesIO(b"x" * 10**6)
    bench = Bench(lambda request: Response(200, body=FileBody([FilePiece(file, 0, 10**6)])), window=0)
    bench.get()
    for _ in range(100):
        bench.clock.advance(1)
        bench.transport.allow(1)
    assert bench.transport.aborted
    assert file.closed


def test_slow_read_of_a_stream() -> None:
    stream = Counting([b"x" * 1000] * 1000)
    bench = Bench(lambda request: Response(200, body=stream), window=0)
    bench.get()
    for _ in range(100):
        bench.clock.advance(1)
        bench.transport.allow(1)
    assert bench.transport.aborted
    assert stream.closed == 1


def test_slow_read_of_the_last_answer() -> None:
    """Also if its resource took time, for which there is no limit."""
    later: Deferred[Response] = Deferred()
    bench = Bench(lambda request: later, window=0)
    bench.get("/", "Connection: close")
    later.callback(Response(200, body=b"x" * 10**6))
    for _ in range(100):
        bench.clock.advance(1)
        bench.transport.allow(1)
    assert bench.transport.aborted


def test_idle_connections() -> None:
    bench = Bench(hello)
    bench.clock.advance(61)
    assert bench.transport.lost


def test_gzip_bomb_cve_2026_42587() -> None:
    bomb = zlib.compress(b"\0" * 10**6)

    async def answer(request: Request) -> Response:
        return Response(200, body=str(len(await request.body.read(10**5))).encode())

    fields = b"Content-Encoding: gzip\r\nContent-Length: " + str(len(bomb)).encode() + b"\r\n\r\n"
    assert Bench(answer).send(HEAD + fields + bomb).endswith(b"\r\n\r\n" + str(len(bomb)).encode())
    refused(HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501)


def test_multipart_part_flood_twisted_7564() -> None:
    parts = b"--x\r\n\r\n\r\n" * 5000

    async def answer(request: Request) -> Response:
        return Response(200, body=str(len(await request.body.read(10**5))).encode())

    fields = b"Content-Type: multipart/form-data; boundary=x\r\nContent-Length: "
    reply = Bench(answer).send(HEAD + fields + str(len(parts)).encode() + b"\r\n\r\n" + parts)
    assert reply.endswith(b"\r\n\r\n" + str(len(parts)).encode())


def test_header_flood() -> None:
    refused(GET + b"X: y\r\n" * 1000 + b"\r\n", 431)
    refused(GET + b"X: " + b"y" * 100000, 431)
    refused(GET + b"".join(f"X{number}: y\r\n".encode() for number in range(1000)), 431)


def test_chunk_extension_flood_cve_2023_39326() -> None:
    chunks = (b"1;" + b"x" * 200 + b"\r\ny\r\n") * 100
    refused(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunks, 400)


def test_body_over_the_limit() -> None:
    refused(HEAD + b"Content-Length: 100000000\r\n\r\n", 413)
    refused(HEAD + b"Transfer-Encoding: chunked\r\n\r\n5f5e100\r\n", 413)


@pytest.mark.parametrize(
    "path",
    ["/../x", "/%2e%2e/x", "/%2e%2e%2fx", "/..%5cx", "/a/..", "/%c0%ae%c0%ae/x", "/x%00.html", "/..%c0%afx"],
)
def test_traversal(path: str) -> None:
    assert Bench(Tree(Page(hello))).get(path).startswith(b"HTTP/1.1 400 ")


def test_a_path_is_decoded_once() -> None:
    assert Bench(Tree(Page(hello))).get("/%252e%252e/x").startswith(b"HTTP/1.1 404 ")


def test_log_forging(caplog: pytest.LogCaptureFixture) -> None:
    def fail(request: Request) -> Response:
        raise ValueError(request.target)

    caplog.set_level(logging.INFO)
    bench = Bench(fail)
    bench.get("/?%0aroot: hacked")
    bench.send(b"GET /?x\x1b[2J\x08 HTTP/1.1\r\nHost: a\r\n\r\n")
    for record in caplog.records:
        assert "\n" not in record.getMessage()
        assert "\x1b" not in record.getMessage()


# The same over real sockets.


class Sender(Protocol):
    """Sends `data`, keeps what comes back."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.answer = b""
        self.ended = False

    def connection_made(self, transport: Transport) -> None:
        transport.write(self.data)

    def data_received(self, data: bytes) -> None:
        self.answer += data

    def connection_lost(self, exc: TransportError | None) -> None:
        self.ended = True


def test_the_corpus_over_sockets(reactor: Reactor) -> None:
    hits: list[str] = []
    listener = reactor.listen(Site(make_tree(hits), clock=reactor), "127.0.0.1", 0)
    port = typing.cast("Address", listener.address).port
    for start in range(0, len(CASES), 100):
        cases = CASES[start : start + 100]
        senders = [Sender(case.data + SMUGGLED) for case in cases]

        def made(sender: Sender) -> typing.Callable[[], Sender]:
            return lambda: sender

        for sender in senders:
            reactor.connect(made(sender), "127.0.0.1", port)
        wait_until(reactor, lambda senders=senders: all(sender.ended for sender in senders), 15)  # type: ignore[misc]  # mypy knows no defaults here
        for case, sender in zip(cases, senders, strict=True):
            assert sender.answer.startswith(f"HTTP/1.1 {RULES[case.rule].status} ".encode()), case.name
    assert not hits
    listener.close()


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl(reactor: Reactor, tmp_path: pathlib.Path) -> None:
    async def answer(request: Request) -> Response:
        body = await request.body.read(10**6)
        return Response(200, [("X-Method", request.method)], Counting([b"<", body, b">"]) if body else b"hello")

    listener = reactor.listen(Site(Page(answer, ALL), clock=reactor), "127.0.0.1", 0)
    url = f"http://127.0.0.1:{typing.cast('Address', listener.address).port}/"
    big = tmp_path / "big"
    big.write_bytes(b"x" * 500000)

    def curl(*arguments: str) -> tuple[str, str]:
        output = tmp_path / "output"
        with output.open("wb") as file, (tmp_path / "trace").open("wb") as trace:
            process = subprocess.Popen(
                ["curl", "-sv", "--max-time", "10", *arguments],
                stdout=file,
                stderr=trace,
                stdin=subprocess.DEVNULL,
            )
            wait_until(reactor, lambda: process.poll() is not None)
        assert process.returncode == 0, (tmp_path / "trace").read_text()
        return output.read_text(), (tmp_path / "trace").read_text()

    assert curl(url)[0] == "hello"
    assert curl("--http1.0", url)[0] == "hello"
    assert "content-length: 5" in curl("-I", url)[0].lower()
    assert curl("-d", "abc", url)[0] == "<abc>"
    assert curl("-H", "Transfer-Encoding: chunked", "-d", "abc", url)[0] == "<abc>"
    out, trace = curl("-H", "Expect: 100-continue", "--expect100-timeout", "9", "--data-binary", f"@{big}", url)
    assert len(out) == 500002
    assert "100 Continue" in trace
    out, trace = curl(url, url, url)
    assert out == "hello" * 3
    assert trace.lower().count("re-using existing connection") == 2
    assert "HTTP/1.1 200" in curl("--http2", url)[1]
    listener.close()
