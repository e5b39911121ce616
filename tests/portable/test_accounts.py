from __future__ import annotations

import functools
import typing

import pytest

from portable.accounts import MAX_CHECKS, Accounts, account_options
from portable.deferred import Deferred, gather
from portable.errors import ConfigurationError
from portable.options import check_values
from portable.passwords import normal_account
from portable.testing import wait_for

if typing.TYPE_CHECKING:
    import pathlib

    from portable.reactor import Reactor
    from tests.conftest import ErrorLog

ALICE = normal_account("alice:wonder")


class ManualThreads:
    """Runs what it is given when it is told to."""

    def __init__(self) -> None:
        self.calls: list[tuple[typing.Callable[[], typing.Any], Deferred[typing.Any]]] = []

    def run_in_thread(self, function: typing.Callable[..., typing.Any], *args: object) -> Deferred[typing.Any]:
        result: Deferred[typing.Any] = Deferred()
        self.calls.append((lambda: function(*args), result))
        return result

    def call_soon_threadsafe(self, callback: typing.Callable[..., object], *args: object) -> typing.Any:
        raise AssertionError

    def finish(self) -> None:
        call, result = self.calls.pop(0)
        result.callback(call())


def test_right_wrong_and_unknown(reactor: Reactor, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "accounts"
    path.write_text("# staff\n\nbob:builder\nz\u00f6e:pa:ss\n", encoding="utf-8")
    accounts = Accounts((ALICE,), str(path))
    accounts.load()
    assert accounts.names() == {"alice", "bob", "z\u00f6e"}
    assert len(accounts) == 3
    tried = [("alice", "wonder"), ("bob", "builder"), ("zo\u0308e", "pa:ss")]
    tried += [
        ("alice", "builder"),
        ("bob", ""),
        ("bob", "builde"),
        ("nobody", ""),
        ("", ""),
        ("al\udcffice", "\udcff"),
    ]
    answers = wait_for(reactor, gather([accounts.check(reactor, name, password) for name, password in tried]))
    assert answers == [True, True, True, False, False, False, False, False, False]


def test_the_file_is_read_again_and_a_bad_one_changes_nothing(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "accounts"
    path.write_text("bob:builder\n", encoding="utf-8")
    accounts = Accounts((), str(path))
    accounts.load()
    path.write_text("carol:singer\n", encoding="utf-8")
    accounts.load()
    assert accounts.names() == {"carol"}
    for content, reason in (
        (b"dave:x\nno colon here\n", "accounts:2.*no password"),
        (b"dave:x\ndave:y\n", "accounts:2.*there twice"),
        (b"dave:\xff\n", "not UTF-8"),
        (b"x" * (1024 * 1024 + 1), "too large"),
    ):
        path.write_bytes(content)
        with pytest.raises(ConfigurationError, match=f"(?is){reason}"):
            accounts.load()
        assert accounts.names() == {"carol"}
    path.unlink()
    with pytest.raises(ConfigurationError, match="No such file"):
        accounts.load()


def test_a_name_given_by_option_cannot_be_in_the_file_too(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "accounts"
    path.write_text("alice:other\n", encoding="utf-8")
    with pytest.raises(ConfigurationError, match="there twice"):
        Accounts((ALICE,), str(path)).load()
    with pytest.raises(ConfigurationError, match=r"--user.*there twice"):
        Accounts((ALICE, ALICE))


def test_few_passwords_are_checked_at_one_time_and_in_order() -> None:
    threads = ManualThreads()
    accounts = Accounts((ALICE,))
    told: list[str] = []

    def tell(number: int, right: bool | None) -> None:
        told.append(f"{number} given up" if right is None else f"{number} {right}")

    checks = [accounts.check(threads, "alice", "wonder") for _ in range(MAX_CHECKS + 3)]
    for number, check in enumerate(checks):
        check.add_errback(lambda _: None).add_callback(functools.partial(tell, number))
    assert len(threads.calls) == MAX_CHECKS
    checks[0].cancel()
    checks[-2].cancel()
    while threads.calls:
        threads.finish()
    assert told == ["0 given up", f"{MAX_CHECKS + 1} given up", "1 True", "2 True", f"{MAX_CHECKS + 2} True"]


def test_a_check_that_breaks_is_a_refusal_and_the_next_ones_go_on(error_log: ErrorLog) -> None:
    threads = ManualThreads()
    accounts = Accounts((ALICE,))
    told: list[bool] = []
    for _ in range(MAX_CHECKS + 1):
        accounts.check(threads, "alice", "wonder").add_callback(told.append)
    threads.calls.pop(0)[1].errback(MemoryError("no 16 MiB"))
    assert told == [False]
    assert len(threads.calls) == MAX_CHECKS
    error_log.expect("a password cannot be checked: MemoryError: no 16 MiB")


def test_the_options_bring_hashes(tmp_path: pathlib.Path) -> None:
    options = account_options()
    values = check_values(options, {"user": [ALICE]})
    assert Accounts.from_values(values).names() == {"alice"}
    assert options[0].format(values["user"]) == "***"
    with pytest.raises(ConfigurationError, match=r"user\[0\].*in clear"):
        check_values(options, {"user": ["alice:wonder"]})


def test_a_kind_may_have_two_kinds_of_users() -> None:
    assert [option.name for option in account_options("telnet-")] == ["telnet-user", "telnet-passwords"]
