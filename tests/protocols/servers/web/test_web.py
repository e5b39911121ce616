"""The server kind `web`, on a real reactor and with clients that are not ours."""

from __future__ import annotations

import importlib
import os
import shutil
import threading
from typing import TYPE_CHECKING, Any

import pytest

from portable.errors import ConfigurationError, ListenError
from portable.options import check_values
from portable.testing import wait_for, wait_until
from protocols.http.messages import Response
from protocols.servers.web import KIND, make_service
from protocols.servers.web.kind import WebService, load_resource
from tests.portable.tls.certs import Authority, read
from tests.protocols.servers.web.programs import Finished, run_program

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from portable.reactor import Reactor
    from protocols.http.request import Request
    from protocols.http.resource import Resource

BIG = bytes(range(256)) * 8000  # 2 MB


class Hello:
    """What --class names in these tests."""

    def child(self, segment: str, request: Request) -> Resource | None:
        return None

    def render(self, request: Request) -> Response:
        return Response(200, [("Content-Type", "text/plain")], b"hello from a class")


class Needy:
    def __init__(self, needs: object) -> None:
        raise NotImplementedError


NOT_CALLABLE = 1


def values(**options: Any) -> dict[str, Any]:
    given = {name.replace("_", "-"): value for name, value in options.items()}
    if "personal" not in given:
        given.setdefault("port", 0)
        given.setdefault("interface", "127.0.0.1")
    return check_values(KIND.options, given)


class Running:
    """A web server in this process, and programs that talk to it while the loop turns."""

    def __init__(self, reactor: Reactor, **options: Any) -> None:
        self.reactor = reactor
        service = make_service(values(**options))
        assert isinstance(service, WebService)
        self.service = service
        service.bind(reactor)
        service.start()

    def address(self, place: int = 0) -> str:
        return self.service.addresses()[place].rpartition(" ")[2]

    def url(self, path: str = "/", place: int = 0) -> str:
        scheme = "https" if place else "http"
        return f"{scheme}://{self.address(place)}{path}"

    def run(self, *argv: str) -> Finished:
        """Run a program to its end, serving it meanwhile."""
        results: list[Finished] = []
        thread = threading.Thread(target=lambda: results.append(run_program(argv)))
        thread.start()
        try:
            wait_until(self.reactor, lambda: results, 30, f"the end of {argv[0]}")
        finally:
            thread.join()
        return results[0]

    def curl(self, path: str, *options: str, place: int = 0) -> Finished:
        if shutil.which("curl") is None:
            pytest.skip("there is no curl here")
        return self.run("curl", "-sS", "--max-time", "20", "--path-as-is", *options, self.url(path, place))

    def stop(self) -> None:
        wait_for(self.reactor, self.service.stop(5))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    top = tmp_path / "root"
    (top / "sub").mkdir(parents=True)
    (top / "index.html").write_bytes(b"<h1>home</h1>")
    (top / "hello.txt").write_bytes(b"0123456789")
    (top / "big.bin").write_bytes(BIG)
    (top / "sub" / "x.txt").write_bytes(b"x")
    (tmp_path / "secret").write_bytes(b"the secret")
    return top


@pytest.fixture
def server(reactor: Reactor, root: Path) -> Iterator[Running]:
    running = Running(reactor, path=str(root), logfile=str(root.parent / "access.log"))
    yield running
    running.stop()


def test_a_folder_that_only_root_may_read_is_told_when_the_server_starts(
    reactor: Reactor, root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Otherwise every request is answered 403, and no log says why."""

    Running(reactor, path=str(root)).stop()
    assert caplog.text == ""
    # The tests may be root's, who may read everything.
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    Running(reactor, path=str(root)).stop()
    assert f"this user may not read '{root}', which is to be served" in caplog.text


def test_curl(server: Running, root: Path, tmp_path: Path) -> None:
    assert server.curl("/").output == b"<h1>home</h1>"
    assert server.curl("/big.bin").output == BIG
    head = server.curl("/big.bin", "-I").output.decode()
    assert f"Content-Length: {len(BIG)}" in head
    assert server.curl("/hello.txt", "-r", "2-4").output == b"234"
    assert server.curl("/hello.txt", "-r", "-3").output == b"789"
    assert server.curl("/big.bin", "-r", "100000-200000").output == BIG[100000:200001]
    several = server.curl("/big.bin", "-i", "-r", "0-9,100000-100009").output
    assert b"multipart/byteranges" in several
    assert several.count(b"Content-Range: bytes ") == 2
    code = ("-o", str(tmp_path / "out"), "-w", "%{http_code}")
    assert server.curl("/hello.txt", *code, "-r", "50-").output == b"416"
    etag = str(tmp_path / "etag")
    assert server.curl("/hello.txt", *code, "--etag-save", etag).output == b"200"
    assert server.curl("/hello.txt", *code, "--etag-compare", etag).output == b"304"
    assert server.curl("/hello.txt", *code, "-z", str(root / "hello.txt")).output == b"304"
    assert server.curl("/sub", *code, "-L").output == b"200"
    assert server.curl("/../secret", *code).output == b"400"
    assert server.curl("/%2e%2e/secret", *code).output == b"400"
    assert server.curl("/hello.txt", *code, "-d", "data").output == b"405"
    listing = server.curl("/sub/").output
    assert b'href="x.txt"' in listing


def test_wget_goes_on_where_it_was_cut(server: Running, tmp_path: Path) -> None:
    if shutil.which("wget") is None:
        pytest.skip("there is no wget here")
    target = tmp_path / "big.bin"
    target.write_bytes(BIG[:777_777])
    finished = server.run("wget", "-q", "--no-proxy", "-c", "-O", str(target), server.url("/big.bin"))
    assert finished.status == 0, finished
    assert target.read_bytes() == BIG
    wait_until(server.reactor, lambda: b" 206 " in (tmp_path / "access.log").read_bytes())


def test_ab_keeps_connections(server: Running) -> None:
    if shutil.which("ab") is None:
        pytest.skip("there is no ab here")
    finished = server.run("ab", "-q", "-k", "-n", "400", "-c", "20", server.url("/hello.txt"))
    report = finished.output.decode()
    assert finished.status == 0, finished
    assert "Complete requests:      400" in report
    assert "Failed requests:        0" in report
    assert "Keep-Alive requests:    400" in report


def test_the_log_is_complete_when_the_server_has_stopped(reactor: Reactor, root: Path) -> None:
    log = root.parent / "access.log"
    server = Running(reactor, path=str(root), logfile=str(log))
    server.curl("/hello.txt", "-A", 'a "quoted" agent', "-e", "http://from/")
    log.rename(root.parent / "access.log.1")
    server.service.reload()
    wait_until(reactor, log.exists)
    server.curl("/nothing?x=1")
    server.stop()
    lines = [*(root.parent / "access.log.1").read_text().splitlines(), *log.read_text().splitlines()]
    assert len(lines) == 2
    assert '"GET /hello.txt HTTP/1.1" 200 10 "http://from/" "a \\"quoted\\" agent"' in lines[0]
    assert '"GET /nothing?x=1 HTTP/1.1" 404 ' in lines[1]


def test_a_reload_without_a_log(reactor: Reactor, root: Path) -> None:
    server = Running(reactor, path=str(root / "hello.txt"))
    server.service.reload()
    assert server.curl("/").output == b"0123456789"
    server.stop()


def test_https(reactor: Reactor, root: Path) -> None:
    trustme = pytest.importorskip("trustme")
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1", "localhost")
    both = root.parent / "server.pem"
    certificate.private_key_and_cert_chain_pem.write_to_path(str(both))
    trusted = root.parent / "ca.pem"
    authority.cert_pem.write_to_path(str(trusted))
    server = Running(reactor, path=str(root), https=0, certificate=str(both))
    assert [line.split(" ")[:2] for line in server.service.addresses()] == [["web", "tcp"], ["web", "tls"]]
    for _ in range(2):
        answer = server.curl("/big.bin", "--cacert", str(trusted), place=1)
        assert answer.output == BIG, answer
    assert server.curl("/hello.txt").output == b"0123456789"
    server.stop()


@pytest.mark.parametrize("apart", [False, True])
def test_https_for_several_hosts(reactor: Reactor, root: Path, apart: bool) -> None:
    """The keys in files of their own, or with the certificates."""
    authority = Authority(root.parent, "ours")
    pairs = [authority.issue(name, f"{name}.example") for name in ("one", "two")]
    files = {"certificate": [pair.cert for pair in pairs], "privkey": [pair.key for pair in pairs]}
    if not apart:
        for certificate, key in zip(files["certificate"], files.pop("privkey"), strict=True):
            with open(certificate, "a") as file:
                file.write(read(key))
    server = Running(reactor, path=str(root), https=0, **files)
    port = server.address(1).rpartition(":")[2]
    for name in ("one.example", "two.example"):
        url = f"https://{name}:{port}/hello.txt"
        words = ("--cacert", authority.pem, "--resolve", f"{name}:{port}:127.0.0.1", url)
        assert server.run("curl", "-sS", "--max-time", "20", *words).output == b"0123456789"
    server.stop()


def test_a_class(reactor: Reactor) -> None:
    server = Running(reactor, **{"class": f"{__name__}.Hello"})
    assert server.curl("/").output == b"hello from a class"
    assert b"404" in server.curl("/x", "-i").output
    server.stop()


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("Hello", "not module.Class"),
        (".Hello", "not module.Class"),
        ("a.b-c", "not module.Class"),
        ("no.such.module.Class", "cannot import no.such.module"),
        ("protocols.http.resource.Missing", "no class Missing"),
        (f"{__name__}.NOT_CALLABLE", "no class NOT_CALLABLE"),
        (f"{__name__}.Needy", "failed: TypeError"),
        ("collections.OrderedDict", "is no resource"),
    ],
)
def test_classes_that_cannot_be_served(name: str, complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=complaint) as caught:
        load_resource(name)
    assert caught.value.where == "--class"


def refusal(**options: Any) -> str:
    with pytest.raises(ConfigurationError) as caught:
        make_service(values(**options))
    return str(caught.value)


def test_options_that_have_no_meaning_together(root: Path) -> None:
    path = str(root)
    assert "nothing to serve: give --path" in refusal()
    assert "not both" in refusal(path=path, **{"class": "a.B"})
    assert "--certificate" in refusal(path=path, https=0)
    assert "goes with --https" in refusal(path=path, certificate=path)
    assert "as many" in refusal(path=path, https=0, certificate=[path, path], privkey=[path])
    assert "goes with --https" in refusal(path=path, privkey=path)
    for name in ("", "..", "a/b", "a\\b"):
        assert "is not the name of a file" in refusal(path=path, index=[name])
    for text in ("plain", "text/", "/plain", "text/plain\r\nX: y"):
        assert "is not a media type" in refusal(path=path, mime_type=text)


def test_a_path_that_is_gone_is_missed_when_it_is_bound(reactor: Reactor, root: Path) -> None:
    service = make_service(values(path=str(root)))
    shutil.rmtree(root)
    with pytest.raises(ConfigurationError, match="No such file") as caught:
        service.bind(reactor)
    assert caught.value.where == "--path"


def test_a_log_that_cannot_be_opened(reactor: Reactor, root: Path) -> None:
    service = make_service(values(path=str(root), logfile=str(root)))
    with pytest.raises(ConfigurationError, match="--logfile"):
        service.bind(reactor)


def test_a_port_that_is_taken_leaves_nothing_open(reactor: Reactor, root: Path) -> None:
    first = Running(reactor, path=str(root))
    port = int(first.address().rpartition(":")[2])
    second = make_service(values(path=str(root), port=port, logfile=str(root.parent / "log")))
    with pytest.raises(ListenError):
        second.bind(reactor)
    first.stop()


def test_a_connection_before_bind_is_a_bug(root: Path) -> None:
    service = make_service(values(path=str(root)))
    assert isinstance(service, WebService)
    with pytest.raises(AssertionError):
        service._make_protocol()


def test_the_kind_can_be_found() -> None:
    kinds = importlib.import_module("portable.kinds")
    assert kinds.find_kind("web") is KIND
    assert KIND.option("index").default == ("index.html", "index.htm")
