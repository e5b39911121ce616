"""Every malformed request is refused, whole or byte by byte, and what follows it is never a request."""

from __future__ import annotations

import typing

import pytest

from portable.testing import ManualClock, MemoryTransport
from protocols.http.limits import Limits
from protocols.http.messages import Response
from protocols.http.parser import RequestParser
from protocols.http.resource import Page, Tree
from protocols.http.rules import RULES, RefusedRequest, explain
from protocols.http.server import Site
from tests.protocols.http.corpus import CASES, SMUGGLED, Case

if typing.TYPE_CHECKING:
    from protocols.http.request import Request


def make_tree(hits: list[str]) -> Tree:
    def answer(request: Request) -> Response:
        hits.append(request.path)
        return Response(200, [("Content-Type", "text/plain")], b"fine")

    async def read(request: Request) -> Response:
        await request.body.read(1 << 20)
        return answer(request)

    tree = Tree(Page(answer))
    tree.put_child("smuggled", Page(answer))
    tree.put_child("read", Page(read, ("POST", "PUT", "PATCH")))
    return tree


def rule_of(data: bytes, step: int) -> str:
    parser = RequestParser(Limits())
    try:
        for start in range(0, len(data), step):
            parser.receive_data(data[start : start + step])
            while parser.next_request() is not None:
                if not skip_body(parser, data, start + step, step):
                    return "unfinished"
    except RefusedRequest as error:
        return error.rule
    return "accepted"


def skip_body(parser: RequestParser, data: bytes, rest: int, step: int) -> bool:
    while not parser.body_ended:
        if parser.next_body() is None:
            if rest >= len(data):
                return False
            parser.receive_data(data[rest : rest + step])
            rest += step
    return True


def test_the_corpus_is_large_and_its_names_differ() -> None:
    assert len(CASES) >= 150
    assert len({case.name for case in CASES}) == len(CASES)


def test_every_rule_that_bytes_can_break_has_a_case() -> None:
    elsewhere = {"path-encoding", "path-escape", "path-empty", "request-timeout", "body-timeout", "body-cut"}
    assert {case.rule for case in CASES} == set(RULES) - elsewhere


@pytest.mark.parametrize("step", [1 << 20, 1], ids=["whole", "bytewise"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_parser_names_the_rule(case: Case, step: int) -> None:
    if len(case.data) > 20000 and step == 1:
        step = 997
    assert rule_of(case.data + SMUGGLED, step) == case.rule


@pytest.mark.parametrize("step", [1 << 20, 1], ids=["whole", "bytewise"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_server_refuses_and_closes(case: Case, step: int) -> None:
    if len(case.data) > 5000 and step == 1:
        step = 997
    hits: list[str] = []
    clock = ManualClock()
    transport = MemoryTransport(Site(make_tree(hits), clock=clock)(), clock)
    data = case.data + SMUGGLED
    for start in range(0, len(data), step):
        transport.receive(data[start : start + step])
    answer = transport.take()
    assert answer.startswith(f"HTTP/1.1 {RULES[case.rule].status} ".encode())
    assert answer.count(b"\r\nServer: ") == 1
    assert b"\r\nConnection: close\r\n" in answer
    assert b"Traceback" not in answer
    assert transport.eof_written
    assert not hits
    clock.advance(10)
    assert transport.lost
    assert transport.lost_reason is None


def test_explain_says_status_name_and_reason() -> None:
    assert explain("bare-lf") == "400 bare-lf: A line ends with LF alone; it must end with CR LF."
