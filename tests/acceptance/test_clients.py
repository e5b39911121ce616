"""curl, wget, ab, wrk and plain sockets against the server."""

from __future__ import annotations

import gzip
import os
import re
import socket
import typing

import pytest

from tests.acceptance.shell import wait_until
from tests.commands.processes import read_all

if typing.TYPE_CHECKING:
    import pathlib

    from tests.acceptance.shell import Shell

DIGITS = b"0123456789"
TEXT = b"All work and no play makes Jack a dull boy.\n" * 500

ECHO = """
from protocols.http.messages import Response

class Echo:
    '''Answers with the method, the path and the body of the request.'''

    def child(self, segment, request):
        return self

    async def render(self, request):
        body = await request.body.read(10_000_000)
        kind = [("Content-Type", "application/octet-stream"), ("X-Asked", f"{request.method} {request.path}")]
        return Response(200, kind, body)
"""


@pytest.fixture(params=["select", "select-plain"])
def url(request: pytest.FixtureRequest, shell: Shell) -> str:
    """Where "static" is served: by the usual poller of this system, and by plain select."""
    static = shell.static(index_html=b"<h1>hello</h1>", digits_txt=DIGITS, text_txt=TEXT, empty_txt=b"")
    (static / "text.txt.gz").write_bytes(gzip.compress(TEXT))
    os.utime(static / "text.txt", (1_600_000_000, 1_600_000_000))
    os.utime(static / "text.txt.gz", (1_600_000_000, 1_600_000_000))
    name: str = request.param
    if name == "select-plain":
        assert shell.plain_reactor() == name
    return f"http://127.0.0.1:{shell.serve(twistd=('-r', name))}"


def head(text: str) -> dict[str, str]:
    """Return the fields of an answer that curl printed, names in lower case, with its "status"."""
    lines = text.partition("\r\n\r\n")[0].split("\r\n")
    fields = {"status": lines[0].split()[1]}
    for line in lines[1:]:
        name, _, value = line.partition(": ")
        fields[name.lower()] = value
    return fields


def test_curl_gets_and_heads(shell: Shell, url: str) -> None:
    assert shell.curl(url) == "<h1>hello</h1>"
    got = head(shell.curl("-i", f"{url}/text.txt"))
    assert got["status"] == "200"
    assert got["content-length"] == str(len(TEXT))
    assert got["content-type"].startswith("text/plain")
    headed = head(shell.curl("-I", f"{url}/text.txt"))
    assert {**headed, "date": ""} == {**got, "date": ""}
    assert shell.curl(f"{url}/empty.txt") == ""
    assert head(shell.curl("-i", f"{url}/nothing"))["status"] == "404"
    refused = head(shell.curl("-i", "--data", "x=1", f"{url}/text.txt"))
    assert (refused["status"], refused["allow"]) == ("405", "GET, HEAD, OPTIONS")
    shell.stop()


def test_curl_gets_ranges(shell: Shell, url: str) -> None:
    digits = f"{url}/digits.txt"
    assert shell.curl("-r", "2-4", digits) == "234"
    assert shell.curl("-r", "7-", digits) == "789"
    assert shell.curl("-r", "-3", digits) == "789"
    assert shell.curl("-r", "8-99", digits) == "89"
    one = head(shell.curl("-i", "-r", "2-4", digits))
    assert (one["status"], one["content-range"], one["content-length"]) == ("206", "bytes 2-4/10", "3")
    several = shell.curl("-i", "-r", "0-1,-2", digits)
    boundary = re.search(r"multipart/byteranges; boundary=\"?([^\r\"]+)", several)
    assert boundary is not None, several
    parts = several.partition("\r\n\r\n")[2].split(f"--{boundary[1]}")
    assert [part.rpartition("\r\n\r\n")[2].strip() for part in parts[1:-1]] == ["01", "89"]
    assert "Content-Range: bytes 8-9/10" in parts[2]
    none = head(shell.curl("-i", "-r", "10-", digits))
    assert (none["status"], none["content-range"]) == ("416", "bytes */10")
    shell.stop()


def test_curl_asks_under_conditions(shell: Shell, url: str) -> None:
    text = f"{url}/text.txt"
    status = ("-o", "body", "-w", "%{http_code}")
    assert shell.curl(*status, "--etag-save", "etag", text) == "200"
    assert shell.curl(*status, "--etag-compare", "etag", text) == "304"
    assert shell.curl(*status, "-z", "static/text.txt", text) == "304"
    assert shell.curl(*status, "-H", "If-Modified-Since: Sun, 13 Sep 2020 12:26:39 GMT", text) == "200"
    assert shell.curl(*status, "-H", "If-Modified-Since: Sun, 13 Sep 2020 12:26:40 GMT", text) == "304"
    assert shell.curl(*status, "-H", 'If-Match: "other"', text) == "412"
    assert shell.curl(*status, "-H", "If-Unmodified-Since: Sun, 13 Sep 2020 12:26:39 GMT", text) == "412"
    # A range of what has changed meanwhile is the whole (RFC 9110 13.1.5).
    etag = shell.read("etag").strip()
    assert shell.curl(*status, "-r", "0-1", "-H", f"If-Range: {etag}", text) == "206"
    assert shell.curl(*status, "-r", "0-1", "-H", 'If-Range: "other"', text) == "200"
    (shell.path / "static" / "text.txt").write_bytes(b"new")
    (shell.path / "static" / "text.txt.gz").unlink()
    assert shell.curl(*status, "--etag-compare", "etag", text) == "200"
    assert shell.read("body") == "new"
    shell.stop()


def test_curl_gets_what_was_compressed_beforehand(shell: Shell, url: str) -> None:
    text = f"{url}/text.txt"
    packed = head(shell.curl("-I", "-H", "Accept-Encoding: gzip", text))
    assert packed["content-encoding"] == "gzip"
    assert int(packed["content-length"]) < len(TEXT) / 10
    assert packed["content-type"].startswith("text/plain")
    assert "accept-encoding" in packed["vary"].lower()
    assert shell.curl("--compressed", text) == TEXT.decode()
    plain = head(shell.curl("-I", text))
    assert "content-encoding" not in plain
    assert plain["etag"] != packed["etag"]
    shell.stop()


def test_curl_keeps_the_connection(shell: Shell, url: str) -> None:
    curl = shell.start("curl", "-v", f"{url}/digits.txt", f"{url}/text.txt")
    output, errors = curl.communicate(timeout=20)
    assert output == DIGITS + TEXT
    assert b"Re-using existing connection" in errors
    assert errors.count(b"Connected to") == 1
    # 0: the second transfer made no connection.
    counted = shell.curl("-o", "a", f"{url}/digits.txt", "-o", "b", f"{url}/", "-w", "%{num_connects} ")
    assert counted == "1 0 "
    assert shell.curl("--http1.0", "-w", " %{http_version}", f"{url}/digits.txt") == "0123456789 1.1"
    shell.stop()


def test_wget_goes_on_where_it_stopped(shell: Shell) -> None:
    whole = os.urandom(300_000)
    shell.static(data_bin=whole)
    port = shell.serve()
    part = shell.path / "data.bin"
    part.write_bytes(whole[:100_000])
    shell.do("wget", "-c", "-S", "-o", "wget.log", f"http://127.0.0.1:{port}/data.bin")
    assert part.read_bytes() == whole
    assert "206 Partial Content" in shell.read("wget.log")
    assert "Content-Range: bytes 100000-299999/300000" in shell.read("wget.log")
    # All there: 416, which wget takes for what it is.
    shell.do("wget", "-c", "-q", f"http://127.0.0.1:{port}/data.bin")
    assert part.read_bytes() == whole
    shell.stop()


def tree(root: pathlib.Path) -> dict[str, bytes]:
    """Return every file below `root` by its path."""
    return {
        str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()
    }


def test_wget_fetches_a_tree_by_its_listings(shell: Shell) -> None:
    static = shell.static(one_txt=b"1", two_bin=os.urandom(200_000))
    for name in ("a/b/c/deep.txt", "a/with space & more.txt", "a/b/größe.txt", "a/100%.txt", "x/y#z;1.txt"):
        path = static / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(3000))
    for number in range(300):
        (static / "x" / f"{number}.dat").write_bytes(b"%d" % number)
    (static / "empty").mkdir()
    port = shell.serve()
    words = ("-r", "-l", "10", "-q", "-nH", "--restrict-file-names=nocontrol", "--reject-regex", r"\?")
    shell.do("wget", *words, "-P", "copy", f"http://127.0.0.1:{port}/")
    copy = tree(shell.path / "copy")
    # The listings come as files of this name; wget asks for robots.txt, and gets none.
    listings = [name for name in copy if name.rpartition("/")[2] == "index.html"]
    assert sorted(listings) == sorted(
        ["index.html", *(f"{folder}/index.html" for folder in ("a", "a/b", "a/b/c", "x", "empty"))]
    )
    assert {name: copy[name] for name in copy if name not in listings} == tree(static)
    shell.stop()


def answers(stream: bytes, count: int) -> list[tuple[bytes, bytes]]:
    """Return head and body of `count` answers, which all have a Content-Length, and nothing after them."""
    found = []
    for _ in range(count):
        fields, _, stream = stream.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)\r\ncontent-length: (\d+)", fields)
        assert length is not None, fields
        size = int(length[1])
        found.append((fields, stream[:size]))
        stream = stream[size:]
    assert stream == b""
    return found


def serve_echo(shell: Shell) -> int:
    (shell.lib / "mysite.py").write_text(ECHO, encoding="utf-8")
    shell.mktap("web", "--class", "mysite.Echo", "-p", "0", "-i", "127.0.0.1")
    shell.twistd("-f", "web.tap")
    return shell.port("web")


def test_pipelined_requests_are_answered_in_order(shell: Shell) -> None:
    port = serve_echo(shell)
    requests = []
    for number in range(50):
        if number % 3:
            requests.append(b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % number)
        else:
            requests.append(
                b"POST /%d HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" % number
                + b"5\r\nhello\r\nb;extension=1\r\n number %3d\r\n0\r\nTrailer-Field: x\r\n\r\n" % number
            )
    requests.append(b"GET /last HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    with socket.create_connection(("127.0.0.1", port), 20) as peer:
        peer.sendall(b"".join(requests))
        got = answers(read_all(peer), 51)
    for number, (fields, body) in enumerate(got[:50]):
        assert fields.startswith(b"HTTP/1.1 200 ")
        method = b"GET" if number % 3 else b"POST"
        assert b"X-Asked: %s /%d\r\n" % (method, number) in fields + b"\r\n"
        assert body == (b"" if number % 3 else b"hello number %3d" % number)
    assert b"X-Asked: GET /last" in got[50][0]
    shell.stop()


def test_curl_posts_in_chunks(shell: Shell) -> None:
    url = f"http://127.0.0.1:{serve_echo(shell)}/"
    large = os.urandom(3_000_000)
    (shell.path / "large").write_bytes(large)
    chunked = ("-H", "Transfer-Encoding: chunked", "--data-binary", "@large", "-o", "back", url)
    assert shell.curl(*chunked) == ""
    assert (shell.path / "back").read_bytes() == large
    (shell.path / "back").unlink()
    # With "Expect: 100-continue" curl waits up to this long for our permission; without it, the time runs out.
    permission = ("-H", "Expect: 100-continue", "--expect100-timeout", "60")
    assert shell.curl(*permission, *chunked) == ""
    assert (shell.path / "back").read_bytes() == large
    assert shell.curl("--data-binary", "small", url) == "small"
    (shell.path / "too-large").write_bytes(bytes(10_000_001))
    refused = shell.curl("--data-binary", "@too-large", "-o", "page", "-w", "%{http_code}", url)
    assert refused == "413"
    shell.stop()


def test_nc_says_it_by_hand(shell: Shell, url: str) -> None:
    port = url.rpartition(":")[2]
    typed = b"GET /digits.txt HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    got = shell.do("nc", "127.0.0.1", port, typed=typed)
    assert got.startswith("HTTP/1.1 200 OK\r\n")
    assert got.endswith("\r\n\r\n0123456789")
    # Half-closed by the client: the answer comes all the same.
    assert shell.do("nc", "-N", "127.0.0.1", port, typed=typed) == got
    assert shell.do("nc", "-N", "127.0.0.1", port, typed=b"hello?\r\n\r\n").startswith("HTTP/1.1 400 ")
    shell.stop()


@pytest.mark.slow
def test_ab_and_wrk_see_no_failure(shell: Shell, url: str) -> None:
    page = f"{url}/digits.txt"
    report = shell.do("ab", "-q", "-k", "-c", "20", "-t", "1", page)
    assert re.search(r"^Failed requests: +0$", report, re.MULTILINE), report
    assert "Non-2xx" not in report
    complete = int(re.findall(r"^Complete requests: +(\d+)$", report, re.MULTILINE)[0])
    kept = int(re.findall(r"^Keep-Alive requests: +(\d+)$", report, re.MULTILINE)[0])
    assert complete >= 100
    assert kept == complete
    report = shell.do("wrk", "-t", "1", "-c", "50", "-d", "1s", page)
    assert "Socket errors" not in report
    assert "Non-2xx" not in report
    assert int(re.findall(r"(\d+) requests in", report)[0]) >= 100
    # The server is none the worse for it.
    assert shell.curl(page) == "0123456789"
    shell.stop()


def test_the_access_log_is_what_log_readers_expect(shell: Shell) -> None:
    shell.static(index_html=b"<h1>hello</h1>")
    port = shell.serve("--logfile", "access.log")
    shell.curl("-A", 'an "agent"\\', "-e", "http://from.example/", f"http://127.0.0.1:{port}/?q=1", "-o", "x")
    shell.curl(f"http://127.0.0.1:{port}/none", "-o", "x")
    # Renamed, as logrotate does, with a signal after it.
    wait_until(lambda: shell.read("access.log").count("\n") == 2, "two lines in the access log")
    os.rename(shell.path / "access.log", shell.path / "access.log.1")
    os.kill(shell.pid(), 1)
    wait_until(lambda: "access.log" in shell.names(), "a new access log")
    shell.curl(f"http://127.0.0.1:{port}/", "-o", "x")
    shell.stop()
    line = (
        r'127\.0\.0\.1 - - \[\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\] "GET %s HTTP/1\.1" %s \d+ "%s" "%s"\n'
    )
    first = line % (r"/\?q=1", 200, "http://from.example/", r"an .*agent.*")
    assert re.fullmatch(first + line % ("/none", 404, "-", "curl/.*"), shell.read("access.log.1"))
    assert re.fullmatch(line % ("/", 200, "-", "curl/.*"), shell.read("access.log"))
