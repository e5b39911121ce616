from __future__ import annotations

import importlib.metadata
import sys
import types
import typing

import pytest

from portable import kinds
from portable.errors import ConfigurationError
from portable.options import Kind
from portable.service import Service

if typing.TYPE_CHECKING:
    from collections.abc import Callable

    Install = Callable[..., None]


def make_service(_: typing.Any) -> Service:
    return Service("x")


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Install:
    """Make entry points: install("portable.servers", name="module:attribute")."""
    declared: list[importlib.metadata.EntryPoint] = []

    def entry_points(group: str) -> list[importlib.metadata.EntryPoint]:
        return [entry for entry in declared if entry.group == group]

    def add(group: str, **entries: str) -> None:
        declared.extend(importlib.metadata.EntryPoint(name, value, group) for name, value in entries.items())

    module = types.ModuleType("their_servers")
    vars(module).update(
        GOOD=Kind("good", 1, "A good one", (), make_service), NO_KIND=7, make=lambda: None, Missing=Missing
    )
    monkeypatch.setitem(sys.modules, "their_servers", module)
    monkeypatch.setattr(importlib.metadata, "entry_points", entry_points)
    return add


class Missing:
    @staticmethod
    def missing() -> str:
        return "it needs a JVM"


def test_a_kind_of_another_distribution_is_found(install: Install) -> None:
    install(kinds.SERVERS_GROUP, good="their_servers:GOOD [extra]")
    assert kinds.find_kind("good").summary == "A good one"
    assert "good" in kinds.find_kinds().kinds


def test_own_kinds_are_found_without_being_installed(install: Install) -> None:
    found = kinds.find_kinds()
    assert {"inetd", "portforward"} <= set(found.kinds)
    assert not found.broken


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("their_servers:ABSENT", "has no attribute 'ABSENT'"),
        ("no_such_module_at_all:KIND", "No module named"),
        ("their_servers:NO_KIND", "is no portable.options.Kind"),
        ("their_servers:GOOD", "calls itself 'good'"),
    ],
)
def test_a_broken_kind_is_named_and_leaves_the_others_alone(install: Install, target: str, reason: str) -> None:
    install(kinds.SERVERS_GROUP, broken=target, good="their_servers:GOOD")
    found = kinds.find_kinds()
    assert "good" in found.kinds
    assert "inetd" in found.kinds
    assert reason in found.broken["broken"]
    assert "'broken'" in found.broken["broken"]
    with pytest.raises(ConfigurationError, match=r"'broken' \("):
        kinds.find_kind("broken")


def test_an_unknown_kind_is_refused_with_those_that_are_known(install: Install) -> None:
    with pytest.raises(ConfigurationError, match=r"known are: .*inetd, portforward"):
        kinds.find_kind("wbe")


def test_nobody_can_take_the_name_of_a_kind(install: Install) -> None:
    install(kinds.SERVERS_GROUP, inetd="their_servers:GOOD")
    with pytest.raises(
        ConfigurationError, match=r"more than once: protocols\.servers\.inetd:KIND, their_servers:GOOD"
    ):
        kinds.find_kind("inetd")


def test_the_same_target_twice_is_one(install: Install) -> None:
    install(kinds.SERVERS_GROUP, inetd="protocols.servers.inetd:KIND")
    assert kinds.find_kind("inetd").name == "inetd"


def test_without_our_servers_there_are_still_those_of_others(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kinds, "OWN_SERVERS_PACKAGE", "no_such_package_at_all")
    install(kinds.SERVERS_GROUP, good="their_servers:GOOD")
    assert list(kinds.find_kinds().kinds) == ["good"]


def test_the_select_reactor_is_found(install: Install) -> None:
    assert kinds.ReactorChoice("select", "") in kinds.find_reactors()
    assert kinds.find_reactor("select").__name__ == "SelectReactor"


def test_a_reactor_that_cannot_run_here_says_what_is_missing(install: Install) -> None:
    install(
        kinds.REACTORS_GROUP,
        jvm="their_servers:Missing",
        other="their_servers:make",
        seven="their_servers:NO_KIND",
        gone="no_such_module_at_all:X",
    )
    found = {choice.name: choice.missing for choice in kinds.find_reactors()}
    assert found["jvm"] == "it needs a JVM"
    assert found["other"] == ""
    assert "cannot be called" in found["seven"]
    assert "No module named" in found["gone"]
    with pytest.raises(ConfigurationError, match="'jvm' cannot run here: it needs a JVM"):
        kinds.find_reactor("jvm")
    with pytest.raises(
        ConfigurationError, match="known are: asyncio, gone, jvm, nio, other, select, seven, uvloop"
    ):
        kinds.find_reactor("epoll")


def test_the_table_agrees_with_what_the_distribution_declares() -> None:
    import pathlib
    import tomllib

    path = pathlib.Path(__file__).parents[2] / "pyproject.toml"
    declared = tomllib.loads(path.read_text(encoding="utf-8"))["project"]["entry-points"]
    assert declared[kinds.REACTORS_GROUP] == kinds.OWN_REACTORS
    for name, target in declared[kinds.SERVERS_GROUP].items():
        assert target == f"{kinds.OWN_SERVERS_PACKAGE}.{name}:KIND"
