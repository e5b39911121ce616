"""The acceptance run: what it masks, what it must not mask, and that a difference is seen."""

from __future__ import annotations

import dataclasses
import json
import socket
import sys
import threading
import typing

import pytest

from ci.acceptance import __main__ as program
from ci.acceptance.compare import difference, render
from ci.acceptance.model import Client, Port, Server
from ci.acceptance.record import Conversation, Transcript
from ci.acceptance.relay import DatagramRelay, StreamRelay
from ci.acceptance.report import matrix
from ci.acceptance.running import Result, Session, all_servers, kinds_without_scenario
from ci.acceptance.runtimes import Runtime
from ci.acceptance.stage import read_all, read_some
from ci.acceptance.views import (
    any_time_received,
    apply,
    boundaries,
    describe_hello,
    distinct_answers,
    first_bytes,
    http_dates,
    length_of_pattern,
    log_lines,
    without_lines,
)

if typing.TYPE_CHECKING:
    import pathlib
    from collections.abc import Iterator

    from ci.acceptance.model import Workshop
    from ci.acceptance.record import View
    from ci.acceptance.stage import Stage

DATED = b"HTTP/1.1 200 OK\r\nDate: Tue, 24 Nov 2026 01:02:03 GMT\r\nLast-Modified: %s\r\n\r\nDate: today"


def talk(*received: bytes, sent: bytes = b"?", end: str = "eof") -> Transcript:
    return Transcript((Conversation("web", "tcp", (sent,), received, end),), b"")


def seen_through(views: tuple[View, ...], data: bytes) -> bytes:
    return b"".join(apply(views, talk(data)).conversations[0].received)


def test_the_date_is_masked_and_no_other_date() -> None:
    masked = seen_through((http_dates,), DATED % b"Tue, 24 Nov 2026 01:02:03 GMT")
    assert masked == (
        b"HTTP/1.1 200 OK\r\nDate: <date>\r\nLast-Modified: Tue, 24 Nov 2026 01:02:03 GMT\r\n\r\nDate: today"
    )


@pytest.mark.parametrize(
    "wrong", [b"Tue, 24 Nov 2026 1:02:03 GMT", b"Tue, 24 Nov 2026 01:02:03 UTC", b"now", b""]
)
def test_a_malformed_date_shows(wrong: bytes) -> None:
    assert seen_through((http_dates,), b"A: b\r\nDate: %s\r\n" % wrong) == b"A: b\r\nDate: %s\r\n" % wrong


def test_boundaries_are_masked_wherever_they_stand_and_their_length_shows() -> None:
    answer = b"Content-Type: multipart/byteranges; boundary=%s\r\n\r\n--%s\r\nx\r\n--%s--\r\n"
    first, second = (seen_through((boundaries,), answer % ((name,) * 3)) for name in (b"a1b2", b"c3d4"))
    assert first == second
    assert b"a1b2" not in first
    assert seen_through((boundaries,), answer % ((b"a1b2c",) * 3)) != first
    # A boundary in the body that is not the one announced remains.
    assert b"zz" in seen_through((boundaries,), answer % (b"a1", b"zz", b"a1"))


def test_log_lines_hide_times_and_chosen_ports_only() -> None:
    line = b"2026-11-24 00:35:00.941Z info    twistd: listening: web tcp 127.0.0.1:%s\n"
    masked = apply(log_lines, Transcript((), line % b"38619")).seen
    assert masked == b"<time> info    twistd: listening: web tcp 127.0.0.1:<port>\n"
    assert apply(log_lines, Transcript((), line % b"0")).seen.endswith(b"127.0.0.1:0\n")
    assert apply((without_lines(b"gone"),), Transcript((), b"a\nis gone\nb\n")).seen == b"a\nb\n"


def test_log_lines_keep_the_first_of_lines_that_count_what_happened_within_a_second() -> None:
    refused = b"2026-11-24 00:35:00.941Z info    web: %d request(s) refused, the last one from a: %s\n"
    dropped = b"2026-11-24 00:35:00.941Z info    web: dropped 1 connection(s), the last from a: b\n"
    log = refused % (1, b"path") + dropped + refused % (5, b"length") + refused % (4, b"coding") + b"end\n"
    masked = apply(log_lines, Transcript((), log)).seen
    assert masked == apply(log_lines, Transcript((), refused % (1, b"path") + dropped + b"end\n")).seen
    assert b"1 request(s) refused, the last one from a: path" in masked


def test_masks_of_small_services() -> None:
    assert seen_through((any_time_received(4),), b"\1\2\3\4") == b"<4 bytes>"
    assert seen_through((any_time_received(4),), b"\1\2\3") == b"\1\2\3"
    assert seen_through((length_of_pattern(b"abcdef", 4),), b"abc") == b"<pattern>"
    assert seen_through((length_of_pattern(b"abcdef", 4),), b"abx") == b"abx"
    assert seen_through((length_of_pattern(b"abcdef", 4),), b"abcde") == b"abcde"
    assert apply((first_bytes(2),), talk(b"abc", end="cut")) == apply((first_bytes(2),), talk(b"abd"))


def test_answers_in_any_order_are_the_same_set() -> None:
    one, two = b"HTTP/1.1 200 OK\r\n\r\nx", b"HTTP/1.1 404 No\r\n\r\n"
    first = Transcript(talk(one + two + one).conversations, b"")
    second = Transcript(talk(one).conversations + talk(two + one).conversations, b"")
    assert distinct_answers(first) == distinct_answers(second)
    assert distinct_answers(first) != distinct_answers(talk(one))


def test_a_server_hello_shows_what_was_chosen() -> None:
    body = b"\3\3" + b"r" * 32 + b"\0" + b"\x13\x02\0" + b"\0\6" + b"\0\x2b\0\2\3\4"
    record = b"\x16\3\3" + (len(body) + 4).to_bytes(2) + b"\2\0" + len(body).to_bytes(2) + body
    shown = describe_hello(record)
    assert shown == b"ServerHello 0x0303, cipher 0x1302, compression 0\nextension 43: 0304\n"
    assert describe_hello(record.replace(b"r" * 32, b"s" * 32)) == shown
    assert describe_hello(record[:40]).startswith(b"a ServerHello that is cut")
    assert describe_hello(b"HTTP/1.1 400 ").startswith(b"no ServerHello")


def test_equal_transcripts_have_no_difference() -> None:
    assert difference(talk(b"same"), talk(b"same"), "one", "two") == []


def test_a_difference_is_readable() -> None:
    lines = difference(talk(b"a\r\nb\0\\\r\n"), talk(b"a\r\nc\r\n"), "one", "two")
    assert lines[:2] == ["--- one", "+++ two"]
    assert "    a\\r\\n" in lines
    assert "-   b\\x00\\\\\\r\\n" in lines
    assert "+   c\\r\\n" in lines


def test_a_byte_in_the_middle_of_much_is_shown_with_what_is_around_it() -> None:
    much = bytearray(b"0123456789abcde\n" * 50_000)
    other = bytearray(much)
    other[400_003] = ord("X")
    lines = difference(talk(bytes(much)), talk(bytes(other)), "one", "two")
    assert "-   0123456789abcde\\n" in lines
    assert "+   012X456789abcde\\n" in lines
    assert len(lines) < 200


@pytest.mark.parametrize(
    "other",
    [talk(b"x", end="reset"), talk(b"x", sent=b"!"), talk(b"x", b""), Transcript((), b""), talk(b"")],
    ids=["end", "sent", "pieces", "none", "nothing"],
)
def test_every_part_of_a_conversation_counts(other: Transcript) -> None:
    assert difference(talk(b"x"), other, "one", "two")
    assert any("conversation 1" in line for line in render(talk(b"x")))


@pytest.fixture
def target() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(10)
        yield listener


def test_the_relay_records_both_directions_and_half_close(target: socket.socket) -> None:
    relay = StreamRelay("echo")
    relay.target = target.getsockname()[1]
    with socket.create_connection(("127.0.0.1", relay.port), 10) as client:
        server, _ = target.accept()
        with server:
            server.settimeout(10)
            client.sendall(b"question")
            client.shutdown(socket.SHUT_WR)
            assert read_all(server) == b"question"
            server.sendall(b"answer")
        assert read_all(client) == b"answer"
    [(_, conversation, _)] = relay.take(5)
    assert conversation == Conversation("echo", "tcp", (b"question",), (b"answer",), "eof")
    relay.close()


def test_the_relay_tells_a_reset_a_refusal_and_an_open_connection_apart(target: socket.socket) -> None:
    relay = StreamRelay("any")
    # The reset may come before `create_connection` has looked whether it is connected.
    with pytest.raises(ConnectionResetError), socket.create_connection(("127.0.0.1", relay.port), 10) as client:
        client.recv(1)
    relay.target = target.getsockname()[1]
    with socket.create_connection(("127.0.0.1", relay.port), 10) as client:
        server, _ = target.accept()
        server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        server.close()
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    with socket.create_connection(("127.0.0.1", relay.port), 10) as client:
        server, _ = target.accept()
        server.sendall(b"x")
        assert read_some(client, 1) == b"x"
        ends = [conversation.end for _, conversation, _ in relay.take(0.1)]
        server.close()
    assert ends == ["refused", "reset", "open"]
    relay.close()


def test_the_relay_keeps_datagrams_apart() -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
    ):
        for each in (server, client):
            each.bind(("127.0.0.1", 0))
            each.settimeout(10)
        relay = DatagramRelay("udp")
        relay.target = server.getsockname()[1]
        for word in (b"one", b"", b"three"):
            client.sendto(word, ("127.0.0.1", relay.port))
            got, address = server.recvfrom(100)
            server.sendto(got * 2, address)
            assert client.recv(100) == word * 2
        [(_, conversation, _)] = relay.take(0)
        relay.close()
    assert (conversation.sent, conversation.received) == (
        (b"one", b"", b"three"),
        (b"oneone", b"", b"threethree"),
    )


# A "runtime" that serves something else: an echo which says a byte more, whatever the .tap says.
FAKE = """
import pathlib, signal, socket, sys
extra = sys.argv[1].encode()
def stop(*_):
    with open("twistd.log", "a") as log:
        log.write("2026-01-01 00:00:00.000Z info    twistd: stopping: SIGTERM\\n")
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
listener = socket.create_server(("127.0.0.1", 0))
port = listener.getsockname()[1]
pathlib.Path("twistd.log").write_text(
    f"2026-01-01 00:00:00.000Z info    twistd: listening: echo tcp 127.0.0.1:{port}\\n")
while True:
    sock, _ = listener.accept()
    with sock:
        sock.sendall(sock.recv(100) + extra)
"""


def fake_runtime(name: str, extra: str, missing: str = "") -> Runtime:
    def start(_tap: pathlib.Path, _background: bool) -> list[str]:
        return [sys.executable, "-c", FAKE, extra]

    return Runtime(name, name, start, lambda: missing)


def hello(stage: Stage) -> None:
    stage.check(stage.ask("echo", b"hello").startswith(b"hello"), "no echo")


def prepare(shop: Workshop) -> list[list[str]]:
    shop.write("a", b"")
    return [["inetd", "--services", "echo", "--port-base", "20000"]]


ECHO = Server("echo", "inetd", prepare, (Port("echo", "tcp", "echo"),), (Client("python: hello", hello),))


def statuses(session: Session) -> dict[tuple[str, str], str]:
    return {(each.client, each.runtime): each.status for each in session.results}


def test_a_server_that_differs_is_reported(tmp_path: pathlib.Path) -> None:
    runtimes = (fake_runtime("one", ""), fake_runtime("same", ""), fake_runtime("two", "!"))
    session = Session(tmp_path, (*runtimes, fake_runtime("no", "", "it is not installed")))
    session.run(ECHO)
    found = statuses(session)
    assert found["python: hello", "one"] == found["python: hello", "same"] == "ok"
    assert found["python: hello", "two"] == "differs"
    assert found["*", "no"] == "missing"
    assert session.missing == {"no": "it is not installed"}
    [wrong] = [each for each in session.results if each.status == "differs"]
    assert "-   hello" in wrong.detail
    assert "+   hello!" in wrong.detail
    assert "hello!" in (tmp_path / "echo" / "two" / "transcripts" / "python-hello.txt").read_text()
    table = "\n".join(matrix(session.results))
    assert "differs" in table
    assert "missing" in table


def test_a_client_that_fails_and_a_server_that_does_not_start_are_reported(tmp_path: pathlib.Path) -> None:
    def fail(stage: Stage) -> None:
        stage.check(False, "this is wrong")

    def stumble(_stage: Stage) -> None:
        raise ZeroDivisionError("by a client")

    clients = (Client("fails", fail), Client("stumbles", stumble), *ECHO.clients)
    dead = dataclasses.replace(fake_runtime("dead", ""), start=lambda _tap, _background: ["false"])
    session = Session(tmp_path, (fake_runtime("one", ""), dead))
    session.run(dataclasses.replace(ECHO, clients=clients))
    found = statuses(session)
    assert found["fails", "one"] == found["stumbles", "one"] == found["start", "dead"] == "failed"
    # The rest has its turn all the same.
    assert found["python: hello", "one"] == "ok"
    assert ["this is wrong"] in [each.detail for each in session.results]


def test_the_program_ends_with_1_on_a_difference(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(program, "all_servers", lambda: [ECHO])
    monkeypatch.setattr(program, "RUNTIMES", (fake_runtime("one", ""), fake_runtime("two", "!")))
    report = tmp_path / "report.json"
    assert program.main(["echo", "--json", str(report)]) == 1
    assert "+   hello!" in capsys.readouterr().out
    written = json.loads(report.read_text())
    assert [each["status"] for each in written["results"] if each["client"] == "python: hello"] == [
        "ok",
        "differs",
    ]
    assert program.main(["echo", "--runtime", "one", "--quiet"]) == 0
    monkeypatch.setattr(program, "RUNTIMES", (fake_runtime("one", ""), fake_runtime("two", "", "not here")))
    assert program.main(["echo", "--quiet"]) == 0
    assert "missing: two: not here" in capsys.readouterr().out
    assert program.main(["echo", "--quiet", "--require"]) == 1
    with pytest.raises(SystemExit):
        program.main(["nonsense"])


def test_a_person_is_told_what_to_look_at(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    looking = dataclasses.replace(ECHO, look="Type into: nc {echo}")
    monkeypatch.setattr(program, "all_servers", lambda: [looking])
    monkeypatch.setattr(program, "RUNTIMES", (fake_runtime("one", ""),))
    asked: list[str] = []

    def answer(text: str) -> str:
        asked.append(text)
        return ""

    monkeypatch.setattr("builtins.input", answer)
    assert program.main(["echo", "--interactive"]) == 0
    assert "Type into: nc 127.0.0.1:" in capsys.readouterr().out
    assert len(asked) == 3


def test_every_kind_has_its_scenario() -> None:
    assert kinds_without_scenario(all_servers()) == []
    without = kinds_without_scenario([ECHO])
    assert ECHO.kind not in without
    assert {"portforward", "web"} <= set(without)


def test_the_matrix_has_a_place_for_each_result() -> None:
    lines = matrix(
        [Result("web", "mktap", "all", "failed", 0, []), Result("web", "curl", "jvm", "ok", 1.5, [])]
    )
    assert lines[0].split() == ["jvm"]
    assert [line.split() for line in lines[1:]] == [
        ["web"],
        ["mktap", "failed", "0.00"],
        ["curl", "ok", "1.50"],
    ]


def test_no_thread_of_a_relay_outlives_it(target: socket.socket) -> None:
    before = threading.active_count()
    relay = StreamRelay("any")
    relay.close()
    for thread in threading.enumerate()[before:]:
        thread.join(5)
    assert threading.active_count() <= before
