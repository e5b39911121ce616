"""Python pages: what ".epy" files print, and what ".rpy" files define."""

from __future__ import annotations

import os
import threading
import typing

import pytest

from portable.testing import wait_until
from protocols.servers.web import pythonpages, turns
from tests.protocols.servers.web.site import GATE, SECRET, Site

if typing.TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from portable.reactor import Reactor

RESOURCE = """
# {secret}
from __future__ import annotations
import dataclasses
from protocols.http.messages import Response
from protocols.http.resource import Page, Tree

@dataclasses.dataclass
class Counter:
    count: int = 0

counter = Counter()

def answer(request):
    counter.count += 1
    return Response(200, [("Content-Type", "text/plain")], f"{{counter.count}} {{request.query}}".encode())

resource = Tree(Page(answer, ["GET", "POST"]))
resource.put_child("child", Page(answer))
"""


@pytest.fixture
def site(reactor: Reactor, tmp_path: Path) -> Iterator[Site]:
    made = Site(reactor, tmp_path)
    yield made
    made.stop()


# epy


def test_what_a_page_prints_is_the_page(site: Site) -> None:
    site.put("x.epy", "print('<p>', request.method, request.query, body, '\u2603', sep='|')", 0o644)
    answer = site.ask("/x.epy?q", "POST", b"data")
    assert answer.status == 200
    assert "Content-Type: text/html; charset=utf-8" in answer.head
    assert answer.body == "<p>|POST|q|b'data'|\u2603\n".encode()
    assert site.ask("/x.epy", "HEAD").body == b""


def test_a_page_may_change_status_and_fields(site: Site) -> None:
    site.put("x.epy", "response.status = 404\nresponse.headers.set('Content-Type', 'text/plain')\nprint('no')")
    answer = site.ask("/x.epy")
    assert (answer.status, answer.body) == (404, b"no\n")
    assert "Content-Type: text/plain" in answer.head


def test_a_page_as_index_and_with_a_path_behind_it(site: Site) -> None:
    site.put("index.epy", "print(request.path)")
    assert site.ask("/").body == b"/\n"
    assert site.ask("/index.epy/a/b").body == b"/index.epy/a/b\n"


@pytest.mark.parametrize(
    "source",
    [
        "raise ValueError('details')",
        "1 +",
        "exit(3)",
        "import sys; sys.exit()",
        "raise KeyboardInterrupt",
        "print('x' * 20_000_000)",
        "\0",
        "print('begun')\nraise KeyError('details')",
        "response.headers.add('X', 'a\\nb')\nraise ValueError('details')",
    ],
)
def test_what_fails_is_logged_and_not_shown(site: Site, caplog: pytest.LogCaptureFixture, source: str) -> None:
    site.put("x.epy", f"# {SECRET}\n{source}")
    answer = site.ask("/x.epy")
    assert answer.status == 500
    for word in (SECRET, "details", "x.epy", "Traceback", "begun"):
        assert word.encode() not in answer.body
    assert "GET /x.epy failed" in caplog.text
    assert "Traceback" in caplog.text


def test_a_long_file_is_not_run(site: Site) -> None:
    site.put("x.epy", "#" * (pythonpages.MAX_SOURCE + 1))
    assert site.ask("/x.epy").status == 500


def test_a_long_body_is_refused(site: Site) -> None:
    site.put("x.epy", "print(len(body))")
    assert site.ask("/x.epy", "POST", b"x" * pythonpages.MAX_BODY).body == b"1048576\n"
    assert site.ask("/x.epy", "POST", b"x" * (pythonpages.MAX_BODY + 1)).status == 413


WAIT = "from tests.protocols.servers.web.site import GATE\nGATE.wait(20)\n"


@pytest.mark.usefixtures("untraced")
def test_a_page_that_takes_too_long_is_given_up_and_holds_up_nobody_else(
    reactor: Reactor, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    GATE.clear()
    monkeypatch.setattr(turns, "WAIT_SECONDS", 0.1)
    site = Site(reactor, tmp_path, script_timeout=0.2)
    try:
        site.put("x.epy", WAIT + "print('late')")
        site.put("y.epy", "print('fast')")
        site.put("z.txt", "file", 0o644)
        assert site.ask("/x.epy").status == 504
        assert "not done in 0.2 seconds" in caplog.text
        assert site.ask("/y.epy").body == b"fast\n"
        assert site.ask("/x.epy").status == 504
        # Two threads are lost by now, as what waits in C cannot be interrupted, and no more are given.
        assert site.ask("/y.epy").status == 503
        assert site.ask("/z.txt").body == b"file"
        assert b"z.txt" in site.ask("/").body
    finally:
        GATE.set()
    wait_until(reactor, lambda: site.ask("/y.epy").status == 200)
    site.stop()


FOREVER = "while True: pass"
CAREFUL = "try:\n    while True: pass\nexcept KeyboardInterrupt:\n    while True: pass\n"


@pytest.mark.usefixtures("untraced")
@pytest.mark.parametrize("extension", ["epy", "rpy"])
@pytest.mark.parametrize("source", [FOREVER, CAREFUL])
def test_pages_that_never_end_do_not_block_their_kind(
    reactor: Reactor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, extension: str, source: str
) -> None:
    monkeypatch.setattr(pythonpages, "INTERRUPT_EVERY", 0.1)
    site = Site(reactor, tmp_path, script_timeout=0.2)
    site.put("y.epy", "print('fine')")
    site.put("y.rpy", RESOURCE.format(secret=""))
    names = [f"x{number}.{extension}" for number in range(pythonpages.MAX_RUNNING + 1)]
    for name in names:
        site.put(name, source)
        assert site.ask(f"/{name}").status == 504
    service: typing.Any = site.service
    worker = service._folder.processors._processors[extension]._worker
    wait_until(reactor, lambda: worker._turns.taken == 0)
    assert site.ask(f"/y.{extension}/").status == 200
    site.stop()


# rpy


def test_a_resource_keeps_its_state_and_has_children(site: Site) -> None:
    site.put("x.rpy", RESOURCE.format(secret=SECRET), 0o644)
    assert site.ask("/x.rpy").status == 308
    assert site.ask("/x.rpy/?a").body == b"1 a"
    assert site.ask("/x.rpy/child?b").body == b"2 b"
    assert site.ask("/x.rpy/", "POST", b"data").body == b"3 "
    assert site.ask("/x.rpy/child", "POST", b"data").status == 405
    assert site.ask("/x.rpy/none").status == 404
    assert site.ask("/x.rpy/child/none").status == 404


def test_a_resource_as_index(site: Site) -> None:
    site.put("sub/index.rpy", RESOURCE.format(secret=SECRET), 0o644)
    assert site.ask("/sub/").body == b"1 "


def test_a_changed_file_is_loaded_again(site: Site) -> None:
    path = site.put("x.rpy", RESOURCE.format(secret=SECRET), 0o644)
    assert site.ask("/x.rpy/").body == b"1 "
    assert site.ask("/x.rpy/").body == b"2 "
    path.write_text(RESOURCE.format(secret="").replace("+= 1", "+= 10"))
    assert site.ask("/x.rpy/").body == b"10 "
    os.utime(path, (1, 1))
    assert site.ask("/x.rpy/").body == b"10 "
    path.unlink()
    assert site.ask("/x.rpy/").status == 404


def test_two_that_ask_at_once_get_one_resource(site: Site) -> None:
    GATE.clear()
    site.put("x.rpy", WAIT + RESOURCE.format(secret="").replace("from __future__ import annotations\n", ""))
    answers: list[bytes] = []

    def ask() -> None:
        with site.connect() as sock:
            sock.sendall(b"GET /x.rpy/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            data = b""
            while piece := sock.recv(65536):
                data += piece
            answers.append(data.rpartition(b"\r\n")[2])

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    service: typing.Any = site.service
    pages = service._folder.processors._processors["rpy"]
    wait_until(site.reactor, lambda: [len(waiting) for waiting in pages._loading.values()] == [3])
    GATE.set()
    wait_until(site.reactor, lambda: len(answers) == 3)
    for thread in threads:
        thread.join()
    assert sorted(answers) == [b"1 ", b"2 ", b"3 "]


@pytest.mark.parametrize(
    "source", ["", "x = 1", "resource = 1", "class resource:\n    render = 1", "resource = None"]
)
def test_a_file_without_a_resource_gets_a_hint(site: Site, source: str) -> None:
    site.put("x.rpy", f"# {SECRET}\n{source}")
    answer = site.ask("/x.rpy")
    assert answer.status == 500
    assert b"Whoops: the file of this page defines no resource." in answer.body
    assert SECRET.encode() not in answer.body
    assert str(site.folder).encode() not in answer.body


@pytest.mark.parametrize(
    "source",
    ["raise ValueError('details')", "1 +", "exit()", "raise KeyboardInterrupt", "import no_such_module"],
)
def test_a_file_that_cannot_be_loaded_is_tried_each_time(
    site: Site, caplog: pytest.LogCaptureFixture, source: str
) -> None:
    path = site.put("x.rpy", f"# {SECRET}\n{source}")
    answer = site.ask("/x.rpy")
    assert answer.status == 500
    assert b"details" not in answer.body
    assert b"Whoops" not in answer.body
    assert "Traceback" in caplog.text
    path.write_text(RESOURCE.format(secret=""))
    assert site.ask("/x.rpy/").body == b"1 "


@pytest.mark.parametrize("head", ["def", "async def"])
def test_a_handler_that_would_exit_fails_and_the_server_goes_on(
    site: Site, caplog: pytest.LogCaptureFixture, head: str
) -> None:
    site.put(
        "x.rpy",
        f"import sys\n{head} answer(request): sys.exit(7)\n"
        "from protocols.http.resource import Page\nresource = Page(answer)",
    )
    assert [site.ask("/x.rpy").status for _ in range(2)] == [500, 500]
    assert "GET /x.rpy failed" in caplog.text


def test_few_files_are_loaded_at_a_time_and_kept(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pythonpages, "MAX_LOADED", 2)
    for name in ("a", "b", "c"):
        site.put(f"{name}.rpy", RESOURCE.format(secret=""))
        assert site.ask(f"/{name}.rpy/").body == b"1 "
    assert site.ask("/c.rpy/").body == b"2 "
    assert site.ask("/a.rpy/").body == b"1 "
    monkeypatch.setattr(turns, "MAX_WAITING", 0)
    service: typing.Any = site.service
    service._folder.processors._processors["rpy"]._worker._turns._most = 0
    assert site.ask("/b.rpy/").status == 503


@pytest.mark.parametrize("name", ["x.epy", "x.rpy"])
def test_sources_are_not_shown_and_links_not_followed(site: Site, tmp_path: Path, name: str) -> None:
    outside = site.folder.parent / f"outside-{name}"
    outside.write_text(f"# {SECRET}")
    (site.folder / name).symlink_to(outside)
    assert site.ask(f"/{name}").status == 404
    (site.folder / name).unlink()
    for copy in (f"{name}~", f"{name}.bak"):
        site.put(copy, f"# {SECRET}")
        assert site.ask(f"/{copy}").status == 404
