"""A folder, by HTTP and HTTPS."""

from __future__ import annotations

import contextlib
import http.client
import re
import socket
import ssl
import struct
import subprocess
import time
import typing

from ci.acceptance.model import Client, Port, Server
from ci.acceptance.record import Failed
from ci.acceptance.stage import read_all, read_answer, read_some
from ci.acceptance.views import (
    boundaries,
    distinct_answers,
    first_bytes,
    http_dates,
    mask,
    one_chunk,
    tls_handshake,
    without_lines,
)
from tests.protocols.http.corpus import CASES, SMUGGLED

if typing.TYPE_CHECKING:
    from collections.abc import Callable

    from ci.acceptance.model import Workshop
    from ci.acceptance.stage import Stage

__all__ = ["SERVERS"]

_LARGE = 5_000_000
# More than all the buffers on the way take. Bytes.
_HUGE = 24_000_000

# One of each family; all of them are tested against the parser elsewhere.
_MALFORMED = (
    "cl-cl-different",
    "cl-te",
    "cl-minus",
    "cl-over-limit",
    "te-te",
    "te-gzip",
    "te-1.0",
    "all-lf",
    "cr-in-value",
    "nul-in-value",
    "fold-with-space",
    "no-colon",
    "space-before-colon",
    "no-host",
    "host-host-different",
    "absolute-userinfo",
    "connect",
    "target-8193",
    "two-spaces",
    "method-only",
)


_SECRET = b"the-password-in-the-source"
_PROGRAMS = {
    # All that a program is told, but for ports that the system has chosen.
    "test.cgi": b"""#!/bin/sh
# the-password-in-the-source
printf 'Content-Type: text/plain\\r\\n\\r\\n'
env | grep -v -E '^(PWD|OLDPWD|SHLVL|_|REMOTE_PORT|SERVER_PORT)=' | sort
cat
echo 'said on standard error' >&2
""",
    "large.cgi": b"#!/bin/sh\nprintf 'Status: 200\\n\\n'\nhead -c 3000000 /dev/zero\n",
    "echo.cgi": b"#!/bin/sh\nprintf 'Status: 200\\nContent-Length: %s\\n\\n' $CONTENT_LENGTH\ncat\n",
    "redirect.cgi": b"#!/bin/sh\nprintf 'Location: /test.cgi/from?a=b\\n\\n'\n",
    "none.cgi": b"#!/bin/sh\necho nothing to say\n",
    "begun.cgi": b"#!/bin/sh\nprintf 'Status: 200\\n\\nbegun'\nwhile :; do sleep 1; done\n",
    "endless.cgi": b"#!/bin/sh\nwhile :; do sleep 1; done\n",
    "test.php": b"<?php # the-password-in-the-source\n"
    b"echo $_SERVER['PATH_INFO'] ?? '', $_GET['q'] ?? '', $_POST['a'] ?? '';\n",
    "test.epy": b"# the-password-in-the-source\nprint('<p>', request.method, request.query, body)\n",
    "test.rpy": b"# the-password-in-the-source\nfrom protocols.http.messages import Response\n"
    b"from protocols.http.resource import Page\n"
    b"resource = Page(lambda request: Response(200, [], b'a resource\\n'))\n",
    "empty.rpy": b"# the-password-in-the-source\n",
    "test.php~": b"<?php # the-password-in-the-source\n",
    "index.epy": b"print('the index')\n",
}


def _prepare_programs(shop: Workshop) -> list[list[str]]:
    for name, program in _PROGRAMS.items():
        shop.write(f"programs/{name}", program).chmod(0o755)
    words = ["web", "--path", "programs", "--port", "0", "--interface", "127.0.0.1"]
    return [[*words, "--script-timeout", "2s"]]


def _prepare(shop: Workshop) -> list[list[str]]:
    made = subprocess.run(
        [
            *(
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "rsa:2048",
                "-nodes",
                "-days",
                "90",
                "-subj",
                "/CN=localhost",
            ),
            *("-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", "key.pem", "-out", "cert.pem"),
        ],
        cwd=shop.folder,
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode != 0:
        raise Failed(f"openssl: {made.stderr}")
    shop.write("static/index.html", b"<h1>hello</h1>\n")
    shop.write("static/digits.txt", b"0123456789" * 10)
    shop.write("static/empty", b"")
    shop.write("static/files/a b&c.txt", b"a name that needs escapes\n")
    shop.write("static/files/z.css", b"p { margin: 0 }\n", 1_600_000_000)
    shop.write("static/files/sub/inside.html", b"<p>inside</p>\n")
    shop.write("static/large", bytes(range(251)) * (_LARGE // 251 + 1))
    shop.write("static/huge", struct.pack("!I", 7) * (_HUGE // 4))
    shop.write("secret.txt", b"not to be served\n")
    for name in ("static/files/sub", "static/files", "static"):
        # Their times stand in the listing.
        shop.touch(name)
    return [
        [
            *("web", "--path", "static", "--port", "0", "--interface", "127.0.0.1", "--logfile", "access.log"),
            *("--https", "0", "--certificate", "cert.pem", "--privkey", "key.pem"),
        ]
    ]


def _curl(path: str, *words: str, status: int) -> Callable[[Stage], None]:
    """Return a client: curl with these words, which must get this HTTP status."""

    def run(stage: Stage) -> None:
        output = stage.curl(*words, stage.url(path))
        found = [int(code) for code in re.findall(rb"^HTTP/1\.[01] (\d\d\d) ", output, re.MULTILINE)]
        stage.check(found and found[-1] == status, f"status {found}, not {status}")

    return run


def _raw(request: bytes, status: int, half_close: bool = False) -> Callable[[Stage], None]:
    """Return a client: these bytes, which must be answered so, and the connection ended."""

    def run(stage: Stage) -> None:
        answer = stage.ask("web", request, half_close)
        stage.check(answer.startswith(b"HTTP/1.1 %d " % status), f"got {answer[:60]!r}, not {status}")

    return run


def _revalidate(stage: Stage) -> None:
    head = stage.curl("-I", stage.url("/digits.txt")).decode("ascii")
    tag = re.findall(r"(?im)^etag: (\S+)", head)[0]
    modified = re.findall(r"(?im)^last-modified: ([^\r\n]+)", head)[0]
    for line in (f"If-None-Match: {tag}", f"If-Modified-Since: {modified}"):
        answer = stage.curl("-H", line, stage.url("/digits.txt"))
        stage.check(answer.startswith(b"HTTP/1.1 304 "), f"{line} was answered by {answer[:40]!r}")
    answer = stage.curl("-H", 'If-Match: "other"', stage.url("/digits.txt"))
    stage.check(answer.startswith(b"HTTP/1.1 412 "), f"If-Match was answered by {answer[:40]!r}")


def _traversal(stage: Stage) -> None:
    for path in (
        "/../secret.txt",
        "/files/../../secret.txt",
        "/%2e%2e/secret.txt",
        "/..%2fsecret.txt",
        "/..%5csecret",
    ):
        answer = stage.curl("--path-as-is", stage.url(path))
        stage.check(b"not to be served" not in answer, f"{path} was served")
        stage.check(re.match(rb"HTTP/1\.1 4\d\d ", answer), f"{path} was answered by {answer[:40]!r}")


def _keep_alive(stage: Stage) -> None:
    client = http.client.HTTPConnection("127.0.0.1", stage.port("web"), timeout=20)
    try:
        for path in ("/", "/digits.txt", "/none", "/empty", "/files/z.css"):
            client.request("GET", path)
            answer = client.getresponse()
            stage.see(f"{path} {answer.status} {len(answer.read())}\n")
    finally:
        client.close()


def _curl_keep_alive(stage: Stage) -> None:
    answer = stage.curl(
        "-w", "\\nconnects: %{num_connects}\\n", *(stage.url(path) for path in ("/", "/digits.txt", "/none"))
    )
    stage.check(re.findall(rb"\nconnects: (\d+)\n", answer) == [b"1", b"0", b"0"], "another connection")


def _pipeline(stage: Stage) -> None:
    requests = b"".join(
        b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n" % path
        for path in (b"/", b"/digits.txt", b"/none", b"/files/", b"/digits.txt") * 4
    )
    answer = stage.ask("web", requests + b"GET /empty HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    found = len(re.findall(rb"HTTP/1\.1 \d\d\d ", answer))
    stage.check(found == 21, f"{found} answers to 21 requests")


def _slowly(stage: Stage) -> None:
    sock = stage.connect("web")
    for byte in b"GET /digits.txt HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n":
        sock.sendall(bytes([byte]))
        time.sleep(0.003)
    stage.check(read_all(sock).startswith(b"HTTP/1.1 200 "), "not 200")


def _cut_head(stage: Stage) -> None:
    answer = stage.ask("web", b"GET / HTTP/1.1\r\nHost: loc", half_close=True)
    stage.check(b" 200 " not in answer, "half a request was served")


def _malformed(name: str) -> Callable[[Stage], None]:
    [case] = [case for case in CASES if case.name == name]

    def run(stage: Stage) -> None:
        answer = stage.ask("web", case.data + SMUGGLED)
        found = re.findall(rb"HTTP/1\.1 (\d\d\d) ", answer)
        stage.check(len(found) == 1 and found[0][:1] in b"45", f"{name} was answered by {found}")

    return run


def _large(stage: Stage) -> None:
    stage.run("curl", "-sS", "--max-time", "15", "-o", "got", stage.url("/large"))
    got = (stage.folder / "got").read_bytes()
    stage.check(got == (stage.folder / "static" / "large").read_bytes(), "not what is in the file")


def _wget(stage: Stage) -> None:
    stage.run("wget", "-q", "-S", "-O", "-", stage.url("/digits.txt"))
    stage.run("wget", "-q", "-O", "-", stage.url("/none"), status=8)
    stage.run("wget", "-q", "-O", "-", "--start-pos=90", stage.url("/digits.txt"))


def _ab(stage: Stage) -> None:
    report = stage.run("ab", "-q", "-k", "-n", "300", "-c", "10", stage.url("/digits.txt"), note=False).decode()
    for name in (
        "Complete requests",
        "Failed requests",
        "Non-2xx responses",
        "Keep-Alive requests",
        "HTML transferred",
    ):
        stage.see(f"{name}: {re.findall(rf'(?m)^{name}: +([0-9]+)', report)}\n")


def _nc(stage: Stage) -> None:
    typed = b"GET /digits.txt HTTP/1.0\r\n\r\n"
    stage.run("nc", "-N", "-w", "5", "127.0.0.1", str(stage.port("web")), typed=typed)


def _abort(stage: Stage) -> None:
    sock = stage.connect("web", buffer=16384)
    sock.sendall(b"GET /huge?aborted HTTP/1.1\r\nHost: localhost\r\n\r\n")
    read_some(sock, 100_000)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def _afterwards(stage: Stage) -> None:
    stage.check(stage.curl(stage.url("/")).endswith(b"<h1>hello</h1>\n"), "the server is not what it was")


def _sources(stage: Stage) -> None:
    for path in ("/test.php~", "/test.php%20", "/test.PHP", "/test.cgi%00", "/test.rpy.", "/test.epy%2f"):
        answer = stage.curl("--path-as-is", stage.url(path))
        stage.check(re.match(rb"HTTP/1\.1 40[04] ", answer), f"{path} was answered by {answer[:40]!r}")
    for path in ("/test.php/", "/test.cgi/", "/test.rpy", "/test.epy/x", "/empty.rpy"):
        answer = stage.curl("-r", "0-100", stage.url(path))
        stage.check(_SECRET not in answer, f"{path} shows its source")


def _upload(stage: Stage) -> None:
    data = bytes(range(251)) * 8000
    (stage.folder / "upload").write_bytes(data)
    words = ["-sS", "--max-time", "15", "--data-binary", "@upload", "-o", "got", stage.url("/echo.cgi")]
    stage.run("curl", *words)
    stage.check((stage.folder / "got").read_bytes() == data, "another body came back")


def _gone(stage: Stage) -> None:
    sock = stage.connect("web")
    sock.sendall(b"GET /begun.cgi HTTP/1.1\r\nHost: localhost\r\n\r\n")
    answer = b""
    while not answer.endswith(b"\r\nbegun\r\n"):
        answer += read_some(sock, 1)
    # A plain close could be that of a client which still waits for the answer.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def _https_curl(*words: str) -> Callable[[Stage], None]:
    def run(stage: Stage) -> None:
        for path in ("/", "/digits.txt", "/none"):
            stage.curl("--cacert", "cert.pem", *words, stage.url(path, "https", "https", "localhost"))

    return run


def _https_openssl(stage: Stage) -> None:
    typed = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    words = ["-quiet", "-verify_return_error", "-CAfile", "cert.pem", "-servername", "localhost"]
    answer = stage.run(
        "openssl", "s_client", *words, "-connect", f"127.0.0.1:{stage.port('https')}", typed=typed
    )
    stage.check(answer.endswith(b"<h1>hello</h1>\n"), f"got {answer[-60:]!r}")


def _https_python(stage: Stage) -> None:
    context = ssl.create_default_context(cafile=str(stage.folder / "cert.pem"))
    with context.wrap_socket(stage.connect("https"), server_hostname="localhost") as sock:
        stage.see(f"{sock.version()} {sock.cipher()} {sock.selected_alpn_protocol()}\n")
        sock.sendall(b"GET /large HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        # An end without close_notify would raise.
        stage.see(read_all(sock))


def _https_plain(stage: Stage) -> None:
    try:
        stage.see(stage.ask("https", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"))
    except ConnectionResetError:
        stage.see("reset")


def _drain(stage: Stage) -> None:
    """Stop with a download in flight: it completes, and nobody else is let in."""
    idle = stage.connect("web")
    idle.sendall(b"GET /digits.txt HTTP/1.1\r\nHost: localhost\r\n\r\n")
    read_answer(idle)
    sock = stage.connect("web", buffer=16384)
    sock.sendall(b"GET /huge HTTP/1.1\r\nHost: localhost\r\n\r\n")
    begun = read_some(sock, 100_000)
    stage.terminate()
    stage.check(read_all(idle) == b"", "an idle connection got more than its end")
    with contextlib.suppress(ConnectionResetError, BrokenPipeError):
        answer = stage.ask("web", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        stage.check(answer == b"", "a request was served")
    answer = begun + read_all(sock)
    body = answer.partition(b"\r\n\r\n")[2]
    stage.check(len(body) == _HUGE, f"{len(body)} bytes of {_HUGE} came")


SERVERS = (
    Server(
        name="web",
        kind="web",
        prepare=_prepare,
        ports=(Port("web", "tcp", "web"), Port("https", "tls", "web")),
        look="Open http://{web}/ (a heading), http://{web}/files/ (list), https://{https}/ (a warning first).",
        views=(http_dates, boundaries, tls_handshake("https")),
        clients=(
            Client("curl: index", _curl("/", status=200)),
            Client("curl: listing", _curl("/files/", status=200)),
            Client("curl: folder without slash", _curl("/files?x=1", status=301)),
            Client("curl: HEAD", _curl("/digits.txt", "-I", status=200)),
            Client("curl: 304, 412", _revalidate),
            Client("curl: range", _curl("/digits.txt", "-r", "10-19", status=206)),
            Client("curl: ranges", _curl("/digits.txt", "-r", "0-1,50-59,-3", status=206)),
            Client("curl: 416", _curl("/digits.txt", "-r", "200-", status=416)),
            Client("curl: 404", _curl("/none", status=404)),
            Client("curl: escaped name", _curl("/files/a%20b&c.txt", status=200)),
            Client("curl: traversal", _traversal),
            Client("curl: OPTIONS", _curl("/", "-X", "OPTIONS", status=204)),
            Client("curl: POST refused", _curl("/", "-d", "a=b", status=405)),
            Client(
                "curl: chunked POST refused",
                _curl("/", "-H", "Transfer-Encoding: chunked", "-d", "a=b", status=405),
            ),
            Client("curl: HTTP/1.0", _curl("/", "-0", status=200)),
            Client("curl: keep-alive", _curl_keep_alive),
            Client("curl: 5 MB", _large),
            Client("http.client: keep-alive", _keep_alive),
            Client("wget: 200, 404, 206", _wget),
            Client("ab: 300 on 10", _ab, (distinct_answers,), fast=False),
            Client("nc: HTTP/1.0, half-closed", _nc),
            Client("python: 21 pipelined", _pipeline),
            Client("python: byte by byte", _slowly),
            Client(
                "python: half-closed",
                _raw(b"GET /digits.txt HTTP/1.1\r\nHost: localhost\r\n\r\n", 200, half_close=True),
            ),
            Client("python: cut head", _cut_head),
            *(Client(f"python: {name}", _malformed(name), fast=name.startswith("cl")) for name in _MALFORMED),
            Client("python: abort", _abort, (first_bytes(100_000),)),
            Client("curl: after the abort", _afterwards),
            Client("curl: HTTPS", _https_curl()),
            Client("curl: HTTPS by TLS 1.2", _https_curl("--tls-max", "1.2")),
            Client("openssl: HTTPS", _https_openssl),
            Client("python: HTTPS, 5 MB", _https_python),
            Client("python: HTTP to HTTPS", _https_plain),
        ),
        ending=Client("SIGTERM with a download", _drain),
        logs={
            "access.log": (
                mask(rb"\[\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\]", b"[<time>]"),
                # How much was sent when the client went is chance, and so is when the server knows.
                without_lines(b"?aborted"),
            )
        },
    ),
    Server(
        name="web-programs",
        kind="web",
        prepare=_prepare_programs,
        ports=(Port("web", "tcp", "web"),),
        look="Open http://{web}/ (an index), http://{web}/test.cgi and http://{web}/empty.rpy (a hint).",
        views=(http_dates, one_chunk),
        clients=(
            Client("curl: test.cgi", _curl("/test.cgi", status=200)),
            Client("curl: test.cgi, POST", _curl("/test.cgi/a%20b/c?q=1+2", "-d", "a=b", status=200)),
            Client(
                "curl: test.cgi, chunks",
                _curl("/test.cgi", "-H", "Transfer-Encoding: chunked", "-d", "a=b", status=200),
            ),
            Client("curl: test.cgi, HEAD", _curl("/test.cgi", "-I", status=200)),
            Client("curl: test.cgi, httpoxy", _curl("/test.cgi", "-H", "Proxy: evil", status=200)),
            Client("curl: 3 MB out", _curl("/large.cgi", "-o", "/dev/null", "-D", "-", status=200)),
            Client("curl: 2 MB in and out", _upload),
            Client("curl: local redirect", _curl("/redirect.cgi", status=200)),
            Client("curl: no header", _curl("/none.cgi", status=502)),
            Client("curl: time limit", _curl("/endless.cgi", status=504), fast=False),
            Client("python: a client that goes", _gone),
            Client("curl: test.php", _curl("/test.php/info?q=query", "-d", "a=post", status=200)),
            Client("curl: test.epy", _curl("/test.epy?q", "-d", "a=b", status=200)),
            Client("curl: index.epy", _curl("/", status=200)),
            Client("curl: test.rpy", _curl("/test.rpy", status=200)),
            Client("curl: a hint", _curl("/empty.rpy", status=500)),
            Client("curl: sources", _sources),
        ),
    ),
)
