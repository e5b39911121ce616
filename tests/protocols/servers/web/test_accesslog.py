"""The access log: its format."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portable.transport import Address
from protocols.http.access import AccessRecord
from protocols.servers.web.accesslog import AccessLog, combined_line

if TYPE_CHECKING:
    from pathlib import Path

RECORD = AccessRecord(
    peer=Address("192.0.2.7", 5000),
    time=971211336.9,
    method="GET",
    target="/apache_pb.gif?a=b",
    version="HTTP/1.0",
    status=200,
    bytes_sent=2326,
    referer="http://www.example.com/start.html",
    user_agent="Mozilla/4.08 [en] (Win98; I ;Nav)",
    duration=0.1,
)
# What log readers split a line with.
COMBINED = re.compile(
    r"(\S+) (\S+) (\S+) \[(\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4})\]"
    r' "((?:[^"\\]|\\.)*)" (\d{3}) (\d+|-)'
    r' "((?:[^"\\]|\\.)*)" "((?:[^"\\]|\\.)*)"'
)


def test_the_combined_format() -> None:
    assert combined_line(RECORD) == (
        '192.0.2.7 - - [10/Oct/2000:20:55:36 +0000] "GET /apache_pb.gif?a=b HTTP/1.0" 200 2326 '
        '"http://www.example.com/start.html" "Mozilla/4.08 [en] (Win98; I ;Nav)"'
    )


def test_what_is_missing_is_a_hyphen() -> None:
    record = RECORD._replace(
        method="", target="", version="", bytes_sent=0, referer=None, user_agent=None, peer=None
    )
    assert combined_line(record) == '- - - [10/Oct/2000:20:55:36 +0000] "-" 200 - "-" "-"'


@pytest.mark.parametrize(
    ("peer", "expected"),
    [(Address("::1", 1), "::1"), ("", "unix"), ("/run/a b\n.sock", "/run/a\\x20b\\n.sock"), (None, "-")],
)
def test_peers(peer: Address | str | None, expected: str) -> None:
    assert combined_line(RECORD._replace(peer=peer)).startswith(expected + " - - [")


@given(st.text(), st.text(), st.text())
def test_no_client_can_forge_a_line_or_a_field(target: str, referer: str, agent: str) -> None:
    line = combined_line(RECORD._replace(target=target, referer=referer, user_agent=agent))
    assert re.fullmatch("[ -~]*", line)
    match = COMBINED.fullmatch(line)
    assert match is not None
    assert match.group(6, 7) == ("200", "2326")


def test_each_record_is_a_line(tmp_path: Path) -> None:
    log = AccessLog(str(tmp_path / "log"))
    log(RECORD)
    log.close()
    assert (tmp_path / "log").read_text() == combined_line(RECORD) + "\n"
