"""PHP pages, by the real php-cgi."""

from __future__ import annotations

import shutil
import typing

import pytest

from protocols import cgi
from tests.protocols.servers.web.site import SECRET, Site

if typing.TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from portable.reactor import Reactor

SHOW = f"""<?php # {SECRET}
echo implode("|", [$_SERVER["REQUEST_METHOD"], $_SERVER["SCRIPT_NAME"], $_SERVER["PATH_INFO"] ?? "",
    $_GET["q"] ?? "", $_POST["a"] ?? "", $_COOKIE["c"] ?? "", getcwd()]);
"""


@pytest.fixture
def site(reactor: Reactor, tmp_path: Path) -> Iterator[Site]:
    made = Site(reactor, tmp_path)
    yield made
    made.settle()
    made.stop()


@pytest.fixture
def php(site: Site) -> Site:
    if shutil.which("php-cgi", path=cgi.PATH) is None:
        pytest.skip("php-cgi is not installed (Debian: php-cgi)")
    return site


def test_a_page(php: Site) -> None:
    php.put("sub/x.php", SHOW, 0o644)
    folder = f"{php.folder}/sub"
    answer = php.ask("/sub/x.php")
    assert "Content-type: text/html; charset=UTF-8" in answer.head
    assert answer.body == f"GET|/sub/x.php|||||{folder}".encode()
    done = php.curl("/sub/x.php/a%20b?q=1+2", "-d", "a=posted", "-b", "c=cookie")
    assert done.output == f"POST|/sub/x.php|/a b|1 2|posted|cookie|{folder}".encode()
    assert php.ask("/sub/x.php", "HEAD").body == b""


def test_a_page_as_index(php: Site) -> None:
    php.put("index.php", SHOW, 0o644)
    assert php.ask("/?q=x").body == f"GET|/index.php||x|||{php.folder}".encode()


def test_status_and_redirects(php: Site) -> None:
    php.put("x.php", "<?php http_response_code(404); header('X-A: b'); echo 'none';", 0o644)
    answer = php.ask("/x.php")
    assert (answer.status, answer.body) == (404, b"none")
    assert "X-A: b" in answer.head
    php.put("y.php", "<?php header('Location: /z?a=b');", 0o644)
    answer = php.ask("/y.php")
    assert answer.status == 302
    assert "Location: /z?a=b" in answer.head


def test_an_upload(php: Site, tmp_path: Path) -> None:
    php.put("x.php", "<?php echo filesize($_FILES['f']['tmp_name']);", 0o644)
    (tmp_path / "data").write_bytes(b"x" * 1_000_000)
    assert php.curl("/x.php", "-F", f"f=@{tmp_path}/data").output == b"1000000"


def test_options_in_the_query_are_none(php: Site) -> None:
    # CVE-2012-1823: "-s" showed the source, "-d" changed the configuration.
    php.put("x.php", SHOW, 0o644)
    for query in ("-s", "-n+-d+auto_prepend_file%3d/etc/passwd", "--version", "-h"):
        answer = php.ask(f"/x.php?{query}")
        assert answer.body.startswith(b"GET|/x.php|")
        assert SECRET.encode() not in answer.body


def test_no_spelling_of_its_path_shows_a_source(php: Site) -> None:
    php.put("x.php", SHOW, 0o644)
    for target in ("/x.php", "/x.php/", "/x.php/y.html", "/x.php?x.html"):
        answer = php.ask(target, "GET", None, "Range: bytes=0-40")
        assert answer.status == 200
        assert answer.body.startswith(b"GET|/x.php|")
    for target in ("/x.php%20", "/x.php.", "/x.PHP", "/x.php%00", "/x.php%2f", "/x.php/../x.php"):
        assert php.ask(target).status in {400, 404}


def test_another_file_is_not_taken_for_php(php: Site) -> None:
    # "/image.gif/x.php" has made PHP run the picture elsewhere.
    php.put("image.gif", "<?php echo 'run';", 0o644)
    assert php.ask("/image.gif/x.php").status == 404
    assert php.ask("/image.gif").body == b"<?php echo 'run';"


def test_an_error_of_a_page_is_its_own(php: Site) -> None:
    php.put("x.php", "<?php throw new Exception('x');", 0o644)
    assert php.ask("/x.php").status in {200, 500}
    php.settle()


def test_without_php_the_log_says_so_and_the_client_gets_a_500(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(cgi, "PATH", "/nowhere")
    site.put("x.php", SHOW, 0o644)
    answer = site.ask("/x.php")
    assert answer.status == 500
    assert b"php" not in answer.body
    assert SECRET.encode() not in answer.body
    assert "cannot start 'php-cgi': there is no such file" in caplog.text
