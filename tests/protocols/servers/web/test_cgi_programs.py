"""CGI programs in a folder: what reaches them, and what they answer."""

from __future__ import annotations

import socket
import time
import typing

import pytest

from portable.testing import wait_until
from tests.protocols.servers.web.site import Site

if typing.TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from portable.reactor import Reactor

SHOW = r"""
printf 'Content-Type: text/plain\n\n'
printf '%s|' "$REQUEST_METHOD" "$SCRIPT_NAME" "$PATH_INFO" "$QUERY_STRING" "$CONTENT_TYPE" "$CONTENT_LENGTH"
cat
"""
OK = "printf 'Content-Type: text/plain\\n\\n'"


@pytest.fixture
def site(reactor: Reactor, tmp_path: Path) -> Iterator[Site]:
    folder = tmp_path / "site"
    folder.mkdir()
    made = Site(reactor, folder)
    yield made
    made.settle()
    made.stop()


def test_curl_posts_with_path_info_and_query(site: Site) -> None:
    site.shell("test.cgi", SHOW)
    assert site.curl("/test.cgi").output == b"GET|/test.cgi|||||"
    done = site.curl("/test.cgi/a%20b/c/?x=1+2&y=%41", "-d", "a=b&c=d")
    assert done.output == (b"POST|/test.cgi|/a b/c/|x=1+2&y=%41|application/x-www-form-urlencoded|7|a=b&c=d")
    assert site.curl("/test.cgi", "-X", "PUT", "-d", "", "-H", "Content-Type:").output == b"PUT|/test.cgi|||||"
    assert site.curl("/test.cgi", "-X", "DELETE").output == b"DELETE|/test.cgi|||||"
    assert site.curl("/test.cgi", "-X", "OPTIONS").output == b"OPTIONS|/test.cgi|||||"


def test_a_body_in_chunks_is_told_by_its_decoded_length(site: Site) -> None:
    """RFC 3875 4.1.2: whatever the transfer coding was, it is off."""
    site.shell("x.cgi", SHOW)
    assert site.send(chunked("/x.cgi", b"3\r\nabc\r\n4;x=y\r\ndefg\r\n0\r\nX: y\r\n\r\n")).body == (
        b"POST|/x.cgi||||7|abcdefg"
    )
    assert site.send(chunked("/x.cgi", b"0\r\n\r\n")).body == b"POST|/x.cgi|||||"
    data = site.put("data", "0123456789" * 30_000, 0o644)
    done = site.curl("/x.cgi", "-T", str(data), "-X", "POST", "-H", "Transfer-Encoding: chunked")
    assert done.output == b"POST|/x.cgi||||300000|" + data.read_bytes()


def chunked(target: str, body: bytes) -> bytes:
    head = (
        f"POST {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    return head.encode() + body


def test_too_long_a_body_in_chunks_starts_no_program(reactor: Reactor, tmp_path: Path) -> None:
    """It is refused by the size of the chunk that is too much, before that has come."""
    site = Site(reactor, tmp_path, max_body=100)
    site.shell("x.cgi", f"touch begun; {OK}; cat")
    answer = site.send(chunked("/x.cgi", b"50\r\n" + b"x" * 0x50 + b"\r\n15\r\n"))
    assert answer.status == 413
    assert not (tmp_path / "begun").exists()
    answer = site.send(
        chunked("/x.cgi", b"50\r\n" + b"x" * 0x50 + b"\r\n14\r\n" + b"x" * 0x14 + b"\r\n0\r\n\r\n")
    )
    assert len(answer.body) == 100
    site.settle()
    site.stop()


def test_a_program_in_a_folder_and_as_its_index(site: Site) -> None:
    site.shell("sub/x.cgi", SHOW + "pwd")
    site.shell("app/index.cgi", SHOW)
    assert site.ask("/sub/x.cgi/y").body == f"GET|/sub/x.cgi|/y||||{site.folder}/sub\n".encode()
    assert site.ask("/app/").body == b"GET|/app/index.cgi|||||"
    assert site.ask("/app/", "POST", b"data").body == b"POST|/app/index.cgi||||4|data"
    assert site.ask("/app").status == 301


def test_a_folder_may_be_called_like_a_program(site: Site) -> None:
    site.put("old.cgi/page.html", "page", 0o644)
    assert site.ask("/old.cgi/page.html").body == b"page"
    site.put("new.php.d/page.html", "another", 0o644)
    assert site.ask("/new.php.d/page.html").body == b"another"
    listing = site.ask("/").body
    assert b'"old.cgi/"' in listing
    assert b'"new.php.d/"' in listing
    site.shell("old.cgi/new.cgi", SHOW)
    assert site.ask("/old.cgi/new.cgi/x").body == b"GET|/old.cgi/new.cgi|/x||||"


def test_a_single_program_as_the_whole_site(reactor: Reactor, tmp_path: Path) -> None:
    (tmp_path / "app.cgi").write_text(f"#!/bin/sh\n{SHOW}")
    (tmp_path / "app.cgi").chmod(0o755)
    (tmp_path / "beside.txt").write_text("x")
    site = Site(reactor, tmp_path / "app.cgi")
    assert site.ask("/").body == b"GET||/||||"
    assert site.ask("/beside.txt?q").body == b"GET||/beside.txt|q|||"
    site.settle()
    site.stop()


def test_a_name_without_its_end(reactor: Reactor, tmp_path: Path) -> None:
    site = Site(reactor, tmp_path, allow_ignore_ext=True)
    site.shell("foo.cgi", SHOW)
    assert site.ask("/foo").body == b"GET|/foo|||||"
    assert site.ask("/foo", "POST", b"data").body == b"POST|/foo||||4|data"
    assert site.ask("/none", "POST", b"data").status == 405
    site.put("bar.txt", "bar", 0o644)
    assert site.ask("/bar", "POST", b"data").status == 405
    site.settle()
    site.stop()


def test_status_and_fields_are_the_programs(site: Site) -> None:
    site.shell("x.cgi", "printf 'Status: 418 Tea\\nContent-Type: a/b\\nSet-Cookie: c\\nServer: x\\n\\nbody'")
    answer = site.ask("/x.cgi")
    assert answer.status == 418
    assert "Content-Type: a/b\r\nSet-Cookie: c\r\n" in answer.head + "\r\n"
    assert "Server: x" not in answer.head
    assert answer.body == b"body"


def test_a_length_that_the_program_says_is_passed_on(site: Site) -> None:
    site.shell("x.cgi", "printf 'Status: 200\\nContent-Length: 4\\n\\nbody'")
    answer = site.ask("/x.cgi")
    assert "Content-Length: 4" in answer.head
    assert answer.body == b"body"


def test_a_wrong_length_breaks_the_answer_off(site: Site) -> None:
    site.shell("x.cgi", "printf 'Status: 200\\nContent-Length: 9\\n\\nbody'")
    assert len(site.get_until_broken("/x.cgi").partition(b"\r\n\r\n")[2]) < 9
    site.shell("x.cgi", "printf 'Status: 200\\nContent-Length: 2\\n\\nbody'")
    assert b"body" not in site.get_until_broken("/x.cgi")


def test_connections_go_on_after_a_program(site: Site) -> None:
    site.shell("x.cgi", SHOW)
    done = site.curl("/x.cgi", "-d", "one", "-w", "%{num_connects} ", site.url("/x.cgi"))
    assert done.output.count(b"1 ") == 1
    assert done.output.count(b"0 ") == 1


def test_head_runs_the_program_and_sends_no_body(site: Site) -> None:
    site.shell("x.cgi", f'{OK}; echo "$REQUEST_METHOD" > ran; head -c 300000 /dev/zero; echo done > ended')
    answer = site.ask("/x.cgi", "HEAD")
    assert answer.status == 200
    assert answer.body == b""
    wait_until(site.reactor, (site.folder / "ended").exists)
    assert (site.folder / "ran").read_text() == "HEAD\n"


def test_answers_without_body(site: Site) -> None:
    site.shell("x.cgi", "printf 'Status: 204\\n\\nignored'")
    site.shell("y.cgi", "printf 'Status: 304\\nETag: \"a\"\\n\\n'")
    assert (site.ask("/x.cgi").status, site.ask("/x.cgi").body) == (204, b"")
    assert site.ask("/y.cgi").status == 304


def test_conditions_and_ranges_are_the_programs_affair(site: Site) -> None:
    site.shell("x.cgi", f"{OK}; printf '%s' \"$HTTP_RANGE\"")
    answer = site.ask(
        "/x.cgi", "GET", None, "Range: bytes=0-3", "If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT"
    )
    assert (answer.status, answer.body) == (200, b"bytes=0-3")


# Redirects (RFC 3875 6.2.2 to 6.2.4).


def test_a_redirect_whose_program_does_not_end_is_none(reactor: Reactor, tmp_path: Path) -> None:
    site = Site(reactor, tmp_path, script_timeout=0.3)
    site.shell("x.cgi", "printf 'Location: /x\\n\\n'; sleep 1000")
    assert site.ask("/x.cgi").status == 502
    site.settle()
    site.stop()


def test_a_redirect_of_the_client(site: Site) -> None:
    site.shell("x.cgi", "printf 'Location: http://example.org/y\\n\\n'")
    answer = site.ask("/x.cgi")
    assert answer.status == 302
    assert "Location: http://example.org/y" in answer.head


def test_a_redirect_within_the_server(site: Site) -> None:
    site.put("page.html", "a page", 0o644)
    site.shell("x.cgi", "cat > /dev/null; printf 'Location: /page.html?x\\n\\nignored'")
    site.shell("y.cgi", "printf 'Location: /show.cgi/p?q=1\\n\\n'")
    site.shell("show.cgi", SHOW)
    for method, body in (("GET", None), ("POST", b"data")):
        answer = site.ask("/x.cgi", method, body)
        assert (answer.status, answer.body) == (200, b"a page")
    assert site.ask("/x.cgi", "HEAD").status == 200
    assert site.ask("/y.cgi").body == b"GET|/show.cgi|/p|q=1|||"
    site.shell("z.cgi", "printf 'Location: /none\\n\\n'")
    assert site.ask("/z.cgi").status == 404


@pytest.mark.parametrize("said", ["Location: /page.html", "Status: 204"])
def test_a_program_that_answers_without_body_still_reads_its_input(site: Site, said: str) -> None:
    site.put("page.html", "a page", 0o644)
    site.shell("x.cgi", f"printf '{said}\\n\\n'; sleep 0.2; cat > got")
    site.shell("y.cgi", SHOW)
    got = site.folder / "got"

    def talk() -> bytes:
        with site.connect() as sock:
            sock.sendall(b"POST /x.cgi HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nfirstrest")
            data = sock.recv(65536)
            sock.sendall(
                b"POST /y.cgi HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\nConnection: close\r\n\r\nnext"
            )
            while piece := sock.recv(65536):
                data += piece
            return data

    data = site.beside(talk)
    assert data.count(b"HTTP/1.1 20") == 2
    assert b"next" in data
    assert got.read_text() == "firstrest"


def test_redirects_within_the_server_are_bounded(site: Site) -> None:
    site.shell("x.cgi", "echo x >> count; printf 'Location: /x.cgi\\n\\n'")
    assert site.ask("/x.cgi").status == 500
    assert (site.folder / "count").read_text().count("x") == 6


@pytest.mark.parametrize("target", ["/../secret", "//example.org/", "/a b", "/x#y", "/%2e%2e/secret"])
def test_a_redirect_to_what_no_client_may_ask_for_is_refused(site: Site, target: str) -> None:
    site.shell("x.cgi", f"echo 'Location: {target}'; echo")
    assert site.ask("/x.cgi").status in {400, 404, 502}


# Streams.


def test_a_large_body_goes_through_both_ways(site: Site, tmp_path: Path) -> None:
    data = bytes(range(251)) * 20_000
    (tmp_path / "data").write_bytes(data)
    site.shell("x.cgi", f"{OK}; cat")
    done = site.curl("/x.cgi", "--data-binary", f"@{tmp_path}/data", "-H", "Expect: 100-continue")
    assert done.output == data


def test_output_comes_as_it_is_made(site: Site) -> None:
    fifo = site.folder / "go"
    site.shell("x.cgi", f"mkfifo {fifo}; {OK}; echo first; read x < {fifo}; echo second")

    def talk() -> bytes:
        with site.connect() as sock:
            sock.sendall(b"GET /x.cgi HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            data = b""
            while b"first" not in data:
                data += sock.recv(65536)
            fifo.write_text("go\n")
            while piece := sock.recv(65536):
                data += piece
            return data

    assert b"second" in site.beside(talk)


def test_a_client_that_does_not_read_makes_the_program_wait(site: Site) -> None:
    site.shell("x.cgi", f"{OK}; head -c 50000000 /dev/zero; echo done > done")
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
        host, _, port = site.address().rpartition(":")
        sock.connect((host, int(port)))
        sock.sendall(b"GET /x.cgi HTTP/1.1\r\nHost: localhost\r\n\r\n")
        sent = -1
        deadline = time.monotonic() + 10
        while sent != site.service.ports()[0].bytes_sent and time.monotonic() < deadline:  # type: ignore[union-attr]
            sent = site.service.ports()[0].bytes_sent  # type: ignore[union-attr]
            end = time.monotonic() + 0.2
            while time.monotonic() < end:
                site.reactor.step(0.02)
        assert 0 < sent < 20_000_000
        assert not (site.folder / "done").exists()


def test_a_program_that_does_not_read_keeps_no_turn_for_ever(reactor: Reactor, tmp_path: Path) -> None:
    site = Site(reactor, tmp_path, script_timeout=1)
    site.shell("x.cgi", "exec sleep 1000")
    assert site.ask("/x.cgi", "POST", b"x" * 1_000_000).status == 504
    site.settle()
    site.stop()


def test_a_program_need_not_read_its_input(site: Site) -> None:
    site.shell("x.cgi", f"exec 0<&-; {OK}; echo unread")
    assert site.ask("/x.cgi", "POST", b"x" * 1_000_000).body == b"unread\n"


def test_what_a_program_does_after_its_answer_holds_nobody_up(site: Site) -> None:
    site.shell("x.cgi", f"{OK}; echo now; exec >&- 2>&-; sleep 2; echo later > later")
    assert site.ask("/x.cgi").body == b"now\n"
    assert not (site.folder / "later").exists()
    wait_until(site.reactor, (site.folder / "later").exists, 20)
