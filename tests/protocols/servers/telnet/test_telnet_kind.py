"""The options of the kind `telnet`, and of the console beside a web site: never without a login."""

from __future__ import annotations

import typing

import pytest

from portable.errors import ConfigurationError
from portable.options import check_values
from portable.passwords import hash_password
from portable.testing import wait_for
from protocols.servers import web
from protocols.servers.telnet import KIND, TelnetService
from protocols.servers.telnet.kind import make_service
from tests.protocols.servers.telnet.consoles import ACCOUNT, Person

if typing.TYPE_CHECKING:
    import pathlib

    from portable.options import Kind
    from portable.reactor import Reactor
    from portable.service import Service

HASH = hash_password("secret")


def values(kind: Kind, given: dict[str, typing.Any]) -> dict[str, typing.Any]:
    checked = check_values(kind.options, given)
    assert kind.check is not None
    kind.check(checked)
    return checked


def run(reactor: Reactor, service: Service) -> list[int]:
    service.bind(reactor)
    service.start()
    return [int(address.rpartition(":")[2]) for address in service.addresses()]


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({}, "with an account"),
        ({"username": "me"}, "--username: needs --password"),
        ({"password": HASH}, "--password: needs --username"),
    ],
)
def test_a_console_without_a_login_is_refused(given: dict[str, typing.Any], reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        values(KIND, given)


def test_a_password_in_clear_in_the_file_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="in clear"):
        values(KIND, {"username": "me", "password": "secret"})


def test_an_account_twice_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="twice"):
        values(KIND, {"username": "me", "password": HASH, "user": [ACCOUNT]})


def test_a_console_listens_on_loopback_unless_told_otherwise(reactor: Reactor) -> None:
    service = make_service(values(KIND, {"username": "me", "password": HASH, "port": 0}))
    assert isinstance(service, TelnetService)
    (port,) = run(reactor, service)
    assert service.addresses() == [f"telnet tcp 127.0.0.1:{port}"]
    assert Person(reactor, port).log_in().say("1 + 1") == "2\n"
    assert service.terminals()
    wait_for(reactor, service.stop(5))
    assert service.terminals() == []


def test_a_file_of_accounts_is_read_again(reactor: Reactor, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "accounts"
    path.write_text(f"other:{HASH}\n")
    service = make_service(values(KIND, {"passwords": str(path), "port": 0, "run-in": "loop", "shared": True}))
    (port,) = run(reactor, service)
    Person(reactor, port).log_in("other")
    path.write_text(f"another:{HASH}\n")
    service.reload()
    assert Person(reactor, port).log_in("another").say("1") == "1\n"
    wait_for(reactor, service.stop(0))


def test_a_service_that_is_not_started_leaves_nothing(reactor: Reactor) -> None:
    service = make_service(values(KIND, {"user": [ACCOUNT], "port": 0}))
    service.bind(reactor)
    service.release()
    wait_for(reactor, service.stop(0))


def test_a_console_beside_a_web_site(reactor: Reactor, tmp_path: pathlib.Path) -> None:
    given = {"path": str(tmp_path), "port": 0, "telnet": 0, "telnet-user": [ACCOUNT]}
    service = web.KIND.make_service(values(web.KIND, given))
    _, port = run(reactor, service)
    assert service.addresses()[1] == f"telnet tcp 127.0.0.1:{port}"
    person = Person(reactor, port).log_in()
    assert "StaticFolder" in person.say("resource")
    wait_for(reactor, service.stop(5))
    person.wait("The server is stopping.")


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"telnet": 4040}, "--telnet: it needs"),
        ({"telnet-user": [ACCOUNT]}, "--telnet-user: goes with --telnet PORT"),
    ],
)
def test_a_console_beside_a_web_site_needs_a_login(
    given: dict[str, typing.Any], reason: str, tmp_path: pathlib.Path
) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        web.KIND.make_service(check_values(web.KIND.options, {"path": str(tmp_path), **given}))
