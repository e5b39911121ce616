"""Servers that keep a log: it is there before the ports, and after the last connection."""

from __future__ import annotations

import os
import typing

import pytest

from portable.endpoints import TCPEndpoint
from portable.errors import AddressInUse, ConfigurationError
from portable.listener import ServerPort
from portable.recording import RecordingService
from portable.recordlog import RecordLog
from portable.service import ServiceGroup
from tests.portable.listening import FakeReactor, Recorder

if typing.TYPE_CHECKING:
    import pathlib


class Lines(RecordLog):
    def __init__(self, path: str) -> None:
        super().__init__(path, "log of lines")
        self.closed = False

    def close(self) -> typing.Any:
        self.closed = True
        return super().close()


def service(path: pathlib.Path | None) -> RecordingService[Lines]:
    ports = [ServerPort("x", Recorder, TCPEndpoint(8080, "127.0.0.1"))]
    log_path = None if path is None else str(path)
    return RecordingService("x", ports, open_log=Lines, log_path=log_path, log_option="--lines")


def test_the_log_is_renamed_reopened_and_complete_at_the_end(tmp_path: pathlib.Path) -> None:
    loop = FakeReactor()
    made = service(tmp_path / "log")
    made.bind(loop.as_reactor)
    assert made.log is not None
    made.start()
    made.log.add("one")
    loop.advance(2)
    (tmp_path / "log").rename(tmp_path / "log.1")
    made.reload()
    made.log.add("two")
    ends: list[None] = []
    client = loop.accept()
    made.stop(20).add_callback(ends.append)
    made.log.add("the connection that ended last")
    assert not made.log.closed
    client.receive_eof()
    client.close()
    client.settle()
    loop.advance(0)
    assert (ends, made.log.closed) == ([None], True)
    assert (tmp_path / "log.1").read_text() == "one\n"
    assert (tmp_path / "log").read_text() == "two\nthe connection that ended last\n"


def test_the_log_is_given_to_the_user_that_the_process_becomes(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "fchown", lambda fd, uid, gid: given.append((uid, gid)))
    loop = FakeReactor()
    for path in (None, tmp_path / "log"):
        made = service(path)
        made.bind(loop.as_reactor)
        ServiceGroup("all", [made]).give_to(1, 2)
        made.release()
    assert given == [(1, 2)]


def test_a_log_that_cannot_be_opened_binds_nothing(tmp_path: pathlib.Path) -> None:
    loop = FakeReactor()
    with pytest.raises(ConfigurationError, match=r"^x: --lines: .*No such file"):
        service(tmp_path / "none" / "log").bind(loop.as_reactor)
    assert loop.listeners == []


def test_a_port_that_cannot_be_bound_closes_the_log(tmp_path: pathlib.Path) -> None:
    loop = FakeReactor()
    service(None).bind(loop.as_reactor)
    made = service(tmp_path / "log")
    with pytest.raises(AddressInUse):
        made.bind(loop.as_reactor)
    assert made.log is not None
    assert made.log.closed


def test_without_a_path_there_is_none(tmp_path: pathlib.Path) -> None:
    loop = FakeReactor()
    made = service(None)
    made.bind(loop.as_reactor)
    made.start()
    made.reload()
    ends: list[None] = []
    made.stop(1).add_callback(ends.append)
    assert (ends, made.log) == ([None], None)
    other = service(None)
    other.bind(loop.as_reactor)
    other.release()
